//! Workloads that do not get what they ask for: Deployments, ReplicaSets, StatefulSets, DaemonSets.

use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, items, pairs, text};
use crate::symptom::Symptom;
use crate::{near, owner, selector};

use super::{Cx, HOUR_MS, MINUTE_MS, SETTLE_MS, refused};

/// A workload that is short of pods for this long is worth a word, even if nothing else says why.
const SHORT_MS: i64 = 10 * MINUTE_MS;

fn number(object: &Object, key: &str) -> i64 {
    object["status"][key].as_i64().unwrap_or(0)
}

pub(super) fn deployments(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for deployment in cx.objects.of_kind("Deployment").filter(|d| d.deleted_ms().is_none()) {
        out.extend(mismatch(deployment));
        out.extend(rollout(cx, deployment));
        out.extend(scaled_down(cx, deployment));
        out.extend(paused(cx, deployment));
    }
}

/// A selector that its own template does not meet. The API server refuses that; a manifest can have it.
fn mismatch(workload: &Object) -> Option<Symptom> {
    let wanted = &workload["spec"]["selector"];
    let labels = &workload["spec"]["template"]["metadata"]["labels"];
    if !wanted.is_object() || selector::matches(wanted, labels) {
        return None;
    }
    let claim = format!(
        "selects {:?}, but its own pods would be labelled {:?}",
        selector::shown_full(wanted),
        selector::shown(labels)
    );
    Some(
        Symptom::new("selector-not-own-template", Severity::Error, &workload.at, "spec.selector", claim)
            .remedy(Remedy::step("make selector and template labels the same")),
    )
}

fn rollout(cx: &Cx<'_>, deployment: &Object) -> Option<Symptom> {
    let wanted = deployment.replicas();
    let available = number(deployment, "availableReplicas");
    let progressing = deployment.condition("Progressing");
    let late = progressing.is_some_and(|c| c.is("False") && c.reason == "ProgressDeadlineExceeded");
    let down = deployment.condition("Available").filter(|c| c.is("False"));
    let short = available < wanted && down.is_some_and(|c| cx.older(c.since_ms, SETTLE_MS));
    if !late && !short {
        return None;
    }
    let served = if available == 0 && wanted > 0 { Severity::Critical } else { Severity::Error };
    let (rule, claim, since) = if late {
        let since = progressing.and_then(|c| c.since_ms);
        (
            "rollout-stuck",
            format!("its rollout does not progress: {available} of {wanted} replicas are available"),
            since,
        )
    } else {
        (
            "replicas-unavailable",
            format!("{available} of {wanted} replicas are available"),
            down.and_then(|c| c.since_ms),
        )
    };
    let condition = if late { progressing } else { down };
    let field = if late { "status.conditions[Progressing]" } else { "status.conditions[Available]" };
    let mut symptom = Symptom::new(rule, served, &deployment.at, field, claim)
        .since(since)
        .quote(&deployment.at, format!("{field}.message"), condition.map_or("", |c| c.message))
        .because(causes(cx, deployment));
    if !late && !cx.older(since, SHORT_MS) {
        symptom = symptom.only_if_explained();
    }
    Some(symptom.remedy(Remedy::step("look at its newest pods").kubectl("describe", &deployment.at, "")))
}

/// Pods and sets below a workload, but not itself.
fn causes(cx: &Cx<'_>, workload: &Object) -> Vec<Ref> {
    let mut causes = cx.pods_as_cause(&workload.at);
    causes.retain(|at| *at != workload.at);
    // What its pods brought to light may be rooted at the workload itself, such as a wrong image.
    causes
}

