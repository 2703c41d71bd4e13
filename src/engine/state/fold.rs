//! The fold itself: one event at a time, no clock, no I/O, total over every body.

use opsward_domain::approval::ApprovalStatus;
use opsward_domain::canonical::digest;
use opsward_domain::context::Origin;
use opsward_domain::event::{Body, CheckVerdict, Event, PlanEnd, StreamKind, TurnEnd};
use opsward_domain::incident::IncidentStatus;
use opsward_domain::label::{Integrity, Label, Source};

use super::{ApprovalState, Exchange, PlanState, RunState, StepState, TurnState};

impl RunState {
    /// Applies one event. An erased body changes nothing but the position.
    pub fn apply(&mut self, event: &Event) {
        if self.stream_seq == 0 {
            self.opened_at_ms = event.at_ms;
            self.origin = event.origin;
        }
        self.stream_seq = event.stream_seq;
        self.seq = event.seq;
        self.last_at_ms = event.at_ms;
        let Some(body) = &event.body else { return };
        self.apply_request(event, body);
        self.apply_turn(event, body);
        self.apply_tools(body);
        self.apply_plan(event, body);
        self.apply_steps(event, body);
        self.apply_end(body);
    }

    fn apply_request(&mut self, event: &Event, body: &Body) {
        if let Body::MessageReceived { origin, .. }
        | Body::ActionRequested { origin, .. }
        | Body::ToolRequested { origin, .. } = body
            && *origin == Origin::Agent
        {
            // What an assistant asks for may follow from anything it has read.
            self.label.join(&Label::from(Integrity::Untrusted, Source::Model));
        }
        match body {
            Body::MessageReceived { workspace, origin, text } => {
                self.workspace = Some(workspace.clone());
                self.asker = Some(event.by.clone());
                self.origin = *origin;
                self.cancelled = false;
                self.said += 1;
                self.exchanges.push(Exchange::Said { by: event.by.clone(), text: text.clone() });
            }
            Body::ActionRequested { workspace, origin, action, reason } => {
                self.workspace = Some(workspace.clone());
                self.asker = Some(event.by.clone());
                self.origin = *origin;
                self.request = Some((action.as_ref().clone(), reason.clone()));
            }
            Body::ToolRequested { workspace, origin, call } => {
                self.workspace = Some(workspace.clone());
                self.asker = Some(event.by.clone());
                self.origin = *origin;
                self.open_calls.push(call.clone());
            }
            Body::IncidentOpened { alert, .. } => {
                self.workspace = Some(alert.workspace.clone());
                self.asker = Some(event.by.clone());
                self.incident = Some(IncidentStatus::Open);
                self.label.join(&alert.text.label);
                self.alerts.push(alert.as_ref().clone());
            }
            Body::AlertLinked { alert } => {
                self.label.join(&alert.text.label);
                self.alerts.push(alert.as_ref().clone());
            }
            Body::AlertCleared { fingerprint } => self.cleared.push(fingerprint.clone()),
            // With no turn there is nothing to cancel.
            Body::CancelRequested { .. } => self.cancelled = self.open_turn().is_some() || self.unanswered(),
            _ => {}
        }
    }

