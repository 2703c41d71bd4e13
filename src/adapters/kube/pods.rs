//! From pods to replicas. A pod that is on its way out, or has ended for good, is no replica.

use opsward_domain::resource::{Replica, ReplicaExit, ReplicaState};
use serde_json::Value;

use crate::json::{flag, items, name, number, quoted, text, time_ms};

/// Reasons to wait that are part of every start.
const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// Time after its start within which a container that is not ready counts as starting.
const WARMING_MS: i64 = 1_000;

/// True for a pod that counts: not ended, and not being ended.
pub(crate) fn counts(pod: &Value) -> bool {
    pod.pointer("/metadata/deletionTimestamp").is_none()
        && !matches!(text(pod, "/status/phase"), "Failed" | "Succeeded")
}

/// The status of one container; the first if there is none of that name.
fn container<'a>(pod: &'a Value, main: &str) -> Option<&'a Value> {
    let all = items(pod, "/status/containerStatuses");
    all.iter().find(|it| text(it, "/name") == main).or_else(|| all.first())
}

/// A condition of a pod.
fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    items(pod, "/status/conditions").iter().find(|it| text(it, "/type") == kind)
}

/// One pod as a replica of `revision`.
pub(crate) fn replica(pod: &Value, index: u32, revision: u64, main: &str) -> Replica {
    let nothing = Value::Null;
    let status = container(pod, main).unwrap_or(&nothing);
    let started = time_ms(status, "/state/running/startedAt");
    Replica {
        index,
        pid: None,
        state: state(pod, status),
        port: None,
        revision,
        restarts: number(status, "/restartCount").and_then(|it| u32::try_from(it).ok()).unwrap_or(0),
        started_at_ms: started.or_else(|| time_ms(pod, "/metadata/creationTimestamp")).unwrap_or(0),
        memory_bytes: 0,
        last_exit: last_exit(pod, status),
        instance: Some(name(pod).to_owned()),
    }
}

fn state(pod: &Value, status: &Value) -> ReplicaState {
    let ready = condition(pod, "Ready");
    if ready.is_some_and(|it| text(it, "/status") == "True") {
        return ReplicaState::Ready;
    }
    if status.pointer("/state/running").is_some() {
        // It was ready once if it lost that some time after its start.
        let lost = ready.and_then(|it| time_ms(it, "/lastTransitionTime")).unwrap_or(0);
        let started = time_ms(status, "/state/running/startedAt").unwrap_or(i64::MAX);
        let was_ready = flag(status, "/started") && lost > started.saturating_add(WARMING_MS);
        return if was_ready { ReplicaState::Unhealthy } else { ReplicaState::Starting };
    }
    match text(status, "/state/waiting/reason") {
        reason if reason.is_empty() || USUAL.contains(&reason) => ReplicaState::Starting,
        _ => ReplicaState::Backoff,
    }
}

/// How it ended the last time, or why it cannot start.
fn last_exit(pod: &Value, status: &Value) -> Option<ReplicaExit> {
    let ended = ["/state/terminated", "/lastState/terminated"].into_iter().find_map(|at| status.pointer(at));
    if let Some(ended) = ended {
        let code = ended.pointer("/exitCode").and_then(Value::as_i64).and_then(|it| i32::try_from(it).ok());
        let signal = number(ended, "/signal").filter(|signal| *signal > 0).and_then(|it| i32::try_from(it).ok());
        let reason = match text(ended, "/reason") {
            "OOMKilled" => "memory_limit".to_owned(),
            "Completed" | "Error" | "" => "exited".to_owned(),
            other => format!("start_failed: {}", quoted(other)),
        };
        let code = code.filter(|_| signal.is_none());
        return Some(ReplicaExit { at_ms: time_ms(ended, "/finishedAt").unwrap_or(0), code, signal, reason });
    }
    let (reason, message, at) = blocked(pod, status)?;
    let reason = format!("start_failed: {reason}: {}", quoted(message));
    Some(ReplicaExit { at_ms: at, code: None, signal: None, reason: reason.trim_end_matches([':', ' ']).to_owned() })
}

/// What keeps a pod from starting at all.
fn blocked<'a>(pod: &'a Value, status: &'a Value) -> Option<(&'a str, &'a str, i64)> {
    let made = time_ms(pod, "/metadata/creationTimestamp").unwrap_or(0);
    let inits = items(pod, "/status/initContainerStatuses").iter();
    for status in inits.chain([status]) {
        let reason = text(status, "/state/waiting/reason");
        if !reason.is_empty() && !USUAL.contains(&reason) {
            return Some((reason, text(status, "/state/waiting/message"), made));
        }
    }
    let scheduled = condition(pod, "PodScheduled").filter(|it| text(it, "/status") == "False")?;
    let at = time_ms(scheduled, "/lastTransitionTime").unwrap_or(made);
    Some((text(scheduled, "/reason"), text(scheduled, "/message"), at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: Value) -> Value {
        json!({ "metadata": { "name": "web-1", "creationTimestamp": "2026-01-01T00:00:00Z" }, "status": status })
    }

    fn running(ready: &str, at: &str) -> Value {
        pod(json!({
            "phase": "Running",
            "conditions": [{ "type": "Ready", "status": ready, "lastTransitionTime": at }],
            "containerStatuses": [{ "name": "app", "started": true, "restartCount": 2,
                "state": { "running": { "startedAt": "2026-01-01T00:00:10Z" } },
                "lastState": { "terminated": { "exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T00:00:09Z" } } }]
        }))
    }

    #[test]
    fn states_follow_conditions() {
        let ready = replica(&running("True", "2026-01-01T00:00:12Z"), 0, 3, "app");
        assert_eq!((ready.state, ready.restarts, ready.revision), (ReplicaState::Ready, 2, 3));
        assert_eq!(ready.last_exit.unwrap().reason, "memory_limit");
        assert_eq!(ready.instance.as_deref(), Some("web-1"));
        assert_eq!(replica(&running("False", "2026-01-01T00:05:00Z"), 0, 1, "app").state, ReplicaState::Unhealthy);
        assert_eq!(replica(&running("False", "2026-01-01T00:00:10Z"), 0, 1, "app").state, ReplicaState::Starting);
        assert_eq!(replica(&pod(json!({"phase": "Pending"})), 0, 1, "app").state, ReplicaState::Starting);
    }

    #[test]
    fn why_a_pod_does_not_start_is_told() {
        let crash = pod(json!({"containerStatuses": [{"name": "app", "restartCount": 9,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 3}}}]}));
        let seen = replica(&crash, 0, 1, "app");
        assert_eq!((seen.state, seen.last_exit.unwrap().code), (ReplicaState::Backoff, Some(3)));
        let image = pod(json!({"containerStatuses": [{"name": "app",
            "state": {"waiting": {"reason": "ErrImagePull", "message": "no such\nimage"}}}]}));
        let seen = replica(&image, 0, 1, "app");
        assert_eq!(seen.last_exit.unwrap().reason, "start_failed: ErrImagePull: no such image");
        let full = pod(json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available"}]}));
        assert!(replica(&full, 0, 1, "app").last_exit.unwrap().reason.contains("Unschedulable: 0/3"));
    }

    #[test]
    fn what_ended_is_no_replica() {
        assert!(!counts(&pod(json!({"phase": "Failed", "reason": "Evicted"}))));
        assert!(!counts(&json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})));
        assert!(counts(&pod(json!({"phase": "Pending"}))));
    }
}
