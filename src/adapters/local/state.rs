//! The wanted state of one workspace, as it lies on the disk. Never holds what merely is.

use std::collections::BTreeMap;

use opsward_domain::action::Action;
use opsward_domain::name::{Tenant, Volume, Workload, Workspace};
use opsward_domain::resource::ResourceVersion;
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
