//! The report in its published form. Fields are only ever added within a version; every text that was copied from a
//! bundle is data.

use std::collections::BTreeMap;

use opsward_analyzers::objects::Gap;
use opsward_analyzers::report::Looked as Rules;
use opsward_analyzers::{Link, Ref, Remedy, Severity};
use opsward_bundle::Problem;
use opsward_causes::diagnosis::{Kind, RemedyKind, Verdict};
use serde::Serialize;

/// Name and version of the JSON form.
pub const SCHEMA: &str = "opsward/diagnosis/v2";

/// The whole report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The overall word.
    pub verdict: Verdict,
    /// What class of cause it is, in one word.
    pub category: &'static str,
    /// One sentence.
    pub summary: String,
    /// What called for attention.
    pub alert: Option<Alert>,
    /// When the picture was taken.
    pub at_ms: Option<i64>,
    /// When it began.
    pub onset_ms: Option<i64>,
    /// The same for people.
    pub onset: Option<String>,
    /// Likeliest first.
    pub causes: Vec<Cause>,
    /// The same by replica, where replicas are known.
    pub replicas: Vec<Cause>,
    /// What suffered first.
    pub first_failing_component: Option<String>,
    /// What suffers from it.
    pub blast_radius: Vec<String>,
    /// What would help.
    pub remediation: Remediation,
    /// What is worth knowing: faults of Kubernetes objects, changes that are not taken for the cause, new patterns.
    pub findings: Vec<Finding>,
    /// What looks like a cause and is none now.
    pub ruled_out: Vec<RuledOut>,
    /// What claims rest on.
    pub evidence: Vec<Evidence>,
    /// Files and what they held.
    pub looked_at: Vec<Looked>,
    /// Rules over Kubernetes objects that ran.
    pub rules: Vec<Rules>,
    /// Kubernetes objects given.
    pub objects: usize,
    /// Their namespaces.
    pub namespaces: usize,
    /// What is not as it should be in a file.
    pub problems: Vec<Problem>,
    /// What was not looked at, and why.
    pub not_looked_at: Vec<Gap>,
}

/// What called for attention, in its own words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alert {
    /// The component it names.
    pub component: Option<String>,
    /// The metric or rule it names.
    pub metric: String,
    /// When it fired.
    pub fired_ms: Option<i64>,
    /// Its words.
    pub summary: String,
    /// Whether it still fires.
    pub fires: bool,
}

/// One suspected cause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cause {
    /// `c1`, `c2`, ... or `r1` for a replica.
    pub id: String,
    /// Where.
    pub component: String,
    /// What kind.
    pub kind: Kind,
    /// The change that did it, as the bundle names it; null when no change did.
    pub change: Option<String>,
    /// How sure, 0 to 1.
    pub score: f64,
    /// One sentence.
    pub claim: String,
    /// Ids of what it rests on.
    pub evidence: Vec<String>,
    /// The finding of a Kubernetes rule that says the same.
    pub finding: Option<String>,
}

/// What would help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remediation {
    /// What kind.
    pub kind: RemedyKind,
    /// The typed step that would do it; empty when there is none.
    pub action: String,
}

/// Something worth knowing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// `f1`, `f2`, ...
    pub id: String,
    /// One sentence.
    pub claim: String,
    /// Ids of what it rests on.
    pub evidence: Vec<String>,
    /// What a rule over Kubernetes objects adds.
    #[serde(flatten)]
    pub rule: Option<Rule>,
}

/// The part of a finding that only rules over objects know.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    /// Stable word of the rule.
    pub rule: &'static str,
    /// How bad.
    pub severity: Severity,
    /// The object to change.
    pub object: Ref,
    /// The field to look at.
    pub field: String,
    /// The workload that suffers most.
    pub owner: Option<Ref>,
    /// Since when.
    pub since_ms: Option<i64>,
    /// From the root to what people notice.
    pub cause_chain: Vec<Link>,
    /// What would fix it, best first.
    pub remedies: Vec<Remedy>,
    /// Who will undo a change made by hand.
    pub managed_by: Option<String>,
}

/// Something that looks like a cause and is none now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuledOut {
    /// What was seen.
    pub what: String,
    /// Why it is none.
    pub why: String,
    /// Ids of what it rests on.
    pub evidence: Vec<String>,
}

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Milliseconds since 1970.
    pub from_ms: i64,
    /// Milliseconds since 1970.
    pub to_ms: i64,
}

/// Something that was seen, and how to see it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// `e1`, `e2`, ...; claims cite it.
    pub id: String,
    /// The file, or the object.
    pub source: String,
    /// The question that gives it again.
    pub query: String,
    /// From when to when, where time matters.
    pub window: Option<Window>,
    /// What was seen, cut to a bound.
    pub excerpt: String,
    /// SHA-256 over source, query, window and excerpt, in hexadecimal.
    pub digest: String,
}

/// A file and what it held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// The file.
    pub file: String,
    /// How many of what.
    pub held: BTreeMap<&'static str, u64>,
}

impl Report {
    /// True if there was nothing to look at.
    pub fn is_blind(&self) -> bool {
        self.objects == 0 && self.looked_at.iter().all(|looked| looked.held.is_empty())
    }
}
