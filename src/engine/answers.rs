//! Answers made by code: what was found, done and seen, in plain sentences with citations. Also the
//! answers of a turn that has no model. Quotes are marked as quotes.

mod plain;

use opsward_domain::cause::{CauseKind, Claim, Diagnosis, Verdict};
use opsward_domain::event::{PlanEnd, StreamKind};
use opsward_domain::label::{Integrity, Label, Labelled};
use opsward_domain::name::Id;

use crate::state::{Exchange, PlanState, RunState};

/// The report of a run that came to its end, or a model's final words.
pub fn report(state: &RunState) -> (Vec<Claim>, Labelled) {
    if state.incident.is_none()
        && let Some(Exchange::Replied { text, .. }) = state.exchanges.last()
    {
        return (cited(&text.text, state), text.clone());
    }
    if let Some(Exchange::Returned { output, .. }) = state.exchanges.last()
        && state.stream.kind == StreamKind::Command
    {
        return (vec![Claim { text: output.text.clone(), evidence: Vec::new() }], output.clone());
    }
    let mut claims = Vec::new();
    if let Some(diagnosis) = &state.diagnosis {
        claims.extend(found(diagnosis));
    }
    for plan in &state.plans {
        claims.extend(did(plan));
    }
    if let Some(ended) = &state.ended {
        claims.push(Claim { text: sentence(&format!("outcome: {ended}")), evidence: Vec::new() });
    }
    claims.extend(
        state
            .missing
            .iter()
            .map(|(what, why)| Claim { text: format!("Not looked at: {what} ({why})."), evidence: Vec::new() }),
    );
    let text = render(&claims);
    (claims, Labelled::new(text, Label { integrity: Integrity::Untrusted, ..state.label.clone() }))
}

/// Claims as text: one a line, evidence in brackets.
pub fn render(claims: &[Claim]) -> String {
    let line = |claim: &Claim| {
        let ids: Vec<&str> = claim.evidence.iter().map(Id::as_str).collect();
        if ids.is_empty() { claim.text.clone() } else { format!("{} [{}]", claim.text, ids.join(", ")) }
    };
    claims.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What a diagnosis says, best explanation first.
pub fn found(diagnosis: &Diagnosis) -> Vec<Claim> {
    let mut claims = Vec::new();
    match diagnosis.verdict {
        Verdict::Healthy => {
            claims.push(opinion("Nothing is wrong now: every signal looked at is within its normal range."))
        }
        Verdict::Unknown => claims.push(opinion("It could not be told what is wrong.")),
        Verdict::Degraded | Verdict::Incident => {}
    }
    if let Some(best) = diagnosis.hypotheses.first() {
        let place = best.workload.as_ref().map_or("something outside the platform".to_owned(), ToString::to_string);
        let cited: std::collections::BTreeSet<Id> =
            best.because.iter().flat_map(|claim| claim.evidence.clone()).collect();
        let evidence = cited.into_iter().collect();
        claims.push(Claim {
            text: format!(
                "Most likely cause: {} in {place} ({:.0} % confidence).",
                kind_words(best.kind),
                best.confidence * 100.0
            ),
            evidence,
        });
        claims.extend(best.because.iter().cloned());
        claims.extend(
            best.despite.iter().map(|claim| Claim { text: format!("Against it: {}", claim.text), ..claim.clone() }),
        );
    }
    claims.extend(
        diagnosis.ruled_out.iter().map(|claim| Claim { text: format!("Ruled out: {}", claim.text), ..claim.clone() }),
    );
    claims
}

fn did(plan: &PlanState) -> Vec<Claim> {
    let what = crate::driver::headline(&plan.plan);
    let mut claims = Vec::new();
    let end = match plan.end.as_ref() {
        Some((PlanEnd::Succeeded, why)) => format!("Did: {what}. It worked: {why}."),
        Some((PlanEnd::Unverified, why)) => format!("Did: {what}. Whether it helped is not proven: {why}."),
        Some((PlanEnd::Undone, why)) => format!("Tried: {what}. Taken back: {why}."),
        Some((PlanEnd::NeedsHuman, why)) => format!("Tried: {what}. A person must look: {why}."),
        Some((PlanEnd::Refused, why)) => format!("Not done: {what}. {}", sentence(why)),
        None => format!("Proposed: {what}."),
    };
    let approvers: Vec<String> = plan.given_by().iter().map(ToString::to_string).collect();
    let yes = if approvers.is_empty() { String::new() } else { format!(" Approved by {}.", approvers.join(", ")) };
    claims.push(Claim { text: format!("{end}{yes}"), evidence: Vec::new() });
    if let Some((_, seen)) = &plan.goal {
        claims.extend(seen.iter().cloned());
    }
    claims
}

fn opinion(text: &str) -> Claim {
    Claim { text: text.to_owned(), evidence: Vec::new() }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

/// A cause's kind in words.
pub fn kind_words(kind: CauseKind) -> &'static str {
    match kind {
        CauseKind::BadRelease => "a bad release",
        CauseKind::BadConfiguration => "a wrong configuration value",
        CauseKind::MemoryLeak => "memory that grows until the limit",
        CauseKind::CrashLoop => "replicas that end right after they start",
        CauseKind::DependencyDown => "a dependency that does not answer",
        CauseKind::DependencySlow => "a dependency that answers late",
        CauseKind::VolumeFull => "a volume without room",
        CauseKind::Overload => "too few replicas for the traffic",
        CauseKind::ResourceExhaustion => "a pool or handle that runs out",
        CauseKind::Hung => "a replica that is alive but does nothing",
        CauseKind::ExternalDependency => "a dependency outside the platform",
    }
}

/// Splits a model's words into sentences and keeps the citations that really exist; the rest is opinion.
fn cited(text: &str, state: &RunState) -> Vec<Claim> {
    const CLAIMS_MAX: usize = 100;
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .take(CLAIMS_MAX)
        .map(|line| {
            let named = brackets(line);
            let known = |id: &&Id| named.iter().any(|name| *name == id.as_str());
            let evidence = state.evidence.iter().map(|evidence| &evidence.id).filter(known).cloned().collect();
            Claim { text: line.trim().to_owned(), evidence }
        })
        .collect()
}

/// What stands in square brackets, separated by commas: `[e1, e3]` names two.
fn brackets(line: &str) -> Vec<&str> {
    let groups = line.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    groups.flat_map(|(inside, _)| inside.split(',')).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::brackets;

    #[test]
    fn citations_are_what_stands_in_brackets() {
        assert_eq!(brackets("Errors began at 12:03 [e1, e3] after the deploy [e12]."), ["e1", "e3", "e12"]);
        assert_eq!(brackets("e1, e2 and [e3"), Vec::<&str>::new());
    }
}
