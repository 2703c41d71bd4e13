//! Pods: why one does not run, does not get ready, or does not go away.

mod crash;
mod create;
mod image;
mod mount;
mod pending;
mod ready;
pub(crate) mod reference;

use serde_json::Value;

use super::{Cx, HOUR_MS, MINUTE_MS, SETTLE_MS};
use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, items, text};
use crate::symptom::Symptom;

pub(crate) use crash::explain;

/// A pod that should be gone for this long is stuck.
const STUCK_MS: i64 = 5 * MINUTE_MS;

/// A container of a pod with its wanted and its present state.
#[derive(Clone, Copy)]
pub(crate) struct Container<'a> {
    pub(crate) pod: &'a Object,
    pub(crate) name: &'a str,
    pub(crate) spec: &'a Value,
    pub(crate) status: &'a Value,
    pub(crate) init: bool,
}

impl Container<'_> {
    /// `status.containerStatuses[app].state.waiting`.
    pub(crate) fn field(&self, rest: &str) -> String {
        let list = if self.init { "initContainerStatuses" } else { "containerStatuses" };
        format!("status.{list}[{}].{rest}", self.name)
    }

    /// Where the wanted state of this container is written: in its workload, if it has one.
    pub(crate) fn spec_field(&self, top: &Ref, rest: &str) -> String {
        let list = if self.init { "initContainers" } else { "containers" };
        let prefix = match top.kind.as_str() {
            "Pod" => "spec",
            "CronJob" => "spec.jobTemplate.spec.template.spec",
            _ => "spec.template.spec",
        };
        format!("{prefix}.{list}[{}].{rest}", self.name)
    }

    /// `init container x` or `container x`.
    pub(crate) fn shown(&self) -> String {
        format!("{}container {}", if self.init { "init " } else { "" }, self.name)
    }
}

/// Containers of a pod that have a state, init containers first.
pub(crate) fn containers(pod: &Object) -> Vec<Container<'_>> {
    let of = |specs: &'static str, statuses: &'static str, init: bool| {
        items(&pod["status"][statuses]).iter().map(move |status| {
            let name = text(&status["name"]);
            let spec = items(&pod["spec"][specs]).iter().find(|spec| text(&spec["name"]) == name);
            Container { pod, name, spec: spec.unwrap_or(&Value::Null), status, init }
        })
    };
    of("initContainers", "initContainerStatuses", true).chain(of("containers", "containerStatuses", false)).collect()
}

pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for pod in cx.objects.of_kind("Pod") {
        if pod.deleted_ms().is_some() {
            out.extend(stuck(cx, pod));
            continue;
        }
        match text(&pod["status"]["phase"]) {
            "Succeeded" => {}
            "Failed" => out.extend(failed(cx, pod)),
            _ if on_lost_node(cx, pod) => out.push(lost(pod)),
            _ if text(&pod["spec"]["nodeName"]).is_empty() => pending::run(cx, pod, out),
            _ => scheduled(cx, pod, out),
        }
    }
}

fn scheduled(cx: &Cx<'_>, pod: &Object, out: &mut Vec<Symptom>) {
    let before = out.len();
    for container in containers(pod) {
        if let Some(symptom) = one(cx, &container) {
            out.push(symptom);
            // While an init container fails, what comes after it only waits.
            if container.init {
                return;
            }
        }
    }
    if out.len() == before {
        out.extend(mount::run(cx, pod));
    }
    if out.len() == before {
        out.extend(ready::run(cx, pod));
    }
}

/// At most one symptom a container: the most direct reason.
fn one(cx: &Cx<'_>, container: &Container<'_>) -> Option<Symptom> {
    let waiting = &container.status["state"]["waiting"];
    let message = text(&waiting["message"]);
    match text(&waiting["reason"]) {
        "CreateContainerConfigError" => create::config(cx, container, message),
        "CreateContainerError"
        | "RunContainerError"
        | "StartError"
        | "ContainerCannotRun"
        | "PostStartHookError"
        | "PreCreateHookError"
        | "PreStartHookError"
        | "ContainerStatusUnknown" => Some(create::runtime(cx, container, message)),
        "CrashLoopBackOff" => crash::looping(cx, container),
        reason if image::is_reason(reason) => image::run(cx, container, reason, message),
        _ => crash::restarting(cx, container),
    }
}

fn on_lost_node(cx: &Cx<'_>, pod: &Object) -> bool {
    let node = text(&pod["spec"]["nodeName"]);
    !node.is_empty()
        && cx.objects.find("Node", "", node).is_some_and(|node| node.condition("Ready").is_some_and(|c| !c.is("True")))
        && pod.condition("Ready").is_some_and(|ready| !ready.is("True"))
}

fn lost(pod: &Object) -> Symptom {
    let node = text(&pod["spec"]["nodeName"]);
    Symptom::new("pod-on-lost-node", Severity::Error, &pod.at, "spec.nodeName", format!("its node {node} is not ready"))
        .since(pod.condition("Ready").and_then(|ready| ready.since_ms))
        .because([Ref::new("Node", "", node)])
}

