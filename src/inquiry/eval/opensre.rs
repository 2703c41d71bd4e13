//! Kubernetes incidents and false alarms: the class of the cause, the words that have to be said, and nothing alarming
//! where nothing is wrong.

use std::path::Path;

use serde_json::Value;

use super::{EvalError, Files, Scored, ask, bytes, files_in, folders_with, name_of, rule};
use crate::{Options, text};

/// Files that hold the truth or describe the case.
const HIDDEN: [&str; 2] = ["answer.yml", "scenario.yml"];

pub(super) fn score(dir: &Path, clock_ms: &dyn Fn() -> f64) -> Result<Vec<Scored>, EvalError> {
    folders_with(dir, HIDDEN[0]).iter().map(|case| one(dir, case, clock_ms)).collect()
}

fn yaml(path: &Path) -> Result<Value, EvalError> {
    let (mut values, _) = opsward_analyzers::load::values(&String::from_utf8_lossy(&bytes(path)?));
    Ok(if values.is_empty() { Value::Null } else { values.remove(0) })
}

/// What the case holds: its own files, and of the folder it builds on those that it lists and does not have.
fn files(case: &Path) -> Result<Files, EvalError> {
    let scenario = yaml(&case.join(HIDDEN[1]))?;
    let mut files = Vec::new();
    let named = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    for path in files_in(case) {
        if !HIDDEN.contains(&named(&path).as_str()) {
            files.push((named(&path), bytes(&path)?));
        }
    }
    let base = scenario["base"].as_str().filter(|base| !base.contains(['/', '\\', '.']));
    for source in scenario["available_evidence"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let name = format!("{source}.json");
        let missing = !files.iter().any(|(known, _)| *known == name);
        let path = base.zip(case.parent()).map(|(base, parent)| parent.join(base).join(&name));
        if let Some(path) = path.filter(|path| missing && path.is_file()) {
            files.push((name, bytes(&path)?));
        }
    }
    Ok(files)
}

fn one(dir: &Path, case: &Path, clock_ms: &dyn Fn() -> f64) -> Result<Scored, EvalError> {
    let read = || Ok(opsward_bundle::read_bytes(files(case)?, &opsward_bundle::Options::default()));
    let (inquiry, took_ms) = ask(clock_ms, &Options::default(), &read)?;
    let answer = yaml(&case.join(HIDDEN[0]))?;
    let words = |key: &str| answer[key].as_array().cloned().unwrap_or_default();
    let wanted = answer["root_cause_category"].as_str().unwrap_or_default().to_owned();
    let shown: Vec<String> = text::render(&inquiry, "").to_lowercase().split_whitespace().map(str::to_owned).collect();
    let shown = shown.join(" ");
    let lacking: Vec<String> = words("required_keywords")
        .iter()
        .filter_map(Value::as_str)
        .filter(|word| !shown.contains(&word.to_lowercase()))
        .map(str::to_owned)
        .collect();
    let said = inquiry.report.category;
    let by_rule = rule::alert_says(&inquiry);
    let forbidden = |word: &str| words("forbidden_categories").iter().any(|one| one == word);
    let mut met = vec![
        ("category", said == wanted),
        ("no forbidden category", !forbidden(said)),
        ("every word that has to be said", lacking.is_empty()),
    ];
    let mut rule_met = vec![("category", by_rule == wanted), ("no forbidden category", !forbidden(by_rule))];
    if wanted == "healthy" {
        met.push(("no false alarm", said == "healthy"));
        rule_met.push(("no false alarm", by_rule == "healthy"));
    }
    let lacking = if lacking.is_empty() { String::new() } else { format!("; not said: {}", lacking.join(", ")) };
    Ok(Scored { case: name_of(dir, case), met, rule_met, said: format!("{said}{lacking}"), wanted, took_ms })
}
