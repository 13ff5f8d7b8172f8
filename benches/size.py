#!/usr/bin/env python3
"""Code size and compile time of groups of three plain children, beside `futures::try_join!`.

    benches/size.py [groups]

Builds three programs that differ in one line: 50 groups (or as many as are named) of three distinct children each are
awaited one after the other, or joined by `try_join!`, or gathered. Prints for each group the bytes of `.text` in a
release build, and the seconds of CPU that the compiler takes in dev and release builds, net of the first program.
"""

import pathlib
import resource
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "size"

CHILD = """
async fn {name}(seed: u32) -> Result<u{width}, Error> {{
    let mut sum = seed as u{width};
    for step in 0..{steps} {{
        yield_once().await;
        sum = sum.wrapping_mul({factor}).wrapping_add(step);
    }}
    if sum == {factor} {{ Err(Error({steps})) }} else {{ Ok(sum) }}
}}
"""

MAIN = """
use std::hint::black_box;

#[derive(Debug)]
pub struct Error(pub u32);

async fn yield_once() {{
    let mut yielded = false;
    std::future::poll_fn(|cx| {{
        if std::mem::replace(&mut yielded, true) {{
            return std::task::Poll::Ready(());
        }}
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    }})
    .await;
}}

{children}

{groups}

async fn all(seed: u32) -> Result<u64, Error> {{
    let mut sum = 0u64;
    {calls}
    Ok(sum)
}}

fn main() {{
    println!("{{:?}}", pollster::block_on(all(black_box(3))));
}}
"""

GROUP = """
#[inline(never)]
async fn group{n}(seed: u32) -> Result<u64, Error> {{
    let (a, b, c) = {expression};
    Ok(a as u64 + b as u64 + c as u64)
}}
"""

WAYS = {
    "one by one": "(a{n}(seed).await?, b{n}(seed).await?, c{n}(seed).await?)",
    "try_join!": "futures_util::try_join!(a{n}(seed), b{n}(seed), c{n}(seed))?",
    "gather": "gather::gather((a{n}(seed), b{n}(seed), c{n}(seed))).await?",
}


def program(expression, count):
    children = "".join(
        CHILD.format(name=f"{letter}{n}", width=width, steps=2 + n % 5, factor=3 * n + offset)
        for n in range(count)
        for offset, (letter, width) in enumerate([("a", 32), ("b", 64), ("c", 16)], start=1)
    ).replace("add(step)", "add(step as _)").replace("sum == ", "sum as u64 == ")
    groups = "".join(GROUP.format(n=n, expression=expression.format(n=n)) for n in range(count))
    calls = "\n    ".join(f"sum += Box::pin(group{n}(seed)).await?;" for n in range(count))
    return MAIN.format(children=children, groups=groups, calls=calls)


def build(name, profile):
    """Seconds of CPU that the program itself takes, its dependencies being built."""
    source = WORK / name / "src" / "main.rs"
    command = ["cargo", "build", "-q", *(["--release"] if profile == "release" else [])]
    best = None
    for _ in range(3):
        source.touch()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=WORK / name, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        # The first one may have built dependencies.
        best = seconds if best is None else min(best, seconds)
    return best


def text(name):
    binary = WORK / "target" / "release" / name
    for line in subprocess.run(["size", "-A", binary], check=True, capture_output=True, text=True).stdout.splitlines():
        if line.startswith(".text"):
            return int(line.split()[1])
    raise SystemExit(f"{binary} has no .text")


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    rows = {}
    for way, expression in WAYS.items():
        name = "".join(character if character.isalnum() else "_" for character in way)
        package = WORK / name
        (package / "src").mkdir(parents=True, exist_ok=True)
        (package / "src" / "main.rs").write_text(program(expression, count))
        (package / "Cargo.toml").write_text(
            f'[package]\nname = "{name}"\nversion = "0.0.0"\nedition = "2024"\n\n[workspace]\n\n'
            f'[dependencies]\ngather = {{ path = "{ROOT}" }}\nfutures-util = {{ version = "0.3", '
            'default-features = false, features = ["async-await-macro", "std"] }\npollster = "0.4"\n\n'
            "[profile.dev]\nincremental = false\n"
        )
        (package / ".cargo").mkdir(exist_ok=True)
        (package / ".cargo" / "config.toml").write_text(f'[build]\ntarget-dir = "{WORK}/target"\n')
        rows[way] = build(name, "dev"), build(name, "release"), text(name)
    base = rows.pop("one by one")
    peer = rows["try_join!"]
    print(f"{count} groups of three plain children, net of awaiting them one by one; a group:\n")
    print("| | `.text`, release | CPU, dev | CPU, release |\n|---|--:|--:|--:|")
    for way, (dev, release, size) in rows.items():
        net = [size - base[2], dev - base[0], release - base[1]]
        of = [peer[2] - base[2], peer[0] - base[0], peer[1] - base[1]]
        ratios = [f"{value / other:.2f}" for value, other in zip(net, of)]
        print(
            f"| {way} | {net[0] / count:.0f} bytes ({ratios[0]}) | {1000 * net[1] / count:.1f} ms ({ratios[1]}) "
            f"| {1000 * net[2] / count:.1f} ms ({ratios[2]}) |"
        )


main()
