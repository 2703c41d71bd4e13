//! PetShop: wide tables of five-minute metrics with three rows of heads. Issues are diagnosed as they are, with the
//! alert ten minutes late and early, and with a fifth of the cells blank; windows without an issue must give nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use opsward_causes::Options;
use opsward_causes::case::{Alert, Call, Case, Component, ComponentId, Series};

use super::{Fault, Trial, run};

/// Rows of a window.
const WINDOW: usize = 5;
const MINUTE: i64 = 60_000;

/// Node, metric, statistic, and the values by time.
struct Wide {
    heads: Vec<(String, String, String)>,
    rows: Vec<(i64, Vec<Option<f64>>)>,
}

fn wide(path: &Path) -> Result<Wide, Fault> {
    let text = fs::read_to_string(path)?;
    let mut lines = text.lines().map(|line| line.split(',').skip(1).map(str::to_owned).collect::<Vec<_>>());
    let (nodes, metrics, statistics) =
        (lines.next().unwrap_or_default(), lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let heads = nodes
        .into_iter()
        .zip(metrics)
        .zip(statistics)
        .map(|((node, metric), statistic)| (node, metric, statistic))
        .collect();
    let mut rows = Vec::new();
    for line in text.lines().skip(3) {
        let Some((time, cells)) = line.split_once(',') else { continue };
        let Ok(seconds) = time.parse::<f64>() else { continue };
        rows.push((
            (seconds * 1_000.0) as i64,
            cells.split(',').map(|cell| cell.parse().ok().filter(|value: &f64| value.is_finite())).collect(),
        ));
    }
    Ok(Wide { heads, rows })
}

fn graph(path: &Path) -> Result<Vec<(String, String)>, Fault> {
    let text = fs::read_to_string(path)?;
    let heads: Vec<&str> = text.lines().next().unwrap_or("").split(',').skip(1).collect();
    let mut calls = Vec::new();
    for line in text.lines().skip(1) {
        let mut cells = line.split(',');
        let caller = cells.next().unwrap_or("");
        calls.extend(
            heads
                .iter()
                .zip(cells)
                .filter(|(_, cell)| cell.parse() == Ok(1.0))
                .map(|(callee, _)| (caller.to_owned(), (*callee).to_owned())),
        );
    }
    Ok(calls)
}

/// Rows of one table, with a fifth of the cells left out when `blank`.
fn case_of(quiet: &Wide, rows: &[(usize, bool)], issue: Option<&Wide>, calls: &[(String, String)], blank: u64) -> Case {
    let mut case = Case::default();
    let mut ids: BTreeMap<String, ComponentId> = BTreeMap::new();
    let mut id = |case: &mut Case, name: &str| {
        *ids.entry(name.to_owned()).or_insert_with(|| {
            case.components.push(Component { name: name.to_owned(), service: None, node: None });
            ComponentId(case.components.len() as u32 - 1)
        })
    };
    let mut series: BTreeMap<(String, String, String), Vec<(i64, f64)>> = BTreeMap::new();
    let mut noise = blank;
    let mut keep = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        blank == 0 || !(noise >> 33).is_multiple_of(5)
    };
    let kept = quiet
        .rows
        .iter()
        .enumerate()
        .filter(|(index, _)| rows.iter().all(|(gone, _)| gone != index))
        .map(|(_, row)| (quiet, row));
    for (table, (at, cells)) in kept.chain(issue.iter().flat_map(|issue| issue.rows.iter().map(|row| (*issue, row)))) {
        for (head, cell) in table.heads.iter().zip(cells) {
            if let Some(value) = cell.filter(|_| keep()) {
                series.entry(head.clone()).or_default().push((*at, value));
            }
        }
    }
    for ((node, metric, statistic), mut points) in series {
        points.sort_by_key(|(at, _)| *at);
        let component = id(&mut case, &node);
        case.metrics.push(Series {
            source: "metrics.csv".to_owned(),
            component,
            name: metric,
            unit: statistic,
            points,
        });
    }
    for (caller, callee) in calls {
        let call = Call { caller: id(&mut case, caller), callee: id(&mut case, callee) };
        case.calls.push(call);
    }
    case
}

fn alert(case: &mut Case, node: &str, metric: &str, fired_ms: i64) {
    let component =
        case.components.iter().position(|component| component.name == node).map(|index| ComponentId(index as u32));
    case.alert = Some(Alert {
        component,
        metric: metric.to_owned(),
        fired_ms: Some(fired_ms),
        threshold: None,
        observed: None,
        summary: String::new(),
    });
}

