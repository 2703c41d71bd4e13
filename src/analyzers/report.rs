//! The report: what was found, what was looked at, what could not be. Versioned, made to grow into the
//! diagnosis of whole bundles.

use std::collections::BTreeMap;

use opsward_domain::time::AtMs;
use serde::Serialize;

use crate::finding::{Evidence, Finding, Severity};
use crate::object::Ref;
use crate::objects::{Gap, Objects};
use crate::roots;
use crate::rules::{ANALYZERS, Cx};
use crate::when;

/// Name and version of the JSON form. Fields are only ever added within a version.
pub const SCHEMA: &str = "opsward/diagnosis/v1";

/// What to look for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// When the picture was taken; by default the latest time any object tells.
    pub at_ms: Option<AtMs>,
    /// No object can have been written after this; guards against a clock that ran ahead.
    pub not_after_ms: Option<AtMs>,
    /// Also what is merely worth knowing, and the optional security rules.
    pub all: bool,
}

/// The overall word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Looked, and found nothing.
    Healthy,
    /// Only warnings.
    Degraded,
    /// Something does not work.
    Incident,
    /// Too little was there to say.
    Unknown,
}

/// One kind or set of rules that ran, and on how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// The rules.
    pub rules: &'static str,
    /// How many objects of each kind they read.
    pub objects: BTreeMap<String, usize>,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The overall word.
    pub verdict: Verdict,
    /// When the picture was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<AtMs>,
    /// The earliest beginning of any finding that is an error or worse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub onset_ms: Option<AtMs>,
    /// Roots, worst first.
    pub findings: Vec<Finding>,
    /// What findings cite.
    pub evidence: Vec<Evidence>,
    /// Objects given, of whatever kind.
    pub objects: usize,
    /// Namespaces seen.
    pub namespaces: usize,
    /// What was looked at.
    pub looked_at: Vec<Looked>,
    /// What could not be, and why.
    pub not_looked_at: Vec<Gap>,
}

impl Report {
    /// The worst severity found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

/// Runs every rule over the objects.
pub fn analyze(objects: &Objects, options: &Options) -> Report {
    let latest = objects.latest_ms();
    let capped = match (latest, options.not_after_ms) {
        (Some(latest), Some(limit)) => Some(latest.min(limit)),
        (latest, _) => latest,
    };
    let cx = Cx { objects, now_ms: options.at_ms.or(capped) };
    let mut symptoms = Vec::new();
    let ran = || ANALYZERS.iter().filter(|analyzer| options.all || !analyzer.optional);
    for analyzer in ran() {
        (analyzer.run)(&cx, &mut symptoms);
    }
    let floor = if options.all { Severity::Info } else { Severity::Warning };
    let (findings, evidence) = roots::fold(objects, &symptoms, floor);
    let counts = objects.counts();
    let looked_at: Vec<Looked> = ran()
        .map(|analyzer| Looked {
            rules: analyzer.name,
            objects: analyzer.kinds.iter().filter_map(|kind| Some(((*kind).to_owned(), *counts.get(*kind)?))).collect(),
        })
        .filter(|looked| !looked.objects.is_empty())
        .collect();
    let namespaces: std::collections::BTreeSet<&str> =
        objects.all().iter().map(|object| object.at.namespace.as_str()).filter(|space| !space.is_empty()).collect();
    let shows_state =
        ["Pod", "Deployment", "Node", "StatefulSet", "Service"].iter().any(|kind| counts.contains_key(*kind));
    let verdict = match findings.iter().map(|finding| finding.severity).max() {
        Some(Severity::Critical | Severity::Error) => Verdict::Incident,
        Some(Severity::Warning) => Verdict::Degraded,
        _ if shows_state => Verdict::Healthy,
        _ => Verdict::Unknown,
    };
    Report {
        schema: SCHEMA,
        verdict,
        at_ms: cx.now_ms,
        onset_ms: findings.iter().filter(|f| f.severity >= Severity::Error).filter_map(|f| f.since_ms).min(),
        findings,
        evidence,
        objects: objects.all().len(),
        namespaces: namespaces.len(),
        looked_at,
        not_looked_at: gaps(objects, &counts, options.all),
    }
}

/// What was not given: named gaps, then the kinds that rules would have read.
fn gaps(objects: &Objects, counts: &BTreeMap<String, usize>, all: bool) -> Vec<Gap> {
    let mut gaps = objects.gaps().to_vec();
    let mut absent: Vec<&str> = Vec::new();
    for analyzer in ANALYZERS.iter().filter(|analyzer| all || !analyzer.optional) {
        absent.extend(analyzer.kinds.iter().filter(|kind| {
            let named = gaps.iter().any(|gap| gap.what == **kind);
            !named && !counts.contains_key(**kind) && !objects.knows(kind, "")
        }));
    }
    absent.sort_unstable();
    absent.dedup();
    if !absent.is_empty() {
        gaps.push(Gap {
            what: absent.join(", "),
            reason:
                "none given: not collected, not installed, or there are none; a fault there shows only by its effects"
                    .to_owned(),
        });
    }
    if objects.latest_ms().is_none() && !objects.all().is_empty() {
        gaps.push(Gap {
            what: "time".to_owned(),
            reason: "no object tells when it was written, so nothing counts as recent".to_owned(),
        });
    }
    gaps
}

/// A point in time for people.
pub(crate) fn shown(at_ms: AtMs) -> String {
    when::iso(at_ms).replace('T', " ").replace('Z', " UTC")
}

/// How an object is shown in a chain.
pub(crate) fn named(at: &Ref, more: usize) -> String {
    if more == 0 { at.to_string() } else { format!("{at} (and {more} more)") }
}
