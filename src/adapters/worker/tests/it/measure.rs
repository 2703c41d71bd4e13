//! Numbers, printed when asked for: `cargo test -p opsward-worker --test it -- measure`. Asserts nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opsward_ports::runner::{Program, RunLimits, Runner};
use opsward_worker::{Options, Pool};

use crate::support::{Echo, block_on, eventually, options, processes, program, run};

/// Runs that each figure is taken from.
const RUNS: usize = 300;

/// Observations in the run that round trips are taken from.
const CALLS: u32 = 1_000;

pub(crate) fn print() {
    block_on(async {
        let tag = "measure";
        let start = Instant::now();
        let pool = Pool::start(Options { warm: 4, ..options(tag) }).await.unwrap();
        println!("pool start with {} probes: {:?}", pool.attestation().probes.len(), start.elapsed());
        eventually("four warm workers", || processes(tag).len() == 4);
        memory(tag);
        let mut dispatch = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            eventually("four warm workers", || processes(tag).len() == 4);
            let start = Instant::now();
            run(&pool, "let x = 1; return [x, input.name]").await.unwrap();
            dispatch.push(start.elapsed());
        }
        quantiles("warm dispatch and small script", dispatch);
        let mut cold = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            let start = Instant::now();
            run(&pool, "return []").await.unwrap();
            cold.push(start.elapsed());
        }
        quantiles("back to back, so bound by the start of workers", cold);
        let limits = RunLimits { calls: CALLS, ..RunLimits::default() };
        let calling = Program { limits, ..program("for i in 0..1000 { logs() } return []") };
        let start = Instant::now();
        pool.run(calling, Arc::new(Echo::default())).await.unwrap();
        println!("round trip of an observation: {:?} each", start.elapsed() / CALLS);
    });
}

fn quantiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what}: p50 {:?}, p99 {:?}, n {}", at(50), at(99), times.len());
}

fn memory(tag: &str) {
    for pid in processes(tag) {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let field = |name: &str| {
            let line = rollup.lines().find(|line| line.starts_with(name)).unwrap_or("- 0");
            line.split_whitespace().nth(1).unwrap_or("0").to_owned()
        };
        println!(
            "worker {pid}: Rss {} kB, Pss {} kB, private dirty {} kB, anonymous {} kB",
            field("Rss:"),
            field("Pss:"),
            field("Private_Dirty:"),
            field("Anonymous:")
        );
    }
}
