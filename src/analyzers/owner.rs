//! Workloads: how they stand, who else manages them, and the typed actions that fit them.

use std::collections::BTreeMap;

use opsward_domain::action::{Action, RollbackWorkload, ScaleWorkload, SetLimits};
use opsward_domain::name::Workload;
use opsward_domain::spec::Limits;

use crate::object::{Object, Ref, items, text};
use crate::objects::Objects;

/// Open files that a new limit keeps.
const OPEN_FILES: u64 = 1024;

/// True for kinds that make pods.
pub(crate) fn is_workload(kind: &str) -> bool {
    matches!(
        kind,
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "CronJob" | "ReplicationController"
    )
}

/// How a workload stands, in a few words.
pub(crate) fn standing(objects: &Objects, at: &Ref) -> String {
    let Some(owner) = objects.get(at) else { return "not among the objects given".to_owned() };
    let status = |key: &str| owner["status"][key].as_i64().unwrap_or(0);
    match at.kind.as_str() {
        "DaemonSet" => format!("{} of {} ready", status("numberReady"), status("desiredNumberScheduled")),
        "Job" => format!(
            "{} of {} succeeded, {} failed",
            status("succeeded"),
            owner["spec"]["completions"].as_i64().unwrap_or(1),
            status("failed")
        ),
        "CronJob" => format!("schedule {}", text(&owner["spec"]["schedule"])),
        _ => format!("{} of {} ready", status("readyReplicas"), owner.replicas()),
    }
}

/// The tool that will undo a change made by hand, as labels and annotations say.
pub(crate) fn manager(object: &Object) -> Option<String> {
    let label = |key: &str| object.label(key);
    if let Some(id) = object.annotation("argocd.argoproj.io/tracking-id") {
        return Some(format!("Argo CD application {}", id.split(':').next().unwrap_or(id)));
    }
    if let Some(name) = label("argocd.argoproj.io/instance") {
        return Some(format!("Argo CD application {name}"));
    }
    if let Some(name) = label("kustomize.toolkit.fluxcd.io/name") {
        return Some(format!("Flux Kustomization {name}"));
    }
    if let Some(name) = label("helm.toolkit.fluxcd.io/name") {
        return Some(format!("Flux HelmRelease {name}"));
    }
    object.annotation("meta.helm.sh/release-name").map(|name| format!("Helm release {name}"))
}

/// True if a reconciler takes back what is changed by hand.
pub(crate) fn reconciled(objects: &Objects, at: &Ref) -> bool {
    objects.get(at).and_then(manager).is_some_and(|manager| !manager.starts_with("Helm"))
}

fn named(objects: &Objects, at: &Ref) -> Option<Workload> {
    let fits = matches!(at.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet");
    if !fits || reconciled(objects, at) {
        return None;
    }
    Workload::parse(&at.name).ok()
}

/// Scale, unless an autoscaler holds the number.
pub(crate) fn scale(objects: &Objects, at: &Ref, replicas: u32) -> Option<Action> {
    if at.kind == "DaemonSet" || autoscaler(objects, at).is_some() {
        return None;
    }
    named(objects, at).map(|workload| Action::ScaleWorkload(ScaleWorkload { workload, replicas }))
}

/// A new memory limit.
pub(crate) fn limit(objects: &Objects, at: &Ref, memory_bytes: u64) -> Option<Action> {
    let limits = Limits { memory_bytes, open_files: OPEN_FILES };
    named(objects, at).map(|workload| Action::SetLimits(SetLimits { workload, limits }))
}

/// The autoscaler that holds a workload's replicas.
pub(crate) fn autoscaler<'a>(objects: &'a Objects, at: &Ref) -> Option<&'a Object> {
    objects.in_space("HorizontalPodAutoscaler", &at.namespace).find(|scaler| {
        let target = &scaler["spec"]["scaleTargetRef"];
        text(&target["kind"]) == at.kind && text(&target["name"]) == at.name
    })
}

/// Revisions of a Deployment that are still kept, oldest first, with their ReplicaSet.
fn revisions<'a>(objects: &'a Objects, deployment: &Ref) -> BTreeMap<u64, &'a Object> {
    objects
        .children(deployment)
        .filter(|child| child.at.kind == "ReplicaSet")
        .filter_map(|set| Some((set.annotation("deployment.kubernetes.io/revision")?.parse().ok()?, set)))
        .collect()
}

/// The ReplicaSet of the newest revision.
pub(crate) fn newest<'a>(objects: &'a Objects, deployment: &Ref) -> Option<&'a Object> {
    revisions(objects, deployment).pop_last().map(|(_, set)| set)
}

/// A way back, if the failing pod runs the newest revision of a Deployment and an older one is kept:
/// the revision and the action.
pub(crate) fn rollback(objects: &Objects, pod: &Object) -> Option<(u64, Option<Action>)> {
    let set = pod.controller()?;
    let top = objects.top(pod);
    if top.kind != "Deployment" || set.kind != "ReplicaSet" {
        return None;
    }
    let mut kept = revisions(objects, &top);
    let (_, newest) = kept.pop_last()?;
    if newest.at != set {
        return None;
    }
    let (before, old) = kept.pop_last()?;
    let images = |set: &Object| {
        items(&set["spec"]["template"]["spec"]["containers"])
            .iter()
            .map(|container| text(&container["image"]).to_owned())
            .collect::<Vec<_>>()
    };
    // A restart makes a new revision that differs in an annotation only; going back would change nothing.
    let same = images(old) == images(newest) && old["spec"]["template"]["spec"] == newest["spec"]["template"]["spec"];
    if same {
        return None;
    }
    let action =
        named(objects, &top).map(|workload| Action::RollbackWorkload(RollbackWorkload { workload, revision: before }));
    Some((before, action))
}
