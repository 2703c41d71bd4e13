//! From a Deployment, StatefulSet or DaemonSet with what belongs to it to a workload. Follows owners by
//! their identity, never by names that only look alike.

use std::sync::Arc;

use opsward_domain::name::Workload;
use opsward_domain::resource::{Replica, ResourceVersion, Revision, WorkloadStatus};
use opsward_domain::spec::WorkloadSpec;
use serde_json::Value;

use crate::json::{annotation, controller, items, label, name, number, selects, text, time_ms, uid};
use crate::kinds::{CONTROLLER_REVISION, DAEMON_SET, DEPLOYMENT, Kind, REPLICA_SET, STATEFUL_SET};
use crate::pods;
use crate::template;

/// Annotation with the number of a Deployment's revision.
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Label that a controller tells its pods apart by.
const POD_HASH: &str = "pod-template-hash";
/// Label with the revision of a pod of a StatefulSet or DaemonSet.
const REVISION_HASH: &str = "controller-revision-hash";
/// Most revisions that are shown.
const REVISIONS_MAX: usize = 20;

/// What a workload is in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl Flavour {
    /// In the order in which a name is looked for.
    pub(crate) const ALL: [Self; 3] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet];

    pub(crate) fn kind(self) -> &'static Kind {
        match self {
            Self::Deployment => &DEPLOYMENT,
            Self::StatefulSet => &STATEFUL_SET,
            Self::DaemonSet => &DAEMON_SET,
        }
    }
    /// The kind of object that keeps its revisions.
    pub(crate) fn keeps(self) -> &'static Kind {
        match self {
            Self::Deployment => &REPLICA_SET,
            Self::StatefulSet | Self::DaemonSet => &CONTROLLER_REVISION,
        }
    }
}

/// A workload with everything that belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) flavour: Flavour,
    pub(crate) object: Value,
    /// ReplicaSets or ControllerRevisions of the namespace, others' included.
    pub(crate) kept: Arc<Vec<Value>>,
    /// Pods of the namespace, others' included.
    pub(crate) pods: Arc<Vec<Value>>,
    /// Services of the namespace.
    pub(crate) services: Arc<Vec<Value>>,
}

/// One kept revision.
pub(crate) struct Kept<'a> {
    pub(crate) number: u64,
    pub(crate) object: &'a Value,
    pub(crate) template: Value,
}

fn owned_by(object: &Value, owner: &str) -> bool {
    !owner.is_empty() && controller(object).is_some_and(|it| text(it, "/uid") == owner)
}

/// The version of an object whose wanted state counts up by itself.
pub(crate) fn version_of(object: &Value) -> ResourceVersion {
    ResourceVersion(format!("{}.{}", uid(object), number(object, "/metadata/generation").unwrap_or(0)))
}

impl Found {
    pub(crate) fn template(&self) -> &Value {
        self.object.pointer("/spec/template").unwrap_or(&Value::Null)
    }

    /// True once its controller has seen the newest wish.
    pub(crate) fn is_seen(&self) -> bool {
        number(&self.object, "/status/observedGeneration") >= number(&self.object, "/metadata/generation")
    }

    /// Its kept revisions, oldest first.
    pub(crate) fn revisions(&self) -> Vec<Kept<'_>> {
        let own = self.kept.iter().filter(|it| owned_by(it, uid(&self.object)));
        let mut all: Vec<Kept<'_>> = own.filter_map(|object| self.revision(object)).collect();
        all.sort_by_key(|kept| kept.number);
        all.drain(..all.len().saturating_sub(REVISIONS_MAX));
        all
    }

    fn revision<'a>(&self, object: &'a Value) -> Option<Kept<'a>> {
        let (number, pointer) = match self.flavour {
            Flavour::Deployment => (annotation(object, REVISION)?.parse().ok()?, "/spec/template"),
            _ => (number(object, "/revision")?, "/data/spec/template"),
        };
        let mut template = object.pointer(pointer)?.clone();
        if let Some(map) = template.as_object_mut() {
            map.remove("$patch");
        }
        if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.remove(POD_HASH);
        }
        Some(Kept { number, object, template })
    }

    /// Number of the wanted revision: the kept one with the wanted template, else the one to come.
    fn current(&self, kept: &[Kept<'_>]) -> u64 {
        let same = |it: &&Kept<'_>| same_template(&it.template, self.template());
        let last = kept.last().map_or(0, |it| it.number);
        kept.iter().rev().find(same).map_or(last.saturating_add(1), |it| it.number)
    }

    /// Its pods that count, each with its revision.
    fn own_pods(&self, kept: &[Kept<'_>]) -> Vec<(&Value, u64)> {
        let revision = |pod: &Value| {
            let of = |it: &&Kept<'_>| match self.flavour {
                Flavour::Deployment => owned_by(pod, uid(it.object)),
                Flavour::StatefulSet => label(pod, REVISION_HASH) == Some(name(it.object)),
                Flavour::DaemonSet => label(pod, REVISION_HASH) == label(it.object, REVISION_HASH),
            };
            let found = kept.iter().find(of).map(|it| it.number);
            let is_own = self.flavour != Flavour::Deployment && owned_by(pod, uid(&self.object));
            if self.flavour == Flavour::Deployment { found } else { is_own.then_some(found.unwrap_or(0)) }
        };
        let mut own: Vec<(&Value, u64)> =
            self.pods.iter().filter(|pod| pods::counts(pod)).filter_map(|pod| Some((pod, revision(pod)?))).collect();
        own.sort_by(|(a, _), (b, _)| self.place(a).cmp(&self.place(b)));
        own
    }

    /// Where a pod stands among its kind: by ordinal, else by age.
    fn place<'a>(&self, pod: &'a Value) -> (u64, &'a str, &'a str) {
        let ordinal = match self.flavour {
            Flavour::StatefulSet => name(pod).rsplit_once('-').and_then(|(_, it)| it.parse().ok()).unwrap_or(0),
            _ => 0,
        };
        (ordinal, text(pod, "/metadata/creationTimestamp"), name(pod))
    }

    fn service(&self) -> Option<&Value> {
        let labels = self.template().pointer("/metadata/labels").unwrap_or(&Value::Null);
        self.services.iter().find(|it| selects(it.pointer("/spec/selector").unwrap_or(&Value::Null), labels))
    }

    /// Replicas that are wanted.
    pub(crate) fn wanted(&self) -> u32 {
        let wanted = match self.flavour {
            Flavour::DaemonSet => number(&self.object, "/status/desiredNumberScheduled").unwrap_or(0),
            _ => number(&self.object, "/spec/replicas").unwrap_or(1),
        };
        u32::try_from(wanted).unwrap_or(u32::MAX)
    }

    /// The workload as people see it.
    pub(crate) fn status(&self, workload: &Workload) -> WorkloadStatus {
        let service = self.service();
        let replicas = self.wanted();
        let spec = |template: &Value| WorkloadSpec { replicas, ..template::read(template, service.is_some()) };
        let kept = self.revisions();
        let current = self.current(&kept);
        let main = template::main_name(self.template());
        let revisions = kept.iter().map(|it| Revision {
            revision: it.number,
            at_ms: time_ms(it.object, "/metadata/creationTimestamp").unwrap_or(0),
            spec: spec(&it.template),
        });
        let replica = |(index, (pod, revision)): (usize, (&Value, u64))| -> Replica {
            pods::replica(pod, u32::try_from(index).unwrap_or(u32::MAX), revision, main)
        };
        WorkloadStatus {
            name: workload.clone(),
            spec: spec(self.template()),
            revision: current,
            revisions: revisions.collect(),
            resource_version: version_of(&self.object),
            address: service.map(address),
            replicas: self.own_pods(&kept).into_iter().enumerate().map(replica).collect(),
        }
    }
}

