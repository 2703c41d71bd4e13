//! Waits until a workload runs as wanted, or clearly will not. Never waits without a bound, never calls
//! a workload ready that is not.

use std::time::{Duration, Instant};

use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::Workload;
use opsward_domain::resource::ReplicaState;
use opsward_domain::spec::Restart;

use crate::options::Options;
use crate::place::Place;
use crate::state::Wanted;
use crate::wire::{Report, Running, RunningReplica};

/// Time between two looks.
const LOOK_MS: u64 = 25;

/// How far a rollout is.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Exactly the wanted replicas are ready.
    Settled,
    /// Under way: ready new ones less old ones left.
    Moving(i64),
    /// It will not get there by itself.
    Failing(String),
}

/// Waits for `name` to settle as `wanted`.
pub(crate) async fn settle(place: &Place, name: &Workload, wanted: &Wanted, options: &Options) -> Result<(), Fault> {
    let patience = Duration::from_millis(options.settle_timeout_ms);
    let (mut best, mut deadline) = (i64::MIN, Instant::now() + patience);
    loop {
        let state = place.state();
        if state.workloads.get(name).is_none_or(|now| now.version != wanted.version) {
            return Err(Fault::conflict(format!("{name} was changed again before it was ready")));
        }
        let report = place.link.report().await;
        let why = match &report {
            Err(fault) => fault.to_string(),
            Ok(report) => match stage(report, state.generation, name, wanted, place)? {
                Stage::Settled => return Ok(()),
                Stage::Failing(why) => return Err(not_ready(Code::Unavailable, name, &why)),
                Stage::Moving(progress) => {
                    if progress > best {
                        best = progress;
                        deadline = Instant::now() + patience;
                    }
                    waiting_for(report, name, wanted)
                }
            },
        };
        if Instant::now() > deadline {
            return Err(not_ready(Code::Timeout, name, &why));
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

/// Waits until nothing runs of `name`, or it is wanted again.
pub(crate) async fn vanish(place: &Place, name: &Workload, options: &Options) -> Result<(), Fault> {
    let bound_ms = options.shim.stop_grace_ms + options.shim.drain_ms + options.settle_timeout_ms;
    let deadline = Instant::now() + Duration::from_millis(bound_ms);
    loop {
        let again = place.state().workloads.contains_key(name);
        if again || !place.link.report().await?.workloads.contains_key(name) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Fault::new(Code::Timeout, format!("{name} does not end")));
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

fn not_ready(code: Code, name: &Workload, why: &str) -> Fault {
    Fault::new(code, format!("{name} did not become ready"))
        .detail(why)
        .hint("replicas of the earlier revision that were ready keep serving; its log says more")
}

fn is_wanted(it: &RunningReplica, wanted: &Wanted) -> bool {
    (it.incarnation, it.replica.revision, it.epoch) == (wanted.incarnation, wanted.revision, wanted.epoch)
        && !it.retiring
}

fn stage(report: &Report, generation: u64, name: &Workload, wanted: &Wanted, place: &Place) -> Result<Stage, Fault> {
    let nothing = Running::default();
    let running = report.workloads.get(name).unwrap_or(&nothing);
    let once = place.spec(name, wanted.incarnation, wanted.revision)?.restart != Restart::Always;
    Ok(judge(running, report.generation >= generation, once, wanted))
}

fn judge(running: &Running, followed: bool, once: bool, wanted: &Wanted) -> Stage {
    if !followed {
        return Stage::Moving(i64::MIN);
    }
    let ours = || running.replicas.iter().filter(|it| is_wanted(it, wanted));
    if let Some(it) = ours().find(|it| it.failing) {
        return Stage::Failing(describe(it));
    }
    let finished = |it: &RunningReplica| {
        let clean = it.replica.last_exit.as_ref().is_some_and(|exit| exit.code == Some(0));
        once && clean && it.replica.state == ReplicaState::Stopped
    };
    let ready = ours().filter(|it| it.replica.state == ReplicaState::Ready || finished(it)).count();
    let wanted_count = usize::try_from(wanted.replicas).unwrap_or(usize::MAX);
    if running.replicas.len() == wanted_count && ready == wanted_count && running.deaf.is_none() {
        return Stage::Settled;
    }
    let others = running.replicas.len() - ours().count();
    Stage::Moving(i64::try_from(ready).unwrap_or(0) - i64::try_from(others).unwrap_or(0))
}

fn describe(it: &RunningReplica) -> String {
    let replica = &it.replica;
    let exit = replica.last_exit.as_ref().map(|exit| match (exit.code, exit.signal) {
        (Some(code), _) => format!("it {} with code {code}", exit.reason),
        (_, Some(signal)) => format!("it ended by signal {signal} ({})", exit.reason),
        _ => exit.reason.clone(),
    });
    let parts = [exit, it.sick.clone()].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let parts = if parts.is_empty() { format!("{:?}", replica.state).to_lowercase() } else { parts };
    format!(
        "replica {} of revision {}: {parts}, started {} times",
        replica.index,
        replica.revision,
        replica.restarts + 1
    )
}

fn waiting_for(report: &Report, name: &Workload, wanted: &Wanted) -> String {
    let Some(running) = report.workloads.get(name) else { return "nothing runs yet".into() };
    if let Some(deaf) = &running.deaf {
        return deaf.clone();
    }
    let unready = |it: &&RunningReplica| is_wanted(it, wanted) && it.replica.state != ReplicaState::Ready;
    match running.replicas.iter().find(unready) {
        Some(it) => describe(it),
        None => "replicas of the earlier revision are still there".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opsward_domain::resource::{Replica, ReplicaExit};

    fn replica(revision: u64, state: ReplicaState) -> RunningReplica {
        RunningReplica {
            replica: Replica {
                index: 0,
                pid: None,
                state,
                port: None,
                revision,
                restarts: 2,
                started_at_ms: 0,
                memory_bytes: 0,
                last_exit: None,
                instance: None,
            },
            incarnation: 1,
            epoch: 0,
            retiring: false,
            failing: false,
            sick: None,
            cpu_seconds: 0.0,
            open_files: 0,
        }
    }

    fn running(replicas: Vec<RunningReplica>) -> Running {
        Running { replicas, deaf: None }
    }

    #[test]
    fn only_exactly_what_is_wanted_is_settled() {
        let wanted = Wanted {
            version: 9,
            incarnation: 1,
            revision: 2,
            epoch: 0,
            replicas: 1,
            port: None,
            revisions: Vec::new(),
        };
        let ready = replica(2, ReplicaState::Ready);
        assert_eq!(judge(&running(vec![ready.clone()]), true, false, &wanted), Stage::Settled);
        assert_eq!(judge(&running(vec![ready.clone()]), false, false, &wanted), Stage::Moving(i64::MIN));
        let old = replica(1, ReplicaState::Ready);
        assert_eq!(judge(&running(vec![ready.clone(), old.clone()]), true, false, &wanted), Stage::Moving(0));
        assert_eq!(judge(&running(vec![old]), true, false, &wanted), Stage::Moving(-1));
        let deaf = Running { deaf: Some("port 5".into()), ..running(vec![ready.clone()]) };
        assert_eq!(judge(&deaf, true, false, &wanted), Stage::Moving(1));
        let exit = ReplicaExit { at_ms: 0, code: Some(0), signal: None, reason: "exited".into() };
        let mut done = replica(2, ReplicaState::Stopped);
        done.replica.last_exit = Some(exit);
        assert_eq!(judge(&running(vec![done.clone()]), true, true, &wanted), Stage::Settled);
        assert_eq!(judge(&running(vec![done.clone()]), true, false, &wanted), Stage::Moving(0));
        let failing = RunningReplica { failing: true, ..done };
        match judge(&running(vec![failing]), true, true, &wanted) {
            Stage::Failing(why) => assert!(why.contains("exited with code 0") && why.contains("3 times"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}
