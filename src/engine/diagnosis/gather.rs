//! Brings a picture together through the ports: in parallel, bounded in time and size, and honest about
//! what could not be looked at. Never judges and never changes anything.

mod evidence;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use opsward_domain::action::Action;
use opsward_domain::alert::Alert;
use opsward_domain::cause::Change;
use opsward_domain::context::CallContext;
use opsward_domain::event::CheckVerdict;
use opsward_domain::evidence::Evidence;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Volume, Workload, Workspace};
use opsward_domain::resource::{VolumeStatus, WorkloadStatus};
use opsward_domain::telemetry::{Level, LogQuery, ReplicaEvent, Series, SeriesQuery, TemplateCount};
use opsward_domain::time::{AtMs, Window};
use opsward_ports::logs::Logs;
use opsward_ports::provider::{Provider, observe_volumes, observe_workloads};
use opsward_ports::series::{POINTS_MAX, SeriesStore};

use super::picture::{Citations, Picture, SeriesByMetric, Topic};

/// What is fetched for every workload.
pub const METRICS: [&str; 17] = [
    "http_requests_total",
    "http_request_duration_seconds_bucket",
    "http_request_duration_seconds_sum",
    "http_request_duration_seconds_count",
    "upstream_requests_total",
    "upstream_request_duration_seconds_sum",
    "upstream_request_duration_seconds_count",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "inflight_requests",
    "queue_depth",
    "pool_in_use",
    "pool_size",
    "replica_open_files",
    "replica_ready",
    "replica_restarts_total",
];
/// Where a volume's content is measured.
const VOLUME_METRIC: &str = "volume_used_bytes";
/// Most workloads whose metrics are fetched; the alert's own one first.
const WORKLOADS_MAX: usize = 64;
/// Most templates of one window.
const TEMPLATES_MAX: usize = 200;
/// How long before the alert began the incident's logs start.
const LOGS_LEAD_MS: i64 = 30_000;
/// Most blind spots listed.
const BLIND_SPOTS_MAX: usize = 20;

/// Bounds of one look.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How far back metrics, changes and events go.
    pub window_ms: i64,
    /// How far back changes go; a cause may be older than the metrics.
    pub changes_ms: i64,
    /// Longest wait for one fetch.
    pub fetch_timeout_ms: u64,
    /// Fetches at the same time.
    pub parallel: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { window_ms: 15 * 60_000, changes_ms: 60 * 60_000, fetch_timeout_ms: 3_000, parallel: 16 }
    }
}

/// What the caller knows already.
#[derive(Debug, Clone)]
pub struct Known {
    /// Where to look.
    pub workspace: Workspace,
    /// Now.
    pub now_ms: AtMs,
    /// What called for the look.
    pub alert: Option<Alert>,
    /// Changes of the workspace, any order.
    pub changes: Vec<Change>,
    /// Lifecycle events of the workspace, any order.
    pub events: Vec<ReplicaEvent>,
    /// Remedies already carried out for this incident.
    pub tried: Vec<(Action, CheckVerdict)>,
    /// Number of the first evidence id: 1 gives `e1`, `e2`, ...
    pub first_evidence: u32,
}

/// The three stores that are asked.
#[derive(Clone, Copy)]
pub struct Stores<'a> {
    /// Where workloads and volumes are observed.
    pub provider: &'a dyn Provider,
    /// Where logs are kept.
    pub logs: &'a dyn Logs,
    /// Where metrics are kept.
    pub series: &'a dyn SeriesStore,
}

/// Everything one look brought.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// For [`super::diagnose`].
    pub picture: Picture,
    /// What the picture's citations point at, in order of id, each with the time of its own fetch in
    /// microseconds; what was known already took none.
    pub evidence: Vec<(Evidence, u64)>,
}

/// How long the fetch behind each topic took, in microseconds.
type Took = BTreeMap<Topic, u64>;

struct Look<'a> {
    cx: &'a CallContext,
    stores: Stores<'a>,
    known: &'a Known,
    limits: &'a Limits,
}

/// One fetched part: what came, or why not, and how long it took.
struct Part<T> {
    what: String,
    value: Result<T, Fault>,
    took: Duration,
}

