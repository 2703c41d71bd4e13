//! Alerts of our own: objectives of workloads, crash loops, replicas that do not become ready, volumes
//! that fill. A condition must hold for several windows to fire and be gone for several to clear, so
//! bursts, hiccups and rolling restarts stay quiet. Never decides on a window without enough requests.

mod steady;

use std::collections::{BTreeMap, BTreeSet};

use opsward_domain::alert::{Alert, Condition, Severity};
use opsward_domain::canonical;
use opsward_domain::label::{Integrity, Label, Labelled};
use opsward_domain::name::{Workload, Workspace};
use opsward_domain::resource::{VolumeStatus, WorkloadStatus};
use opsward_domain::telemetry::ReplicaEvent;
use opsward_domain::time::{AtMs, Window};

use super::picture::SeriesByMetric;
use super::traffic::{Traffic, measure};
use super::words::percent;

/// Length of series that [`evaluate`] looks at, at most; longer ones do no harm.
pub const LOOK_MS: i64 = WINDOWS as i64 * WINDOW_MS_MAX + 2_000;
/// Windows of one look, and how many must be bad to fire.
const WINDOWS: usize = 8;
const BAD_WINDOWS: usize = 5;
/// Shortest and longest window; sparse traffic gets longer ones.
const WINDOW_MS_MIN: i64 = 1_000;
const WINDOW_MS_MAX: i64 = 6_000;
/// Fewest requests of a window that counts, and of all of them together.
const REQUESTS_MIN: f64 = 4.0;
const REQUESTS_ALL_MIN: f64 = 30.0;
/// Fewest failures that an alert may rest on.
const FAILED_MIN: f64 = 4.0;

/// One moment of one workspace.
#[derive(Debug, Clone, Copy)]
pub struct WatchInput<'a> {
    /// Where.
    pub workspace: &'a Workspace,
    /// Now.
    pub now_ms: AtMs,
    /// Every workload.
    pub workloads: &'a [WorkloadStatus],
    /// Every volume.
    pub volumes: &'a [VolumeStatus],
    /// Request counters and duration buckets of at least the last [`LOOK_MS`].
    pub series: &'a BTreeMap<Workload, SeriesByMetric>,
    /// Lifecycle events of at least the last minute, in time order.
    pub events: &'a [ReplicaEvent],
}

/// What is remembered between two looks.
#[derive(Debug, Clone, Default)]
pub struct WatchState {
    firing: BTreeMap<String, AtMs>,
    /// Since when a state has held, by fingerprint.
    held: BTreeMap<String, AtMs>,
    /// Since when a firing condition has been gone.
    gone: BTreeMap<String, AtMs>,
}

impl WatchState {
    /// Fingerprints that fire now.
    pub fn firing(&self) -> impl Iterator<Item = &str> {
        self.firing.keys().map(String::as_str)
    }
    /// Takes up an alert that was firing before a restart, so that it is not raised twice.
    pub fn resume(&mut self, fingerprint: &str, started_at_ms: AtMs) {
        self.firing.insert(fingerprint.to_owned(), started_at_ms);
    }
}

/// What changed since the last look.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watched {
    /// Newly raised.
    pub raised: Vec<Alert>,
    /// Fingerprints that cleared.
    pub cleared: Vec<String>,
}

/// What a rule sees now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Seen {
    /// The condition holds; since when.
    Bad(AtMs),
    /// It does not hold.
    Good,
    /// It cannot be told; nothing changes.
    Unclear,
}

/// One rule's finding.
pub(super) struct Finding {
    workload: Workload,
    condition: Condition,
    severity: Severity,
    seen: Seen,
    text: String,
    /// How long it must hold before it fires, and be gone before it clears.
    hold_ms: i64,
    clear_ms: i64,
}

