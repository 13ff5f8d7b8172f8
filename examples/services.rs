//! A service and its metrics, each on a port of its own: restarted together when one of them fails, ended by ctrl-c.
//!
//!     cargo run --example services             # shows itself: three failures, then a ctrl-c
//!     cargo run --example services -- serve    # runs until ctrl-c, and says what to try

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gather::{CancelExt, Cancelled, Limit, RestartError, restart};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::sleep;

const BACKOFF: Duration = Duration::from_millis(50);
const GRACE: Duration = Duration::from_secs(2);
/// How long `GET /slow` takes.
const SLOW: Duration = Duration::from_millis(300);

/// Why a generation ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0} cannot listen: {1}")]
    Listen(&'static str, io::Error),
    #[error("{0} is broken")]
    Broken(&'static str),
}

/// What the metrics tell. It outlives the generations.
#[derive(Default)]
struct Stats {
    generation: Cell<u32>,
    requests: Cell<u32>,
}

/// Serves until ctrl-c, or until a restart is of no help.
pub(crate) async fn serve(api: SocketAddr, metrics: SocketAddr) -> Result<(), RestartError<Error>> {
    let stats = Stats::default();
    let began = Instant::now();
    let group = restart(Limit::within(5, Duration::from_secs(10), || began.elapsed()), || {
        stats.generation.set(stats.generation.get() + 1);
        println!("generation {}", stats.generation.get());
        let (to_api, at_api) = mpsc::channel(16);
        let (to_metrics, at_metrics) = mpsc::channel(16);
        (
            // Plain: dropped at once when another child fails or ctrl-c comes, so that nobody new is let in.
            listen("api", api, to_api),
            listen("metrics", metrics, to_metrics),
            // Shielded: told nothing. Each ends by itself when its listener is gone and all requests are answered; the
            // next generation is not made before that.
            answer("api", at_api, &stats).shield(),
            answer("metrics", at_metrics, &stats).shield(),
        )
    })
    // A port that another program holds is not freed by trying again. It is never held by our own last generation.
    .when(|failure| !matches!(failure.error, Error::Listen(_, source) if source.kind() == io::ErrorKind::AddrInUse))
    // At once, before the others are cancelled.
    .observe(|failure| println!("failed: {}", failure.error))
    .backoff(|failure| {
        println!("all are gone, because {}", failure.error);
        sleep(BACKOFF * 2u32.pow(failure.recent))
    })
    // For clients that would keep a generation for ever.
    .grace(|| async {
        sleep(GRACE).await;
        println!("the grace is over: who is left is cut off");
    })
    .cancel_when(async {
        tokio::signal::ctrl_c().await.expect("a handler for ctrl-c");
        println!("ctrl-c");
    });
    match group.await {
        Err(Cancelled) => {
            println!("ended in order");
            Ok(())
        }
        Ok(Err(error)) => Err(error),
    }
}

/// Hands on the connections. Fails when nobody takes them any more.
async fn listen(
    name: &'static str,
    address: SocketAddr,
    connections: mpsc::Sender<TcpStream>,
) -> Result<Infallible, Error> {
    let listener = TcpListener::bind(address).await.map_err(|error| Error::Listen(name, error))?;
    println!("{name} listens on http://{address}");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = connections.closed() => return Err(Error::Broken(name)),
        };
        let (connection, _) = accepted.map_err(|error| Error::Listen(name, error))?;
        connections.send(connection).await.map_err(|_| Error::Broken(name))?;
    }
}

/// Answers what the listener hands on, to the last one when the listener is gone.
async fn answer(name: &str, mut connections: mpsc::Receiver<TcpStream>, stats: &Stats) -> Result<(), Error> {
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            connection = connections.recv() => match connection {
                Some(connection) => open.push(converse(name, connection, stats)),
                None => break,
            },
            Some(answered) = open.next() => match answered {
                Ok(Broken(true)) => connections.close(),
                Ok(Broken(false)) => {}
                Err(error) => println!("{name}: a client went away: {error}"),
            },
        }
    }
    println!("{name} takes no more, {} in flight", open.len());
    while open.next().await.is_some() {}
    println!("{name} has answered all");
    Ok(())
}

/// The request has broken the service.
struct Broken(bool);

