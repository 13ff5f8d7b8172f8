//! Prints the figures of the last run of the benchmarks as Markdown, and draws `children.svg` beside this file.
//!
//! Both with one command:
//!
//! ```text
//! cargo bench -p gather-benches && cargo run -p gather-benches --release --bin report
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const OURS: &str = "gather";
const BARE_LOOP: &str = "bare loop";
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const SVG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/children.svg");

fn main() -> io::Result<()> {
    let results = Results::read(&target_directory().join("criterion"))?;
    let caption = caption();
    for family in results.families() {
        println!("{}", results.table(&family));
    }
    println!("{}", results.goals());
    println!("{}\n{}", caption[0], caption[1]);
    fs::write(SVG, Chart { results: &results, caption: &caption }.draw())
}

fn target_directory() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(WORKSPACE).join("target"), PathBuf::from)
}

// ---- the figures ----

/// A case, and the number of its children; 0 where it is said in the case.
type Row = (String, u64);

/// Nanoseconds a child, the median, by combinator.
struct Results(BTreeMap<Row, BTreeMap<String, f64>>);

impl Results {
    fn read(directory: &Path) -> io::Result<Self> {
        let mut results = Results(BTreeMap::new());
        results.add(directory)?;
        Ok(results)
    }

    fn add(&mut self, directory: &Path) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.ends_with("new") {
                self.add_measurement(&path)?;
            } else if path.is_dir() {
                self.add(&path)?;
            }
        }
        Ok(())
    }

    fn add_measurement(&mut self, directory: &Path) -> io::Result<()> {
        let benchmark: Value = serde_json::from_slice(&fs::read(directory.join("benchmark.json"))?)?;
        let estimates: Value = serde_json::from_slice(&fs::read(directory.join("estimates.json"))?)?;
        let text = |key: &str| benchmark[key].as_str().unwrap_or_default();
        let children = benchmark["throughput"]["Elements"].as_u64().unwrap_or(1);
        let median = estimates["median"]["point_estimate"].as_f64().unwrap_or(f64::NAN) / children as f64;
        let row = (text("group_id").to_owned(), text("value_str").parse().unwrap_or(0));
        self.0.entry(row).or_default().insert(text("function_id").to_owned(), median);
        Ok(())
    }

    fn get(&self, case: &str, n: u64, name: &str) -> Option<f64> {
        self.0.get(&(case.to_owned(), n))?.get(name).copied()
    }

    fn fastest_peer(row: &BTreeMap<String, f64>) -> Option<f64> {
        let peers = row.iter().filter(|(name, _)| *name != OURS && *name != BARE_LOOP);
        peers.map(|(_, time)| *time).min_by(f64::total_cmp)
    }

    /// Ours to the fastest peer.
    fn ratio(row: &BTreeMap<String, f64>) -> Option<f64> {
        Some(row.get(OURS)? / Self::fastest_peer(row)?)
    }

    /// Containers and sizes that have the same peers: the case up to its comma.
    fn families(&self) -> BTreeSet<String> {
        self.0.keys().map(|(case, _)| family(case).to_owned()).collect()
    }

    fn table(&self, of: &str) -> String {
        let rows: Vec<_> = self.0.iter().filter(|((case, _), _)| family(case) == of).collect();
        let mut names: Vec<&str> = Vec::new();
        for name in rows.iter().flat_map(|(_, row)| row.keys()) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names.sort_by_key(|name| (*name != OURS, *name == BARE_LOOP, *name));
        let unit = if of.starts_with("tuple") { "Nanoseconds" } else { "Nanoseconds a child" };
        let mut table = format!("{unit}, {of}:\n\n| case | n |");
        for name in &names {
            let _ = write!(table, " {name} |");
        }
        table.push_str(" ours to the fastest peer |\n|---|--:|");
        table.push_str(&"--:|".repeat(names.len() + 1));
        for ((case, n), row) in rows {
            let case = case.strip_prefix(of).unwrap_or(case).trim_start_matches(", ");
            let n = if *n == 0 { String::new() } else { n.to_string() };
            let _ = write!(table, "\n| {case} | {n} |");
            for name in &names {
                let _ = write!(table, " {} |", row.get(*name).map_or("–".to_owned(), |time| figure(*time)));
            }
            let _ = write!(table, " {} |", Self::ratio(row).map_or(String::new(), |ratio| format!("{ratio:.2}")));
        }
        table.push('\n');
        table
    }

    /// What the crate is measured against.
    fn goals(&self) -> String {
        let mut table = "| goal | at most | n: ratio | met |\n|---|--:|---|---|\n".to_owned();
        let mut goal = |goal: &str, limit: f64, ratios: Vec<(u64, f64)>| {
            let met = ratios.iter().filter(|(_, ratio)| *ratio <= limit).count();
            let all = ratios.len();
            let ratios: Vec<_> = ratios.iter().map(|(n, ratio)| format!("{n}: {ratio:.2}")).collect();
            let _ = writeln!(table, "| {goal} | {limit:.2} | {} | {met} of {all} |", ratios.join(", "));
        };
        for case in ["Vec, ready", "Vec, yields once"] {
            goal(&format!("{case}, n < 31, to the fastest peer"), 1.0, self.ratios(case, 1..31));
            goal(&format!("{case}, n >= 31, to the fastest peer"), 0.25, self.ratios(case, 31..u64::MAX));
        }
        let case = "Vec, one wake at a time";
        goal(&format!("{case}, n < 31, to the fastest peer"), 1.0, self.ratios(case, 1..31));
        goal(&format!("{case}, n >= 64, to the fastest peer"), 2.0 / 3.0, self.ratios(case, 64..u64::MAX));
        for (case, few, many) in [
            ("Vec, one wake at a time", 64, 100_000),
            ("under tokio, oneshots, sent before", 1000, 40_000),
            ("under tokio, oneshots, sent after a poll", 1000, 40_000),
        ] {
            let ratio = self.get(case, many, OURS).zip(self.get(case, few, OURS)).map(|(many, few)| many / few);
            goal(&format!("{case}, to that at {few}"), 2.0, ratio.map(|ratio| (many, ratio)).into_iter().collect());
        }
        for case in ["Vec, one fails among n pending", "Vec, one fails, from the failure on"] {
            goal(&format!("{case}, n >= 64, to the fastest peer"), 0.5, self.ratios(case, 64..u64::MAX));
        }
        let case = "Vec, ready";
        let to_loop = self.0.iter().filter(|((its, n), _)| its == case && *n >= 256);
        let to_loop = to_loop.filter_map(|((_, n), row)| Some((*n, row.get(OURS)? / row.get(BARE_LOOP)?)));
        goal(&format!("{case}, n >= 256, to the bare loop"), 1.3, to_loop.collect());
        table
    }

    fn ratios(&self, case: &str, n: std::ops::Range<u64>) -> Vec<(u64, f64)> {
        let rows = self.0.iter().filter(|((its, size), _)| its == case && n.contains(size));
        rows.filter_map(|((_, size), row)| Some((*size, Self::ratio(row)?))).collect()
    }
}

