//! Both servers, each as a process of its own, on loopback.
//!
//!     cargo test -p gather-examples --test server                             # every check
//!     cargo test -p gather-examples --test server -- limit                    # those whose name contains a word
//!     cargo test -p gather-examples --test server --release -- throughput     # which of the servers is faster
//!     cargo test -p gather-examples --test server --release -- soak 1800 1    # half an hour of random load, with seed 1
//!
//! Nothing here waits for a length of time: a request is in flight for as long as its client holds back the body, and a
//! server has seen the signal when its idle connections are closed.

#[path = "main.rs"]
mod server;
mod soak;

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A check that takes as long has failed.
const AT_MOST: Duration = Duration::from_secs(30);
const LONG_GRACE: Duration = Duration::from_secs(20);
const SERVERS: [&str; 2] = ["gather", "tokio"];
/// Each runs with each server.
type Check = fn(&str);
const CHECKS: [(&str, Check); 6] = [
    ("drain", requests_in_flight_are_answered_and_idle_connections_closed),
    ("limit", connections_beyond_the_limit_wait),
    ("ctrl-c", ctrl_c_does_the_same),
    ("grace", a_request_that_takes_too_long_is_cut_off),
    ("failure", a_connection_that_fails_ends_alone),
    ("panic", a_request_that_panics_fails_alone),
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    match arguments.first().map(String::as_str) {
        // This process is the server.
        Some(server) if SERVERS.contains(&server) => return server::main(),
        Some("throughput") => return throughput::compare(),
        Some("soak") => {
            let number = |at: usize, or| arguments.get(at).map_or(Ok(or), |number| number.parse());
            return soak::run(Duration::from_secs(number(1, 1800)?), number(2, 1)?);
        }
        _ => {}
    }
    for (name, check) in CHECKS {
        if arguments.iter().all(|word| name.contains(word)) {
            for server in SERVERS {
                check(server);
                println!("{name} with {server}: ok");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn requests_in_flight_are_answered_and_idle_connections_closed(server: &str) {
    let mut server = Server::start(server, 1000, LONG_GRACE);
    // The first of all, so it has been accepted when the second one is answered.
    let mut silent = server.connect();
    let mut clients: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get(), Answer::of("hello\n"));
    }
    let mut idle = clients.split_off(100);
    let mut in_flight = clients;
    in_flight.iter_mut().for_each(Client::begin_request);

    let signalled = Instant::now();
    server.signal(Signal::TERM);
    // While all of the others are still in flight.
    for client in &mut idle {
        client.expect_closed();
    }
    silent.expect_closed();
    let refused = TcpStream::connect(server.address).expect_err("no connection is accepted any more");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    for client in &mut in_flight {
        assert_eq!(client.end_request(), Answer { is_last: true, ..Answer::of("10 bytes\n") });
        client.expect_closed();
    }
    server.expect_end("201 connections: 201 closed, 0 failed, 0 cut off");
    assert!(signalled.elapsed() < LONG_GRACE);
}

fn connections_beyond_the_limit_wait(server: &str) {
    let mut server = Server::start(server, 3, LONG_GRACE);
    let [mut first, mut second, mut third] = [(); 3].map(|()| server.connect());
    for client in [&mut first, &mut second, &mut third] {
        client.get();
    }
    let mut fourth = server.connect();
    fourth.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    for _ in 0..10 {
        first.get();
        fourth.expect_nothing();
    }
    drop(second);
    assert_eq!(fourth.answer(), Answer::of("hello\n"));

    // In the backlog when the signal comes.
    let mut fifth = server.connect();
    fifth.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    first.begin_request();
    server.signal(Signal::TERM);
    for client in [&mut third, &mut fourth, &mut fifth] {
        client.expect_closed();
    }
    first.end_request();
    server.expect_end("4 connections: 4 closed, 0 failed, 0 cut off");
}

fn ctrl_c_does_the_same(server: &str) {
    let mut server = Server::start(server, 10, LONG_GRACE);
    let [mut idle, mut in_flight] = [(); 2].map(|()| server.connect());
    idle.get();
    in_flight.begin_request();
    server.signal(Signal::INT);
    idle.expect_closed();
    assert_eq!(in_flight.end_request().body, "10 bytes\n");
    server.expect_end("2 connections: 2 closed, 0 failed, 0 cut off");
}

fn a_request_that_takes_too_long_is_cut_off(server: &str) {
    let mut server = Server::start(server, 10, Duration::from_millis(50));
    let [mut idle, mut endless] = [(); 2].map(|()| server.connect());
    idle.get();
    endless.begin_request();
    server.signal(Signal::TERM);
    idle.expect_closed();
    endless.expect_closed();
    server.expect_end("2 connections: 1 closed, 0 failed, 1 cut off");
}

fn a_connection_that_fails_ends_alone(server: &str) {
    let mut server = Server::start(server, 10, LONG_GRACE);
    let [mut calm, mut failing] = [(); 2].map(|()| server.connect());
    calm.get();
    failing.send("nonsense\r\n\r\n");
    assert_eq!(failing.answer().status, "HTTP/1.1 400 Bad Request");
    failing.expect_closed();
    assert_eq!(calm.get(), Answer::of("hello\n"));
    server.signal(Signal::TERM);
    calm.expect_closed();
    server.expect_end("2 connections: 1 closed, 1 failed, 0 cut off");
}

fn a_request_that_panics_fails_alone(server: &str) {
    let mut server = Server::start(server, 10, LONG_GRACE);
    let [mut calm, mut failing] = [(); 2].map(|()| server.connect());
    calm.begin_request();
    failing.send("GET /panic HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(failing.answer().status, "HTTP/1.1 500 Internal Server Error");
    assert_eq!(failing.get(), Answer::of("hello\n"));
    assert_eq!(calm.end_request(), Answer::of("10 bytes\n"));
    server.signal(Signal::TERM);
    calm.expect_closed();
    failing.expect_closed();
    server.expect_end("2 connections: 2 closed, 0 failed, 0 cut off");
}

/// A server in a process of its own, which is killed when this is dropped.
struct Server {
    address: SocketAddr,
    id: Pid,
    printed: mpsc::Receiver<String>,
    ended: mpsc::Receiver<ExitStatus>,
}

impl Server {
    fn start(server: &str, connections: usize, grace: Duration) -> Self {
        Self::start_with(server, connections, grace, Stdio::inherit())
    }

    fn start_with(server: &str, connections: usize, grace: Duration, panics: Stdio) -> Self {
        let mut process = Command::new(env::current_exe().expect("a path"))
            .args([server, "127.0.0.1:0", &connections.to_string(), &grace.as_millis().to_string()])
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::piped())
            .stderr(panics)
            .spawn()
            .expect("it starts");
        let id = Pid::from_raw(process.id() as i32).expect("an id is not 0");
        let output = process.stdout.take().expect("it is piped");
        let (to_printed, printed) = mpsc::channel();
        let (to_ended, ended) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = to_printed.send(line);
            }
            drop(to_printed);
            let _ = to_ended.send(process.wait().expect("it is a child"));
        });
        let first = printed.recv_timeout(AT_MOST).expect("it says where it listens");
        let address = first.trim_start_matches("listens on http://").parse().expect("an address");
        Server { address, id, printed, ended }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(AT_MOST)).expect("a timeout");
        Client { stream: BufReader::new(stream) }
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.id, signal).expect("it runs");
    }

    /// It ends well, leaves no task behind, and says what became of its connections.
    fn expect_end(&mut self, report: &str) {
        let status = self.ended.recv_timeout(AT_MOST).expect("it ends");
        assert_eq!(status.code(), Some(0));
        let printed: Vec<String> = self.printed.try_iter().collect();
        assert_eq!(printed[printed.len() - 2..], [report, "tasks left: 0"]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(mpsc::TryRecvError::Empty) = self.ended.try_recv() {
            let _ = kill_process(self.id, Signal::KILL);
        }
    }
}

