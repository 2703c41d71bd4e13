//! Measures the metrics store: `cargo run --release -p opsward-series --example series_bench -- [SERIES] [POINTS]`.
//! Prints append rate, bytes a point, range queries and the time to open.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a program for people at a terminal")]

use std::time::Instant;

use opsward_domain::telemetry::Sample;
use opsward_ports::series::SeriesStore;
use opsward_ports::series::conformance::{all_of, sample, system};
use opsward_series::{Options, SeriesDb};

/// Time between two points of a series.
const STEP_MS: i64 = 5_000;
/// Series of one metric.
const REPLICAS: u32 = 10;
/// Repetitions of each query.
const ROUNDS: usize = 101;

/// Counters, ratios and steady gauges in turn.
fn value(metric: u32, replica: u32, at: i64) -> f64 {
    match metric % 3 {
        0 => (at * i64::from(metric + replica + 1)) as f64,
        1 => ((at * 37 + i64::from(replica)) % 101) as f64 / 101.0,
        _ => f64::from(metric) * 1024.0,
    }
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1).map(|n| n.parse::<i64>().expect("SERIES and POINTS must be numbers"));
    let (series, points) = (args.next().unwrap_or(2_000), args.next().unwrap_or(1_440));
    let metrics = u32::try_from(series).unwrap() / REPLICAS;
    let dir = std::env::temp_dir().join(format!("opsward-series-bench-{}", std::process::id()));
    let (db, cx) = (SeriesDb::open(&dir, Options::default()).unwrap(), system("acme"));
    let mut spent = 0.0;
    for at in 0..points {
        let of = |metric: u32, replica: u32| Sample {
            replica: Some(replica),
            ..sample(&format!("metric_{metric}"), at * STEP_MS, value(metric, replica, at))
        };
        let batch: Vec<Sample> = (0..metrics).flat_map(|m| (0..REPLICAS).map(move |r| of(m, r))).collect();
        let start = Instant::now();
        db.append(&cx, batch).await.unwrap();
        spent += start.elapsed().as_secs_f64();
    }
    let total = f64::from(metrics * REPLICAS) * points as f64;
    println!("append: {total} points at {:.0} points/s", total / spent);
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let query = all_of(&format!("metric_{}", round as u32 % metrics));
        let start = Instant::now();
        let found = db.range(&cx, &query).await.unwrap();
        times.push(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(found.len(), REPLICAS as usize);
    }
    times.sort_by(f64::total_cmp);
    let (middle, worst) = (times[ROUNDS / 2], times[ROUNDS - 1]);
    println!("range of {REPLICAS} series x {points} points: p50 {middle:.2} ms, max {worst:.2} ms");
    db.sync().await.unwrap();
    drop(db);
    let entries = std::fs::read_dir(&dir).unwrap();
    let bytes: u64 = entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    println!("disk: {:.2} bytes a point", bytes as f64 / total);
    let start = Instant::now();
    let db = SeriesDb::open(&dir, Options::default()).unwrap();
    println!("open: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter(|line| line.starts_with("RssAnon")).for_each(|line| println!("{line}"));
    drop(db);
    std::fs::remove_dir_all(&dir).unwrap();
}