/// `name.namespace.svc:port`.
fn address(service: &Value) -> String {
    let port = items(service, "/spec/ports").first().and_then(|it| number(it, "/port")).unwrap_or(0);
    format!("{}.{}.svc:{port}", name(service), text(service, "/metadata/namespace"))
}

/// True if two templates ask for the same. A time that is not set is written as `null` by some.
fn same_template(a: &Value, b: &Value) -> bool {
    let plain = |template: &Value| {
        let mut template = template.clone();
        if let Some(meta) = template.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            meta.retain(|_, value| !value.is_null());
        }
        template
    };
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use opsward_domain::resource::ReplicaState;
    use serde_json::json;

    use super::*;

    fn template(image: &str) -> Value {
        json!({ "metadata": { "labels": { "app": "web" }, "creationTimestamp": null },
            "spec": { "containers": [{ "name": "app", "image": image }] } })
    }

    fn replica_set(number: u64, image: &str, owner: &str) -> Value {
        let mut template = template(image);
        template["metadata"]["labels"]["pod-template-hash"] = json!("h");
        json!({ "metadata": { "name": format!("web-{number}"), "uid": format!("rs{number}"),
            "annotations": { REVISION: number.to_string() },
            "ownerReferences": [{ "uid": owner, "controller": true }] }, "spec": { "template": template } })
    }

    fn pod(name: &str, owner: &str) -> Value {
        json!({ "metadata": { "name": name, "labels": { "app": "web" },
            "ownerReferences": [{ "uid": owner, "controller": true }] },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } })
    }

    fn found(image: &str, kept: Vec<Value>, pods: Vec<Value>) -> Found {
        Found {
            flavour: Flavour::Deployment,
            object: json!({ "metadata": { "name": "web", "uid": "d1", "generation": 4 },
                "spec": { "replicas": 2, "template": template(image) }, "status": { "observedGeneration": 4 } }),
            kept: Arc::new(kept),
            pods: Arc::new(pods),
            services: Arc::new(vec![json!({ "metadata": { "name": "web", "namespace": "shop" },
                "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] } })]),
        }
    }

    #[test]
    fn revisions_and_pods_follow_owners_not_names() {
        let kept = vec![replica_set(2, "web:2", "d1"), replica_set(1, "web:1", "d1"), replica_set(9, "web:9", "other")];
        let pods = vec![pod("a", "rs2"), pod("b", "rs1"), pod("stranger", "rs9"), pod("loose", "")];
        let status = found("web:2", kept, pods).status(&Workload::parse("web").unwrap());
        assert_eq!(status.revision, 2);
        assert_eq!(status.revisions.iter().map(|it| it.revision).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(status.revisions[0].spec.image.as_deref(), Some("web:1"));
        assert_eq!(status.replicas.iter().map(|it| it.revision).collect::<Vec<_>>(), [2, 1]);
        assert!(status.replicas.iter().all(|it| it.state == ReplicaState::Ready));
        assert!(!status.settled(), "one replica is still of the revision before");
        assert_eq!(status.address.as_deref(), Some("web.shop.svc:80"));
        assert_eq!(status.resource_version.0, "d1.4");
    }

    #[test]
    fn a_template_that_no_controller_has_seen_is_the_next_revision() {
        let kept = vec![replica_set(1, "web:1", "d1")];
        let status =
            found("web:2", kept, vec![pod("a", "rs1"), pod("b", "rs1")]).status(&Workload::parse("web").unwrap());
        assert_eq!((status.revision, status.ready()), (2, 0));
    }
}
