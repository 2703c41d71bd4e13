//! References of workloads to ConfigMaps, Secrets and accounts that do not exist: the next pod will fail.

use std::collections::BTreeSet;

use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, items, text};
use crate::symptom::Symptom;

use super::Cx;
use super::pod::reference;

pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    let mut used: BTreeSet<Ref> = BTreeSet::new();
    for object in cx.objects.all() {
        let Some(template) = object.template() else { continue };
        let references = reference::of(template);
        used.extend(references.iter().map(|at| Ref::new(at.kind, object.namespace(), at.name)));
        if object.controller().is_none() && object.deleted_ms().is_none() && !is_over(object) {
            workload(cx, object, &references, out);
            pull_secrets(cx, object, out);
            account(cx, object, out);
        }
    }
    unused(cx, &used, out);
}

/// A pod or Job that has ended needs nothing any more; a workload at rest needs it when it wakes.
fn is_over(object: &Object) -> bool {
    match object.at.kind.as_str() {
        "Pod" => matches!(text(&object["status"]["phase"]), "Succeeded" | "Failed"),
        "Job" => {
            object.condition("Complete").is_some_and(|c| c.is("True"))
                || object.condition("Failed").is_some_and(|c| c.is("True"))
        }
        "ReplicaSet" | "ReplicationController" => object.replicas() == 0,
        _ => false,
    }
}

fn workload(cx: &Cx<'_>, object: &Object, references: &[reference::Reference<'_>], out: &mut Vec<Symptom>) {
    for at in references.iter().filter(|at| !at.optional) {
        let root = Ref::new(at.kind, object.namespace(), at.name);
        let key = match (cx.objects.get(&root), at.key) {
            (Some(found), Some(key)) if !reference::has_key(found, key) => Some(key),
            (Some(_), _) => continue,
            (None, _) if cx.objects.is_absent(&root) => None,
            (None, _) => continue,
        };
        let says = format!("its template needs it ({}); the next pod will not start", at.field);
        out.push(
            reference::symptom(cx.objects, object.namespace(), at.kind, at.name, key, Severity::Warning)
                .seen_on(&object.at, says)
                .quote(&object.at, at.field.clone(), at.key.unwrap_or(at.name)),
        );
    }
}

/// A pull secret that is missing matters only where a pull fails: it adds to that, and never stands alone.
fn pull_secrets(cx: &Cx<'_>, object: &Object, out: &mut Vec<Symptom>) {
    let Some(template) = object.template() else { return };
    for secret in items(&template["spec"]["imagePullSecrets"]) {
        let root = Ref::new("Secret", object.namespace(), text(&secret["name"]));
        if cx.objects.is_absent(&root) && !root.name.is_empty() {
            out.push(
                Symptom::new(
                    "pull-secret-missing",
                    Severity::Info,
                    &root,
                    "metadata.name",
                    "does not exist, and pulls are to use it",
                )
                .seen_on(&object.at, "names it in imagePullSecrets")
                .remedy(Remedy::step("create the Secret with the registry's credentials")),
            );
        }
    }
}

fn account(cx: &Cx<'_>, object: &Object, out: &mut Vec<Symptom>) {
    let Some(template) = object.template() else { return };
    let Some(name) = template["spec"]["serviceAccountName"].as_str().filter(|name| !name.is_empty()) else { return };
    let root = Ref::new("ServiceAccount", object.namespace(), name);
    if cx.objects.is_absent(&root) {
        out.push(
            Symptom::new("service-account-missing", Severity::Warning, &root, "metadata.name", "does not exist")
                .seen_on(&object.at, "its pods run under it; the next one cannot be made")
                .quote(&object.at, "serviceAccountName", name)
                .remedy(Remedy::step("create the ServiceAccount, or correct serviceAccountName in the pod template")),
        );
    }
}

/// ConfigMaps that no template here refers to. Controllers read many by name, so this is worth knowing only.
fn unused(cx: &Cx<'_>, used: &BTreeSet<Ref>, out: &mut Vec<Symptom>) {
    for config in cx.objects.of_kind("ConfigMap") {
        let system = config.namespace().starts_with("kube-") || config.name() == "kube-root-ca.crt";
        let owned = !items(&config["metadata"]["ownerReferences"]).is_empty();
        if system || owned || used.contains(&config.at) || cx.objects.workloads(config.namespace()).next().is_none() {
            continue;
        }
        out.push(
            Symptom::new(
                "config-unused",
                Severity::Info,
                &config.at,
                "",
                "is not used by any pod template of its namespace",
            )
            .remedy(Remedy::step("remove it if nothing reads it through the API")),
        );
    }
}