fn family(case: &str) -> &str {
    case.split(',').next().unwrap_or(case)
}

/// Three digits are as many as mean anything.
fn figure(time: f64) -> String {
    match time {
        100.0.. => format!("{time:.0}"),
        10.0.. => format!("{time:.1}"),
        _ => format!("{time:.2}"),
    }
}

// ---- where they come from ----

/// The day and the machine; the versions.
fn caption() -> [String; 2] {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let machine = format!("{}, {model}, {cores} cores, {}", said_by("date", &["-u", "+%F"]), rustc());

    let lock = fs::read_to_string(Path::new(WORKSPACE).join("Cargo.lock")).unwrap_or_default();
    let crates = ["gather", "futures", "futures-buffered", "futures-concurrency", "unicycle", "tokio", "futures-lite"];
    let versions: Vec<_> = crates.iter().map(|name| format!("{name} {}", locked_version(&lock, name))).collect();
    [machine, versions.join(", ")]
}

fn rustc() -> String {
    let version = said_by("rustc", &["--version"]);
    version.split(" (").next().unwrap_or_default().to_owned()
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| format!("{program} unknown"),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn locked_version<'a>(lock: &'a str, name: &str) -> &'a str {
    let entry = format!("name = \"{name}\"\nversion = \"");
    lock.split_once(&entry).and_then(|(_, rest)| rest.split('"').next()).unwrap_or("?")
}

// ---- the chart ----

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 462.0;
const PANELS: [(&str, &str); 3] = [
    ("Vec, ready", "Ready at once"),
    ("Vec, yields once", "Pending once, wakes itself"),
    ("Vec, one wake at a time", "Woken and polled one by one"),
];
const LEFT: f64 = 52.0;
const TOP: f64 = 74.0;
const PANEL_WIDTH: f64 = 272.0;
const PANEL_HEIGHT: f64 = 250.0;
const PANEL_STEP: f64 = 302.0;
/// The axes, in powers of ten: the number of children, and nanoseconds.
const MOST_CHILDREN: f64 = 5.0;
const LONGEST: f64 = 3.0;

/// One colour for a crate, and dashes for its second entry.
const LINES: [(&str, &str, &str); 9] = [
    (OURS, "#c81e3a", ""),
    ("futures::try_join_all", "#1f5fb4", ""),
    ("futures::FuturesUnordered", "#1f5fb4", "5 3"),
    ("futures_buffered::try_join_all", "#1a8f5a", ""),
    ("futures_buffered::FuturesUnorderedBounded", "#1a8f5a", "5 3"),
    ("futures_concurrency::TryJoin", "#d98200", ""),
    ("unicycle::FuturesUnordered", "#8147a8", ""),
    ("tokio::JoinSet", "#7a5a3c", ""),
    (BARE_LOOP, "#777777", "2 3"),
];

