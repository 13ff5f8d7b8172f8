//! The server and a restarted pair under random load, failures and cancellations. At the end both have as many tasks and
//! descriptors as at first, and hardly more memory than after a tenth of the time. On Linux, whose `/proc` says so.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use gather::{CancelExt, Cancelled, EitherChild, Group, Limit, gather, restart};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::*;

type Failure = Box<dyn Error + Send + Sync>;

/// Some of the clients wait in the backlog.
const CLIENTS: usize = 60;
const CONNECTIONS: usize = 40;

#[tokio::main(flavor = "current_thread")]
pub async fn run(length: Duration, seed: u64) -> Result<ExitCode, Box<dyn Error>> {
    println!("{} seconds, seed {seed}", length.as_secs());
    let mut server = Server::start_with("gather", CONNECTIONS, LONG_GRACE, Stdio::null());
    let (began, random) = (Instant::now(), RefCell::new(Rng::with_seed(seed)));
    let (load, pair) = (Load::default(), Pair::default());
    let before = [Usage::of(&server)?, Usage::own()?];
    let work = async |length| {
        let end = Instant::now() + length;
        let next = || random.borrow_mut().fork();
        let clients: Group<Vec<_>> = (0..CLIENTS).map(|_| load.visits(server.address, end, next())).collect();
        let ended = gather((clients, pair.rounds(end, next()))).await;
        ended.map(drop).map_err(|error| error as Box<dyn Error>)
    };
    work(length / 10).await?;
    let warm = [Usage::of(&server)?, Usage::own()?];
    work(length * 9 / 10).await?;

    // The server has yet to see that the last clients have gone.
    while Usage::of(&server)?.descriptors != before[0].descriptors {
        assert!(
            began.elapsed() < length + AT_MOST,
            "{} of the server before, {} after",
            before[0],
            Usage::of(&server)?
        );
        sleep(Duration::from_millis(10)).await;
    }
    let after = [Usage::of(&server)?, Usage::own()?];
    println!("{load}\n{pair}");
    for (whose, at) in ["the server", "the pair, with the clients"].into_iter().zip(0..) {
        println!("{whose}: at first {}, after a tenth {}, at the end {}", before[at], warm[at], after[at]);
        assert!(after[at].memory <= warm[at].memory * 5 / 4, "its memory grows");
        assert_eq!(after[at].descriptors, before[at].descriptors, "descriptors are left");
    }
    server.signal(Signal::TERM);
    let [connections, failed] = [load.connections.get(), load.refused.get() + load.gone_away.get()];
    let closed = connections - failed;
    server.expect_end(&format!("{connections} connections: {closed} closed, {failed} failed, 0 cut off"));
    Ok(ExitCode::SUCCESS)
}

/// What a process has.
struct Usage {
    /// Kilobytes that are resident.
    memory: usize,
    descriptors: usize,
}

impl Usage {
    fn of(server: &Server) -> io::Result<Self> {
        Self::read(&server.id.as_raw_nonzero().to_string())
    }

    fn own() -> io::Result<Self> {
        Self::read("self")
    }

    fn read(process: &str) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        let memory = resident.and_then(|number| number.trim().parse().ok()).ok_or(ErrorKind::InvalidData)?;
        Ok(Usage { memory, descriptors: fs::read_dir(format!("/proc/{process}/fd"))?.count() })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kB and {} descriptors", self.memory, self.descriptors)
    }
}

fn up_to(milliseconds: u64, random: &mut Rng) -> Duration {
    Duration::from_micros(random.u64(0..milliseconds * 1000))
}

/// What the clients have seen.
#[derive(Debug, Default)]
struct Load {
    connections: Cell<u64>,
    answered: Cell<u64>,
    panicked: Cell<u64>,
    refused: Cell<u64>,
    gone_away: Cell<u64>,
}

impl Load {
    /// One connection after the other.
    async fn visits(&self, address: SocketAddr, end: Instant, mut random: Rng) -> Result<(), Failure> {
        while Instant::now() < end {
            self.visit(TcpStream::connect(address).await?, &mut random).await?;
            sleep(up_to(10, &mut random)).await;
        }
        Ok(())
    }

