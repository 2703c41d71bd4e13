//! One Kubernetes object as it was given, and what it is called. Never interprets a field.

use std::fmt;
use std::ops::Index;

use opsward_domain::time::AtMs;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::when;

/// Groups whose kinds go by their bare name; any other kind carries its group, so that a kind of the same
/// name from another product is never taken for it.
const PLAIN_GROUPS: [&str; 19] = [
    "",
    "apps",
    "batch",
    "autoscaling",
    "policy",
    "extensions",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "gateway.networking.k8s.io",
    "metrics.k8s.io",
    "node.k8s.io",
    "scheduling.k8s.io",
];

/// Names one object. Every part is untrusted text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ref {
    /// Kind, such as `Deployment`; with its group (`Service.serving.knative.dev`) unless it is built in.
    pub kind: String,
    /// Namespace; empty for what belongs to the whole cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Ref {
    /// Names an object.
    pub fn new(kind: impl Into<String>, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// The kind word of an object with this `apiVersion` and `kind`.
pub(crate) fn kind_word(api_version: &str, kind: &str) -> String {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    if PLAIN_GROUPS.contains(&group) { kind.to_owned() } else { format!("{kind}.{group}") }
}

/// An object with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// What it is called.
    pub at: Ref,
    /// All of it.
    pub value: Value,
}

impl Index<&str> for Object {
    type Output = Value;
    fn index(&self, key: &str) -> &Value {
        &self.value[key]
    }
}

/// One entry of `status.conditions`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Condition<'a> {
    pub(crate) status: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
    pub(crate) since_ms: Option<AtMs>,
}

impl Condition<'_> {
    pub(crate) fn is(&self, status: &str) -> bool {
        self.status == status
    }
}

/// Text of a value; empty where there is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Items of a list; none where there is no list.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Keys and text values of a map, such as labels.
pub(crate) fn pairs(value: &Value) -> impl Iterator<Item = (&str, &str)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), text(value)))
}

/// The condition of this type among a list of them.
pub(crate) fn condition_in<'a>(list: &'a Value, kind: &str) -> Option<Condition<'a>> {
    items(list).iter().find(|item| text(&item["type"]) == kind).map(|item| Condition {
        status: text(&item["status"]),
        reason: text(&item["reason"]),
        message: text(&item["message"]),
        since_ms: when::parse(&item["lastTransitionTime"]),
    })
}

impl Object {
    /// Takes a value for an object: it needs a kind and a name.
    pub fn new(value: Value) -> Option<Self> {
        let kind = kind_word(text(&value["apiVersion"]), value["kind"].as_str()?);
        let name = value["metadata"]["name"].as_str()?.to_owned();
        let namespace = text(&value["metadata"]["namespace"]).to_owned();
        Some(Self { at: Ref { kind, namespace, name }, value })
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.at.namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.at.name
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self["metadata"]["labels"][key].as_str()
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self["metadata"]["annotations"][key].as_str()
    }

    pub(crate) fn created_ms(&self) -> Option<AtMs> {
        when::parse(&self["metadata"]["creationTimestamp"])
    }

    pub(crate) fn deleted_ms(&self) -> Option<AtMs> {
        when::parse(&self["metadata"]["deletionTimestamp"])
    }

    pub(crate) fn condition(&self, kind: &str) -> Option<Condition<'_>> {
        condition_in(&self["status"]["conditions"], kind)
    }

    /// True for what a server returned, false for a manifest that was never applied.
    pub(crate) fn is_live(&self) -> bool {
        self["metadata"]["creationTimestamp"].is_string() || self["metadata"]["uid"].is_string()
    }

    /// The object that manages this one, as it says itself.
    pub(crate) fn controller(&self) -> Option<Ref> {
        let owner = items(&self["metadata"]["ownerReferences"])
            .iter()
            .find(|owner| owner["controller"].as_bool().unwrap_or(false))?;
        let kind = kind_word(text(&owner["apiVersion"]), text(&owner["kind"]));
        let namespace = if kind == "Node" { "" } else { self.namespace() };
        Some(Ref::new(kind, namespace, text(&owner["name"])))
    }

    /// The pod template of a workload, or the pod itself.
    pub(crate) fn template(&self) -> Option<&Value> {
        match self.at.kind.as_str() {
            "Pod" => Some(&self.value),
            "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "ReplicationController" => {
                Some(&self["spec"]["template"])
            }
            "CronJob" => Some(&self["spec"]["jobTemplate"]["spec"]["template"]),
            _ => None,
        }
    }

    /// Wanted replicas; a workload that does not say wants one.
    pub(crate) fn replicas(&self) -> i64 {
        self["spec"]["replicas"].as_i64().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_kind_of_another_product_is_not_taken_for_a_built_in_one() {
        let named = |version: &str| {
            Object::new(json!({"apiVersion": version, "kind": "Service", "metadata": {"name": "a", "namespace": "b"}}))
                .unwrap()
                .at
                .to_string()
        };
        assert_eq!(named("v1"), "Service b/a");
        assert_eq!(named("serving.knative.dev/v1"), "Service.serving.knative.dev b/a");
        assert!(Object::new(json!({"kind": "Pod"})).is_none());
        assert!(Object::new(json!([1])).is_none());
    }

    #[test]
    fn missing_fields_read_as_nothing() {
        let pod = Object::new(json!({"kind": "Pod", "metadata": {"name": "a"}, "spec": 5})).unwrap();
        assert_eq!(text(&pod["spec"]["nodeName"]["x"]), "");
        assert!(items(&pod["status"]["containerStatuses"]).is_empty());
        assert!(pod.controller().is_none() && pod.created_ms().is_none() && pod.condition("Ready").is_none());
    }
}
