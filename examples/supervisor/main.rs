//! A pool, a cache that writes back to it, an API that uses the cache: restarted together when one of them fails, and ended
//! in order: the API, then the cache, then the pool.
//!
//!     cargo run -p gather-examples --example supervisor             # shows itself: two failures, then a shutdown
//!     cargo run -p gather-examples --example supervisor -- serve    # runs until ctrl-c; try: nc 127.0.0.1 7000
//!
//! The services are in `services.rs`. `test.rs` checks the order in which things happen.

mod services;
#[cfg(test)]
mod test;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use gather::{Cancelled, Limit, RestartError, cancellable, restart};
use services::{Cache, Database, Failed, Pool, api};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

const BACKOFF: Duration = Duration::from_millis(50);
const GRACE: Duration = Duration::from_secs(5);

/// Runs the services until the shutdown, or until a restart does not help.
async fn supervise(
    address: SocketAddr,
    database: &Database,
    log: &Log,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RestartError<Failed>> {
    // What the cache has not written yet outlives the generations.
    let unwritten = RefCell::new(BTreeMap::new());
    let began = Instant::now();
    let services = restart(Limit::within(5, Duration::from_secs(10), || began.elapsed()), || {
        let pool = Rc::new(Pool::new(database, log));
        let cache = Rc::new(Cache::new(pool.clone(), &unwritten, log));
        (
            // In the order in which they depend on each other.
            cancellable(|cancel| pool.run(cancel)),
            cancellable(|cancel| cache.clone().run(cancel)),
            cancellable(|cancel| api(address, cache, log, cancel)),
        )
    })
    .cancel_in_reverse()
    // A port that another program holds is not freed by trying again. Our own last generation never holds it.
    .when(|failure| !matches!(failure.error, Failed::Listen(_)))
    // At once, before the others are cancelled.
    .observe(|failure| log.say(format!("{} failed: {}", ["pool", "cache", "api"][failure.index], failure.error)))
    // When all of them have ended.
    .backoff(|failure| {
        let pause = BACKOFF * 2u32.pow(failure.recent);
        log.say(format!("restart in {} ms", pause.as_millis()));
        sleep(pause)
    })
    // For each shutdown and each restart.
    .grace(|| sleep(GRACE))
    .cancel_when(shutdown);
    match services.await {
        Err(Cancelled) => Ok(()),
        Ok(ended) => ended.map(drop),
    }
}

/// Prints what happens, and lets the demonstration and the tests follow it.
struct Log(mpsc::UnboundedSender<String>);

impl Log {
    fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Log(sender), receiver)
    }

    fn say(&self, line: impl Into<String>) {
        let line = line.into();
        println!("    {line}");
        // No one follows in `serve`.
        let _ = self.0.send(line);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let database = Database::default();
    let ended = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => return demonstrate(&database).await,
        ["serve"] => {
            let shutdown = async { tokio::signal::ctrl_c().await.expect("a handler for ctrl-c") };
            supervise("127.0.0.1:7000".parse()?, &database, &Log::new().0, shutdown).await
        }
        _ => {
            eprintln!("usage: supervisor [serve]");
            return Ok(ExitCode::from(2));
        }
    };
    if let Err(given_up) = ended {
        eprint!("error: {given_up}: ");
        eprintln!("{}", given_up.into_source());
        return Ok(ExitCode::FAILURE);
    }
    println!("ended in order");
    Ok(ExitCode::SUCCESS)
}

/// The services, and beside them a client.
async fn demonstrate(database: &Database) -> Result<ExitCode, Box<dyn Error>> {
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (log, mut lines) = Log::new();
    let (shut_down, shutdown) = oneshot::channel::<()>();
    let client = async {
        wait_for(&mut lines, "api: listens").await;
        let mut client = Client::connect(address).await?;
        client.ask("set colour blue").await?;
        println!("a request breaks the API, while another one is in flight:");
        client.send("slow colour").await?;
        wait_for(&mut lines, "api: slow colour").await;
        Client::connect(address).await?.send("break").await?;
        client.answer().await?;

        wait_for(&mut lines, "api: listens").await;
        client = Client::connect(address).await?;
        client.ask("get colour").await?;
        client.ask("set shape round").await?;
        println!("the database is gone:");
        database.set_up(false);
        // For two restarts.
        wait_for(&mut lines, "restart in").await;
        wait_for(&mut lines, "restart in").await;
        println!("the database is back:");
        database.set_up(true);

        wait_for(&mut lines, "api: listens").await;
        client = Client::connect(address).await?;
        client.ask("get shape").await?;
        println!("a shutdown, while a request is in flight:");
        client.send("slow shape").await?;
        wait_for(&mut lines, "api: slow shape").await;
        drop(shut_down);
        client.answer().await?;
        Ok::<_, Box<dyn Error>>(())
    };
    let shutdown = async { drop(shutdown.await) };
    let (ended, client) = tokio::join!(supervise(address, database, &log, shutdown), client);
    client?;
    ended.map_err(|given_up| given_up.into_source())?;
    println!("in the database: {:?}", database.rows());
    assert_eq!(database.rows(), [("colour", "blue"), ("shape", "round")].map(|(k, v)| (k.into(), v.into())).into());
    Ok(ExitCode::SUCCESS)
}

async fn wait_for(lines: &mut mpsc::UnboundedReceiver<String>, start: &str) {
    while let Some(line) = lines.recv().await {
        if line.starts_with(start) {
            return;
        }
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Client(BufReader::new(TcpStream::connect(address).await?)))
    }

    async fn send(&mut self, request: &str) -> std::io::Result<()> {
        println!("> {request}");
        self.0.write_all(format!("{request}\n").as_bytes()).await
    }

    async fn answer(&mut self) -> std::io::Result<String> {
        let mut answer = String::new();
        self.0.read_line(&mut answer).await?;
        println!("< {}", answer.trim_end());
        Ok(answer.trim_end().into())
    }

    async fn ask(&mut self, request: &str) -> std::io::Result<String> {
        self.send(request).await?;
        self.answer().await
    }
}
