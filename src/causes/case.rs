//! What is known of one incident, as read from wherever it was kept: the input of the diagnosis. Every text in
//! it comes from outside and is data; nothing here judges.

use serde::Serialize;

/// A component's place in [`Case::components`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ComponentId(pub u32);

/// Milliseconds since 1970, UTC.
pub type TimeMs = i64;

/// One incident's signals, sorted by time within each component and kind.
#[derive(Debug, Clone, Default)]
pub struct Case {
    /// Services, pods, functions, databases, outside parties: everything a cause can sit in.
    pub components: Vec<Component>,
    /// What called for attention, if anything did.
    pub alert: Option<Alert>,
    /// Who calls whom.
    pub calls: Vec<Call>,
    /// One series for each component and metric.
    pub metrics: Vec<Series>,
    /// Log lines in time order.
    pub logs: Vec<LogLine>,
    /// Spans in time order of their start.
    pub spans: Vec<Span>,
    /// Commits, deploys, flags, configuration, scaling: what people did.
    pub changes: Vec<Change>,
    /// What the platform reported (Kubernetes events and the like).
    pub events: Vec<Event>,
    /// Already counted log patterns, where the raw lines are only a sample.
    pub patterns: Vec<Pattern>,
}

/// Something a cause can sit in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// As the source names it.
    pub name: String,
    /// The service a replica belongs to, when known.
    pub service: Option<ComponentId>,
    /// The machine it runs on, when known.
    pub node: Option<String>,
}

/// What called for attention.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// The component it names.
    pub component: Option<ComponentId>,
    /// The metric or rule it names.
    pub metric: String,
    /// When it fired; faults begin earlier.
    pub fired_ms: Option<TimeMs>,
    /// The bound and the value seen.
    pub threshold: Option<f64>,
    /// The value seen.
    pub observed: Option<f64>,
    /// Its own words.
    pub summary: String,
}

/// Caller and callee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    /// Who calls.
    pub caller: ComponentId,
    /// Who is called.
    pub callee: ComponentId,
}

/// One metric of one component.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Where this series can be found again: file and column.
    pub source: String,
    /// Whose.
    pub component: ComponentId,
    /// As the source names it.
    pub name: String,
    /// What the source says of it: a statistic (`p95`, `Sum`), a unit; empty when nothing.
    pub unit: String,
    /// Strictly rising times; values are finite (gaps are missing points).
    pub points: Vec<(TimeMs, f64)>,
}

/// One log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When.
    pub at_ms: TimeMs,
    /// Whose.
    pub component: ComponentId,
    /// How bad the line says it is.
    pub level: Level,
    /// The message without its header.
    pub message: String,
    /// Trace it belongs to.
    pub trace: Option<String>,
    /// File and line number (from 1).
    pub source: (u32, u32),
}

/// Severity of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Debug or trace.
    Debug,
    /// Not said.
    #[default]
    Info,
    /// Warning.
    Warning,
    /// Error.
    Error,
    /// Fatal, panic, emergency.
    Fatal,
}

/// One span.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Trace.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The span that called it.
    pub parent: Option<String>,
    /// Whose.
    pub component: ComponentId,
    /// What it did.
    pub operation: String,
    /// When it began.
    pub start_ms: TimeMs,
    /// How long, in microseconds.
    pub duration_us: u64,
    /// Whether it says it failed.
    pub failed: bool,
}

/// What kind of thing people did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Code, before it runs anywhere.
    Commit,
    /// A version began to run.
    Deploy,
    /// A feature flag.
    Flag,
    /// Configuration.
    Config,
    /// Replicas or sizes.
    Scaling,
}

/// Something people did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// As the bundle names it: sha, flag, configuration key.
    pub id: String,
    /// What kind.
    pub kind: ChangeKind,
    /// When.
    pub at_ms: TimeMs,
    /// Where, when told.
    pub component: Option<ComponentId>,
    /// A deploy's commit.
    pub commit: Option<String>,
    /// A line for people: message, `off->on`, version.
    pub summary: String,
    /// Files a commit touched.
    pub files: Vec<String>,
    /// A commit's difference, as unified text.
    pub diff: String,
    /// Who.
    pub author: String,
    /// Where this can be found again.
    pub source: String,
}

/// What the platform reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When it was last seen.
    pub at_ms: TimeMs,
    /// When it was first seen.
    pub first_ms: TimeMs,
    /// Whose.
    pub component: Option<ComponentId>,
    /// One word: `OOMKilled`, `FailedScheduling`.
    pub reason: String,
    /// Its own words.
    pub message: String,
    /// How often.
    pub count: u32,
    /// Whether it is a warning.
    pub warning: bool,
    /// Where this can be found again.
    pub source: String,
}

/// A counted log pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// The pattern with its parameters marked.
    pub text: String,
    /// Whose.
    pub component: ComponentId,
    /// How often in the window.
    pub count: u64,
    /// How many more than usual; negative when fewer; none when not told.
    pub more: Option<i64>,
    /// Whether the source takes it for bad news.
    pub negative: bool,
    /// Where this can be found again.
    pub source: String,
}
