//! Scores a run against the truth and the client's view. Pure. Must never give the benefit of a
//! doubt: what was not observed did not happen.

use super::lines::{Expect, Second, Truth, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Requests on each side without which a view is not compared.
pub const COMPARE_LEAST: u64 = 100;
/// Rise of the share of bad requests that counts as worse.
pub const WORSE_BY: f64 = 0.05;
/// Share of bad requests in a second that counts as a symptom.
pub const SYMPTOM: f64 = 0.08;
/// Least requests after the repair on which health is believed.
pub const JUDGED_LEAST: u64 = 500;

/// Whether `action` fits `pattern`: every key of the pattern is there and fits. `{"$any":true}`
/// fits anything, `{"$min":n}` a number from `n` on, `{"$has":s}` a list or object that holds `s`.
#[must_use]
pub fn matches(pattern: &Value, action: &Value) -> bool {
    let Value::Object(wanted) = pattern else {
        return pattern == action;
    };
    if wanted.contains_key("$any") {
        return !action.is_null();
    }
    if let Some(least) = wanted.get("$min").and_then(Value::as_f64) {
        return action.as_f64().is_some_and(|number| number >= least);
    }
    if let Some(item) = wanted.get("$has") {
        return match action {
            Value::Array(list) => list.contains(item),
            Value::Object(map) => item.as_str().is_some_and(|key| map.contains_key(key)),
            _ => false,
        };
    }
    wanted.iter().all(|(key, part)| action.get(key).is_some_and(|value| matches(part, value)))
}

/// Whether the action repairs what is true.
#[must_use]
pub fn right(truth: &Truth, action: &Value) -> bool {
    truth.right_actions.iter().any(|pattern| matches(pattern, action))
}

/// A plan's action that was executed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Executed {
    /// The action.
    pub action: Value,
    /// When it began, in milliseconds since the epoch.
    pub began_ms: u64,
    /// When its checks were over, in milliseconds since the epoch.
    pub ended_ms: u64,
    /// Whether it was undone because it did not help.
    pub undone: bool,
}

/// What is known of a run from outside.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The client's seconds, oldest first.
    pub seconds: Vec<Second>,
    /// The workload that was named as the cause in the end, if any.
    pub named_cause: Option<String>,
    /// Actions proposed first in the first plan, whether or not they were executed.
    pub first_proposed: Vec<Value>,
    /// Executed actions, oldest first.
    pub executed: Vec<Executed>,
    /// Incidents that were opened.
    pub incidents: u64,
    /// Whether it was handed to people with no action of ours.
    pub escalated: bool,
    /// When the repair counted as verified, in milliseconds since the epoch.
    pub verified_ms: Option<u64>,
    /// The judge's last answer.
    pub verdict: Option<Verdict>,
}

/// The marks of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The true cause was named (for an escalation: that nothing of ours is the cause).
    pub right_cause: bool,
    /// A right action was executed and kept, or the right inaction was chosen.
    pub right_action: bool,
    /// The first plan aimed at something that neither repairs nor is a fair first try.
    pub wrong_target: bool,
    /// The client says it is healthy, on enough requests from after the last action.
    pub healthy: bool,
    /// Executed actions after which the client's view was worse.
    pub worse: u64,
    /// From the first symptom to the verified repair, in milliseconds.
    pub onset_to_verified_ms: Option<u64>,
    /// Incidents that were opened.
    pub incidents: u64,
    /// All that was expected of the run.
    pub passed: bool,
}

/// The first of two bad seconds in a row since the cause.
#[must_use]
pub fn onset_ms(truth: &Truth, seconds: &[Second]) -> Option<u64> {
    let since: Vec<_> = seconds.iter().filter(|second| second.at_ms >= truth.cause_at_ms).collect();
    let bad = |second: &Second| second.quality.requests > 0 && second.quality.bad_ratio >= SYMPTOM;
    since.windows(2).find(|pair| pair.iter().all(|second| bad(second))).map(|pair| pair[0].at_ms)
}

/// Share of bad requests in a span of time; `None` on too few requests.
fn bad_share(seconds: &[Second], from_ms: u64, to_ms: u64) -> Option<f64> {
    let (mut all, mut bad) = (0, 0.0);
    for second in seconds.iter().filter(|second| second.at_ms > from_ms && second.at_ms <= to_ms) {
        all += second.quality.requests;
        bad += second.quality.bad_ratio * second.quality.requests as f64;
    }
    (all >= COMPARE_LEAST).then(|| bad / all as f64)
}

