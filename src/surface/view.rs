//! A run as JSON for pages and terminals. A fold's value, nothing added.

use std::collections::BTreeSet;

use opsward_domain::approval::ApprovalStatus;
use opsward_domain::event::{Body, Event, PlanEnd, StreamKind, TurnEnd};
use opsward_domain::name::Id;
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
            None if !state.over() => "running",
            None => match state.turn.as_ref().and_then(|turn| turn.end) {
                Some(TurnEnd::Answered) => "answered",
                Some(TurnEnd::Cancelled) => "cancelled",
                _ => "failed",
            },
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
        Some(Some(TurnEnd::Answered)) if !state.unanswered() => "answered",
        Some(Some(TurnEnd::Cancelled)) if !state.unanswered() => "cancelled",
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
    let outcomes: Vec<Value> = plan.steps.iter().map(outcome).collect();
    let approval = plan.approval.as_ref().map(|asked| {
        json!({
            "id": asked.request.id, "approvers": asked.request.approvers, "asker": asked.request.asker,
            "expires_at_ms": asked.request.expires_at_ms, "state": asked.status,
        })
    });
    json!({
        "id": plan.plan.id, "digest": plan.digest, "status": plan_status(plan), "card": card(plan),
        "plan": plan.plan, "decision": plan.decision, "steps": steps, "outcomes": outcomes, "approval": approval,
        "goal": plan.goal.as_ref().map(|(verdict, claims)| json!({"verdict": verdict, "claims": claims})),
        "ended": plan.end.as_ref().map(|(_, reason)| reason),
    })
}

/// What became of a step: its result, or why there is none. Null while it is not over.
fn outcome(step: &StepState) -> Value {
    match step {
        StepState::Succeeded { outcome } => json!({"summary": outcome.summary, "result": outcome.result}),
        StepState::Failed { fault, .. } | StepState::Stuck { fault } => json!({"fault": fault}),
        _ => Value::Null,
    }
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

/// Most claims shown with a diagnosis; the report has all.
const CLAIMS_MAX: usize = 6;

/// What one record is shown as. The words of people and answers stand for themselves, a plan is its card,
/// everything else is a line.
fn item(event: &Event) -> Value {
    let mut item = match event.body.as_ref() {
        Some(Body::MessageReceived { text, .. }) => json!({"show": "said", "text": text}),
        Some(Body::AnswerGiven { text, .. }) => json!({"show": "answer", "text": text.visible()}),
        Some(Body::ModelReplied { .. }) => json!({"show": "replied"}),
        Some(Body::PlanProposed { plan, .. }) => json!({"show": "plan", "plan": plan.id}),
        Some(Body::EvidenceGathered { evidence, .. }) => json!({
            "show": "evidence", "id": evidence.id, "title": evidence.title, "query": evidence.query,
            "text": evidence.excerpt.visible(),
        }),
        Some(
            Body::IncidentOpened { .. }
            | Body::AlertLinked { .. }
            | Body::IncidentResolved { .. }
            | Body::IncidentEscalated { .. }
            | Body::ActionRequested { .. }
            | Body::ToolRequested { .. },
        ) => json!({"show": "note"}),
        // Whoever is asked for a yes sees what speaks for the cause without opening anything.
        Some(Body::Diagnosed { diagnosis, .. }) => json!({
            "show": "note",
            "claims": diagnosis.hypotheses.first().map(|best| best.because.iter().map(|claim| &claim.text).take(CLAIMS_MAX).collect::<Vec<_>>()),
        }),
        Some(Body::TurnStarted { .. } | Body::TurnEnded { end: TurnEnd::Answered, .. }) => json!({"show": "quiet"}),
        _ => json!({"show": "step"}),
    };
    item["at"] = json!(event.stream_seq);
    item["at_ms"] = json!(event.at_ms);
    item["by"] = json!(event.by);
    if matches!(item["show"].as_str(), Some("step" | "note" | "replied")) {
        let erased = || "body erased on purpose".to_owned();
        item["what"] = json!(event.body.as_ref().map_or_else(erased, opsward_engine::projection::audit::words));
        item["tone"] = json!(tone(event.body.as_ref()));
    }
    item
}

fn tone(body: Option<&Body>) -> &'static str {
    match body {
        Some(
            Body::IncidentOpened { .. }
            | Body::AlertLinked { .. }
            | Body::IncidentEscalated { .. }
            | Body::StepFailed { .. }
            | Body::UndoFailed { .. }
            | Body::FaultRaised { .. }
            | Body::ToolFailed { .. }
            | Body::ModelFailed { .. },
        ) => "bad",
        Some(Body::IncidentResolved { .. } | Body::StepSucceeded { .. } | Body::UndoSucceeded { .. }) => "good",
        _ => "",
    }
}

/// The plans that these records are about.
fn touched(events: &[Event]) -> BTreeSet<Id> {
    let plan = |event: &Event| match event.body.as_ref()? {
        Body::PlanProposed { plan, .. } => Some(plan.id.clone()),
        Body::PlanDecided { plan, .. }
        | Body::StepStarted { plan, .. }
        | Body::StepSucceeded { plan, .. }
        | Body::StepFailed { plan, .. }
        | Body::UndoStarted { plan, .. }
        | Body::UndoSucceeded { plan, .. }
        | Body::UndoFailed { plan, .. }
        | Body::GoalChecked { plan, .. }
        | Body::PlanWithheld { plan, .. }
        | Body::PlanEnded { plan, .. } => Some(plan.clone()),
        Body::ApprovalRequested { request } => Some(request.plan.clone()),
        _ => None,
    };
    events.iter().filter_map(plan).collect()
}

/// Records `events` of a run, the first of them right after place `after`, as items, with the plans that they
/// are about as these stand now. A plan with an open or fresh approval is always among them.
pub fn items(state: &RunState, after: u64, events: &[Event]) -> Value {
    let touched = touched(events);
    let about = |plan: &&PlanState| touched.contains(&plan.plan.id) || state.open_plan() == Some(*plan);
    let last = events.last().map_or(after, |event| event.stream_seq);
    json!({
        "items": events.iter().map(item).collect::<Vec<_>>(),
        "plans": state.plans.iter().filter(about).map(plan).collect::<Vec<_>>(),
        "first": after == 0, "last": last, "more": last < state.stream_seq,
        "status": status(state), "fault": state.fault,
    })
}
