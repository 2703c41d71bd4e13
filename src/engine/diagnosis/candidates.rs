//! Explanations that the signs allow: traces, changes and things outside, each with its features.
//! Never picks a winner.

use std::collections::BTreeSet;

use opsward_domain::action::Action;
use opsward_domain::cause::{CauseKind, Change, Claim};
use opsward_domain::event::CheckVerdict;
use opsward_domain::name::Workload;
use opsward_domain::resource::WorkloadStatus;
use opsward_domain::telemetry::Level;
use opsward_domain::time::AtMs;

use super::case::Case;
use super::changes::{Changed, Sort};
use super::graph::Place;
use super::logs::holds;
use super::mechanisms::{Trace, traces};
use super::picture::Topic;
use super::score::Feature;
use super::story;
use super::words::{claim, clock, span};

/// Least share of the blame for a place to be looked into.
const BLAME_MIN: f64 = 0.04;
/// How much of the blame of what it calls a changed address or limit may carry.
const EDGE_SHARE: f64 = 0.85;
/// The same for a callee whose answers its callers cannot use, named in their logs or not.
const CONTRACT_NAMED_SHARE: f64 = 0.95;
const CONTRACT_SHARE: f64 = 0.5;
/// A growth may seem to begin this much before the change that set it off.
const GROWTH_EARLY_MS: i64 = 30_000;
/// Least fit of a workload's first version to be an explanation.
const BIRTH_FIT_MIN: f64 = 0.5;
/// A trace from this strength on carries the change that set it off.
const CARRIES: f64 = 0.85;

/// One possible explanation.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) kind: CauseKind,
    pub(super) place: Place,
    pub(super) change: Option<Change>,
    pub(super) features: Vec<(Feature, f64)>,
    pub(super) because: Vec<Claim>,
    pub(super) despite: Vec<Claim>,
    pub(super) remedies: Vec<Action>,
}

fn change_claim(case: &Case<'_>, changed: &Changed<'_>, onset_ms: AtMs) -> Claim {
    let change = changed.change;
    let lag = onset_ms.saturating_sub(change.at_ms);
    let when = if lag < 1_000 { "just as it began".to_owned() } else { format!("{} before it began", span(lag)) };
    let touched = match changed.variables().as_slice() {
        [] => String::new(),
        names => format!(" (variables {})", names.iter().take(5).copied().collect::<Vec<_>>().join(", ")),
    };
    let text = format!("{} at {}{touched}, {when}", super::words::quoted(&change.summary), clock(change.at_ms));
    claim(&case.picture.citations, text, &[Topic::Changes])
}

/// A change that could have set off something at `since_ms`, the best fitting first.
fn set_off_by<'c, 'a>(
    case: &'c Case<'a>,
    name: &Workload,
    kind: CauseKind,
    since_ms: AtMs,
) -> Option<(&'c Changed<'a>, f64)> {
    let since_ms = if kind == CauseKind::MemoryLeak { since_ms.saturating_add(GROWTH_EARLY_MS) } else { since_ms };
    let could = |changed: &&Changed<'_>| match kind {
        CauseKind::Overload => matches!(changed.sort, Sort::Scaled { from, to } if to < from),
        CauseKind::DependencyDown => matches!(changed.sort, Sort::Scaled { to: 0, .. } | Sort::Removed),
        _ => matches!(changed.sort, Sort::Release | Sort::Configuration | Sort::Limits),
    };
    let own = case.changes.iter().filter(|changed| changed.change.workload.as_ref() == Some(name));
    let fitting = own.filter(could).map(|changed| (changed, changed.fit(since_ms)));
    fitting.filter(|(_, fit)| *fit > 0.15).max_by(|a, b| a.1.total_cmp(&b.1))
}

