//! The log store: its unit is (template, parameters, fields), not the line.
//!
//! Contract: a tenant never sees another's lines, templates, counts or timing; ingest is durable when
//! it returns, and a search after it sees its lines; results come newest last and never more than asked
//! (a limit above [`HITS_MAX`] means [`HITS_MAX`]); a query outside retention is empty, not an error; a
//! line that brings no level gets the one its text states ([`level::of`]), or none; text longer than a
//! line may be is cut and marked ([`text::bounded`]); text in results is untrusted.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod level;
pub mod memory;
pub mod text;

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::fault::{Code, Fault};
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
    /// Matching lines per bucket: (bucket start, count), empty buckets included, from the window's start
    /// in steps of `bucket_ms`. See [`buckets`] for what is refused.
    async fn histogram(&self, cx: &CallContext, query: &LogQuery, bucket_ms: i64) -> Result<Vec<(AtMs, u64)>, Fault>;
    /// Matching lines by a field's value, most first, then by value. Levels are [`level::word`]s, or
    /// `unknown`; templates are decimal ids.
    async fn group(&self, cx: &CallContext, query: &LogQuery, by: GroupField) -> Result<Vec<(String, u64)>, Fault>;
    /// Templates of the matching lines, one entry a workload, with counts and their newest line as a
    /// sample; most first, then by id and workload; at most `query.limit`.
    async fn templates(&self, cx: &CallContext, query: &LogQuery) -> Result<Vec<TemplateCount>, Fault>;
    /// Removes the tenant's lines older than `before_ms`; returns how many. Template ids stay taken.
    async fn expire(&self, cx: &CallContext, before_ms: AtMs) -> Result<u64, Fault>;
}

/// How many buckets a histogram has; 0 for an empty window.
///
/// Refuses a bucket that is not positive and more than [`BUCKETS_MAX`] buckets.
pub fn buckets(query: &LogQuery, bucket_ms: i64) -> Result<usize, Fault> {
    if bucket_ms <= 0 {
        return Err(Fault::invalid("a histogram's bucket must be longer than nothing"));
    }
    let length = query.window.length_ms();
    let count = length / bucket_ms + i64::from(length % bucket_ms != 0);
    usize::try_from(count).ok().filter(|count| *count <= BUCKETS_MAX).ok_or_else(|| {
        Fault::new(Code::TooMany, format!("a histogram has at most {BUCKETS_MAX} buckets, this would have {count}"))
            .hint("take a longer bucket or a shorter window")
    })
}
