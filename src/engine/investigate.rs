//! Connects the pure diagnosis to a run: gathers through the ports, diagnoses, measures goals. Adds no
//! judgement of its own.

use std::collections::BTreeMap;

use opsward_domain::cause::{Claim, Diagnosis};
use opsward_domain::context::CallContext;
use opsward_domain::event::CheckVerdict;
use opsward_domain::evidence::Evidence;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Workload, Workspace};
use opsward_domain::plan::Goal;
use opsward_domain::telemetry::SeriesQuery;
use opsward_domain::time::Window;
use opsward_ports::provider::{observe_volumes, observe_workloads};
use opsward_ports::series::SeriesStore;

use crate::diagnosis::gather::{Known, Limits, Stores, gather};
use crate::diagnosis::{After, SeriesByMetric, check, diagnose};
use crate::facade::Engine;
use crate::state::RunState;

/// The metrics that objectives and goals are measured by.
pub(crate) const REQUEST_METRICS: [&str; 4] = [
    "http_requests_total",
    "http_request_duration_seconds_bucket",
    "http_request_duration_seconds_count",
    "http_request_duration_seconds_sum",
];

/// What one look brought.
pub(crate) struct Investigation {
    /// Evidence with the time it took.
    pub(crate) evidence: Vec<(Evidence, u64)>,
    /// What could not be looked at, with why.
    pub(crate) missing: Vec<(String, String)>,
    /// The finding.
    pub(crate) diagnosis: Diagnosis,
}

/// Looks at a workspace for a run.
pub(crate) async fn investigate(
    engine: &Engine,
    cx: &CallContext,
    workspace: &Workspace,
    state: &RunState,
) -> Investigation {
    let limits = Limits::default();
    let now_ms = engine.parts.clock.now_ms();
    let known = Known {
        workspace: workspace.clone(),
        now_ms,
        alert: state.alerts.first().cloned(),
        changes: engine.changes.list(cx.tenant(), workspace, Window::before(now_ms + 1, limits.changes_ms)),
        events: engine.lifecycles.list(cx.tenant(), workspace, Window::before(now_ms + 1, limits.window_ms)),
        tried: state.tried.clone(),
        first_evidence: u32::try_from(state.evidence.len()).unwrap_or(u32::MAX).saturating_add(1),
    };
    let stores = Stores {
        provider: engine.parts.provider.as_ref(),
        logs: engine.parts.logs.as_ref(),
        series: engine.parts.series.as_ref(),
    };
    let gathered = gather(cx, stores, known, &limits).await;
    let slowest = gathered.timings.iter().map(|timing| timing.took_us).max().unwrap_or(0) / 1000;
    let diagnosis = diagnose(&gathered.picture);
    Investigation {
        evidence: gathered.evidence.into_iter().map(|evidence| (evidence, slowest)).collect(),
        missing: diagnosis.blind_spots.iter().map(|spot| (spot.clone(), "not available".to_owned())).collect(),
        diagnosis,
    }
}

/// What a goal check saw.
pub(crate) struct Measured {
    /// The verdict.
    pub(crate) verdict: CheckVerdict,
    /// Sentences for it.
    pub(crate) claims: Vec<Claim>,
}

/// Measures a goal once.
pub(crate) async fn measure(
    engine: &Engine,
    cx: &CallContext,
    workspace: &Workspace,
    goal: &Goal,
    before: Window,
    after: Window,
) -> Result<Measured, Fault> {
    let parts = &engine.parts;
    let whole = Window { from_ms: before.from_ms, to_ms: after.to_ms };
    let series = request_series(parts.series.as_ref(), cx, workspace, &goal.workload, whole).await?;
    let workloads = observe_workloads(parts.provider.as_ref(), cx, workspace).await?;
    let volumes = observe_volumes(parts.provider.as_ref(), cx, workspace).await?;
    let events = engine.lifecycles.list(cx.tenant(), workspace, whole);
    let view = After {
        before,
        after,
        series: &series,
        status: workloads.iter().find(|status| status.name == goal.workload),
        volumes: &volumes,
        events: &events,
        evidence: &[],
    };
    let (verdict, claims) = check(goal, &view);
    Ok(Measured { verdict, claims })
}

/// The request metrics of one workload.
pub(crate) async fn request_series(
    store: &dyn SeriesStore,
    cx: &CallContext,
    workspace: &Workspace,
    workload: &Workload,
    window: Window,
) -> Result<SeriesByMetric, Fault> {
    let mut all = SeriesByMetric::new();
    for metric in REQUEST_METRICS {
        let query = SeriesQuery {
            workspace: workspace.clone(),
            workload: Some(workload.clone()),
            metric: metric.to_owned(),
            labels: BTreeMap::new(),
            window,
        };
        all.insert(metric.to_owned(), store.range(cx, &query).await?);
    }
    Ok(all)
}