fn stuck(cx: &Cx<'_>, pod: &Object) -> Option<Symptom> {
    let deleted = pod.deleted_ms();
    if !cx.older(deleted, STUCK_MS) || cx.now_ms.is_none() {
        return None;
    }
    let finalizers: Vec<&str> = items(&pod["metadata"]["finalizers"]).iter().map(text).collect();
    let node = text(&pod["spec"]["nodeName"]);
    let (field, why, remedy) = if finalizers.is_empty() {
        let remedy = Remedy::step(format!(
            "see on node {node} why the kubelet does not end it; if the node is gone, remove the pod by force"
        ));
        (
            "metadata.deletionTimestamp",
            "its node has not confirmed the end".to_owned(),
            remedy.kubectl("delete", &pod.at, " --force --grace-period=0"),
        )
    } else {
        let remedy = Remedy::step(
            "find the controller that owns the finalizer; only if it is gone for good, remove the finalizer by hand",
        );
        ("metadata.finalizers", format!("finalizer {} is still there", finalizers.join(", ")), remedy)
    };
    Some(
        Symptom::new("pod-stuck-terminating", Severity::Error, &pod.at, field, format!("cannot be removed: {why}"))
            .since(deleted)
            .quote(&pod.at, "metadata.deletionTimestamp", text(&pod["metadata"]["deletionTimestamp"]))
            .remedy(remedy)
            .because([Ref::new("Node", "", node)]),
    )
}

/// A pod that ended in failure. Jobs answer for their own; what a controller has replaced is history.
fn failed(cx: &Cx<'_>, pod: &Object) -> Option<Symptom> {
    let top = cx.objects.top(pod);
    if matches!(top.kind.as_str(), "Job" | "CronJob") {
        return None;
    }
    let reason = text(&pod["status"]["reason"]);
    let message = text(&pod["status"]["message"]);
    let ended = ended_ms(pod);
    let replaced = top != pod.at;
    if replaced && cx.older(ended, HOUR_MS) && cx.now_ms.is_some() {
        return None;
    }
    let node = text(&pod["spec"]["nodeName"]);
    let by_node = [Ref::new("Node", "", node)];
    let severity = if replaced { Severity::Warning } else { Severity::Error };
    let symptom = match reason {
        "Evicted" => {
            let what =
                ["ephemeral-storage", "memory", "inodes", "pids"].into_iter().find(|what| message.contains(what));
            let what = what.unwrap_or("resources");
            Symptom::new("pod-evicted", severity, &top, "", format!("its pods are evicted: the node ran low on {what}"))
                .detail(what)
                .seen_on(&pod.at, format!("evicted from {node}"))
                .remedy(Remedy::step(format!(
                    "request and limit {what} for what it really uses, or make room on the node"
                )))
                .because(by_node)
        }
        "Preempting" | "Preempted" => Symptom::new(
            "pod-preempted",
            severity,
            &top,
            "spec.template.spec.priorityClassName",
            "its pods make room for pods of a higher priority",
        )
        .seen_on(&pod.at, "preempted")
        .remedy(Remedy::step("add capacity, or give it a priority class that fits its worth")),
        "NodeShutdown" | "Terminated" | "NodeLost" | "Shutdown" => {
            Symptom::new("pod-node-shutdown", severity, &top, "", "its pod ended because the node shut down")
                .seen_on(&pod.at, format!("node {node} shut down"))
                .remedy(Remedy::step(
                    "nothing, if the shutdown was planned; give a bare pod a controller so that it moves",
                ))
                .because(by_node)
        }
        "" => return bare_failure(cx, pod, &top, severity),
        other => Symptom::new("pod-rejected", Severity::Error, &top, "", format!("its node refuses the pod: {other}"))
            .detail(other)
            .seen_on(&pod.at, format!("refused by {node}: {other}"))
            .remedy(Remedy::step(
                "compare what the pod needs with what the node offers, then let its controller make a new pod",
            ))
            .because(by_node),
    };
    Some(symptom.since(ended).quote(&pod.at, "status.message", message))
}

fn bare_failure(cx: &Cx<'_>, pod: &Object, top: &Ref, severity: Severity) -> Option<Symptom> {
    let all = containers(pod);
    let container =
        all.iter().find(|c| c.status["state"]["terminated"]["exitCode"].as_i64().is_some_and(|code| code != 0))?;
    explain(cx, container, &container.status["state"]["terminated"], top, severity)
}

/// When the last container of a pod ended.
pub(crate) fn ended_ms(pod: &Object) -> Option<i64> {
    let ended =
        containers(pod).iter().filter_map(|c| crate::when::parse(&c.status["state"]["terminated"]["finishedAt"])).max();
    ended.or_else(|| crate::when::parse(&pod["status"]["startTime"])).or_else(|| pod.created_ms())
}

/// The words of the latest event about a pod with one of these reasons.
pub(crate) fn event_text<'a>(cx: &Cx<'a>, pod: &Object, reasons: &[&str]) -> Option<crate::objects::Happening<'a>> {
    cx.objects.events(&pod.at).rev().find(|event| reasons.contains(&event.reason))
}
