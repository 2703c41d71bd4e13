//! Where the provider keeps its things, and its bounds. Never a setting that loosens isolation.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Most revisions kept of one workload, and versions of one function.
pub(crate) const KEPT_MAX: usize = 20;
/// Most ledger entries kept for one tenant; older keys are forgotten.
pub(crate) const LEDGER_ENTRIES_MAX: usize = 8_192;
/// Most workloads of one workspace.
pub(crate) const WORKLOADS_MAX: usize = 200;
/// Most volumes of one workspace.
pub(crate) const VOLUMES_MAX: usize = 200;
/// Most functions, and most backups, of one workspace.
pub(crate) const KINDS_MAX: usize = 200;
/// Most exits inside [`ShimOptions::crash_window_ms`] before a replica counts as crash looping.
pub(crate) const CRASH_EXITS: usize = 4;
/// Longest answer of a health check that is read.
pub(crate) const HEALTH_BYTES_MAX: usize = 4 * 1024;
/// Longest metrics page that is read.
pub(crate) const SCRAPE_BYTES_MAX: usize = 256 * 1024;
/// Most series taken from one replica's metrics page.
pub(crate) const SCRAPE_SERIES_MAX: usize = 500;

/// What a provider is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder that holds everything; made if absent.
    pub root: PathBuf,
    /// Program that enters [`crate::role_main`] when its first argument is `__shim`, and the function
    /// host's role when it is `__functions`.
    pub exe: PathBuf,
    /// Time between two samples of a replica.
    pub scrape_interval_ms: u64,
    /// Longest time without progress before a rollout counts as failed.
    pub settle_timeout_ms: u64,
    /// Longest wait for one answer of a shim.
    pub shim_timeout_ms: u64,
    /// Time between two looks for new output.
    pub poll_interval_ms: u64,
    /// Most samples that wait to be fetched; the oldest go first.
    pub samples_max: usize,
    /// Bounds that the shim keeps.
    pub shim: ShimOptions,
    /// Bounds of a workspace's function host.
    pub functions: opsward_functions::Options,
}

impl Options {
    /// The usual bounds for `root`, with `exe` as the program that knows the shim role.
    pub fn new(root: impl Into<PathBuf>, exe: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            exe: exe.into(),
            scrape_interval_ms: 1_000,
            settle_timeout_ms: 20_000,
            shim_timeout_ms: 5_000,
            poll_interval_ms: 100,
            samples_max: 200_000,
            shim: ShimOptions::default(),
            functions: opsward_functions::Options::default(),
        }
    }
}

/// Bounds that a workspace's shim keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShimOptions {
    /// From the polite signal to the deadly one.
    pub stop_grace_ms: u64,
    /// Longest wait for a stopping replica's connections to end.
    pub drain_ms: u64,
    /// First wait before a restart; doubles.
    pub backoff_min_ms: u64,
    /// Longest wait before a restart.
    pub backoff_max_ms: u64,
    /// Window in which exits count towards a crash loop.
    pub crash_window_ms: u64,
    /// Time between two looks at resident memory.
    pub memory_interval_ms: u64,
    /// Time between two looks at volumes.
    pub volume_interval_ms: u64,
    /// Bytes of one file of output.
    pub segment_bytes: u64,
    /// Files of output kept; older output is lost, and counted.
    pub segments_max: usize,
    /// Most connections through one workload's address at once.
    pub connections_max: usize,
}

impl Default for ShimOptions {
    fn default() -> Self {
        Self {
            stop_grace_ms: 5_000,
            drain_ms: 500,
            backoff_min_ms: 500,
            backoff_max_ms: 30_000,
            crash_window_ms: 60_000,
            memory_interval_ms: 250,
            volume_interval_ms: 500,
            segment_bytes: 1 << 20,
            segments_max: 16,
            connections_max: 1_024,
        }
    }
}
