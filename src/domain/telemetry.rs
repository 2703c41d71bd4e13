//! Logs, samples and lifecycle events as they leave the platform. Text here is always untrusted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::{Workload, Workspace};
use crate::resource::ReplicaExit;
use crate::time::{AtMs, Window};

/// Most bytes of one log line; longer ones are cut and marked.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// How serious a log line says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Finest detail.
    Trace,
    /// Detail.
    Debug,
    /// Normal.
    Info,
    /// Odd.
    Warn,
    /// Wrong.
    Error,
    /// Over.
    Fatal,
}

/// One line of output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its workspace.
    pub workspace: Workspace,
    /// Its workload.
    pub workload: Workload,
    /// Its replica.
    pub replica: u32,
    /// When it was written (or read, if it does not say).
    pub at_ms: AtMs,
    /// Its level, if it says.
    pub level: Option<Level>,
    /// The text without line end.
    pub text: String,
}

/// One measured value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Its workspace.
    pub workspace: Workspace,
    /// Its workload; absent for the workspace itself.
    pub workload: Option<Workload>,
    /// Its replica, if it has one.
    pub replica: Option<u32>,
    /// Name, Prometheus style.
    pub metric: String,
    /// Other labels.
    pub labels: BTreeMap<String, String>,
    /// When.
    pub at_ms: AtMs,
    /// Value as exposed: counters stay counters.
    pub value: f64,
}

/// Something happened to a replica by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Lifecycle {
    /// It was started.
    Started,
    /// It became ready.
    Ready,
    /// It failed its health check.
    Unhealthy {
        /// Why, untrusted.
        reason: String,
    },
    /// It ended.
    Exited {
        /// How.
        exit: ReplicaExit,
    },
}

/// A lifecycle event with its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicaEvent {
    /// Its workspace.
    pub workspace: Workspace,
    /// Its workload.
    pub workload: Workload,
    /// Its replica.
    pub replica: u32,
    /// When.
    pub at_ms: AtMs,
    /// What.
    pub what: Lifecycle,
}

/// A question to the log store; the tenant comes from the call context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// Where.
    pub workspace: Workspace,
    /// Only these workloads; empty means all.
    #[serde(default)]
    pub workloads: Vec<Workload>,
    /// When.
    pub window: Window,
    /// At least this serious; lines that do not say count as Info.
    #[serde(default)]
    pub level_min: Option<Level>,
    /// Words that must all occur (tokens, case-insensitive); quoted parts are phrases.
    #[serde(default)]
    pub text: String,
    /// Only this template.
    #[serde(default)]
    pub template: Option<u64>,
    /// Most results, at most 10,000.
    pub limit: usize,
}

/// A stored line with its template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogHit {
    /// The line.
    pub line: LogLine,
    /// Its template's stable id inside the tenant.
    pub template: u64,
    /// The parameters in order.
    pub params: Vec<String>,
}

/// How often a template occurred.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TemplateCount {
    /// Stable id inside the tenant.
    pub template: u64,
    /// Its text with `<*>` for parameters, untrusted.
    pub text: String,
    /// Whose.
    pub workload: Workload,
    /// Most serious level seen.
    pub level: Option<Level>,
    /// Occurrences in the window.
    pub count: u64,
    /// First occurrence in the window.
    pub first_ms: AtMs,
    /// Last occurrence in the window.
    pub last_ms: AtMs,
    /// One line of it, untrusted.
    pub sample: String,
}

/// A question to the metrics store; the tenant comes from the call context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesQuery {
    /// Where.
    pub workspace: Workspace,
    /// Only this workload.
    #[serde(default)]
    pub workload: Option<Workload>,
    /// Exact metric name.
    pub metric: String,
    /// Labels that must have these values.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When.
    pub window: Window,
}

/// One series: points in time order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its workload, if any.
    pub workload: Option<Workload>,
    /// Its replica, if any.
    pub replica: Option<u32>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// (time, value).
    pub points: Vec<(AtMs, f64)>,
}
