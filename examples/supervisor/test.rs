//! The order in which things happen, in one process with the client.
//!
//!     cargo test -p gather-examples --example supervisor

use tokio::time::timeout;

use super::*;

/// A test that takes as long has failed.
const AT_MOST: Duration = Duration::from_secs(30);

fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

/// Runs the services beside a client, until the client drops `shut_down`. Returns what is in the database after that.
async fn supervised<F: Future>(client: impl FnOnce(Follower) -> F) -> String {
    let (shut_down, shutdown) = oneshot::channel::<()>();
    let shutdown = async { drop(shutdown.await) };
    supervised_until(shutdown, |services| client(Follower { shut_down: Some(shut_down), ..services })).await
}

async fn supervised_until<F: Future>(shutdown: impl Future<Output = ()>, client: impl FnOnce(Follower) -> F) -> String {
    let (address, database) = (free_address(), Rc::new(Database::default()));
    let (log, lines) = Log::new();
    let client = client(Follower { address, database: database.clone(), lines, shut_down: None });
    let both = async { tokio::join!(supervise(address, &database, &log, shutdown), client) };
    let (ended, _) = timeout(AT_MOST, both).await.expect("it ends");
    ended.expect("it ends by the shutdown");
    format!("{:?}", database.rows())
}

struct Follower {
    address: SocketAddr,
    database: Rc<Database>,
    lines: mpsc::UnboundedReceiver<String>,
    shut_down: Option<oneshot::Sender<()>>,
}

impl Follower {
    /// What happens next. Returns a client.
    async fn starts(&mut self) -> Client {
        self.expect(&[&format!("api: listens on {}", self.address), "pool: connected"]).await;
        Client::connect(self.address).await.expect("the API listens")
    }

    async fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.lines.recv().await.as_deref(), Some(*line));
        }
    }

    /// Nothing else happens after a shutdown.
    fn expect_end(mut self) {
        assert_eq!(self.lines.try_recv().ok(), None);
    }
}

#[tokio::test]
async fn the_services_end_in_order() {
    let rows = supervised(async |mut services| {
        let mut client = services.starts().await;
        assert_eq!(client.ask("set colour blue").await.unwrap(), "ok");
        client.send("slow colour").await.unwrap();
        services.expect(&["api: set colour", "api: slow colour"]).await;
        // Idle: it is closed at once.
        let mut idle = Client::connect(services.address).await.unwrap();
        services.shut_down.take();
        assert_eq!(idle.answer().await.unwrap(), "");
        assert_eq!(client.answer().await.unwrap(), "blue");
        services.expect(&["api: closed", "cache: has written 1", "pool: closed"]).await;
        services.expect_end();
    });
    assert_eq!(rows.await, r#"{"colour": "blue"}"#);
}

#[tokio::test]
async fn one_that_fails_restarts_all_and_the_others_end_in_order_before() {
    let rows = supervised(async |mut services| {
        let mut client = services.starts().await;
        client.ask("set colour blue").await.unwrap();
        client.send("slow colour").await.unwrap();
        services.expect(&["api: set colour", "api: slow colour"]).await;
        Client::connect(services.address).await.unwrap().send("break").await.unwrap();
        assert_eq!(client.answer().await.unwrap(), "blue");
        services.expect(&["api: break", "api failed: a request has broken it"]).await;
        services.expect(&["cache: has written 1", "pool: closed", "restart in 50 ms"]).await;

        let mut client = services.starts().await;
        assert_eq!(client.ask("get colour").await.unwrap(), "blue");
        services.shut_down.take();
        services.expect(&["api: get colour", "api: closed", "cache: has written 0", "pool: closed"]).await;
        services.expect_end();
    });
    assert_eq!(rows.await, r#"{"colour": "blue"}"#);
}

#[tokio::test]
async fn what_cannot_be_written_is_left_to_the_next_generation() {
    let rows = supervised(async |mut services| {
        services.starts().await.ask("set shape round").await.unwrap();
        services.database.set_up(false);
        services.expect(&["api: set shape", "pool failed: no database", "api: closed"]).await;
        services.expect(&["cache: keeps 1: no database", "restart in 50 ms"]).await;
        services.database.set_up(true);
        assert_eq!(services.starts().await.ask("get shape").await.unwrap(), "round");
        services.shut_down.take();
        services.expect(&["api: get shape", "api: closed", "cache: has written 1", "pool: closed"]).await;
        services.expect_end();
    });
    assert_eq!(rows.await, r#"{"shape": "round"}"#);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_the_cache_still_writes() {
    let rows = supervised(async |mut services| {
        let mut client = services.starts().await;
        client.ask(&format!("set colour {}", "b".repeat(1 << 20))).await.unwrap();
        // More than the sockets hold.
        for _ in 0..64 {
            client.0.write_all(b"get colour\n").await.unwrap();
        }
        services.expect(&["api: set colour", "api: get colour"]).await;
        services.shut_down.take();
        while services.lines.recv().await.expect("it is cut off") != "api: closed" {}
        services.expect(&["cache: has written 1", "pool: closed"]).await;
        services.expect_end();
    });
    assert!(rows.await.starts_with(r#"{"colour": "bbb"#));
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_is_a_shutdown() {
    use rustix::process::{Signal, getpid, kill_process};

    let mut ctrl_c = Box::pin(tokio::signal::ctrl_c());
    assert!(futures_util::poll!(&mut ctrl_c).is_pending());
    let rows = supervised_until(async { ctrl_c.await.unwrap() }, async |mut services| {
        services.starts().await;
        kill_process(getpid(), Signal::INT).unwrap();
        services.expect(&["api: closed", "cache: has written 0", "pool: closed"]).await;
        services.expect_end();
    });
    assert_eq!(rows.await, "{}");
}

/// Runs the services without a client, so the clock may be paused. Returns what they ended with, and what happened.
async fn unattended(address: SocketAddr, database: &Database, shutdown: impl Future<Output = ()>) -> (String, String) {
    let (log, mut lines) = Log::new();
    let ended = supervise(address, database, &log, shutdown).await;
    drop(log);
    let mut all = String::new();
    while let Some(line) = lines.recv().await {
        all += &line;
        all += "\n";
    }
    let ended = match ended {
        Ok(()) => "shut down".into(),
        Err(given_up) => format!("{given_up}: {}", given_up.error()),
    };
    (ended, all)
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_after_five_restarts_each_of_which_waits_longer() {
    let database = Database::default();
    database.set_up(false);
    let began = Instant::now();
    let (ended, lines) = unattended(free_address(), &database, std::future::pending()).await;
    assert_eq!(ended, "limit reached after 5 restarts: no database");
    assert_eq!(lines.matches("pool failed: no database\n").count(), 6);
    // Nothing was kept, so the cache ends in order.
    assert_eq!(lines.matches("cache: has written 0\n").count(), 6);
    assert_eq!(began.elapsed().as_millis() / 10, (50 + 100 + 200 + 400 + 800 + 6 * 5) / 10);
}

#[tokio::test]
async fn a_port_that_another_program_holds_is_not_tried_again() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let database = Database::default();
    let (ended, lines) = unattended(other.local_addr().unwrap(), &database, std::future::pending()).await;
    assert!(ended.starts_with("not retried, after 0 restarts: cannot listen: "), "{ended}");
    // The pool was told while it connected.
    assert!(lines.ends_with("cache: has written 0\npool: connected\npool: closed\n"), "{lines}");
}
