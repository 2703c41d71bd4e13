//! Nezha's TrainTicket: for each fault the three minutes around it and the day's fault-free minutes, read as any
//! support bundle is, the fault's time known to a minute. Fault-free minutes alone must give nothing.

use std::fs;
use std::path::Path;

use opsward_causes::Options;
use opsward_causes::case::Case;

use super::{Fault, Trial, run};

const MINUTE: i64 = 60_000;
/// Metrics this long before and after the fault are part of a case.
const METRICS_MS: i64 = 60 * MINUTE;

pub(crate) fn all(folder: &Path, shown: &[String]) -> Result<(), Fault> {
    let mut plans = Vec::new();
    for day in days(folder)? {
        let list = fs::read_to_string(folder.join(&day).join("faults").join(format!("{day}-fault_list.json")))?;
        let list: serde_json::Value = serde_json::from_str(&list)?;
        for fault in
            list.as_object().into_iter().flatten().flat_map(|(_, faults)| faults.as_array().into_iter().flatten())
        {
            let text = |key: &str| fault[key].as_str().unwrap_or("").to_owned();
            plans.push((day.clone(), text("inject_time"), text("inject_pod"), text("inject_type")));
        }
    }
    plans.sort();
    let wanted = |plan: &&(String, String, String, String)| {
        shown.is_empty() || shown.iter().any(|word| name_of(plan).contains(word.as_str()))
    };
    run("nezha TrainTicket", plans.iter().filter(wanted).map(|plan| trial(folder, plan)), shown)?;
    run("nezha TrainTicket, fault-free", days(folder)?.into_iter().flat_map(|day| quiet(folder, &day)), shown)
}

fn days(folder: &Path) -> Result<Vec<String>, Fault> {
    let mut days: Vec<String> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| name.len() == 10)
        .collect();
    days.sort();
    Ok(days)
}

fn name_of(plan: &(String, String, String, String)) -> String {
    format!("{} {} {}", plan.1, plan.2, plan.3)
}

/// Milliseconds since 1970 of `2023-01-29 08:43:04`, without its seconds.
fn minute_of(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute) = (number(11..13)?, number(14..16)?);
    // Days from the civil calendar, after Howard Hinnant.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = y.div_euclid(400);
    let of_era = (y - era * 400) * 365 + (y - era * 400) / 4 - (y - era * 400) / 100 + (153 * m + 2) / 5 + day - 1;
    Some(((era * 146_097 + of_era - 719_468) * 1_440 + hour * 60 + minute) * MINUTE)
}

fn trial(folder: &Path, plan: &(String, String, String, String)) -> Result<Trial, Fault> {
    let (day, time, pod, kind) = plan;
    let at = minute_of(time).ok_or("a fault without a time")?;
    let minutes: Vec<(&str, String)> = (0..3).map(|step| ("faults", clock(at + step * MINUTE))).collect();
    let case = read(folder, day, &minutes, at)?;
    let service = service_of(&case, pod);
    let rule = rule(&case, at);
    let kinds = match kind.as_str() {
        "cpu_contention" => vec!["cpu"],
        "network_delay" => vec!["network_delay"],
        "exception" => vec!["exception"],
        _ => vec!["return"],
    };
    Ok(Trial {
        name: name_of(plan),
        case,
        options: Options { at_ms: Some(at), ..Options::default() },
        component: Some(service),
        replica: Some(pod.clone()),
        kinds,
        change: None,
        decoys: Vec::new(),
        rule,
    })
}

fn clock(at: i64) -> String {
    let minutes = at.div_euclid(MINUTE);
    format!("{:02}_{:02}", minutes.rem_euclid(1_440) / 60, minutes.rem_euclid(60))
}

fn read(folder: &Path, day: &str, minutes: &[(&str, String)], at: i64) -> Result<Case, Fault> {
    let base = folder.join(day);
    let mut files = Vec::new();
    let free: Vec<(&str, String)> = fs::read_dir(base.join("fault-free/log"))?
        .filter_map(|entry| {
            Some(("fault-free", entry.ok()?.file_name().to_string_lossy().trim_end_matches("_log.csv").to_owned()))
        })
        .collect();
    for (part, minute) in minutes.iter().chain(&free) {
        for kind in ["log", "trace"] {
            let name = format!("{kind}/{minute}_{kind}.csv");
            files.push((format!("{part}/{name}"), fs::read(base.join(part).join(&name))?));
        }
    }
    for entry in fs::read_dir(base.join("faults/metric"))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        let near = |line: &&str| {
            line.split(',')
                .nth(1)
                .and_then(|cell| cell.parse::<i64>().ok())
                .is_none_or(|seconds| (seconds * 1_000 - at).abs() <= METRICS_MS)
        };
        let kept: Vec<&str> = text.lines().filter(near).collect();
        files.push((
            format!("metric/{}", path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()),
            kept.join("\n").into_bytes(),
        ));
    }
    Ok(opsward_bundle::read_bytes(files, &opsward_bundle::Options::default()).case)
}

/// The service a pod belongs to, as the case names it.
fn service_of(case: &Case, pod: &str) -> String {
    let component = case.components.iter().find(|component| component.name == pod);
    let service =
        component.and_then(|component| component.service).map(|id| case.components[id.0 as usize].name.clone());
    service.unwrap_or_else(|| pod.to_owned())
}

/// Who logs most errors: the rule of twenty lines.
fn rule(case: &Case, at: i64) -> Vec<String> {
    let mut counts = vec![0_u32; case.components.len()];
    for line in case
        .logs
        .iter()
        .filter(|line| line.at_ms >= at && line.at_ms < at + 3 * MINUTE && line.message.contains("ERROR"))
    {
        counts[line.component.0 as usize] += 1;
    }
    let mut order: Vec<usize> = (0..counts.len()).filter(|index| counts[*index] > 0).collect();
    order.sort_by_key(|index| std::cmp::Reverse(counts[*index]));
    order.into_iter().map(|index| service_of(case, &case.components[index].name)).collect()
}

/// A fault-free minute, first half against second, and the whole with metrics.
fn quiet(folder: &Path, day: &str) -> Vec<Result<Trial, Fault>> {
    let one = |ask: bool| -> Result<Trial, Fault> {
        let first = fs::read_dir(folder.join(day).join("fault-free/log"))?
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .next()
            .ok_or("no fault-free minute")?;
        let at = minute_of(&format!("{day} {}:{}:00", &first[..2], &first[3..5])).ok_or("no time")?;
        let case = read(folder, day, &[], at)?;
        let options =
            if ask { Options { at_ms: Some(at + MINUTE / 2), ..Options::default() } } else { Options::default() };
        Ok(Trial {
            name: format!("fault-free {day} {}", if ask { "asked" } else { "not asked" }),
            case,
            options,
            component: None,
            replica: None,
            kinds: Vec::new(),
            change: None,
            decoys: Vec::new(),
            rule: Vec::new(),
        })
    };
    vec![one(true), one(false)]
}
