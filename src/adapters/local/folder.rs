//! Where things are inside a workspace's folder. Pure paths: never looks at the disk.

use std::path::{Path, PathBuf};

use opsward_domain::name::{Function, Volume, Workload};

/// A workspace's folder, absolute.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
    /// The wanted state; the one truth.
    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }
    /// The whole spec of one revision.
    pub(crate) fn revision(&self, workload: &Workload, incarnation: u64, revision: u64) -> PathBuf {
        self.revisions(workload).join(format!("{incarnation}-{revision}.json"))
    }
    /// Every revision of a workload.
    pub(crate) fn revisions(&self, workload: &Workload) -> PathBuf {
        self.0.join("revisions").join(workload.as_str())
    }
    /// The files of one revision, read-only to its replicas.
    pub(crate) fn files(&self, workload: &Workload, incarnation: u64, revision: u64) -> PathBuf {
        self.all_files(workload).join(format!("{incarnation}-{revision}"))
    }
    /// The files of every revision of a workload.
    pub(crate) fn all_files(&self, workload: &Workload) -> PathBuf {
        self.0.join("files").join(workload.as_str())
    }
    pub(crate) fn volume(&self, volume: &Volume) -> PathBuf {
        self.0.join("volumes").join(volume.as_str())
    }
    /// Own folders of the replicas; gone with them.
    pub(crate) fn run(&self) -> PathBuf {
        self.0.join("run")
    }
    pub(crate) fn replica(&self, workload: &Workload, index: u32) -> PathBuf {
        self.run().join(workload.as_str()).join(index.to_string())
    }
    /// Output and events of the replicas, written by the shim.
    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }
    /// Every source of a function.
    pub(crate) fn sources(&self, function: &Function) -> PathBuf {
        self.0.join("functions").join(function.as_str())
    }
    /// The source of one version.
    pub(crate) fn source(&self, function: &Function, incarnation: u64, version: u64) -> PathBuf {
        self.sources(function).join(format!("{incarnation}-{version}"))
    }
    /// What the functions have done.
    pub(crate) fn tallies(&self) -> PathBuf {
        self.0.join("tallies.json")
    }
    /// Output of the functions, written by the provider.
    pub(crate) fn calls(&self) -> PathBuf {
        self.0.join("calls")
    }
    /// How far output has been acknowledged.
    pub(crate) fn cursor(&self) -> PathBuf {
        self.0.join("cursor.json")
    }
    /// The shim's socket, its lock, and who it is.
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("shim.sock")
    }
    pub(crate) fn shim_lock(&self) -> PathBuf {
        self.0.join("shim.lock")
    }
    pub(crate) fn shim(&self) -> PathBuf {
        self.0.join("shim.json")
    }
    /// What the provider proves itself with to the shim; no replica can read it.
    pub(crate) fn token(&self) -> PathBuf {
        self.0.join("shim.token")
    }
    /// What a dying shim last said.
    pub(crate) fn shim_log(&self) -> PathBuf {
        self.0.join("shim.log")
    }
    /// Replicas that the shim started, for the shim that comes after it.
    pub(crate) fn started(&self) -> PathBuf {
        self.0.join("started.json")
    }
}
