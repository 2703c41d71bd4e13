//! The whole agent loop's logic: what comes next, as a pure function of the run's state.
//!
//! Never here: async, I/O, a clock of its own. The driver does what this says and appends what happened.

use opsward_domain::approval::ApprovalStatus;
use opsward_domain::cause::Verdict as Finding;
use opsward_domain::decision::{Approvers, Verdict};
use opsward_domain::event::{CheckVerdict, PlanEnd, StreamKind, ToolCall, TurnEnd};
use opsward_domain::name::Id;
use opsward_domain::time::AtMs;

use crate::parts::Limits;
use crate::state::{PlanState, RunState, StepState};

/// The next thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Open a turn.
    StartTurn,
    /// Gather evidence and diagnose.
    Investigate,
    /// Answer a message without a model.
    AnswerPlainly,
    /// Ask the model; `with_tools` is false for the last call of a spent budget.
    AskModel {
        /// Whether it may call tools.
        with_tools: bool,
    },
    /// Run a tool call.
    RunTool(ToolCall),
    /// Make a plan from the typed action asked for.
    PlanRequest,
    /// Make a plan from the diagnosis's best untried remedy.
    PlanRemedy,
    /// Ask the gate about a plan.
    Decide(Id),
    /// Ask people about a plan.
    RequestApproval(Id, Approvers),
    /// Record that an approval lapsed.
    VoidApproval(Id, String),
    /// Apply a step, or find out what became of it.
    Step(Id, u32),
    /// Take a step back, or find out what became of that.
    Undo(Id, u32),
    /// Measure the goal.
    CheckGoal(Id),
    /// Close a plan.
    EndPlan(Id, PlanEnd, String),
    /// Say what was found and done.
    Report,
    /// Close an incident as solved.
    Resolve(String),
    /// Hand an incident over to people.
    Escalate(String),
    /// Close the turn.
    EndTurn(TurnEnd),
    /// Wait for a person, at most until then.
    WaitUntil(AtMs),
    /// Nothing to do.
    Idle,
}

/// What the decision needs to know besides the state.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// True if a model is configured.
    pub model: bool,
    /// Now.
    pub now_ms: AtMs,
    /// Bounds.
    pub limits: Limits,
}

/// Says what comes next.
pub fn next(state: &RunState, setting: &Setting) -> Next {
    if let Some(plan) = state.open_plan() {
        return match next_of_plan(state, plan, setting) {
            Next::WaitUntil(at_ms) => next_while_waiting(state, setting).unwrap_or(Next::WaitUntil(at_ms)),
            other => other,
        };
    }
    match state.stream.kind {
        StreamKind::Command => next_of_command(state),
        StreamKind::Incident => next_of_incident(state, setting),
        StreamKind::Conversation => next_of_conversation(state, setting),
        StreamKind::People | StreamKind::Control | StreamKind::Schedule => Next::Idle,
    }
}

/// One typed action, or one tool run: the tool's turn ends once it returned and what it proposed has ended.
fn next_of_command(state: &RunState) -> Next {
    match (&state.turn, state.open_calls.first()) {
        (None, Some(_)) => return Next::StartTurn,
        (Some(turn), _) if turn.end.is_some() => return Next::Idle,
        (Some(_), _) if state.cancelled => return Next::EndTurn(TurnEnd::Cancelled),
        (Some(_), Some(call)) => return Next::RunTool(call.clone()),
        (Some(_), None) if state.fault.is_some() => return Next::EndTurn(TurnEnd::Failed),
        (Some(turn), None) if !turn.answered => return Next::Report,
        (Some(_), None) => return Next::EndTurn(TurnEnd::Answered),
        (None, None) => {}
    }
    if state.request.is_some() && state.plans.is_empty() && state.fault.is_none() {
        return Next::PlanRequest;
    }
    Next::Idle
}

fn next_of_incident(state: &RunState, setting: &Setting) -> Next {
    if state.incident.is_none_or(opsward_domain::incident::IncidentStatus::ended) {
        return match state.open_turn() {
            Some(turn) if !turn.answered => Next::Report,
            Some(_) => Next::EndTurn(TurnEnd::Answered),
            None => Next::Idle,
        };
    }
    if state.open_turn().is_none() {
        return if state.turn.is_none() { Next::StartTurn } else { Next::Idle };
    }
    if state.cancelled {
        return Next::Escalate("a person cancelled the investigation".into());
    }
    if let Some((end, reason)) = state.plans.last().and_then(|plan| plan.end.as_ref()) {
        match end {
            PlanEnd::Succeeded => return Next::Resolve(reason.clone()),
            PlanEnd::NeedsHuman => return Next::Escalate(reason.clone()),
            PlanEnd::Refused => return Next::Escalate(format!("the proposed plan was not carried out: {reason}")),
            PlanEnd::Unverified => {
                return Next::Escalate(format!("the plan ran, but nobody can tell whether it helped: {reason}"));
            }
            PlanEnd::Undone => {}
        }
    }
    if state.diagnosis_stale {
        return Next::Investigate;
    }
    let Some(diagnosis) = &state.diagnosis else { return Next::Investigate };
    if matches!(diagnosis.verdict, Finding::Healthy) {
        // A new level needs some seconds to show; one calm look right after an alert proves nothing.
        if state.investigations < INVESTIGATIONS_MAX {
            return look_again(state, setting);
        }
        return Next::Resolve("nothing is wrong any more: several looks in a row found every signal normal".into());
    }
    if state.plans.len() >= setting.limits.plans_per_run {
        return Next::Escalate("several plans did not help; a person should look".into());
    }
    if remedy(state).is_some() {
        return Next::PlanRemedy;
    }
    let outside = diagnosis.hypotheses.first().is_some_and(|best| {
        best.kind == opsward_domain::cause::CauseKind::ExternalDependency && best.confidence >= CONFIDENCE_EARLY
    });
    if !outside && state.investigations < INVESTIGATIONS_MAX {
        // Signals of a young incident sharpen within seconds; look again before giving it to people.
        return look_again(state, setting);
    }
    Next::Escalate(why_no_remedy(state))
}

