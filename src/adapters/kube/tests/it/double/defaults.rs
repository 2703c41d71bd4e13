//! What an API server fills in and what it refuses, for the kinds whose meaning the tests rely on.

use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::status::No;
use super::{quantity, text};

fn default(object: &mut Value, key: &str, value: Value) {
    let map = object.as_object_mut().unwrap();
    map.entry(key).or_insert(value);
}

fn part<'a>(object: &'a mut Value, key: &str) -> &'a mut Value {
    default(object, key, json!({}));
    if object[key].is_null() {
        object[key] = json!({});
    }
    &mut object[key]
}

/// Fills in defaults.
pub(crate) fn fill(kind: &Kind, object: &mut Value) {
    match kind.plural {
        "deployments" => {
            let spec = part(object, "spec");
            default(spec, "replicas", json!(1));
            default(spec, "revisionHistoryLimit", json!(10));
            default(spec, "progressDeadlineSeconds", json!(600));
            let rolling =
                json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } });
            default(spec, "strategy", rolling);
            template(part(spec, "template"));
        }
        "statefulsets" | "daemonsets" => {
            let spec = part(object, "spec");
            if kind.plural == "statefulsets" {
                default(spec, "replicas", json!(1));
                default(spec, "podManagementPolicy", json!("OrderedReady"));
            }
            default(spec, "revisionHistoryLimit", json!(10));
            default(spec, "updateStrategy", json!({ "type": "RollingUpdate" }));
            template(part(spec, "template"));
        }
        "replicasets" => {
            default(part(object, "spec"), "replicas", json!(1));
        }
        "pods" => pod_spec(part(object, "spec")),
        "services" => {
            let spec = part(object, "spec");
            default(spec, "type", json!("ClusterIP"));
            default(spec, "clusterIP", json!("10.0.0.7"));
        }
        "namespaces" => {
            default(part(object, "spec"), "finalizers", json!(["kubernetes"]));
            default(part(object, "status"), "phase", json!("Active"));
        }
        "persistentvolumeclaims" => {
            default(part(object, "spec"), "volumeMode", json!("Filesystem"));
            default(part(object, "status"), "phase", json!("Pending"));
            let finalizers = json!(["kubernetes.io/pvc-protection"]);
            default(part(object, "metadata"), "finalizers", finalizers);
        }
        _ => {}
    }
}

fn template(template: &mut Value) {
    part(template, "metadata");
    template["metadata"]["creationTimestamp"] = Value::Null;
    pod_spec(part(template, "spec"));
}

fn pod_spec(spec: &mut Value) {
    default(spec, "restartPolicy", json!("Always"));
    default(spec, "dnsPolicy", json!("ClusterFirst"));
    default(spec, "schedulerName", json!("default-scheduler"));
    default(spec, "securityContext", json!({}));
    default(spec, "terminationGracePeriodSeconds", json!(30));
    for container in spec.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten() {
        default(container, "imagePullPolicy", json!("IfNotPresent"));
        default(container, "resources", json!({}));
        default(container, "terminationMessagePath", json!("/dev/termination-log"));
        default(container, "terminationMessagePolicy", json!("File"));
        if let Some(probe) = container.get_mut("readinessProbe") {
            for (key, value) in
                [("periodSeconds", 10), ("timeoutSeconds", 1), ("failureThreshold", 3), ("successThreshold", 1)]
            {
                default(probe, key, json!(value));
            }
        }
        for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            default(port, "protocol", json!("TCP"));
        }
    }
}

/// Refuses what is not valid. `before` is the object that is replaced.
pub(crate) fn check(kind: &Kind, object: &Value, before: Option<&Value>) -> Result<(), No> {
    let name = text(object, "/metadata/name");
    let invalid = |field: &str, why: &str| Err(No::invalid(kind, name, field, why));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if name.is_empty() || name.len() > 253 || !name.chars().all(plain) {
        return invalid(
            "metadata.name",
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters",
        );
    }
    match kind.plural {
        "deployments" | "statefulsets" | "daemonsets" => workload(kind, name, object, before),
        "persistentvolumeclaims" => {
            let storage = |object: &Value| quantity(text(object, "/spec/resources/requests/storage"));
            let Some(wanted) = storage(object) else { return invalid("spec.resources[storage]", "Required value") };
            match before.and_then(storage) {
                Some(had) if wanted < had => {
                    invalid("spec.resources.requests.storage", "Forbidden: field can not be less than previous value")
                }
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn workload(kind: &Kind, name: &str, object: &Value, before: Option<&Value>) -> Result<(), No> {
    let invalid = |field: &str, why: &str| Err(No::invalid(kind, name, field, why));
    let empty = Map::new();
    let at = |pointer: &str| object.pointer(pointer).and_then(Value::as_object).unwrap_or(&empty);
    let (selector, labels) = (at("/spec/selector/matchLabels"), at("/spec/template/metadata/labels"));
    if selector.is_empty() || selector.iter().any(|(key, value)| labels.get(key) != Some(value)) {
        return invalid("spec.template.metadata.labels", "`selector` does not match template `labels`");
    }
    if before.is_some_and(|it| it.pointer("/spec/selector") != object.pointer("/spec/selector")) {
        return invalid("spec.selector", "field is immutable");
    }
    if object.pointer("/spec/replicas").is_some_and(|it| it.as_u64().is_none()) {
        return invalid("spec.replicas", "must be greater than or equal to 0");
    }
    let containers = object.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let Some(containers) = containers.filter(|it| !it.is_empty()) else {
        return invalid("spec.template.spec.containers", "Required value");
    };
    for container in containers {
        if text(container, "/image").is_empty() {
            return invalid("spec.template.spec.containers[0].image", "Required value");
        }
        let memory = |of: &str| container.pointer(&format!("/resources/{of}/memory")).and_then(Value::as_str);
        for of in ["limits", "requests"] {
            if memory(of).is_some_and(|it| quantity(it).is_none()) {
                return invalid("resources.memory", "quantities must match the regular expression");
            }
        }
        if let (Some(limit), Some(request)) =
            (memory("limits").and_then(quantity), memory("requests").and_then(quantity))
            && request > limit
        {
            return invalid("resources.requests", "must be less than or equal to memory limit");
        }
        let mut seen = std::collections::BTreeSet::new();
        for variable in container.get("env").and_then(Value::as_array).into_iter().flatten() {
            if variable.get("value").is_some() && variable.get("valueFrom").is_some() {
                return invalid("env.valueFrom", "may not be specified when `value` is not empty");
            }
            if !seen.insert(text(variable, "/name").to_owned()) {
                return invalid("env.name", "Duplicate value");
            }
        }
    }
    Ok(())
}
