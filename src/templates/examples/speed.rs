//! How many lines a second one core mines. Run it with `cargo run --release -p opsward-templates --example
//! speed`; `speed MILLIONS` says how many lines a round has.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Instant;

use opsward_templates::{Limits, Miner, WhenFull};

#[path = "../tests/it/score.rs"]
#[allow(dead_code, missing_docs, unreachable_pub)]
mod score;

const ROUNDS: usize = 5;

fn main() {
    let millions: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(5);
    let Some(root) = score::root() else {
        println!("no labelled logs here: set OPSWARD_SHARED to the folder that has data/loghub-2k");
        return;
    };
    let lines: Vec<String> = score::systems(&root).into_iter().flat_map(|one| one.contents).collect();
    // Neighbours are of different systems, as in a store that many workloads write to.
    let mixed: Vec<&str> = (0..lines.len()).map(|i| lines[i * 7_919 % lines.len()].as_str()).collect();
    measure("mixed systems", &mixed, millions * 1_000_000);
    let ordered: Vec<&str> = lines.iter().map(String::as_str).collect();
    measure("one after another", &ordered, millions * 1_000_000);
    let letters = |n: u64| (0..6).map(|i| char::from(b'a' + (n >> (i * 4) & 15) as u8)).collect::<String>();
    let distinct: Vec<String> = (0_u64..1_000_000)
        .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .map(|n| format!("{} {} {} {}", letters(n), letters(n >> 9), letters(n >> 18), letters(n >> 27)))
        .collect();
    let distinct: Vec<&str> = distinct.iter().map(String::as_str).collect();
    measure("no two alike", &distinct, distinct.len());
    println!("load {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
}

fn measure(name: &str, lines: &[&str], count: usize) {
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum::<usize>() * count / lines.len();
    let mut rates = Vec::new();
    let mut templates = 0;
    for _ in 0..ROUNDS {
        let mut miner = Miner::new(Limits { when_full: WhenFull::Forget, ..Limits::default() });
        let (begin, cpu) = (Instant::now(), cpu_seconds());
        for line in lines.iter().cycle().take(count) {
            miner.mine(line);
            miner.take_changes();
        }
        let (wall, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        rates.push(count as f64 / if cpu > 0.0 { cpu } else { wall });
        templates = miner.templates().filter(|(_, cluster)| cluster.merged.is_none()).count();
    }
    rates.sort_by(f64::total_cmp);
    let (median, low, high) = (rates[ROUNDS / 2], rates[0], rates[ROUNDS - 1]);
    let megabytes = bytes as f64 / count as f64 * median / 1e6;
    println!(
        "{name:18} {:.2} million lines per CPU-second (median of {ROUNDS}, {:.2} to {:.2}), {megabytes:.0} MB/s, {templates} templates, peak {} MB",
        median / 1e6,
        low / 1e6,
        high / 1e6,
        peak_megabytes()
    );
}

/// CPU time of this process, from the kernel's clock ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    ticks as f64 / 100.0
}

fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}
