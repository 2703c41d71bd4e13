//! What leaves the platform by itself: output, samples and lifecycle events, in batches.
//!
//! Contract: at-least-once; a batch is delivered again until it is acknowledged, across restarts of the
//! server too; items of one replica come in order; a consumer that is away loses nothing until the
//! source's stated bound, and is told how much was lost after it.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod memory;

use async_trait::async_trait;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Tenant, Workspace};
use opsward_domain::telemetry::{LogLine, ReplicaEvent, Sample};

/// Most items of one batch.
pub const BATCH_ITEMS_MAX: usize = 10_000;

/// One delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Whose.
    pub tenant: Tenant,
    /// Lines in order.
    pub lines: Vec<LogLine>,
    /// Samples.
    pub samples: Vec<Sample>,
    /// Lifecycle events in order.
    pub events: Vec<ReplicaEvent>,
    /// Lines lost since the last batch because nobody read them in time.
    pub lost_lines: u64,
    /// Hand back to [`TelemetrySource::acknowledge`].
    pub cursor: u64,
}

/// Where telemetry comes from.
#[async_trait]
pub trait TelemetrySource: Send + Sync {
    /// Waits for the next batch (never empty) of any tenant. Cancel-safe.
    async fn next(&self) -> Result<Batch, Fault>;
    /// Everything up to `cursor` is safely stored.
    async fn acknowledge(&self, cursor: u64) -> Result<(), Fault>;
    /// True while the source of `workspace` can be heard at all.
    async fn heard(&self, tenant: &Tenant, workspace: &Workspace) -> bool;
}
