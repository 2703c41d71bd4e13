//! Plans from proposal to end: make, decide, ask people, step, take back, measure, close.

use std::sync::Arc;

use opsward_domain::action::Action;
use opsward_domain::approval::{APPROVAL_OPEN_MS, ApprovalRequest, binding};
use opsward_domain::context::CallContext;
use opsward_domain::decision::Approvers;
use opsward_domain::event::{Body, CheckVerdict, PlanEnd};
use opsward_domain::fault::Fault;
use opsward_domain::name::{Id, Workspace};
use opsward_domain::plan::{Goal, Plan, Step};
use opsward_domain::time::Window;

use crate::executor::{Became, step_key};
use crate::facade::{Engine, creates};
use crate::looks::{self, Looks, Watched};
use crate::planner::Planner;
use crate::state::{PlanState, RunState, StepState};

/// A goal's windows: the condition must be gone in each, under traffic.
const GOAL_WINDOWS: u32 = 3;
const GOAL_WINDOW_MS: i64 = 4_000;
const GOAL_REQUESTS_MIN: u64 = 20;
const GOAL_WITHIN_MS: i64 = 40_000;
/// The time before a plan that it is compared with: short, so that it shows the trouble and not the calm.
const GOAL_BEFORE_MS: i64 = 12_000;
const GOAL_EVERY_MS: u64 = 500;
/// Traffic right after a change still carries requests that began before it.
const GOAL_SETTLE_MS: i64 = 1_000;

impl Engine {
    /// Makes a plan for `actions`; a workspace that is not the asker's yields a bare plan for the gate to refuse.
    pub(crate) async fn propose(
        &self,
        cx: &CallContext,
        state: &RunState,
        workspace: &Workspace,
        actions: Vec<Action>,
        reason: String,
        goal: Option<Goal>,
    ) -> Result<Vec<Body>, Fault> {
        let id = Id::parse(&format!("p{}", state.plans.len() + 1))?;
        let creating = actions.iter().any(|action| matches!(action, Action::CreateWorkspace(_)));
        let setting = self.setup.setting(cx, Some(workspace), creating).await?;
        // Nothing is looked at in a workspace where the asker has no say; the gate tells them.
        let strange = |name: &Workspace| !setting.ours.contains(name) || cx.principal.role_in(name).is_none();
        let reads_strange = actions.iter().filter_map(|action| action.source()?.0).any(strange);
        let looks = Arc::new(Looks::default());
        let planner = Planner::new(Arc::new(Watched::new(self.parts.provider.clone(), looks.clone())));
        let plan = if setting.workspace_is_ours && !reads_strange {
            planner.plan(cx, id, workspace, actions, reason, goal).await?
        } else {
            planner.bare(id, workspace, actions, reason)
        };
        let looked = looks::keep(self.parts.journal.as_ref(), cx, None, looks.take()).await?;
        let digest = plan.digest();
        let proposed = Body::PlanProposed { plan: Box::new(plan), digest, influence: state.label.clone() };
        Ok(looked.into_iter().chain([proposed]).collect())
    }

    fn executor(&self) -> crate::executor::Executor {
        crate::executor::Executor::new(self.parts.provider.clone(), self.parts.clock.clone())
    }

    pub(super) async fn plan_request(&self, cx: &CallContext, state: &RunState) -> Result<Vec<Body>, Fault> {
        let (Some((action, reason)), Some(workspace)) = (&state.request, &state.workspace) else {
            return Ok(Vec::new());
        };
        match self.propose(cx, state, workspace, vec![action.clone()], reason.clone(), None).await {
            Ok(bodies) => Ok(bodies),
            Err(fault) => Ok(vec![Body::FaultRaised { fault }]),
        }
    }

    pub(super) async fn plan_remedy(&self, cx: &CallContext, state: &RunState) -> Result<Vec<Body>, Fault> {
        let (Some((hypothesis, action)), Some(workspace)) = (crate::turn::remedy(state), &state.workspace) else {
            return Ok(Vec::new());
        };
        let why = hypothesis.because.first().map_or("the diagnosis", |claim| claim.text.as_str());
        let reason = format!("{}: {why}", hypothesis.id);
        let goal = self.goal(state);
        match self.propose(cx, state, workspace, vec![action.clone()], reason, goal).await {
            Ok(bodies) => Ok(bodies),
            Err(fault) => {
                let reason = format!("the remedy could not be planned: {fault}");
                Ok(vec![Body::FaultRaised { fault }, Body::IncidentEscalated { reason }])
            }
        }
    }

