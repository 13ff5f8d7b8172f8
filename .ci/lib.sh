# What the steps share. .ci/run sources this file and sets what it uses: `target` is the directory for all builds,
# `scratch` one that is removed at the end.

# The version that the steps `features`, `msrv` and `minimal-versions` install.
cargo_hack=0.6.46
# The tests that `cargo test` leaves out unless they are named.
left_out=(--test conformance --test faults --test property)
# For the steps that must name the target.
host=x86_64-unknown-linux-gnu

fail() {
    echo "error: $*" >&2
    exit 1
}

# Runs a command with tests. Fails also if no test ran.
tested() {
    local log=$scratch/tested
    "$@" 2>&1 | tee "$log"
    grep -Eq '^test result: ok\. [1-9]' "$log" || fail "no test ran: $*"
}

# Runs a program with a planted fault, which must be reported. Otherwise no report on the tests would prove nothing.
finds() {
    local report=$1 log=$scratch/planted
    shift
    if "$@" >"$log" 2>&1 || ! grep -q "$report" "$log"; then
        cat "$log"
        fail "not reported: $report"
    fi
    echo "planted and found: $report"
}

# Installs a cargo subcommand, unless it is installed already.
tool() {
    cargo install --locked --debug --root "$target/tools" "$1"
    PATH=$target/tools/bin:$PATH
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Updates the lists of packages, once a run.
apt_update() {
    [ -e "$scratch/updated" ] || as_root apt-get update -q
    touch "$scratch/updated"
}

# Selects Debian's newer compiler: `$cargo`, `RUSTC` and `RUSTDOC`. Unlike rustup's it has the sources of the standard
# library, which can then be built for other targets and with a sanitizer.
with_sources() {
    apt_update
    as_root apt-get install -q -y --no-install-recommends rustc-web cargo-web rust-web-src lld-22
    export RUSTC RUSTDOC RUSTC_BOOTSTRAP=1
    RUSTC=$(dpkg -L rustc-web | grep 'bin/rustc$')
    RUSTDOC=$(dpkg -L rustc-web | grep 'bin/rustdoc$')
    # The package also has a script named cargo, for packagers.
    cargo=$(dpkg -L cargo-web | grep -x '/usr/bin/cargo')
    "$RUSTC" --version
}

# Copies the crate for the steps that resolve its dependencies again: without the lock file, and without the other
# packages, which need a newer compiler and whose dependencies would be resolved together with the crate's.
copy_to() {
    rm -rf "$1"
    mkdir -p "$1"
    tar -c --exclude=./{target,.git,Cargo.lock,benches,examples/first,examples/package} . | tar -x -C "$1"
    sed -i '/^\(default-\)\?members = /d' "$1/Cargo.toml"
}

# Runs a command beside a PostgreSQL server of its own, with its address in `DATABASE_URL`.
with_postgres() (
    apt_update
    as_root apt-get install -q -y --no-install-recommends postgresql
    data=$(mktemp -d /tmp/gather-postgres.XXXXXX)
    as_root chown postgres "$data"
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    # The server refuses to run as root.
    as_postgres() { as_root su postgres -c "cd $data && /usr/lib/postgresql/*/bin/$*"; }
    as_postgres initdb -A trust -D "$data" >"$scratch/initdb"
    trap 'as_postgres pg_ctl -D "$data" -m immediate stop || true; as_root rm -rf "$data"' EXIT
    if ! as_postgres pg_ctl -w -D "$data" -l "$data/log" \
        -o "'-c listen_addresses=127.0.0.1 -p $port -k $data'" start; then
        as_root cat "$data/log"
        fail "the server does not start"
    fi
    DATABASE_URL="host=127.0.0.1 port=$port user=postgres" "$@"
)
