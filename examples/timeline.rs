//! A group that fails twice, as the events of the `tracing` feature tell it: drawn with a lane for each child.
//!
//!     cargo run --example timeline --features tracing            # draws examples/timeline.svg
//!     cargo run --example timeline --features tracing -- FILE    # draws FILE
//!
//! Time is tokio's paused clock, which jumps from timer to timer: the picture is the same each time.

use std::fmt::{self, Write};
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gather::{CancelExt, Limit, restart};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

// ---- what happens ----

/// The children in the order in which the group has them: what they are called, what they are, and the class of their
/// bars once they were told.
const CHILDREN: [(&str, &str, &str); 7] = [
    ("config", "plain", ""),
    ("feed", "plain", ""),
    ("job", "plain", ""),
    ("worker", "on_cancel", "draining"),
    ("connection", "cleanup", "cleaning"),
    ("commit", "shield", "shielded"),
    ("deaf", "on_cancel", "draining"),
];

type Output = Result<(), &'static str>;

async fn after(milliseconds: u64, output: Output) -> Output {
    sleep(Duration::from_millis(milliseconds)).await;
    output
}

/// Works until it is done, or told to stop; then it needs some time to put things in order.
async fn worker(stop: &Notify) -> Output {
    tokio::select! {
        output = after(310, Ok(())) => output,
        () = stop.notified() => after(80, Ok(())).await,
    }
}

/// The job fails in the first generation, the connection in the second, and none in the third.
async fn group() {
    let mut generation = 0;
    let group = restart(Limit::restarts(5), || {
        generation += 1;
        let stop = Arc::new(Notify::new());
        let told = stop.clone();
        (
            after(120, Ok(())),
            after(370, Ok(())),
            if generation == 1 { after(300, Err("job")) } else { after(350, Ok(())) },
            async move { worker(&stop).await }.on_cancel(move |_| told.notify_one()),
            if generation == 2 { after(180, Err("connection")) } else { after(330, Ok(())) }
                .cleanup(|| after(130, Ok(()))),
            after(400, Ok(())).shield(),
            // Takes no notice of what it is told; the grace does not wait for it for ever.
            after(if generation == 1 { 3000 } else { 340 }, Ok(())).on_cancel(|_| ()),
        )
    });
    let result = group
        .grace(|| sleep(Duration::from_millis(260)))
        .backoff(|failure| sleep(Duration::from_millis(100) * 2u32.pow(failure.restarts)))
        .await;
    result.expect("the third generation completes");
}

fn main() -> std::io::Result<()> {
    let default = || concat!(env!("CARGO_MANIFEST_DIR"), "/examples/timeline.svg").into();
    let file = std::env::args().nth(1).unwrap_or_else(default);

    let tokio = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let recorder = tokio.block_on(async {
        let recorder = Recorder { began: Instant::now(), records: Arc::default() };
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(recorder.clone()));
        group().await;
        recorder
    });

    let records = mem::take(&mut *recorder.records.lock().unwrap());
    for Record { at, span, child, message } in &records {
        println!("{at:>6} ms  {span:7}  {message:15}  {}", child.map_or("", |child| CHILDREN[child].0));
    }
    std::fs::write(&file, Picture::new(&records).finish())?;
    println!("drawn: {file}");
    Ok(())
}

// ---- what is seen of it ----

/// An event of the crate.
struct Record {
    /// In milliseconds.
    at: u128,
    /// `gather` or `restart`.
    span: &'static str,
    child: Option<usize>,
    message: String,
}

/// Keeps the events with the time at which they come.
#[derive(Clone)]
struct Recorder {
    began: Instant,
    records: Arc<Mutex<Vec<Record>>>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(span) = context.event_span(event).filter(|_| event.metadata().target() == "gather") else { return };
        let at = self.began.elapsed().as_millis();
        let mut record = Record { at, span: span.name(), child: None, message: String::new() };
        event.record(&mut record);
        self.records.lock().unwrap().push(record);
    }
}

