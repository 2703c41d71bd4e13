//! Processes of a workload, held by descriptors so that a reused number is never hit.
//! Must never signal a process that was not one of the workload's replicas when it was looked up.

use super::api::Api;
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Most replicas of a workload that are looked at.
const REPLICAS_MAX: usize = 32;
/// Longest time that a workload is starved.
const STARVE_MAX: Duration = Duration::from_secs(2 * 3600);

/// How soon the end is noticed.
const STEP: Duration = Duration::from_millis(40);

/// The running processes of one workload.
#[derive(Debug)]
pub(super) struct Processes(Vec<OwnedFd>);

fn pids(workload: &Value) -> Vec<i32> {
    let replicas = workload.get("replicas").and_then(Value::as_array);
    replicas
        .into_iter()
        .flatten()
        .take(REPLICAS_MAX)
        .filter_map(|replica| i32::try_from(replica.get("pid")?.as_i64()?).ok())
        .filter(|pid| *pid > 1)
        .collect()
}

impl Processes {
    pub(super) fn of(api: &Api, workload: &str) -> Result<Self, String> {
        let found = api.workload(workload)?;
        let held: Vec<_> = pids(&found)
            .into_iter()
            .filter_map(Pid::from_raw)
            .filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
            .collect();
        if held.is_empty() {
            return Err(format!("{workload} has no running process"));
        }
        Ok(Self(held))
    }

    /// Sends to all; gives whether any was still there.
    fn signal(&self, signal: Signal) -> bool {
        self.0.iter().filter(|process| pidfd_send_signal(process, signal).is_ok()).count() > 0
    }

    pub(super) fn stop(&self) -> bool {
        self.signal(Signal::STOP)
    }

    pub(super) fn go_on(&self) -> bool {
        self.signal(Signal::CONT)
    }

    pub(super) fn kill_first(&self) -> bool {
        self.0.first().is_some_and(|process| pidfd_send_signal(process, Signal::KILL).is_ok())
    }

    /// Stops and continues in turn until they are gone, the time is over, or `ended` says so.
    pub(super) fn starve(&self, off: Duration, on: Duration, during: Option<Duration>, ended: impl Fn() -> bool) {
        let until = Instant::now() + during.unwrap_or(STARVE_MAX).min(STARVE_MAX);
        while Instant::now() < until && !ended() && self.stop() {
            pause(off, &ended);
            self.go_on();
            pause(on, &ended);
        }
        self.go_on();
    }
}

fn pause(span: Duration, ended: &impl Fn() -> bool) {
    let until = Instant::now() + span;
    while Instant::now() < until && !ended() {
        sleep(until.saturating_duration_since(Instant::now()).min(STEP));
    }
}

/// A variable of the first replica's environment, as the operating system shows it.
pub(super) fn variable(api: &Api, workload: &str, key: &str) -> Result<String, String> {
    let found = api.workload(workload)?;
    for pid in pids(&found) {
        let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else {
            continue;
        };
        let value = environment
            .split(|byte| *byte == 0)
            .find_map(|entry| String::from_utf8_lossy(entry).strip_prefix(key)?.strip_prefix('=').map(str::to_owned));
        if let Some(value) = value {
            return Ok(value);
        }
    }
    Err(format!("no process of {workload} has {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_real_processes_are_taken() {
        let found = json!({"replicas": [{"pid": 77}, {"pid": null}, {"pid": 1}, {"pid": -3}, {"state": "x"}]});
        assert_eq!(pids(&found), vec![77]);
        assert!(pids(&json!({})).is_empty());
    }
}
