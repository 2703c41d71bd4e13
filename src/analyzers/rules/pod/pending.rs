//! Pods that no node takes: what the scheduler says, clause by clause, and the one reason that decides.

use serde_json::Value;

use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, items, pairs, text};
use crate::symptom::Symptom;
use crate::{near, quantity, selector};

use super::{Cx, MINUTE_MS, event_text};

/// Scheduling takes at most this long.
const SCHEDULE_MS: i64 = MINUTE_MS;
/// A cluster autoscaler gets this long to bring a node.
const GROW_MS: i64 = 10 * MINUTE_MS;

/// Why nodes were refused, from weak to strong: with equal counts the later decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Other,
    ControlPlane,
    NotReady,
    Cordoned,
    Taint,
    Resources,
    Pods,
    Spread,
    Affinity,
    Ports,
    Selector,
    VolumeCount,
    VolumeZone,
    Claim,
}

/// One clause of the scheduler's message: how many nodes, why, and its words.
fn clauses(message: &str) -> Vec<(u64, Why, &str)> {
    let body = message
        .split_once(": ")
        .filter(|(head, _)| head.contains("nodes are available"))
        .map_or(message, |(_, body)| body);
    let body = body.split(" preemption:").next().unwrap_or(body);
    let mut found = Vec::new();
    let mut depth = 0_i32;
    let mut start = 0;
    let mut pieces = Vec::new();
    for (at, c) in body.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth <= 0 => {
                pieces.push(&body[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&body[start..]);
    for piece in pieces {
        let piece = piece.trim().trim_end_matches('.');
        let count = piece.split_whitespace().next().and_then(|word| word.parse().ok());
        found.push((count.unwrap_or(0), why(piece), piece));
    }
    found
}

fn why(clause: &str) -> Why {
    let says = |part: &str| clause.contains(part);
    if says("persistentvolumeclaim") || says("PersistentVolumeClaim") {
        Why::Claim
    } else if says("volume node affinity") || says("available volume zone") {
        Why::VolumeZone
    } else if says("max volume count") || says("max node volume count") {
        Why::VolumeCount
    } else if says("Insufficient") {
        Why::Resources
    } else if says("Too many pods") {
        Why::Pods
    } else if says("free ports") {
        Why::Ports
    } else if says("anti-affinity") || says("pod affinity") {
        Why::Affinity
    } else if says("topology spread") {
        Why::Spread
    } else if says("affinity") || says("node selector") || says("NodeName") || says("requested node name") {
        Why::Selector
    } else if says("unschedulable") {
        Why::Cordoned
    } else if says("not-ready") || says("unreachable") || says("NotReady") || says("network-unavailable") {
        Why::NotReady
    } else if says("node-role.kubernetes.io/control-plane") || says("node-role.kubernetes.io/master") {
        Why::ControlPlane
    } else if says("taint") {
        Why::Taint
    } else {
        Why::Other
    }
}

/// The reason that decides: the claim, which concerns the pod as a whole, else what most nodes say.
fn decisive<'a>(clauses: &[(u64, Why, &'a str)]) -> (Why, &'a str) {
    let rank = |(count, why, _): &&(u64, Why, &str)| (*why == Why::Claim, *why > Why::ControlPlane, *count, *why);
    clauses.iter().max_by_key(rank).map_or((Why::Other, ""), |(_, why, clause)| (*why, *clause))
}