/// One request, by HTTP/1.1 as far as curl wants it.
async fn converse(name: &str, mut connection: TcpStream, stats: &Stats) -> io::Result<Broken> {
    let mut lines = BufReader::new((&mut connection).take(8 * 1024)).lines();
    let request = lines.next_line().await?.unwrap_or_default();
    while lines.next_line().await?.is_some_and(|header| !header.is_empty()) {}
    println!("{name}: {request}");
    stats.requests.set(stats.requests.get() + 1);

    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match (name, path) {
        ("api", "/") => ("200 OK", "hello\n".into()),
        ("api", "/slow") => {
            sleep(SLOW).await;
            ("200 OK", "at last\n".into())
        }
        ("metrics", "/metrics") => {
            let Stats { generation, requests } = stats;
            ("200 OK", format!("generation {}\nrequests {}\n", generation.get(), requests.get()))
        }
        (_, "/fail") => ("500 Internal Server Error", "broken\n".into()),
        _ => ("404 Not Found", String::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    connection.write_all((head + &body).as_bytes()).await?;
    connection.shutdown().await?;
    println!("{name}: {request}: {status}");
    Ok(Broken(path == "/fail"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (api, metrics) = match arguments[..] {
        #[cfg(unix)]
        [] => return demonstration::run().await,
        ["serve"] => ("127.0.0.1:8080", "127.0.0.1:9090"),
        ["serve", api, metrics] => (api, metrics),
        _ => {
            eprintln!("usage: services [serve [API-ADDRESS METRICS-ADDRESS]]");
            return Ok(ExitCode::from(2));
        }
    };
    println!("try: curl http://{api}/ http://{metrics}/metrics; curl http://{api}/slow & curl http://{metrics}/fail");
    if let Err(error) = serve(api.parse()?, metrics.parse()?).await {
        eprint!("error: {error}: ");
        eprintln!("{}", error.into_source());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The program as it is run with `serve`, and its client.
#[cfg(unix)]
mod demonstration {
    use std::error::Error;
    use std::io;
    use std::net::SocketAddr;
    use std::process::{ExitCode, Stdio};

    use rustix::process::{Pid, Signal, kill_process};
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
    use tokio::net::TcpStream;
    use tokio::process::{ChildStdout, Command};

    pub async fn run() -> Result<ExitCode, Box<dyn Error>> {
        let (api, metrics) = free_addresses()?;
        let mut server = Command::new(std::env::current_exe()?)
            .args(["serve", &api.to_string(), &metrics.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut log = Log(BufReader::new(server.stdout.take().expect("piped")).lines());
        for broken in [Some(api), Some(metrics), Some(api), None] {
            log.show_to(&format!("metrics listens on http://{metrics}")).await?;
            println!("{}", get(metrics, "/metrics").await?);
            // In flight when the generation's end comes, and answered nevertheless.
            let slow = tokio::spawn(get(api, "/slow"));
            log.show_to("api: GET /slow HTTP/1.1").await?;
            match broken {
                Some(broken) => println!("{}", get(broken, "/fail").await?),
                None => {
                    let id = server.id().expect("it runs").try_into()?;
                    println!("$ kill -INT {id}");
                    kill_process(Pid::from_raw(id).expect("an id is not 0"), Signal::INT)?;
                }
            }
            log.show_to("api: GET /slow HTTP/1.1: 200 OK").await?;
            println!("{}", slow.await??);
        }
        log.show_to("ended in order").await?;
        let status = server.wait().await?;
        println!("{status}");
        Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What the server prints, indented.
    struct Log(Lines<BufReader<ChildStdout>>);

    impl Log {
        async fn show_to(&mut self, last: &str) -> io::Result<()> {
            loop {
                let line = self.0.next_line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
                println!("    {line}");
                if line == last {
                    return Ok(());
                }
            }
        }
    }

    /// The body of the answer.
    async fn get(address: SocketAddr, path: &'static str) -> io::Result<String> {
        println!("$ curl http://{address}{path}");
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
        Ok(body.trim_end().into())
    }

    fn free_addresses() -> io::Result<(SocketAddr, SocketAddr)> {
        let free = || std::net::TcpListener::bind("127.0.0.1:0");
        let (api, metrics) = (free()?, free()?);
        Ok((api.local_addr()?, metrics.local_addr()?))
    }
}
