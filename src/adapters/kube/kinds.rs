//! The kinds of Kubernetes objects that are looked at or changed, with their paths. Never Secrets.

/// One kind as the API serves it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// `Deployment`.
    pub(crate) kind: &'static str,
    /// API group; empty for the core.
    pub(crate) group: &'static str,
    /// API version inside the group.
    pub(crate) version: &'static str,
    /// `deployments`.
    pub(crate) plural: &'static str,
    /// False for what the whole cluster shares.
    pub(crate) namespaced: bool,
}

const fn of(kind: &'static str, group: &'static str, version: &'static str, plural: &'static str) -> Kind {
    Kind { kind, group, version, plural, namespaced: true }
}

const fn shared(kind: &'static str, group: &'static str, version: &'static str, plural: &'static str) -> Kind {
    Kind { kind, group, version, plural, namespaced: false }
}

pub(crate) static NAMESPACE: Kind = shared("Namespace", "", "v1", "namespaces");
pub(crate) static NODE: Kind = shared("Node", "", "v1", "nodes");
pub(crate) static PERSISTENT_VOLUME: Kind = shared("PersistentVolume", "", "v1", "persistentvolumes");
pub(crate) static POD: Kind = of("Pod", "", "v1", "pods");
pub(crate) static EVENT: Kind = of("Event", "", "v1", "events");
pub(crate) static SERVICE: Kind = of("Service", "", "v1", "services");
pub(crate) static CONFIG_MAP: Kind = of("ConfigMap", "", "v1", "configmaps");
pub(crate) static CLAIM: Kind = of("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims");
pub(crate) static QUOTA: Kind = of("ResourceQuota", "", "v1", "resourcequotas");
pub(crate) static ENDPOINT_SLICE: Kind = of("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices");
pub(crate) static DEPLOYMENT: Kind = of("Deployment", "apps", "v1", "deployments");
pub(crate) static STATEFUL_SET: Kind = of("StatefulSet", "apps", "v1", "statefulsets");
pub(crate) static DAEMON_SET: Kind = of("DaemonSet", "apps", "v1", "daemonsets");
pub(crate) static REPLICA_SET: Kind = of("ReplicaSet", "apps", "v1", "replicasets");
pub(crate) static CONTROLLER_REVISION: Kind = of("ControllerRevision", "apps", "v1", "controllerrevisions");
pub(crate) static JOB: Kind = of("Job", "batch", "v1", "jobs");
pub(crate) static CRON_JOB: Kind = of("CronJob", "batch", "v1", "cronjobs");
pub(crate) static AUTOSCALER: Kind = of("HorizontalPodAutoscaler", "autoscaling", "v2", "horizontalpodautoscalers");
pub(crate) static INGRESS: Kind = of("Ingress", "networking.k8s.io", "v1", "ingresses");
pub(crate) static NETWORK_POLICY: Kind = of("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies");
pub(crate) static DISRUPTION_BUDGET: Kind = of("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets");
pub(crate) static ACCESS_REVIEW: Kind =
    shared("SelfSubjectAccessReview", "authorization.k8s.io", "v1", "selfsubjectaccessreviews");

/// Not an object: what the server says of itself, at `/version`.
pub(crate) static VERSION: Kind = Kind { kind: "", group: "", version: "", plural: "version", namespaced: false };

/// What can be listed as it is. A kind that is missing here cannot be asked for: Secrets never are.
pub(crate) static LISTED: [&Kind; 20] = [
    &POD,
    &DEPLOYMENT,
    &STATEFUL_SET,
    &DAEMON_SET,
    &REPLICA_SET,
    &CONTROLLER_REVISION,
    &JOB,
    &CRON_JOB,
    &SERVICE,
    &ENDPOINT_SLICE,
    &INGRESS,
    &NETWORK_POLICY,
    &CONFIG_MAP,
    &CLAIM,
    &QUOTA,
    &AUTOSCALER,
    &DISRUPTION_BUDGET,
    &EVENT,
    &NODE,
    &PERSISTENT_VOLUME,
];

impl Kind {
    /// A listed kind by its plural.
    pub(crate) fn listed(plural: &str) -> Option<&'static Self> {
        LISTED.into_iter().find(|kind| kind.plural == plural)
    }
    /// `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
    /// Path of the collection, or of one object of it.
    pub(crate) fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        if self.kind.is_empty() {
            return format!("/{}", self.plural);
        }
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let mut path = format!("{root}/{}", self.api_version());
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(name);
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_api_conventions() {
        assert_eq!(DEPLOYMENT.path(Some("shop"), Some("web")), "/apis/apps/v1/namespaces/shop/deployments/web");
        assert_eq!(POD.path(Some("shop"), None), "/api/v1/namespaces/shop/pods");
        assert_eq!(NODE.path(Some("shop"), Some("n1")), "/api/v1/nodes/n1");
        assert!(Kind::listed("secrets").is_none());
        assert_eq!(Kind::listed("pods"), Some(&POD));
    }
}
