//! What each workload's metrics say, derived once: rates, failures, times, peers, resources.
//! Never judges; a signal that is not there is absent, not zero.

use std::collections::BTreeMap;

use opsward_domain::name::Workload;
use opsward_domain::telemetry::Series;
use opsward_domain::time::{AtMs, Window};

use super::picture::{Picture, SeriesByMetric};
use super::track::{Grid, Increases, first_ms, increases, last_ms, levels, quantile, total};

/// How an answer counts. Words stand where no status came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Good,
    /// The asked side refused the question: the asker's doing as a rule.
    Refused,
    Failed,
    /// The asker failed before it asked: its own pool or breaker.
    Local,
}

/// Reads the `code` label.
pub(super) fn outcome(code: &str) -> Outcome {
    match code.parse::<u16>() {
        Ok(429 | 500..=599) => Outcome::Failed,
        Ok(400..=499) => Outcome::Refused,
        Ok(_) => Outcome::Good,
        Err(_) => {
            let word = code.to_ascii_lowercase();
            let any = |words: &[&str]| words.iter().any(|part| word.contains(part));
            if word.is_empty() || any(&["ok", "success", "hit", "miss", "2xx", "3xx"]) {
                Outcome::Good
            } else if any(&["pool", "exhaust", "circuit", "breaker", "rejected"]) {
                Outcome::Local
            } else if word == "4xx" {
                Outcome::Refused
            } else {
                Outcome::Failed
            }
        }
    }
}

fn code_of(series: &Series) -> &str {
    series.labels.get("code").or_else(|| series.labels.get("status")).map_or("", String::as_str)
}

/// One workload's view of one thing it calls.
#[derive(Debug, Clone)]
pub(super) struct PeerSignals {
    pub(super) calls: Vec<f64>,
    pub(super) failed: Vec<f64>,
    pub(super) local: Vec<f64>,
    /// Seconds spent in calls, per bin; empty if not measured.
    pub(super) seconds: Vec<f64>,
    /// Failed calls by code over the last part of the window.
    pub(super) codes: BTreeMap<String, f64>,
}

/// Resident memory of one replica.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub(super) points: Vec<(AtMs, f64)>,
}

/// Everything derived for one workload.
#[derive(Debug, Clone)]
pub(super) struct Vital<'a> {
    /// True if it counts its own requests.
    pub(super) counted: bool,
    pub(super) requests: Increases,
    /// First bin with a request: before it there was nothing to measure, which is not the same as calm.
    pub(super) since: usize,
    pub(super) errors: Vec<f64>,
    pub(super) seconds: Vec<f64>,
    pub(super) timed: Vec<f64>,
    pub(super) peers: BTreeMap<String, PeerSignals>,
    pub(super) memory: Vec<Memory>,
    /// Processor seconds per second, all replicas.
    pub(super) cpu: Vec<f64>,
    pub(super) queue: Vec<f64>,
    pub(super) inflight: Vec<f64>,
    /// Use of the fullest pool, 0 to 1, where the size is known.
    pub(super) pool: Vec<f64>,
    pub(super) open_files: Vec<(Option<u32>, f64, f64)>,
    /// Last sample of any request metric.
    pub(super) heard_ms: Option<AtMs>,
    buckets: &'a [Series],
}

/// How far back the codes of failed calls are counted.
const CODES_MS: i64 = 30_000;

fn get<'a>(metrics: &'a SeriesByMetric, name: &str) -> &'a [Series] {
    metrics.get(name).map_or(&[], Vec::as_slice)
}

fn peers(grid: &Grid, metrics: &SeriesByMetric) -> BTreeMap<String, PeerSignals> {
    let totals = get(metrics, "upstream_requests_total");
    let times = get(metrics, "upstream_request_duration_seconds_sum");
    let mut names: Vec<&String> = totals.iter().chain(times).filter_map(|one| one.labels.get("peer")).collect();
    names.sort_unstable();
    names.dedup();
    let recent = grid.len.saturating_sub(grid.bins(CODES_MS));
    let mut found = BTreeMap::new();
    for name in names {
        let of = |one: &Series| one.labels.get("peer") == Some(name);
        let class = |wanted: Outcome| increases(grid, totals, |one| of(one) && outcome(code_of(one)) == wanted).sum;
        let seconds = increases(grid, times, of);
        let mut codes: BTreeMap<String, f64> = BTreeMap::new();
        for one in totals.iter().filter(|one| of(one) && outcome(code_of(one)) != Outcome::Good) {
            let mut alone = Increases::none(grid);
            alone.add(grid, &one.points, first_ms(totals));
            *codes.entry(code_of(one).to_owned()).or_default() += alone.sum[recent..].iter().sum::<f64>();
        }
        let signals = PeerSignals {
            calls: increases(grid, totals, of).sum,
            failed: class(Outcome::Failed),
            local: class(Outcome::Local),
            seconds: if seconds.known.iter().any(|known| *known) { seconds.sum } else { Vec::new() },
            codes,
        };
        found.insert(name.clone(), signals);
    }
    found
}

fn pool(grid: &Grid, metrics: &SeriesByMetric) -> Vec<f64> {
    let mut worst = vec![f64::NAN; grid.len];
    for used in get(metrics, "pool_in_use") {
        let same = |size: &&Series| size.replica == used.replica && size.labels == used.labels;
        let Some(size) = get(metrics, "pool_size").iter().find(same).and_then(|size| size.points.last()) else {
            continue;
        };
        for (slot, value) in worst.iter_mut().zip(levels(grid, &used.points)) {
            if size.1 > 0.0 && value.is_finite() {
                *slot = slot.max(value / size.1);
            }
        }
    }
    worst
}

