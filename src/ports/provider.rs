//! The provider: the only door to side effects.
//!
//! Contract: `observe` never changes anything; `apply` is idempotent by key (the same key with the same
//! step returns the first outcome, with another step it is a conflict), checks the step's expected
//! version before acting, and returns only after the change is durable in the provider; `lookup`
//! answers after a crash whether a key took effect. Names never collide across tenants; the tenant is
//! the context's, and a resource of another tenant does not exist.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod memory;

use async_trait::async_trait;
use opsward_domain::action::Action;
use opsward_domain::context::CallContext;
use opsward_domain::event::Outcome;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Backup, Function, Volume, Workload, Workspace};
use opsward_domain::plan::Step;
use opsward_domain::resource::{
    BackupStatus, FunctionStatus, Resource, ResourceState, VolumeStatus, WorkloadStatus, WorkspaceStatus,
};
use opsward_domain::seal::Authorized;
use opsward_domain::time::AtMs;
use serde::{Deserialize, Serialize};

/// What can be observed. Closed: a new one does not compile until every provider answers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "query", rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// The workspaces of the tenant.
    Workspaces,
    /// One resource.
    Resource {
        /// Where.
        workspace: Workspace,
        /// Which.
        resource: Resource,
    },
    /// Every workload of a workspace.
    Workloads {
        /// Where.
        workspace: Workspace,
    },
    /// Every volume of a workspace.
    Volumes {
        /// Where.
        workspace: Workspace,
    },
    /// Every function of a workspace.
    Functions {
        /// Where.
        workspace: Workspace,
    },
    /// Every backup of a workspace.
    Backups {
        /// Where.
        workspace: Workspace,
    },
    /// The platform's own objects of a kind, where it has such; as they are, untrusted.
    Objects {
        /// Where.
        workspace: Workspace,
        /// Which kind, as the platform calls it, such as `pods`.
        kind: String,
    },
    /// What the platform noted by itself, newest last; untrusted.
    Events {
        /// Where.
        workspace: Workspace,
        /// Only what concerns this workload.
        workload: Option<Workload>,
    },
    /// The newest output of a workload, read in place; untrusted.
    Output {
        /// Where.
        workspace: Workspace,
        /// Which.
        workload: Workload,
        /// Of the replicas' earlier lives instead.
        previous: bool,
        /// Most lines of each replica.
        lines_max: u32,
    },
    /// Free room and other facts of the platform itself.
    Platform,
}

impl Query {
    /// The workspace it is about, if it is about one.
    pub fn workspace(&self) -> Option<&Workspace> {
        match self {
            Self::Workspaces | Self::Platform => None,
            Self::Resource { workspace, .. }
            | Self::Workloads { workspace }
            | Self::Volumes { workspace }
            | Self::Functions { workspace }
            | Self::Backups { workspace }
            | Self::Objects { workspace, .. }
            | Self::Events { workspace, .. }
            | Self::Output { workspace, .. } => Some(workspace),
        }
    }
}

/// What was observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "observation", content = "value", rename_all = "snake_case")]
pub enum Observation {
    /// Answer to [`Query::Workspaces`].
    Workspaces(Vec<WorkspaceStatus>),
    /// Answer to [`Query::Resource`].
    Resource(ResourceState),
    /// Answer to [`Query::Workloads`].
    Workloads(Vec<WorkloadStatus>),
    /// Answer to [`Query::Volumes`].
    Volumes(Vec<VolumeStatus>),
    /// Answer to [`Query::Functions`].
    Functions(Vec<FunctionStatus>),
    /// Answer to [`Query::Backups`].
    Backups(Vec<BackupStatus>),
    /// Answer to [`Query::Objects`].
    Objects(Objects),
    /// Answer to [`Query::Events`].
    Events(Vec<PlatformEvent>),
    /// Answer to [`Query::Output`].
    Output(Output),
    /// Answer to [`Query::Platform`].
    Platform(PlatformFacts),
}

/// Objects of the platform as they are. Never holds a secret's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Objects {
    /// The objects.
    pub objects: Vec<serde_json::Value>,
    /// True if there are more than could be read.
    pub cut: bool,
}

