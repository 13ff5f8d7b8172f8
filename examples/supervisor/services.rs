//! The services. Each runs until it is told to end, and then ends in order.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use gather::{CancelSignal, Cancelled, cancellable, from_stream, gather};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::Log;

const CONNECTIONS: u32 = 2;
/// How often the pool looks after the database.
const CHECK: Duration = Duration::from_millis(50);
/// How often the cache writes back.
const WRITE_BACK: Duration = Duration::from_secs(5);
/// How long clients may take for their last requests. Shorter than the grace, so that there is time to write back.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// Why a service has failed.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("no database")]
    NoDatabase,
    #[error("the pool is closed")]
    PoolClosed,
    #[error("cannot listen: {0}")]
    Listen(io::Error),
    #[error("a request has broken it")]
    Broken,
}

/// Stands for a database server.
pub struct Database {
    rows: RefCell<BTreeMap<String, String>>,
    is_up: Cell<bool>,
}

impl Default for Database {
    fn default() -> Self {
        Database { rows: RefCell::default(), is_up: Cell::new(true) }
    }
}

impl Database {
    pub fn set_up(&self, is_up: bool) {
        self.is_up.set(is_up);
    }

    pub fn rows(&self) -> BTreeMap<String, String> {
        self.rows.borrow().clone()
    }

    async fn execute<T>(&self, query: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> Result<T, Failed> {
        sleep(Duration::from_millis(5)).await;
        if self.is_up.get() { Ok(query(&mut self.rows.borrow_mut())) } else { Err(Failed::NoDatabase) }
    }
}

/// Shares a few connections.
pub struct Pool<'a> {
    database: &'a Database,
    connections: Semaphore,
    log: &'a Log,
}

impl<'a> Pool<'a> {
    pub fn new(database: &'a Database, log: &'a Log) -> Self {
        Pool { database, connections: Semaphore::new(CONNECTIONS as usize), log }
    }

    /// Fails when the database is gone.
    pub async fn run(self: Rc<Self>, cancel: CancelSignal) -> Result<(), Failed> {
        self.database.execute(|_| self.log.say("pool: connected")).await?;
        while cancel.run_until_cancelled(sleep(CHECK)).await.is_some() {
            self.database.execute(|_| ()).await?;
        }
        // Every connection is given back, and none is lent any more.
        let all = self.connections.acquire_many(CONNECTIONS).await;
        self.connections.close();
        drop(all);
        self.log.say("pool: closed");
        Ok(())
    }

    async fn execute<T>(&self, query: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> Result<T, Failed> {
        let _connection = self.connections.acquire().await.map_err(|_| Failed::PoolClosed)?;
        self.database.execute(query).await
    }
}

/// Answers from memory, and writes back later.
pub struct Cache<'a> {
    pool: Rc<Pool<'a>>,
    entries: RefCell<HashMap<String, String>>,
    unwritten: &'a RefCell<BTreeMap<String, String>>,
    log: &'a Log,
}

impl<'a> Cache<'a> {
    pub fn new(pool: Rc<Pool<'a>>, unwritten: &'a RefCell<BTreeMap<String, String>>, log: &'a Log) -> Self {
        Cache { pool, entries: RefCell::new(unwritten.borrow().clone().into_iter().collect()), unwritten, log }
    }

    /// Fails when it cannot write back. What is unwritten then is left to the next generation.
    pub async fn run(self: Rc<Self>, cancel: CancelSignal) -> Result<(), Failed> {
        while cancel.run_until_cancelled(sleep(WRITE_BACK)).await.is_some() {
            self.write_back().await?;
        }
        // Now that no one uses it any more.
        self.write_back().await
    }

    async fn write_back(&self) -> Result<(), Failed> {
        let mut written = 0;
        while let Some((key, value)) = self.first_unwritten() {
            let row = (key.clone(), value.clone());
            if let Err(error) = self.pool.execute(|rows| rows.insert(row.0, row.1)).await {
                self.log.say(format!("cache: keeps {}: {error}", self.unwritten.borrow().len()));
                return Err(error);
            }
            written += 1;
            let mut unwritten = self.unwritten.borrow_mut();
            // Unless it was set again meanwhile.
            if unwritten.get(&key) == Some(&value) {
                unwritten.remove(&key);
            }
        }
        self.log.say(format!("cache: has written {written}"));
        Ok(())
    }

    fn first_unwritten(&self) -> Option<(String, String)> {
        self.unwritten.borrow().first_key_value().map(|(key, value)| (key.clone(), value.clone()))
    }

    fn set(&self, key: &str, value: &str) {
        self.entries.borrow_mut().insert(key.into(), value.into());
        self.unwritten.borrow_mut().insert(key.into(), value.into());
    }

    async fn get(&self, key: &str) -> Result<Option<String>, Failed> {
        if let Some(value) = self.entries.borrow().get(key) {
            return Ok(Some(value.clone()));
        }
        let value = self.pool.execute(|rows| rows.get(key).cloned()).await?;
        if let Some(value) = &value {
            self.entries.borrow_mut().entry(key.into()).or_insert_with(|| value.clone());
        }
        Ok(value)
    }
}

/// Answers clients. Told to end, it stops listening, and answers the requests that are in flight.
pub async fn api(address: SocketAddr, cache: Rc<Cache<'_>>, log: &Log, cancel: CancelSignal) -> Result<(), Failed> {
    let listener = TcpListener::bind(address).await.map_err(Failed::Listen)?;
    log.say(format!("api: listens on {address}"));
    let clients = stream::unfold(listener, async |listener| Some((accept(&listener).await, listener)));
    let clients = gather(from_stream(clients.map(|client| {
        let cache = &cache;
        cancellable(async move |cancel| converse(client, cache, log, cancel).await)
    })))
    .cancel_when(cancel.cancelled())
    .grace(|| sleep(LAST_REQUESTS));
    match clients.await {
        Ok(Err(failed)) => Err(failed),
        Ok(Ok(_)) | Err(Cancelled) => {
            log.say("api: closed");
            Ok(())
        }
    }
}

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

/// A request a line. It looks at the signal only between two of them.
async fn converse(client: TcpStream, cache: &Cache<'_>, log: &Log, cancel: CancelSignal) -> Result<(), Failed> {
    let (mut client, mut line) = (BufReader::new(client), String::new());
    loop {
        line.clear();
        match cancel.run_until_cancelled(client.read_line(&mut line)).await {
            // Told, at the end, or gone.
            None | Some(Ok(0) | Err(_)) => return Ok(()),
            Some(Ok(_)) => {}
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        // Without the value, which may be long.
        log.say(format!("api: {}", words[..words.len().min(2)].join(" ")));
        let answer = match words[..] {
            ["get", key] => cache.get(key).await,
            ["slow", key] => {
                sleep(Duration::from_millis(200)).await;
                cache.get(key).await
            }
            ["set", key, value] => {
                cache.set(key, value);
                Ok(Some("ok".into()))
            }
            ["break"] => return Err(Failed::Broken),
            _ => Ok(Some("get KEY, set KEY VALUE, slow KEY, break".into())),
        };
        let answer = match answer {
            Ok(Some(value)) => format!("{value}\n"),
            Ok(None) => "nothing\n".into(),
            Err(error) => format!("error: {error}\n"),
        };
        if client.write_all(answer.as_bytes()).await.is_err() {
            return Ok(());
        }
    }
}