fn look_again(state: &RunState, setting: &Setting) -> Next {
    let again_at_ms = state.diagnosed_at_ms.saturating_add(INVESTIGATE_AGAIN_MS);
    if setting.now_ms >= again_at_ms { Next::Investigate } else { Next::WaitUntil(again_at_ms) }
}

/// Looks at an incident without a believed cause before it is handed over.
pub const INVESTIGATIONS_MAX: usize = 5;
/// Pause between such looks.
pub const INVESTIGATE_AGAIN_MS: i64 = 4_000;

fn why_no_remedy(state: &RunState) -> String {
    let best = state.diagnosis.as_ref().and_then(|diagnosis| diagnosis.hypotheses.first());
    match best {
        Some(best) if best.kind == opsward_domain::cause::CauseKind::ExternalDependency => {
            "the cause is outside the platform: no action of ours helps".into()
        }
        Some(_) => "no action of ours fits what was found".into(),
        None => "no cause stood out".into(),
    }
}

/// Least confidence at which a remedy is proposed at all.
pub const CONFIDENCE_MIN: f64 = 0.35;
/// The same for the first looks: signals of a young incident mislead, and sharpen within seconds.
pub const CONFIDENCE_EARLY: f64 = 0.65;
/// How many looks count as the first ones.
const EARLY_LOOKS: usize = 2;

/// The best remedy that was not tried: the first of the first hypothesis that is believed and has one.
pub fn remedy(state: &RunState) -> Option<(&opsward_domain::cause::Hypothesis, &opsward_domain::action::Action)> {
    let diagnosis = state.diagnosis.as_ref()?;
    let least = if state.investigations <= EARLY_LOOKS { CONFIDENCE_EARLY } else { CONFIDENCE_MIN };
    let best = diagnosis.hypotheses.first().filter(|best| best.confidence >= least)?;
    let untried = |action: &&opsward_domain::action::Action| state.tried.iter().all(|(tried, _)| tried != *action);
    best.remedies.iter().find(untried).map(|action| (best, action))
}

/// While a plan waits for people, its conversation goes on in turns of their own. The plan stays as it is.
fn next_while_waiting(state: &RunState, setting: &Setting) -> Option<Next> {
    if state.stream.kind != StreamKind::Conversation {
        return None;
    }
    match state.open_turn() {
        None => state.unanswered().then_some(Next::StartTurn),
        Some(turn) if turn.plans < state.plans.len() => state.unanswered().then_some(Next::EndTurn(TurnEnd::Waiting)),
        Some(_) => Some(next_of_conversation(state, setting)),
    }
}

fn next_of_conversation(state: &RunState, setting: &Setting) -> Next {
    use crate::state::Exchange;
    let Some(turn) = state.open_turn() else {
        return if state.unanswered() || state.outcome_owed { Next::StartTurn } else { Next::Idle };
    };
    if state.cancelled {
        return Next::EndTurn(TurnEnd::Cancelled);
    }
    if turn.answered {
        return Next::EndTurn(TurnEnd::Answered);
    }
    let limits = setting.limits;
    if let Some(call) = state.open_calls.first() {
        return Next::RunTool(call.clone());
    }
    let gave_up = turn.model_failures >= 2;
    if !setting.model || gave_up {
        let ended = matches!(state.exchanges.last(), Some(Exchange::Noted { .. }));
        if state.plans.len() > turn.plans || ended {
            return Next::Report;
        }
        return Next::AnswerPlainly;
    }
    if let Some(Exchange::Replied { text, calls }) = state.exchanges.last()
        && calls.is_empty()
        && !text.text.is_empty()
    {
        return Next::Report;
    }
    let spent = turn.model_calls + 1 >= limits.model_calls_per_turn
        || turn.tool_calls >= limits.tool_calls_per_turn
        || turn.tokens >= limits.tokens_per_turn
        || setting.now_ms - turn.started_at_ms > i64::try_from(limits.turn_ms).unwrap_or(i64::MAX);
    if turn.model_calls >= limits.model_calls_per_turn {
        return Next::EndTurn(TurnEnd::BudgetSpent);
    }
    Next::AskModel { with_tools: !spent }
}

