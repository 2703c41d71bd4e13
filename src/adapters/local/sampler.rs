//! Measures every replica at a steady pace, and by asking keeps every shim alive. Never lets what a
//! workload exposes pass for what the platform measured.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use opsward_domain::name::{Volume, Workload};
use opsward_domain::resource::ReplicaState;
use opsward_domain::telemetry::Sample;
use opsward_domain::time::AtMs;
use tokio::task::JoinSet;

use crate::http;
use crate::options::SCRAPE_BYTES_MAX;
use crate::place::Place;
use crate::provider::Inner;
use crate::scrape;
use crate::wire::{Report, RunningReplica};

/// Most metrics pages fetched at once.
const SCRAPES_MAX: usize = 16;
/// Longest wait for one metrics page.
const SCRAPE_TIMEOUT_MS: u64 = 1_000;

const CPU: &str = "process_cpu_seconds_total";
const MEMORY: &str = "process_resident_memory_bytes";
const RESTARTS: &str = "replica_restarts_total";
const READY: &str = "replica_ready";
const OPEN_FILES: &str = "replica_open_files";
const VOLUME_USED: &str = "volume_used_bytes";
const VOLUME_SIZE: &str = "volume_size_bytes";
const CALLS: &str = "function_invocations_total";
const FAILED_CALLS: &str = "function_failures_total";
const BUSY: &str = "function_busy_seconds_total";
/// Names that only the platform may say.
const OURS: [&str; 10] =
    [CPU, MEMORY, RESTARTS, READY, OPEN_FILES, VOLUME_USED, VOLUME_SIZE, CALLS, FAILED_CALLS, BUSY];

/// Samples until the provider is gone.
pub(crate) async fn run(inner: Weak<Inner>) {
    let Some(interval_ms) = inner.upgrade().map(|inner| inner.options.scrape_interval_ms) else { return };
    let mut pace = tokio::time::interval(Duration::from_millis(interval_ms.max(1)));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let mut rounds = JoinSet::new();
        for place in inner.places() {
            let inner = inner.clone();
            rounds.spawn(async move { sample(&inner, &place).await });
        }
        rounds.join_all().await;
    }
}

async fn sample(inner: &Inner, place: &Arc<Place>) {
    let report = match place.link.report().await {
        Ok(report) => report,
        Err(fault) => {
            tracing::warn!(workspace = %place.workspace, %fault, "the workspace cannot be measured");
            return;
        }
    };
    let at_ms = inner.clock.now_ms();
    let mut samples = measured(place, &report, at_ms);
    let mut pages = JoinSet::new();
    for (name, replica, port, path) in exposed(place, &report) {
        if pages.len() >= SCRAPES_MAX
            && let Some(Ok(page)) = pages.join_next().await
        {
            samples.extend(page);
        }
        let place = place.clone();
        pages.spawn(async move { page(&place, name, replica, port, &path, at_ms).await });
    }
    samples.extend(pages.join_all().await.into_iter().flatten());
    inner.outbox.add(&place.tenant, samples);
}

/// What the platform itself sees.
fn measured(place: &Place, report: &Report, at_ms: AtMs) -> Vec<Sample> {
    let sample = |workload: Option<&Workload>, replica, metric: &str, value| Sample {
        workspace: place.workspace.clone(),
        workload: workload.cloned(),
        replica,
        metric: metric.to_owned(),
        labels: BTreeMap::new(),
        at_ms,
        value,
    };
    #[allow(clippy::cast_precision_loss, reason = "a sample's value is a float")]
    let of_replica = |name: &Workload, it: &RunningReplica| {
        let ready = it.replica.state == ReplicaState::Ready;
        let values = [
            (CPU, it.cpu_seconds),
            (MEMORY, it.replica.memory_bytes as f64),
            (RESTARTS, f64::from(it.replica.restarts)),
            (READY, f64::from(u8::from(ready))),
            (OPEN_FILES, it.open_files as f64),
        ];
        values.map(|(metric, value)| sample(Some(name), Some(it.replica.index), metric, value))
    };
    let mut samples: Vec<Sample> = Vec::new();
    for (name, running) in &report.workloads {
        samples.extend(running.replicas.iter().flat_map(|it| of_replica(name, it)));
    }
    for (name, tally) in place.functions.tallies() {
        let Ok(workload) = Workload::parse(name.as_str()) else { continue };
        #[allow(clippy::cast_precision_loss, reason = "a sample's value is a float")]
        let values = [
            (CALLS, tally.invocations as f64),
            (FAILED_CALLS, tally.failures as f64),
            (BUSY, tally.busy_us as f64 / 1e6),
        ];
        samples.extend(values.map(|(metric, value)| sample(Some(&workload), None, metric, value)));
    }
    let state = place.state();
    #[allow(clippy::cast_precision_loss, reason = "a sample's value is a float")]
    let mut of_volume = |name: &Volume, metric, bytes: u64| {
        let labels = [("volume".to_owned(), name.to_string())].into();
        samples.push(Sample { labels, ..sample(None, None, metric, bytes as f64) });
    };
    for (name, wanted) in &state.volumes {
        of_volume(name, VOLUME_SIZE, wanted.size_bytes);
        if let Some(used) = report.volumes.get(name) {
            of_volume(name, VOLUME_USED, *used);
        }
    }
    samples
}

/// Replicas that say where their metrics are.
fn exposed(place: &Place, report: &Report) -> Vec<(Workload, u32, u16, String)> {
    let state = place.state();
    let mut found = Vec::new();
    for (name, running) in &report.workloads {
        let Some(wanted) = state.workloads.get(name) else { continue };
        for it in running.replicas.iter().filter(|it| it.replica.pid.is_some() && !it.retiring) {
            let spec = place.spec(name, wanted.incarnation, it.replica.revision);
            let path = spec.ok().and_then(|spec| spec.metrics_path.clone());
            found.extend(it.replica.port.zip(path).map(|(port, path)| (name.clone(), it.replica.index, port, path)));
        }
    }
    found
}

async fn page(place: &Place, name: Workload, replica: u32, port: u16, path: &str, at_ms: AtMs) -> Vec<Sample> {
    // A replica without a page now is seen by what is missing; its health is checked elsewhere.
    let Ok(answer) = http::get(port, path, SCRAPE_TIMEOUT_MS, SCRAPE_BYTES_MAX).await else { return Vec::new() };
    if answer.status != 200 {
        return Vec::new();
    }
    let mut text = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.cut {
        // The last line may be half a number.
        text.truncate(text.rfind('\n').unwrap_or(0));
    }
    let foreign = scrape::parse(&text).into_iter().filter(|value| !OURS.contains(&value.metric.as_str()));
    let samples = foreign.map(|value| Sample {
        workspace: place.workspace.clone(),
        workload: Some(name.clone()),
        replica: Some(replica),
        metric: value.metric,
        labels: value.labels,
        at_ms,
        value: value.value,
    });
    samples.collect()
}