    /// Success is measured where it hurts: the first alert that can be measured.
    fn goal(&self, state: &RunState) -> Option<Goal> {
        let measurable = |alert: &&opsward_domain::alert::Alert| {
            alert.workload.is_some() && alert.condition != opsward_domain::alert::Condition::Reported
        };
        let alert = state.alerts.iter().find(measurable)?;
        Some(Goal {
            workload: alert.workload.clone()?,
            condition: alert.condition.clone(),
            windows: GOAL_WINDOWS,
            window_ms: GOAL_WINDOW_MS,
            requests_min: GOAL_REQUESTS_MIN,
            within_ms: GOAL_WITHIN_MS,
        })
    }

    pub(super) async fn decide(&self, cx: &CallContext, plan: &PlanState) -> Result<Vec<Body>, Fault> {
        let setting = self.setup.setting(cx, Some(&plan.plan.workspace), creates(plan)).await?;
        let decided = self.setup.gate.decide(cx, &setting, &plan.plan, &plan.influence, &[]).await;
        let id = plan.plan.id.clone();
        let mut bodies = vec![Body::PlanDecided {
            plan: id.clone(),
            decision: decided.overall,
            steps: decided.steps,
            policy_set: decided.policy_set,
        }];
        if decided.only_switch {
            bodies.push(Body::PlanWithheld { plan: id, reason: "a switch forbids effects here: observe-only".into() });
        }
        Ok(bodies)
    }

    pub(super) fn request_approval(
        &self,
        state: &RunState,
        plan: &PlanState,
        approvers: Approvers,
    ) -> Result<Vec<Body>, Fault> {
        let expires_at_ms = self.parts.clock.now_ms().saturating_add(APPROVAL_OPEN_MS);
        let nonce = self.parts.entropy.secret_hex(16);
        let run = state.stream.to_string();
        let bound = binding(&state.stream.tenant, &run, &plan.plan, &plan.policy_set, &nonce, expires_at_ms);
        let asker = state.asker.clone().ok_or_else(|| Fault::internal("the run has no asker"))?;
        let request = ApprovalRequest {
            id: self.parts.entropy.id("ok"),
            plan: plan.plan.id.clone(),
            binding: bound,
            asker,
            approvers,
            nonce,
            expires_at_ms,
        };
        Ok(vec![Body::ApprovalRequested { request: Box::new(request) }])
    }

    /// Applies one step, or resolves an intent that has no answer yet.
    pub(super) async fn step(
        &self,
        cx: &CallContext,
        state: &RunState,
        plan: &PlanState,
        index: u32,
    ) -> Result<Vec<Body>, Fault> {
        let (Some(step), Some(at)) = (plan.plan.steps.get(index as usize), plan.steps.get(index as usize)) else {
            return Err(Fault::internal("the plan has no such step"));
        };
        let key = step_key(state, plan, index, false);
        let executor = self.executor();
        let failed = |fault: Fault| Body::StepFailed {
            plan: plan.plan.id.clone(),
            step: index,
            key: key.clone(),
            fault,
            applied: false,
        };
        let fresh = matches!(at, StepState::Waiting);
        if !fresh && let Some(outcome) = executor.lookup(cx, &key).await? {
            return Ok(vec![match executor.check(cx, step).await {
                Ok(()) => Body::StepSucceeded { plan: plan.plan.id.clone(), step: index, key: key.clone(), outcome },
                Err(fault) => {
                    Body::StepFailed { plan: plan.plan.id.clone(), step: index, key: key.clone(), fault, applied: true }
                }
            }]);
        }
        if fresh && let Err(fault) = executor.precondition(cx, step).await {
            return Ok(vec![failed(fault)]);
        }
        if let Some(moved) = self.approval_moved(state, plan) {
            return Ok(vec![failed(Fault::conflict(moved))]);
        }
        let authorized = match self.authorize(cx, plan, step).await? {
            Ok(authorized) => authorized,
            Err(fault) => return Ok(vec![failed(fault)]),
        };
        if fresh {
            let mut bodies = Vec::new();
            if index == 0
                && let Some(approval) = &plan.approval
            {
                bodies.push(Body::ApprovalUsed { approval: approval.request.id.clone() });
            }
            bodies.push(Body::StepStarted { plan: plan.plan.id.clone(), step: index, key: key.clone() });
            // The intent is durable before anything happens; the effect itself is the next thing done.
            return Ok(bodies);
        }
        match executor.apply(cx, plan, &authorized, &key).await {
            Became::Record(body) => Ok(vec![*body]),
            Became::Later(fault) => Err(fault),
        }
    }