impl<T> Part<T> {
    fn took_us(&self) -> u64 {
        u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX)
    }

    /// The value, or nothing and a blind spot.
    fn take(self, blind: &mut Vec<String>) -> Option<T> {
        match self.value {
            Ok(value) => Some(value),
            Err(fault) => {
                blind.push(format!("{}: {fault}", self.what));
                None
            }
        }
    }
}

impl Look<'_> {
    async fn part<T>(&self, what: impl Into<String>, fetch: impl Future<Output = Result<T, Fault>>) -> Part<T> {
        let started = Instant::now();
        let bound = Duration::from_millis(self.limits.fetch_timeout_ms);
        let value = match tokio::time::timeout(bound, fetch).await {
            Ok(value) => value,
            Err(_) => {
                let message = format!("no answer within {} ms", self.limits.fetch_timeout_ms);
                Err(Fault::new(opsward_domain::fault::Code::Timeout, message))
            }
        };
        Part { what: what.into(), value, took: started.elapsed() }
    }

    fn window(&self) -> Window {
        Window::before(self.known.now_ms, self.limits.window_ms)
    }

    /// Before and since shortly before the alert, or the last fifth of the window without one.
    fn log_windows(&self) -> (Window, Window) {
        let whole = self.window();
        let called = self.known.alert.as_ref().map(|alert| alert.started_at_ms.saturating_sub(LOGS_LEAD_MS));
        let latest = whole.to_ms.saturating_sub(LOGS_LEAD_MS);
        let fifth = whole.to_ms.saturating_sub(whole.length_ms() / 5);
        let split =
            called.unwrap_or(fifth).clamp(whole.from_ms.saturating_add(1_000), latest.max(whole.from_ms + 1_000));
        (Window { to_ms: split, ..whole }, Window { from_ms: split, ..whole })
    }

    async fn templates(&self, what: &str, window: Window) -> Part<Vec<TemplateCount>> {
        let query = |level_min| LogQuery {
            workspace: self.known.workspace.clone(),
            workloads: Vec::new(),
            window,
            level_min,
            text: String::new(),
            template: None,
            limit: TEMPLATES_MAX,
        };
        // Once for what says that it is serious, however rare, and once for programs that write no levels.
        let (serious, any) = (query(Some(Level::Warn)), query(None));
        let both = async {
            let logs = self.stores.logs;
            let (mut found, rest) =
                futures::try_join!(logs.templates(self.cx, &serious), logs.templates(self.cx, &any))?;
            let known: BTreeSet<(Workload, u64)> = found.iter().map(|t| (t.workload.clone(), t.template)).collect();
            let new = |t: &TemplateCount| t.level.is_none() && !known.contains(&(t.workload.clone(), t.template));
            found.extend(rest.into_iter().filter(new));
            Ok(found)
        };
        self.part(what, both).await
    }

    async fn metric(&self, workload: Option<&Workload>, metric: &str) -> Part<Vec<Series>> {
        let query = SeriesQuery {
            workspace: self.known.workspace.clone(),
            workload: workload.cloned(),
            metric: metric.to_owned(),
            labels: BTreeMap::new(),
            window: self.window(),
        };
        let what = workload.map_or_else(|| metric.to_owned(), |name| format!("{metric} of {name}"));
        self.part(what, self.stores.series.range(self.cx, &query)).await
    }

    /// Metrics of the workloads, the alert's own first, the rest as long as the bound allows.
    async fn metrics(
        &self,
        workloads: &[WorkloadStatus],
        took: &mut Took,
        blind: &mut Vec<String>,
    ) -> BTreeMap<Workload, SeriesByMetric> {
        let named = self.known.alert.as_ref().and_then(|alert| alert.workload.as_ref());
        let mut names: Vec<&Workload> = workloads.iter().map(|status| &status.name).collect();
        names.sort_by_key(|name| Some(*name) != named);
        if names.len() > WORKLOADS_MAX {
            blind.push(format!(
                "metrics of {} more workloads: the bound is {WORKLOADS_MAX}",
                names.len() - WORKLOADS_MAX
            ));
            names.truncate(WORKLOADS_MAX);
        }
        let asked: Vec<(&Workload, &str)> =
            names.iter().flat_map(|name| METRICS.iter().map(move |metric| (*name, *metric))).collect();
        // Made before they are run: a closure inside the stream would hide from the compiler that they may
        // move between threads.
        let fetches: Vec<_> = asked
            .into_iter()
            .map(|(name, metric)| async move { (name, metric, self.metric(Some(name), metric).await) })
            .collect();
        let mut parts = stream::iter(fetches).buffered(self.limits.parallel.max(1));
        let mut found: BTreeMap<Workload, SeriesByMetric> = BTreeMap::new();
        let mut failed = BTreeMap::<String, usize>::new();
        while let Some((name, metric, part)) = parts.next().await {
            // A workload's metrics are fetched side by side: its slowest is its time.
            let slowest = took.entry(Topic::Metrics(name.clone())).or_default();
            *slowest = part.took_us().max(*slowest);
            match part.value {
                Ok(series) => {
                    let count: usize = series.iter().map(|one| one.points.len()).sum();
                    if count >= POINTS_MAX {
                        blind.push(format!("{}: more than {POINTS_MAX} points, cut by the store", part.what));
                    }
                    if !series.is_empty() {
                        found.entry(name.clone()).or_default().insert(metric.to_owned(), series);
                    }
                }
                Err(fault) => *failed.entry(fault.to_string()).or_default() += 1,
            }
        }
        blind.extend(failed.into_iter().map(|(why, count)| format!("{count} metrics: {why}")));
        found
    }
}

