//! One thing at a time: maps what comes next to whoever does it, and returns what to append.

use opsward_domain::event::{Body, TurnEnd};
use opsward_domain::fault::Fault;

use crate::facade::Engine;
use crate::parts::system_context;
use crate::state::{PlanState, RunState};
use crate::turn::Next;

impl Engine {
    /// Does `what` and returns what happened. An error means: try again later.
    pub(crate) async fn perform(&self, state: &RunState, what: Next) -> Result<Vec<Body>, Fault> {
        let cx = match self.run_context(state) {
            Ok(cx) => cx,
            Err(fault) => return Ok(self.asker_is_gone(state, fault)),
        };
        match what {
            Next::Idle | Next::WaitUntil(_) => Ok(Vec::new()),
            Next::StartTurn => Ok(vec![Body::TurnStarted { turn: self.parts.entropy.id("turn") }]),
            Next::Investigate => self.investigate(&cx, state).await,
            Next::AnswerPlainly => self.answer_plainly(&cx, state).await,
            Next::AskModel { with_tools } => self.ask_model(&cx, state, with_tools).await,
            Next::RunTool(call) => self.run_tool(&cx, state, &call).await,
            Next::PlanRequest => self.plan_request(&cx, state).await,
            Next::PlanRemedy => self.plan_remedy(&cx, state).await,
            Next::Decide(id) => self.decide(&cx, plan(state, &id)?).await,
            Next::RequestApproval(id, approvers) => self.request_approval(state, plan(state, &id)?, approvers),
            Next::VoidApproval(approval, reason) => Ok(vec![Body::ApprovalVoided { approval, reason }]),
            Next::Step(id, index) => self.step(&cx, state, plan(state, &id)?, index).await,
            Next::Undo(id, index) => self.undo(&cx, state, plan(state, &id)?, index).await,
            Next::CheckGoal(id) => self.check_goal(&cx, state, plan(state, &id)?).await,
            Next::EndPlan(id, end, reason) => Ok(self.end_plan(&id, end, reason)),
            Next::Report => Ok(self.report(state)),
            Next::Resolve(reason) => Ok(vec![Body::IncidentResolved { by: None, reason }]),
            Next::Escalate(reason) => Ok(vec![Body::IncidentEscalated { reason }]),
            Next::EndTurn(end) => Ok(end_turn(state, end)),
        }
    }

    /// Nobody stands behind the run any more: it ends without touching anything further.
    fn asker_is_gone(&self, state: &RunState, fault: Fault) -> Vec<Body> {
        let mut bodies = vec![Body::FaultRaised { fault: fault.clone() }];
        if let Some(plan) = state.open_plan() {
            let end = if plan.touched() {
                opsward_domain::event::PlanEnd::NeedsHuman
            } else {
                opsward_domain::event::PlanEnd::Refused
            };
            bodies.push(Body::PlanEnded { plan: plan.plan.id.clone(), end, reason: fault.to_string() });
        }
        if state.incident.is_some_and(|status| !status.ended()) {
            bodies.push(Body::IncidentEscalated { reason: fault.to_string() });
        }
        bodies.extend(end_turn(state, TurnEnd::Failed));
        bodies
    }

    /// Gathers evidence and diagnoses.
    pub(crate) async fn investigate(
        &self,
        cx: &opsward_domain::context::CallContext,
        state: &RunState,
    ) -> Result<Vec<Body>, Fault> {
        let Some(workspace) = state.workspace.clone() else { return Err(Fault::internal("the run has no workspace")) };
        let started = self.parts.clock.now_ms();
        let system = system_context(cx.tenant())?.within(state.stream.id.clone());
        self.setup.may_observe(cx, Some(&workspace), "state").await?;
        let seen = self.senses.investigate(&system, &workspace, state).await;
        let mut bodies = Vec::new();
        for (evidence, took_ms) in seen.evidence {
            bodies.push(Body::EvidenceGathered { evidence: Box::new(evidence), took_ms });
        }
        bodies.extend(seen.missing.into_iter().map(|(what, why)| Body::EvidenceMissing { what, why }));
        let took_ms = u64::try_from(self.parts.clock.now_ms() - started).unwrap_or(0);
        bodies.push(Body::Diagnosed { diagnosis: Box::new(seen.diagnosis), took_ms });
        Ok(bodies)
    }

    /// Says what was found and done, with citations.
    fn report(&self, state: &RunState) -> Vec<Body> {
        let (claims, text) = crate::answers::report(state);
        vec![Body::AnswerGiven { claims, text }]
    }
}

fn plan<'a>(state: &'a RunState, id: &opsward_domain::name::Id) -> Result<&'a PlanState, Fault> {
    state.plan(id).ok_or_else(|| Fault::internal("the run has no such plan"))
}

fn end_turn(state: &RunState, end: TurnEnd) -> Vec<Body> {
    state.open_turn().map(|turn| Body::TurnEnded { turn: turn.id.clone(), end }).into_iter().collect()
}
