//! The tunnel between a client and a target of this test, and the directions of one connection under a paused clock.
//!
//!     cargo test -p gather-examples --example tunnel

use tokio::io::{DuplexStream, duplex};
use tokio::sync::oneshot;

use super::*;

/// A test that takes as long has failed.
const AT_MOST: Duration = Duration::from_secs(30);

/// Runs the tunnel beside a client, which gets the address to connect to, the target's listener, and what begins the
/// shutdown when it is dropped. Returns what the tunnel reports.
async fn tunneled<F: Future>(limits: Limits, client: impl FnOnce(Ends) -> F) -> String {
    let (listener, target) = (bind().await, bind().await);
    let to = target.local_addr().expect("an address").to_string();
    let (shut_down, shutdown) = oneshot::channel::<()>();
    let ends = Ends { address: listener.local_addr().expect("an address"), target, shut_down };
    let stats = Stats::default();
    let shutdown = async { drop(shutdown.await) };
    let both = async { tokio::join!(run(listener, &to, limits, shutdown, &stats), client(ends)) };
    timeout(AT_MOST, both).await.expect("it ends");
    stats.to_string()
}

struct Ends {
    address: std::net::SocketAddr,
    target: TcpListener,
    shut_down: oneshot::Sender<()>,
}

impl Ends {
    /// A connection through the tunnel: the client's end and the target's.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.address).await.expect("the tunnel listens");
        let (target, _) = self.target.accept().await.expect("the tunnel connects");
        (client, target)
    }
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// Answers everything it has been sent, in capitals, once it has been sent all.
async fn echo_at_the_end(mut target: TcpStream) -> io::Result<()> {
    let mut received = String::new();
    target.read_to_string(&mut received).await?;
    target.write_all(received.to_uppercase().as_bytes()).await
}

#[tokio::test]
async fn a_half_close_is_passed_on() {
    let report = tunneled(LIMITS, async |ends| {
        let (mut client, target) = ends.connect().await;
        let echo = tokio::spawn(echo_at_the_end(target));
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "HELLO");
        echo.await.unwrap().unwrap();
    });
    assert_eq!(report.await, "1 connections: 1 closed, 0 idle, 0 failed, 0 cut off; 5 bytes sent, 5 received");
}

#[tokio::test]
async fn much_goes_both_ways_at_a_time() {
    const MUCH: usize = 4 << 20;
    let report = tunneled(LIMITS, async |ends| {
        let (client, target) = ends.connect().await;
        let (mut from_target, mut to_target) = client.into_split();
        let (mut from_client, mut to_client) = target.into_split();
        let send = async {
            to_target.write_all(&vec![1; MUCH]).await.unwrap();
            drop(to_target);
        };
        let echo = async {
            tokio::io::copy(&mut from_client, &mut to_client).await.unwrap();
            drop(to_client);
        };
        let receive = async {
            let mut received = Vec::new();
            from_target.read_to_end(&mut received).await.unwrap();
            assert_eq!(received.len(), MUCH);
        };
        tokio::join!(send, echo, receive);
    });
    assert_eq!(
        report.await,
        format!("1 connections: 1 closed, 0 idle, 0 failed, 0 cut off; {MUCH} bytes sent, {MUCH} received")
    );
}

#[tokio::test]
async fn at_a_shutdown_nobody_is_let_in_and_open_connections_go_on() {
    let report = tunneled(LIMITS, async |ends| {
        let (mut client, mut target) = ends.connect().await;
        let Ends { address, shut_down, .. } = ends;
        drop(shut_down);
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let refused = TcpStream::connect(address).await.expect_err("no connection is accepted any more");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        client.write_all(b"?").await.unwrap();
        assert_eq!(target.read_u8().await.unwrap(), b'?');
        target.write_all(b"!").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'!');
        drop(client);
        assert_eq!(target.read(&mut [0]).await.unwrap(), 0);
    });
    assert_eq!(report.await, "1 connections: 1 closed, 0 idle, 0 failed, 0 cut off; 1 bytes sent, 1 received");
}

