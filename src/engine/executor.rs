//! The only caller of `Provider::apply`. Intent is recorded before the effect, under a key that is the
//! same across restarts; what became of an unanswered intent is looked up, never guessed.

use std::sync::Arc;

use opsward_domain::canonical::digest;
use opsward_domain::context::CallContext;
use opsward_domain::effect::Check;
use opsward_domain::event::{Body, Outcome};
use opsward_domain::fault::{Code, Fault};
use opsward_domain::plan::{Step, facts};
use opsward_domain::resource::{ResourceState, ResourceVersion};
use opsward_domain::seal::Authorized;
use opsward_ports::clock::Clock;
use opsward_ports::provider::{Provider, observe_resource};

use crate::state::{PlanState, RunState};

/// Longest wait for a step's own check.
const CHECK_WITHIN_MS: i64 = 30_000;
const CHECK_EVERY_MS: u64 = 200;

/// What became of a step, as a body to append.
#[derive(Debug, Clone, PartialEq)]
pub enum Became {
    /// Append this.
    Record(Box<Body>),
    /// The provider cannot be asked now; try again later.
    Later(Fault),
}

/// The executor.
pub struct Executor {
    provider: Arc<dyn Provider>,
    clock: Arc<dyn Clock>,
}

/// The key of a step's effect: stable across retries and restarts, different for each intended effect.
pub fn step_key(state: &RunState, plan: &PlanState, index: u32, undo: bool) -> String {
    let way = if undo { "undo" } else { "do" };
    digest("opsward-key-1", &(state.stream.to_string(), &plan.plan.id, &plan.digest, index, way))
}

impl Executor {
    /// An executor over `provider`.
    pub fn new(provider: Arc<dyn Provider>, clock: Arc<dyn Clock>) -> Self {
        Self { provider, clock }
    }

    /// Is the world still as the plan saw it? Checked before the intent is recorded.
    pub async fn precondition(&self, cx: &CallContext, step: &Step) -> Result<(), Fault> {
        let now = observe_resource(self.provider.as_ref(), cx, &step.workspace, &step.resource()).await?;
        if now.version() == step.expects.as_ref() {
            return Ok(());
        }
        Err(Fault::conflict(format!("{} has changed since the plan was made", step.resource()))
            .hint("ask for a new plan"))
    }

    /// What became of an intent that has no answer yet; `None` if it has not happened.
    pub async fn lookup(&self, cx: &CallContext, key: &str) -> Result<Option<Outcome>, Fault> {
        self.provider.lookup(cx, key).await
    }

    /// Applies a step whose intent is recorded, then checks it by typed signals.
    pub async fn apply(&self, cx: &CallContext, plan: &PlanState, step: &Authorized<Step>, key: &str) -> Became {
        let (id, index) = (plan.plan.id.clone(), step.get().index);
        let applied = match self.provider.apply(cx, step, key).await {
            Ok(outcome) => Ok(outcome),
            Err(fault) => match self.lookup(cx, key).await {
                Ok(found) => Err((fault, found.is_some())),
                Err(_) => return Became::Later(fault),
            },
        };
        let key = key.to_owned();
        let body = match applied {
            Ok(outcome) => match self.check(cx, step.get()).await {
                Ok(()) => Body::StepSucceeded { plan: id, step: index, key, outcome },
                Err(fault) => Body::StepFailed { plan: id, step: index, key, fault, applied: true },
            },
            Err((fault, applied)) => Body::StepFailed { plan: id, step: index, key, fault, applied },
        };
        Became::Record(Box::new(body))
    }

    /// The version in which a step left its resource: an inverse must not run over what others did since.
    /// What was removed has none. Where the step has no answer that says so, the version of now.
    pub async fn left(&self, cx: &CallContext, step: &Step, key: &str) -> Result<Option<ResourceVersion>, Fault> {
        let removes = step.action.kind().facts().check == Check::Absent;
        if let Some(outcome) = self.lookup(cx, key).await?
            && (removes || outcome.version.is_some())
        {
            return Ok(outcome.version.filter(|_| !removes));
        }
        let now = observe_resource(self.provider.as_ref(), cx, &step.workspace, &step.resource()).await?;
        Ok(now.version().cloned())
    }

    /// Applies a step's inverse whose intent is recorded.
    pub async fn undo(&self, cx: &CallContext, plan: &PlanState, inverse: &Authorized<Step>, key: &str) -> Became {
        let (id, index) = (plan.plan.id.clone(), inverse.get().index);
        let outcome = match self.provider.apply(cx, inverse, key).await {
            Ok(outcome) => Ok(outcome),
            Err(fault) => match self.lookup(cx, key).await {
                Ok(Some(outcome)) => Ok(outcome),
                Ok(None) => Err(fault),
                Err(_) => return Became::Later(fault),
            },
        };
        let key = key.to_owned();
        Became::Record(Box::new(match outcome {
            Ok(outcome) => Body::UndoSucceeded { plan: id, step: index, key, outcome },
            Err(fault) => Body::UndoFailed { plan: id, step: index, key, fault },
        }))
    }

    /// Waits, bounded, until the step's own check holds.
    pub async fn check(&self, cx: &CallContext, step: &Step) -> Result<(), Fault> {
        let deadline = self.clock.now_ms().saturating_add(CHECK_WITHIN_MS);
        loop {
            let now = observe_resource(self.provider.as_ref(), cx, &step.workspace, &step.resource()).await?;
            let Some(missing) = unmet(step, &now) else { return Ok(()) };
            if self.clock.now_ms() >= deadline {
                return Err(Fault::new(
                    Code::Timeout,
                    format!("{} was applied, but its check failed", step.resource()),
                )
                .detail(missing));
            }
            self.clock.sleep_ms(CHECK_EVERY_MS).await;
        }
    }
}

/// What a step's check still misses, if anything.
fn unmet(step: &Step, now: &ResourceState) -> Option<String> {
    let wanted = || {
        let have = facts(now);
        let differs = |line: &&opsward_domain::plan::DiffLine| have.get(&line.path) != line.after.as_ref();
        step.diff.iter().find(differs).map(|line| format!("{} is not {:?}", line.path, line.after))
    };
    match step.action.kind().facts().check {
        Check::Absent => (*now != ResourceState::Absent).then(|| "it is still there".to_owned()),
        Check::WorkloadReady => match now {
            ResourceState::Workload(status) if status.settled() => wanted(),
            ResourceState::Workload(status) => {
                Some(format!("{} of {} replicas are ready", status.ready(), status.spec.replicas))
            }
            _ => Some("there is no such workload".to_owned()),
        },
        Check::Present => match now {
            ResourceState::Absent => Some("it does not exist".to_owned()),
            _ => wanted(),
        },
        // The provider verified the bytes, or returned the call's own status, before it answered.
        Check::BytesVerified | Check::Returned => {
            (*now == ResourceState::Absent).then(|| "it does not exist".to_owned())
        }
    }
}
