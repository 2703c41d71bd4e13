//! The recorded world, standing before one of its moments: what was said then is what it says now. Asked
//! something that the recording does not hold, it says so.

mod ports;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opsward_domain::approval::APPROVAL_OPEN_MS;
use opsward_domain::event::{Body, Event, Outcome};
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Id, Workspace};
use opsward_domain::plan::Plan;
use opsward_domain::resource::{Replica, ReplicaState, Resource, ResourceState};
use opsward_domain::time::AtMs;
use opsward_ports::clock::{Clock, ManualClock};
use opsward_ports::provider::{Observation, Query};
use serde_json::Value;

use crate::looks::{Answer, Seen};
use crate::observe::Looked;
use crate::transcript::Transcript;

pub(super) use ports::{RecordedModel, RecordedPolicy, RecordedRunner};

/// How the refusal begins that a plan or policy set that changed after the yes leads to.
const MOVED: &str = "what was approved is not";

#[derive(Default)]
struct Place {
    /// What was recorded next, in order.
    next: Vec<Body>,
    /// Looks recorded there that were not asked for yet.
    looks: Vec<Seen>,
    /// States that plans were made on.
    before: BTreeMap<(Workspace, Resource), ResourceState>,
    /// Plans so far.
    plans: BTreeMap<Id, Plan>,
    /// Effects that took place, by key.
    effects: BTreeMap<String, Outcome>,
    /// The policy set that decided last.
    policy_set: Option<String>,
}

/// The recorded world.
pub(super) struct Recorded {
    clock: Arc<ManualClock>,
    run: Id,
    kept: BTreeMap<String, String>,
    ours: BTreeSet<Workspace>,
    place: Mutex<Place>,
}

