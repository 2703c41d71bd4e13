//! The report as lines for a terminal, readable at three in the morning: verdict, since when, by what, what to do.
//! Everything copied from a bundle is made visible first.

use std::fmt::Write as _;

use opsward_analyzers::text::{line, row};
use opsward_bundle::shown_time;
use opsward_causes::diagnosis::{RemedyKind, Verdict};

use crate::Inquiry;
use crate::report::{Cause, Report};

/// Causes that are printed; `--json` has all.
const CAUSES_MAX: usize = 5;
/// Replicas that are printed.
const REPLICAS_MAX: usize = 3;
/// Pieces of evidence printed for a cause.
const EVIDENCE_MAX: usize = 5;
/// Entries printed of each further list.
const LISTED_MAX: usize = 20;

/// The report as text. `name` is how the bundle was called, for the commands that it suggests.
pub fn render(inquiry: &Inquiry, name: &str) -> String {
    let report = &inquiry.report;
    let mut out = String::new();
    headline(report, &mut out);
    causes(inquiry, &mut out);
    rules(inquiry, &mut out);
    notes(report, &mut out);
    looked(report, &mut out);
    if let Some(first) = report.causes.first() {
        let _ = writeln!(out, "Check a claim: opsward diagnose {} --explain {}", line(name), first.id);
    }
    out
}

fn headline(report: &Report, out: &mut String) {
    let word = match report.verdict {
        Verdict::Healthy => "HEALTHY",
        Verdict::Degraded => "DEGRADED",
        Verdict::Incident => "INCIDENT",
        Verdict::Unknown => "UNKNOWN",
    };
    let since = report.onset_ms.map(|at| format!(" since {}", shown_time(at))).unwrap_or_default();
    let class = if matches!(report.category, "healthy" | "unknown") {
        String::new()
    } else {
        format!(" ({})", report.category.replace('_', " "))
    };
    let _ = writeln!(out, "{word}{since}{class}");
    row("", &report.summary, out);
    if let Some(alert) = &report.alert {
        let at = alert.fired_ms.map(|at| format!(" at {}", shown_time(at))).unwrap_or_default();
        let whose = alert.component.as_deref().map(|name| format!(" of {name}")).unwrap_or_default();
        let state = if alert.fires { "" } else { " (does not fire)" };
        row("alert", &format!("{}{whose}{at}{state}", alert.metric), out);
    }
    if let Some(first) = &report.first_failing_component {
        row("first", first, out);
    }
    if !report.blast_radius.is_empty() {
        row("suffers", &report.blast_radius.join(", "), out);
    }
    if report.remediation.kind != RemedyKind::None || !report.remediation.action.is_empty() {
        row("do", &format!("{}: {}", word_of(report.remediation.kind), report.remediation.action), out);
    }
}

