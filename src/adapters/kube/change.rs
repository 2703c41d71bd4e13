//! From an action to the one write that brings it about. Pure: the live object in, the wanted object out.

use opsward_domain::action::{Action, DeployWorkload, RollbackWorkload};
use opsward_domain::fault::Fault;
use opsward_domain::name::Volume;
use opsward_domain::spec::WorkloadSpec;
use serde_json::{Value, json};

use crate::json::{annotation, flag, label, name, text};
use crate::kinds::{CLAIM, Kind, NAMESPACE};
use crate::place::{self, Place};
use crate::quantity::quantity;
use crate::template;
use crate::workload::{Flavour, Found};

/// Label on what opsward deployed, and what its pods are selected by.
pub(crate) const WORKLOAD: &str = "opsward.dev/workload";

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Write {
    pub(crate) kind: &'static Kind,
    pub(crate) name: String,
    pub(crate) how: How,
}

/// How it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum How {
    /// A new object.
    Create(Value),
    /// The whole object with the version it was read in.
    Replace(Value),
    /// The object of this identity and version goes.
    Remove { uid: String, version: String },
}

/// What is there now.
#[derive(Debug, Clone)]
pub(crate) enum Live {
    Nothing,
    Object(Value),
    Workload(Box<Found>),
}

impl Live {
    /// The object itself.
    pub(crate) fn object(&self) -> Option<&Value> {
        match self {
            Self::Nothing => None,
            Self::Object(object) => Some(object),
            Self::Workload(found) => Some(&found.object),
        }
    }
}

fn remove(kind: &'static Kind, object: &Value) -> Write {
    let version = text(object, "/metadata/resourceVersion").to_owned();
    Write {
        kind,
        name: name(object).to_owned(),
        how: How::Remove { uid: crate::json::uid(object).to_owned(), version },
    }
}

fn gone() -> Fault {
    Fault::not_found("the resource does not exist")
}

/// That a Kubernetes workspace has no such thing.
pub(crate) fn not_here(what: &str) -> Fault {
    Fault::invalid(format!("a Kubernetes workspace has no {what} of opsward"))
        .hint("put it into a workspace of this machine")
}

/// What a write needs to know besides the action and the live object.
pub(crate) struct Scene<'a> {
    pub(crate) place: &'a Place,
    pub(crate) namespace: Value,
    pub(crate) storage_class: Option<&'a str>,
    pub(crate) now: String,
}

/// The write that `action` comes to.
pub(crate) fn write(action: &Action, live: &Live, scene: &Scene<'_>) -> Result<Write, Fault> {
    match (action, live) {
        (Action::CreateWorkspace(_), _) => Ok(Write {
            kind: &NAMESPACE,
            name: scene.place.namespace.clone(),
            how: How::Create(scene.namespace.clone()),
        }),
        (Action::DeleteWorkspace(_), Live::Object(object)) if scene.place.mapped => {
            Err(Fault::denied(format!("namespace {} was not made by opsward", name(object)))
                .hint("remove it from the configuration instead"))
        }
        (Action::DeleteWorkspace(_), Live::Object(object)) => Ok(remove(&NAMESPACE, object)),
        (Action::CreateVolume(create), _) => Ok(claim(&create.volume, create.size_bytes, scene)),
        (Action::ResizeVolume(resize), Live::Object(object)) => {
            let mut object = object.clone();
            object["spec"]["resources"]["requests"]["storage"] = json!(quantity(resize.size_bytes));
            Ok(Write { kind: &CLAIM, name: name(&object).to_owned(), how: How::Replace(object) })
        }
        (Action::DeleteVolume(_), Live::Object(object)) => Ok(remove(&CLAIM, object)),
        (Action::DeployWorkload(deploy), Live::Nothing) => deployment(deploy, scene),
        (_, Live::Workload(found)) => on_workload(action, found, scene),
        (Action::CreateBackup(_) | Action::RestoreBackup(_) | Action::VerifyBackup(_) | Action::DeleteBackup(_), _) => {
            Err(not_here("backups"))
        }
        (
            Action::DeployFunction(_)
            | Action::ActivateFunction(_)
            | Action::InvokeFunction(_)
            | Action::DeleteFunction(_),
            _,
        ) => Err(not_here("functions")),
        _ => Err(gone()),
    }
}

fn claim(volume: &Volume, size_bytes: u64, scene: &Scene<'_>) -> Write {
    let mut object = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": { "name": volume, "namespace": scene.place.namespace },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": quantity(size_bytes) } } },
    });
    if let Some(class) = scene.storage_class {
        object["spec"]["storageClassName"] = json!(class);
    }
    Write { kind: &CLAIM, name: volume.to_string(), how: How::Create(object) }
}

fn deployment(deploy: &DeployWorkload, scene: &Scene<'_>) -> Result<Write, Fault> {
    let DeployWorkload { workload, spec } = deploy;
    let labels =
        json!({ WORKLOAD: workload, "app.kubernetes.io/name": workload, "app.kubernetes.io/managed-by": "opsward" });
    let mut template = template::skeleton(workload, &labels);
    template::write(&mut template, spec)?;
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": workload, "namespace": scene.place.namespace, "labels": labels },
        "spec": { "replicas": spec.replicas, "selector": { "matchLabels": { WORKLOAD: workload } }, "template": template },
    });
    Ok(Write { kind: Flavour::Deployment.kind(), name: workload.to_string(), how: How::Create(object) })
}

