//! What is off with each workload right now, and since when. Never says why.

use std::collections::BTreeMap;

use opsward_domain::alert::Condition;
use opsward_domain::name::Workload;
use opsward_domain::resource::{Replica, ReplicaExit, ReplicaState, VolumeStatus, WorkloadStatus};
use opsward_domain::spec::Objective;
use opsward_domain::telemetry::Lifecycle;
use opsward_domain::time::{AtMs, Window};

use super::picture::Picture;
use super::shift::{Rule, Shift, Weighted, fall, rise};
use super::signals::{PeerSignals, Signals, Vital};
use super::track::Grid;

/// How long a new level must have lasted when nobody complained.
const LASTING_MS: i64 = 8_000;
/// The same when an alert called: its own rule has seen it last already.
const LASTING_ALERTED_MS: i64 = 3_000;
/// Least extra share of failed requests.
const ERRORS_ABOVE_BY: f64 = 0.015;
/// Least quotient of failed shares.
const ERRORS_TIMES: f64 = 2.0;
/// Least quotient of mean answer times.
const LATENCY_TIMES: f64 = 1.4;
/// Least extra mean answer time.
const LATENCY_ABOVE_BY_S: f64 = 0.004;
/// Windows in which the slowest answers are looked at, how many, and least quotient.
const TAIL_MS: i64 = 5_000;
const TAIL_WINDOWS: i64 = 24;
const TAIL_TIMES: f64 = 1.5;
/// Time a replica may take to become ready.
const START_MS: i64 = 15_000;
/// Exits that make a crash loop, inside `CRASH_WINDOW_MS`, the last inside `CRASH_RECENT_MS`.
const CRASHES_MIN: usize = 3;
const CRASH_WINDOW_MS: i64 = 120_000;
const CRASH_RECENT_MS: i64 = 45_000;
/// How long a workload's metrics must be missing while others are heard.
const SILENT_MS: i64 = 5_000;
/// A share of failed requests that is a fault even if it was always so.
const ERRORS_ALWAYS: f64 = 0.05;
/// Share of a volume at which it counts as nearly full.
pub(super) const VOLUME_NEARLY_FULL: f64 = 0.9;

/// A way in which a workload's replicas are not as they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// Replicas end soon after they start, again and again.
    Crashing,
    /// Replicas are alive and fail their health check.
    Unhealthy,
    /// Replicas are alive and their metrics stopped.
    Silent,
    /// No replica is alive, or none is wanted.
    Absent,
    /// Some wanted replicas do not become ready.
    Short,
    /// A volume it writes to has little room left.
    Room,
}

/// Everything off with one workload.
#[derive(Debug, Clone, Default)]
pub(super) struct Symptoms {
    pub(super) errors: Option<Shift>,
    pub(super) latency: Option<Shift>,
    pub(super) states: BTreeMap<State, AtMs>,
    /// Rise of failures or of time towards a peer.
    pub(super) peer_errors: BTreeMap<String, Shift>,
    pub(super) peer_latency: BTreeMap<String, Shift>,
    /// Rise of its own request rate.
    pub(super) traffic: Option<Shift>,
    /// Exits that nobody asked for, in time order.
    pub(super) exits: Vec<ReplicaExit>,
    /// Share of replicas that are not ready, 0 to 1.
    pub(super) down_share: f64,
}

impl Symptoms {
    /// True if replicas themselves are not as they should be.
    pub(super) fn broken(&self) -> bool {
        self.states.keys().any(|state| !matches!(state, State::Short | State::Room))
    }
    /// True if something hurts: errors, time, or replicas.
    pub(super) fn any(&self) -> bool {
        self.errors.is_some() || self.latency.is_some() || !self.states.is_empty()
    }
    /// The earliest of what hurts.
    pub(super) fn onset_ms(&self) -> Option<AtMs> {
        let shifts = self.errors.iter().chain(&self.latency).map(|shift| shift.onset_ms);
        shifts.chain(self.states.values().copied()).min()
    }
}

