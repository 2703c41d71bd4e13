//! The log store: its unit is (template, parameters, fields), not the line.
//!
//! Contract: a tenant never sees another's lines, templates, counts or timing; ingest is durable when
//! it returns; results come newest last and never more than asked; a query outside retention is empty,
//! not an error; text in results is untrusted.

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::fault::Fault;
use opsward_domain::telemetry::{LogHit, LogLine, LogQuery, TemplateCount};
use opsward_domain::time::AtMs;

/// Most hits of one search.
pub const HITS_MAX: usize = 10_000;
/// Most buckets of one histogram.
pub const BUCKETS_MAX: usize = 1_000;

/// A field to group by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupField {
    /// By workload.
    Workload,
    /// By level.
    Level,
    /// By template.
    Template,
}

/// Where logs are kept.
#[async_trait]
pub trait Logs: Send + Sync {
    /// Keeps `lines`, mining templates on the way. Durable when it returns.
    async fn ingest(&self, cx: &CallContext, lines: Vec<LogLine>) -> Result<(), Fault>;
    /// The newest `limit` matching lines, oldest of them first.
    async fn search(&self, cx: &CallContext, query: &LogQuery) -> Result<Vec<LogHit>, Fault>;
    /// Matching lines per bucket: (bucket start, count), empty buckets included, at most [`BUCKETS_MAX`].
    async fn histogram(&self, cx: &CallContext, query: &LogQuery, bucket_ms: i64) -> Result<Vec<(AtMs, u64)>, Fault>;
    /// Matching lines by a field's value, most first.
    async fn group(&self, cx: &CallContext, query: &LogQuery, by: GroupField) -> Result<Vec<(String, u64)>, Fault>;
    /// Templates of the matching lines with counts and a sample, most first, at most `query.limit`.
    async fn templates(&self, cx: &CallContext, query: &LogQuery) -> Result<Vec<TemplateCount>, Fault>;
    /// Removes lines older than `before_ms`; returns how many were removed, if known.
    async fn expire(&self, cx: &CallContext, before_ms: AtMs) -> Result<u64, Fault>;
}
