//! Incidents with commits, deploys and flags: which change did it, or that none did, and no innocent one blamed.

use std::path::Path;

use opsward_causes::case::ChangeKind;

use super::{EvalError, Scored, ask, folders_with, json, name_of, rule};
use crate::Options;

/// Files that hold the truth or tell how to answer.
const HIDDEN: [&str; 2] = ["ground_truth.json", "instruction.md"];

pub(super) fn score(dir: &Path, clock_ms: &dyn Fn() -> f64) -> Result<Vec<Scored>, EvalError> {
    folders_with(dir, HIDDEN[0]).iter().map(|case| one(dir, case, clock_ms)).collect()
}

fn one(dir: &Path, case: &Path, clock_ms: &dyn Fn() -> f64) -> Result<Scored, EvalError> {
    let read = || {
        opsward_bundle::read_but(case, &opsward_bundle::Options::default(), &|name| HIDDEN.contains(&name))
            .map_err(|error| EvalError::Unreadable(case.to_owned(), error.to_string()))
    };
    let (inquiry, took_ms) = ask(clock_ms, &Options::default(), &read)?;
    let truth = json(&case.join(HIDDEN[0]))?;
    let text = |key: &str| truth[key].as_str().unwrap_or_default().to_owned();
    let list = |key: &str| -> Vec<String> {
        let mut names: Vec<String> =
            truth[key].as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        names.sort();
        names
    };
    // A deploy stands for its commit.
    let commit = |id: &str| {
        let deploy =
            inquiry.bundle.case.changes.iter().find(|change| change.id == id && change.kind == ChangeKind::Deploy);
        deploy.and_then(|deploy| deploy.commit.clone()).unwrap_or_else(|| id.to_owned())
    };
    let report = &inquiry.report;
    let said = report.causes.first().and_then(|cause| cause.change.as_deref()).map_or("none".to_owned(), commit);
    let wanted = text("root_cause_commit");
    let decoys = list("decoy_deploy_commits");
    let remedy = serde_json::to_value(report.remediation.kind).unwrap_or_default();
    let first = report.first_failing_component.clone().unwrap_or_default();
    let by_rule = rule::last_deploy(&inquiry.bundle.case);
    let mut blast = report.blast_radius.clone();
    blast.sort();
    Ok(Scored {
        case: name_of(dir, case),
        met: vec![
            ("the change, or that there was none", said == wanted),
            ("no decoy blamed", !decoys.contains(&said)),
            ("first failing component", first == text("first_failing_service")),
            ("blast radius, exactly", blast == list("blast_radius")),
            ("remediation", remedy == truth["remediation"]),
        ],
        rule_met: vec![
            ("the change, or that there was none", by_rule == wanted),
            ("no decoy blamed", !decoys.contains(&by_rule)),
        ],
        said: format!("{said} in {first}, {}", remedy.as_str().unwrap_or_default()),
        wanted: format!("{wanted} in {}, {}", text("first_failing_service"), text("remediation")),
        took_ms,
    })
}
