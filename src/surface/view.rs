//! A run as JSON for pages and terminals. A fold's value, nothing added.

use opsward_domain::approval::ApprovalStatus;
use opsward_domain::event::{PlanEnd, StreamKind};
use opsward_engine::state::{Exchange, PlanState, RunState, StepState};
use serde_json::{Value, json};

use crate::card::card;

/// One word for where a run stands.
pub fn status(state: &RunState) -> &'static str {
    if let Some(plan) = state.open_plan() {
        let waits = plan.approval.as_ref().is_some_and(|a| matches!(a.status, ApprovalStatus::Open { .. }));
        // While it waits, what was said since is answered in a turn of its own.
        let talks = state.unanswered() || state.open_turn().is_some_and(|turn| turn.plans == state.plans.len());
        let talks = talks && state.stream.kind == StreamKind::Conversation;
        return if waits && !talks { "awaiting_approval" } else { "running" };
    }
    if state.stream.kind == StreamKind::Command {
        return match state.plans.last() {
            Some(plan) => plan_status(plan),
            None if state.fault.is_some() => "failed",
            None => "running",
        };
    }
    if let Some(incident) = state.incident
        && incident.ended()
        && state.open_turn().is_none()
    {
        return if incident == opsward_domain::incident::IncidentStatus::Resolved { "resolved" } else { "escalated" };
    }
    match state.turn.as_ref().map(|turn| turn.end) {
        _ if state.outcome_owed => "running",
        Some(Some(opsward_domain::event::TurnEnd::Answered)) if !state.unanswered() => "answered",
        Some(Some(opsward_domain::event::TurnEnd::Cancelled)) if !state.unanswered() => "cancelled",
        Some(Some(_)) if !state.unanswered() => "failed",
        _ => "running",
    }
}

fn plan_status(plan: &PlanState) -> &'static str {
    match plan.end.as_ref().map(|(end, _)| *end) {
        Some(PlanEnd::Succeeded) => "succeeded",
        Some(PlanEnd::Unverified) => "unverified",
        Some(PlanEnd::Undone) => "undone",
        Some(PlanEnd::NeedsHuman) => "needs_human",
        Some(PlanEnd::Refused) if plan.withheld => "withheld",
        Some(PlanEnd::Refused) => "denied",
        None => "running",
    }
}

/// True if nothing more will happen by itself soon.
pub fn settled(state: &RunState) -> bool {
    status(state) != "running"
}

/// A plan as JSON, its card included.
pub fn plan(plan: &PlanState) -> Value {
    let steps: Vec<&str> = plan.steps.iter().map(step_word).collect();
    let approval = plan.approval.as_ref().map(|asked| {
        json!({
            "id": asked.request.id, "approvers": asked.request.approvers, "asker": asked.request.asker,
            "expires_at_ms": asked.request.expires_at_ms, "state": asked.status,
        })
    });
    json!({
        "id": plan.plan.id, "digest": plan.digest, "status": plan_status(plan), "card": card(plan),
        "plan": plan.plan, "decision": plan.decision, "steps": steps, "approval": approval,
        "goal": plan.goal.as_ref().map(|(verdict, claims)| json!({"verdict": verdict, "claims": claims})),
        "ended": plan.end.as_ref().map(|(_, reason)| reason),
    })
}

fn step_word(step: &StepState) -> &'static str {
    match step {
        StepState::Waiting => "waiting",
        StepState::Started { .. } => "started",
        StepState::Succeeded { .. } => "succeeded",
        StepState::Failed { .. } => "failed",
        StepState::Undoing { .. } => "undoing",
        StepState::Undone => "undone",
        StepState::Stuck { .. } => "stuck",
    }
}

/// The transcript as people see it: what they said and what was answered.
fn messages(state: &RunState) -> Vec<Value> {
    let line = |exchange: &Exchange| match exchange {
        Exchange::Said { by, text } => Some(json!({"by": by, "text": text})),
        Exchange::Answered { text } => Some(json!({"by": null, "text": text.visible()})),
        _ => None,
    };
    state.exchanges.iter().filter_map(line).collect()
}

/// A run as JSON.
pub fn run(state: &RunState) -> Value {
    let answer = state.exchanges.iter().rev().find_map(|exchange| match exchange {
        Exchange::Answered { text } => Some(text.visible()),
        _ => None,
    });
    let open = state.open_plan().or(state.plans.last());
    json!({
        "stream": state.stream.to_string(),
        "run": state.stream.id,
        "kind": state.stream.kind,
        "status": status(state),
        "seq": state.seq,
        "workspace": state.workspace,
        "asker": state.asker,
        "incident": state.incident,
        "opened_at_ms": state.opened_at_ms,
        "last_at_ms": state.last_at_ms,
        "alerts": state.alerts,
        "evidence": state.evidence,
        "messages": messages(state),
        "missing": state.missing,
        "diagnosis": state.diagnosis,
        "plans": state.plans.iter().map(plan).collect::<Vec<_>>(),
        "plan": open.map(plan),
        "approval": open.and_then(|plan| plan.approval.as_ref()).filter(|a| matches!(a.status, ApprovalStatus::Open { .. })).map(|a| json!({"id": a.request.id, "not_asker": a.request.approvers.not_asker})),
        "answer": answer,
        "detail": state.ended.clone().or_else(|| open.and_then(|plan| plan.end.as_ref()).map(|(_, reason)| reason.clone())),
        "fault": state.fault,
    })
}
