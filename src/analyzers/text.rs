//! The report as lines for a terminal, readable at three in the morning. Everything from the cluster is made
//! visible first: no control character, no hidden or reordered text reaches the screen.

use std::fmt::Write as _;

use opsward_domain::label::visible;

use crate::finding::{Finding, Severity};
use crate::report::{Report, Verdict, named, shown};
use crate::when;

/// Columns of a line.
const WIDTH: usize = 110;
/// Width of the words at the left.
const LEFT: usize = 9;
/// Most gaps that are listed one by one.
const GAPS_MAX: usize = 20;

/// The report as text.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    headline(report, &mut out);
    for (number, finding) in report.findings.iter().enumerate() {
        out.push('\n');
        self::finding(report, &format!("{}.", number + 1), finding, &mut out);
    }
    out.push('\n');
    looked(report, &mut out);
    out
}

fn headline(report: &Report, out: &mut String) {
    let count = report.findings.len();
    let spaces = if report.namespaces == 1 { "namespace" } else { "namespaces" };
    let of = format!("{} objects in {} {spaces}", report.objects, report.namespaces);
    let as_of = report.at_ms.map(|at| format!(", as of {}", shown(at))).unwrap_or_default();
    let line = match report.verdict {
        Verdict::Unknown if report.objects == 0 => {
            "No Kubernetes objects were found, so nothing can be said.".to_owned()
        }
        Verdict::Unknown => format!("Too little was given to say anything: {of}{as_of}."),
        Verdict::Healthy if count == 0 => format!("Nothing wrong found in {of}{as_of}."),
        _ => format!("{count} {} found in {of}{as_of}.", if count == 1 { "root cause" } else { "root causes" }),
    };
    let _ = writeln!(out, "{line}");
}

/// One line without line breaks, everything visible.
pub fn line(text: &str) -> String {
    let flat: Vec<&str> = text.split_whitespace().collect();
    visible(&flat.join(" "))
}

/// A paragraph with a word at its left, cut into lines.
pub fn row(word: &str, text: &str, out: &mut String) {
    let mut first = true;
    let mut current = String::new();
    let mut flush = |current: &mut String| {
        let _ = writeln!(out, "   {:LEFT$}{current}", if first { word } else { "" });
        first = false;
        current.clear();
    };
    for part in line(text).split(' ') {
        if !current.is_empty() && current.chars().count() + part.chars().count() + 1 > WIDTH - LEFT - 3 {
            flush(&mut current);
            current.push_str("  ");
        }
        if !current.trim_end().is_empty() {
            current.push(' ');
        }
        current.push_str(part);
    }
    if !current.trim().is_empty() {
        flush(&mut current);
    }
}

/// One finding in full, under a label.
pub fn finding(report: &Report, label: &str, finding: &Finding, out: &mut String) {
    let _ = writeln!(
        out,
        "{label} {:9} {}",
        finding.severity.word(),
        line(&format!("{} {}", finding.object, finding.claim))
    );
    if let Some(since) = finding.since_ms {
        let ago = report.at_ms.map(|now| format!(" ({})", when::span(now - since))).unwrap_or_default();
        row("since", &format!("{}{ago}", shown(since)), out);
    }
    if !finding.field.is_empty() {
        row("where", &finding.field, out);
    }
    let mut word = "effect";
    for link in finding.cause_chain.iter().skip(1) {
        row(word, &format!("{}: {}", named(&link.object, link.more), link.says), out);
        word = "";
    }
    let mut word = "shown by";
    for evidence in finding.evidence.iter().filter_map(|id| report.evidence.iter().find(|evidence| evidence.id == *id))
    {
        row(word, &format!("{} {}", evidence.source, evidence.field), out);
        row("", &format!("| {}", evidence.excerpt), out);
        word = "";
    }
    let mut word = "do";
    for remedy in &finding.remedies {
        row(word, &remedy.does, out);
        if let Some(action) = &remedy.action {
            row("", &format!("= {} in {}", action.kind().facts().name, remedy.namespace), out);
        }
        if let Some(command) = &remedy.command {
            row("", &format!("$ {command}"), out);
        }
        word = "or";
    }
    if let Some(manager) = &finding.managed_by {
        row("note", &format!("{manager} manages this: change it there, or it will be put back"), out);
    }
    let _ = writeln!(out, "   {:LEFT$}{} {}", "id", finding.id, finding.rule);
}

fn looked(report: &Report, out: &mut String) {
    let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for (kind, count) in report.looked_at.iter().flat_map(|looked| &looked.objects) {
        counts.insert(kind, *count);
    }
    let shown: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if !shown.is_empty() {
        let _ = writeln!(out, "Looked at:");
        row("", &shown.join(", "), out);
    }
    if report.not_looked_at.is_empty() {
        return;
    }
    let _ = writeln!(out, "Could not be looked at:");
    for gap in report.not_looked_at.iter().take(GAPS_MAX) {
        row("", &format!("{}: {}", gap.what, gap.reason), out);
    }
    if report.not_looked_at.len() > GAPS_MAX {
        row("", &format!("and {} more; --json lists all", report.not_looked_at.len() - GAPS_MAX), out);
    }
    let warned = report.findings.iter().any(|finding| finding.severity >= Severity::Warning);
    if !warned && report.verdict == Verdict::Healthy {
        let _ = writeln!(out, "Nothing wrong found means: in what was given.");
    }
}
