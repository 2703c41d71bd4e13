//! A pool for a test, observers for it, and a look at the processes it has.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opsward_ports::runner::{Error, Observer, Program, Reply, RunLimits, Runner};
use opsward_worker::{Options, Pool};
use serde_json::{Value, json};

/// Start of the argument that makes this executable a worker; a tag after it tells the pools apart.
pub(crate) const WORKER_ROLE: &str = "__worker";

/// Longest wait for something that happens in the background.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(future)
}

/// Options of a pool whose processes carry this tag.
pub(crate) fn options(tag: &str) -> Options {
    Options {
        role: vec![format!("{WORKER_ROLE}:{tag}")],
        warm: 2,
        queue_ms: 20_000,
        ..Options::new(std::env::current_exe().unwrap())
    }
}

pub(crate) async fn start(tag: &str) -> Pool {
    Pool::start(options(tag)).await.unwrap()
}

pub(crate) fn program(source: &str) -> Program {
    Program {
        source: source.to_owned(),
        input: json!({"name": "web"}),
        queries: vec!["logs".to_owned(), "workloads".to_owned()],
        steps: vec!["scale_workload".to_owned()],
        limits: RunLimits { wall_ms: 30_000, ..RunLimits::default() },
    }
}

/// Answers with the question, refuses `workloads`, and counts.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) asked: AtomicU32,
}

#[async_trait]
impl Observer for Echo {
    async fn observe(&self, query: &str, args: Value) -> Reply {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match query {
            "workloads" => Reply::Refused { code: "not_allowed".to_owned(), message: "no".to_owned() },
            _ => Reply::Value(json!({"query": query, "args": args})),
        }
    }
}

/// Never answers; tells when it was asked.
pub(crate) struct Silent(pub(crate) tokio::sync::Notify);

#[async_trait]
impl Observer for Silent {
    async fn observe(&self, _query: &str, _args: Value) -> Reply {
        self.0.notify_one();
        std::future::pending().await
    }
}

pub(crate) async fn run(pool: &Pool, source: &str) -> Result<Value, Error> {
    pool.run(program(source), Arc::new(Echo::default())).await
}

/// Processes whose arguments carry this tag, zombies not among them.
pub(crate) fn processes(tag: &str) -> Vec<u32> {
    let wanted = format!("{WORKER_ROLE}:{tag}\0");
    let is_ours = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&wanted))
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_ours).collect()
}

/// Whether this process is reaped, or a zombie that waits for it.
pub(crate) fn has_ended(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

/// Waits until this holds, or fails the test.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
