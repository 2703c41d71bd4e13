//! Everything that was gathered about one workspace, as plain values. Never fetches anything.

use std::collections::BTreeMap;

use opsward_domain::action::Action;
use opsward_domain::alert::Alert;
use opsward_domain::cause::Change;
use opsward_domain::event::CheckVerdict;
use opsward_domain::name::{Id, Volume, Workload, Workspace};
use opsward_domain::resource::{VolumeStatus, WorkloadStatus};
use opsward_domain::telemetry::{ReplicaEvent, Series, TemplateCount};
use opsward_domain::time::{AtMs, Window};

/// The series of one workload by metric name.
pub type SeriesByMetric = BTreeMap<String, Vec<Series>>;

/// What a piece of evidence is about; key of [`Citations`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// State of the workloads and their replicas.
    State,
    /// Volumes with size and use.
    Volumes,
    /// What was changed.
    Changes,
    /// Lifecycle events of replicas.
    Events,
    /// Metrics of one workload.
    Metrics(Workload),
    /// Log templates of one workload.
    Logs(Workload),
}

/// Which evidence shows what; a topic without evidence makes its claims opinions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Citations(BTreeMap<Topic, Id>);

impl Citations {
    /// Notes that `id` is the evidence for `topic`.
    pub fn put(&mut self, topic: Topic, id: Id) {
        self.0.insert(topic, id);
    }
    /// The evidence ids of `topics`, in their order, those that exist.
    pub fn of(&self, topics: &[Topic]) -> Vec<Id> {
        topics.iter().filter_map(|topic| self.0.get(topic).cloned()).collect()
    }
}

/// One workspace as seen at one moment. Text in it is untrusted.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Where.
    pub workspace: Workspace,
    /// When it was taken.
    pub now_ms: AtMs,
    /// Span of the metrics.
    pub window: Window,
    /// What called for the look, if something did.
    pub alert: Option<Alert>,
    /// Every workload as it is.
    pub workloads: Vec<WorkloadStatus>,
    /// Every volume as it is.
    pub volumes: Vec<VolumeStatus>,
    /// Metrics of each workload.
    pub series: BTreeMap<Workload, SeriesByMetric>,
    /// Used bytes of each volume over time, where known.
    pub volume_used: BTreeMap<Volume, Vec<(AtMs, f64)>>,
    /// Span of `templates_before`.
    pub baseline: Window,
    /// Span of `templates_now`.
    pub incident: Window,
    /// Log templates of the baseline span.
    pub templates_before: Vec<TemplateCount>,
    /// Log templates of the incident span.
    pub templates_now: Vec<TemplateCount>,
    /// What replicas did by themselves, in time order.
    pub events: Vec<ReplicaEvent>,
    /// What was changed, in time order.
    pub changes: Vec<Change>,
    /// Remedies that were carried out for this incident, with what their check said.
    pub tried: Vec<(Action, CheckVerdict)>,
    /// Which evidence shows what.
    pub citations: Citations,
    /// What could not be looked at, and why.
    pub blind_spots: Vec<String>,
}

impl Picture {
    /// The workload of that name, if it exists now.
    pub fn workload(&self, name: &Workload) -> Option<&WorkloadStatus> {
        self.workloads.iter().find(|status| status.name == *name)
    }
    /// The workload that the alert names, if it exists.
    pub fn alerted(&self) -> Option<&Workload> {
        self.alert.as_ref()?.workload.as_ref().filter(|name| self.workload(name).is_some())
    }
}