/// Exits that nobody asked for, from events and from the replicas' own memory, in time order.
fn exits(picture: &Picture, status: &WorkloadStatus) -> Vec<ReplicaExit> {
    let mut found: Vec<ReplicaExit> = Vec::new();
    for event in picture.events.iter().filter(|event| event.workload == status.name) {
        if let Lifecycle::Exited { exit } = &event.what {
            found.push(exit.clone());
        }
    }
    found.extend(status.replicas.iter().filter_map(|replica| replica.last_exit.clone()));
    found.retain(|exit| exit.reason != "stopped" && exit.at_ms >= picture.window.from_ms);
    found.sort_by_key(|exit| exit.at_ms);
    found.dedup_by_key(|exit| (exit.at_ms, exit.code, exit.signal));
    found
}

fn old_enough(picture: &Picture, replica: &Replica) -> bool {
    picture.now_ms.saturating_sub(replica.started_at_ms) > START_MS
}

fn unhealthy_since(picture: &Picture, status: &WorkloadStatus) -> AtMs {
    let mut since = None;
    for event in picture.events.iter().filter(|event| event.workload == status.name) {
        match event.what {
            Lifecycle::Unhealthy { .. } => since = since.or(Some(event.at_ms)),
            Lifecycle::Ready => since = None,
            _ => {}
        }
    }
    since.unwrap_or(picture.now_ms)
}

fn states(picture: &Picture, status: &WorkloadStatus, exits: &[ReplicaExit]) -> BTreeMap<State, AtMs> {
    let mut found = BTreeMap::new();
    let now = picture.now_ms;
    let recent: Vec<&ReplicaExit> =
        exits.iter().filter(|e| e.at_ms > now - CRASH_WINDOW_MS && e.reason != "memory_limit").collect();
    let waits = status.replicas.iter().any(|r| r.state == ReplicaState::Backoff);
    let fresh = waits || recent.last().is_some_and(|last| last.at_ms > now - CRASH_RECENT_MS);
    if fresh && recent.len() >= CRASHES_MIN {
        found.insert(State::Crashing, recent[0].at_ms);
    }
    let failing = |r: &&Replica| r.state == ReplicaState::Unhealthy && old_enough(picture, r);
    if status.replicas.iter().any(|r| failing(&r)) {
        found.insert(State::Unhealthy, unhealthy_since(picture, status));
    }
    // One crash is not an outage: the restart is on its way.
    let backing_off = |r: &Replica| r.state == ReplicaState::Backoff && exits.len() >= 2;
    let ended = |r: &Replica| r.state == ReplicaState::Stopped || backing_off(r);
    if status.replicas.iter().all(ended) {
        let since = status.replicas.iter().filter_map(|r| r.last_exit.as_ref()).map(|e| e.at_ms).min();
        let scaled = picture.changes.iter().rev().find(|c| c.workload.as_ref() == Some(&status.name));
        found.insert(State::Absent, since.or(scaled.map(|c| c.at_ms)).unwrap_or(now));
    } else {
        let starting = |r: &&Replica| r.state == ReplicaState::Starting && old_enough(picture, r);
        let slow = status.replicas.iter().find(starting).map(|r| r.started_at_ms);
        let stopped = status.replicas.iter().find(|r| r.state == ReplicaState::Stopped);
        let gone = stopped.and_then(|r| r.last_exit.as_ref()).map(|e| e.at_ms);
        if let Some(since) = slow.into_iter().chain(gone).min() {
            found.insert(State::Short, since);
        }
    }
    found
}

fn silent(picture: &Picture, signals: &Signals<'_>, status: &WorkloadStatus) -> Option<AtMs> {
    let heard = signals.of.get(&status.name)?.heard_ms?;
    let others = signals.heard_ms()?;
    let alive = status.replicas.iter().any(|r| r.is_alive() && old_enough(picture, r));
    (alive && others.saturating_sub(heard) >= SILENT_MS).then_some(heard)
}