/// A connection that is kept alive.
struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: String,
    body: String,
    /// The server will close the connection.
    is_last: bool,
}

impl Answer {
    fn of(body: &str) -> Self {
        Answer { status: "HTTP/1.1 200 OK".into(), body: body.into(), is_last: false }
    }
}

impl Client {
    fn send(&mut self, request: &str) {
        self.stream.get_mut().write_all(request.as_bytes()).expect("it is open");
    }

    fn answer(&mut self) -> Answer {
        let mut head =
            (&mut self.stream).lines().map(|line| line.expect("an answer")).take_while(|line| !line.is_empty());
        let status = head.next().expect("an answer");
        let headers: Vec<String> = head.map(|header| header.to_lowercase()).collect();
        let length = headers.iter().find_map(|header| header.strip_prefix("content-length: ")).unwrap_or("0");
        let mut body = vec![0; length.parse().expect("a length")];
        self.stream.read_exact(&mut body).expect("a body");
        let is_last = headers.iter().any(|header| header == "connection: close");
        Answer { status, body: String::from_utf8(body).expect("text"), is_last }
    }

    fn get(&mut self) -> Answer {
        self.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        self.answer()
    }

    /// Returns when the server waits for the body.
    fn begin_request(&mut self) {
        self.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n");
        assert_eq!(self.answer().status, "HTTP/1.1 100 Continue");
        self.send("01234");
    }

