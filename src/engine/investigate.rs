//! Connects the pure diagnosis to a run: gathers through the ports, diagnoses, measures goals. Adds no
//! judgement of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use opsward_domain::alert::Condition;
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
use serde_json::Value;

use crate::changes::Changes;
use crate::diagnosis::gather::{Known, Limits, Stores, gather};
use crate::diagnosis::{After, SeriesByMetric, check, diagnose};
use crate::incidents::Lifecycles;
use crate::observe::{Glance, Looked};
use crate::parts::Parts;
use crate::state::RunState;
use crate::writes;

/// The metrics that objectives and goals are measured by.
pub(crate) const REQUEST_METRICS: [&str; 4] = [
    "http_requests_total",
    "http_request_duration_seconds_bucket",
    "http_request_duration_seconds_count",
    "http_request_duration_seconds_sum",
];

/// What one look brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Investigation {
    /// Evidence, each with the time that its own fetch took in milliseconds.
    pub evidence: Vec<(Evidence, u64)>,
    /// What could not be looked at, with why.
    pub missing: Vec<(String, String)>,
    /// The finding.
    pub diagnosis: Diagnosis,
}

/// What a goal check saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The verdict.
    pub verdict: CheckVerdict,
    /// Sentences for it.
    pub claims: Vec<Claim>,
}

/// What a run sees of the world. One implementation asks the stores, the other answers from a recording.
/// Asked after the gate agreed; never changes anything.
#[async_trait]
pub trait Senses: Send + Sync {
    /// Looks at a workspace for a run and says what is wrong.
    async fn investigate(&self, cx: &CallContext, workspace: &Workspace, state: &RunState) -> Investigation;

    /// Measures a goal once.
    async fn measure(
        &self,
        cx: &CallContext,
        workspace: &Workspace,
        goal: &Goal,
        before: Window,
        after: Window,
    ) -> Result<Measured, Fault>;

    /// Answers one observation by name, see [`crate::observe::OBSERVATIONS`].
    async fn look(&self, cx: &CallContext, workspace: &Workspace, name: &str, args: &Value) -> Result<Looked, Fault>;
}

/// The senses of a running service: its stores.
pub(crate) struct Live {
    pub(crate) parts: Parts,
    pub(crate) changes: Arc<Changes>,
    pub(crate) lifecycles: Arc<Lifecycles>,
}

#[async_trait]
impl Senses for Live {
    async fn investigate(&self, cx: &CallContext, workspace: &Workspace, state: &RunState) -> Investigation {
        let limits = Limits::default();
        let now_ms = self.parts.clock.now_ms();
        let known = Known {
            workspace: workspace.clone(),
            now_ms,
            alert: state.alerts.first().cloned(),
            changes: self.changes.list(cx.tenant(), workspace, Window::before(now_ms + 1, limits.changes_ms)),
            events: self.lifecycles.list(cx.tenant(), workspace, Window::before(now_ms + 1, limits.window_ms)),
            tried: state.tried.clone(),
            first_evidence: state.next_evidence(),
        };
        let stores = Stores {
            provider: self.parts.provider.as_ref(),
            logs: self.parts.logs.as_ref(),
            series: self.parts.series.as_ref(),
        };
        let gathered = gather(cx, stores, known, &limits).await;
        let diagnosis = diagnose(&gathered.picture);
        Investigation {
            evidence: gathered.evidence.into_iter().map(|(evidence, took_us)| (evidence, took_us / 1000)).collect(),
            missing: diagnosis.blind_spots.iter().map(|spot| (spot.clone(), "not available".to_owned())).collect(),
            diagnosis,
        }
    }

    async fn measure(
        &self,
        cx: &CallContext,
        workspace: &Workspace,
        goal: &Goal,
        before: Window,
        after: Window,
    ) -> Result<Measured, Fault> {
        let parts = &self.parts;
        let whole = Window { from_ms: before.from_ms, to_ms: after.to_ms };
        let series = request_series(parts.series.as_ref(), cx, workspace, &goal.workload, whole).await?;
        let workloads = observe_workloads(parts.provider.as_ref(), cx, workspace).await?;
        let volumes = observe_volumes(parts.provider.as_ref(), cx, workspace).await?;
        let events = self.lifecycles.list(cx.tenant(), workspace, whole);
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
        let measured = Measured { verdict, claims };
        let Condition::VolumeNearlyFull { volume, .. } = &goal.condition else { return Ok(measured) };
        let query = SeriesQuery {
            workspace: workspace.clone(),
            workload: None,
            metric: writes::VOLUME_METRIC.to_owned(),
            labels: BTreeMap::from([("volume".to_owned(), volume.to_string())]),
            window: after,
        };
        let used = parts.series.range(cx, &query).await?;
        Ok(writes::confirmed(measured, &used, after))
    }

    async fn look(&self, cx: &CallContext, workspace: &Workspace, name: &str, args: &Value) -> Result<Looked, Fault> {
        Glance { parts: &self.parts, changes: &self.changes, cx, workspace }.look(name, args).await
    }
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
