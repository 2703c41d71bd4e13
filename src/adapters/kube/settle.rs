//! Waits until a change has come about, or clearly will not. Never waits without a bound, never calls a
//! workload ready that is not.

use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Workload, Workspace};
use opsward_domain::resource::{ReplicaState, Resource, ResourceState, WorkloadStatus};
use opsward_ports::clock::Clock;

use crate::change::Live;
use crate::ledger::{Left, template_digest};
use crate::list::has_condition;
use crate::look::Look;

/// Starts of one replica after which a change counts as failed.
const STARTS_MAX: u32 = 4;

/// How far a workload is.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Settled,
    Moving { ready: u32, waiting_for: String },
    Failing(String),
}

impl Look<'_> {
    /// Waits for a workload that a write left like this. `scales` is whether its number is what is waited for.
    pub(crate) async fn settle(
        &self,
        clock: &dyn Clock,
        workspace: &Workspace,
        name: &Workload,
        left: Option<&Left>,
        scales: bool,
    ) -> Result<WorkloadStatus, Fault> {
        let resource = Resource::Workload(name.clone());
        let patience = i64::try_from(self.options.settle_timeout_ms).unwrap_or(i64::MAX);
        let (mut best, mut deadline) = (None, clock.now_ms().saturating_add(patience));
        loop {
            let why = match self.resource(workspace, &resource).await {
                Ok((ResourceState::Workload(status), Live::Workload(found))) => {
                    let same = left.is_none_or(|left| left.version == status.resource_version);
                    // An autoscaler that sets another number while pods roll is no change of what rolls.
                    let rolls_on = || left.is_some_and(|left| left.template == template_digest(found.template()));
                    if !same && (scales || !rolls_on()) {
                        return Err(Fault::conflict(format!("{name} was changed again before it was ready")));
                    }
                    // What is said of a wish before this one does not count.
                    let late = found.is_seen()
                        && has_condition(&found.object, "Progressing", "False", "ProgressDeadlineExceeded");
                    match stage(&status, found.is_seen(), late) {
                        Stage::Settled => return Ok(*status),
                        Stage::Failing(why) => return Err(not_ready(Code::Unavailable, name, &why)),
                        Stage::Moving { ready, waiting_for } => {
                            if best.is_none_or(|best| ready > best) {
                                best = Some(ready);
                                deadline = clock.now_ms().saturating_add(patience);
                            }
                            waiting_for
                        }
                    }
                }
                Ok(_) => return Err(Fault::conflict(format!("{name} was removed before it was ready"))),
                // An API server that is away for a moment does not make a rollout fail.
                Err(fault) if matches!(fault.code, Code::Unavailable | Code::Timeout | Code::TooMany) => {
                    fault.to_string()
                }
                Err(fault) => return Err(fault),
            };
            if clock.now_ms() > deadline {
                return Err(not_ready(Code::Timeout, name, &why));
            }
            clock.sleep_ms(self.options.look_ms).await;
        }
    }

    /// Waits until a resource is gone; with its pods, if it is a workload.
    pub(crate) async fn vanish(
        &self,
        clock: &dyn Clock,
        workspace: &Workspace,
        resource: &Resource,
        was: Option<&str>,
    ) -> Result<(), Fault> {
        let patience = i64::try_from(self.options.settle_timeout_ms).unwrap_or(i64::MAX);
        let deadline = clock.now_ms().saturating_add(patience);
        loop {
            let live = self.resource(workspace, resource).await?.1;
            // Another object of that name is not the one that was removed.
            if live.object().is_none_or(|it| was.is_some_and(|was| was != crate::json::uid(it))) {
                return Ok(());
            }
            if clock.now_ms() > deadline {
                return Err(Fault::new(Code::Timeout, format!("{resource} is still being removed"))
                    .hint("something holds it back: look at its finalizers and events"));
            }
            clock.sleep_ms(self.options.look_ms).await;
        }
    }
}

fn not_ready(code: Code, name: &Workload, why: &str) -> Fault {
    Fault::new(code, format!("{name} did not become ready"))
        .detail(why)
        .hint("pods of the earlier revision that were ready keep serving; its events and output say more")
}