pub(super) fn run(cx: &Cx<'_>, pod: &Object, out: &mut Vec<Symptom>) {
    let scheduled = pod.condition("PodScheduled");
    if scheduled.is_some_and(|c| c.reason == "SchedulingGated") || !pod.is_live() {
        return;
    }
    let since = scheduled.and_then(|c| c.since_ms).or_else(|| pod.created_ms());
    let growing =
        event_text(cx, pod, &["TriggeredScaleUp", "Nominated"]).is_some_and(|event| !cx.older(event.last_ms, GROW_MS));
    if !cx.older(since, SCHEDULE_MS) || (growing && !cx.older(since, GROW_MS)) {
        return;
    }
    let event = event_text(cx, pod, &["FailedScheduling"]);
    let message =
        scheduled.map(|c| c.message).filter(|message| !message.is_empty()).or_else(|| event.map(|event| event.message));
    let Some(message) = message else {
        out.extend(unseen(cx, pod, since));
        return;
    };
    let (why, clause) = decisive(&clauses(message));
    let mut symptom = reason(cx, pod, why, clause, message).since(since);
    symptom = match scheduled {
        Some(c) if !c.message.is_empty() => symptom.quote(&pod.at, "status.conditions[PodScheduled].message", message),
        _ => event.map_or(symptom.clone(), |event| symptom.quote(event.at, "message", message)),
    };
    out.push(symptom);
}

/// No scheduler ever looked at it.
fn unseen(cx: &Cx<'_>, pod: &Object, since: Option<i64>) -> Option<Symptom> {
    let name = text(&pod["spec"]["schedulerName"]);
    if !cx.older(since, 5 * MINUTE_MS) || text(&pod["status"]["phase"]) != "Pending" {
        return None;
    }
    let top = cx.objects.top(pod);
    Some(
        Symptom::new("no-scheduler", Severity::Error, &top, "spec.template.spec.schedulerName", format!("no scheduler looks at its pods; they ask for {name:?}"))
            .seen_on(&pod.at, "is not scheduled, and no scheduler says why")
            .since(since)
            .remedy(Remedy::step("correct schedulerName, or start the scheduler it names; if it is the default one, look at the control plane")),
    )
}

#[allow(clippy::too_many_lines, reason = "one arm a reason, read as a table")]
fn reason(cx: &Cx<'_>, pod: &Object, why: Why, clause: &str, message: &str) -> Symptom {
    let top = cx.objects.top(pod);
    let spec =
        |rest: &str| if top.kind == "Pod" { format!("spec.{rest}") } else { format!("spec.template.spec.{rest}") };
    let says = format!("is not scheduled: {clause}");
    let root = |rule: &'static str, field: String, claim: String| {
        Symptom::new(rule, Severity::Error, &top, &field, claim).seen_on(&pod.at, says.clone())
    };
    match why {
        Why::Claim => claim(cx, pod, &top, message, &says),
        Why::VolumeZone => root(
            "volume-zone-conflict",
            spec("volumes"),
            "its volume lives where no node that fits can take the pod".to_owned(),
        )
        .because(claims(pod))
        .remedy(Remedy::step(
            "free or add a node in the zone of the volume, or restore the data to a volume elsewhere",
        )),
        Why::VolumeCount => {
            root("too-many-volumes", spec("volumes"), "every node that fits holds as many volumes as it can".to_owned())
                .remedy(Remedy::step("add a node, or spread pods with volumes over more nodes"))
        }
        Why::Resources => resources(cx, pod, clause, root),
        Why::Pods => {
            root("too-many-pods", "".to_owned(), "every node that fits holds as many pods as it may".to_owned())
                .remedy(Remedy::step("add a node, or raise the kubelet's maxPods"))
        }
        Why::Ports => root(
            "host-port-taken",
            spec("containers.ports.hostPort"),
            "its host port is taken on every node that fits".to_owned(),
        )
        .remedy(Remedy::step(
            "use a Service instead of the host port, run fewer replicas than nodes, or free the port",
        )),
        Why::Affinity => root(
            "pod-affinity-unmet",
            spec("affinity"),
            "its rules on which pods to run beside or apart from cannot be met".to_owned(),
        )
        .remedy(Remedy::step(
            "add nodes, run fewer replicas, or make the rule a preference (preferredDuringScheduling...)",
        )),
        Why::Spread => root(
            "topology-spread-unmet",
            spec("topologySpreadConstraints"),
            "its pods cannot be spread as evenly as it asks".to_owned(),
        )
        .remedy(Remedy::step(
            "add a node in the short zone, raise maxSkew, or set whenUnsatisfiable to ScheduleAnyway",
        )),
        Why::Selector => node_selector(cx, pod, root, &spec("nodeSelector")),
        Why::Taint => {
            let taint = clause.split_once('{').and_then(|(_, rest)| rest.split('}').next()).unwrap_or_default();
            root(
                "taint-not-tolerated",
                spec("tolerations"),
                format!("it does not tolerate the taint {taint:?} of the nodes"),
            )
            .remedy(Remedy::step(
                "add the toleration if it may run there; otherwise remove the taint, or add a node without it",
            ))
        }
        Why::Cordoned => root("nodes-cordoned", String::new(), "the nodes that fit are cordoned".to_owned())
            .because(nodes(cx, |node| node["spec"]["unschedulable"] == true))
            .remedy(Remedy::step("uncordon a node when its maintenance is over: kubectl uncordon NODE")),
        Why::NotReady => root("nodes-not-ready", String::new(), "the nodes that fit are not ready".to_owned())
            .because(nodes(cx, |node| node.condition("Ready").is_some_and(|c| !c.is("True"))))
            .remedy(Remedy::step("bring the nodes back")),
        Why::ControlPlane | Why::Other => root("unschedulable", String::new(), "no node takes its pods".to_owned())
            .remedy(Remedy::step("add a node that takes workloads, or correct what the scheduler names")),
    }
}

