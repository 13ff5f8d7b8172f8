//! Two queries on a PostgreSQL server. When one fails the other is cancelled on the server too, and has ended there
//! before the caller goes on. Beside it the same with `try_join!`, after which the server still works.
//!
//!     cargo run -p gather-examples --example postgres
//!
//! The server is that of `DATABASE_URL`, or else one on port 54329 of this machine. On Debian, as root:
//!
//!     apt-get install postgresql
//!     install -d -o postgres /tmp/gather-postgres
//!     su postgres -c '/usr/lib/postgresql/*/bin/initdb -A trust -D /tmp/gather-postgres'
//!     su postgres -c '/usr/lib/postgresql/*/bin/pg_ctl -w -D /tmp/gather-postgres -l /tmp/gather-postgres/log \
//!         -o "-c listen_addresses=127.0.0.1 -p 54329 -k /tmp/gather-postgres" start'
//!
//! and to stop it:
//!
//!     su postgres -c '/usr/lib/postgresql/*/bin/pg_ctl -D /tmp/gather-postgres stop'

use std::process::ExitCode;
use std::time::{Duration, Instant};

use gather::{CancelExt, Child, gather};
use tokio::time::sleep;
use tokio_postgres::{Client, Error, NoTls};

const DEFAULT: &str = "host=127.0.0.1 port=54329 user=postgres";

/// Takes a minute.
const SLOW: &str = "SELECT pg_sleep(60)";

/// A query that is cancelled on the server, and waited for, when a sibling fails.
fn query<'a>(client: &'a Client, sql: &'a str) -> impl Child<Output = Result<(), Error>> + 'a {
    client.batch_execute(sql).cleanup(|| stop(client))
}

async fn stop(client: &Client) {
    // Goes through a connection of its own: the query's is busy.
    if let Err(error) = client.cancel_token().cancel_query(NoTls).await {
        eprintln!("not cancelled: {error}");
    }
    // A connection's queries are answered one after the other: this one when the one before has ended. The server may
    // signal twice, and so cancel this one too: with what it ends is of no matter, and the connection is not used again.
    let _ = client.batch_execute("").await;
}

/// Fails as soon as the other query is being worked at.
async fn failing(client: &Client) -> Result<(), Error> {
    while !is_slow_running(client).await? {
        sleep(Duration::from_millis(10)).await;
    }
    client.batch_execute("SELECT 1 / 0").await
}

/// What the server says of itself.
async fn is_slow_running(client: &Client) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = $1";
    Ok(client.query_opt(sql, &[&SLOW]).await?.is_some())
}

async fn both_ways(url: &str, other: &Client) -> Result<(), Error> {
    assert!(!is_slow_running(other).await?, "somebody else runs this example");

    let slow = connect(url).await?;
    let began = Instant::now();
    let result = gather((query(&slow, SLOW), failing(other)))
        // Should the server not answer.
        .grace(|| sleep(Duration::from_secs(10)))
        .await;
    let still_running = is_slow_running(other).await?;
    tell("gather", began, &result, still_running);
    assert!(result.is_err() && !still_running);

    let slow = connect(url).await?;
    let began = Instant::now();
    let result = tokio::try_join!(slow.batch_execute(SLOW), failing(other));
    let still_running = is_slow_running(other).await?;
    tell("try_join!", began, &result, still_running);
    assert!(result.is_err() && still_running);

    // Or the server would work on for a minute.
    stop(&slow).await;
    assert!(!is_slow_running(other).await?);
    Ok(())
}

fn tell<T>(what: &str, began: Instant, result: &Result<T, Error>, still_running: bool) {
    let error = result.as_ref().err().and_then(Error::as_db_error);
    println!("{what}: {}, after {} ms", error.map_or("no error", |error| error.message()), began.elapsed().as_millis());
    println!("    the other query, says the server: {}", if still_running { "still running" } else { "gone" });
}

async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let url = std::env::var("DATABASE_URL").unwrap_or(DEFAULT.into());
    let other = match connect(&url).await {
        Ok(other) => other,
        Err(error) => {
            eprintln!("no PostgreSQL server at {url:?}: {error}");
            eprintln!("The head of examples/postgres.rs says how to start one; DATABASE_URL names another.");
            return ExitCode::FAILURE;
        }
    };
    match both_ways(&url, &other).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