    fn apply_turn(&mut self, event: &Event, body: &Body) {
        match body {
            Body::TurnStarted { turn } => {
                self.turn = Some(TurnState {
                    id: turn.clone(),
                    started_at_ms: event.at_ms,
                    model_calls: 0,
                    tool_calls: 0,
                    tokens: 0,
                    model_failures: 0,
                    said: self.said,
                    plans: self.plans.len(),
                    evidence: self.evidence.len(),
                    answered: false,
                    end: None,
                });
                self.outcome_owed &= self.open_plan().is_some();
                self.ledger.clear();
                self.diagnosis_stale = true;
                self.investigations = 0;
                if let Some(status) = &mut self.incident
                    && !status.ended()
                {
                    *status = IncidentStatus::Investigating;
                }
            }
            Body::EvidenceGathered { evidence, .. } => {
                self.label.join(&evidence.excerpt.label);
                self.evidence.push(evidence.as_ref().clone());
            }
            Body::EvidenceMissing { what, why } => self.missing.push((what.clone(), why.clone())),
            Body::Diagnosed { diagnosis, .. } => {
                self.diagnosis = Some(diagnosis.as_ref().clone());
                self.diagnosis_stale = false;
                self.diagnosed_at_ms = event.at_ms;
                self.investigations += 1;
            }
            Body::AnswerGiven { text, .. } => {
                self.exchanges.push(Exchange::Answered { text: text.clone() });
                if let Some(turn) = &mut self.turn {
                    turn.answered = true;
                }
            }
            Body::TurnEnded { end, .. } => {
                if let Some(turn) = &mut self.turn {
                    turn.end = Some(*end);
                }
                self.outcome_owed |= *end == TurnEnd::Waiting;
                self.cancelled = false;
                self.open_calls.clear();
            }
            Body::FaultRaised { fault } => self.fault = Some(fault.clone()),
            _ => {}
        }
    }

    fn apply_tools(&mut self, body: &Body) {
        match body {
            Body::ModelReplied { text, calls, usage, .. } => {
                self.label.join(&Label::from(Integrity::Operator, Source::Model));
                self.exchanges.push(Exchange::Replied { text: text.clone(), calls: calls.clone() });
                self.open_calls.extend(calls.iter().cloned());
                self.calls += calls.len();
                if let Some(turn) = &mut self.turn {
                    turn.model_calls += 1;
                    turn.model_failures = 0;
                    turn.tokens += usage.prompt_tokens + usage.completion_tokens;
                }
            }
            Body::ModelFailed { fault, .. } => {
                self.fault = Some(fault.clone());
                if let Some(turn) = &mut self.turn {
                    turn.model_failures += 1;
                }
            }
            Body::ToolCalled { call, tool_digest } => {
                if let Some(turn) = &mut self.turn {
                    turn.tool_calls += 1;
                }
                self.ledger.insert(digest("call", &(&call.tool, &call.input, tool_digest)), call.id.clone());
            }
            // What was looked at counts even if the tool failed afterwards.
            Body::Looked { label, .. } => self.label.join(label),
            Body::ToolReturned { call, output, digest, evidence, .. } => {
                self.label.join(&output.label);
                self.open_calls.retain(|open| open.id != *call);
                self.exchanges.push(Exchange::Returned {
                    call: call.clone(),
                    output: output.clone(),
                    digest: digest.clone(),
                    evidence: evidence.clone(),
                });
            }
            Body::ToolFailed { call, fault } => {
                self.open_calls.retain(|open| open.id != *call);
                if self.stream.kind == StreamKind::Command {
                    self.fault = Some(fault.clone());
                }
                let text = serde_json::to_string(fault).unwrap_or_else(|_| fault.to_string());
                let label = Label::from(Integrity::Untrusted, Source::Model);
                self.exchanges.push(Exchange::Returned {
                    call: call.clone(),
                    output: opsward_domain::label::Labelled::new(text, label),
                    digest: None,
                    evidence: None,
                });
            }
            _ => {}
        }
    }

    fn apply_plan(&mut self, event: &Event, body: &Body) {
        match body {
            Body::PlanProposed { plan, digest, influence } => {
                let state = PlanState::proposed(plan.as_ref().clone(), digest.clone(), influence.clone(), event.at_ms);
                self.plans.push(state);
            }
            Body::PlanDecided { plan, decision, steps, policy_set } => {
                if let Some(state) = self.plan_mut(plan) {
                    state.decision = Some(decision.clone());
                    state.decisions.clone_from(steps);
                    state.policy_set.clone_from(policy_set);
                }
            }
            Body::ApprovalRequested { request } => {
                if let Some(state) = self.plan_mut(&request.plan) {
                    let status = ApprovalStatus::Open { given_by: std::collections::BTreeSet::new() };
                    state.approval = Some(ApprovalState { request: request.as_ref().clone(), status, used: false });
                }
                self.move_incident(IncidentStatus::AwaitingApproval);
            }
            Body::ApprovalGiven { approval, .. }
            | Body::ApprovalRefused { approval, .. }
            | Body::ApprovalVoided { approval, .. }
            | Body::ApprovalUsed { approval } => {
                let holder = self
                    .plans
                    .iter_mut()
                    .find(|plan| plan.approval.as_ref().is_some_and(|state| state.request.id == *approval));
                if let Some(plan) = holder {
                    plan.fold_approval(body);
                }
            }
            Body::GoalChecked { plan, verdict, claims } => {
                if let Some(state) = self.plan_mut(plan) {
                    state.goal = Some((*verdict, claims.clone()));
                }
            }
            Body::PlanWithheld { plan, .. } => {
                if let Some(state) = self.plan_mut(plan) {
                    state.withheld = true;
                }
            }
            Body::PlanEnded { plan, end, reason } => self.apply_plan_end(plan, *end, reason),
            _ => {}
        }
    }

