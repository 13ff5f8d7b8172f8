//! A crawler: it follows the links of a site, sixteen pages at a time, and ends by itself with the last page.
//!
//!     cargo run -p gather-examples --example crawler                       # a site that it serves itself
//!     cargo run -p gather-examples --example crawler -- http://localhost/  # another one
//!
//! Each page is a child. A page that finds links sends them to the channel from which the children are drawn, so it adds
//! children to its own group. ctrl-c ends it early, with a report of what was seen until then.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_util::StreamExt;
use gather::{Cancelled, from_stream, gather};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Client, Url};

const AT_ONCE: usize = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let site = Arc::new(Site::default());
    let start = match std::env::args().nth(1) {
        Some(url) => url.parse()?,
        None => serve(site.clone()).await?,
    };
    println!("{start}, {AT_ONCE} pages at a time");

    // Drawn on a terminal only.
    let style = "{elapsed} {wide_bar:.cyan/dim} {pos}/{len} {per_sec}";
    let bar = ProgressBar::new(1).with_style(ProgressStyle::with_template(style)?);

    let (client, seen) = (Client::new(), RefCell::new(HashSet::from([start.clone()])));
    let (links, source) = unbounded();
    // Moved into the first page: the channel ends when no page is left that could add another.
    links.unbounded_send(Link { url: start, on: None, links: links.clone() })?;
    drop(links);
    let pages = gather(from_stream(source.map(|link| visit(&client, link, &seen))))
        .concurrency(AT_ONCE)
        // A page that fails does not end the others.
        .settle()
        .cancel_when(tokio::signal::ctrl_c())
        .as_completed();

    let (mut bytes, mut loaded, mut broken, mut interrupted) = (0, 0, BTreeMap::new(), false);
    let mut pages = pin!(pages);
    while let Some(ended) = pages.next().await {
        match ended {
            Ok((_, Ok(size))) => (loaded, bytes) = (loaded + 1, bytes + size),
            Ok((_, Err(Broken { url, on, error }))) => {
                let on = on.map_or("given".into(), |on| format!("on {on}"));
                bar.suspend(|| println!("{url}, {on}: {error}"));
                *broken.entry(error).or_insert(0) += 1;
            }
            Err(Cancelled) => interrupted = true,
        }
        bar.set_length(seen.borrow().len() as u64);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let found = seen.borrow().len();
    println!("{loaded} of {found} pages that were found, {bytes} bytes; broken: {broken:?}");
    let most = site.most.load(Relaxed); // 0 of another site
    println!("the site saw at most {most} requests at a time");
    assert!(most <= AT_ONCE);
    assert!(interrupted || found == loaded + broken.values().sum::<usize>());
    Ok(())
}

/// What is sent through the channel: a page to visit.
struct Link {
    url: Url,
    /// The page where it was found.
    on: Option<Url>,
    /// Where to send the links of this page.
    links: UnboundedSender<Link>,
}

struct Broken {
    url: Url,
    on: Option<Url>,
    error: String,
}

/// Loads a page, and adds those that it links to. Returns its size.
async fn visit(client: &Client, link: Link, seen: &RefCell<HashSet<Url>>) -> Result<usize, Broken> {
    let Link { url, on, links } = link;
    let page = match load(client, &url).await {
        Ok(page) => page,
        Err(error) => return Err(Broken { url, on, error: why(&error) }),
    };
    for mut found in hrefs(&page).filter_map(|href| url.join(href).ok()) {
        found.set_fragment(None);
        if found.origin() == url.origin() && seen.borrow_mut().insert(found.clone()) {
            let link = Link { url: found, on: Some(url.clone()), links: links.clone() };
            // Only a child that runs sends, and while one runs the channel is open.
            links.unbounded_send(link).expect("the crawl goes on");
        }
    }
    Ok(page.len())
}

async fn load(client: &Client, url: &Url) -> Result<String, reqwest::Error> {
    client.get(url.clone()).send().await?.error_for_status()?.text().await
}

/// As far as this site wants it: a crawler for others needs an HTML parser.
fn hrefs(page: &str) -> impl Iterator<Item = &str> {
    page.split("href=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0))
}

fn why(error: &reqwest::Error) -> String {
    match error.status() {
        Some(status) => status.to_string(),
        None => error.to_string(),
    }
}

// ---- the site ----

const PAGES: usize = 600;

#[derive(Default)]
struct Site {
    now: AtomicUsize,
    most: AtomicUsize,
}

async fn serve(site: Arc<Site>) -> Result<Url, Box<dyn std::error::Error>> {
    let app = Router::new().route("/{page}", get(page)).with_state(site);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let start = format!("http://{}/1", listener.local_addr()?).parse()?;
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(start)
}

/// A tree with links back to the root. Some pages are missing, some do not load.
async fn page(Path(page): Path<usize>, State(site): State<Arc<Site>>) -> Result<Html<String>, StatusCode> {
    let now = site.now.fetch_add(1, Relaxed) + 1;
    site.most.fetch_max(now, Relaxed);
    tokio::time::sleep(Duration::from_millis(5 + page as u64 * 7919 % 35)).await;
    site.now.fetch_sub(1, Relaxed);
    match page {
        PAGES.. => Err(StatusCode::NOT_FOUND),
        _ if page % 43 == 42 => Err(StatusCode::SERVICE_UNAVAILABLE),
        _ => {
            let missing = if page % 101 == 100 { PAGES + page } else { 1 };
            let links = [2 * page, 2 * page + 1].into_iter().filter(|&page| page < PAGES);
            let links = links.chain([missing]).map(|page| format!("<a href=\"/{page}#top\">{page}</a>\n"));
            Ok(Html(links.collect()))
        }
    }
}
