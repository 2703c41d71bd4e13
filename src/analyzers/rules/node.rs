//! Nodes: alive, under pressure, cordoned and forgotten, with a clock of their own.

use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, items, text};
use crate::objects::{SKEW_MAX_MS, median, renewals};
use crate::symptom::Symptom;
use crate::when;

use super::{Cx, DAY_MS, HOUR_MS, SETTLE_MS};

/// Conditions that are bad when true: the kubelet's, then those of the node problem detector.
const BAD: [(&str, Severity, &str); 12] = [
    ("MemoryPressure", Severity::Error, "runs out of memory and evicts pods"),
    ("DiskPressure", Severity::Error, "runs out of disk and evicts pods"),
    ("PIDPressure", Severity::Error, "runs out of process ids"),
    ("NetworkUnavailable", Severity::Error, "has no pod network"),
    ("KernelDeadlock", Severity::Error, "has a deadlocked kernel"),
    ("ReadonlyFilesystem", Severity::Error, "has a file system that turned read-only"),
    ("FrequentKubeletRestart", Severity::Warning, "restarts its kubelet often"),
    ("FrequentContainerdRestart", Severity::Warning, "restarts its container runtime often"),
    ("FrequentDockerRestart", Severity::Warning, "restarts its container runtime often"),
    ("CorruptDockerOverlay2", Severity::Error, "has a damaged image store"),
    ("NTPProblem", Severity::Warning, "has a clock that is not in step"),
    ("FrequentUnregisterNetDevice", Severity::Warning, "loses network devices"),
];
/// Longer than a usual maintenance.
const CORDONED_MS: i64 = 2 * HOUR_MS;

pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for node in cx.objects.of_kind("Node") {
        if let Some(symptom) = not_ready(cx, node) {
            out.push(symptom);
            continue;
        }
        out.extend(BAD.iter().filter_map(|(kind, severity, claim)| pressure(node, kind, *severity, claim)));
        out.extend(cordoned(cx, node));
    }
    clocks(cx, out);
}

fn not_ready(cx: &Cx<'_>, node: &Object) -> Option<Symptom> {
    let ready = node.condition("Ready").filter(|ready| !ready.is("True"))?;
    if !cx.older(node.created_ms(), SETTLE_MS) {
        return None;
    }
    let silent = ready.is("Unknown");
    let network = ready.message.contains("cni")
        || ready.message.contains("NetworkPluginNotReady")
        || ready.message.contains("NetworkReady=false");
    let (claim, remedy) = if silent {
        (
            "is not ready: its kubelet has stopped reporting",
            "see whether the machine is up and reachable; then the kubelet and the container runtime on it",
        )
    } else if network {
        ("is not ready: its pod network is not set up", "look at the network plugin's pods on it")
    } else if ready.message.contains("PLEG") {
        (
            "is not ready: its container runtime does not keep up",
            "look at the container runtime and the disk of the node; restart the runtime if it hangs",
        )
    } else if ready.message.contains("container runtime is down") || ready.message.contains("runtime network not ready")
    {
        ("is not ready: its container runtime is down", "restart the container runtime on the node")
    } else {
        ("is not ready", "read the condition's words, then the kubelet's log on the node")
    };
    let more = if node["spec"]["unschedulable"] == true { " (it is cordoned, too)" } else { "" };
    let mut symptom = Symptom::new(
        "node-not-ready",
        Severity::Critical,
        &node.at,
        "status.conditions[Ready]",
        format!("{claim}{more}"),
    )
    .since(ready.since_ms)
    .quote(&node.at, "status.conditions[Ready].message", ready.message)
    .remedy(Remedy::step(remedy).kubectl("describe", &node.at, ""));
    if network {
        let pods = cx.objects.of_kind("Pod").filter(|pod| text(&pod["spec"]["nodeName"]) == node.name());
        let plugins = pods.filter(|pod| {
            pod["spec"]["hostNetwork"] == true && pod.controller().is_some_and(|owner| owner.kind == "DaemonSet")
        });
        symptom = symptom.because(plugins.map(|pod| pod.at.clone()));
    }
    Some(symptom)
}

fn pressure(node: &Object, kind: &str, severity: Severity, claim: &str) -> Option<Symptom> {
    let said = node.condition(kind).filter(|c| c.is("True"))?;
    let remedy = match kind {
        "DiskPressure" => "remove unused images and logs, find what fills the disk, or enlarge it",
        "MemoryPressure" => "find the pods that use more than they request, and give them limits; add memory or nodes",
        "PIDPressure" => "find the pod that starts processes without end; set a pod pid limit",
        "NetworkUnavailable" => "look at the network plugin and the routes of this node",
        _ => "drain the node, and repair or replace it",
    };
    Some(
        Symptom::new("node-condition", severity, &node.at, &format!("status.conditions[{kind}]"), claim)
            .since(said.since_ms)
            .quote(&node.at, format!("status.conditions[{kind}].message"), said.message)
            .remedy(Remedy::step(remedy).kubectl("describe", &node.at, "")),
    )
}

fn cordoned(cx: &Cx<'_>, node: &Object) -> Option<Symptom> {
    if node["spec"]["unschedulable"] != true {
        return None;
    }
    let since = items(&node["spec"]["taints"])
        .iter()
        .find(|taint| text(&taint["key"]) == "node.kubernetes.io/unschedulable")
        .and_then(|taint| when::parse(&taint["timeAdded"]));
    if since.is_none() || !cx.older(since, CORDONED_MS) {
        return None;
    }
    let severity = if cx.older(since, DAY_MS) { Severity::Warning } else { severity_of_need(cx) };
    Some(
        Symptom::new(
            "node-cordoned",
            severity,
            &node.at,
            "spec.unschedulable",
            format!("has been cordoned for {}: nothing new runs on it", when::span(cx.age_ms(since))),
        )
        .since(since)
        .quote(&node.at, "spec.unschedulable", "true")
        .remedy(Remedy::step("if its maintenance is over, uncordon it").kubectl(
            "uncordon",
            &Ref::new("Node", "", node.name()),
            "",
        )),
    )
}

/// A cordon of some hours matters while pods wait for a place.
fn severity_of_need(cx: &Cx<'_>) -> Severity {
    let waits =
        |pod: &Object| pod.condition("PodScheduled").is_some_and(|c| c.is("False") && c.reason == "Unschedulable");
    if cx.objects.of_kind("Pod").any(waits) { Severity::Warning } else { Severity::Info }
}

/// A node that renews its lease with a time that is not that of the others, while it is well.
fn clocks(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    let leases = renewals(cx.objects.in_space("Lease", "kube-node-lease"));
    if leases.len() < 3 {
        return;
    }
    let Some(middle) = median(leases.values().copied().collect()) else { return };
    for (name, at) in leases {
        let off = at - middle;
        let Some(node) = cx.objects.find("Node", "", &name) else { continue };
        let well = node.condition("Ready").is_some_and(|ready| ready.is("True"));
        if off.abs() <= SKEW_MAX_MS || !well {
            continue;
        }
        let claim = format!(
            "has a clock that is {} {} the others",
            when::span(off.abs()),
            if off > 0 { "ahead of" } else { "behind" }
        );
        out.push(
            Symptom::new("node-clock", Severity::Warning, &node.at, "lease.spec.renewTime", claim)
                .quote(&Ref::new("Lease", "kube-node-lease", name), "spec.renewTime", &when::iso(at))
                .remedy(Remedy::step(
                    "repair time synchronisation on the node: certificates, tokens and logs depend on it",
                )),
        );
    }
}
