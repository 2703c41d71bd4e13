//! Who else looks after an object. What a reconciler keeps is changed where the reconciler reads it, or not
//! at all: opsward never fights one.

use opsward_domain::action::Action;
use opsward_domain::fault::Fault;
use serde_json::Value;

use crate::json::{annotation, controller, items, label, name, number, quoted, text};
use crate::workload::Flavour;

/// Something that would put a change back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    /// What it is, such as `Argo CD application shop`.
    pub(crate) what: String,
    /// Where the change belongs.
    pub(crate) change_there: String,
}

impl Owner {
    fn new(what: String, change_there: &str) -> Self {
        Self { what, change_there: change_there.to_owned() }
    }
    /// The refusal that names it.
    pub(crate) fn refusal(&self, kind: &str, of: &str) -> Fault {
        Fault::denied(format!("{kind} {of} is kept by {}", self.what))
            .detail("a change made here would be put back, or be lost with its next change")
            .hint(self.change_there.clone())
    }
}

/// What reconciles an object, if anything does.
pub(crate) fn of(object: &Value) -> Option<Owner> {
    argo(object).or_else(|| flux(object)).or_else(|| made(object)).or_else(|| helm(object))
}

fn argo(object: &Value) -> Option<Owner> {
    let tracked = annotation(object, "argocd.argoproj.io/tracking-id").and_then(|id| id.split(':').next());
    let application = tracked.or_else(|| label(object, "argocd.argoproj.io/instance"))?;
    Some(Owner::new(
        format!("Argo CD application {}", quoted(application)),
        "change it in the repository of that application and sync it; `argocd app get` shows which",
    ))
}

fn flux(object: &Value) -> Option<Owner> {
    for (group, kind) in [("kustomize", "Kustomization"), ("helm", "HelmRelease")] {
        let at = |key: &str| label(object, &format!("{group}.toolkit.fluxcd.io/{key}"));
        let Some(of) = at("name") else { continue };
        if annotation(object, &format!("{group}.toolkit.fluxcd.io/reconcile")) == Some("disabled") {
            continue;
        }
        let of = format!("{}/{}", at("namespace").unwrap_or_default(), of);
        return Some(Owner::new(
            format!("Flux {kind} {}", quoted(&of)),
            "change it in the repository that Flux reads, or suspend that object first",
        ));
    }
    None
}

/// The object whose controller made this one.
fn made(object: &Value) -> Option<Owner> {
    let owner = controller(object)?;
    let (kind, of) = (text(owner, "/kind"), text(owner, "/name"));
    let hint = format!("change {} {} instead: its controller makes this object", quoted(kind), quoted(of));
    Some(Owner::new(format!("{} {}", quoted(kind), quoted(of)), &hint))
}

fn helm(object: &Value) -> Option<Owner> {
    let release = annotation(object, "meta.helm.sh/release-name")?;
    (label(object, "app.kubernetes.io/managed-by") == Some("Helm")).then(|| {
        Owner::new(
            format!("Helm release {}", quoted(release)),
            "change the values of that release and run `helm upgrade`; `helm get values` shows them",
        )
    })
}

/// The autoscaler that sets the number of replicas, with its bounds.
pub(crate) fn autoscaler(autoscalers: &[Value], flavour: Flavour, of: &str) -> Option<Owner> {
    let scales = |it: &&Value| {
        text(it, "/spec/scaleTargetRef/kind") == flavour.kind().kind && text(it, "/spec/scaleTargetRef/name") == of
    };
    let found = autoscalers.iter().find(scales)?;
    let (least, most) =
        (number(found, "/spec/minReplicas").unwrap_or(1), number(found, "/spec/maxReplicas").unwrap_or(0));
    let above = match controller(found).map(|owner| (text(owner, "/kind"), text(owner, "/name"))) {
        Some((kind, of)) => format!(", which {} {} makes", quoted(kind), quoted(of)),
        None => String::new(),
    };
    let hint = format!("change its bounds instead (now {least} to {most}); it sets the number of replicas within them");
    Some(Owner::new(format!("HorizontalPodAutoscaler {}{above}", quoted(name(found))), &hint))
}

/// Field managers that apply a desired state again and again although they put no mark on the object.
const APPLIERS: [&str; 5] =
    ["argocd-controller", "kustomize-controller", "helm-controller", "fleet-agent", "kapp-controller"];