/// Who departs most from its own quiet values in the alert's metric: the rule of twenty lines.
fn rule(case: &Case, metric: &str, at: i64) -> Vec<String> {
    let mut ranked: Vec<(f64, String)> = Vec::new();
    for series in case.metrics.iter().filter(|series| series.name == metric && series.unit == "Average") {
        let (now, quiet): (Vec<_>, Vec<_>) =
            series.points.iter().partition(|(time, _)| (time - at).abs() <= 20 * MINUTE);
        let mean = quiet.iter().map(|(_, v)| v).sum::<f64>() / quiet.len().max(1) as f64;
        let wide =
            (quiet.iter().map(|(_, v)| (v - mean).powi(2)).sum::<f64>() / quiet.len().max(1) as f64).sqrt().max(1e-6);
        let score = now.iter().map(|(_, v)| (v - mean).abs() / wide).fold(0.0, f64::max);
        ranked.push((score, case.components[series.component.0 as usize].name.clone()));
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked.into_iter().map(|(_, name)| name).collect()
}

pub(crate) fn all(folder: &Path, shown: &[String]) -> Result<(), Fault> {
    for (title, shift, blank) in [
        ("as it is", 0, 0),
        ("alert 10 min late", 10, 0),
        ("alert 10 min early", -10, 0),
        ("a fifth blank", 0, 11),
        ("late and blank", 10, 12),
        ("early and blank", -10, 13),
    ] {
        let trials = issues(folder, shift, blank)?;
        run(&format!("petshop, {title}"), trials.into_iter().map(Ok), shown)?;
    }
    run("petshop, windows without an issue", quiet(folder, true)?.into_iter().map(Ok), shown)?;
    run("petshop, windows without an issue and without an alert", quiet(folder, false)?.into_iter().map(Ok), shown)
}

fn issues(folder: &Path, shift_min: i64, blank: u64) -> Result<Vec<Trial>, Fault> {
    let mut trials = Vec::new();
    for traffic in ["low_traffic", "high_traffic"] {
        let base = folder.join(traffic);
        let (normal, calls) = (wide(&base.join("noissue/metrics.csv"))?, graph(&base.join("graph.csv"))?);
        let mut names: Vec<_> =
            fs::read_dir(base.join("train"))?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        names.sort();
        for (index, path) in names.iter().enumerate() {
            let target: serde_json::Value = serde_json::from_str(&fs::read_to_string(path.join("target.json"))?)?;
            let at = target["target"]["timestamp"].as_i64().unwrap_or(0) * 1_000;
            let metric = target["target"]["metric"].as_str().unwrap_or("");
            let seed = if blank == 0 { 0 } else { blank * 1_000 + index as u64 };
            let mut case = case_of(&normal, &[], Some(&wide(&path.join("metrics.csv"))?), &calls, seed);
            alert(&mut case, target["target"]["node"].as_str().unwrap_or(""), metric, at + shift_min * MINUTE);
            let rule = rule(&case, metric, at + shift_min * MINUTE);
            trials.push(Trial {
                name: format!(
                    "{traffic}/{}",
                    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
                ),
                case,
                options: Options::default(),
                component: target["root_cause"]["node"].as_str().map(str::to_owned),
                kinds: if metric == "latency" { vec!["latency"] } else { vec!["exception"] },
                rule,
            });
        }
    }
    Ok(trials)
}

/// Windows of quiet, the rest of the quiet time being what they are compared with.
fn quiet(folder: &Path, alerted: bool) -> Result<Vec<Trial>, Fault> {
    let mut trials = Vec::new();
    for traffic in ["low_traffic", "high_traffic"] {
        let base = folder.join(traffic);
        let (normal, calls) = (wide(&base.join("noissue/metrics.csv"))?, graph(&base.join("graph.csv"))?);
        for (index, start) in (20..normal.rows.len() - 20).step_by(14).enumerate() {
            // A window is moved away in time, as issues lie apart from the quiet data they come with.
            let moved = Wide {
                heads: normal.heads.clone(),
                rows: normal.rows[start..start + WINDOW]
                    .iter()
                    .map(|(at, cells)| (at - 400 * 24 * 60 * MINUTE, cells.clone()))
                    .collect(),
            };
            let gone: Vec<(usize, bool)> = (start..start + WINDOW).map(|row| (row, true)).collect();
            let mut case = case_of(&normal, &gone, Some(&moved), &calls, 0);
            if alerted {
                alert(
                    &mut case,
                    "PetSite",
                    if index % 2 == 0 { "latency" } else { "availability" },
                    moved.rows[WINDOW / 2].0,
                );
            }
            let options = if alerted {
                Options::default()
            } else {
                Options { at_ms: Some(moved.rows[WINDOW / 2].0), ..Options::default() }
            };
            trials.push(Trial {
                name: format!("quiet {traffic} {start}"),
                case,
                options,
                component: None,
                kinds: Vec::new(),
                rule: Vec::new(),
            });
        }
    }
    Ok(trials)
}