fn nodes(cx: &Cx<'_>, is: impl Fn(&Object) -> bool) -> Vec<Ref> {
    cx.objects.of_kind("Node").filter(|node| is(node)).map(|node| node.at.clone()).collect()
}

fn claims(pod: &Object) -> Vec<Ref> {
    items(&pod["spec"]["volumes"])
        .iter()
        .filter_map(|volume| {
            let name = volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_owned);
            // A generic ephemeral volume makes a claim named after pod and volume.
            name.or_else(|| {
                volume["ephemeral"].is_object().then(|| format!("{}-{}", pod.name(), text(&volume["name"])))
            })
        })
        .map(|name| Ref::new("PersistentVolumeClaim", pod.namespace(), name))
        .collect()
}

fn claim(cx: &Cx<'_>, pod: &Object, top: &Ref, message: &str, says: &str) -> Symptom {
    let quoted = message.split("persistentvolumeclaim \"").nth(1).and_then(|rest| rest.split('"').next());
    if let Some(name) = quoted.filter(|_| message.contains("not found")) {
        let root = Ref::new("PersistentVolumeClaim", pod.namespace(), name);
        let hint = near::hint(name, cx.objects.in_space("PersistentVolumeClaim", pod.namespace()).map(Object::name));
        return Symptom::new("claim-missing", Severity::Error, &root, "metadata.name", format!("does not exist{hint}"))
            .seen_on(&pod.at, says.to_owned())
            .remedy(Remedy::step("create the claim, or correct claimName in the pod template"));
    }
    let unbound = claims(pod);
    let first =
        unbound.iter().find(|at| cx.objects.get(at).is_none_or(|claim| text(&claim["status"]["phase"]) != "Bound"));
    let root = first.unwrap_or(top).clone();
    Symptom::new("claim-unbound", Severity::Error, &root, "status.phase", "is not bound to a volume")
        .seen_on(&pod.at, says.to_owned())
        .because(unbound.into_iter().filter(|at| *at != root || cx.objects.get(at).is_some()))
        .remedy(
            Remedy::step("see the claim's events: the class may not exist, or nothing provisions it")
                .kubectl("describe", &root, ""),
        )
}