impl Recorded {
    pub(super) fn new(transcript: &Transcript) -> Self {
        let (mut ours, mut foreign) = (BTreeSet::new(), BTreeSet::new());
        for body in transcript.events.iter().filter_map(|event| event.body.as_ref()) {
            match body {
                Body::MessageReceived { workspace, .. }
                | Body::ActionRequested { workspace, .. }
                | Body::ToolRequested { workspace, .. } => {
                    ours.insert(workspace.clone());
                }
                Body::IncidentOpened { alert, .. } => {
                    ours.insert(alert.workspace.clone());
                }
                Body::PlanProposed { plan, .. } => {
                    let known = if bare(plan) { &mut foreign } else { &mut ours };
                    known.insert(plan.workspace.clone());
                }
                _ => {}
            }
        }
        ours.retain(|workspace| !foreign.contains(workspace));
        let (clock, run) = (Arc::new(ManualClock::at(0)), transcript.stream.id.clone());
        Self { clock, run, kept: transcript.kept.clone(), ours, place: Mutex::default() }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    pub(super) fn set_clock(&self, at_ms: AtMs) {
        self.clock.advance_ms(at_ms - self.clock.now_ms());
    }

    /// A request for approval lapses at a fixed time after it was made: that tells when it was.
    pub(super) fn set_request_clock(&self) {
        let expires = self.find(|body| match body {
            Body::ApprovalRequested { request } => Some(request.expires_at_ms),
            _ => None,
        });
        if let Some(at_ms) = expires {
            self.set_clock(at_ms.saturating_sub(APPROVAL_OPEN_MS));
        }
    }

    /// Stands before `group`.
    pub(super) fn stand_before(&self, group: &[&Event]) {
        let next: Vec<Body> = group.iter().filter_map(|event| event.body.clone()).collect();
        let digests = next.iter().filter_map(|body| match body {
            Body::Looked { digest, .. } => digest.as_ref(),
            _ => None,
        });
        let read = |digest: &String| serde_json::from_str::<Vec<Seen>>(self.kept.get(digest)?).ok();
        let looks: Vec<Seen> = digests.filter_map(read).flatten().collect();
        let mut place = self.place();
        place.before.extend(looks.iter().filter_map(resource_seen));
        place.looks = looks;
        place.next = next;
    }

    /// Leaves an event behind.
    pub(super) fn pass(&self, event: &Event) {
        let mut place = self.place();
        match event.body.as_ref() {
            Some(Body::PlanProposed { plan, .. }) => {
                place.plans.insert(plan.id.clone(), plan.as_ref().clone());
            }
            Some(Body::PlanDecided { policy_set, .. }) => place.policy_set = Some(policy_set.clone()),
            Some(Body::StepSucceeded { key, outcome, .. } | Body::UndoSucceeded { key, outcome, .. }) => {
                place.effects.insert(key.clone(), outcome.clone());
            }
            Some(Body::StepFailed { key, applied: true, .. }) => {
                place.effects.insert(key.clone(), unknown_outcome());
            }
            _ => {}
        }
    }

    fn find<T>(&self, wanted: impl FnMut(&Body) -> Option<T>) -> Option<T> {
        self.place().next.iter().find_map(wanted)
    }

    /// The fault that was recorded next, whoever met it.
    fn fault(&self) -> Option<Fault> {
        self.find(|body| match body {
            Body::FaultRaised { fault } | Body::ToolFailed { fault, .. } | Body::StepFailed { fault, .. } => {
                Some(fault.clone())
            }
            _ => None,
        })
    }

    /// True if a switch stood in the way of what was recorded next.
    pub(super) fn switched_off(&self) -> bool {
        let by_switch = |body: &Body| match body {
            Body::PlanWithheld { .. } => true,
            Body::PlanDecided { steps, .. } => {
                steps.iter().flat_map(|step| &step.policies).any(|policy| policy.contains("switch"))
            }
            Body::StepFailed { fault, .. } | Body::UndoFailed { fault, .. } => {
                fault.code == Code::Denied && fault.to_string().contains("switch")
            }
            _ => false,
        };
        self.find(|body| by_switch(body).then_some(())).is_some()
    }

    /// A look that was recorded next, each once.
    fn looked(&self, what: &str, args: &Value) -> Option<Result<Looked, Fault>> {
        let mut place = self.place();
        let at = place.looks.iter().position(|seen| seen.look.what == what && seen.look.args == *args)?;
        Some(match place.looks.remove(at).answer {
            Answer::Saw(looked) => Ok(looked),
            Answer::Failed(fault) => Err(fault),
        })
    }

    /// A resource while a plan is carried out: as it was planned on, or as the plan says it is afterwards.
    fn resource(&self, workspace: &Workspace, resource: &Resource) -> Result<ResourceState, Fault> {
        // Only a world that moved, or a check that failed, was told by the resource itself.
        let told = self.fault().filter(|fault| fault.code != Code::Denied && !fault.message.starts_with(MOVED));
        if let Some(fault) = told {
            return Err(fault);
        }
        let done = self.find(|body| match body {
            Body::StepSucceeded { plan, step, .. } => Some((plan.clone(), *step)),
            _ => None,
        });
        let place = self.place();
        let before = place.before.get(&(workspace.clone(), resource.clone()));
        let before = before.cloned().ok_or_else(|| unheard(&format!("the state of {resource}")))?;
        let step = done.and_then(|(plan, step)| place.plans.get(&plan)?.steps.get(step as usize).cloned());
        match step {
            Some(step) => step.action.predict(&before).map(settled),
            None => Ok(before),
        }
    }
}

fn unheard(what: &str) -> Fault {
    Fault::conflict(format!("the recording does not hold {what}"))
}

fn unknown_outcome() -> Outcome {
    Outcome { summary: String::new(), result: Value::Null, version: None }
}

/// A plan that nobody looked into, for a workspace of somebody else.
fn bare(plan: &Plan) -> bool {
    plan.steps.iter().all(|step| step.expects.is_none() && step.diff.is_empty() && step.undo.is_none())
}

fn resource_seen(seen: &Seen) -> Option<((Workspace, Resource), ResourceState)> {
    let Answer::Saw(looked) = &seen.answer else { return None };
    let query: Query = serde_json::from_value(seen.look.args.clone()).ok()?;
    match (query, serde_json::from_value(looked.value.clone()).ok()?) {
        (Query::Resource { workspace, resource }, Observation::Resource(state)) => Some(((workspace, resource), state)),
        _ => None,
    }
}

/// A predicted state once everything it wants is there.
fn settled(state: ResourceState) -> ResourceState {
    let ResourceState::Workload(mut status) = state else { return state };
    let revision = status.revision;
    let replica = |index| Replica {
        index,
        pid: None,
        state: ReplicaState::Ready,
        port: None,
        revision,
        restarts: 0,
        started_at_ms: 0,
        memory_bytes: 0,
        last_exit: None,
        instance: None,
    };
    status.replicas = (0..status.spec.replicas).map(replica).collect();
    ResourceState::Workload(status)
}
