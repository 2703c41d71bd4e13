//! Measures the journal on the disk it is started on: `cargo run --release --example journal_bench [dir]`.
//! Prints one line a measurement; never asserts, because a number is a fact about one machine.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement speaks on the terminal, or stops")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opsward_domain::context::{CallContext, Origin};
use opsward_domain::event::{Body, Durability, NewEvent, StreamKind, StreamName};
use opsward_domain::name::{Id, Subject, Tenant, Workspace};
use opsward_domain::principal::{Kind, Principal};
use opsward_ports::journal::Journal as _;
use opsward_sqlite::{Options, SqliteJournal};

/// Bytes of text in each event.
const TEXT_BYTES: usize = 600;
/// Appenders at the same time.
const APPENDERS: usize = 64;

fn caller() -> CallContext {
    let principal = Principal {
        subject: Subject::parse("ada").unwrap(),
        kind: Kind::Person,
        tenant: Tenant::parse("acme").unwrap(),
        tenant_role: None,
        roles: Default::default(),
    };
    CallContext::new(principal, Origin::Api)
}

fn stream(id: &str) -> StreamName {
    StreamName { tenant: Tenant::parse("acme").unwrap(), kind: StreamKind::Incident, id: Id::parse(id).unwrap() }
}

fn event(durability: Durability) -> NewEvent {
    let text = "x".repeat(TEXT_BYTES);
    let body = match durability {
        Durability::Power => {
            Body::MessageReceived { workspace: Workspace::parse("shop").unwrap(), origin: Origin::Api, text }
        }
        Durability::Process => Body::EvidenceMissing { what: text, why: "none".into() },
    };
    NewEvent { at_ms: 1_700_000_000_000, cause: None, body }
}

/// Appends `count` events to a stream of its own, and how long each took.
async fn appender(journal: Arc<SqliteJournal>, id: String, durability: Durability, count: usize) -> Vec<Duration> {
    let (cx, stream) = (caller(), stream(&id));
    let mut took = Vec::with_capacity(count);
    for seq in 0..count {
        let began = Instant::now();
        journal.append(&cx, &stream, seq as u64, vec![event(durability)]).await.unwrap();
        took.push(began.elapsed());
    }
    took
}

async fn measure(journal: &Arc<SqliteJournal>, durability: Durability, appenders: usize, count: usize) {
    let (began, cpu) = (Instant::now(), cpu_ms());
    let tasks: Vec<_> = (0..appenders)
        .map(|n| {
            let id = format!("{}-{appenders}-{n}", if durability == Durability::Power { "power" } else { "process" });
            tokio::spawn(appender(Arc::clone(journal), id, durability, count))
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    let rate = took.len() as f64 / began.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "append {durability:?}, {appenders} at once: p50 {:.3} ms, p99 {:.3} ms, {rate:.0} events/s, {:.0} us of processor an event",
        at(0.5),
        at(0.99),
        (cpu_ms() - cpu) as f64 * 1e3 / took.len() as f64
    );
}

/// Memory of this process that nothing else shares, in KiB.
fn pss_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Processor time this process has used, in milliseconds: unlike the wall clock, fair on a busy machine.
fn cpu_ms() -> u64 {
    const TICK_MS: u64 = 10;
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].into_iter().filter_map(|at| fields.get(at)?.parse::<u64>().ok()).sum::<u64>() * TICK_MS
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let dir = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("opsward-journal-bench-{}", std::process::id()));
    let path = dir.join("journal.db");
    let before = pss_kib();
    let journal = Arc::new(SqliteJournal::open(&path, Options::default()).await.unwrap());
    journal.feed(&caller(), 0, 1).await.unwrap();
    println!("memory: {before} KiB before, {} KiB with an open, empty journal", pss_kib());
    for durability in [Durability::Power, Durability::Process] {
        measure(&journal, durability, 1, 1_000).await;
        measure(&journal, durability, APPENDERS, 200).await;
    }
    println!("memory: {} KiB after {} events; {:?}", pss_kib(), *journal.head().borrow(), journal.commits());
    let (began, cpu) = (Instant::now(), cpu_ms());
    let verified = journal.verify(1).await.unwrap();
    let rate = verified.entries as f64 / began.elapsed().as_secs_f64();
    let cost = (cpu_ms() - cpu) as f64 * 1e3 / verified.entries as f64;
    println!("verify: {rate:.0} entries/s, {cost:.1} us of processor an entry, {} damaged", verified.damage.len());
    let began = Instant::now();
    let (mut after, mut read) = (0, 0);
    while let Some(last) = {
        let page = journal.feed(&caller(), after, 1_000).await.unwrap();
        read += page.len();
        page.last().map(|event| event.seq)
    } {
        after = last;
    }
    println!("feed: {:.0} events/s", read as f64 / began.elapsed().as_secs_f64());
    println!("disk: {} bytes an event", journal.size_bytes() / *journal.head().borrow());
    journal.close().await.unwrap();
    let began = Instant::now();
    let journal = SqliteJournal::open(&path, Options::default()).await.unwrap();
    println!("open: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    journal.close().await.unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}
