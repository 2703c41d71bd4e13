//! A plan's state inside its run: decision, approval, steps, goal, end.

use std::collections::BTreeSet;

use opsward_domain::approval::{ApprovalRequest, ApprovalStatus};
use opsward_domain::cause::Claim;
use opsward_domain::decision::Decision;
use opsward_domain::event::{Body, CheckVerdict, Outcome, PlanEnd};
use opsward_domain::fault::Fault;
use opsward_domain::label::Label;
use opsward_domain::name::Subject;
use opsward_domain::plan::Plan;
use opsward_domain::time::AtMs;

/// Where one step is. `Started` without an end is resolved by looking its key up.
#[derive(Debug, Clone, PartialEq)]
pub enum StepState {
    /// Not begun.
    Waiting,
    /// Intent recorded under this key; the effect may or may not have happened.
    Started {
        /// Idempotency key.
        key: String,
        /// When the intent was recorded.
        at_ms: AtMs,
    },
    /// Applied.
    Succeeded {
        /// What it came to.
        outcome: Outcome,
    },
    /// Not applied, or its own check failed.
    Failed {
        /// Why.
        fault: Fault,
        /// True if it took effect all the same and must be taken back.
        applied: bool,
    },
    /// Intent to take it back is recorded under this key.
    Undoing {
        /// Idempotency key of the inverse.
        key: String,
    },
    /// Taken back.
    Undone,
    /// Could not be taken back.
    Stuck {
        /// Why.
        fault: Fault,
    },
}

/// An approval's state.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalState {
    /// What was asked.
    pub request: ApprovalRequest,
    /// Where it stands.
    pub status: ApprovalStatus,
    /// True once its one use began; it never counts for another plan.
    pub used: bool,
}

/// A plan's state.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanState {
    /// The plan.
    pub plan: Plan,
    /// Its digest when proposed.
    pub digest: String,
    /// What had influenced the run when it was proposed.
    pub influence: Label,
    /// What the gate said, once it did.
    pub decision: Option<Decision>,
    /// What the gate said about each step.
    pub decisions: Vec<Decision>,
    /// Digest of the policy set that decided.
    pub policy_set: String,
    /// The request for approval, once made.
    pub approval: Option<ApprovalState>,
    /// Its steps.
    pub steps: Vec<StepState>,
    /// Why the first failed step failed.
    pub failure: Option<String>,
    /// When the last step succeeded.
    pub acted_at_ms: Option<AtMs>,
    /// What the goal check saw, once it did.
    pub goal: Option<(CheckVerdict, Vec<Claim>)>,
    /// How it ended, once it did, and why.
    pub end: Option<(PlanEnd, String)>,
    /// True if it was withheld by observe-only.
    pub withheld: bool,
    /// When it was proposed.
    pub proposed_at_ms: AtMs,
}

impl PlanState {
    pub(super) fn proposed(plan: Plan, digest: String, influence: Label, at_ms: AtMs) -> Self {
        let steps = vec![StepState::Waiting; plan.steps.len()];
        Self {
            plan,
            digest,
            influence,
            decision: None,
            decisions: Vec::new(),
            policy_set: String::new(),
            approval: None,
            steps,
            failure: None,
            acted_at_ms: None,
            goal: None,
            end: None,
            withheld: false,
            proposed_at_ms: at_ms,
        }
    }

    /// True once nothing but looking back remains of its effects: some step took effect.
    pub fn touched(&self) -> bool {
        self.steps.iter().any(|step| !matches!(step, StepState::Waiting | StepState::Failed { applied: false, .. }))
    }

    /// People whose yes counts now.
    pub fn given_by(&self) -> BTreeSet<Subject> {
        match self.approval.as_ref().map(|approval| &approval.status) {
            Some(ApprovalStatus::Granted { given_by } | ApprovalStatus::Open { given_by }) => given_by.clone(),
            _ => BTreeSet::new(),
        }
    }

    pub(super) fn step(&mut self, index: u32) -> Option<&mut StepState> {
        self.steps.get_mut(index as usize)
    }

    pub(super) fn fold_approval(&mut self, body: &Body) {
        let Some(state) = &mut self.approval else { return };
        let next = match body {
            Body::ApprovalGiven { by, .. } => {
                let ApprovalStatus::Open { given_by } = &state.status else { return };
                let mut given_by = given_by.clone();
                given_by.insert(by.clone());
                let asker = state.request.approvers.not_asker.then_some(&state.request.asker);
                let counted = given_by.iter().filter(|person| Some(*person) != asker).count();
                if counted >= usize::from(state.request.approvers.people) {
                    ApprovalStatus::Granted { given_by }
                } else {
                    ApprovalStatus::Open { given_by }
                }
            }
            Body::ApprovalRefused { by, note, .. } => ApprovalStatus::Refused { by: by.clone(), note: note.clone() },
            Body::ApprovalVoided { reason, .. } => ApprovalStatus::Void { reason: reason.clone() },
            Body::ApprovalUsed { .. } => {
                state.used = true;
                return;
            }
            _ => return,
        };
        state.status = next;
    }
}