/// The identity of an alert of ours: the same condition at the same place is the same alert.
pub fn fingerprint(workspace: &Workspace, workload: &Workload, condition: &Condition) -> String {
    let volume = match condition {
        Condition::VolumeNearlyFull { volume, .. } => volume.as_str(),
        _ => "",
    };
    canonical::digest("opsward-alert-1", &(workspace, workload, condition.alert_name(), volume))
}

/// Looks once. Call it every second or so; the rules count windows of the series, not calls.
pub fn evaluate(input: &WatchInput<'_>, state: &mut WatchState) -> Watched {
    let mut findings: Vec<Finding> = input.workloads.iter().flat_map(|status| objectives(input, status)).collect();
    findings.extend(steady::findings(input));
    let mut out = Watched::default();
    let mut known = BTreeSet::new();
    for finding in findings {
        let fingerprint = fingerprint(input.workspace, &finding.workload, &finding.condition);
        known.insert(fingerprint.clone());
        settle(input, state, finding, fingerprint, &mut out);
    }
    // What does not exist any more cannot fire.
    let orphans: Vec<String> = state.firing.keys().filter(|key| !known.contains(*key)).cloned().collect();
    for fingerprint in orphans {
        state.firing.remove(&fingerprint);
        out.cleared.push(fingerprint);
    }
    state.held.retain(|key, _| known.contains(key));
    state.gone.retain(|key, _| known.contains(key));
    out
}

fn settle(input: &WatchInput<'_>, state: &mut WatchState, finding: Finding, key: String, out: &mut Watched) {
    let now = input.now_ms;
    match finding.seen {
        Seen::Unclear => {}
        Seen::Bad(since_ms) => {
            state.gone.remove(&key);
            let first = *state.held.entry(key.clone()).or_insert(now);
            if now.saturating_sub(first) >= finding.hold_ms && !state.firing.contains_key(&key) {
                state.firing.insert(key.clone(), since_ms);
                out.raised.push(alert(input, finding, key, since_ms));
            }
        }
        Seen::Good => {
            state.held.remove(&key);
            if state.firing.contains_key(&key) {
                let first = *state.gone.entry(key.clone()).or_insert(now);
                if now.saturating_sub(first) >= finding.clear_ms {
                    state.firing.remove(&key);
                    state.gone.remove(&key);
                    out.cleared.push(key);
                }
            }
        }
    }
}

fn alert(input: &WatchInput<'_>, finding: Finding, fingerprint: String, since_ms: AtMs) -> Alert {
    let labels = BTreeMap::from([
        ("alertname".to_owned(), finding.condition.alert_name().to_owned()),
        ("workload".to_owned(), finding.workload.as_str().to_owned()),
    ]);
    Alert {
        fingerprint,
        name: finding.condition.alert_name().to_owned(),
        workspace: input.workspace.clone(),
        workload: Some(finding.workload),
        condition: finding.condition,
        severity: finding.severity,
        started_at_ms: since_ms,
        // Numbers and names minted by us only.
        text: Labelled::new(finding.text, Label::of(Integrity::Typed)),
        labels,
    }
}

/// Windows as long as the sampling and the traffic need, newest last.
fn windows(input: &WatchInput<'_>, series: &SeriesByMetric) -> Vec<(Window, Traffic)> {
    let served = series.get("http_requests_total").map_or(&[][..], Vec::as_slice);
    let Some(last) = super::track::last_ms(served) else { return Vec::new() };
    // Samples that stopped say nothing about now.
    if input.now_ms.saturating_sub(last) > WINDOW_MS_MAX {
        return Vec::new();
    }
    let gap = served
        .iter()
        .filter_map(|one| one.points.len().checked_sub(2).and_then(|at| one.points.get(at..)))
        .map(|pair| pair[1].0.saturating_sub(pair[0].0))
        .min()
        .unwrap_or(WINDOW_MS_MIN);
    let all = measure(series, Window::before(last, WINDOW_MS_MAX)).requests / (WINDOW_MS_MAX as f64 / 1_000.0);
    let sparse = (REQUESTS_MIN / all.max(0.1) * 1_000.0) as i64;
    // Whole numbers of samples, so that neighbours count alike.
    let gap = gap.max(WINDOW_MS_MIN);
    let length = (sparse.div_euclid(gap).saturating_add(1) * gap).clamp(gap.min(WINDOW_MS_MAX), WINDOW_MS_MAX);
    let one = |back: usize| {
        let to_ms = last.saturating_sub(length.saturating_mul(i64::try_from(back).unwrap_or(0)));
        let window = Window::before(to_ms, length);
        (window, measure(series, window))
    };
    (0..WINDOWS).rev().map(one).collect()
}