/// Something the platform noted by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformEvent {
    /// When it was seen last.
    pub at_ms: AtMs,
    /// Kind of what it is about, as the platform calls it.
    pub kind: String,
    /// Name of what it is about.
    pub name: String,
    /// Why, in a word of the platform's.
    pub reason: String,
    /// What happened; untrusted, one bounded line.
    pub message: String,
    /// How often.
    pub count: u64,
    /// True if the platform calls it a warning.
    pub warning: bool,
}

/// Output read in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Lines, by replica in order.
    pub lines: Vec<OutputLine>,
    /// True if there is more than could be read.
    pub cut: bool,
}

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputLine {
    /// Whose.
    pub replica: u32,
    /// When, if it says.
    pub at_ms: Option<AtMs>,
    /// The text without line end; untrusted.
    pub text: String,
}

/// Facts of the platform itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlatformFacts {
    /// Backend name, such as `local`.
    pub backend: String,
    /// Bytes free where it keeps its data.
    pub disk_free_bytes: u64,
    /// Bytes there in all.
    pub disk_total_bytes: u64,
    /// Isolation layers with whether they hold and why not.
    pub isolation: Vec<Layer>,
}

/// One isolation layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// True if a probe showed that it holds.
    pub holds: bool,
    /// What the probe saw, and the fix if it does not hold.
    pub detail: String,
}

/// A backend of the platform. Three methods, and a rehearsal where the backend can do better than predict.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Looks, never touches.
    async fn observe(&self, cx: &CallContext, query: &Query) -> Result<Observation, Fault>;
    /// The state that `action` would lead to from `before`, and every reason of the platform itself not to do
    /// it (rights of the caller there, an owner that would undo it), before anybody is asked. Changes nothing.
    async fn rehearse(
        &self,
        _cx: &CallContext,
        _workspace: &Workspace,
        action: &Action,
        before: &ResourceState,
    ) -> Result<ResourceState, Fault> {
        action.predict(before)
    }
    /// Does one authorised step, once per key.
    async fn apply(&self, cx: &CallContext, step: &Authorized<Step>, key: &str) -> Result<Outcome, Fault>;
    /// The outcome of a key that took effect, or `None` if it did not and never will without a new `apply`.
    async fn lookup(&self, cx: &CallContext, key: &str) -> Result<Option<Outcome>, Fault>;
}

/// Observes one resource; a convenience over [`Provider::observe`] that checks the answer's type.
pub async fn observe_resource(
    provider: &dyn Provider,
    cx: &CallContext,
    workspace: &Workspace,
    resource: &Resource,
) -> Result<ResourceState, Fault> {
    let query = Query::Resource { workspace: workspace.clone(), resource: resource.clone() };
    match provider.observe(cx, &query).await? {
        Observation::Resource(state) => Ok(state),
        _ => Err(Fault::internal("the provider answered another question")),
    }
}

/// Observes every workload; see [`observe_resource`].
pub async fn observe_workloads(
    provider: &dyn Provider,
    cx: &CallContext,
    workspace: &Workspace,
) -> Result<Vec<WorkloadStatus>, Fault> {
    match provider.observe(cx, &Query::Workloads { workspace: workspace.clone() }).await? {
        Observation::Workloads(list) => Ok(list),
        _ => Err(Fault::internal("the provider answered another question")),
    }
}

/// Observes every volume; see [`observe_resource`].
pub async fn observe_volumes(
    provider: &dyn Provider,
    cx: &CallContext,
    workspace: &Workspace,
) -> Result<Vec<VolumeStatus>, Fault> {
    match provider.observe(cx, &Query::Volumes { workspace: workspace.clone() }).await? {
        Observation::Volumes(list) => Ok(list),
        _ => Err(Fault::internal("the provider answered another question")),
    }
}

/// The resource a name and kind make, for surfaces that have text.
pub fn resource_of(kind: &str, name: &str) -> Result<Resource, Fault> {
    Ok(match kind {
        "workspace" => Resource::Workspace,
        "workload" => Resource::Workload(Workload::parse(name)?),
        "function" => Resource::Function(Function::parse(name)?),
        "volume" => Resource::Volume(Volume::parse(name)?),
        "backup" => Resource::Backup(Backup::parse(name)?),
        other => return Err(Fault::invalid(format!("{other:?} is not a kind of resource"))),
    })
}
