//! What the diagnosis concludes. "Healthy" and "no action of ours" are good answers.

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::name::{Id, Workload, Workspace};
use crate::time::AtMs;

/// The overall finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong.
    Healthy,
    /// Something is off, below what anyone was promised.
    Degraded,
    /// Something is broken.
    Incident,
    /// It could not be told.
    Unknown,
}

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// A new release behaves badly.
    BadRelease,
    /// A configuration value is wrong.
    BadConfiguration,
    /// Memory grows until the limit.
    MemoryLeak,
    /// Replicas end right after they start.
    CrashLoop,
    /// Something it calls does not answer.
    DependencyDown,
    /// Something it calls answers late.
    DependencySlow,
    /// A volume has no room.
    VolumeFull,
    /// Too few replicas or workers for the traffic.
    Overload,
    /// Some pool or handle runs out over time.
    ResourceExhaustion,
    /// A replica is alive but does nothing.
    Hung,
    /// A dependency that is not ours fails.
    ExternalDependency,
}

/// Something somebody changed, as the journal knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When it took effect.
    pub at_ms: AtMs,
    /// On what.
    pub workload: Option<Workload>,
    /// Wire word of the action.
    pub action: String,
    /// Who did it.
    pub by: String,
    /// One line made by code.
    pub summary: String,
    /// The action that would take it back, from the record.
    pub undo: Option<Action>,
}

/// One explanation with its standing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hypothesis {
    /// Identity inside the report, `h1` first.
    pub id: Id,
    /// What kind.
    pub kind: CauseKind,
    /// Whose fault; absent if it is outside the platform.
    pub workload: Option<Workload>,
    /// The change that did it, if one did.
    pub change: Option<Change>,
    /// Calibrated probability, 0 to 1.
    pub confidence: f64,
    /// Sentences for it, each with the evidence that shows it.
    pub because: Vec<Claim>,
    /// Sentences against it.
    pub despite: Vec<Claim>,
    /// What would help, best first; empty means no action of ours.
    pub remedies: Vec<Action>,
}

/// A sentence and what shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Made by code; quoted parts are marked as such.
    pub text: String,
    /// Evidence ids; empty marks an opinion.
    pub evidence: Vec<Id>,
}

/// The whole finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Where.
    pub workspace: Workspace,
    /// Overall.
    pub verdict: Verdict,
    /// When it began, as far as signals tell.
    pub onset_ms: Option<AtMs>,
    /// Best first.
    pub hypotheses: Vec<Hypothesis>,
    /// What was looked at and found innocent.
    pub ruled_out: Vec<Claim>,
    /// Workloads that suffer.
    pub affected: Vec<Workload>,
    /// What could not be looked at, and why.
    pub blind_spots: Vec<String>,
}
