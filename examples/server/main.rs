//! An HTTP server that shuts down in order: it stops accepting, closes idle connections, answers what is in flight.
//!
//!     cargo run -p gather-examples --example server             # serves until ctrl-c or SIGTERM
//!     cargo run -p gather-examples --example server -- tokio    # the same server made of spawned tasks, to compare
//!
//! The server itself is one expression, in `with_gather.rs`. `test.rs` checks both servers, and compares their speed.

mod with_gather;
mod with_tokio;

use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt;
use http_body_util::{BodyExt, Full};
use hyper::body::{Buf, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

#[derive(Clone, Copy)]
struct Limits {
    /// How many connections may be open. More of them wait in the backlog of the system.
    connections: usize,
    /// How long requests in flight may take once the server shuts down.
    grace: Duration,
}

#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut limits = Limits { connections: 1000, grace: Duration::from_secs(10) };
    let (server, address) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => ("gather", "127.0.0.1:8080"),
        [server @ ("gather" | "tokio")] => (server, "127.0.0.1:8080"),
        [server @ ("gather" | "tokio"), address, connections, grace] => {
            limits = Limits { connections: connections.parse()?, grace: Duration::from_millis(grace.parse()?) };
            (server, address)
        }
        _ => {
            eprintln!("usage: server [gather|tokio [ADDRESS CONNECTIONS GRACE-IN-MILLISECONDS]]");
            return Ok(ExitCode::from(2));
        }
    };
    let listener = TcpListener::bind(address).await?;
    let shutdown = shutdown_signal()?;
    println!("listens on http://{}", listener.local_addr()?);
    println!("try: curl http://{}/slow, and ctrl-c while it waits", listener.local_addr()?);

    let stats = Arc::new(Stats::default());
    match server {
        "tokio" => with_tokio::serve(listener, limits, shutdown, &stats).await,
        _ => with_gather::serve(listener, limits, shutdown, &stats).await,
    }
    println!("{stats}");
    println!("tasks left: {}", tokio::runtime::Handle::current().metrics().num_alive_tasks());
    Ok(ExitCode::SUCCESS)
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

/// The next connection. A failed `accept` does not end the server: the client may have gone away again, or the process
/// has too many open files, which passes when connections end. A pause keeps it from trying without rest.
async fn accept(listener: &TcpListener, stats: &Stats) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((connection, _)) => {
                stats.accepted.fetch_add(1, Relaxed);
                return connection;
            }
            Err(error) => {
                eprintln!("cannot accept: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// With its timer hyper closes a connection that sends no request for 30 seconds, so that it does not use up the limit.
fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new());
    http
}

/// One request. A panic is answered as well: uncaught it would end the server, whose connections all run in one task.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let handled = AssertUnwindSafe(handle(request)).catch_unwind().await;
    let (status, body) = handled.unwrap_or(Ok((StatusCode::INTERNAL_SERVER_ERROR, Bytes::new())))?;
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    Ok(response)
}

async fn handle(request: Request<Incoming>) -> Result<(StatusCode, Bytes), hyper::Error> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => (StatusCode::OK, "hello\n".into()),
        (&Method::GET, "/slow") => {
            sleep(Duration::from_secs(5)).await;
            (StatusCode::OK, "at last\n".into())
        }
        // In flight for as long as the client takes to send the body.
        (&Method::POST, "/") => {
            let (mut body, mut length) = (request.into_body(), 0);
            while let Some(frame) = body.frame().await {
                length += frame?.data_ref().map_or(0, Buf::remaining);
            }
            (StatusCode::OK, format!("{length} bytes\n").into())
        }
        (&Method::GET, "/panic") => panic!("a bug"),
        _ => (StatusCode::NOT_FOUND, Bytes::new()),
    })
}

/// What became of the connections. Counts, so that the memory of a server does not grow with its age.
#[derive(Default)]
struct Stats {
    accepted: AtomicUsize,
    closed: AtomicUsize,
    failed: AtomicUsize,
}

impl Stats {
    /// Counts a connection that has ended by itself.
    fn ended(&self, result: Result<(), hyper::Error>) {
        match result {
            Ok(()) => self.closed.fetch_add(1, Relaxed),
            // It sent no request for too long.
            Err(error) if error.is_timeout() => self.closed.fetch_add(1, Relaxed),
            Err(_) => self.failed.fetch_add(1, Relaxed),
        };
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [accepted, closed, failed] = [&self.accepted, &self.closed, &self.failed].map(|count| count.load(Relaxed));
        let cut_off = accepted - closed - failed;
        write!(f, "{accepted} connections: {closed} closed, {failed} failed, {cut_off} cut off")
    }
}
