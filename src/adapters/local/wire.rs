//! What the provider and a workspace's shim say to each other: one JSON line each way. Never a secret,
//! never anything of another workspace.

use std::collections::BTreeMap;

use opsward_domain::name::{Volume, Workload};
use opsward_domain::resource::Replica;
use serde::{Deserialize, Serialize};

/// The form spoken here; a shim of another one is replaced.
pub(crate) const FORMAT: u32 = 1;
/// Longest line either way.
pub(crate) const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// To the shim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// Who is there?
    Hello,
    /// What is running?
    Report,
    /// Read the wanted state again.
    Reload,
    /// Stop everything and end.
    Stop,
}

/// A question with the proof that the asker may ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signed {
    pub(crate) token: String,
    pub(crate) ask: Ask,
}

/// Who the shim of a folder is; a process id alone could be anybody's by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    /// Ticks since boot.
    pub(crate) started: u64,
}

/// From the shim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The shim itself.
    Hello { pid: u32, format: u32 },
    /// What is running.
    Report(Report),
    /// Done, or under way.
    Done,
    /// Not done.
    Refused { why: String },
}

/// Everything that runs in a workspace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Generation of the wanted state that is being followed.
    pub(crate) generation: u64,
    pub(crate) workloads: BTreeMap<Workload, Running>,
    /// Used bytes.
    pub(crate) volumes: BTreeMap<Volume, u64>,
}

/// What runs of one workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) replicas: Vec<RunningReplica>,
    /// Why its address does not listen, if it should.
    pub(crate) deaf: Option<String>,
}

/// One replica with what only this provider knows of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunningReplica {
    pub(crate) replica: Replica,
    pub(crate) incarnation: u64,
    pub(crate) epoch: u64,
    /// True while it is being stopped for good.
    pub(crate) retiring: bool,
    /// True if it cannot start, or ends again and again.
    pub(crate) failing: bool,
    /// What its last health check said, if it failed.
    pub(crate) sick: Option<String>,
    pub(crate) cpu_seconds: f64,
    pub(crate) open_files: u64,
}