    /// A yes is bound to bytes: tenant, run, plan, policy set, nonce, expiry.
    fn approval_moved(&self, state: &RunState, plan: &PlanState) -> Option<String> {
        let approval = plan.approval.as_ref()?;
        let request = &approval.request;
        let policy_set = self.setup.gate.policy_set();
        let run = state.stream.to_string();
        let now = binding(&state.stream.tenant, &run, &plan.plan, &policy_set, &request.nonce, request.expires_at_ms);
        (now != request.binding)
            .then(|| "what was approved is not what would be done now (plan or policies changed)".to_owned())
    }

    async fn authorize(
        &self,
        cx: &CallContext,
        plan: &PlanState,
        step: &Step,
    ) -> Result<Result<opsward_domain::seal::Authorized<Step>, Fault>, Fault> {
        let setting = self.setup.setting(cx, Some(&plan.plan.workspace), creates(plan)).await?;
        let asker = &cx.principal.subject;
        let people: Vec<_> = plan.given_by().into_iter().collect();
        let approvers = self.approvers(cx, &plan.plan.workspace, asker, &people);
        let decided = self.setup.gate.authorize(cx, &setting, step, &plan.influence, &approvers).await;
        Ok(decided.map_err(|decision| {
            Fault::denied(decision.reason).detail(format!("policy {}", decision.policies.join(", ")))
        }))
    }

    /// Takes one step back.
    pub(super) async fn undo(
        &self,
        cx: &CallContext,
        state: &RunState,
        plan: &PlanState,
        index: u32,
    ) -> Result<Vec<Body>, Fault> {
        let Some(step) = plan.plan.steps.get(index as usize) else {
            return Err(Fault::internal("the plan has no such step"));
        };
        let key = step_key(state, plan, index, true);
        let id = plan.plan.id.clone();
        if !matches!(plan.steps.get(index as usize), Some(StepState::Undoing { .. })) {
            return Ok(vec![Body::UndoStarted { plan: id, step: index, key }]);
        }
        let executor = self.executor();
        if let Some(outcome) = executor.lookup(cx, &key).await? {
            return Ok(vec![Body::UndoSucceeded { plan: id, step: index, key, outcome }]);
        }
        let setting = self.setup.setting(cx, Some(&plan.plan.workspace), creates(plan)).await?;
        let expects = executor.left(cx, step, &step_key(state, plan, index, false)).await?;
        let inverse = match self.setup.gate.authorize_undo(&setting, step, expects).await {
            Ok(inverse) => inverse,
            Err(decision) => {
                return Ok(vec![Body::UndoFailed {
                    plan: id,
                    step: index,
                    key,
                    fault: Fault::denied(decision.reason),
                }]);
            }
        };
        match executor.undo(cx, plan, &inverse, &key).await {
            Became::Record(body) => Ok(vec![*body]),
            Became::Later(fault) => Err(fault),
        }
    }

    /// Measures the goal until it is clear, or until the time for it is over.
    pub(super) async fn check_goal(
        &self,
        cx: &CallContext,
        state: &RunState,
        plan: &PlanState,
    ) -> Result<Vec<Body>, Fault> {
        let Some(goal) = &plan.plan.goal else { return Ok(Vec::new()) };
        let acted = plan.acted_at_ms.unwrap_or(state.last_at_ms).saturating_add(GOAL_SETTLE_MS);
        let deadline = acted.saturating_add(goal.within_ms);
        loop {
            let now_ms = self.parts.clock.now_ms();
            let before = Window { from_ms: plan.proposed_at_ms - GOAL_BEFORE_MS, to_ms: plan.proposed_at_ms };
            let after = Window { from_ms: acted, to_ms: now_ms };
            let seen = self.senses.measure(cx, &plan.plan.workspace, goal, before, after).await?;
            let settled = matches!(seen.verdict, CheckVerdict::Better) || now_ms >= deadline;
            if settled || state.cancelled {
                return Ok(vec![Body::GoalChecked {
                    plan: plan.plan.id.clone(),
                    verdict: seen.verdict,
                    claims: seen.claims,
                }]);
            }
            self.parts.clock.sleep_ms(GOAL_EVERY_MS).await;
        }
    }

    pub(super) fn end_plan(&self, plan: &Id, end: PlanEnd, reason: String) -> Vec<Body> {
        vec![Body::PlanEnded { plan: plan.clone(), end, reason }]
    }
}

/// What a plan is about, for lists.
pub fn headline(plan: &Plan) -> String {
    plan.steps.iter().map(crate::changes::summary).collect::<Vec<_>>().join("; ")
}
