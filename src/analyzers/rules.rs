//! The rules, one file a kind of object. A rule reads the bag and says what it saw; it never decides what is
//! the root of what, and nothing in it is keyed to anybody's names.

mod autoscaler;
mod budget;
mod config;
mod controller;
mod gateway;
mod ingress;
mod job;
mod logs;
mod network;
mod node;
mod pod;
mod refused;
mod route;
mod security;
mod service;
mod storage;
mod webhook;
mod workload;

use opsward_domain::time::AtMs;
use serde_json::Value;

use crate::object::{Object, Ref};
use crate::objects::Objects;
use crate::selector;
use crate::symptom::Symptom;

/// What is younger than this is still settling.
pub(crate) const SETTLE_MS: i64 = 120_000;
/// A minute.
pub(crate) const MINUTE_MS: i64 = 60_000;
/// An hour.
pub(crate) const HOUR_MS: i64 = 60 * MINUTE_MS;
/// A day.
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// What every rule is given.
#[derive(Clone, Copy)]
pub(crate) struct Cx<'a> {
    pub(crate) objects: &'a Objects,
    /// When the picture was taken; `None` if no object says.
    pub(crate) now_ms: Option<AtMs>,
}

impl Cx<'_> {
    /// How long ago something was; unknown counts as long ago, so that silence hides nothing.
    pub(crate) fn age_ms(&self, at_ms: Option<AtMs>) -> i64 {
        match (self.now_ms, at_ms) {
            (Some(now), Some(at)) => now.saturating_sub(at).max(0),
            _ => i64::MAX,
        }
    }

    /// True if it was at least that long ago.
    pub(crate) fn older(&self, at_ms: Option<AtMs>, than_ms: i64) -> bool {
        self.age_ms(at_ms) >= than_ms
    }

    /// True if the object is new enough to be still settling.
    pub(crate) fn is_fresh(&self, object: &Object) -> bool {
        !self.older(object.created_ms(), SETTLE_MS)
    }

    /// True if a selector with conditions matches no pod, and none that a workload here would make, and that is
    /// known.
    pub(crate) fn selects_nothing(&self, namespace: &str, wanted: &Value) -> bool {
        let mut workloads = self.objects.workloads(namespace).peekable();
        let known = self.objects.knows("Pod", namespace) || workloads.peek().is_some();
        !selector::is_empty(wanted)
            && known
            && self.objects.pods_selected(namespace, wanted).is_empty()
            && !workloads.any(|workload| {
                workload.template().is_some_and(|template| selector::matches(wanted, &template["metadata"]["labels"]))
            })
    }

    /// Pods of a workload as explanations, with their own managers.
    pub(crate) fn pods_as_cause(&self, owner: &Ref) -> Vec<Ref> {
        let pods = self.objects.pods_under(owner);
        let mut refs: Vec<Ref> = pods.iter().map(|pod| pod.at.clone()).collect();
        refs.extend(self.objects.children(owner).map(|child| child.at.clone()));
        refs.push(owner.clone());
        refs.sort();
        refs.dedup();
        refs
    }
}

/// One rule set, with the kinds without which it is blind.
pub(crate) struct Analyzer {
    pub(crate) name: &'static str,
    pub(crate) kinds: &'static [&'static str],
    pub(crate) optional: bool,
    pub(crate) run: fn(&Cx<'_>, &mut Vec<Symptom>),
}

const fn always(name: &'static str, kinds: &'static [&'static str], run: fn(&Cx<'_>, &mut Vec<Symptom>)) -> Analyzer {
    Analyzer { name, kinds, optional: false, run }
}

/// Every rule set.
pub(crate) const ANALYZERS: &[Analyzer] = &[
    always("pods", &["Pod", "Event"], pod::run),
    always("deployments", &["Deployment", "ReplicaSet"], workload::deployments),
    always("replica sets", &["ReplicaSet", "ReplicationController"], workload::replica_sets),
    always("stateful sets", &["StatefulSet"], workload::stateful_sets),
    always("daemon sets", &["DaemonSet"], workload::daemon_sets),
    always("jobs", &["Job"], job::jobs),
    always("cron jobs", &["CronJob"], job::cron_jobs),
    always("services", &["Service", "EndpointSlice"], service::run),
    always("ingresses", &["Ingress", "IngressClass"], ingress::run),
    always("gateways", &["GatewayClass", "Gateway"], gateway::run),
    always("routes", &["HTTPRoute", "GRPCRoute"], route::run),
    always("network policies", &["NetworkPolicy"], network::run),
    always("autoscalers", &["HorizontalPodAutoscaler"], autoscaler::run),
    always("disruption budgets", &["PodDisruptionBudget"], budget::run),
    always("nodes", &["Node", "Lease"], node::run),
    always("claims and volumes", &["PersistentVolumeClaim", "PersistentVolume", "StorageClass"], storage::run),
    always("webhooks", &["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "APIService"], webhook::run),
    always("configuration", &["ConfigMap", "Secret", "ServiceAccount"], config::run),
    always("controllers", &["Namespace", "ResourceQuota"], controller::run),
    always("logs", &[], logs::run),
    Analyzer { name: "security", kinds: &["ClusterRoleBinding"], optional: true, run: security::run },
];
