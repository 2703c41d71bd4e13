//! The real binary as a server on a folder of its own, started again and again, killed at named points.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use opsward_domain::fault::Fault;
use opsward_surface::cli::Client;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{binary, end_processes_of, http, processes_of};

/// Longest wait for anything here.
const WITHIN: Duration = Duration::from_secs(60);
/// `bound` on a machine that has time for us; as many times longer as it has more to do than processors.
pub(super) fn stretched(bound: Duration) -> Duration {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(1.0);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    bound.mul_f64((load / processors as f64).clamp(1.0, 8.0))
}

/// Longest time from a start to the end of every run that a kill interrupted, what the run itself waits for
/// not counted.
pub(super) const RECOVERY_MAX: Duration = Duration::from_secs(20);

pub(super) struct House {
    pub(super) data: TempDir,
    child: Option<Child>,
    address: String,
    token: Option<String>,
    config: Option<String>,
    /// How far its clock goes ahead.
    pub(super) ahead_ms: i64,
}

impl House {
    /// A folder where nothing was started yet; `config` is the service's configuration, if it needs one.
    pub(super) fn new(config: Option<&str>) -> Self {
        let (data, config) = (TempDir::new().unwrap(), config.map(str::to_owned));
        Self { data, child: None, address: String::new(), token: None, config, ahead_ms: 0 }
    }

    /// Starts the service, to be lost at `point` if one is named. False if it was lost before it was ready.
    pub(super) async fn start(&mut self, point: Option<&str>) -> bool {
        assert!(self.child.is_none(), "it runs already");
        let mut command = Command::new(binary());
        command.args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(self.data.path());
        if let Some(config) = &self.config {
            let path = self.data.path().join("opsward.toml");
            std::fs::write(&path, config).unwrap();
            command.arg("--config").arg(path);
        }
        command.env_remove("OPSWARD_CRASH_AT").envs(point.map(|point| ("OPSWARD_CRASH_AT", point)));
        command.env("OPSWARD_CLOCK_AHEAD_MS", self.ahead_ms.to_string());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        self.child = Some(child);
        let Some(Ok(first)) = lines.next() else { return false };
        self.address = first.strip_prefix("opsward listens on ").unwrap_or_else(|| panic!("{first}")).to_owned();
        let Some(Ok(second)) = lines.next() else { return false };
        if self.token.is_none() && point.is_none() {
            let link = second.split_once("#link=").unwrap().1.to_owned();
            self.sign_in(&link).await;
        }
        self.ready().await
    }

    async fn ready(&mut self) -> bool {
        let until = Instant::now() + stretched(WITHIN);
        while Instant::now() < until && self.alive() {
            let answer = http().get(format!("{}/readyz", self.address)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!self.alive(), "the service did not become ready");
        false
    }

    async fn sign_in(&mut self, link: &str) {
        assert!(self.ready().await);
        let stranger = Client::new(&self.address, None, true).unwrap();
        let session = stranger.post("/login", &json!({"link": link})).await.unwrap();
        let signed = Client::new(&self.address, session["token"].as_str().map(str::to_owned), true).unwrap();
        let made = signed.post("/people/owner/tokens", &json!({})).await.unwrap();
        self.token = made["token"].as_str().map(str::to_owned);
    }

    pub(super) fn client(&self) -> Client {
        Client::new(&self.address, self.token.clone(), true).unwrap()
    }

    fn alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Waits until the service was lost, by SIGKILL and by nothing else. Nothing to do if that was seen already.
    pub(super) async fn lost(&mut self, point: &str) {
        let until = Instant::now() + stretched(WITHIN);
        while self.alive() {
            assert!(Instant::now() < until, "{point} was not reached");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let Some(mut child) = self.child.take() else { return };
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{point}: it ended otherwise: {status}");
    }

    /// Kills the service now.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Waits until `done` says so of the value at `path`.
    pub(super) async fn until(&self, path: &str, what: &str, done: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + stretched(WITHIN);
        loop {
            let value = self.client().get(path).await;
            if let Ok(value) = &value
                && done(value)
            {
                return value.clone();
            }
            assert!(Instant::now() < until, "{what}: {path} is {value:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Does one action of the shop with every yes it needs; it must succeed.
    pub(super) async fn must(&self, action: Value) -> Value {
        let body = json!({"action": action, "approve": true});
        let run = self.client().post("/workspaces/shop/actions?wait_ms=60000", &body).await.unwrap();
        assert_eq!(run["status"], "succeeded", "{action}: {} {}", run["detail"], run["fault"]);
        run
    }

    /// Every event that the caller may see.
    pub(super) async fn events(&self) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = self.client().get(&format!("/events?after={after}&limit=500")).await.unwrap();
            all.extend(page["events"].as_array().unwrap().iter().cloned());
            after = page["cursor"].as_u64().unwrap();
            if page["end"] == true {
                return all;
            }
        }
    }

    /// The parents of its workloads.
    pub(super) fn shims(&self) -> Vec<Pid> {
        let is_shim = |pid: &Pid| {
            let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(b"__shim")
        };
        processes_of(self.data.path()).into_iter().filter(is_shim).collect()
    }

    /// Says yes to the next thing that waits for it, or until the service is lost.
    pub(super) async fn agree(&mut self) {
        let until = Instant::now() + stretched(WITHIN);
        while self.alive() {
            assert!(Instant::now() < until, "nothing ever waited for a yes");
            if self.yes_to_all().await > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Says yes to whatever waits now; how much that was.
    async fn yes_to_all(&self) -> usize {
        let Ok(list) = self.client().get("/approvals").await else { return 0 };
        let list = list.as_array().cloned().unwrap_or_default();
        for line in &list {
            let path = format!("/approvals/{}/approve", line["id"].as_str().unwrap());
            let _: Result<Value, Fault> = self.client().post(&path, &json!({})).await;
        }
        list.len()
    }

    /// Says yes to whatever waits, until nothing runs and nothing waits; the time it took.
    pub(super) async fn rest(&self) -> Duration {
        let began = Instant::now();
        loop {
            let open = self.unfinished().await;
            if open.is_empty() {
                return began.elapsed();
            }
            assert!(began.elapsed() < stretched(WITHIN), "these never end: {open:?}");
            self.yes_to_all().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs that are neither settled nor unasked for.
    async fn unfinished(&self) -> Vec<String> {
        let mut runs: Vec<(String, String)> = Vec::new();
        for event in self.events().await {
            let (kind, id) = (event["stream"]["kind"].as_str().unwrap(), event["stream"]["id"].as_str().unwrap());
            if ["command", "conversation", "incident"].contains(&kind) {
                runs.push((kind.to_owned(), id.to_owned()));
            }
        }
        runs.sort();
        runs.dedup();
        let mut open = Vec::new();
        for (kind, id) in runs {
            let run = self.client().get(&format!("/runs/{kind}/{id}")).await.unwrap();
            if ["running", "awaiting_approval"].contains(&run["status"].as_str().unwrap()) {
                open.push(format!("{kind}/{id} {}", run["status"]));
            }
        }
        open
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        end_processes_of(self.data.path());
    }
}