/// Whether the client's view in the ten seconds after an action was worse than in the ten before; `None` when
/// there is too little traffic to say. Of the ten seconds before, those from `onset_ms` on count when they hold
/// enough requests: an action that comes soon is compared with the trouble, not with the good time before it.
#[must_use]
pub fn worse(seconds: &[Second], done: &Executed, onset_ms: Option<u64>) -> Option<bool> {
    const SPAN_MS: u64 = 10_000;
    let from_ms = done.began_ms.saturating_sub(SPAN_MS);
    let troubled = onset_ms.filter(|onset| (from_ms..done.began_ms).contains(onset));
    let before = troubled
        .and_then(|onset| bad_share(seconds, onset, done.began_ms))
        .or_else(|| bad_share(seconds, from_ms, done.began_ms))?;
    let after = bad_share(seconds, done.ended_ms, done.ended_ms + SPAN_MS)?;
    Some(after > before + WORSE_BY)
}

fn wrong_target(truth: &Truth, run: &Run) -> bool {
    run.first_proposed.iter().any(|action| {
        let fair = |patterns: &[Value]| patterns.iter().any(|pattern| matches(pattern, action));
        let on_victim =
            !truth.victim.is_empty() && action.get("workload").and_then(Value::as_str) == Some(truth.victim.as_str());
        !on_victim && !fair(&truth.right_actions) && !fair(&truth.tolerated_actions)
    })
}

/// Scores a run.
#[must_use]
pub fn score(truth: &Truth, run: &Run) -> Score {
    let last_change = run.executed.iter().map(|done| done.ended_ms).max().unwrap_or(truth.cause_at_ms);
    let healthy = run.verdict.as_ref().is_some_and(|verdict| {
        verdict.healthy && verdict.quality.requests >= JUDGED_LEAST && verdict.at_ms > last_change
    });
    let kept = |done: &&Executed| !done.undone;
    let onset = onset_ms(truth, &run.seconds);
    let worse_count = run.executed.iter().filter(|done| worse(&run.seconds, done, onset) == Some(true)).count() as u64;
    let wrong = wrong_target(truth, run);
    let (right_cause, right_action) = match truth.expect {
        Expect::Repair => (
            run.named_cause.as_deref() == Some(truth.victim.as_str()),
            run.executed.iter().filter(kept).any(|done| right(truth, &done.action)),
        ),
        Expect::Escalate => {
            (run.named_cause.is_none() && run.escalated, run.escalated && !run.executed.iter().any(|done| kept(&done)))
        }
        Expect::Quiet => (run.incidents == 0, run.executed.is_empty()),
    };
    let passed = match truth.expect {
        Expect::Repair => right_action && healthy && worse_count == 0,
        Expect::Escalate => right_action && run.incidents > 0 && healthy && worse_count == 0,
        Expect::Quiet => right_cause && right_action,
    };
    let onset_to_verified_ms = match (onset, run.verified_ms) {
        (Some(onset), Some(verified)) if healthy => verified.checked_sub(onset),
        _ => None,
    };
    Score {
        right_cause,
        right_action,
        wrong_target: wrong,
        healthy,
        worse: worse_count,
        onset_to_verified_ms,
        incidents: run.incidents,
        passed,
    }
}

/// Marks of many runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Runs that did all that was expected.
    pub passed: u64,
    /// Runs with the right cause and the right action.
    pub right: u64,
    /// Runs whose first plan had a wrong target.
    pub wrong_target: u64,
    /// Actions that made the client's view worse.
    pub worse: u64,
    /// Incidents that were opened.
    pub incidents: u64,
    /// Runs that the simple rule would have repaired.
    pub rule_right: u64,
    /// Seconds of traffic that were watched.
    pub watched_s: u64,
    /// Times from symptom to verified repair, in milliseconds, ascending.
    pub times_ms: Vec<u64>,
}

impl Tally {
    /// Adds a run, whether the simple rule would have repaired it, and the seconds that it was watched.
    pub fn add(&mut self, score: &Score, rule_right: bool, watched_s: u64) {
        self.runs += 1;
        self.passed += u64::from(score.passed);
        self.right += u64::from(score.right_cause && score.right_action);
        self.wrong_target += u64::from(score.wrong_target);
        self.worse += score.worse;
        self.incidents += score.incidents;
        self.rule_right += u64::from(rule_right);
        self.watched_s += watched_s;
        if let Some(time) = score.onset_to_verified_ms {
            let at = self.times_ms.partition_point(|known| *known <= time);
            self.times_ms.insert(at, time);
        }
    }

    /// The time below which the given share of the repaired runs stayed (nearest rank).
    #[must_use]
    pub fn time_ms(&self, share: f64) -> Option<u64> {
        let rank = (self.times_ms.len() as f64 * share).ceil() as usize;
        self.times_ms.get(rank.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests;
