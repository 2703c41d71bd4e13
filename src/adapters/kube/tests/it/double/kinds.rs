//! The kinds that the double serves, as the published API reference lists them.

/// One kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespaced: bool,
    /// Subresources besides the object itself.
    pub(crate) parts: &'static [&'static str],
}

const fn kind(
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
    parts: &'static [&'static str],
) -> Kind {
    Kind { group, version, plural, kind, namespaced, parts }
}

const SCALED: &[&str] = &["status", "scale"];
const STATUS: &[&str] = &["status"];

pub(crate) static KINDS: [Kind; 23] = [
    kind("", "v1", "namespaces", "Namespace", false, STATUS),
    kind("", "v1", "nodes", "Node", false, STATUS),
    kind("", "v1", "persistentvolumes", "PersistentVolume", false, STATUS),
    kind("", "v1", "pods", "Pod", true, &["status", "log", "eviction"]),
    kind("", "v1", "events", "Event", true, &[]),
    kind("", "v1", "services", "Service", true, STATUS),
    kind("", "v1", "configmaps", "ConfigMap", true, &[]),
    kind("", "v1", "secrets", "Secret", true, &[]),
    kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true, STATUS),
    kind("", "v1", "resourcequotas", "ResourceQuota", true, STATUS),
    kind("apps", "v1", "deployments", "Deployment", true, SCALED),
    kind("apps", "v1", "statefulsets", "StatefulSet", true, SCALED),
    kind("apps", "v1", "daemonsets", "DaemonSet", true, STATUS),
    kind("apps", "v1", "replicasets", "ReplicaSet", true, SCALED),
    kind("apps", "v1", "controllerrevisions", "ControllerRevision", true, &[]),
    kind("batch", "v1", "jobs", "Job", true, STATUS),
    kind("batch", "v1", "cronjobs", "CronJob", true, STATUS),
    kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true, STATUS),
    kind("networking.k8s.io", "v1", "ingresses", "Ingress", true, STATUS),
    kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true, &[]),
    kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true, STATUS),
    kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true, &[]),
    kind("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", false, &[]),
];

impl Kind {
    pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        KINDS.iter().find(|it| (it.group, it.version, it.plural) == (group, version, plural))
    }
    pub(crate) fn of(plural: &str) -> &'static Self {
        KINDS.iter().find(|it| it.plural == plural).unwrap()
    }
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.into() } else { format!("{}/{}", self.group, self.version) }
    }
    /// `deployments.apps`, as messages name it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.into() } else { format!("{}.{}", self.plural, self.group) }
    }
}