fn of_trace(case: &Case<'_>, status: &WorkloadStatus, trace: Trace) -> Candidate {
    let place = Place::Ours(status.name.clone());
    let mut features = vec![(Feature::Blame, case.blame.of(&place)), (Feature::Trace, trace.strength)];
    let mut because = trace.claims;
    let mut remedies = trace.remedies;
    let mut change = None;
    if let Some(since) = trace.since_ms.filter(|_| trace.takes_change)
        && let Some((changed, fit)) = set_off_by(case, &status.name, trace.kind, since)
    {
        features.push((Feature::ChangeFits, fit * 0.4));
        because.push(change_claim(case, changed, since));
        if let Some(back) = changed.take_back() {
            remedies.retain(|remedy| *remedy != back);
            remedies.insert(0, back);
        }
        change = Some(changed.change.clone());
    }
    Candidate { kind: trace.kind, place, change, features, because, despite: Vec::new(), remedies }
}

/// True if a fresh complaint of `name` names a variable or value that `changed` touched.
fn log_names_change(case: &Case<'_>, name: &Workload, changed: &Changed<'_>) -> bool {
    let words: Vec<&str> = changed
        .env
        .iter()
        .flat_map(|(key, (old, new))| [Some(key.as_str()), new.as_deref(), old.as_deref().filter(|_| new.is_none())])
        .flatten()
        .filter(|word| word.len() >= 3 || word.parse::<f64>().is_err())
        .collect();
    case.fresh_of(name).iter().any(|one| words.iter().any(|word| one.names(word)))
}

/// True if a change made a time limit shorter, or set one where none was.
fn shortens_a_limit(changed: &Changed<'_>) -> bool {
    changed.env.iter().any(|(key, (old, new))| {
        let key = key.to_ascii_lowercase();
        let number = |value: &Option<String>| value.as_deref().and_then(|text| text.parse::<f64>().ok());
        (key.contains("timeout") || key.contains("deadline"))
            && number(new).is_some_and(|new| number(old).is_none_or(|old| new < old))
    })
}

/// Blame of a place and of all that it calls, directly or not: a deadline is handed on to them.
fn blame_behind(case: &Case<'_>, place: &Place) -> f64 {
    let mut behind = BTreeSet::from([place.clone()]);
    loop {
        let next = case.blame.callers.iter().filter(|(callee, callers)| {
            let called = callers.iter().any(|(caller, _)| behind.contains(&Place::Ours(caller.clone())));
            called && !behind.contains(*callee)
        });
        let next: Vec<Place> = next.map(|(callee, _)| callee.clone()).collect();
        if next.is_empty() {
            return behind.iter().map(|place| case.blame.of(place)).sum();
        }
        behind.extend(next);
    }
}

/// Blame that a change of a workload may carry for the way it calls something: its address, its limits.
fn edge_blame(case: &Case<'_>, status: &WorkloadStatus, changed: &Changed<'_>) -> f64 {
    let of = |(place, callers): (&Place, &Vec<(Workload, String)>)| {
        let (_, peer) = callers.iter().find(|(caller, _)| *caller == status.name)?;
        let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-', '.'], "");
        let codes = case.codes_towards(place);
        let late = codes.keys().any(|code| code.to_ascii_lowercase().contains("time"));
        let touches = changed.env.iter().any(|(key, (old, new))| {
            let values = [old, new].into_iter().flatten();
            let about_peer = plain(key).contains(&plain(peer)) || values.into_iter().any(|value| holds(value, peer));
            about_peer || (late && plain(key).contains("timeout"))
        });
        let handed_on = late && shortens_a_limit(changed);
        touches.then(|| if handed_on { blame_behind(case, place) } else { case.blame.of(place) } * EDGE_SHARE)
    };
    case.blame.callers.iter().filter_map(of).fold(0.0, f64::max)
}