fn stage(status: &WorkloadStatus, seen: bool, late: bool) -> Stage {
    if seen && status.settled() {
        return Stage::Settled;
    }
    let own = || status.replicas.iter().filter(|it| it.revision == status.revision && seen);
    let stuck = own().find(|it| it.state == ReplicaState::Backoff && (late || it.restarts >= STARTS_MAX));
    let why = |replica: &opsward_domain::resource::Replica| {
        let reason = replica.last_exit.as_ref().map(|exit| match exit.code {
            Some(code) => format!("{} with code {code}", exit.reason),
            None => exit.reason.clone(),
        });
        let pod = replica.instance.as_deref().unwrap_or("a pod");
        format!("{pod}: {}, started {} times", reason.unwrap_or("not ready".into()), replica.restarts.saturating_add(1))
    };
    if let Some(replica) = stuck {
        return Stage::Failing(why(replica));
    }
    if late {
        return Stage::Failing(own().find(|it| it.state != ReplicaState::Ready).map_or_else(
            || "the cluster gave up after its progress deadline".to_owned(),
            |it| format!("the cluster gave up after its progress deadline; {}", why(it)),
        ));
    }
    let waiting_for = match own().find(|it| it.state != ReplicaState::Ready) {
        Some(replica) => why(replica),
        None => {
            format!("{} of {} replicas are ready on revision {}", status.ready(), status.spec.replicas, status.revision)
        }
    };
    Stage::Moving { ready: if seen { status.ready() } else { 0 }, waiting_for }
}

#[cfg(test)]
mod tests {
    use opsward_domain::resource::{Replica, ReplicaExit, ResourceVersion};
    use opsward_domain::spec::Limits;
    use serde_json::json;

    use super::*;

    fn status(states: &[(u64, ReplicaState, u32)]) -> WorkloadStatus {
        let replica = |(index, (revision, state, restarts)): (usize, &(u64, ReplicaState, u32))| Replica {
            index: u32::try_from(index).unwrap(),
            pid: None,
            state: *state,
            port: None,
            revision: *revision,
            restarts: *restarts,
            started_at_ms: 0,
            memory_bytes: 0,
            last_exit: Some(ReplicaExit { at_ms: 0, code: Some(3), signal: None, reason: "exited".into() }),
            instance: Some(format!("web-{index}")),
        };
        let mut spec = crate::template::read(&json!({}), false);
        (spec.replicas, spec.limits) = (2, Limits { memory_bytes: 1, open_files: 1024 });
        WorkloadStatus {
            name: Workload::parse("web").unwrap(),
            spec,
            revision: 2,
            revisions: Vec::new(),
            resource_version: ResourceVersion("v".into()),
            address: None,
            replicas: states.iter().enumerate().map(replica).collect(),
        }
    }

    #[test]
    fn only_what_the_controller_has_seen_and_is_ready_is_settled() {
        use ReplicaState::{Backoff, Ready, Starting};
        let good = status(&[(2, Ready, 0), (2, Ready, 0)]);
        assert_eq!(stage(&good, true, false), Stage::Settled);
        assert!(matches!(stage(&good, false, false), Stage::Moving { ready: 0, .. }));
        let half = status(&[(2, Ready, 0), (2, Starting, 0)]);
        assert!(matches!(stage(&half, true, false), Stage::Moving { ready: 1, .. }));
        let old = status(&[(1, Ready, 0), (1, Ready, 0)]);
        assert!(matches!(stage(&old, true, false), Stage::Moving { ready: 0, .. }));
        match stage(&status(&[(1, Ready, 0), (2, Backoff, 5)]), true, false) {
            Stage::Failing(why) => assert!(why.contains("web-1: exited with code 3, started 6 times"), "{why}"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(stage(&status(&[(2, Backoff, 1)]), true, false), Stage::Moving { .. }));
        assert!(matches!(stage(&status(&[(2, Starting, 0)]), true, true), Stage::Failing(_)));
    }
}