/// The Service of a workload that listens, which goes with its Deployment.
pub(crate) fn service(deployment: &Value, spec: &WorkloadSpec) -> Option<Value> {
    let of = name(deployment);
    spec.port.then(|| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": of, "namespace": text(deployment, "/metadata/namespace"),
                "labels": { WORKLOAD: of, "app.kubernetes.io/managed-by": "opsward" },
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": of,
                    "uid": crate::json::uid(deployment), "controller": true }],
            },
            "spec": { "selector": { WORKLOAD: of },
                "ports": [{ "name": "http", "port": template::PORT, "targetPort": template::PORT }] },
        })
    })
}

/// True for a workload that opsward deployed, so that its whole description is known.
fn is_ours(object: &Value) -> bool {
    label(object, WORKLOAD).is_some() && label(object, "app.kubernetes.io/managed-by") == Some("opsward")
}

fn on_workload(action: &Action, found: &Found, scene: &Scene<'_>) -> Result<Write, Fault> {
    let kind = found.flavour.kind();
    if let Action::DeleteWorkload(_) = action {
        if !is_ours(&found.object) {
            return Err(Fault::denied(format!("{} {} was not made by opsward", kind.kind, name(&found.object)))
                .detail("it could not be brought back as it was")
                .hint("remove it with the tool that made it"));
        }
        return Ok(remove(kind, &found.object));
    }
    let mut object = found.object.clone();
    let rolls = !matches!(action, Action::ScaleWorkload(_));
    if rolls {
        refuse_still(found)?;
    }
    let template = object.pointer_mut("/spec/template").ok_or_else(|| Fault::invalid("it has no pod template"))?;
    match action {
        Action::RestartWorkload(_) => template::restart(template, &scene.now),
        Action::SetEnvironment(change) => template::set_environment(template, change)?,
        Action::SetLimits(change) => template::set_limits(template, &change.limits)?,
        Action::SetImage(change) => template::set_image(template, &change.image)?,
        Action::RollbackWorkload(back) => *template = kept_template(found, back)?,
        Action::DeployWorkload(deploy) => {
            template::write(template, &deploy.spec)?;
            scale(found.flavour, &mut object, deploy.spec.replicas, found.wanted())?;
        }
        Action::ScaleWorkload(change) => scale(found.flavour, &mut object, change.replicas, found.wanted())?,
        _ => return Err(Fault::conflict("a workload of that name exists already")),
    }
    Ok(Write { kind, name: name(&object).to_owned(), how: How::Replace(object) })
}

fn scale(flavour: Flavour, object: &mut Value, replicas: u32, now: u32) -> Result<(), Fault> {
    if flavour == Flavour::DaemonSet {
        if replicas == now {
            return Ok(());
        }
        return Err(Fault::invalid("a DaemonSet runs one pod on every node that it may use")
            .hint("change its node selector, or make it a Deployment"));
    }
    object["spec"]["replicas"] = json!(replicas);
    Ok(())
}

/// Refuses what the cluster would take and never carry out.
fn refuse_still(found: &Found) -> Result<(), Fault> {
    if flag(&found.object, "/spec/paused") {
        return Err(Fault::conflict("the Deployment is paused, so nothing would roll out")
            .hint("somebody paused it on purpose: ask, then `kubectl rollout resume`"));
    }
    if text(&found.object, "/spec/updateStrategy/type") == "OnDelete" {
        return Err(Fault::conflict("its pods change only when somebody deletes them (updateStrategy OnDelete)")
            .hint("set updateStrategy to RollingUpdate first"));
    }
    Ok(())
}

fn kept_template(found: &Found, back: &RollbackWorkload) -> Result<Value, Fault> {
    let kept = found.revisions();
    let wanted = kept.iter().find(|it| it.number == back.revision);
    wanted.map(|it| it.template.clone()).ok_or_else(|| {
        let known: Vec<String> = kept.iter().map(|it| it.number.to_string()).collect();
        Fault::not_found(format!("{} has no revision {}", back.workload, back.revision))
            .hint(format!("kept revisions: {}", known.join(", ")))
    })
}

/// Annotation with the keys of what opsward did to an object last, newest last.
pub(crate) const APPLIED: &str = "opsward.dev/applied";
/// Keys that are kept on an object.
const APPLIED_MAX: usize = 4;

/// The steps that were done to an object: key and digest.
fn applied(object: &Value) -> Vec<(String, String)> {
    annotation(object, APPLIED).and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default()
}

/// The digest of the step that was done to an object under `key`.
pub(crate) fn applied_digest(object: &Value, key: &str) -> Option<String> {
    applied(object).into_iter().find(|(done, _)| done == key).map(|(_, digest)| digest)
}

/// Marks a wanted object with the key it is written under, in the same write.
pub(crate) fn mark(object: &mut Value, key: &str, digest: &str) {
    let mut all = applied(object);
    all.push((key.to_owned(), digest.to_owned()));
    all.drain(..all.len().saturating_sub(APPLIED_MAX));
    let text = serde_json::to_string(&all).unwrap_or_default();
    crate::json::annotate(object, APPLIED, &text);
}

/// The scene of a write in `place`.
pub(crate) fn scene<'a>(
    place: &'a Place,
    tenant: &opsward_domain::name::Tenant,
    workspace: &opsward_domain::name::Workspace,
    storage_class: Option<&'a str>,
    now: String,
) -> Scene<'a> {
    Scene { place, namespace: place::namespace(place, tenant, workspace), storage_class, now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_bounded_and_found_again() {
        let mut object = json!({});
        for number in 0..6 {
            mark(&mut object, &format!("k{number}"), &format!("d{number}"));
        }
        assert_eq!(applied_digest(&object, "k5").as_deref(), Some("d5"));
        assert_eq!(applied_digest(&object, "k1"), None);
        assert_eq!(applied(&object).len(), APPLIED_MAX);
        crate::json::annotate(&mut object, APPLIED, "not what we wrote");
        assert_eq!(applied_digest(&object, "k5"), None);
    }
}
