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
use opsward_domain::context::CallContext;
use opsward_domain::event::Outcome;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Backup, Function, Volume, Workload, Workspace};
use opsward_domain::plan::Step;
use opsward_domain::resource::{
    BackupStatus, FunctionStatus, Resource, ResourceState, VolumeStatus, WorkloadStatus, WorkspaceStatus,
};
use opsward_domain::seal::Authorized;
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
    /// Free room and other facts of the platform itself.
    Platform,
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
    /// Answer to [`Query::Platform`].
    Platform(PlatformFacts),
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

/// A backend of the platform. Three methods.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Looks, never touches.
    async fn observe(&self, cx: &CallContext, query: &Query) -> Result<Observation, Fault>;
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