/// A reconciler that left only its name as field manager.
pub(crate) fn applier(object: &Value) -> Option<Owner> {
    let manager = items(object, "/metadata/managedFields").iter().map(|it| text(it, "/manager"));
    let found = manager.into_iter().find(|manager| APPLIERS.contains(manager))?;
    Some(Owner::new(format!("field manager {found}"), "change it where that reconciler reads it"))
}

/// Refuses an action on a workload that a reconciler would undo. Restarting is always left: it changes
/// nothing that a desired state holds.
pub(crate) fn allows(action: &Action, flavour: Flavour, object: &Value, autoscalers: &[Value]) -> Result<(), Fault> {
    let made_by = made(object).filter(|_| matches!(action, Action::RestartWorkload(_)));
    let owner = match action {
        Action::RestartWorkload(_) => made_by,
        _ => of(object).or_else(|| applier(object)),
    };
    if let Some(owner) = owner {
        return Err(owner.refusal(flavour.kind().kind, name(object)));
    }
    let now = number(object, "/spec/replicas").unwrap_or(1);
    let scales = match action {
        Action::ScaleWorkload(_) => true,
        Action::DeployWorkload(deploy) => u64::from(deploy.spec.replicas) != now,
        _ => false,
    };
    match autoscaler(autoscalers, flavour, name(object)).filter(|_| scales) {
        Some(owner) => Err(owner.refusal("the number of replicas of", name(object))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn action(kind: &str) -> Action {
        serde_json::from_value(json!({"kind": kind, "workload": "web", "replicas": 3})).unwrap()
    }

    fn restart() -> Action {
        serde_json::from_value(json!({"kind": "restart_workload", "workload": "web"})).unwrap()
    }

    #[test]
    fn every_reconciler_is_named_with_the_place_to_change() {
        let cases = [
            (
                json!({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"}}),
                "Argo CD application shop",
            ),
            (json!({"labels": {"argocd.argoproj.io/instance": "shop"}}), "Argo CD application shop"),
            (
                json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux"}}),
                "Flux Kustomization flux/apps",
            ),
            (json!({"labels": {"helm.toolkit.fluxcd.io/name": "web"}}), "Flux HelmRelease"),
            (json!({"ownerReferences": [{"kind": "Rollout", "name": "web", "controller": true}]}), "Rollout web"),
            (
                json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {"meta.helm.sh/release-name": "web"}}),
                "Helm release web",
            ),
            (json!({"managedFields": [{"manager": "kubelet"}, {"manager": "argocd-controller"}]}), "argocd-controller"),
        ];
        for (metadata, wanted) in cases {
            let object = json!({"metadata": metadata});
            let fault = allows(&action("scale_workload"), Flavour::Deployment, &object, &[]).unwrap_err();
            assert!(fault.message.contains(wanted) && !fault.hint.is_empty(), "{fault:?}");
            let made = object.pointer("/metadata/ownerReferences").is_some();
            assert_eq!(allows(&restart(), Flavour::Deployment, &object, &[]).is_err(), made, "{wanted}");
        }
    }

    #[test]
    fn twins_that_only_look_alike_are_left_alone() {
        for metadata in [
            json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}),
            json!({"annotations": {"meta.helm.sh/release-name": "web"}}),
            json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "a"}, "annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}}),
            json!({"managedFields": [{"manager": "kubectl"}, {"manager": "opsward"}]}),
            json!({"ownerReferences": [{"kind": "Thing", "name": "x"}]}),
        ] {
            allows(&action("scale_workload"), Flavour::Deployment, &json!({"metadata": metadata}), &[]).unwrap();
        }
    }

    #[test]
    fn an_autoscaler_keeps_the_number_and_nothing_else() {
        let autoscaler = |kind: &str| {
            json!({"metadata": {"name": "web-hpa"}, "spec": {"minReplicas": 2, "maxReplicas": 9,
            "scaleTargetRef": {"kind": kind, "name": "web"}}})
        };
        let object = json!({"metadata": {"name": "web"}, "spec": {"replicas": 2}});
        let fault =
            allows(&action("scale_workload"), Flavour::Deployment, &object, &[autoscaler("Deployment")]).unwrap_err();
        assert!(fault.message.contains("web-hpa") && fault.hint.contains("2 to 9"), "{fault:?}");
        allows(&restart(), Flavour::Deployment, &object, &[autoscaler("Deployment")]).unwrap();
        allows(&action("scale_workload"), Flavour::Deployment, &object, &[autoscaler("StatefulSet")]).unwrap();
    }
}
