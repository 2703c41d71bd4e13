//! What the tests share: a provider on a fresh folder, steps, small HTTP, bounded waiting.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opsward_domain::context::CallContext;
use opsward_domain::event::Outcome;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Workload, Workspace};
use opsward_domain::resource::{Resource, ResourceState, WorkloadStatus};
use opsward_local::{LocalProvider, Options};
use opsward_ports::clock::{CountingEntropy, SystemClock};
use opsward_ports::provider::conformance::{action, apply, owner, step};
use opsward_ports::provider::observe_resource;
use serde_json::{Value, json};

/// Longest wait for anything.
const WAIT_MS: u64 = 15_000;

/// Makes every key its own, also of two providers on one folder.
static KEYS: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Bench {
    pub(crate) provider: LocalProvider,
    pub(crate) cx: CallContext,
    pub(crate) workspace: Workspace,
    pub(crate) root: PathBuf,
    _dir: Option<tempfile::TempDir>,
}

pub(crate) fn options(root: &Path) -> Options {
    let mut options = Options::new(root, std::env::current_exe().unwrap());
    options.scrape_interval_ms = 200;
    options.poll_interval_ms = 20;
    options.settle_timeout_ms = 5_000;
    options.shim.stop_grace_ms = 1_000;
    options.shim.drain_ms = 200;
    options.shim.backoff_min_ms = 50;
    options.shim.memory_interval_ms = 50;
    options.shim.volume_interval_ms = 50;
    options
}

pub(crate) async fn open(root: &Path) -> Result<LocalProvider, Fault> {
    LocalProvider::open(options(root), Arc::new(SystemClock), Arc::new(CountingEntropy::default())).await
}

/// Runs a test on a runtime and a provider of its own, and leaves nothing running.
pub(crate) fn with<F: Future<Output = ()>>(test: impl FnOnce(Arc<Bench>) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let provider = open(&root).await.unwrap();
        let bench = Arc::new(Bench::on(provider, root, Some(dir)));
        bench.done("create_workspace", json!({"memory_bytes_max": 4_u64 << 30})).await;
        let end = Ender(bench.clone());
        test(bench).await;
        drop(end);
    });
}

/// Stops everything also when the test has failed.
struct Ender(Arc<Bench>);

impl Drop for Ender {
    fn drop(&mut self) {
        let provider = self.0.provider.clone();
        let end = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { provider.shutdown(false).await })
        };
        std::thread::spawn(end).join().unwrap().unwrap();
    }
}

impl Bench {
    pub(crate) fn on(provider: LocalProvider, root: PathBuf, dir: Option<tempfile::TempDir>) -> Self {
        let workspace = Workspace::parse("shop").unwrap();
        Self { provider, cx: owner("acme"), workspace, root, _dir: dir }
    }

    pub(crate) async fn run(&self, kind: &str, fields: Value) -> Result<Outcome, Fault> {
        let step = step(&self.provider, &self.cx, &self.workspace, action(kind, fields)).await;
        let key = format!("key-{}-{}", std::process::id(), KEYS.fetch_add(1, Ordering::SeqCst));
        apply(&self.provider, &self.cx, step, &key).await
    }

    pub(crate) async fn done(&self, kind: &str, fields: Value) -> Outcome {
        self.run(kind, fields).await.unwrap_or_else(|fault| panic!("{kind}: {fault} ({})", fault.hint))
    }

    pub(crate) async fn failed(&self, kind: &str, fields: Value) -> Fault {
        match self.run(kind, fields).await {
            Ok(outcome) => panic!("{kind} was done: {}", outcome.summary),
            Err(fault) => fault,
        }
    }

    pub(crate) async fn deploy(&self, name: &str, spec: Value) -> Outcome {
        self.done("deploy_workload", json!({"workload": name, "spec": spec})).await
    }

    pub(crate) async fn status(&self, name: &str) -> WorkloadStatus {
        let resource = Resource::Workload(Workload::parse(name).unwrap());
        match observe_resource(&self.provider, &self.cx, &self.workspace, &resource).await.unwrap() {
            ResourceState::Workload(status) => *status,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// Looks until `good` says yes.
    pub(crate) async fn until(&self, name: &str, what: &str, good: impl Fn(&WorkloadStatus) -> bool) -> WorkloadStatus {
        let deadline = Instant::now() + Duration::from_millis(WAIT_MS);
        loop {
            let status = self.status(name).await;
            if good(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{name} never was: {what}; it is {status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// GET through the workload's stable address.
    pub(crate) async fn get(&self, name: &str, path: &str) -> String {
        let address = self.status(name).await.address.unwrap();
        fetch(&address, path).await.unwrap_or_else(|error| panic!("{name}{path}: {error}"))
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.root.canonicalize().unwrap().join("tenants/acme").join(self.workspace.as_str())
    }
}

/// The test program with a port and a health check.
pub(crate) fn web(version: &str, replicas: u32) -> Value {
    let exe = std::env::current_exe().unwrap();
    json!({"version": version, "command": [exe, super::program::ROLE, "${port}"], "env": {"VERSION": version},
        "replicas": replicas, "limits": {"memory_bytes": 200 << 20}, "port": true,
        "health": {"http_path": "/healthz", "interval_ms": 50, "timeout_ms": 1000, "failures": 2}})
}

/// One GET, whole body, or why not.
pub(crate) async fn fetch(address: &str, path: &str) -> Result<String, String> {
    let (address, path) = (address.to_owned(), path.to_owned());
    tokio::task::spawn_blocking(move || fetch_blocking(&address, &path)).await.unwrap()
}

pub(crate) fn fetch_blocking(address: &str, path: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").map_err(|error| error.to_string())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|error| error.to_string())?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no answer")?;
    if head.starts_with("HTTP/1.1 200") { Ok(body.to_owned()) } else { Err(head.to_owned()) }
}

/// Looks until `good` says yes.
pub(crate) fn eventually(what: &str, good: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_millis(WAIT_MS);
    while !good() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// True while a process lives; a zombie does not.
pub(crate) fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
