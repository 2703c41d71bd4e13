//! Injected faults of a train-ticket shop, fault time known to a minute: which service, which pod, which kind; and
//! silence in the fault-free period.

use std::path::{Path, PathBuf};

use opsward_causes::diagnosis::{Kind, Verdict};
use serde_json::Value;

use super::{EvalError, Files, Scored, ask, bytes, files_in, folders_with, json, name_of, rank, rule};
use crate::Options;

/// Minute files before the fault that are given.
const BEFORE_MIN: i64 = 2;
/// Minute files after the fault that are given.
const AFTER_MIN: i64 = 3;
/// The moment that is asked for comes this long after the fault.
const LATE_MS: i64 = 60_000;

pub(super) fn score(dir: &Path, clock_ms: &dyn Fn() -> f64) -> Result<Vec<Scored>, EvalError> {
    let mut scored = Vec::new();
    for day in days(dir) {
        let lists = files_in(&day.join("faults"));
        for list in lists.iter().filter(|path| path.to_string_lossy().ends_with("fault_list.json")) {
            for fault in json(list)?.as_object().into_iter().flatten().flat_map(|(_, hour)| hour.as_array()).flatten() {
                scored.push(one(dir, &day, fault, clock_ms)?);
            }
        }
        scored.push(silent(dir, &day, clock_ms)?);
    }
    Ok(scored)
}

/// Folders that hold both periods of a day.
fn days(dir: &Path) -> Vec<PathBuf> {
    let mut days: Vec<PathBuf> = Vec::new();
    for file in folders_with(dir, "front_service.csv") {
        // DAY/faults/metric/front_service.csv
        if let Some(day) = file.ancestors().nth(2).filter(|day| day.join("faults").is_dir())
            && !days.iter().any(|known| known == day)
        {
            days.push(day.to_owned());
        }
    }
    days
}

/// Minutes of the day of `HH_MM_log.csv`.
fn minute_of(path: &Path) -> Option<i64> {
    let name = path.file_name()?.to_str()?;
    let (hour, rest) = name.split_once('_')?;
    Some(hour.parse::<i64>().ok()? * 60 + rest.split('_').next()?.parse::<i64>().ok()?)
}

/// Files under their place in a bundle.
fn gather(files: &mut Files, folder: &Path, place: &str, keep: &dyn Fn(&Path) -> bool) -> Result<(), EvalError> {
    for path in files_in(folder).into_iter().filter(|path| keep(path)) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        files.push((format!("{place}/{name}"), bytes(&path)?));
    }
    Ok(())
}

fn one(dir: &Path, day: &Path, fault: &Value, clock_ms: &dyn Fn() -> f64) -> Result<Scored, EvalError> {
    let text = |key: &str| fault[key].as_str().unwrap_or_default().to_owned();
    let time = text("inject_time");
    let at_ms = opsward_bundle::parse_time(&time);
    let minute = at_ms.map_or(0, |at| at.rem_euclid(86_400_000) / 60_000);
    let near = |path: &Path| minute_of(path).is_some_and(|at| (minute - BEFORE_MIN..=minute + AFTER_MIN).contains(&at));
    let read = || {
        let mut files = Vec::new();
        for kind in ["log", "trace"] {
            gather(&mut files, &day.join("faults").join(kind), kind, &near)?;
            gather(&mut files, &day.join("fault-free").join(kind), &format!("quiet-{kind}"), &|_| true)?;
        }
        gather(&mut files, &day.join("faults/metric"), "metric", &|_| true)?;
        Ok(opsward_bundle::read_bytes(files, &opsward_bundle::Options::default()))
    };
    let options = Options { at_ms: at_ms.map(|at| at + LATE_MS), ..Options::default() };
    let (inquiry, took_ms) = ask(clock_ms, &options, &read)?;
    let pod = text("inject_pod");
    let case = &inquiry.bundle.case;
    let owner = case.components.iter().find(|component| component.name == pod).and_then(|component| component.service);
    let service = owner.map_or(pod.clone(), |id| case.components[id.0 as usize].name.clone());
    let names = |list: &[crate::report::Cause]| list.iter().map(|cause| cause.component.clone()).collect::<Vec<_>>();
    let (services, pods) = (names(&inquiry.report.causes), names(&inquiry.report.replicas));
    let kind = inquiry.report.causes.first().map(|cause| cause.kind);
    let by_rule = rule::farthest_at(case, options.at_ms.unwrap_or(0));
    let within = |list: &[String], name: &str, most: usize| rank(list, name).is_some_and(|place| place <= most);
    Ok(Scored {
        case: format!("{} {time}", name_of(dir, day)),
        met: vec![
            ("service first", within(&services, &service, 1)),
            ("service among the first three", within(&services, &service, 3)),
            ("pod first", within(&pods, &pod, 1)),
            ("pod among the first three", within(&pods, &pod, 3)),
            ("kind", kind == kind_of(&text("inject_type"))),
        ],
        rule_met: vec![
            ("service first", within(&by_rule, &service, 1)),
            ("service among the first three", within(&by_rule, &service, 3)),
        ],
        said: format!("{} ({})", services.iter().take(3).cloned().collect::<Vec<_>>().join(", "), word(kind)),
        wanted: format!("{service} ({})", text("inject_type")),
        took_ms,
    })
}

fn word(kind: Option<Kind>) -> String {
    serde_json::to_value(kind).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The kind that an injection is.
fn kind_of(injected: &str) -> Option<Kind> {
    Some(match injected {
        "return" => Kind::Return,
        "exception" => Kind::Exception,
        "cpu_contention" => Kind::Cpu,
        "network_delay" => Kind::NetworkDelay,
        _ => return None,
    })
}

/// The fault-free period of a day: the moment asked for lies in the middle of its log lines, since metrics of a whole
/// day hold faults as well.
fn silent(dir: &Path, day: &Path, clock_ms: &dyn Fn() -> f64) -> Result<Scored, EvalError> {
    let before = clock_ms();
    let mut files = Vec::new();
    for kind in ["log", "trace", "metric"] {
        gather(&mut files, &day.join("fault-free").join(kind), kind, &|_| true)?;
    }
    let bundle = opsward_bundle::read_bytes(files, &opsward_bundle::Options::default());
    let ends = bundle.case.logs.first().zip(bundle.case.logs.last());
    let at_ms = ends.map(|(first, last)| first.at_ms.midpoint(last.at_ms));
    let inquiry = crate::of_bundle(bundle, &Options { at_ms, ..Options::default() });
    let took_ms = clock_ms() - before;
    let alarm = matches!(inquiry.report.verdict, Verdict::Incident | Verdict::Degraded);
    let said = inquiry.report.causes.first().map(|cause| cause.claim.clone()).unwrap_or_default();
    Ok(Scored {
        case: format!("{} fault-free", name_of(dir, day)),
        met: vec![("silent while quiet", !alarm)],
        rule_met: Vec::new(),
        said,
        wanted: "nothing".to_owned(),
        took_ms,
    })
}
