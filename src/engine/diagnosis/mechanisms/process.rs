//! Replicas that crash, hang or are not there.

use opsward_domain::cause::CauseKind;
use opsward_domain::resource::{Replica, ReplicaExit, ReplicaState, WorkloadStatus};

use super::Trace;
use crate::diagnosis::case::Case;
use crate::diagnosis::graph::Place;
use crate::diagnosis::picture::Topic;
use crate::diagnosis::remedies;
use crate::diagnosis::signals::per_second;
use crate::diagnosis::symptoms::{State, idle_since};
use crate::diagnosis::words::{claim, clock, percent, quoted};

fn ending(exit: &ReplicaExit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("with exit status {code}"),
        (None, Some(signal)) => format!("by signal {signal}"),
        (None, None) => format!("with the reason {}", quoted(&exit.reason)),
    }
}

pub(super) fn crash_loop(case: &Case<'_>, status: &WorkloadStatus) -> Option<Trace> {
    let found = case.symptoms.get(&status.name)?;
    let since = *found.states.get(&State::Crashing)?;
    let exits: Vec<&ReplicaExit> =
        found.exits.iter().filter(|exit| exit.at_ms >= since && exit.reason != "memory_limit").collect();
    let last = exits.last()?;
    let text = format!(
        "replicas of {} ended {} times since {}, last {}",
        status.name,
        exits.len(),
        clock(since),
        ending(last)
    );
    Some(Trace {
        kind: CauseKind::CrashLoop,
        strength: 1.0,
        since_ms: Some(since),
        claims: vec![claim(&case.picture.citations, text, &[Topic::Events, Topic::State])],
        remedies: vec![remedies::restart(status)],
        takes_change: true,
    })
}

/// Share of failed calls to a place that ran into a time limit.
fn timeouts(case: &Case<'_>, place: &Place) -> f64 {
    let codes = case.codes_towards(place);
    let all: f64 = codes.values().sum();
    let late = |code: &str| code.contains("time") || code == "504" || code.contains("deadline");
    let timed: f64 = codes.iter().filter(|(code, _)| late(&code.to_ascii_lowercase())).map(|(_, n)| n).sum();
    if all > 0.0 { timed / all } else { 0.0 }
}

/// Share of its normal throughput that a workload still does; 1 where it does not count.
fn throughput(case: &Case<'_>, status: &WorkloadStatus, since_bin: usize) -> f64 {
    let grid = &case.signals.grid;
    let Some(vital) = case.vital(&status.name).filter(|vital| vital.counted) else { return 1.0 };
    let before = vital.rate(grid, 0, since_bin);
    let recent = grid.len.saturating_sub(grid.bins(5_000)).max(since_bin);
    let good = vital.rate(grid, recent, grid.len) - per_second(grid, &vital.errors, recent, grid.len);
    if before > 0.0 { (good / before).clamp(0.0, 1.0) } else { 1.0 }
}

/// Alive but doing nothing: unhealthy, silent or idle, with callers that wait for it.
pub(super) fn hung(case: &Case<'_>, status: &WorkloadStatus) -> Option<Trace> {
    let name = &status.name;
    let found = case.symptoms.get(name)?;
    if found.states.contains_key(&State::Crashing) || !status.replicas.iter().any(Replica::is_alive) {
        return None;
    }
    let place = Place::Ours(name.clone());
    let waiting = timeouts(case, &place);
    let idle = case.vital(name).and_then(|vital| idle_since(&case.signals.grid, vital));
    let unhealthy = found.states.get(&State::Unhealthy).copied();
    let silent = found.states.get(&State::Silent).copied();
    let onset = case.onset_of(&place)?;
    let still = throughput(case, status, case.signals.grid.index(onset));
    let whole = found.down_share > 0.99;
    let strength: f64 = match (unhealthy, silent, idle) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => 1.0,
        (Some(_), None, None) if !whole || still < 0.2 => 0.9,
        (Some(_), None, None) => 0.5,
        (None, Some(_), _) => 0.9,
        (None, None, Some(_)) if waiting > 0.5 => 0.9,
        _ => return None,
    };
    let cite = |text: String, topics: &[Topic]| claim(&case.picture.citations, text, topics);
    let mut claims = Vec::new();
    if let Some(since) = unhealthy {
        let failing = status.replicas.iter().filter(|r| r.state == ReplicaState::Unhealthy).count();
        let text = format!(
            "{failing} of {} replicas of {name} are alive but fail their health check since {}",
            status.replicas.len(),
            clock(since)
        );
        claims.push(cite(text, &[Topic::State, Topic::Events]));
    }
    if let Some(since) = silent {
        let text = format!("{name} has not answered for its metrics since {}", clock(since));
        claims.push(cite(text, &[Topic::Metrics(name.clone())]));
    }
    if let Some(shift) = idle {
        let text = format!(
            "{name} uses {:.3} processor seconds a second, {:.3} before {}",
            shift.now,
            shift.before,
            clock(shift.onset_ms)
        );
        claims.push(cite(text, &[Topic::Metrics(name.clone())]));
    }
    if waiting > 0.5 {
        let text = format!("{} of the failed calls to {name} ran into a time limit", percent(waiting));
        let callers = case.seen_by_callers(&place).map(|(caller, ..)| Topic::Metrics(caller.clone()));
        claims.push(cite(text, &callers.collect::<Vec<_>>()));
    }
    Some(Trace {
        kind: CauseKind::Hung,
        strength,
        since_ms: Some(onset),
        claims,
        remedies: vec![remedies::restart(status)],
        takes_change: false,
    })
}

/// Not there at all, or there and refusing every connection.
pub(super) fn absent(case: &Case<'_>, status: &WorkloadStatus) -> Option<Trace> {
    let name = &status.name;
    let found = case.symptoms.get(name)?;
    let place = Place::Ours(name.clone());
    let cite = |text: String, topics: &[Topic]| claim(&case.picture.citations, text, topics);
    let gone = found.states.get(&State::Absent).copied();
    let counted = case.vital(name).is_some_and(|vital| vital.counted);
    let failing = case.seen_by_callers(&place).find_map(|(caller, _, errors, _)| Some((caller.clone(), errors?)));
    let (strength, since, text, topics) = match (gone, failing, found.errors) {
        (Some(since), _, _) => {
            let text = format!("no replica of {name} is running since {}", clock(since));
            (1.0, since, text, vec![Topic::State, Topic::Events])
        }
        (None, Some((caller, shift)), _) if !counted => {
            let text = format!("{} of the calls from {caller} to {name} fail", percent(shift.now));
            (0.6, shift.onset_ms, text, vec![Topic::Metrics(caller)])
        }
        (None, _, Some(shift)) => {
            let text = format!("{name} fails {} of its requests", percent(shift.now));
            (0.15, shift.onset_ms, text, vec![Topic::Metrics(name.clone())])
        }
        _ => return None,
    };
    let scaled_away = status.spec.replicas == 0;
    let remedy = if scaled_away { remedies::scale(status, 1) } else { remedies::restart(status) };
    Some(Trace {
        kind: CauseKind::DependencyDown,
        strength,
        since_ms: Some(since),
        claims: vec![cite(text, &topics)],
        remedies: vec![remedy],
        takes_change: scaled_away,
    })
}