/// One series a replica: the highest of several sources wins.
fn memory(metrics: &SeriesByMetric) -> Vec<Memory> {
    let mut best: BTreeMap<Option<u32>, &Series> = BTreeMap::new();
    for one in get(metrics, "process_resident_memory_bytes") {
        let kept = best.entry(one.replica).or_insert(one);
        if one.points.len() > kept.points.len() {
            *kept = one;
        }
    }
    let usable = |series: &Series| series.points.iter().copied().filter(|p| p.1.is_finite() && p.1 > 0.0).collect();
    best.into_values().map(|series| Memory { points: usable(series) }).collect()
}

fn open_files(metrics: &SeriesByMetric) -> Vec<(Option<u32>, f64, f64)> {
    let mut found: BTreeMap<Option<u32>, (f64, f64)> = BTreeMap::new();
    for one in get(metrics, "replica_open_files").iter().chain(get(metrics, "process_open_fds")) {
        if let (Some(first), Some(last)) = (one.points.first(), one.points.last()) {
            let entry = found.entry(one.replica).or_insert((first.1, last.1));
            entry.1 = entry.1.max(last.1);
        }
    }
    found.into_iter().map(|(replica, (first, last))| (replica, first, last)).collect()
}

impl<'a> Vital<'a> {
    fn new(grid: &Grid, metrics: &'a SeriesByMetric) -> Self {
        let served = get(metrics, "http_requests_total");
        let requests = increases(grid, served, |_| true);
        let cpu = increases(grid, get(metrics, "process_cpu_seconds_total"), |_| true);
        let per_second = |i: usize| if cpu.known[i] { cpu.sum[i] / grid.bin_s() } else { f64::NAN };
        Self {
            counted: requests.known.iter().any(|known| *known),
            errors: increases(grid, served, |one| outcome(code_of(one)) == Outcome::Failed).sum,
            since: requests.sum.iter().position(|count| *count > 0.0).unwrap_or(0),
            requests,
            seconds: increases(grid, get(metrics, "http_request_duration_seconds_sum"), |_| true).sum,
            timed: increases(grid, get(metrics, "http_request_duration_seconds_count"), |_| true).sum,
            peers: peers(grid, metrics),
            memory: memory(metrics),
            cpu: (0..grid.len).map(per_second).collect(),
            queue: total(grid, get(metrics, "queue_depth")),
            inflight: total(grid, get(metrics, "inflight_requests")),
            pool: pool(grid, metrics),
            open_files: open_files(metrics),
            heard_ms: last_ms(served),
            buckets: get(metrics, "http_request_duration_seconds_bucket"),
        }
    }
    /// 95th percentile of the answer time in milliseconds with its number of requests.
    pub(super) fn p95_ms(&self, window: Window) -> Option<(f64, f64)> {
        quantile(self.buckets, window, 0.95).map(|(seconds, count)| (seconds * 1_000.0, count))
    }
    /// Requests per second over bins `from..to`, as far as there were any.
    pub(super) fn rate(&self, grid: &Grid, from: usize, to: usize) -> f64 {
        per_second(grid, &self.requests.sum, from.max(self.since), to)
    }
}

/// Sum of a per-bin count over bins `from..to`, per second.
pub(super) fn per_second(grid: &Grid, counts: &[f64], from: usize, to: usize) -> f64 {
    let inside = counts.get(from..to.min(counts.len())).unwrap_or_default();
    if inside.is_empty() { 0.0 } else { inside.iter().sum::<f64>() / (inside.len() as f64 * grid.bin_s()) }
}

/// Mean of known levels over bins `from..to`.
pub(super) fn mean(levels: &[f64], from: usize, to: usize) -> Option<f64> {
    let inside = levels.get(from..to.min(levels.len())).unwrap_or_default();
    let known: Vec<f64> = inside.iter().copied().filter(|v| v.is_finite()).collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

/// All workloads on one grid.
#[derive(Debug, Clone)]
pub(super) struct Signals<'a> {
    pub(super) grid: Grid,
    pub(super) of: BTreeMap<Workload, Vital<'a>>,
}

/// The part of the window from which there are samples at all: a young system has no long past.
fn observed(picture: &Picture) -> Window {
    let firsts = picture.series.values().flat_map(SeriesByMetric::values).map(|series| first_ms(series));
    let from_ms = firsts.min().unwrap_or(picture.window.from_ms).max(picture.window.from_ms);
    Window { from_ms: from_ms.min(picture.window.to_ms), ..picture.window }
}

impl<'a> Signals<'a> {
    pub(super) fn new(picture: &'a Picture) -> Self {
        let grid = Grid::over(observed(picture));
        let of = picture.series.iter().map(|(name, metrics)| (name.clone(), Vital::new(&grid, metrics))).collect();
        Self { grid, of }
    }
    /// Last sample of any workload: tells a silent workload from a blind scraper.
    pub(super) fn heard_ms(&self) -> Option<AtMs> {
        self.of.values().filter_map(|vital| vital.heard_ms).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_by_their_meaning() {
        for (code, meaning) in [
            ("200", Outcome::Good),
            ("302", Outcome::Good),
            ("ok", Outcome::Good),
            ("404", Outcome::Refused),
            ("429", Outcome::Failed),
            ("503", Outcome::Failed),
            ("timeout", Outcome::Failed),
            ("connect_error", Outcome::Failed),
            ("pool_exhausted", Outcome::Local),
            ("circuit_open", Outcome::Local),
        ] {
            assert_eq!(outcome(code), meaning, "{code}");
        }
    }
}