fn nearly_full(volume: &VolumeStatus) -> bool {
    volume.used_bytes as f64 >= VOLUME_NEARLY_FULL * volume.size_bytes.max(1) as f64
}

fn error_rule(lasting: usize) -> Rule {
    Rule { above_by: ERRORS_ABOVE_BY, times: ERRORS_TIMES, noise_floor: 0.006, lasting }
}

fn latency_rule(typical_s: f64, lasting: usize) -> Rule {
    let noise_floor = (0.4 * typical_s).powi(2);
    Rule { above_by: LATENCY_ABOVE_BY_S, times: LATENCY_TIMES, noise_floor, lasting }
}

fn mean_rise(grid: &Grid, seconds: &[f64], count: &[f64], lasting: usize) -> Option<Shift> {
    let series = Weighted::ratio(seconds, count);
    let mut means: Vec<f64> = seconds.iter().zip(count).filter(|(_, n)| **n > 0.0).map(|(s, n)| s / n).collect();
    let typical = super::shift::median(&mut means);
    rise(grid, &series, latency_rule(typical, lasting))
}

fn errors(grid: &Grid, vital: &Vital<'_>, objective: Option<f64>, lasting: usize) -> Option<Shift> {
    let series = Weighted::ratio(&vital.errors, &vital.requests.sum);
    if let Some(shift) = rise(grid, &series, error_rule(lasting)) {
        return Some(shift);
    }
    // Bad from the first sample on: there is no better past to compare with.
    let (failed, all): (f64, f64) = (vital.errors.iter().sum(), vital.requests.sum.iter().sum());
    let recent = grid.len.saturating_sub(grid.bins(LASTING_MS));
    let late: f64 = vital.errors[recent..].iter().sum::<f64>() / vital.requests.sum[recent..].iter().sum::<f64>();
    let bound = objective.unwrap_or(ERRORS_ALWAYS).max(ERRORS_ABOVE_BY);
    if all < 20.0 || failed / all <= bound || late.is_nan() || late <= bound {
        return None;
    }
    let first = vital.errors.iter().position(|n| *n > 0.0).unwrap_or(0);
    Some(Shift { onset_ms: grid.at(first), onset_bin: first, before: 0.0, now: late })
}

fn peer_failures(grid: &Grid, peer: &PeerSignals, lasting: usize) -> Option<Shift> {
    let bad: Vec<f64> = peer.failed.iter().zip(&peer.local).map(|(failed, local)| failed + local).collect();
    rise(grid, &Weighted::ratio(&bad, &peer.calls), error_rule(lasting))
}

/// A rise of the slowest answers that hardly moves the mean: 95th percentiles of short windows above the
/// objective now and well above what they were. Reports means, as the other rises do.
fn tail_rise(grid: &Grid, vital: &Vital<'_>, above_ms: f64) -> Option<Shift> {
    let end_ms = grid.at(grid.len);
    let window = |back: i64| Window::before(end_ms.saturating_sub(back * TAIL_MS), TAIL_MS);
    let span = i64::try_from(grid.len).unwrap_or(0).saturating_mul(grid.bin_ms);
    let count = (span / TAIL_MS).min(TAIL_WINDOWS);
    let p95: Vec<f64> = (0..count).map(|back| vital.p95_ms(window(back)).map_or(f64::NAN, |(ms, _)| ms)).collect();
    let now = p95.iter().take(2).copied().fold(f64::INFINITY, f64::min);
    let mut known: Vec<f64> = p95.iter().skip(2).copied().filter(|ms| ms.is_finite()).collect();
    known.sort_by(f64::total_cmp);
    let before = *known.get(known.len() / 4)?;
    if known.len() < 3 || !now.is_finite() || now <= above_ms || now < TAIL_TIMES * before {
        return None;
    }
    let slow = p95.iter().take_while(|ms| **ms > (before + now) / 2.0).count();
    let onset_ms = end_ms.saturating_sub(i64::try_from(slow).unwrap_or(0) * TAIL_MS);
    let onset_bin = grid.index(onset_ms);
    let mean = |from: usize, to: usize| {
        let (seconds, timed): (f64, f64) = (vital.seconds[from..to].iter().sum(), vital.timed[from..to].iter().sum());
        if timed > 0.0 { seconds / timed } else { 0.0 }
    };
    let (before, now) = (mean(0, onset_bin), mean(onset_bin, grid.len));
    (now > before).then_some(Shift { onset_ms, onset_bin, before, now })
}