fn resources(
    cx: &Cx<'_>,
    pod: &Object,
    clause: &str,
    root: impl Fn(&'static str, String, String) -> Symptom,
) -> Symptom {
    let what =
        clause.split("Insufficient ").nth(1).and_then(|rest| rest.split([' ', ',', '.']).next()).unwrap_or("resources");
    let what = clause.split("Insufficient ").nth(1).map_or(what, |rest| rest.trim_end_matches('.'));
    let wanted: f64 =
        items(&pod["spec"]["containers"]).iter().filter_map(|c| quantity::of(&c["resources"]["requests"][what])).sum();
    let largest = cx
        .objects
        .of_kind("Node")
        .filter_map(|node| quantity::of(&node["status"]["allocatable"][what]))
        .fold(0.0, f64::max);
    let shown = |number: f64| if what == "cpu" { format!("{number}") } else { quantity::bytes(number) };
    let field = if cx.objects.top(pod).kind == "Pod" {
        "spec.containers.resources.requests"
    } else {
        "spec.template.spec.containers.resources.requests"
    };
    if cx.objects.knows("Node", "") && wanted > 0.0 && wanted > largest {
        return root(
            "request-too-large",
            format!("{field}.{what}"),
            format!("it asks for {} of {what}, more than any node has ({})", shown(wanted), shown(largest)),
        )
        .remedy(Remedy::step(format!("ask for less {what}, or add a larger node")));
    }
    root("insufficient-resources", format!("{field}.{what}"), format!("no node that fits has enough {what} left"))
        .remedy(Remedy::step(format!("add a node, ask for less {what} where it is not used, or run fewer replicas")))
}

fn node_selector(
    cx: &Cx<'_>,
    pod: &Object,
    root: impl Fn(&'static str, String, String) -> Symptom,
    field: &str,
) -> Symptom {
    let wanted = &pod["spec"]["nodeSelector"];
    let remedy = Remedy::step("correct the selector, label a node for it, or add a node that fits");
    let nodes: Vec<&Object> = cx.objects.of_kind("Node").collect();
    for (key, value) in pairs(wanted) {
        let has = |node: &&&Object| node.label(key) == Some(value);
        if !nodes.is_empty() && !nodes.iter().any(|node| has(&node)) {
            let others = nodes.iter().filter_map(|node| node.label(key));
            let hint = near::nearest(value, others).map(|near| format!("; nodes have {near:?}")).unwrap_or_default();
            return root(
                "node-selector-unmet",
                format!("{field}.{key}"),
                format!("no node has the label {key}={value}{hint}"),
            )
            .remedy(remedy);
        }
    }
    let terms: &Value =
        &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    if items(terms).is_empty() {
        return root(
            "node-selector-unmet",
            field.to_owned(),
            format!("no node has all the labels {}", selector::shown(wanted)),
        )
        .remedy(remedy);
    }
    let rules: Vec<String> = items(terms).iter().map(selector::shown_full).collect();
    root(
        "node-affinity-unmet",
        field.replace("nodeSelector", "affinity.nodeAffinity"),
        format!("no node meets its node affinity: {}", rules.join(" or ")),
    )
    .remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_is_understood() {
        for (message, want) in [
            (
                "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.",
                Why::Resources,
            ),
            (
                "0/3 nodes are available: 1 node(s) had untolerated taint {a: b, c}, 2 node(s) didn't match Pod's node affinity/selector.",
                Why::Selector,
            ),
            ("0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/3", Why::Claim),
            ("0/3 nodes are available: persistentvolumeclaim \"data\" not found.", Why::Claim),
            ("0/2 nodes are available: 2 node(s) were unschedulable.", Why::Cordoned),
            ("0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.", Why::Affinity),
            ("0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints.", Why::Spread),
            ("0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports.", Why::Ports),
            ("0/2 nodes are available: 2 node(s) had untolerated taint {dedicated: gpu}.", Why::Taint),
            (
                "0/2 nodes are available: 2 node(s) had untolerated taint {node.kubernetes.io/unreachable: }.",
                Why::NotReady,
            ),
            ("0/1 nodes are available: 1 node(s) had volume node affinity conflict.", Why::VolumeZone),
            ("0/1 nodes are available: 1 Too many pods.", Why::Pods),
            ("no nodes available to schedule pods", Why::Other),
            ("", Why::Other),
        ] {
            assert_eq!(decisive(&clauses(message)).0, want, "{message}");
        }
    }
}