fn next_of_plan(state: &RunState, plan: &PlanState, setting: &Setting) -> Next {
    let id = plan.plan.id.clone();
    let Some(decision) = &plan.decision else { return Next::Decide(id) };
    if plan.withheld {
        return Next::EndPlan(id, PlanEnd::Refused, "observe-only: nothing is changed".into());
    }
    if !plan.touched() && plan.steps.iter().all(|step| matches!(step, StepState::Waiting)) {
        // A cancelled turn takes its own plan with it, never one that waits from an earlier turn.
        if state.cancelled && state.open_turn().is_some_and(|turn| turn.plans < state.plans.len()) {
            return Next::EndPlan(id, PlanEnd::Refused, "cancelled before it began".into());
        }
        match &decision.verdict {
            Verdict::Deny => return Next::EndPlan(id, PlanEnd::Refused, decision.reason.clone()),
            Verdict::Ask { approvers } => {
                if let Some(wait) = next_of_approval(plan, *approvers, setting) {
                    return wait;
                }
            }
            Verdict::Allow => {}
        }
    }
    next_of_steps(plan)
}

/// `None` once enough people said yes.
fn next_of_approval(plan: &PlanState, approvers: Approvers, setting: &Setting) -> Option<Next> {
    let id = plan.plan.id.clone();
    let Some(approval) = &plan.approval else { return Some(Next::RequestApproval(id, approvers)) };
    match &approval.status {
        ApprovalStatus::Granted { .. } => None,
        ApprovalStatus::Open { .. } if setting.now_ms >= approval.request.expires_at_ms => {
            Some(Next::VoidApproval(approval.request.id.clone(), "nobody answered in time".into()))
        }
        ApprovalStatus::Open { .. } => Some(Next::WaitUntil(approval.request.expires_at_ms)),
        ApprovalStatus::Refused { by, note } => {
            let note = if note.is_empty() { String::new() } else { format!(": {note}") };
            Some(Next::EndPlan(id, PlanEnd::Refused, format!("{by} refused it{note}")))
        }
        ApprovalStatus::Void { reason } => Some(Next::EndPlan(id, PlanEnd::Refused, reason.clone())),
    }
}

fn next_of_steps(plan: &PlanState) -> Next {
    let id = plan.plan.id.clone();
    let verdict = plan.goal.as_ref().map(|(verdict, _)| *verdict);
    let failed = plan.failure.clone();
    let undoing =
        plan.steps.iter().any(|s| matches!(s, StepState::Undoing { .. } | StepState::Undone | StepState::Stuck { .. }));
    let unhelpful = matches!(verdict, Some(CheckVerdict::Same | CheckVerdict::Worse));
    if failed.is_some() || unhelpful || undoing {
        return next_of_undo(plan, id, failed);
    }
    for (index, step) in plan.steps.iter().enumerate() {
        if matches!(step, StepState::Waiting | StepState::Started { .. }) {
            return Next::Step(id, u32::try_from(index).unwrap_or(u32::MAX));
        }
    }
    match (&plan.plan.goal, verdict) {
        (None, _) => Next::EndPlan(id, PlanEnd::Succeeded, "every step was applied and checked".into()),
        (Some(_), None) => Next::CheckGoal(id),
        (Some(_), Some(CheckVerdict::Better)) => {
            Next::EndPlan(id, PlanEnd::Succeeded, "the condition is gone and stayed away".into())
        }
        (Some(_), Some(_)) => Next::EndPlan(id, PlanEnd::Unverified, "there was not enough traffic to tell".into()),
    }
}

/// Takes back what succeeded, last step first; steps without an inverse stay and are named.
fn next_of_undo(plan: &PlanState, id: Id, failed: Option<String>) -> Next {
    for (index, step) in plan.steps.iter().enumerate().rev() {
        let has_inverse = plan.plan.steps.get(index).is_some_and(|step| step.undo.is_some());
        let pending = matches!(step, StepState::Undoing { .. } | StepState::Started { .. })
            || (matches!(step, StepState::Succeeded { .. } | StepState::Failed { applied: true, .. }) && has_inverse);
        if pending {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            return if matches!(step, StepState::Started { .. }) {
                Next::Step(id, index)
            } else {
                Next::Undo(id, index)
            };
        }
    }
    let stuck = plan.steps.iter().find_map(|step| match step {
        StepState::Stuck { fault } => Some(fault.to_string()),
        _ => None,
    });
    let why = failed.unwrap_or_else(|| "it did not help".into());
    match stuck {
        Some(stuck) => Next::EndPlan(id, PlanEnd::NeedsHuman, format!("{why}; and taking it back failed: {stuck}")),
        None => Next::EndPlan(id, PlanEnd::Undone, why),
    }
}

#[cfg(test)]
mod tests;