/// Blame that a change of a callee may carry for callers that cannot use its answers any more, and when
/// that began.
fn contract_blame(case: &Case<'_>, status: &WorkloadStatus, changed: &Changed<'_>) -> Option<(f64, AtMs, bool)> {
    if case.symptoms.get(&status.name).is_some_and(|found| found.errors.is_some()) {
        return None;
    }
    let callers = case.blame.callers.get(&Place::Ours(status.name.clone()))?;
    let of = |(caller, peer): &(Workload, String)| {
        let onset = case.symptoms.get(caller)?.errors?.onset_ms;
        let own = case.blame.ours(caller);
        let named = case.complaints_of(caller, onset).any(|one| one.names(peer) || one.names(status.name.as_str()));
        let own_change = case.changes.iter().any(|other| {
            other.change.workload.as_ref() == Some(caller) && other.fit(onset) > 0.3 && other.sort != Sort::Harmless
        });
        let share = match (named, own_change) {
            (true, _) => CONTRACT_NAMED_SHARE,
            (false, false) => CONTRACT_SHARE,
            (false, true) => CONTRACT_SHARE / 2.0,
        };
        (own >= BLAME_MIN && changed.precedes(onset)).then_some((own * share, onset, named))
    };
    callers.iter().filter_map(of).max_by(|a, b| a.0.total_cmp(&b.0))
}

fn of_change(case: &Case<'_>, status: &WorkloadStatus, changed: &Changed<'_>, carried: bool) -> Option<Candidate> {
    let kind = match changed.sort {
        Sort::Release => CauseKind::BadRelease,
        Sort::Configuration | Sort::Limits => CauseKind::BadConfiguration,
        Sort::Scaled { .. } | Sort::Removed | Sort::Harmless => return None,
    };
    let name = &status.name;
    let place = Place::Ours(name.clone());
    let own = case.blame.of(&place);
    let edge = edge_blame(case, status, changed);
    let contract = contract_blame(case, status, changed);
    let (mut blame, mut onset, mut named) = (own.max(edge), case.onset_of(&place), false);
    if let Some((share, began, by_log)) = contract.filter(|(share, ..)| *share > blame) {
        (blame, onset, named) = (share, Some(began), by_log);
    }
    let onset = onset.or(case.onset())?;
    if blame < BLAME_MIN || !changed.precedes(onset) {
        return None;
    }
    let fit = changed.fit(onset);
    if changed.first && fit < BIRTH_FIT_MIN {
        // A first version that has worked is no regression, and there is nothing to go back to.
        return None;
    }
    let mut features = vec![(Feature::Blame, blame), (Feature::ChangeFits, fit)];
    let mut because = vec![change_claim(case, changed, onset)];
    if log_names_change(case, name, changed) {
        features.push((Feature::LogNamesChange, 1.0));
        because.push(claim(
            &case.picture.citations,
            format!("new complaints in the log of {name} name what this change touched"),
            &[Topic::Logs(name.clone()), Topic::Changes],
        ));
    }
    if named {
        features.push((Feature::LogNamesAccused, 1.0));
    }
    if edge > 0.0 {
        features.push((Feature::TouchesEdge, 1.0));
    }
    if case.complaints_of(name, onset).any(|one| one.template.level >= Some(Level::Error)) {
        features.push((Feature::FreshErrors, 1.0));
    }
    if carried {
        features.push((Feature::CarriedElsewhere, 1.0));
    }
    let overtaken =
        case.changes.iter().filter(|later| changed.overtaken_by(later, onset)).map(|later| later.fit(onset));
    features.push((Feature::Overtaken, overtaken.fold(0.0, f64::max)));
    let despite = if fit < 0.6 {
        let text = format!("it took effect {} before the first sign", span(onset - changed.change.at_ms));
        vec![claim(&case.picture.citations, text, &[Topic::Changes])]
    } else {
        Vec::new()
    };
    let remedies = changed.take_back().into_iter().collect();
    Some(Candidate { kind, place, change: Some(changed.change.clone()), features, because, despite, remedies })
}

