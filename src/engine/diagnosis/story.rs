//! The sentences of a finding: what was seen at a place, what was found innocent, how bad it is.
//! Every sentence is made here from numbers; foreign text appears only as a quotation.

use opsward_domain::cause::{Change, Claim, Verdict};
use opsward_domain::name::Workload;

use super::case::Case;
use super::graph::{Place, shares};
use super::picture::Topic;
use super::symptoms::{State, Symptoms};
use super::words::{claim, clock, millis, percent, quoted};

/// Most sentences of callers about one place.
const CALLERS_MAX: usize = 3;
/// Most log complaints quoted for one place.
const QUOTES_MAX: usize = 2;
/// Most innocent things named.
const RULED_OUT_MAX: usize = 8;
/// A share of failed requests that is an incident where no objective says otherwise.
const ERRORS_INCIDENT: f64 = 0.05;
/// How far back the current answer time is measured.
const RECENT_MS: i64 = 15_000;

fn own_signs(case: &Case<'_>, name: &Workload) -> Vec<Claim> {
    let Some(found) = case.symptoms.get(name) else { return Vec::new() };
    let metrics = [Topic::Metrics(name.clone())];
    let cite = |text: String| claim(&case.picture.citations, text, &metrics);
    let mut signs = Vec::new();
    if let Some(shift) = found.errors {
        let text = format!(
            "{name} fails {} of its requests since {}, {} before",
            percent(shift.now),
            clock(shift.onset_ms),
            percent(shift.before)
        );
        signs.push(cite(text));
    }
    if let Some(shift) = found.latency {
        let text = format!(
            "{name} answers in {} on average since {}, {} before",
            millis(shift.now),
            clock(shift.onset_ms),
            millis(shift.before)
        );
        signs.push(cite(text));
    }
    for one in case.fresh_of(name).iter().take(QUOTES_MAX) {
        let text = format!(
            "the log of {name} says {} times (before: {:.0}): {}",
            one.template.count,
            one.before,
            quoted(&one.template.sample)
        );
        signs.push(claim(&case.picture.citations, text, &[Topic::Logs(name.clone())]));
    }
    signs
}

/// What was seen at a place, by itself and by those who call it.
pub(super) fn signs(case: &Case<'_>, place: &Place) -> Vec<Claim> {
    let mut found = match place {
        Place::Ours(name) => own_signs(case, name),
        Place::Outside(_) => Vec::new(),
    };
    for (caller, peer, errors, latency) in case.seen_by_callers(place).take(CALLERS_MAX) {
        let topics = [Topic::Metrics(caller.clone())];
        let peer = match place {
            Place::Ours(name) => name.as_str().to_owned(),
            Place::Outside(_) => quoted(peer),
        };
        let text = match (errors, latency) {
            (Some(shift), _) => {
                let codes = case.codes_towards(place);
                let most = codes
                    .iter()
                    .max_by(|a, b| a.1.total_cmp(b.1))
                    .map_or(String::new(), |(code, _)| format!(", most with {}", quoted(code)));
                format!(
                    "{} of the calls from {caller} to {peer} fail since {}, {} before{most}",
                    percent(shift.now),
                    clock(shift.onset_ms),
                    percent(shift.before)
                )
            }
            (None, Some(shift)) => format!(
                "calls from {caller} to {peer} take {} since {}, {} before",
                millis(shift.now),
                clock(shift.onset_ms),
                millis(shift.before)
            ),
            (None, None) => continue,
        };
        found.push(claim(&case.picture.citations, text, &topics));
    }
    found
}

fn innocent_change(case: &Case<'_>, name: &Workload, change: &Change, accused: Option<&Place>) -> Option<Claim> {
    let place = Place::Ours(name.clone());
    let onset = case.onset()?;
    let what = format!("{} at {}", quoted(&change.summary), clock(change.at_ms));
    let suffers = case.symptoms.get(name).is_some_and(Symptoms::any);
    let why = if change.at_ms > onset.saturating_add(super::changes::EARLY_MS) {
        format!("the trouble began before it, at {}", clock(onset))
    } else if !suffers {
        format!("{name} itself shows nothing unusual")
    } else if case.blame.of(&place) < 0.1 {
        format!("what {name} suffers comes from what it calls")
    } else if accused.is_some_and(|accused| *accused != place) {
        format!("only {} of the trouble is traced to {name}", percent(case.blame.of(&place)))
    } else {
        return None;
    };
    let topics = [Topic::Changes, Topic::Metrics(name.clone())];
    Some(claim(&case.picture.citations, format!("not {what}: {why}"), &topics))
}

/// Tempting things that were looked at and found innocent.
pub(super) fn ruled_out(case: &Case<'_>, accused: Option<&Place>, by: Option<&Change>) -> Vec<Claim> {
    let mut found = Vec::new();
    if let Some(name) = case.picture.alerted()
        && accused.is_some_and(|accused| *accused != Place::Ours(name.clone()))
        && let Some(symptoms) = case.symptoms.get(name).filter(|symptoms| symptoms.any())
    {
        let split = shares(&case.signals, symptoms, name);
        if let Some((peer, part)) = split.peers.iter().max_by(|a, b| a.1.total_cmp(b.1)) {
            let text = format!(
                "not {name} itself, which the alert names: {} of its trouble comes with its calls to {}",
                percent(*part),
                quoted(peer)
            );
            found.push(claim(&case.picture.citations, text, &[Topic::Metrics(name.clone())]));
        }
    }
    for changed in case.changes.iter().rev().filter(|changed| by != Some(changed.change)) {
        if let Some(name) = &changed.change.workload {
            found.extend(innocent_change(case, name, changed.change, accused));
        }
    }
    found.truncate(RULED_OUT_MAX);
    found
}

fn breaks_objective(case: &Case<'_>, name: &Workload, found: &Symptoms) -> bool {
    let spec = case.picture.workload(name).map(|status| &status.spec);
    let objective = spec.and_then(|spec| spec.objective.as_ref());
    let bound = objective.and_then(|objective| objective.error_ratio_max).unwrap_or(ERRORS_INCIDENT);
    if found.errors.is_some_and(|shift| shift.now > bound) {
        return true;
    }
    let Some(most) = objective.and_then(|objective| objective.latency_p95_ms_max) else { return false };
    let window = opsward_domain::time::Window::before(case.picture.now_ms, RECENT_MS);
    let p95 = case.vital(name).and_then(|vital| vital.p95_ms(window));
    found.latency.is_some() && p95.is_some_and(|(ms, _)| ms > most)
}

/// How bad it is.
pub(super) fn verdict(case: &Case<'_>) -> Verdict {
    let suffering: Vec<(&Workload, &Symptoms)> = case.symptoms.iter().filter(|(_, found)| found.any()).collect();
    if suffering.is_empty() {
        let blind = case.picture.workloads.is_empty() || case.signals.of.is_empty();
        let asked = case.picture.alert.is_some();
        return if blind || asked && !case.picture.blind_spots.is_empty() {
            Verdict::Unknown
        } else {
            Verdict::Healthy
        };
    }
    let down = |found: &Symptoms| found.states.keys().any(|state| !matches!(state, State::Room | State::Short));
    let alerted = case.picture.alert.is_some();
    let broken = suffering.iter().any(|(name, found)| down(found) || breaks_objective(case, name, found));
    if broken || alerted { Verdict::Incident } else { Verdict::Degraded }
}