fn of_metrics(grid: &Grid, vital: &Vital<'_>, objective: Option<&Objective>, lasting: usize, into: &mut Symptoms) {
    into.errors = errors(grid, vital, objective.and_then(|objective| objective.error_ratio_max), lasting);
    into.latency = mean_rise(grid, &vital.seconds, &vital.timed, lasting)
        .or_else(|| tail_rise(grid, vital, objective.and_then(|objective| objective.latency_p95_ms_max)?));
    let mut rates: Vec<f64> = vital.requests.sum.iter().map(|n| n / grid.bin_s()).collect();
    rates[..vital.since].fill(f64::NAN);
    let mut typical = rates[vital.since..].to_vec();
    let noise_floor = super::shift::median(&mut typical).max(1.0);
    into.traffic = rise(grid, &Weighted::level(&rates), Rule { above_by: 1.0, times: 1.2, noise_floor, lasting });
    for (name, peer) in &vital.peers {
        if let Some(shift) = peer_failures(grid, peer, lasting) {
            into.peer_errors.insert(name.clone(), shift);
        }
        if !peer.seconds.is_empty()
            && let Some(shift) = mean_rise(grid, &peer.seconds, &peer.calls, lasting)
        {
            into.peer_latency.insert(name.clone(), shift);
        }
    }
}

/// True if the process stopped using the processor; since when.
pub(super) fn idle_since(grid: &Grid, vital: &Vital<'_>) -> Option<Shift> {
    fall(grid, &vital.cpu, 5.0, grid.bins(LASTING_ALERTED_MS))
}

/// Finds what is off with every workload.
pub(super) fn find(picture: &Picture, signals: &Signals<'_>) -> BTreeMap<Workload, Symptoms> {
    let grid = &signals.grid;
    let alerted = picture.alert.as_ref().is_some_and(|alert| alert.condition != Condition::Reported);
    let lasting = grid.bins(if alerted { LASTING_ALERTED_MS } else { LASTING_MS });
    let mut all = BTreeMap::new();
    for status in &picture.workloads {
        let mut found = Symptoms { exits: exits(picture, status), ..Symptoms::default() };
        found.states = states(picture, status, &found.exits);
        if let Some(since) = silent(picture, signals, status) {
            found.states.insert(State::Silent, since);
        }
        let wanted = f64::from(status.spec.replicas.max(1));
        if picture.volumes.iter().any(|v| v.mounted_by.contains(&status.name) && nearly_full(v)) {
            found.states.insert(State::Room, picture.now_ms);
        }
        found.down_share = (1.0 - f64::from(status.ready()) / wanted).clamp(0.0, 1.0);
        let objective = status.spec.objective.as_ref();
        if let Some(vital) = signals.of.get(&status.name) {
            of_metrics(grid, vital, objective, lasting, &mut found);
        }
        all.insert(status.name.clone(), found);
    }
    // Nothing wanted and nobody asking: that is how its owner wants it.
    if all.values().all(|symptoms| symptoms.peer_errors.is_empty()) {
        for status in picture.workloads.iter().filter(|status| status.spec.replicas == 0) {
            if let Some(symptoms) = all.get_mut(&status.name) {
                symptoms.states.remove(&State::Absent);
            }
        }
    }
    all
}
