//! Makes plans: literal steps with what will differ, how to take it back and how much it touches.
//! Looks at the world, never changes it, and never chooses: what to do was chosen before.

use std::collections::BTreeSet;
use std::sync::Arc;

use opsward_domain::action::Action;
use opsward_domain::context::CallContext;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Id, Workspace};
use opsward_domain::plan::{Blast, Goal, PLAN_STEPS_MAX, Plan, Step, diff};
use opsward_domain::resource::{ResourceState, WorkloadStatus};
use opsward_ports::provider::{Provider, observe_resource, observe_workloads};

/// Turns actions into a plan.
pub struct Planner {
    provider: Arc<dyn Provider>,
}

impl Planner {
    /// A planner that looks through `provider`.
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        Self { provider }
    }

    /// Plans `actions` in order. Each must be valid, name a resource in its expected state, and no two may
    /// touch the same resource, so that every step's diff and precondition is literal.
    pub async fn plan(
        &self,
        cx: &CallContext,
        id: Id,
        workspace: &Workspace,
        actions: Vec<Action>,
        reason: String,
        goal: Option<Goal>,
    ) -> Result<Plan, Fault> {
        if actions.is_empty() || actions.len() > PLAN_STEPS_MAX {
            return Err(Fault::invalid(format!("a plan has 1 to {PLAN_STEPS_MAX} steps")));
        }
        let workloads = observe_workloads(self.provider.as_ref(), cx, workspace).await.unwrap_or_default();
        let mut seen = BTreeSet::new();
        let mut steps = Vec::with_capacity(actions.len());
        for (index, action) in actions.into_iter().enumerate() {
            let resource = action.resource();
            if !seen.insert(resource.clone()) {
                return Err(Fault::invalid(format!("two steps touch {resource}")).hint("use one plan for each"));
            }
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            steps.push(self.step(cx, index, workspace, action, &workloads).await?);
        }
        Ok(Plan { id, workspace: workspace.clone(), reason, steps, goal })
    }

    /// A plan that was not looked into, for a workspace that is not the asker's: the gate refuses it, and
    /// the record shows what was wanted. Says nothing about whether such a workspace exists.
    pub fn bare(&self, id: Id, workspace: &Workspace, actions: Vec<Action>, reason: String) -> Plan {
        let steps = actions.into_iter().take(PLAN_STEPS_MAX).enumerate().map(|(index, action)| Step {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            workspace: workspace.clone(),
            expects: None,
            diff: Vec::new(),
            undo: None,
            blast: Blast { objects: 1, replicas_percent: 0 },
            action,
        });
        Plan { id, workspace: workspace.clone(), reason, steps: steps.collect(), goal: None }
    }

    async fn step(
        &self,
        cx: &CallContext,
        index: u32,
        workspace: &Workspace,
        action: Action,
        workloads: &[WorkloadStatus],
    ) -> Result<Step, Fault> {
        action.validate()?;
        let before = observe_resource(self.provider.as_ref(), cx, workspace, &action.resource()).await?;
        action.predict(&before).map_err(|fault| name_it(fault, &action))?;
        let after = self.provider.rehearse(cx, workspace, &action, &before).await;
        let after = after.map_err(|fault| name_it(fault, &action))?;
        if let Some((other, resource)) = action.source() {
            let state = observe_resource(self.provider.as_ref(), cx, other.unwrap_or(workspace), &resource).await?;
            action.check_source(&state).map_err(|fault| name_it(fault, &action))?;
        }
        Ok(Step {
            index,
            workspace: workspace.clone(),
            expects: before.version().cloned(),
            diff: diff(&before, &after),
            undo: action.inverse(&before),
            blast: blast(&action, &before, workloads),
            action,
        })
    }
}

fn name_it(mut fault: Fault, action: &Action) -> Fault {
    if fault.detail.is_empty() {
        fault.detail = format!("{} on {}", action.kind().facts().name, action.resource());
    }
    fault
}

/// Objects and share of replicas that a step disturbs. Scaling touches only the difference.
fn blast(action: &Action, before: &ResourceState, workloads: &[WorkloadStatus]) -> Blast {
    let all: u32 = workloads.iter().map(|workload| workload.spec.replicas).sum();
    let disturbed = match (action, before) {
        (Action::ScaleWorkload(scale), ResourceState::Workload(now)) => {
            now.spec.replicas.saturating_sub(scale.replicas)
        }
        (_, ResourceState::Workload(now)) => now.spec.replicas,
        (Action::DeleteWorkspace(_), _) => all,
        _ => 0,
    };
    let percent = (u64::from(disturbed) * 100).checked_div(u64::from(all)).unwrap_or(0).min(100);
    Blast { objects: disturbed.saturating_add(1), replicas_percent: u8::try_from(percent).unwrap_or(100) }
}