/// The published word of a kind.
fn word_of(kind: impl serde::Serialize) -> String {
    serde_json::to_value(kind).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn causes(inquiry: &Inquiry, out: &mut String) {
    let report = &inquiry.report;
    if report.causes.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nSuspected, likeliest first:");
    for cause in report.causes.iter().take(CAUSES_MAX) {
        one(inquiry, cause, out);
    }
    if report.causes.len() > CAUSES_MAX {
        row("", &format!("and {} more; --json lists all", report.causes.len() - CAUSES_MAX), out);
    }
    // Replicas matter where one of several is to blame.
    let first = report.causes.first().map(|cause| cause.component.as_str());
    let better = report.replicas.iter().filter(|replica| Some(replica.component.as_str()) != first).take(REPLICAS_MAX);
    let shown: Vec<String> = better
        .map(|replica| format!("{} ({}, {:.2})", replica.component, word_of(replica.kind), replica.score))
        .collect();
    if !shown.is_empty() {
        row("replicas", &shown.join("; "), out);
    }
}

fn one(inquiry: &Inquiry, cause: &Cause, out: &mut String) {
    let report = &inquiry.report;
    let change = cause.change.as_deref().map(|change| format!(", by {change}")).unwrap_or_default();
    let _ = writeln!(
        out,
        "{:<4}{:.2} {}",
        cause.id,
        cause.score,
        line(&format!("{}: {}{change}", cause.component, word_of(cause.kind)))
    );
    let finding = cause.finding.as_ref().filter(|_| cause.change.is_none());
    if let Some(finding) = finding.and_then(|id| inquiry.cluster.findings.iter().find(|finding| finding.id == *id)) {
        opsward_analyzers::text::finding(&inquiry.cluster, "    ", finding, out);
        return;
    }
    row("", &cause.claim, out);
    let mut word = "shown by";
    let mut cited: Vec<_> =
        cause.evidence.iter().filter_map(|id| report.evidence.iter().find(|one| one.id == *id)).collect();
    // What was done comes before what it did.
    cited.sort_by_key(|evidence| !evidence.query.starts_with("change "));
    for evidence in cited.into_iter().take(EVIDENCE_MAX) {
        row(word, &format!("{} {}", evidence.id, evidence.source), out);
        row("", &format!("| {}", evidence.excerpt), out);
        word = "";
    }
}

/// What rules over objects found, in full.
fn rules(inquiry: &Inquiry, out: &mut String) {
    let told = |id: &String| {
        let shown = inquiry.report.causes.iter().take(CAUSES_MAX);
        shown.filter(|cause| cause.change.is_none()).any(|cause| cause.finding.as_ref() == Some(id))
    };
    let rest: Vec<_> = inquiry.cluster.findings.iter().filter(|finding| !told(&finding.id)).collect();
    if rest.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nKubernetes objects:");
    for finding in rest {
        opsward_analyzers::text::finding(&inquiry.cluster, &finding.id, finding, out);
    }
}

fn notes(report: &Report, out: &mut String) {
    let plain: Vec<_> = report.findings.iter().filter(|finding| finding.rule.is_none()).collect();
    if !plain.is_empty() {
        let _ = writeln!(out, "\nAlso seen:");
        for finding in plain.iter().take(LISTED_MAX) {
            row(&finding.id, &finding.claim, out);
        }
    }
    if !report.ruled_out.is_empty() {
        let _ = writeln!(out, "\nLooks like a cause and is none now:");
        for one in report.ruled_out.iter().take(LISTED_MAX) {
            row("-", &format!("{}: {}", one.what, one.why), out);
        }
    }
}

fn looked(report: &Report, out: &mut String) {
    let mut held: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
    for (word, count) in report.looked_at.iter().flat_map(|file| &file.held) {
        *held.entry(word).or_default() += count;
    }
    let files = report.looked_at.len();
    let shown: Vec<String> = held.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let _ = writeln!(out, "\nLooked at {files} {}:", if files == 1 { "file" } else { "files" });
    row("", if shown.is_empty() { "nothing that could be read" } else { "" }, out);
    row("", &shown.join(", "), out);
    let gaps = &report.not_looked_at;
    if !gaps.is_empty() {
        let _ = writeln!(out, "Not looked at:");
        for gap in gaps.iter().take(LISTED_MAX) {
            row("-", &format!("{}: {}", gap.what, gap.reason), out);
        }
        more(gaps.len(), out);
    }
    if !report.problems.is_empty() {
        let _ = writeln!(out, "Not as it should be:");
        for problem in report.problems.iter().take(LISTED_MAX) {
            let at = if problem.line > 0 { format!("{}:{}", problem.file, problem.line) } else { problem.file.clone() };
            row("-", &format!("{at}: {}", problem.what), out);
        }
        more(report.problems.len(), out);
    }
}

fn more(count: usize, out: &mut String) {
    if count > LISTED_MAX {
        row("", &format!("and {} more; --json lists all", count - LISTED_MAX), out);
    }
}
