//! Pods that are placed but whose volumes or network are not set up.

use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, items, text};
use crate::symptom::Symptom;

use super::{Cx, MINUTE_MS, SETTLE_MS, containers, reference};

/// Making containers takes at most this long before silence is suspicious.
const CREATING_MS: i64 = 10 * MINUTE_MS;

/// Looks at a placed pod none of whose containers complains.
pub(super) fn run(cx: &Cx<'_>, pod: &Object) -> Option<Symptom> {
    let all = containers(pod);
    let creating = all
        .iter()
        .any(|c| matches!(text(&c.status["state"]["waiting"]["reason"]), "ContainerCreating" | "PodInitializing"));
    let none_started =
        all.iter().all(|c| !c.status["state"]["running"].is_object() && !c.status["state"]["terminated"].is_object());
    if !(creating || all.is_empty()) || !none_started || text(&pod["status"]["phase"]) != "Pending" {
        return None;
    }
    let placed = pod.condition("PodScheduled").and_then(|c| c.since_ms).or_else(|| pod.created_ms());
    for event in cx.objects.events(&pod.at).rev() {
        if let Some(symptom) = told(cx, pod, event.reason, event.message) {
            let late = matches!(symptom.rule, "config-missing" | "config-key-missing") || cx.older(placed, SETTLE_MS);
            return late.then(|| symptom.since(event.first_ms.or(placed)).quote(event.at, "message", event.message));
        }
    }
    if let Some(missing) = unfed(cx, pod) {
        return cx.older(placed, SETTLE_MS).then(|| missing.since(placed));
    }
    if !cx.older(placed, CREATING_MS) || all.is_empty() {
        return None;
    }
    let node = text(&pod["spec"]["nodeName"]);
    Some(
        Symptom::new(
            "container-creating-stuck",
            Severity::Error,
            &pod.at,
            "status.containerStatuses",
            "its containers have been in the making for long, and nothing says why",
        )
        .since(placed)
        .remedy(
            Remedy::step(format!("read the events of the pod and the kubelet's log on node {node}"))
                .kubectl("describe", &pod.at, ""),
        )
        .because([Ref::new("Node", "", node)]),
    )
}

fn told(cx: &Cx<'_>, pod: &Object, reason: &str, message: &str) -> Option<Symptom> {
    let node = Ref::new("Node", "", text(&pod["spec"]["nodeName"]));
    match reason {
        "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" => Some(volume(cx, pod, message).because([node])),
        "FailedCreatePodSandBox" | "NetworkNotReady" | "FailedPodSandBoxStatus" => {
            let addresses = message.contains("no IP addresses")
                || message.contains("failed to assign an IP")
                || message.contains("no available IP");
            let (rule, claim, remedy) = if addresses {
                (
                    "pod-addresses-exhausted",
                    "the network has no address left for the pod",
                    "enlarge the address range, or move pods to nodes with free addresses",
                )
            } else {
                (
                    "pod-network-failed",
                    "the pod's network cannot be set up",
                    "look at the network plugin's pods on this node",
                )
            };
            Some(
                Symptom::new(rule, Severity::Error, &node, "", format!("{claim} on this node"))
                    .seen_on(&pod.at, claim)
                    .remedy(Remedy::step(remedy))
                    .because(network_pods(cx, &node.name)),
            )
        }
        _ => None,
    }
}

/// Pods of DaemonSets in system namespaces on the node: the network plugin is one of them.
fn network_pods(cx: &Cx<'_>, node: &str) -> Vec<Ref> {
    cx.objects
        .of_kind("Pod")
        .filter(|pod| text(&pod["spec"]["nodeName"]) == node && pod["spec"]["hostNetwork"] == true)
        .filter(|pod| pod.controller().is_some_and(|owner| owner.kind == "DaemonSet"))
        .map(|pod| pod.at.clone())
        .collect()
}