    fn apply_plan_end(&mut self, plan: &opsward_domain::name::Id, end: PlanEnd, reason: &str) {
        let Some(state) = self.plan_mut(plan) else { return };
        state.end = Some((end, reason.to_owned()));
        let verdict = match (end, &state.goal) {
            (_, Some((verdict, _))) => *verdict,
            (PlanEnd::Succeeded, None) => CheckVerdict::Better,
            _ => CheckVerdict::Same,
        };
        let actions: Vec<_> = state.plan.steps.iter().map(|step| step.action.clone()).collect();
        self.exchanges.push(Exchange::Noted { text: format!("plan {plan} ended ({end:?}): {reason}").to_lowercase() });
        self.tried.extend(actions.into_iter().map(|action| (action, verdict)));
        self.ledger.clear();
        self.diagnosis_stale = true;
        self.investigations = 0;
        self.move_incident(IncidentStatus::Investigating);
    }

    fn apply_steps(&mut self, event: &Event, body: &Body) {
        let (plan, step, next) = match body {
            Body::StepStarted { plan, step, key } => {
                self.move_incident(IncidentStatus::Acting);
                (plan, *step, StepState::Started { key: key.clone(), at_ms: event.at_ms })
            }
            Body::StepSucceeded { plan, step, outcome, .. } => {
                (plan, *step, StepState::Succeeded { outcome: outcome.clone() })
            }
            Body::StepFailed { plan, step, fault, applied, .. } => {
                (plan, *step, StepState::Failed { fault: fault.clone(), applied: *applied })
            }
            Body::UndoStarted { plan, step, key } => (plan, *step, StepState::Undoing { key: key.clone() }),
            Body::UndoSucceeded { plan, step, .. } => (plan, *step, StepState::Undone),
            Body::UndoFailed { plan, step, fault, .. } => (plan, *step, StepState::Stuck { fault: fault.clone() }),
            _ => return,
        };
        let at_ms = event.at_ms;
        if let Some(state) = self.plan_mut(plan) {
            if matches!(next, StepState::Succeeded { .. }) {
                state.acted_at_ms = Some(at_ms);
            }
            if let StepState::Failed { fault, .. } = &next {
                state.failure.get_or_insert_with(|| fault.to_string());
            }
            if let Some(slot) = state.step(step) {
                *slot = next;
            }
        }
    }

    fn apply_end(&mut self, body: &Body) {
        match body {
            Body::IncidentResolved { reason, .. } => {
                self.incident = Some(IncidentStatus::Resolved);
                self.ended = Some(reason.clone());
            }
            Body::IncidentEscalated { reason } => {
                self.incident = Some(IncidentStatus::Escalated);
                self.ended = Some(reason.clone());
            }
            _ => {}
        }
    }

    fn move_incident(&mut self, to: IncidentStatus) {
        if let Some(status) = &mut self.incident
            && !status.ended()
        {
            *status = to;
        }
    }

    fn plan_mut(&mut self, id: &opsward_domain::name::Id) -> Option<&mut PlanState> {
        self.plans.iter_mut().find(|plan| plan.plan.id == *id)
    }
}