/// Scaled to zero while something still sends traffic there, or just now.
fn scaled_down(cx: &Cx<'_>, deployment: &Object) -> Option<Symptom> {
    if deployment["spec"]["replicas"].as_i64() != Some(0)
        || owner::autoscaler(cx.objects, &deployment.at).is_some_and(|s| s["spec"]["minReplicas"].as_i64() == Some(0))
    {
        return None;
    }
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let service = cx.objects.in_space("Service", deployment.namespace()).find(|service| {
        pairs(&service["spec"]["selector"]).next().is_some()
            && selector::map_matches(&service["spec"]["selector"], labels)
    })?;
    let others = cx.objects.pods_with(service.namespace(), &service["spec"]["selector"]);
    if others.iter().any(|pod| pod.condition("Ready").is_some_and(|c| c.is("True"))) {
        return None;
    }
    let event = cx
        .objects
        .events(&deployment.at)
        .rev()
        .find(|event| {
            event.reason == "ScalingReplicaSet" && event.message.ends_with(" to 0")
                || event.message.contains(" to 0 from ")
        })
        .filter(|event| event.message.contains("Scaled down") && !cx.older(event.last_ms, HOUR_MS));
    let newest = owner::newest(cx.objects, &deployment.at);
    let rolled = event.zip(newest).is_some_and(|(event, set)| !event.message.contains(set.name()));
    let event = event.filter(|_| !rolled);
    let routed = super::ingress::routes_to(cx, service);
    if routed.is_none() && event.is_none() {
        return None;
    }
    let before = event
        .and_then(|event| event.message.split(" from ").nth(1))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(1);
    let what = routed.as_ref().map_or_else(
        || format!("{} has nothing behind it", service.at),
        |from| format!("{from} still sends traffic there through {}", service.at),
    );
    let mut symptom = Symptom::new(
        "scaled-to-zero",
        Severity::Error,
        &deployment.at,
        "spec.replicas",
        format!("is scaled to zero, and {what}"),
    )
    .since(event.and_then(|event| event.last_ms))
    .remedy(
        Remedy::step(format!("if nobody meant it, scale it back to {before}"))
            .action(deployment.namespace(), owner::scale(cx.objects, &deployment.at, before))
            .kubectl("scale", &deployment.at, &format!(" --replicas={before}")),
    );
    if let Some(event) = event {
        symptom = symptom.quote(event.at, "message", event.message);
    }
    Some(symptom.quote(&deployment.at, "spec.replicas", "0"))
}

/// Paused in the middle of a change.
fn paused(cx: &Cx<'_>, deployment: &Object) -> Option<Symptom> {
    let half = number(deployment, "updatedReplicas") < deployment.replicas();
    let since = deployment.condition("Progressing").filter(|c| c.reason == "DeploymentPaused").and_then(|c| c.since_ms);
    if deployment["spec"]["paused"] != true || !half || !cx.older(since, HOUR_MS) {
        return None;
    }
    Some(
        Symptom::new(
            "rollout-paused",
            Severity::Warning,
            &deployment.at,
            "spec.paused",
            "is paused in the middle of a rollout: old and new pods run side by side",
        )
        .since(since)
        .remedy(Remedy::step("resume it when it may go on").kubectl("rollout resume", &deployment.at, "")),
    )
}

pub(super) fn replica_sets(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for kind in ["ReplicaSet", "ReplicationController"] {
        for set in cx.objects.of_kind(kind).filter(|set| set.deleted_ms().is_none()) {
            if number(set, "replicas") < set.replicas() && set.is_live() {
                out.extend(refused::run(cx, set));
            }
        }
    }
}

pub(super) fn stateful_sets(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for set in cx.objects.of_kind("StatefulSet").filter(|set| set.deleted_ms().is_none()) {
        out.extend(mismatch(set));
        out.extend(governing_service(cx, set));
        out.extend(claim_class(cx, set));
        let refusal =
            (number(set, "replicas") < set.replicas() && set.is_live()).then(|| refused::run(cx, set)).flatten();
        out.extend(refusal);
        out.extend(short(cx, set, set.replicas(), number(set, "readyReplicas")));
    }
}

fn governing_service(cx: &Cx<'_>, set: &Object) -> Option<Symptom> {
    let name = set["spec"]["serviceName"].as_str().filter(|name| !name.is_empty())?;
    let service = Ref::new("Service", set.namespace(), name);
    if !cx.objects.is_absent(&service) {
        return None;
    }
    let hint = near::hint(name, cx.objects.in_space("Service", set.namespace()).map(Object::name));
    Some(
        Symptom::new(
            "governing-service-missing",
            Severity::Error,
            &set.at,
            "spec.serviceName",
            format!("names the Service {name:?}, which does not exist{hint}: its pods have no stable addresses"),
        )
        .quote(&set.at, "spec.serviceName", name)
        .remedy(Remedy::step(
            "create a headless Service of that name with the set's selector; serviceName itself cannot be changed",
        )),
    )
}