    async fn visit(&self, mut stream: TcpStream, random: &mut Rng) -> io::Result<()> {
        count(&self.connections);
        for _ in 0..random.u32(0..30) {
            match random.u32(0..100) {
                0..70 => {
                    ask(&mut stream, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200 OK", "hello\n").await?;
                    count(&self.answered);
                }
                70..85 => {
                    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01234").await?;
                    sleep(up_to(20, random)).await;
                    ask(&mut stream, b"56789", "HTTP/1.1 200 OK", "10 bytes\n").await?;
                    count(&self.answered);
                }
                85..90 => {
                    ask(
                        &mut stream,
                        b"GET /panic HTTP/1.1\r\nhost: x\r\n\r\n",
                        "HTTP/1.1 500 Internal Server Error",
                        "\r\n\r\n",
                    )
                    .await?;
                    count(&self.panicked);
                }
                90..95 => {
                    ask(&mut stream, b"nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request", "\r\n\r\n").await?;
                    count(&self.refused);
                    return Ok(());
                }
                _ => {
                    let head =
                        ["GET /slow HTTP/1.1\r\nhost: x\r\n\r\n", "POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\n0"];
                    stream.write_all(head[random.usize(0..2)].as_bytes()).await?;
                    sleep(up_to(20, random)).await;
                    count(&self.gone_away);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { connections, answered, panicked, refused, gone_away } = self;
        let [connections, answered, panicked, refused, gone_away] =
            [connections, answered, panicked, refused, gone_away].map(Cell::get);
        write!(f, "{connections} connections: {answered} requests answered, {panicked} panicked, ")?;
        write!(f, "{refused} refused, {gone_away} clients gone away in a request")
    }
}

/// Sends a request, or the rest of one, and waits for the answer, which is known.
async fn ask(stream: &mut TcpStream, request: &[u8], start: &str, end: &str) -> io::Result<()> {
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    assert!(answer.starts_with(start.as_bytes()), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn count(events: &Cell<u64>) {
    events.set(events.get() + 1);
}

/// What became of the pairs.
#[derive(Debug, Default)]
struct Pair {
    generations: Cell<u64>,
    served: Cell<u64>,
    given_up: Cell<u64>,
    cancelled: Cell<u64>,
}

impl Pair {
    /// One restarted pair after the other: a service at a path that only one can bind, and a task that asks it until one of
    /// them fails.
    async fn rounds(&self, end: Instant, random: Rng) -> Result<(), Failure> {
        let path = std::env::temp_dir().join(format!("gather-soak-{}", std::process::id()));
        let random = RefCell::new(random);
        while Instant::now() < end {
            let limit = Limit::restarts(random.borrow_mut().u32(0..20));
            let signal = sleep(up_to(200, &mut random.borrow_mut()));
            let pair = || {
                count(&self.generations);
                let [lives, answers, cleans_up] = [30, 30, 5].map(|most| up_to(most, &mut random.borrow_mut()));
                let path = &path;
                let service = self.serve(path, lives).finally(move || async move {
                    sleep(cleans_up).await;
                    // A generation that is cancelled at once has not bound it.
                    let _ = fs::remove_file(path);
                });
                let asks = AbortOnDropHandle::new(tokio::spawn(question(path.clone(), answers)));
                (service, asks.on_cancel(|task| task.abort()).flatten())
            };
            match restart(limit, pair).cancel_when(signal).grace(|| sleep(AT_MOST)).await {
                Ok(Err(error)) => {
                    let source = error.into_source();
                    assert!(source.to_string().starts_with("tired of"), "{source}");
                    count(&self.given_up);
                }
                Err(Cancelled) => count(&self.cancelled),
                Ok(Ok(ended)) => match ended {},
            }
            assert!(!path.exists(), "the socket is left");
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "a task is left");
        }
        Ok(())
    }

    async fn serve(&self, path: &Path, lives: Duration) -> Result<Infallible, Failure> {
        let listener = UnixListener::bind(path)?;
        let serves = async {
            loop {
                let (mut stream, _) = listener.accept().await?;
                stream.write_all(b"!").await?;
                count(&self.served);
            }
        };
        let tired = async {
            sleep(lives).await;
            Err("tired of serving".into())
        };
        gather([EitherChild::Left(serves), EitherChild::Right(tired)]).await.map(|[never, _]| never)
    }
}

async fn question(path: PathBuf, lives: Duration) -> Result<Infallible, Failure> {
    let end = Instant::now() + lives;
    while Instant::now() < end {
        let mut stream = UnixStream::connect(&path).await?;
        assert_eq!(stream.read_u8().await?, b'!');
        sleep(Duration::from_millis(1)).await;
    }
    Err("tired of asking".into())
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [generations, served, given_up, cancelled] =
            [&self.generations, &self.served, &self.given_up, &self.cancelled].map(Cell::get);
        write!(f, "{generations} generations of the pair, {served} questions: ")?;
        write!(f, "{given_up} times given up, {cancelled} times cancelled")
    }
}
