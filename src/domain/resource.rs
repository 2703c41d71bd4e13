//! Things that exist, as observed: references, states, versions. Never a handle to the thing itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::{Backup, Function, Volume, Workload, Workspace};
use crate::spec::WorkloadSpec;
use crate::time::AtMs;

/// Names one resource of a workspace; the tenant comes from the call context.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "type", content = "name", rename_all = "snake_case")]
pub enum Resource {
    /// The workspace itself.
    Workspace,
    /// A workload.
    Workload(Workload),
    /// A function.
    Function(Function),
    /// A volume.
    Volume(Volume),
    /// A backup.
    Backup(Backup),
}

impl Resource {
    /// The word used in policies and records.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Workload(_) => "workload",
            Self::Function(_) => "function",
            Self::Volume(_) => "volume",
            Self::Backup(_) => "backup",
        }
    }
    /// Its own name; empty for the workspace.
    pub fn name(&self) -> &str {
        match self {
            Self::Workspace => "",
            Self::Workload(name) => name.as_str(),
            Self::Function(name) => name.as_str(),
            Self::Volume(name) => name.as_str(),
            Self::Backup(name) => name.as_str(),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workspace => f.write_str("workspace"),
            other => write!(f, "{} {}", other.kind(), other.name()),
        }
    }
}

/// A resource's version: changes whenever its wanted state changes. Compared, never interpreted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceVersion(pub String);

/// Where one replica is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaState {
    /// Started, not ready yet.
    Starting,
    /// Ready for traffic.
    Ready,
    /// Alive but failing its health check.
    Unhealthy,
    /// Ended; waits before it is started again.
    Backoff,
    /// Ended and stays so.
    Stopped,
}

/// Why a replica ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaExit {
    /// When.
    pub at_ms: AtMs,
    /// Exit code, if it exited by itself.
    pub code: Option<i32>,
    /// Signal number, if it was killed.
    pub signal: Option<i32>,
    /// Why, as far as the platform knows: `exited`, `memory_limit`, `stopped`, `start_failed: ...`.
    pub reason: String,
}

/// One running copy of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Slot number, stable across restarts.
    pub index: u32,
    /// Process id now, if alive.
    pub pid: Option<u32>,
    /// Where it is in its life.
    pub state: ReplicaState,
    /// Its own port, if it has one.
    pub port: Option<u16>,
    /// Revision it runs.
    pub revision: u64,
    /// Starts after the first.
    pub restarts: u32,
    /// When it was started last.
    pub started_at_ms: AtMs,
    /// Resident memory at the last sample.
    pub memory_bytes: u64,
    /// How it ended the last time, if it ever did.
    pub last_exit: Option<ReplicaExit>,
    /// Its name where the platform gives it one of its own, such as a pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

impl Replica {
    /// True while its program runs.
    pub fn is_alive(&self) -> bool {
        let runs = matches!(self.state, ReplicaState::Starting | ReplicaState::Ready | ReplicaState::Unhealthy);
        self.pid.is_some() || (self.instance.is_some() && runs)
    }
}

/// A workload as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadStatus {
    /// Its name.
    pub name: Workload,
    /// Wanted state now; environment values marked secret are absent.
    pub spec: WorkloadSpec,
    /// Number of the wanted revision, from 1.
    pub revision: u64,
    /// Revisions that can be returned to, oldest first, the wanted one included.
    pub revisions: Vec<Revision>,
    /// Its version for preconditions.
    pub resource_version: ResourceVersion,
    /// Stable balanced address, `host:port`.
    pub address: Option<String>,
    /// Its replicas by index.
    pub replicas: Vec<Replica>,
}

impl WorkloadStatus {
    /// Replicas ready on the wanted revision.
    pub fn ready(&self) -> u32 {
        let ready = |r: &&Replica| r.state == ReplicaState::Ready && r.revision == self.revision;
        u32::try_from(self.replicas.iter().filter(ready).count()).unwrap_or(u32::MAX)
    }
    /// True if exactly the wanted replicas are ready on the wanted revision.
    pub fn settled(&self) -> bool {
        self.ready() == self.spec.replicas && self.replicas.len() == self.spec.replicas as usize
    }
}

/// One kept version of a workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// Number, from 1.
    pub revision: u64,
    /// When it became the wanted one.
    pub at_ms: AtMs,
    /// The whole spec.
    pub spec: WorkloadSpec,
}

/// A volume as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeStatus {
    /// Its name.
    pub name: Volume,
    /// Upper bound of its content.
    pub size_bytes: u64,
    /// Content now.
    pub used_bytes: u64,
    /// Workloads that mount it.
    pub mounted_by: Vec<Workload>,
    /// Its version for preconditions.
    pub resource_version: ResourceVersion,
}

/// A function as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionStatus {
    /// Its name.
    pub name: Function,
    /// The version that answers calls.
    pub active: Option<u64>,
    /// Every kept version.
    pub versions: Vec<FunctionVersion>,
    /// Calls since creation.
    pub invocations: u64,
    /// Calls that did not end `ok`.
    pub failures: u64,
    /// Its version for preconditions.
    pub resource_version: ResourceVersion,
}

/// One kept version of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionVersion {
    /// Number, from 1.
    pub version: u64,
    /// `wasm` or `javascript`.
    pub runtime: String,
    /// SHA-256 of the source, hex.
    pub digest: String,
    /// When it was made.
    pub at_ms: AtMs,
}

/// A backup as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupStatus {
    /// Its name.
    pub name: Backup,
    /// When it was taken.
    pub taken_at_ms: AtMs,
    /// Which volumes it holds.
    pub volumes: Vec<Volume>,
    /// Bytes of content.
    pub bytes: u64,
    /// When its bytes were last read back and compared.
    pub verified_at_ms: Option<AtMs>,
    /// Its version for preconditions.
    pub resource_version: ResourceVersion,
}

/// A workspace as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceStatus {
    /// Its name.
    pub name: Workspace,
    /// Most bytes of resident memory of all its replicas' limits together.
    pub memory_bytes_max: u64,
    /// Its version for preconditions.
    pub resource_version: ResourceVersion,
}

/// The state of one resource before or after a step; input of diffs and inverses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum ResourceState {
    /// There is no such thing.
    Absent,
    /// A workspace.
    Workspace(WorkspaceStatus),
    /// A workload.
    Workload(Box<WorkloadStatus>),
    /// A volume.
    Volume(VolumeStatus),
    /// A function.
    Function(FunctionStatus),
    /// A backup.
    Backup(BackupStatus),
}

impl ResourceState {
    /// The version to send as a precondition; absent things have none.
    pub fn version(&self) -> Option<&ResourceVersion> {
        match self {
            Self::Absent => None,
            Self::Workspace(status) => Some(&status.resource_version),
            Self::Workload(status) => Some(&status.resource_version),
            Self::Volume(status) => Some(&status.resource_version),
            Self::Function(status) => Some(&status.resource_version),
            Self::Backup(status) => Some(&status.resource_version),
        }
    }
}

/// Flat text facts of a state, for diffs. Keys are dotted paths; file bodies appear by digest only.
pub type Facts = BTreeMap<String, String>;
