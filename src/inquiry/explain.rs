//! One claim again: what it rests on, and the lines, samples or fields that show it, read anew from the bundle.

use std::fmt::Write as _;
use std::path::Path;

use opsward_analyzers::text::row;
use opsward_bundle::{Bundle, shown_time};
use opsward_causes::case::Series;
use serde::Serialize;

use crate::report::{Evidence, Report, Window};
use crate::{Inquiry, Options};

/// Name and version of the JSON form.
pub const SCHEMA: &str = "opsward/explanation/v1";
/// Lines or samples shown for one piece of evidence.
const SHOWN_MAX: usize = 24;
/// Characters of one line.
const LINE_CHARS_MAX: usize = 400;

/// One claim with what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Of the cause, finding or piece of evidence.
    pub id: String,
    /// What is claimed.
    pub claim: String,
    /// What it rests on.
    pub evidence: Vec<Again>,
}

/// A piece of evidence, looked at again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Again {
    /// As it was cited.
    #[serde(flatten)]
    pub cited: Evidence,
    /// What stands there.
    pub again: Vec<String>,
}

/// Runs the inquiry again and gives the claim of this id; none if there is none.
pub fn explain(path: &Path, inquiry: &Inquiry, id: &str, options: &Options) -> Option<Explanation> {
    let report = &inquiry.report;
    let (claim, ids) = claim(report, id)?;
    let evidence = ids
        .iter()
        .filter_map(|id| report.evidence.iter().find(|one| one.id == *id))
        .map(|cited| Again { cited: cited.clone(), again: again(path, &inquiry.bundle, cited, options) })
        .collect();
    Some(Explanation { schema: SCHEMA, id: id.to_owned(), claim, evidence })
}

/// Every id that can be explained.
pub fn ids(report: &Report) -> Vec<&str> {
    let causes = report.causes.iter().chain(&report.replicas).map(|cause| cause.id.as_str());
    causes.chain(report.findings.iter().map(|finding| finding.id.as_str())).collect()
}

fn claim(report: &Report, id: &str) -> Option<(String, Vec<String>)> {
    if let Some(cause) = report.causes.iter().chain(&report.replicas).find(|cause| cause.id == id) {
        return Some((cause.claim.clone(), cause.evidence.clone()));
    }
    if let Some(finding) = report.findings.iter().find(|finding| finding.id == id) {
        return Some((finding.claim.clone(), finding.evidence.clone()));
    }
    let evidence = report.evidence.iter().find(|evidence| evidence.id == id)?;
    Some((evidence.excerpt.clone(), vec![evidence.id.clone()]))
}

/// What stands where a piece of evidence was read.
fn again(path: &Path, bundle: &Bundle, cited: &Evidence, options: &Options) -> Vec<String> {
    if let Some(series) = bundle.case.metrics.iter().find(|series| series.source == cited.source) {
        return samples(series, cited.window);
    }
    if let Some((file, line)) =
        cited.source.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse::<usize>().ok()?)))
    {
        let bytes = opsward_bundle::file(path, file, &options.read).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().skip(line.saturating_sub(1)).take(1);
        return lines.map(|text| format!("{file}:{line}: {}", cut(text))).collect();
    }
    if let Some((file, number)) = cited.source.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) {
        let bytes = opsward_bundle::file(path, file, &options.read).unwrap_or_default();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let entry = number.parse::<usize>().ok().and_then(|number| entry(&value, number));
        let shown = entry.and_then(|entry| serde_json::to_string_pretty(entry).ok()).unwrap_or_default();
        return shown.lines().take(SHOWN_MAX).map(cut).collect();
    }
    Vec::new()
}

/// The entry of this number: of a list, or of the only list in an object.
fn entry(value: &serde_json::Value, number: usize) -> Option<&serde_json::Value> {
    match value {
        serde_json::Value::Array(list) => list.get(number),
        serde_json::Value::Object(object) => object.values().find_map(|inner| inner.as_array()?.get(number)),
        _ => None,
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LINE_CHARS_MAX).collect()
}

/// Samples of the window, thinned, with the middle of what was before.
fn samples(series: &Series, window: Option<Window>) -> Vec<String> {
    let window = window.unwrap_or(Window { from_ms: i64::MIN, to_ms: i64::MAX });
    let inside: Vec<&(i64, f64)> =
        series.points.iter().filter(|(at, _)| (window.from_ms..=window.to_ms).contains(at)).collect();
    let mut before: Vec<f64> =
        series.points.iter().filter(|(at, _)| *at < window.from_ms).map(|(_, value)| *value).collect();
    before.sort_by(f64::total_cmp);
    let mut lines = Vec::new();
    if let Some(middle) = before.get(before.len() / 2) {
        lines.push(format!("before: {} samples, in the middle {middle}", before.len()));
    }
    let step = inside.len().div_ceil(SHOWN_MAX).max(1);
    lines.extend(inside.iter().step_by(step).map(|(at, value)| format!("{}  {value}", shown_time(*at))));
    lines
}

/// The explanation as text.
pub fn render(explanation: &Explanation) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}", explanation.id);
    row("claim", &explanation.claim, &mut out);
    for piece in &explanation.evidence {
        out.push('\n');
        row(&piece.cited.id, &piece.cited.source, &mut out);
        row("asked", &piece.cited.query, &mut out);
        if let Some(window) = piece.cited.window {
            row("window", &format!("{} to {}", shown_time(window.from_ms), shown_time(window.to_ms)), &mut out);
        }
        row("said", &format!("| {}", piece.cited.excerpt), &mut out);
        for (place, text) in piece.again.iter().enumerate() {
            row(if place == 0 { "again" } else { "" }, text, &mut out);
        }
        row("digest", &piece.cited.digest, &mut out);
    }
    out
}