fn by_volume(volumes: &[VolumeStatus], series: Vec<Series>) -> BTreeMap<Volume, Vec<(AtMs, f64)>> {
    let mut found = BTreeMap::new();
    for one in series {
        let name = one.labels.get("volume").and_then(|name| volumes.iter().find(|v| v.name.as_str() == name));
        if let Some(volume) = name {
            found.insert(volume.name.clone(), one.points);
        }
    }
    found
}

/// Looks at one workspace. Never fails: what could not be fetched is a blind spot of the picture.
pub async fn gather(cx: &CallContext, stores: Stores<'_>, known: Known, limits: &Limits) -> Gathered {
    let look = Look { cx, stores, known: &known, limits };
    let mut blind = Vec::new();
    let (baseline, incident) = look.log_windows();
    let (workloads, volumes, before, now, used) = futures::join!(
        look.part("workloads", observe_workloads(stores.provider, cx, &known.workspace)),
        look.part("volumes", observe_volumes(stores.provider, cx, &known.workspace)),
        look.templates("log templates before", baseline),
        look.templates("log templates since", incident),
        look.metric(None, VOLUME_METRIC),
    );
    let logs_us = before.took_us().max(now.took_us());
    let mut took =
        Took::from([(Topic::State, workloads.took_us()), (Topic::Volumes, volumes.took_us().max(used.took_us()))]);
    let workloads = workloads.take(&mut blind).unwrap_or_default();
    let volumes = volumes.take(&mut blind).unwrap_or_default();
    let templates_before = before.take(&mut blind).unwrap_or_default();
    let templates_now = now.take(&mut blind).unwrap_or_default();
    let used = used.take(&mut blind).unwrap_or_default();
    let series = look.metrics(&workloads, &mut took, &mut blind).await;
    took.extend(workloads.iter().map(|status| (Topic::Logs(status.name.clone()), logs_us)));
    blind.truncate(BLIND_SPOTS_MAX);
    let window = look.window();
    let changes_from = known.now_ms.saturating_sub(limits.changes_ms);
    let Known { workspace, now_ms, alert, mut changes, mut events, tried, first_evidence } = known;
    changes.retain(|change| change.at_ms >= changes_from && change.at_ms <= now_ms);
    changes.sort_by_key(|change| change.at_ms);
    events.retain(|event| window.contains(event.at_ms));
    events.sort_by_key(|event| event.at_ms);
    let mut picture = Picture {
        volume_used: by_volume(&volumes, used),
        workspace,
        now_ms,
        window,
        alert,
        workloads,
        volumes,
        series,
        baseline,
        incident,
        templates_before,
        templates_now,
        events,
        changes,
        tried,
        citations: Citations::default(),
        blind_spots: blind,
    };
    let evidence = evidence::collect(&mut picture, first_evidence, &took);
    Gathered { picture, evidence }
}

#[cfg(test)]
mod tests;
