//! The metrics store.
//!
//! Contract: values stay as exposed (a counter stays a counter, rates are the reader's work); points of
//! a series come in time order without doubles; a tenant never sees another's series.

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::fault::Fault;
use opsward_domain::name::Workspace;
use opsward_domain::telemetry::{Sample, Series, SeriesQuery};
use opsward_domain::time::AtMs;

/// Most points of one answer, all series together.
pub const POINTS_MAX: usize = 200_000;

/// Where metrics are kept.
#[async_trait]
pub trait SeriesStore: Send + Sync {
    /// Keeps `samples`; a point older than the series' last one is dropped.
    async fn append(&self, cx: &CallContext, samples: Vec<Sample>) -> Result<(), Fault>;
    /// Every series that matches, points inside the window.
    async fn range(&self, cx: &CallContext, query: &SeriesQuery) -> Result<Vec<Series>, Fault>;
    /// Metric names known in a workspace, sorted.
    async fn names(&self, cx: &CallContext, workspace: &Workspace) -> Result<Vec<String>, Fault>;
    /// Removes points older than `before_ms`.
    async fn expire(&self, cx: &CallContext, before_ms: AtMs) -> Result<(), Fault>;
}