/// A claim template whose storage class is known not to exist.
fn claim_class(cx: &Cx<'_>, set: &Object) -> Option<Symptom> {
    items(&set["spec"]["volumeClaimTemplates"]).iter().find_map(|template| {
        let class = template["spec"]["storageClassName"].as_str().filter(|class| !class.is_empty())?;
        let at = Ref::new("StorageClass", "", class);
        cx.objects.is_absent(&at).then(|| {
            super::storage::class_missing(cx, class)
                .seen_on(&set.at, format!("its claim template {} asks for it", text(&template["metadata"]["name"])))
        })
    })
}

fn short(cx: &Cx<'_>, set: &Object, wanted: i64, ready: i64) -> Option<Symptom> {
    if ready >= wanted || !set.is_live() || !cx.older(set.created_ms(), SETTLE_MS) {
        return None;
    }
    // In order, one after the other: the first that is not ready holds back those after it.
    let pods = cx.objects.pods_under(&set.at);
    let newest = pods.iter().filter_map(|pod| pod.created_ms()).max();
    let severity = if ready == 0 { Severity::Critical } else { Severity::Error };
    let symptom = Symptom::new(
        "replicas-unavailable",
        severity,
        &set.at,
        "status.readyReplicas",
        format!("{ready} of {wanted} replicas are ready"),
    )
    .because(causes(cx, set))
    .remedy(Remedy::step("look at its first pod that is not ready").kubectl("describe", &set.at, ""));
    let moving = !cx.older(newest, SHORT_MS);
    Some(if moving { symptom.only_if_explained() } else { symptom })
}

pub(super) fn daemon_sets(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for set in cx.objects.of_kind("DaemonSet").filter(|set| set.deleted_ms().is_none()) {
        out.extend(mismatch(set));
        let wanted = number(set, "desiredNumberScheduled");
        let refusal = (number(set, "currentNumberScheduled") < wanted).then(|| refused::run(cx, set)).flatten();
        out.extend(refusal);
        out.extend(short(cx, set, wanted, number(set, "numberReady")));
        out.extend(misplaced(cx, set));
        out.extend(nowhere(cx, set, wanted));
    }
}

fn misplaced(cx: &Cx<'_>, set: &Object) -> Option<Symptom> {
    let count = number(set, "numberMisscheduled");
    // A node that just got a taint, or is being drained, is left alone by what already runs there.
    let tainted = cx
        .objects
        .of_kind("Node")
        .any(|node| node["spec"]["unschedulable"] == true || node.condition("Ready").is_some_and(|c| !c.is("True")));
    if count == 0 || tainted || !cx.older(set.created_ms(), SHORT_MS) {
        return None;
    }
    Some(
        Symptom::new("daemon-misplaced", Severity::Warning, &set.at, "status.numberMisscheduled", format!("runs on {count} nodes where it should not"))
            .quote(&set.at, "status.numberMisscheduled", &count.to_string())
            .remedy(Remedy::step("compare its node selector and tolerations with labels and taints of the nodes; delete the pods that are left")),
    )
}

/// A node selector that no node meets, by a slip of the hand. No node at all on purpose is common.
fn nowhere(cx: &Cx<'_>, set: &Object, wanted: i64) -> Option<Symptom> {
    if wanted > 0 || !set["status"].is_object() || !cx.objects.knows("Node", "") {
        return None;
    }
    let selector = &set["spec"]["template"]["spec"]["nodeSelector"];
    pairs(selector).find_map(|(key, value)| {
        let values: Vec<&str> = cx.objects.of_kind("Node").filter_map(|node| node.label(key)).collect();
        let near = near::nearest(value, values.iter().copied()).filter(|_| !values.contains(&value))?;
        Some(
            Symptom::new(
                "daemon-nowhere",
                Severity::Warning,
                &set.at,
                "spec.template.spec.nodeSelector",
                format!("runs nowhere: it asks for nodes with {key}={value}; nodes have {near:?}"),
            )
            .remedy(Remedy::step("correct the node selector, or label the nodes")),
        )
    })
}
