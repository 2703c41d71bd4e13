//! From signals to a ranked, evidenced cause and what would help, with no model and no guess of names.
//!
//! [`gather`] fetches a [`Picture`] through the ports; [`diagnose`] is pure and fast and may be run
//! again on the same picture; [`check`] tells whether a remedy helped; [`watch`] raises alerts.
//! Never acts, never trusts a text, never fetches inside the pure part.

mod candidates;
mod case;
mod changes;
mod check;
pub mod gather;
mod graph;
mod logs;
mod mechanisms;
mod picture;
mod remedies;
mod score;
mod shift;
mod signals;
mod story;
mod symptoms;
mod track;
mod traffic;
pub mod watch;
mod words;

#[cfg(test)]
mod tests;

use opsward_domain::cause::{Diagnosis, Hypothesis};
use opsward_domain::name::{Id, Workload};

use candidates::Candidate;
use case::Case;
pub use check::{After, check};
use graph::Place;
pub use picture::{Citations, Picture, SeriesByMetric, Topic};

/// Most explanations of one finding.
pub const HYPOTHESES_MAX: usize = 5;
/// Least probability of an explanation that is shown.
const CONFIDENCE_MIN: f64 = 0.02;

fn hypothesis(place: usize, candidate: Candidate, confidence: f64) -> Option<Hypothesis> {
    let workload = match candidate.place {
        Place::Ours(name) => Some(name),
        Place::Outside(_) => None,
    };
    Some(Hypothesis {
        id: Id::parse(&format!("h{}", place + 1)).ok()?,
        kind: candidate.kind,
        workload,
        change: candidate.change,
        confidence,
        because: candidate.because,
        despite: candidate.despite,
        remedies: candidate.remedies,
    })
}

/// The finding for one picture. Pure: the same picture gives the same finding.
pub fn diagnose(picture: &Picture) -> Diagnosis {
    let case = Case::new(picture);
    let candidates = candidates::all(&case);
    let odds: Vec<f64> = candidates.iter().map(|candidate| score::log_odds(&candidate.features)).collect();
    let mut ranked: Vec<(f64, Candidate)> = score::probabilities(&odds).into_iter().zip(candidates).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (a.1.kind, &a.1.place).cmp(&(b.1.kind, &b.1.place))));
    let best = ranked.first().map(|(_, candidate)| candidate);
    let accused = best.map(|candidate| candidate.place.clone());
    let change = best.and_then(|candidate| candidate.change.clone());
    let onset_ms = accused.as_ref().and_then(|place| case.onset_of(place)).into_iter().chain(case.onset()).min();
    let suffers = |name: &&Workload| case.symptoms.get(*name).is_some_and(symptoms::Symptoms::any);
    let shown = ranked.into_iter().enumerate().filter(|(at, (belief, _))| *at == 0 || *belief >= CONFIDENCE_MIN);
    Diagnosis {
        workspace: picture.workspace.clone(),
        verdict: story::verdict(&case),
        onset_ms,
        ruled_out: story::ruled_out(&case, accused.as_ref(), change.as_ref()),
        affected: case.symptoms.keys().filter(suffers).cloned().collect(),
        hypotheses: shown
            .take(HYPOTHESES_MAX)
            .filter_map(|(at, (belief, candidate))| hypothesis(at, candidate, belief))
            .collect(),
        blind_spots: picture.blind_spots.clone(),
    }
}
