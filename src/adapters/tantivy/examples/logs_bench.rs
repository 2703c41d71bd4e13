//! Measures the log store: `cargo run --release -p opsward-tantivy --example logs_bench -- [LINES] [DIR]`.
//! Prints one table: mining alone, ingest end to end, searches over everything, bytes on disk.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a program for people at a terminal")]

use std::time::Instant;

use opsward_domain::context::CallContext;
use opsward_domain::name::{Workload, Workspace};
use opsward_domain::telemetry::{Level, LogLine, LogQuery};
use opsward_domain::time::Window;
use opsward_ports::logs::conformance::{START_MS, everything, system};
use opsward_ports::logs::{GroupField, Logs};
use opsward_tantivy::{Options, TantivyLogs};
use opsward_templates::{Limits, Miner};

/// Lines of one ingest, as a collector sends them.
const BATCH: usize = 5_000;
/// Repetitions of each search.
const ROUNDS: usize = 21;
/// Repetitions of each fold over everything.
const FOLD_ROUNDS: usize = 7;
/// Time between two lines.
const STEP_MS: i64 = 1;

/// Line `n` of a shop with six services: access logs, JSON, logfmt and plain lines.
fn text(n: u64) -> String {
    let r = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    match r % 10 {
        0..=3 => format!(
            "10.0.{}.{} - - \"GET /api/orders/{} HTTP/1.1\" {} {} {}ms",
            r % 7,
            r % 251,
            r % 100_000,
            [200, 200, 200, 404][(r >> 8) as usize % 4],
            r % 9_000,
            r % 300
        ),
        4 | 5 => format!(
            "{{\"ts\":{},\"level\":\"info\",\"msg\":\"order accepted\",\"order\":{},\"user\":\"u{}\",\"trace\":\"{:016x}\"}}",
            START_MS + n as i64,
            r % 100_000,
            r % 5_000,
            r
        ),
        6 | 7 => format!(
            "level=info component=cart msg=\"item added\" user=u{} items={} took={}us",
            r % 5_000,
            r % 20,
            r % 9_000
        ),
        8 => format!(
            "2026-11-23T06:{:02}:{:02}.{:03}Z DEBUG [pool-{}] connection {} returned to pool after {} ms",
            r % 60,
            r % 59,
            r % 1000,
            r % 8,
            r % 64,
            r % 500
        ),
        _ if r.is_multiple_of(997) => {
            format!("ERROR payment for order {} declined by gateway: timeout after {} ms", r % 100_000, r % 5_000)
        }
        _ => format!(
            "WARN slow query on table {} took {} ms",
            ["orders", "users", "items"][(r >> 9) as usize % 3],
            r % 2_000
        ),
    }
}

fn line(n: u64) -> LogLine {
    LogLine {
        workspace: Workspace::parse("shop").unwrap(),
        workload: Workload::parse(["web", "orders", "cart", "payments", "db", "auth"][n as usize % 6]).unwrap(),
        replica: (n % 3) as u32,
        at_ms: START_MS + n as i64 * STEP_MS,
        level: None,
        text: text(n),
    }
}

fn mining(lines: u64) {
    let texts: Vec<String> = (0..lines.min(1_000_000)).map(text).collect();
    let bytes: usize = texts.iter().map(String::len).sum();
    for _ in 0..3 {
        let mut miner = Miner::new(Limits::default());
        let start = Instant::now();
        let sum: u64 = texts.iter().map(|text| miner.mine(text).template).sum();
        let took = start.elapsed().as_secs_f64();
        println!(
            "mining alone: {:.0} lines/s, {:.0} MB/s, {} templates (sum {sum})",
            texts.len() as f64 / took,
            bytes as f64 / took / 1e6,
            miner.templates().count()
        );
    }
}

async fn search(store: &TantivyLogs, cx: &CallContext, name: &str, query: LogQuery) {
    let mut times = Vec::new();
    let mut hits = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        hits = store.search(cx, &query).await.unwrap().len();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    report(name, times, &format!("{hits} hits"));
}

fn report(name: &str, mut times: Vec<f64>, result: &str) {
    let first = times[0];
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{name}: p50 {:.2} ms, min {:.2}, p95 {:.2}, first {first:.2} ({result})", at(0.5), at(0.0), at(0.95));
}