fn volume(cx: &Cx<'_>, pod: &Object, message: &str) -> Symptom {
    let name = message.split_once("volume \"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default();
    let spec = items(&pod["spec"]["volumes"]).iter().find(|volume| text(&volume["name"]) == name);
    let waits = format!("volume {name} cannot be mounted");
    let source = |kind: &str| match (kind, spec) {
        ("ConfigMap", Some(volume)) => volume["configMap"]["name"].as_str(),
        ("Secret", Some(volume)) => volume["secret"]["secretName"].as_str(),
        _ => None,
    };
    if let Some((kind, name, key)) = reference::missing_in(message) {
        return reference::symptom(cx.objects, pod.namespace(), kind, &name, key.as_deref(), Severity::Error)
            .seen_on(&pod.at, waits);
    }
    if let Some((kind, key)) = reference::missing_item(message)
        && let Some(name) = source(kind)
    {
        return reference::symptom(cx.objects, pod.namespace(), kind, name, Some(&key), Severity::Error)
            .seen_on(&pod.at, waits);
    }
    let root = claim_of(cx, pod, name).unwrap_or_else(|| pod.at.clone());
    let claim = (root != pod.at).then_some(());
    let (rule, says, remedy) = if message.contains("Multi-Attach error") {
        (
            "volume-multi-attach",
            "is attached to another node and can be attached to one only",
            "wait until the old pod is gone; if its node is lost, delete that pod by force; for rolling updates use strategy Recreate or a volume that several nodes can mount",
        )
    } else if message.contains("no such file or directory") || message.contains("hostPath type check failed") {
        ("volume-path-missing", "names a path that is not there", "make the path on the node, or correct it")
    } else if message.contains("driver name") && message.contains("not found in the list of registered CSI drivers") {
        (
            "volume-driver-missing",
            "needs a storage driver that does not run on the node",
            "look at the pods of the storage driver on this node",
        )
    } else if message.contains("access denied") || message.contains("permission denied") {
        (
            "volume-access-denied",
            "is refused by the storage server",
            "check the server's export rules and the credentials",
        )
    } else {
        (
            "volume-mount-failed",
            "cannot be mounted",
            "read the words of the event; check the storage driver's pods and the server behind the volume",
        )
    };
    let subject = if claim.is_some() { String::new() } else { format!("volume {name} ") };
    Symptom::new(rule, Severity::Error, &root, "", format!("{subject}{says}"))
        .detail(name)
        .seen_on(&pod.at, waits)
        .remedy(Remedy::step(remedy))
}

/// The claim behind a volume that an event names: by the pod's word for it, or by the PersistentVolume's name.
fn claim_of(cx: &Cx<'_>, pod: &Object, name: &str) -> Option<Ref> {
    let claims = || {
        items(&pod["spec"]["volumes"])
            .iter()
            .filter_map(|volume| Some((text(&volume["name"]), volume["persistentVolumeClaim"]["claimName"].as_str()?)))
    };
    let at = |claim: &str| Ref::new("PersistentVolumeClaim", pod.namespace(), claim);
    let bound =
        |claim: &str| cx.objects.get(&at(claim)).is_some_and(|claim| text(&claim["spec"]["volumeName"]) == name);
    if let Some((_, claim)) = claims().find(|(volume, claim)| *volume == name || bound(claim)) {
        return Some(at(claim));
    }
    let other = items(&pod["spec"]["volumes"]).iter().any(|volume| text(&volume["name"]) == name);
    let mut all = claims();
    match (other, all.next(), all.next()) {
        (false, Some((_, claim)), None) => Some(at(claim)),
        _ => None,
    }
}

/// A volume whose source is known not to exist.
fn unfed(cx: &Cx<'_>, pod: &Object) -> Option<Symptom> {
    reference::of(&pod.value).into_iter().filter(|at| !at.optional).find_map(|at| {
        let root = Ref::new(at.kind, pod.namespace(), at.name);
        let missing = match (cx.objects.get(&root), at.key) {
            (Some(object), Some(key)) => !reference::has_key(object, key),
            (Some(_), None) => false,
            (None, _) => cx.objects.is_absent(&root),
        };
        let key = at.key.filter(|_| cx.objects.get(&root).is_some());
        missing.then(|| {
            reference::symptom(cx.objects, pod.namespace(), at.kind, at.name, key, Severity::Error)
                .seen_on(&pod.at, format!("spec.{} waits for it", at.field))
        })
    })
}
