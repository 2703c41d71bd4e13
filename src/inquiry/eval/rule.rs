//! The simple rules that stand beside the inquiry: what anybody would write in twenty lines.

use std::collections::HashMap;

use opsward_causes::case::{Case, ChangeKind, Series};

use crate::Inquiry;

/// The last deploy of the alerted service before the alert.
pub(super) fn last_deploy(case: &Case) -> String {
    let alert = case.alert.as_ref();
    let before = |at_ms: i64| alert.and_then(|alert| alert.fired_ms).is_none_or(|fired| at_ms <= fired);
    let own = |place| alert.and_then(|alert| alert.component).is_none_or(|wanted| place == Some(wanted));
    let deploys = case.changes.iter().filter(|change| change.kind == ChangeKind::Deploy);
    let last = deploys.filter(|change| before(change.at_ms) && own(change.component)).max_by_key(|change| change.at_ms);
    last.map_or("none".to_owned(), |change| change.commit.clone().unwrap_or_else(|| change.id.clone()))
}

/// What the words of the alert suggest; healthy if it does not fire.
pub(super) fn alert_says(inquiry: &Inquiry) -> &'static str {
    let Some(alert) = inquiry.report.alert.as_ref().filter(|alert| alert.fires) else { return "healthy" };
    let words = format!("{} {}", alert.metric, alert.summary).to_lowercase();
    let says = |list: &[&str]| list.iter().any(|word| words.contains(word));
    if says(&["oom", "memory", "cpu", "disk", "quota", "replicas"]) {
        "resource_exhaustion"
    } else if says(&["node", "network"]) {
        "infrastructure"
    } else if says(&["config", "probe", "image"]) {
        "configuration_error"
    } else {
        "unknown"
    }
}

/// How many usual deviations the samples from `from_ms` to `to_ms` lie away from the rest.
fn away(series: &Series, from_ms: i64, to_ms: i64) -> f64 {
    let inside = |at: i64| (from_ms..=to_ms).contains(&at);
    let mut rest: Vec<f64> = series.points.iter().filter(|(at, _)| !inside(*at)).map(|(_, value)| *value).collect();
    rest.sort_by(f64::total_cmp);
    let Some(middle) = rest.get(rest.len() / 2).copied() else { return 0.0 };
    let mut spread: Vec<f64> = rest.iter().map(|value| (value - middle).abs()).collect();
    spread.sort_by(f64::total_cmp);
    let usual = spread[spread.len() / 2].max(0.05 * middle.abs()).max(1e-9);
    series
        .points
        .iter()
        .filter(|(at, _)| inside(*at))
        .map(|(_, value)| (value - middle).abs() / usual)
        .fold(0.0, f64::max)
}

/// Services by the metric of the alert, farthest from usual around it first.
pub(super) fn farthest(case: &Case) -> Vec<String> {
    farthest_at(case, case.alert.as_ref().and_then(|alert| alert.fired_ms).unwrap_or(0))
}

/// As [`farthest`], around a moment; without an alert by any metric.
pub(super) fn farthest_at(case: &Case, at_ms: i64) -> Vec<String> {
    let mut most: HashMap<usize, f64> = HashMap::new();
    let asked = case.alert.as_ref().map_or("", |alert| alert.metric.as_str());
    let same = case.metrics.iter().any(|series| series.name == asked);
    for series in case.metrics.iter().filter(|series| !same || series.name == asked) {
        let own = series.component.0 as usize;
        let service = case.components[own].service.map_or(own, |id| id.0 as usize);
        let score = away(series, at_ms - 12 * 60_000, at_ms + 12 * 60_000);
        let entry = most.entry(service).or_default();
        *entry = entry.max(score);
    }
    let mut order: Vec<(usize, f64)> = most.into_iter().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| case.components[a.0].name.cmp(&case.components[b.0].name)));
    order.into_iter().map(|(place, _)| case.components[place].name.clone()).collect()
}