struct Chart<'a> {
    results: &'a Results,
    caption: &'a [String; 2],
}

impl Chart<'_> {
    fn draw(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#222\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"#ffffff\"/>\n"
        );
        text(
            &mut svg,
            (16.0, 28.0),
            "font-size=\"17\" font-weight=\"bold\"",
            "Nanoseconds a child, by number of children",
        );
        text(
            &mut svg,
            (WIDTH - 16.0, 28.0),
            "text-anchor=\"end\" fill=\"#555\"",
            "lower is better; both axes logarithmic; cut off at 1000 ns",
        );
        for (number, (case, title)) in PANELS.into_iter().enumerate() {
            self.panel(&mut svg, LEFT + number as f64 * PANEL_STEP, case, title, number == 0);
        }
        self.legend(&mut svg);
        for (number, line) in self.caption.iter().enumerate() {
            let y = HEIGHT - 28.0 + number as f64 * 15.0;
            text(&mut svg, (16.0, y), "font-size=\"11\" fill=\"#666\"", line);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn panel(&self, svg: &mut String, left: f64, case: &str, title: &str, is_first: bool) {
        let bottom = TOP + PANEL_HEIGHT;
        let right = left + PANEL_WIDTH;
        text(svg, (left, TOP - 12.0), "font-size=\"14\" font-weight=\"bold\"", title);
        let powers = ["1", "10", "100", "1k", "10k", "100k"];
        for (power, label) in powers.into_iter().enumerate() {
            let x = left + power as f64 / MOST_CHILDREN * PANEL_WIDTH;
            rule(svg, (x, TOP), (x, bottom));
            text(svg, (x, bottom + 16.0), "text-anchor=\"middle\" fill=\"#555\" font-size=\"11\"", label);
        }
        for (power, label) in powers.into_iter().enumerate().take(LONGEST as usize + 1) {
            let y = bottom - power as f64 / LONGEST * PANEL_HEIGHT;
            rule(svg, (left, y), (right, y));
            if is_first {
                let label = if power as f64 == LONGEST { "1000".to_owned() } else { label.to_owned() };
                text(svg, (left - 6.0, y + 4.0), "text-anchor=\"end\" fill=\"#555\" font-size=\"11\"", &label);
            }
        }
        // What takes longer than the axis says is cut off.
        let clip = format!("clip{}", left as u32);
        let _ = writeln!(
            svg,
            "<clipPath id=\"{clip}\"><rect x=\"{left}\" y=\"{TOP}\" width=\"{}\" height=\"{PANEL_HEIGHT}\"/></clipPath>",
            PANEL_WIDTH + 4.0
        );
        // Ours is drawn last, over the others.
        for (name, colour, dashes) in LINES.into_iter().rev() {
            let rows = self.results.0.iter().filter(|((its, _), _)| its == case);
            let points: Vec<_> = rows
                .filter_map(|((_, n), row)| {
                    let x = left + (*n as f64).log10() / MOST_CHILDREN * PANEL_WIDTH;
                    let y = bottom - row.get(name)?.log10() / LONGEST * PANEL_HEIGHT;
                    Some(format!("{x:.1},{y:.1}"))
                })
                .collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke-linejoin=\"round\" clip-path=\"url(#{clip})\" {}/>",
                points.join(" "),
                stroke(name, colour, dashes)
            );
        }
    }

    fn legend(&self, svg: &mut String) {
        let columns = [16.0, 168.0, 390.0, 724.0];
        for (number, (name, colour, dashes)) in LINES.into_iter().enumerate() {
            let place = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1), (0, 2), (0, 1)][number];
            let (x, y) = (columns[place.0], TOP + PANEL_HEIGHT + 46.0 + f64::from(place.1) * 18.0);
            let style = stroke(name, colour, dashes);
            let _ = writeln!(svg, "<path d=\"M{x},{} h26\" fill=\"none\" {style}/>", y - 4.0);
            let weight = if name == OURS { "font-weight=\"bold\"" } else { "" };
            text(svg, (x + 33.0, y), weight, name);
        }
    }
}

fn stroke(name: &str, colour: &str, dashes: &str) -> String {
    let width = if name == OURS { 3.6 } else { 1.6 };
    format!("stroke=\"{colour}\" stroke-width=\"{width}\" stroke-dasharray=\"{dashes}\"")
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(svg, "<path d=\"M{:.1},{:.1} L{:.1},{:.1}\" stroke=\"#e2e2e2\"/>", from.0, from.1, to.0, to.1);
}

fn text(svg: &mut String, (x, y): (f64, f64), attributes: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{text}</text>");
}
