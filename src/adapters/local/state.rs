//! The wanted state of one workspace, as it lies on the disk. Never holds what merely is.

use std::collections::BTreeMap;

use opsward_domain::action::Action;
use opsward_domain::name::{Backup, Function, Tenant, Volume, Workload, Workspace};
use opsward_domain::resource::{FunctionVersion, ResourceVersion};
use opsward_domain::time::AtMs;
use serde::{Deserialize, Serialize};

/// The form written here; another one is refused.
pub(crate) const FORMAT: u32 = 1;

/// Everything that a workspace should be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) format: u32,
    pub(crate) tenant: Tenant,
    pub(crate) workspace: Workspace,
    pub(crate) created_at_ms: AtMs,
    /// Counts changes of this file's content; versions and incarnations are drawn from it.
    pub(crate) generation: u64,
    pub(crate) memory_bytes_max: u64,
    pub(crate) version: u64,
    /// True from the moment that its removal is decided.
    pub(crate) leaving: bool,
    pub(crate) workloads: BTreeMap<Workload, Wanted>,
    pub(crate) volumes: BTreeMap<Volume, WantedVolume>,
    pub(crate) functions: BTreeMap<Function, WantedFunction>,
    pub(crate) backups: BTreeMap<Backup, KeptBackup>,
    /// Changes that are made here and not yet answered in the ledger, by key.
    pub(crate) intents: BTreeMap<String, Intent>,
}

/// A workload that should run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    pub(crate) version: u64,
    /// Tells two workloads of one name, one after the other, apart.
    pub(crate) incarnation: u64,
    pub(crate) revision: u64,
    /// Grows with each restart on request.
    pub(crate) epoch: u64,
    pub(crate) replicas: u32,
    /// The stable address, chosen once.
    pub(crate) port: Option<u16>,
    /// Kept revisions, oldest first, the wanted one included.
    pub(crate) revisions: Vec<Kept>,
}

/// A revision that can be returned to; its spec is in a file of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    pub(crate) revision: u64,
    pub(crate) at_ms: AtMs,
}

/// A volume that should exist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedVolume {
    pub(crate) version: u64,
    pub(crate) size_bytes: u64,
}

/// A function that should answer calls; its sources are in files of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedFunction {
    pub(crate) version: u64,
    /// Tells two functions of one name, one after the other, apart.
    pub(crate) incarnation: u64,
    pub(crate) active: Option<u64>,
    /// Kept versions, oldest first.
    pub(crate) versions: Vec<KeptFunction>,
}

/// A version that can be activated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptFunction {
    pub(crate) version: u64,
    pub(crate) runtime: String,
    pub(crate) digest: String,
    pub(crate) at_ms: AtMs,
    pub(crate) timeout_ms: u64,
    pub(crate) memory_bytes_max: u64,
}

impl KeptFunction {
    /// What people see of it.
    pub(crate) fn show(&self) -> FunctionVersion {
        FunctionVersion {
            version: self.version,
            runtime: self.runtime.clone(),
            digest: self.digest.clone(),
            at_ms: self.at_ms,
        }
    }
}

/// A backup; its content is in the workspace's vault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptBackup {
    pub(crate) version: u64,
    /// Its name in the vault; absent while it is being taken.
    pub(crate) snapshot: Option<String>,
    pub(crate) taken_at_ms: AtMs,
    /// What it holds, with the size that each volume had.
    pub(crate) volumes: BTreeMap<Volume, u64>,
    pub(crate) bytes: u64,
    pub(crate) verified_at_ms: Option<AtMs>,
}

/// A change whose outcome is still to be written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Intent {
    pub(crate) digest: String,
    pub(crate) action: Action,
    /// Generation that the change made.
    pub(crate) generation: u64,
}

impl State {
    /// A resource version from its number: never the same for two workspaces of one name.
    pub(crate) fn version_of(&self, number: u64) -> ResourceVersion {
        ResourceVersion(format!("{:x}.{number}", self.created_at_ms))
    }
    /// Draws the next generation.
    pub(crate) fn bump(&mut self) -> u64 {
        self.generation = self.generation.saturating_add(1);
        self.generation
    }
}