#[tokio::test]
async fn what_is_open_after_the_grace_is_cut_off() {
    let limits = Limits { grace: Duration::from_millis(50), ..LIMITS };
    let report = tunneled(limits, async |ends| {
        let (mut client, mut target) = ends.connect().await;
        drop(ends.shut_down);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(target.read(&mut [0]).await.unwrap(), 0);
    });
    assert_eq!(report.await, "1 connections: 0 closed, 0 idle, 0 failed, 1 cut off; 0 bytes sent, 0 received");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let limits = Limits { connections: 1, ..LIMITS };
    let report = tunneled(limits, async |ends| {
        let (first, first_target) = ends.connect().await;
        let mut second = TcpStream::connect(ends.address).await.unwrap();
        second.write_all(b"?").await.unwrap();
        let accepted = async { ends.target.accept().await.unwrap().0 };
        let mut accepted = std::pin::pin!(accepted);
        tokio::select! {
            biased;
            _ = &mut accepted => panic!("one at a time"),
            () = async { for _ in 0..100 { tokio::task::yield_now().await } } => {}
        }
        drop((first, first_target));
        assert_eq!(accepted.await.read_u8().await.unwrap(), b'?');
        drop((second, ends.shut_down));
    });
    assert_eq!(report.await, "2 connections: 2 closed, 0 idle, 0 failed, 0 cut off; 1 bytes sent, 0 received");
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_fails_that_connection_alone() {
    let report = tunneled(LIMITS, async |ends| {
        let Ends { address, target, shut_down } = ends;
        drop(target);
        for _ in 0..2 {
            let mut client = TcpStream::connect(address).await.unwrap();
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
        drop(shut_down);
    });
    assert_eq!(report.await, "2 connections: 0 closed, 0 idle, 2 failed, 0 cut off; 0 bytes sent, 0 received");
}

#[cfg(unix)]
#[tokio::test]
async fn sigterm_begins_the_shutdown() {
    use rustix::process::{Signal, getpid, kill_process};

    let shutdown = shutdown_signal().unwrap();
    kill_process(getpid(), Signal::TERM).unwrap();
    let stats = Stats::default();
    timeout(AT_MOST, run(bind().await, "127.0.0.1:1", LIMITS, shutdown, &stats)).await.expect("it ends");
}

// ---- one connection, under a paused clock ----

const IDLE: Duration = LIMITS.idle;

/// Runs a connection beside its two ends. Returns what it ended with, and when.
async fn relayed(ends: impl AsyncFnOnce(DuplexStream, DuplexStream)) -> (String, Duration) {
    let ((client, at_tunnel), (to_target, target)) = (duplex(64), duplex(64));
    let (began, stats) = (Instant::now(), Stats::default());
    let relay = async { (relay(at_tunnel, to_target, LIMITS, &stats).await, began.elapsed()) };
    let ((ended, after), ()) = tokio::join!(relay, ends(client, target));
    (format!("{ended:?}"), after)
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_in_both_directions() {
    let ended = relayed(async |mut client, mut target| {
        client.write_all(b"?").await.unwrap();
        assert_eq!(target.read_u8().await.unwrap(), b'?');
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(target.read(&mut [0]).await.unwrap(), 0);
    });
    assert_eq!(ended.await, ("Ok(Idle)".into(), IDLE));
}

#[tokio::test(start_paused = true)]
async fn one_direction_keeps_a_connection_open() {
    let ended = relayed(async |mut client, mut target| {
        for _ in 0..10 {
            sleep(IDLE * 2 / 3).await;
            target.write_all(b".").await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'.');
        }
        // A half-close does not end the limit.
        target.shutdown().await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        sleep(IDLE * 2).await;
        assert_eq!(target.read(&mut [0]).await.unwrap(), 0);
    });
    assert_eq!(ended.await, ("Ok(Idle)".into(), IDLE * 2 / 3 * 10 + IDLE));
}

#[tokio::test(start_paused = true)]
async fn a_direction_that_fails_closes_the_other_one() {
    let ended = relayed(async |mut client, target| {
        drop(target);
        // The target is gone, which the tunnel sees when it writes.
        client.write_all(b"?").await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    });
    let (ended, after) = ended.await;
    assert!(ended.contains("BrokenPipe"), "{ended}");
    assert_eq!(after, Duration::ZERO);
}
