//! Plays the moves of a scenario. Must never go on after a move that failed: the truth would be wrong.

use super::api::Api;
use super::processes::{self, Processes};
use super::scenario::Move;
use crate::driver::lines::{InjectorLine, Truth};
use crate::{clock, http};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

const EXTERNAL_TIMEOUT: Duration = Duration::from_secs(3);
/// How soon a wait notices that nobody drives this any more.
const WAIT_STEP: Duration = Duration::from_millis(100);
const STRAY_PAUSE: Duration = Duration::from_millis(60);
const STRAY_PATHS: [&str; 4] = ["/wp-login.php", "/.env", "/products", "/admin/config.json"];
/// Name of a file that somebody forgot.
const LEFT_OVER: &str = "orders-export.csv.tmp";

/// Somebody who plays a scenario.
#[derive(Debug)]
pub(super) struct Player {
    api: Api,
    control: String,
    truth: Truth,
    moved_at_ms: u64,
    held: Vec<JoinHandle<()>>,
    ended: Arc<AtomicBool>,
}

fn told(text: String) {
    crate::tell(&InjectorLine::Move { text, at_ms: clock::now_ms() });
}

impl Player {
    pub(super) fn new(api: Api, control: String, truth: Truth) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        Self { api, control, truth, moved_at_ms: 0, held: Vec::new(), ended }
    }

    /// Plays all moves, then holds what has to be held until it is gone or standard input closes.
    pub(super) fn play(mut self, moves: Vec<Move>) -> Result<(), String> {
        let ended = Arc::clone(&self.ended);
        thread::spawn(move || {
            // Content does not matter, only the end of it.
            let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
            ended.store(true, Ordering::SeqCst);
        });
        for next in moves {
            if self.ended.load(Ordering::SeqCst) {
                break;
            }
            if !matches!(next, Move::Wait { .. } | Move::Cause) {
                self.moved_at_ms = clock::now_ms();
            }
            self.step(next)?;
        }
        crate::tell(&InjectorLine::Done { at_ms: clock::now_ms() });
        for thread in self.held {
            // A thread that holds a process only ends early when it failed to hold it.
            let _ = thread.join();
        }
        Ok(())
    }

    fn step(&mut self, next: Move) -> Result<(), String> {
        match next {
            Move::Wait { ms } => self.wait(Duration::from_millis(ms)),
            Move::Cause => {
                self.truth.cause_at_ms = self.moved_at_ms;
                crate::tell(&InjectorLine::Truth(self.truth.clone()));
            }
            Move::Act { action, reason } => {
                told(format!("{} {}: {reason}", action["kind"], action["workload"]));
                self.api.act(&action, &reason)?;
            }
            Move::Ship { release, reason } => {
                told(reason.clone());
                let mut spec = self.api.workload(&release.service)?["spec"].take();
                spec["version"] = release.version.as_str().into();
                spec["files"] = json!({"release.bin": STANDARD.encode(release.pack())});
                let action = json!({"kind": "deploy_workload", "workload": release.service, "spec": spec});
                self.api.act(&action, &reason)?;
            }
            Move::Client { command } => crate::tell(&InjectorLine::Client { command }),
            Move::External { command } => {
                told(format!("external network: {command}"));
                self.external(&command)?;
            }
            Move::Alert { name, service, status, severity, summary } => {
                told(format!("alert {name} for {service} ({status})"));
                let alert = alert(self.api.workspace(), &name, &service, status, severity, &summary);
                self.api.alert(alert)?;
            }
            Move::Stray { count } => self.stray(count)?,
            Move::Freeze { .. } | Move::Starve { .. } | Move::Kill { .. } => self.disturb(next)?,
            Move::Fill { workload, bytes } => self.fill(&workload, bytes)?,
            Move::Sweep { workload } => {
                told(format!("{workload}: forgotten file removed"));
                fs::remove_file(self.left_over(&workload)?).map_err(|cause| format!("remove file: {cause}"))?;
            }
        }
        Ok(())
    }

    fn wait(&self, span: Duration) {
        let until = Instant::now() + span;
        while Instant::now() < until && !self.ended.load(Ordering::SeqCst) {
            sleep(until.saturating_duration_since(Instant::now()).min(WAIT_STEP));
        }
    }

    fn disturb(&mut self, next: Move) -> Result<(), String> {
        match next {
            Move::Freeze { workload, for_ms } => {
                told(format!("{workload}: processes stopped"));
                let processes = Processes::of(&self.api, &workload)?;
                processes.stop();
                if let Some(ms) = for_ms {
                    sleep(Duration::from_millis(ms));
                    processes.go_on();
                }
            }
            Move::Starve { workload, off_ms, on_ms, for_ms } => {
                told(format!("{workload}: processes get {on_ms} of every {} ms", on_ms + off_ms));
                let processes = Processes::of(&self.api, &workload)?;
                let ended = Arc::clone(&self.ended);
                let (off, on) = (Duration::from_millis(off_ms), Duration::from_millis(on_ms));
                let during = for_ms.map(Duration::from_millis);
                self.held.push(thread::spawn(move || {
                    processes.starve(off, on, during, || ended.load(Ordering::SeqCst));
                }));
            }
            Move::Kill { workload } => {
                told(format!("{workload}: one process killed"));
                if !Processes::of(&self.api, &workload)?.kill_first() {
                    return Err(format!("{workload}: process was gone already"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn left_over(&self, workload: &str) -> Result<PathBuf, String> {
        Ok(PathBuf::from(processes::variable(&self.api, workload, "DATA_DIR")?).join(LEFT_OVER))
    }

    fn fill(&self, workload: &str, bytes: u64) -> Result<(), String> {
        told(format!("{workload}: somebody leaves a file of {} KiB", bytes / 1024));
        let path = self.left_over(workload)?;
        let mut file = fs::File::create(&path).map_err(|cause| format!("create file: {cause}"))?;
        let (block, mut missing) = ([b'0'; 64 * 1024], bytes);
        while missing > 0 {
            let size = missing.min(block.len() as u64);
            file.write_all(&block[..size as usize]).map_err(|cause| format!("write file: {cause}"))?;
            missing -= size;
        }
        Ok(())
    }

    fn external(&self, command: &str) -> Result<(), String> {
        let said = |cause: std::io::Error| format!("external control {}: {cause}", self.control);
        let target = http::address(&self.control).map_err(|cause| cause.to_string())?;
        let mut stream = TcpStream::connect_timeout(&target, EXTERNAL_TIMEOUT).map_err(said)?;
        stream.set_read_timeout(Some(EXTERNAL_TIMEOUT)).map_err(said)?;
        stream.write_all(format!("{command}\n").as_bytes()).map_err(said)?;
        let mut answer = String::new();
        stream.take(64).read_to_string(&mut answer).map_err(said)?;
        if answer.trim() == "done" { Ok(()) } else { Err(format!("external control: {answer}")) }
    }

    fn stray(&self, count: u64) -> Result<(), String> {
        told(format!("{count} requests for pages that do not exist"));
        let gateway = self.api.workload(crate::world::ENTRY)?;
        let addr = gateway["address"].as_str().ok_or("the gateway has no address")?;
        for (_, path) in (0..count).zip(STRAY_PATHS.iter().cycle()) {
            // Strangers do not care about the answer.
            let _ = http::once(addr, "GET", path, &[], b"", EXTERNAL_TIMEOUT);
            sleep(STRAY_PAUSE);
        }
        Ok(())
    }
}

fn alert(workspace: &str, name: &str, service: &str, status: &str, severity: &str, summary: &str) -> Value {
    let (date, time, _) = clock::parts(clock::now_ms());
    let now = format!("{date}T{time}Z");
    let ends = if status == "resolved" { now.as_str() } else { "0001-01-01T00:00:00Z" };
    let labels = json!({
        "alertname": name, "service": service, "workload": service, "severity": severity, "namespace": workspace
    });
    let fingerprint = name
        .bytes()
        .chain(service.bytes())
        .fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{{alertname=\"{name}\"}}"),
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "opsward",
        "groupLabels": {"alertname": name},
        "commonLabels": labels,
        "commonAnnotations": {"summary": summary},
        "externalURL": "http://alertmanager.shop.internal:9093",
        "alerts": [{
            "status": status,
            "labels": labels,
            "annotations": {"summary": summary},
            "startsAt": now,
            "endsAt": ends,
            "generatorURL": "http://prometheus.shop.internal:9090/graph",
            "fingerprint": format!("{fingerprint:016x}"),
        }],
    })
}