    fn end_request(&mut self) -> Answer {
        self.send("56789");
        self.answer()
    }

    /// Waits until the server has closed the connection, without an answer.
    fn expect_closed(&mut self) {
        match self.stream.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("not closed: {other:?}"),
        }
    }

    /// The server has sent nothing so far.
    fn expect_nothing(&mut self) {
        self.stream.get_ref().set_nonblocking(true).expect("a socket");
        let read = self.stream.read(&mut [0]);
        assert_eq!(read.expect_err("nothing was sent").kind(), ErrorKind::WouldBlock);
        self.stream.get_ref().set_nonblocking(false).expect("a socket");
    }
}

/// Both servers measured side by side, each on one thread.
mod throughput {
    use std::fs;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::task::JoinSet;

    use super::*;

    const CLIENTS: usize = 200;
    const REQUESTS: usize = 100;
    const ROUNDS: usize = 21;
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// One round of a server.
    #[derive(Clone, Copy)]
    struct Round {
        /// Requests per second.
        rate: f64,
        /// Microseconds of processor time per request.
        cost: f64,
    }

    #[tokio::main(flavor = "current_thread")]
    pub async fn compare() -> Result<ExitCode, Box<dyn Error>> {
        // Both run all the time; the one that has no round waits, and costs nothing.
        let servers = SERVERS.map(|server| Server::start(server, CLIENTS, LONG_GRACE));
        let mut clients = [Vec::new(), Vec::new()];
        for (server, clients) in servers.iter().zip(&mut clients) {
            for _ in 0..CLIENTS {
                clients.push(TcpStream::connect(server.address).await?);
            }
        }
        let mut rounds = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            // Each of them is the first in every second round.
            for turn in [round % 2, 1 - round % 2] {
                let measured = measure(&servers[turn], &mut clients[turn]).await?;
                // The first round warms up.
                if round != 0 {
                    rounds[turn].push(measured);
                }
            }
        }
        for (server, rounds) in SERVERS.iter().zip(&rounds) {
            let rate = median(rounds.iter().map(|round| round.rate));
            let cost = median(rounds.iter().map(|round| round.cost));
            println!("{server}: {rate:.0} requests/s, {cost:.2} µs of processor time each");
        }
        let [gather, tokio] = &rounds;
        let pairs = || gather.iter().zip(tokio);
        let ratio = median(pairs().map(|(gather, tokio)| gather.rate / tokio.rate));
        let cost = median(pairs().map(|(gather, tokio)| gather.cost / tokio.cost));
        println!("gather / tokio: {ratio:.3} of the requests/s, {cost:.3} of the processor time");
        // What one core can do. The rate depends on what else the machine does.
        Ok(if cost <= 1.0 / 0.95 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn measure(server: &Server, clients: &mut Vec<TcpStream>) -> Result<Round, Box<dyn Error>> {
        let (began, cpu) = (Instant::now(), cpu_time(server)?);
        let mut tasks: JoinSet<std::io::Result<TcpStream>> = clients.drain(..).map(ask).collect();
        while let Some(ended) = tasks.join_next().await {
            clients.push(ended??);
        }
        let requests = (CLIENTS * REQUESTS) as f64;
        let rate = requests / began.elapsed().as_secs_f64();
        Ok(Round { rate, cost: (cpu_time(server)? - cpu).as_secs_f64() * 1e6 / requests })
    }

    async fn ask(mut stream: TcpStream) -> std::io::Result<TcpStream> {
        let mut buffer = [0; 1024];
        for _ in 0..REQUESTS {
            stream.write_all(REQUEST).await?;
            let mut length = 0;
            while !buffer[..length].ends_with(b"\r\n\r\nhello\n") {
                length += match stream.read(&mut buffer[length..]).await? {
                    0 => return Err(ErrorKind::UnexpectedEof.into()),
                    read => read,
                };
            }
        }
        Ok(stream)
    }

    /// The processor time of the server's only thread.
    fn cpu_time(server: &Server) -> Result<Duration, Box<dyn Error>> {
        let statistics = fs::read_to_string(format!("/proc/{}/schedstat", server.id.as_raw_nonzero()))?;
        let nanoseconds = statistics.split(' ').next().ok_or("no processor time")?;
        Ok(Duration::from_nanos(nanoseconds.parse()?))
    }

    fn median(values: impl Iterator<Item = f64>) -> f64 {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
}
