//! Metrics with a call graph: which component is the root of an alert at the entry, and silence while nothing is wrong.

use std::path::{Path, PathBuf};

use opsward_causes::diagnosis::Verdict;
use serde_json::json;

use super::{EvalError, Files, Scored, ask, bytes, folders_with, json, name_of, rank, rule};
use crate::Options;

/// Quiet windows that are looked at of each quiet period.
const QUIET_MAX: usize = 12;
/// Rows of a quiet window: six hours of samples every five minutes.
const WINDOW_ROWS: usize = 72;
/// Folders above a case in which graph and quiet period are looked for.
const ABOVE_MAX: usize = 3;

pub(super) fn score(dir: &Path, clock_ms: &dyn Fn() -> f64) -> Result<Vec<Scored>, EvalError> {
    let mut scored = Vec::new();
    let mut quiet: Vec<(PathBuf, Files)> = Vec::new();
    for case in folders_with(dir, "target.json") {
        let around = around(&case)?;
        scored.push(one(dir, &case, &around, clock_ms)?);
        if let Some(above) = case.ancestors().skip(1).take(ABOVE_MAX).find(|above| above.join("noissue").is_dir())
            && !quiet.iter().any(|(known, _)| known == above)
        {
            quiet.push((above.to_owned(), around));
        }
    }
    for (above, around) in quiet {
        scored.extend(silent(dir, &above, &around, clock_ms)?);
    }
    Ok(scored)
}

/// The graph and the quiet period above a case.
fn around(case: &Path) -> Result<Files, EvalError> {
    let mut files = Vec::new();
    for (path, name) in [("graph.csv", "graph.csv"), ("noissue/metrics.csv", "quiet.csv")] {
        let found = case.ancestors().skip(1).take(ABOVE_MAX).map(|above| above.join(path)).find(|path| path.is_file());
        if let Some(found) = found {
            files.push((name.to_owned(), bytes(&found)?));
        }
    }
    Ok(files)
}

fn one(dir: &Path, case: &Path, around: &[(String, Vec<u8>)], clock_ms: &dyn Fn() -> f64) -> Result<Scored, EvalError> {
    let truth = json(&case.join("target.json"))?;
    let target = &truth["target"];
    let text = |key: &str| target[key].as_str().unwrap_or_default().to_owned();
    // What a monitor would have sent; the truth stays behind.
    let alert = json!({
        "service": text("node"), "metric": text("metric"), "severity": "critical", "fired_at": target["timestamp"],
        "summary": format!("{} of {} is not as it should be", text("metric"), text("node")),
    });
    let read = || {
        let mut files = around.to_vec();
        files.push(("metrics.csv".to_owned(), bytes(&case.join("metrics.csv"))?));
        files.push(("alert.json".to_owned(), alert.to_string().into_bytes()));
        Ok(opsward_bundle::read_bytes(files, &opsward_bundle::Options::default()))
    };
    let (inquiry, took_ms) = ask(clock_ms, &Options::default(), &read)?;
    let wanted = truth["root_cause"]["node"].as_str().unwrap_or_default().to_owned();
    let said: Vec<String> = inquiry.report.causes.iter().map(|cause| cause.component.clone()).collect();
    let by_rule = rule::farthest(&inquiry.bundle.case);
    let met = |list: &[String]| {
        let place = rank(list, &wanted);
        vec![("root first", place == Some(1)), ("root among the first three", place.is_some_and(|place| place <= 3))]
    };
    Ok(Scored {
        case: name_of(dir, case),
        met: met(&said),
        rule_met: met(&by_rule),
        said: said.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
        wanted,
        took_ms,
    })
}

/// Windows of the quiet period, with no alert and no moment named.
fn silent(
    dir: &Path,
    above: &Path,
    around: &[(String, Vec<u8>)],
    clock_ms: &dyn Fn() -> f64,
) -> Result<Vec<Scored>, EvalError> {
    let table = bytes(&above.join("noissue/metrics.csv"))?;
    let table = String::from_utf8_lossy(&table).into_owned();
    let lines: Vec<&str> = table.lines().filter(|line| !line.trim().is_empty()).collect();
    let header =
        lines.iter().take_while(|line| line.split(',').next().is_none_or(|cell| cell.parse::<f64>().is_err())).count();
    let rows = lines.len().saturating_sub(header);
    let mut scored = Vec::new();
    for window in 0..QUIET_MAX {
        // Windows lie in the later half, so that each has enough before it.
        let end = header + rows / 2 + (window + 1) * (rows / 2) / QUIET_MAX;
        let Some(start) = end.checked_sub(WINDOW_ROWS).filter(|start| *start >= header) else { continue };
        let read = || {
            let mut files: Files = around.iter().filter(|(name, _)| name == "graph.csv").cloned().collect();
            let table = [&lines[..header], &lines[start..end]].concat().join("\n");
            files.push(("metrics.csv".to_owned(), table.into_bytes()));
            Ok(opsward_bundle::read_bytes(files, &opsward_bundle::Options::default()))
        };
        let (inquiry, took_ms) = ask(clock_ms, &Options::default(), &read)?;
        let alarm = matches!(inquiry.report.verdict, Verdict::Incident | Verdict::Degraded);
        let said = inquiry.report.causes.first().map(|cause| cause.claim.clone()).unwrap_or_default();
        scored.push(Scored {
            case: format!("{}, quiet window {}", name_of(dir, above), window + 1),
            met: vec![("silent while quiet", !alarm)],
            rule_met: Vec::new(),
            said,
            wanted: "nothing".to_owned(),
            took_ms,
        });
    }
    Ok(scored)
}
