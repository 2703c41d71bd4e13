//! `opsward bench`: measures this binary from outside, on a service of its own over an empty data folder.
//! Prints numbers and never judges them: a number is a fact about one machine at one time.
#![allow(clippy::print_stdout, reason = "this is the terminal")]

mod process;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use opsward_domain::fault::Fault;
use opsward_surface::cli::Client;
use serde::Serialize;
use serde_json::{Value, json};

use crate::stage::cast::{self, Service};

/// Starts of the command line and of the service.
const STARTS: usize = 20;
/// Turns before those that count.
const WARM_TURNS: u64 = 10;
/// Longest wait for one turn.
const TURN_WAIT_MS: u64 = 20_000;
/// Time between two looks at a service that starts.
const READY_POLL: Duration = Duration::from_millis(2);
/// Longest wait for a service to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
const WORKSPACE: &str = "bench";

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// This binary.
    pub exe: PathBuf,
    /// Turns that count.
    pub turns: u64,
    /// Seconds without work before memory is read.
    pub settle_s: u64,
    /// Print JSON lines.
    pub json: bool,
}

/// One measured thing.
#[derive(Debug, Serialize)]
struct Row {
    what: String,
    unit: &'static str,
    samples: usize,
    p50: f64,
    p99: f64,
    least: f64,
    most: f64,
}

impl Row {
    fn new(what: impl Into<String>, unit: &'static str, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let rank = |share: f64| {
            let at = (values.len() as f64 * share).ceil() as usize;
            values.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        let (p50, p99, least, most) = (rank(0.5), rank(0.99), rank(0.0), rank(1.0));
        Self { what: what.into(), unit, samples: values.len(), p50, p99, least, most }
    }

    fn print(&self, json: bool) {
        let text = match (json, self.samples) {
            (true, _) => json!(self).to_string(),
            (false, 1) => format!("{:48} {:10.2} {}", self.what, self.p50, self.unit),
            (false, _) => format!(
                "{:48} {:10.2} {} p50   {:.2} p99   {:.2} to {:.2}   n={}",
                self.what, self.p50, self.unit, self.p99, self.least, self.most, self.samples
            ),
        };
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// Measures and prints row by row.
pub async fn run(options: &Options) -> Result<u8, Fault> {
    let folder = std::env::temp_dir().join(format!("opsward-bench-{}", std::process::id()));
    let measured = measure(options, &folder).await;
    let _ = std::fs::remove_dir_all(&folder);
    measured.map(|()| 0)
}

async fn measure(options: &Options, folder: &Path) -> Result<(), Fault> {
    command_start(&options.exe).await?.print(options.json);
    ready(&options.exe, folder).await?.print(options.json);
    let (model, base_url) = cast::model(&options.exe).await?;
    let stage = Stage::set(&options.exe, &folder.join("turns"), &base_url).await?;
    tokio::time::sleep(Duration::from_secs(options.settle_s)).await;
    for row in stage.memory() {
        row.print(options.json);
    }
    for row in stage.turns(options.turns).await? {
        row.print(options.json);
    }
    stage.tool_runs(options.turns).await?.print(options.json);
    stage.service.player.terminate().await;
    model.end().await;
    Ok(())
}

fn since_ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

async fn command_start(exe: &Path) -> Result<Row, Fault> {
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let start = Instant::now();
        let ended = tokio::process::Command::new(exe).arg("--help").stdout(Stdio::null()).status().await;
        ended.map_err(|error| Fault::unavailable("this binary cannot be started").detail(error.to_string()))?;
        took.push(since_ms(start));
    }
    Ok(Row::new("command line start (--help)", "ms", took))
}

/// From the start of the process to `/readyz`, on empty data each time.
async fn ready(exe: &Path, folder: &Path) -> Result<Row, Fault> {
    let http = opsward_tls::client().build().map_err(|error| Fault::internal(error.to_string()))?;
    let mut took = Vec::new();
    for number in 0..STARTS {
        let data = folder.join(format!("ready-{number}"));
        make(&data)?;
        let start = Instant::now();
        let service = Service::start(exe, &data, "127.0.0.1:0", &[]).await?;
        let url = format!("{}/readyz", service.address);
        while !http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            if start.elapsed() > READY_WITHIN {
                return Err(Fault::unavailable("the service did not become ready"));
            }
            tokio::time::sleep(READY_POLL).await;
        }
        took.push(since_ms(start));
        service.player.terminate().await;
    }
    Ok(Row::new("ready, from process start on empty data", "ms", took))
}