/// Ingests `lines` lines and waits until they are merged.
async fn fill(store: &TantivyLogs, cx: &CallContext, lines: u64) {
    let (mut bytes, mut spent, mut slowest) = (0_usize, 0.0_f64, 0.0_f64);
    for first in (0..lines).step_by(BATCH) {
        let batch: Vec<LogLine> = (first..(first + BATCH as u64).min(lines)).map(line).collect();
        bytes += batch.iter().map(|line| line.text.len()).sum::<usize>();
        let start = Instant::now();
        store.ingest(cx, batch).await.unwrap();
        let took = start.elapsed().as_secs_f64();
        spent += took;
        slowest = slowest.max(took);
    }
    let (count, bytes) = (lines as f64, bytes as f64);
    println!("ingest: {lines} lines at {:.0} lines/s, {:.1} MB/s", count / spent, bytes / spent / 1e6);
    println!("slowest batch: {:.0} ms", slowest * 1e3);
    let start = Instant::now();
    store.settle().await.unwrap();
    println!("written and merged {:.1} s after the last line", start.elapsed().as_secs_f64());
    println!("disk: {:.1} bytes a line for {:.1} bytes of text", store.disk_bytes() as f64 / count, bytes / count);
}

async fn searches(store: &TantivyLogs, cx: &CallContext, all: &LogQuery, middle: Window) {
    let with = |text: &str| LogQuery { text: text.into(), ..all.clone() };
    let payments = vec![Workload::parse("payments").unwrap()];
    let errors = LogQuery { workloads: payments, level_min: Some(Level::Error), ..all.clone() };
    let warnings = LogQuery { window: middle, level_min: Some(Level::Warn), ..all.clone() };
    let trace = format!("{:016x}", 1_234_567_u64.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20);
    for (name, query) in [
        ("newest 100", all.clone()),
        ("one workload, errors", errors),
        ("needle (one order id)", with("order 4711 declined")),
        ("rare word of a template", with("gateway")),
        ("phrase over a parameter", with("\"order 815 declined\"")),
        ("trace id", with(&trace)),
        ("frequent words", with("item added")),
        ("word that is nowhere", with("unicorn")),
        ("a minute in the middle, warnings", warnings),
    ] {
        search(store, cx, name, query).await;
    }
}

async fn folds(store: &TantivyLogs, cx: &CallContext, all: &LogQuery, middle: Window) {
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..FOLD_ROUNDS {
        let mut start = Instant::now();
        let mut lap = |times: &mut Vec<f64>| {
            times.push(start.elapsed().as_secs_f64() * 1e3);
            start = Instant::now();
        };
        store.histogram(cx, all, all.window.length_ms() / 100).await.unwrap();
        lap(&mut times[0]);
        store.group(cx, all, GroupField::Template).await.unwrap();
        lap(&mut times[1]);
        store.templates(cx, all).await.unwrap();
        lap(&mut times[2]);
        store.templates(cx, &LogQuery { window: middle, ..all.clone() }).await.unwrap();
        lap(&mut times[3]);
    }
    let names = ["histogram of everything", "group by template", "templates of everything", "templates of a minute"];
    for (name, times) in names.iter().zip(times) {
        report(name, times, "fold");
    }
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let lines: u64 = args.next().map_or(2_000_000, |n| n.parse().expect("LINES must be a number"));
    let scratch = args.next().map_or_else(std::env::temp_dir, Into::into);
    let dir = scratch.join(format!("opsward-logs-bench-{}", std::process::id()));
    mining(lines);
    let (store, cx) = (TantivyLogs::open(&dir, Options::default()).unwrap(), system("acme"));
    fill(&store, &cx, lines).await;
    drop(store);
    let start = Instant::now();
    let store = TantivyLogs::open(&dir, Options::default()).unwrap();
    println!("open: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let half_ms = START_MS + lines as i64 * STEP_MS / 2;
    let middle = Window { from_ms: half_ms, to_ms: half_ms + 60_000 };
    let whole = Window { from_ms: START_MS, to_ms: START_MS + lines as i64 * STEP_MS };
    let all = LogQuery { window: whole, limit: 100, ..everything() };
    searches(&store, &cx, &all, middle).await;
    folds(&store, &cx, &all, middle).await;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("RssAnon")) {
        println!("{line}");
    }
    drop(store);
    std::fs::remove_dir_all(&dir).unwrap();
}
