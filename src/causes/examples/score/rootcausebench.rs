//! RootCauseBench, read as any support bundle is; then the same with every service under another name and the time
//! shifted, which must give the same answers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use opsward_causes::Options;
use opsward_causes::case::{Case, ChangeKind};

use super::{Fault, Trial, run};

const DAY: i64 = 24 * 3_600_000;

pub(crate) fn all(folder: &Path, shown: &[String]) -> Result<(), Fault> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    folders.sort();
    run("rootcausebench", folders.iter().map(|path| trial(path, false)), shown)?;
    run("rootcausebench, renamed and shifted", folders.iter().map(|path| trial(path, true)), shown)
}

fn trial(path: &Path, changed: bool) -> Result<Trial, Fault> {
    let skip = |name: &str| name.contains("ground_truth") || name.contains("instruction");
    let mut bundle = opsward_bundle::read_but(path, &opsward_bundle::Options::default(), &skip)?;
    let truth: serde_json::Value = serde_json::from_str(&fs::read_to_string(path.join("ground_truth.json"))?)?;
    let mut component = truth["first_failing_service"].as_str().unwrap_or("").to_owned();
    if changed {
        let names = rename(&mut bundle.case);
        component = names.get(&component).cloned().unwrap_or(component);
        shift(&mut bundle.case, 37 * DAY + 4_321_000);
    }
    let change = truth["root_cause_commit"].as_str().filter(|commit| *commit != "none").map(str::to_owned);
    let decoys = truth["decoy_deploy_commits"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one.as_str().map(str::to_owned))
        .collect();
    let fired = bundle.case.alert.as_ref().and_then(|alert| alert.fired_ms).unwrap_or(i64::MAX);
    let last = bundle
        .case
        .changes
        .iter()
        .filter(|change| change.kind == ChangeKind::Deploy && change.at_ms <= fired)
        .max_by_key(|change| change.at_ms);
    let rule = last.and_then(|change| change.component).map(|id| bundle.case.components[id.0 as usize].name.clone());
    Ok(Trial {
        name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        case: bundle.case,
        options: Options::default(),
        component: Some(component),
        replica: None,
        kinds: Vec::new(),
        change: Some(change),
        decoys,
        rule: rule.into_iter().collect(),
    })
}

/// Gives every component another name, in every text as well.
fn rename(case: &mut Case) -> BTreeMap<String, String> {
    let names: BTreeMap<String, String> = case
        .components
        .iter()
        .enumerate()
        .map(|(index, component)| {
            (
                component.name.clone(),
                format!("unit{index}-{}", ["kestrel", "osprey", "heron", "wren", "finch"][index % 5]),
            )
        })
        .collect();
    let mut long: Vec<(&String, &String)> = names.iter().collect();
    long.sort_by_key(|(old, _)| std::cmp::Reverse(old.len()));
    let other = |text: &mut String| {
        for (old, new) in &long {
            if text.contains(old.as_str()) {
                *text = text.replace(old.as_str(), new);
            }
            let stem = old.trim_end_matches("service");
            if stem.len() >= 4 && stem.len() < old.len() {
                *text = text.replace(&format!("services/{stem}/"), &format!("services/{new}/"));
            }
        }
    };
    case.components.iter_mut().for_each(|component| other(&mut component.name));
    case.logs.iter_mut().for_each(|line| other(&mut line.message));
    case.patterns.iter_mut().for_each(|pattern| other(&mut pattern.text));
    for change in &mut case.changes {
        other(&mut change.summary);
        other(&mut change.diff);
        change.files.iter_mut().for_each(&other);
    }
    if let Some(alert) = &mut case.alert {
        other(&mut alert.summary);
        other(&mut alert.metric);
    }
    names
}

fn shift(case: &mut Case, by: i64) {
    case.metrics.iter_mut().flat_map(|series| &mut series.points).for_each(|point| point.0 += by);
    case.logs.iter_mut().for_each(|line| line.at_ms += by);
    case.spans.iter_mut().for_each(|span| span.start_ms += by);
    case.changes.iter_mut().for_each(|change| change.at_ms += by);
    case.events.iter_mut().for_each(|event| {
        event.at_ms += by;
        event.first_ms += by;
    });
    if let Some(alert) = &mut case.alert {
        alert.fired_ms = alert.fired_ms.map(|at| at + by);
    }
}
