//! A TCP proxy: it copies both directions of each connection, passes on a half-close, and closes idle connections.
//!
//!     cargo run -p gather-examples --example tunnel                               # from 127.0.0.1:8081 to the server example
//!     cargo run -p gather-examples --example tunnel -- 0.0.0.0:2222 10.0.0.7:22   # from the first to the second
//!
//! On ctrl-c or SIGTERM it stops listening. Open connections may go on for ten seconds, and are then cut off.
//!
//! A connection is a group of two directions, the tunnel a group of connections. `test.rs` drives it.

#[cfg(test)]
mod test;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use gather::{CancelExt, Cancelled, Child, cancellable, from_stream, gather};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};

#[derive(Clone, Copy)]
struct Limits {
    /// How many connections may be open. Others wait in the system's backlog.
    connections: usize,
    /// How long it may take to connect to the target.
    connect: Duration,
    /// How long a connection may be open without a byte in either direction.
    idle: Duration,
    /// How long it may take to close a connection that has failed or was idle.
    close: Duration,
    /// How long open connections may go on once the tunnel shuts down.
    grace: Duration,
}

const LIMITS: Limits = Limits {
    connections: 1000,
    connect: Duration::from_secs(5),
    idle: Duration::from_secs(60),
    close: Duration::from_secs(1),
    grace: Duration::from_secs(10),
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, target) = match &arguments[..] {
        [] => ("127.0.0.1:8081", "127.0.0.1:8080"),
        [address, target] => (address.as_str(), target.as_str()),
        _ => {
            eprintln!("usage: tunnel [ADDRESS TARGET]");
            return Ok(ExitCode::from(2));
        }
    };
    let listener = TcpListener::bind(address).await?;
    let shutdown = shutdown_signal()?;
    println!("from {} to {target}", listener.local_addr()?);
    let stats = Stats::default();
    run(listener, target, LIMITS, shutdown, &stats).await;
    println!("{stats}");
    Ok(ExitCode::SUCCESS)
}

/// Accepts connections until the shutdown. When it returns, each of them is closed.
async fn run(listener: TcpListener, target: &str, limits: Limits, shutdown: impl Future<Output = ()>, stats: &Stats) {
    let clients = stream::unfold(listener, async |listener| Some((accept(&listener).await, listener)));
    let tunnel = gather(from_stream(clients.map(|client| {
        add(&stats.accepted, 1);
        // Shielded: a shutdown leaves it alone, until the grace is over.
        connection(client, target, limits, stats).shield().map(|ended| stats.ended(ended))
    })))
    // A connection that fails does not end the others.
    .settle()
    .concurrency(limits.connections)
    // Closes the listener.
    .cancel_when(shutdown)
    .grace(|| sleep(limits.grace));
    let _ = tunnel.await;
}

/// How a connection ends that does not fail.
#[derive(Debug)]
enum End {
    Closed,
    Idle,
}

async fn connection(client: TcpStream, target: &str, limits: Limits, stats: &Stats) -> io::Result<End> {
    let server = timeout(limits.connect, TcpStream::connect(target)).await??;
    // Whether small packets are held back is up to the peers.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    relay(client, server, limits, stats).await
}

/// Copies in both directions until both have ended, one has failed, or nothing has come for too long. Whichever it is, both
/// peers are told that nothing more comes.
async fn relay(
    client: impl AsyncRead + AsyncWrite,
    server: impl AsyncRead + AsyncWrite,
    limits: Limits,
    stats: &Stats,
) -> io::Result<End> {
    let active = Cell::new(Instant::now());
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let both = gather((
        direction(from_client, to_server, &active, &stats.sent),
        direction(from_server, to_client, &active, &stats.received),
    ))
    .cancel_when(idle(&active, limits.idle))
    .grace(|| sleep(limits.close));
    match both.await {
        Ok(ended) => ended.map(|_| End::Closed),
        Err(Cancelled) => Ok(End::Idle),
    }
}

/// One direction. However it ends, it then shuts its writer down, which passes a half-close on.
fn direction(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    active: &Cell<Instant>,
    bytes: &Cell<u64>,
) -> impl Child<Output = io::Result<()>> {
    cancellable(async move |cancel| {
        let copied = cancel.run_until_cancelled(copy(&mut from, &mut to, active, bytes)).await;
        let closed = to.shutdown().await;
        copied.unwrap_or(Ok(())).and(closed)
    })
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    active: &Cell<Instant>,
    bytes: &Cell<u64>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        active.set(Instant::now());
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
        active.set(Instant::now());
        add(bytes, read as u64);
    }
}

/// Ready when nothing has been active for that long.
async fn idle(active: &Cell<Instant>, limit: Duration) {
    while active.get().elapsed() < limit {
        sleep_until(active.get() + limit).await;
    }
}

/// The next connection. A failed `accept` does not end the tunnel: the client may have gone away again, or the process has
/// too many open files, which passes when connections end.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            Err(error) => {
                eprintln!("cannot accept: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Ready on ctrl-c or SIGTERM. The signals are caught from the call on, not only once this is polled.
#[cfg(unix)]
fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => println!("SIGINT"),
            _ = terminate.recv() => println!("SIGTERM"),
        }
    })
}

#[cfg(not(unix))]
fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async { tokio::signal::ctrl_c().await.expect("a handler for ctrl-c") })
}

/// What became of the connections, and the bytes that they carried.
#[derive(Default)]
struct Stats {
    accepted: Cell<u64>,
    closed: Cell<u64>,
    idle: Cell<u64>,
    failed: Cell<u64>,
    /// Bytes from clients to the target.
    sent: Cell<u64>,
    /// Bytes from the target to clients.
    received: Cell<u64>,
}

fn add(count: &Cell<u64>, more: u64) {
    count.set(count.get() + more);
}

impl Stats {
    fn ended(&self, ended: io::Result<End>) {
        match ended {
            Ok(End::Closed) => add(&self.closed, 1),
            Ok(End::Idle) => add(&self.idle, 1),
            Err(error) => {
                eprintln!("a connection failed: {error}");
                add(&self.failed, 1);
            }
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { accepted, closed, idle, failed, sent, received } = self;
        let [accepted, closed, idle, failed] = [accepted, closed, idle, failed].map(Cell::get);
        let cut_off = accepted - closed - idle - failed;
        write!(f, "{accepted} connections: {closed} closed, {idle} idle, {failed} failed, {cut_off} cut off; ")?;
        write!(f, "{} bytes sent, {} received", sent.get(), received.get())
    }
}