impl Visit for Record {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "child" {
            self.child = Some(value as usize);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

// ---- how it is drawn ----

/// How a bar ends: a disc, and what is drawn on it.
type Mark = (&'static str, &'static str);
const ENDED: Mark = ("ended", "m-3,.3 l2.2,2.4 l4,-5");
const FAILED: Mark = ("failed", "m-2.6,-2.6 l5.2,5.2 m0,-5.2 l-5.2,5.2");
const DROPPED: Mark = ("dropped", "m-2.6,-2.6 l5.2,5.2 m0,-5.2 l-5.2,5.2");

const TITLE: &str = "A new generation is made only when every child of the old one is gone";
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 184.0;
const TOP: f64 = 112.0;
const LANE: f64 = 30.0;
const BOTTOM: f64 = TOP + LANE * CHILDREN.len() as f64;
const PIXELS_PER_MILLISECOND: f64 = 0.438;

const STYLE: &str = "
svg { font-family: system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; font-size: 12.5px }
text { fill: #1f2328 } .faint { fill: #59636e } .title { font-size: 16px; font-weight: 600 } .name { font-weight: 600 }
.code { fill: #59636e; font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; font-size: 11.5px }
.paper { fill: #ffffff; stroke: #d1d9e0 } .lane { stroke: #e4e8ec } .generation { fill: none; stroke: #818b98 }
.over { stroke: #ffffff; stroke-width: 6px; paint-order: stroke } .drain { fill: #eff1f4 }
.grace { stroke: #cf222e; stroke-dasharray: 5 4; stroke-width: 1.5; fill: none }
.running { fill: #54a0e8 } .draining { fill: #eeb02b } .cleaning { fill: #a371f7 } .shielded { fill: #2fb59b }
.ended { fill: #1f883d } .failed { fill: #cf222e } .dropped { fill: #59636e }
.sign { stroke: #ffffff; stroke-width: 1.7; fill: none; stroke-linecap: round; stroke-linejoin: round }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .faint, .code { fill: #9198a1 } .paper { fill: #0d1117; stroke: #3d444d }
.lane { stroke: #262c36 } .generation { stroke: #9198a1 } .over { stroke: #0d1117 } .drain { fill: #1e252e }
.grace { stroke: #ff7b72 }
.running { fill: #3d85cc } .draining { fill: #d29922 } .cleaning { fill: #8e5fe0 } .shielded { fill: #26947f }
.ended { fill: #2ea043 } .failed { fill: #e5534b } .dropped { fill: #767e88 }
}
";

/// A picture that grows with the records.
#[derive(Default)]
struct Picture {
    /// Painted one over the other.
    ground: String,
    bars: String,
    front: String,
    /// What has begun and not ended.
    open: [Option<(u128, &'static str)>; CHILDREN.len()],
    generation: u32,
    made: u128,
    draining: Option<u128>,
    failed: usize,
    backing_off: u128,
}

impl Picture {
    fn new(records: &[Record]) -> Self {
        let mut picture = Picture::default();
        for record in records {
            picture.add(record);
        }
        picture
    }

    fn add(&mut self, &Record { at, span, child, ref message }: &Record) {
        let child = child.unwrap_or_default();
        match (span, message.as_str()) {
            ("restart", "generation made") => self.begin_generation(at),
            ("gather", "child started") => self.open[child] = Some((at, "running")),
            ("gather", "child told") => {
                self.end_bar(child, at);
                self.open[child] = Some((at, CHILDREN[child].2));
            }
            ("gather", "child ended" | "child drained") => self.end_child(child, at, ENDED),
            ("gather", "child dropped") => self.end_child(child, at, DROPPED),
            ("gather", "child failed") => {
                self.failed = child;
                self.end_child(child, at, FAILED);
            }
            ("gather", "draining") => self.draining = Some(at),
            ("gather", "grace over") => {
                let (from, to, y) = (x(self.draining.unwrap_or(at)), x(at), TOP - 4.0);
                path(&mut self.front, "grace", &format!("M{from:.1},{y} H{to:.1} V{BOTTOM}"));
            }
            ("gather", "resolved") => self.end_generation(at),
            ("restart", "restarting") => self.backing_off = at,
            // That it is cancelling, and the end of the restart.
            _ => {}
        }
    }

    fn begin_generation(&mut self, at: u128) {
        self.generation += 1;
        self.made = at;
        if self.generation > 1 {
            let (x, y) = ((x(self.backing_off) + x(at)) / 2.0, (TOP + BOTTOM) / 2.0);
            let turn = format!("transform='rotate(-90 {x:.1} {y:.1})' class='faint over'");
            text(&mut self.front, &turn, (x, y + 4.0), "backoff");
        }
        time(&mut self.front, at, "");
    }

    fn end_bar(&mut self, child: usize, at: u128) {
        // A child that was never started has none.
        let Some((from, class)) = self.open[child].take() else { return };
        rectangle(&mut self.bars, class, (x(from), lane(child) - 8.0), (x(at) - x(from), 16.0));
    }

    fn end_child(&mut self, child: usize, at: u128, mark: Mark) {
        self.end_bar(child, at);
        disc(&mut self.front, (x(at), lane(child)), mark);
    }

    fn end_generation(&mut self, at: u128) {
        let (top, height) = (TOP - 28.0, BOTTOM - TOP + 34.0);
        let (left, right) = (x(self.made), x(at));
        rectangle(&mut self.bars, "generation", (left, top), (right - left, height));
        let name = format!("generation {}", self.generation);
        text(&mut self.front, "class='name' text-anchor='start'", (left, top - 8.0), &name);
        let end = match self.draining.take() {
            Some(from) => {
                rectangle(&mut self.ground, "drain", (x(from), top), (right - x(from), height));
                text(&mut self.front, "class='faint'", ((x(from) + right) / 2.0, top + 16.0), "drain");
                time(&mut self.front, from, &format!("{} fails", CHILDREN[self.failed].0));
                "all are gone"
            }
            None => "completed",
        };
        time(&mut self.front, at, end);
    }

    fn finish(self) -> String {
        let mut svg = format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' \
             text-anchor='middle' role='img'>\n<title>{TITLE}</title>\n<style>{STYLE}</style>\n"
        );
        rectangle(&mut svg, "paper", (0.5, 0.5), (WIDTH - 1.0, HEIGHT - 1.0));
        let left = |class: &str| format!("class='{class}' text-anchor='start'");
        text(&mut svg, &left("title"), (18.0, 34.0), TITLE);
        svg += &self.ground;
        for (child, (name, kind, _)) in CHILDREN.into_iter().enumerate() {
            let y = lane(child);
            path(&mut svg, "lane", &format!("M{LEFT},{y} H{:.1}", WIDTH - 18.0));
            text(&mut svg, &left("name"), (18.0, y + 4.0), name);
            text(&mut svg, &left("code"), (106.0, y + 4.0), kind);
        }
        text(&mut svg, &left("faint"), (18.0, BOTTOM + 23.0), "milliseconds");
        svg += &self.bars;
        svg += &self.front;
        legend(&mut svg, HEIGHT - 24.0);
        svg + "</svg>\n"
    }
}

fn legend(svg: &mut String, y: f64) {
    let mut left = 18.0;
    let mut entry = |svg: &mut String, name: &str| {
        let at = left;
        text(svg, "text-anchor='start'", (at + 24.0, y + 4.0), name);
        left += 24.0 + 7.1 * name.len() as f64 + 16.0;
        at
    };
    let bars = [
        ("running", "running"),
        ("draining", "told, draining"),
        ("cleaning", "told, cleaning up"),
        ("shielded", "shielded"),
    ];
    for (class, name) in bars {
        let at = entry(svg, name);
        rectangle(svg, class, (at, y - 6.0), (18.0, 12.0));
    }
    for (mark, name) in [(ENDED, "ended"), (FAILED, "failed"), (DROPPED, "dropped")] {
        let at = entry(svg, name);
        disc(svg, (at + 12.0, y), mark);
    }
    let at = entry(svg, "limit of the drain: the grace");
    path(svg, "grace", &format!("M{at:.1},{y} h18"));
}

/// Where a time is.
fn x(at: u128) -> f64 {
    LEFT + at as f64 * PIXELS_PER_MILLISECOND
}

/// The middle of a child's lane.
fn lane(child: usize) -> f64 {
    TOP + LANE * (child as f64 + 0.5)
}

fn time(svg: &mut String, at: u128, what: &str) {
    let x = x(at);
    path(svg, "generation", &format!("M{x:.1},{BOTTOM} v10"));
    text(svg, "", (x, BOTTOM + 23.0), &at.to_string());
    if !what.is_empty() {
        text(svg, "class='faint'", (x, BOTTOM + 39.0), what);
    }
}

fn text(svg: &mut String, attributes: &str, (x, y): (f64, f64), text: &str) {
    let _ = writeln!(svg, "<text x='{x:.1}' y='{y:.1}' {attributes}>{text}</text>");
}

fn path(svg: &mut String, class: &str, path: &str) {
    let _ = writeln!(svg, "<path class='{class}' d='{path}'/>");
}

fn rectangle(svg: &mut String, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
    let _ =
        writeln!(svg, "<rect class='{class}' x='{x:.1}' y='{y:.1}' width='{width:.1}' height='{height:.1}' rx='3'/>");
}

fn disc(svg: &mut String, (x, y): (f64, f64), (class, sign): Mark) {
    let _ = writeln!(svg, "<circle class='{class}' cx='{x:.1}' cy='{y:.1}' r='6.5'/>");
    path(svg, "sign", &format!("M{x:.1},{y:.1} {sign}"));
}