/// Bad for most of the last windows and in the newest ones too.
fn judge(windows: &[(Window, Traffic)], bad: impl Fn(&Traffic) -> Option<bool>) -> Seen {
    let verdicts: Vec<Option<bool>> =
        windows.iter().map(|(_, t)| if t.requests >= REQUESTS_MIN { bad(t) } else { None }).collect();
    let count = |wanted: bool| verdicts.iter().filter(|verdict| **verdict == Some(wanted)).count();
    let newest: Vec<bool> = verdicts.iter().rev().take(3).filter_map(|verdict| *verdict).collect();
    let still = !newest.is_empty() && newest.iter().filter(|bad| **bad).count() * 2 >= newest.len();
    if count(true) >= BAD_WINDOWS && still {
        let first = verdicts.iter().position(|verdict| *verdict == Some(true)).unwrap_or(0);
        return Seen::Bad(windows[first].0.from_ms);
    }
    if count(true) <= 1 && count(false) >= BAD_WINDOWS { Seen::Good } else { Seen::Unclear }
}

fn objectives(input: &WatchInput<'_>, status: &WorkloadStatus) -> Vec<Finding> {
    let Some(objective) = &status.spec.objective else { return Vec::new() };
    let none = SeriesByMetric::new();
    let series = input.series.get(&status.name).unwrap_or(&none);
    let windows = windows(input, series);
    let span = |t: &[(Window, Traffic)]| Some(Window { from_ms: t.first()?.0.from_ms, to_ms: t.last()?.0.to_ms });
    let whole = span(&windows).map(|span| measure(series, span)).filter(|all| all.requests >= REQUESTS_ALL_MIN);
    let finding = |condition, severity, seen, text| Finding {
        workload: status.name.clone(),
        condition,
        severity,
        seen: if whole.is_some() { seen } else { Seen::Unclear },
        text,
        hold_ms: 0,
        clear_ms: 8_000,
    };
    let mut found = Vec::new();
    if let Some(above) = objective.error_ratio_max {
        let mut seen = judge(&windows, |t| Some(t.error_ratio() > above));
        // A few failures among few requests are chance, not a level.
        let ratio = whole.map_or(0.0, |all| all.error_ratio());
        let failed = whole.map_or(0.0, |all| all.failed);
        if matches!(seen, Seen::Bad(_)) && (failed < FAILED_MIN || ratio <= above) {
            seen = Seen::Unclear;
        }
        let text =
            format!("{} fails {} of its requests, the objective is {}", status.name, percent(ratio), percent(above));
        found.push(finding(Condition::ErrorRatio { above }, Severity::Critical, seen, text));
    }
    if let Some(above_ms) = objective.latency_p95_ms_max {
        let mut seen = judge(&windows, |t| t.p95_ms.map(|p95| p95 > above_ms));
        let p95 = whole.and_then(|all| all.p95_ms).unwrap_or(0.0);
        if matches!(seen, Seen::Bad(_)) && p95 <= above_ms {
            seen = Seen::Unclear;
        }
        let text = format!("{} answers in {p95:.0} ms (p95), the objective is {above_ms:.0} ms", status.name);
        found.push(finding(Condition::LatencyP95 { above_ms }, Severity::Warning, seen, text));
    }
    found
}

#[cfg(test)]
mod tests;
