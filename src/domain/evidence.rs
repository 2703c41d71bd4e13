//! What was looked at and what it showed. Each piece can be fetched again by its query.

use serde::{Deserialize, Serialize};

use crate::label::Labelled;
use crate::name::Id;
use crate::time::{AtMs, Window};

/// Most bytes of one excerpt.
pub const EXCERPT_BYTES_MAX: usize = 4 * 1024;

/// Where evidence came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// Log templates or lines.
    Logs,
    /// A time series.
    Metrics,
    /// State of resources.
    State,
    /// A change that somebody made.
    Changes,
    /// Lifecycle events of replicas.
    Events,
    /// A runbook or document.
    Runbook,
    /// The result of a step or its check.
    Outcome,
}

/// A citable piece of evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Short identity inside its stream, such as `e3`.
    pub id: Id,
    /// Where it came from.
    pub kind: EvidenceKind,
    /// One line made by code: what was asked and what it showed.
    pub title: String,
    /// The query, so that anyone can run it again.
    pub query: serde_json::Value,
    /// Which span it covers.
    pub window: Option<Window>,
    /// What it showed, bounded, labelled.
    pub excerpt: Labelled,
    /// SHA-256 of the whole result.
    pub digest: String,
    /// When it was gathered.
    pub at_ms: AtMs,
}