fn make(data: &Path) -> Result<(), Fault> {
    std::fs::create_dir_all(data)
        .map_err(|error| Fault::unavailable("the bench's folder cannot be made").detail(error.to_string()))
}

/// A service with a model that answers at once, and its owner.
struct Stage {
    service: Service,
    owner: Client,
}

impl Stage {
    async fn set(exe: &Path, data: &Path, base_url: &str) -> Result<Self, Fault> {
        make(data)?;
        let config = data.join("bench.toml");
        let text = format!("[model]\nbase_url = \"{base_url}\"\nname = \"obedient\"\n");
        std::fs::write(&config, text).map_err(|error| {
            Fault::unavailable("the bench's configuration cannot be kept").detail(error.to_string())
        })?;
        let extra = ["--config".to_owned(), config.display().to_string()];
        let service = Service::start(exe, data, "127.0.0.1:0", &extra).await?;
        let owner = service.sign_in().await?;
        let action = json!({"kind": "create_workspace", "memory_bytes_max": 1_u64 << 30});
        let path = format!("/workspaces/{WORKSPACE}/actions?wait_ms={TURN_WAIT_MS}");
        owner.post(&path, &json!({"action": action, "reason": "measure", "approve": true})).await?;
        Ok(Self { service, owner })
    }

    fn memory(&self) -> Vec<Row> {
        let tree = process::tree(self.service.player.pid());
        let all: f64 = tree.iter().map(|one| one.pss_mib).sum();
        let mut rows = vec![Row::new(format!("idle memory, {} processes (Pss)", tree.len()), "MiB", vec![all])];
        for one in &tree {
            rows.push(Row::new(format!("  {}", one.role), "MiB", vec![one.pss_mib]));
        }
        rows
    }

    /// Turns with one tool call and no effect. The model answers at once; its time is in the figure.
    async fn turns(&self, count: u64) -> Result<Vec<Row>, Fault> {
        for _ in 0..WARM_TURNS {
            self.turn().await?;
        }
        let before = process::cpu(self.service.player.pid());
        let head = self.head().await?;
        let mut took = Vec::new();
        for _ in 0..count {
            took.push(self.turn().await?);
        }
        let after = process::cpu(self.service.player.pid());
        let each = |total: f64| vec![total / count.max(1) as f64];
        let events = self.head().await?.saturating_sub(head);
        Ok(vec![
            Row::new("turn with one tool call, no effect", "ms", took),
            Row::new("  processor time of the server a turn", "CPU-ms", each(after.own_ms - before.own_ms)),
            Row::new("  processor time of its workers a turn", "CPU-ms", each(after.reaped_ms - before.reaped_ms)),
            Row::new("  journal events a turn", "", each(events as f64)),
        ])
    }

    async fn head(&self) -> Result<u64, Fault> {
        Ok(self.owner.get("/events?limit=1").await?["head"].as_u64().unwrap_or(0))
    }

    async fn turn(&self) -> Result<f64, Fault> {
        let start = Instant::now();
        let said =
            self.owner.post(&format!("/workspaces/{WORKSPACE}/messages"), &json!({"text": "what is new?"})).await?;
        let id = said["conversation"].as_str().unwrap_or_default();
        let run = self.owner.get(&format!("/runs/conversation/{id}?wait_ms={TURN_WAIT_MS}")).await?;
        settled(&run, "answered")?;
        Ok(since_ms(start))
    }

    /// A tool run by a person: gate, journal, worker and back over HTTP.
    async fn tool_runs(&self, count: u64) -> Result<Row, Fault> {
        let path = format!("/workspaces/{WORKSPACE}/tools/show_state");
        let mut took = Vec::new();
        for _ in 0..count {
            let start = Instant::now();
            self.owner.post(&path, &json!({})).await?;
            took.push(since_ms(start));
        }
        Ok(Row::new("tool run over HTTP", "ms", took))
    }
}

fn settled(run: &Value, wanted: &str) -> Result<(), Fault> {
    if run["status"] == wanted {
        return Ok(());
    }
    Err(Fault::unavailable(format!("a turn ended as {}", run["status"])).detail(run["fault"].to_string()))
}