fn outside(case: &Case<'_>, name: &str, blame: f64) -> Candidate {
    let place = Place::Outside(name.to_owned());
    let callers: Vec<Workload> = case.seen_by_callers(&place).map(|(caller, ..)| caller.clone()).collect();
    let onset = case.onset_of(&place).unwrap_or(case.picture.window.from_ms);
    let named = callers.iter().any(|caller| case.complaints_of(caller, onset).any(|one| one.names(name)));
    let mut features = vec![(Feature::Blame, blame), (Feature::Trace, 0.8)];
    if named {
        features.push((Feature::LogNamesAccused, 1.0));
    }
    let topics: Vec<Topic> = callers.iter().cloned().map(Topic::Metrics).collect();
    let text = format!("{} is called from here but is no workload of this workspace", super::words::quoted(name));
    let because = vec![claim(&case.picture.citations, text, &topics)];
    let kind = CauseKind::ExternalDependency;
    Candidate { kind, place, change: None, features, because, despite: Vec::new(), remedies: Vec::new() }
}

/// A workload that callers still ask for and that somebody deleted.
fn removed(case: &Case<'_>, name: &Workload, blame: f64) -> Option<Candidate> {
    let onset = case.onset()?;
    let gone = |changed: &&Changed<'_>| changed.change.workload.as_ref() == Some(name) && changed.sort == Sort::Removed;
    let changed = case.changes.iter().rev().find(gone)?;
    Some(Candidate {
        kind: CauseKind::DependencyDown,
        place: Place::Ours(name.clone()),
        change: Some(changed.change.clone()),
        features: vec![(Feature::Blame, blame), (Feature::Trace, 1.0), (Feature::ChangeFits, changed.fit(onset))],
        because: vec![change_claim(case, changed, onset)],
        despite: Vec::new(),
        remedies: changed.take_back().into_iter().collect(),
    })
}

fn same_attempt(a: &Action, b: &Action) -> bool {
    match (a, b) {
        (Action::RollbackWorkload(_), Action::RollbackWorkload(_)) => a == b,
        _ => a.kind() == b.kind() && a.resource() == b.resource(),
    }
}

/// Takes into account what was tried already.
fn learn(case: &Case<'_>, candidate: &mut Candidate) {
    for (action, verdict) in &case.picture.tried {
        if !matches!(verdict, CheckVerdict::Same | CheckVerdict::Worse) {
            continue;
        }
        let first = candidate.remedies.first().is_some_and(|remedy| same_attempt(remedy, action));
        candidate.remedies.retain(|remedy| !same_attempt(remedy, action));
        if first {
            let worse = *verdict == CheckVerdict::Worse;
            candidate.features.push((if worse { Feature::TriedAndWorse } else { Feature::TriedInVain }, 1.0));
            let text = format!("{} was tried on {} and did not help", action.kind().facts().name, action.resource());
            candidate.despite.push(Claim { text, evidence: Vec::new() });
        }
    }
}

/// Every explanation worth a score.
pub(super) fn all(case: &Case<'_>) -> Vec<Candidate> {
    let mut found = Vec::new();
    for status in &case.picture.workloads {
        let place = Place::Ours(status.name.clone());
        let accused = case.blame.of(&place) >= BLAME_MIN;
        let of_traces: Vec<Candidate> = if accused {
            traces(case, status).into_iter().map(|trace| of_trace(case, status, trace)).collect()
        } else {
            Vec::new()
        };
        let carries = |candidate: &Candidate, change: &Change| {
            let strong = candidate.features.iter().any(|(f, v)| *f == Feature::Trace && *v >= CARRIES);
            strong && candidate.change.as_ref() == Some(change)
        };
        for changed in case.changes.iter().filter(|c| c.change.workload.as_ref() == Some(&status.name)) {
            let carried = of_traces.iter().any(|candidate| carries(candidate, changed.change));
            found.extend(of_change(case, status, changed, carried));
        }
        found.extend(of_traces);
    }
    for (place, blame) in case.blame.share.iter().filter(|(_, blame)| **blame >= BLAME_MIN) {
        match place {
            Place::Outside(name) => found.push(outside(case, name, *blame)),
            Place::Ours(name) if case.picture.workload(name).is_none() => found.extend(removed(case, name, *blame)),
            Place::Ours(_) => {}
        }
    }
    for candidate in &mut found {
        learn(case, candidate);
        candidate.because.extend(story::signs(case, &candidate.place));
    }
    found
}
