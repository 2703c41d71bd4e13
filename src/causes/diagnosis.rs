//! What a diagnosis says: ranked causes, each with the evidence it rests on. Only data; every text copied from
//! a case is cut to a bound and stays data.

use serde::Serialize;

use crate::case::TimeMs;

/// The number of this shape; it rises when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Looked at, and nothing stands out.
    Healthy,
    /// Something changed for the worse, but nobody's requests are known to suffer from it.
    Degraded,
    /// Requests suffer.
    Incident,
    /// Too little was there to look at.
    Unknown,
}

/// What kind of cause it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Processor time is short.
    Cpu,
    /// Memory is short or leaks.
    Memory,
    /// Disk is full or slow.
    Disk,
    /// Messages to or from it take longer than both ends work.
    NetworkDelay,
    /// It cannot be reached.
    Network,
    /// Code threw, panicked or refused.
    Exception,
    /// Code returned something else than before, without saying that it failed.
    Return,
    /// Its own work takes longer.
    Latency,
    /// Something it needs, not run by us, fails.
    Dependency,
    /// More requests than it was sized for.
    Traffic,
    /// A certificate ran out or is not trusted.
    Certificate,
    /// A pool, queue, quota or limit is used up.
    Capacity,
    /// A setting is wrong.
    Config,
    /// Data that cannot be handled.
    Data,
    /// The machine below it.
    Node,
    /// Known only by its symptoms.
    Unknown,
}

/// One suspected cause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cause {
    /// Where, as the case names it.
    pub component: String,
    /// What kind.
    pub kind: Kind,
    /// The change that did it, as the case names it; none when no change did.
    pub change: Option<String>,
    /// How sure, 0 to 1.
    pub score: f64,
    /// One sentence.
    pub claim: String,
    /// Ids of what it rests on.
    pub evidence: Vec<String>,
}

/// What would help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemedyKind {
    /// Back to the version before.
    Rollback,
    /// On to a version that mends it.
    RollForward,
    /// Back to the setting before.
    ConfigRevert,
    /// Turn the flag back.
    FeatureFlagDisable,
    /// More replicas or bigger ones.
    Scale,
    /// Start it again.
    Restart,
    /// Somewhere else.
    Reschedule,
    /// To the other zone, region or replica.
    Failover,
    /// A new certificate.
    RotateCert,
    /// Take the bad data out.
    PurgeBadData,
    /// Whoever runs it must act.
    EscalateUpstream,
    /// Nothing to do.
    None,
}

/// What would help, and the step that does it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remediation {
    /// What kind.
    pub kind: RemedyKind,
    /// The step, as the platform's verbs say it; empty when there is none.
    pub action: String,
}

/// Something worth knowing that is not itself a cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// One sentence.
    pub text: String,
    /// Ids of what it rests on.
    pub evidence: Vec<String>,
}

/// Something that was seen, and how to see it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Its name in this diagnosis: `e1`, `e2`, and so on.
    pub id: String,
    /// Where it was read.
    pub source: String,
    /// The question that gives it again.
    pub query: String,
    /// From when to when, in milliseconds since 1970.
    pub window: (TimeMs, TimeMs),
    /// What was seen, cut to a bound.
    pub excerpt: String,
    /// SHA-256 over source, query, window and excerpt, in hexadecimal.
    pub digest: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// [`SCHEMA`].
    pub schema: u32,
    /// How bad.
    pub verdict: Verdict,
    /// When it began.
    pub onset_ms: Option<TimeMs>,
    /// Suspected causes by service (or by component, where no service is known), the likeliest first.
    pub causes: Vec<Cause>,
    /// The same by replica, where replicas are known.
    pub replicas: Vec<Cause>,
    /// What suffered first.
    pub first_failing_component: Option<String>,
    /// What suffers from it.
    pub blast_radius: Vec<String>,
    /// What would help.
    pub remediation: Remediation,
    /// What else is worth knowing.
    pub findings: Vec<Finding>,
    /// Everything the claims rest on.
    pub evidence: Vec<Evidence>,
    /// What could not be looked at, and why.
    pub not_looked_at: Vec<String>,
}
