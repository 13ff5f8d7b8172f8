//! Hundreds of downloads, sixteen at a time, of which some fail: a progress bar, and in the end what failed, and how.
//!
//!     cargo run -p gather-examples --example downloads
//!
//! ctrl-c ends it early, with the same report of what was done until then.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use gather::{Cause, Group, Outcome};
use indicatif::{ProgressBar, ProgressStyle};

const FILES: usize = 400;
const AT_ONCE: usize = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let served = Arc::new(Served::default());
    let server = serve(served.clone()).await?;
    println!("{FILES} files from http://{server}, {AT_ONCE} at a time");

    // Drawn on a terminal only.
    let style = "{elapsed} {wide_bar:.cyan/dim} {pos}/{len} {per_sec}";
    let bar = ProgressBar::new(FILES as u64).with_style(ProgressStyle::with_template(style)?);
    let client = reqwest::Client::new();

    let downloads: Group<_> = (0..FILES).map(|file| download(&client, server, file, &bar)).collect();
    let report = downloads
        .concurrency(AT_ONCE)
        // A failure does not end the others.
        .settle()
        .report()
        .cancel_when(tokio::signal::ctrl_c())
        .await;
    bar.finish_and_clear();

    let mut failures = BTreeMap::<String, Vec<usize>>::new();
    for (file, error) in report.failed() {
        failures.entry(why(error)).or_default().push(file);
    }
    let cause = report.cause;
    let bytes: Vec<usize> = report.into_iter().filter_map(Outcome::ok).collect();
    let failed: usize = failures.values().map(Vec::len).sum();
    let left = FILES - bytes.len() - failed;
    println!("{cause}: {} files of {} bytes, {failed} failed, {left} left", bytes.len(), bytes.iter().sum::<usize>());
    for (why, files) in failures {
        println!("{} failed with {why}: {files:?}", files.len());
    }

    let most = served.most.load(Ordering::Relaxed);
    println!("the server saw at most {most} requests at a time");
    assert!(most <= AT_ONCE);
    assert!(left == 0 || cause == Cause::Cancelled);
    Ok(())
}

/// How many bytes the file has.
async fn download(
    client: &reqwest::Client,
    server: SocketAddr,
    file: usize,
    bar: &ProgressBar,
) -> Result<usize, reqwest::Error> {
    let url = format!("http://{server}/{file}");
    let result = async { client.get(url).send().await?.error_for_status()?.bytes().await }.await;
    bar.inc(1);
    if let Err(error) = &result {
        bar.println(format!("file {file}: {}", why(error)));
    }
    Ok(result?.len())
}

fn why(error: &reqwest::Error) -> String {
    match error.status() {
        Some(status) => status.to_string(),
        None => error.to_string(),
    }
}

// ---- the server ----

#[derive(Default)]
struct Served {
    now: AtomicUsize,
    most: AtomicUsize,
}

async fn serve(served: Arc<Served>) -> std::io::Result<SocketAddr> {
    let app = Router::new().route("/{file}", get(file)).with_state(served);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(address)
}

async fn file(Path(file): Path<u64>, State(served): State<Arc<Served>>) -> Result<Vec<u8>, StatusCode> {
    let now = served.now.fetch_add(1, Ordering::Relaxed) + 1;
    served.most.fetch_max(now, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(5 + file * 7919 % 95)).await;
    served.now.fetch_sub(1, Ordering::Relaxed);
    match file {
        _ if file % 101 == 100 => Err(StatusCode::NOT_FOUND),
        _ if file % 43 == 42 => Err(StatusCode::SERVICE_UNAVAILABLE),
        _ => Ok(vec![b'.'; 1000 + file as usize]),
    }
}
