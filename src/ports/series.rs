//! The metrics store.
//!
//! Contract: values stay as exposed (a counter stays a counter, rates are the reader's work); points of
//! a series come in time order without doubles; values that are not finite are dropped, because they say
//! nothing and cannot travel as JSON; a tenant never sees another's series.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod memory;

use std::collections::BTreeMap;

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Workload, Workspace};
use opsward_domain::telemetry::{Sample, Series, SeriesQuery};
use opsward_domain::time::AtMs;

/// Most points of one answer, all series together.
pub const POINTS_MAX: usize = 200_000;

/// Where metrics are kept.
#[async_trait]
pub trait SeriesStore: Send + Sync {
    /// Keeps `samples`; a point not newer than the series' last one is dropped.
    async fn append(&self, cx: &CallContext, samples: Vec<Sample>) -> Result<(), Fault>;
    /// Every series that matches and has points inside the window, ordered by workload, replica, labels.
    /// More than [`POINTS_MAX`] points are refused, never cut.
    async fn range(&self, cx: &CallContext, query: &SeriesQuery) -> Result<Vec<Series>, Fault>;
    /// Metric names known in a workspace, sorted.
    async fn names(&self, cx: &CallContext, workspace: &Workspace) -> Result<Vec<String>, Fault>;
    /// Removes the tenant's points older than `before_ms`.
    async fn expire(&self, cx: &CallContext, before_ms: AtMs) -> Result<(), Fault>;
}

/// The refusal of an answer with more than [`POINTS_MAX`] points.
pub fn too_many_points() -> Fault {
    Fault::new(Code::TooMany, format!("the answer would have more than {POINTS_MAX} points"))
        .hint("take a shorter window, one workload or more labels")
}

/// True if a series with these labels and workload answers `query`.
pub fn selects(query: &SeriesQuery, workload: Option<&Workload>, labels: &BTreeMap<String, String>) -> bool {
    query.workload.as_ref().is_none_or(|wanted| workload == Some(wanted))
        && query.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
}
