//! Rules without an objective: crash loops, replicas not ready, volumes nearly full.

use opsward_domain::alert::{Condition, Severity};
use opsward_domain::resource::{ReplicaState, VolumeStatus, WorkloadStatus};
use opsward_domain::telemetry::Lifecycle;

use super::{Finding, Seen, WatchInput};
use crate::diagnosis::words::{bytes, percent};

/// Exits inside `CRASH_MS` that fire, and how long without one clears.
const CRASHES: usize = 3;
const CRASH_MS: i64 = 60_000;
const CRASH_CLEAR_MS: i64 = 45_000;
/// How long replicas that were ready may be not ready, and how long new ones may take.
const NOT_READY_MS: i64 = 6_000;
const START_MS: i64 = 25_000;
const READY_CLEAR_MS: i64 = 5_000;
/// Share of a volume that fires, and the one below which it clears.
const VOLUME_ABOVE: f64 = 0.9;
const VOLUME_CLEAR: f64 = 0.87;
const VOLUME_HOLD_MS: i64 = 2_000;

fn crash_loop(input: &WatchInput<'_>, status: &WorkloadStatus) -> Finding {
    let recent = input.events.iter().filter(|event| event.workload == status.name);
    let recent = recent.filter(|event| input.now_ms.saturating_sub(event.at_ms) <= CRASH_MS);
    let exits: Vec<i64> = recent
        .filter(|event| matches!(&event.what, Lifecycle::Exited { exit } if exit.reason != "stopped"))
        .map(|event| event.at_ms)
        .collect();
    let waiting = status.replicas.iter().any(|replica| replica.state == ReplicaState::Backoff);
    let quiet = exits.last().is_none_or(|last| input.now_ms.saturating_sub(*last) >= CRASH_CLEAR_MS);
    let seen = match exits.first() {
        Some(first) if exits.len() >= CRASHES => Seen::Bad(*first),
        _ if quiet && !waiting => Seen::Good,
        _ => Seen::Unclear,
    };
    Finding {
        workload: status.name.clone(),
        condition: Condition::CrashLoop,
        severity: Severity::Critical,
        seen,
        text: format!("replicas of {} ended {} times in the last minute", status.name, exits.len()),
        hold_ms: 0,
        clear_ms: 0,
    }
}

fn not_ready(input: &WatchInput<'_>, status: &WorkloadStatus) -> Finding {
    let wanted = status.spec.replicas;
    // Replicas of the previous revision serve until their successors do.
    let serving = status.replicas.iter().filter(|replica| replica.state == ReplicaState::Ready).count();
    let fresh = |started_ms: i64| input.now_ms.saturating_sub(started_ms) < START_MS;
    let rolling = status.replicas.iter().any(|replica| {
        (replica.state == ReplicaState::Starting || replica.revision != status.revision) && fresh(replica.started_at_ms)
    }) || status.revisions.last().is_some_and(|last| fresh(last.at_ms));
    let missing = (serving as u64) < u64::from(wanted);
    let seen = match (missing, rolling) {
        (false, _) => Seen::Good,
        (true, true) if serving > 0 => Seen::Unclear,
        (true, _) => Seen::Bad(input.now_ms),
    };
    Finding {
        workload: status.name.clone(),
        condition: Condition::NotReady,
        severity: if serving == 0 { Severity::Critical } else { Severity::Warning },
        seen,
        text: format!("{serving} of {wanted} replicas of {} are ready", status.name),
        hold_ms: if rolling { START_MS } else { NOT_READY_MS },
        clear_ms: READY_CLEAR_MS,
    }
}

fn nearly_full(input: &WatchInput<'_>, volume: &VolumeStatus) -> Option<Finding> {
    let workload = volume.mounted_by.first()?.clone();
    let used = volume.used_bytes as f64 / volume.size_bytes.max(1) as f64;
    let seen = if used >= VOLUME_ABOVE {
        Seen::Bad(input.now_ms)
    } else if used < VOLUME_CLEAR {
        Seen::Good
    } else {
        Seen::Unclear
    };
    Some(Finding {
        workload,
        condition: Condition::VolumeNearlyFull { volume: volume.name.clone(), above: VOLUME_ABOVE },
        severity: Severity::Warning,
        seen,
        text: format!("volume {} of {} is {} full", volume.name, bytes(volume.size_bytes as f64), percent(used)),
        hold_ms: VOLUME_HOLD_MS,
        clear_ms: 0,
    })
}

/// Every rule of this kind for every workload and volume.
pub(super) fn findings(input: &WatchInput<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for status in input.workloads {
        found.push(crash_loop(input, status));
        found.push(not_ready(input, status));
    }
    found.extend(input.volumes.iter().filter_map(|volume| nearly_full(input, volume)));
    found
}
