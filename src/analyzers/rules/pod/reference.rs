//! ConfigMaps and Secrets that a pod template refers to, and what the kubelet says when one is missing.

use serde_json::Value;

use crate::finding::{Remedy, Severity};
use crate::near;
use crate::object::{Object, Ref, items, text};
use crate::objects::Objects;
use crate::symptom::Symptom;

/// A reference of a pod template to a ConfigMap or Secret, and to one key of it or to the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    pub(crate) kind: &'static str,
    pub(crate) name: &'a str,
    pub(crate) key: Option<&'a str>,
    pub(crate) optional: bool,
    /// Where the reference is written.
    pub(crate) field: String,
}

/// The bundle of certificates that the control plane itself puts into every namespace.
const ROOT_CERTIFICATES: &str = "kube-root-ca.crt";

/// Everything a template refers to.
pub(crate) fn of(template: &Value) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    let spec = &template["spec"];
    for list in ["initContainers", "containers"] {
        for container in items(&spec[list]) {
            let at = format!("{list}[{}]", text(&container["name"]));
            for variable in items(&container["env"]) {
                let from = &variable["valueFrom"];
                let field = format!("{at}.env[{}].valueFrom", text(&variable["name"]));
                push(&mut found, "ConfigMap", &from["configMapKeyRef"], "name", true, &field);
                push(&mut found, "Secret", &from["secretKeyRef"], "name", true, &field);
            }
            for from in items(&container["envFrom"]) {
                push(&mut found, "ConfigMap", &from["configMapRef"], "name", false, &format!("{at}.envFrom"));
                push(&mut found, "Secret", &from["secretRef"], "name", false, &format!("{at}.envFrom"));
            }
        }
    }
    for volume in items(&spec["volumes"]) {
        let field = format!("volumes[{}]", text(&volume["name"]));
        with_items(&mut found, "ConfigMap", &volume["configMap"], "name", &field);
        with_items(&mut found, "Secret", &volume["secret"], "secretName", &field);
        for source in items(&volume["projected"]["sources"]) {
            with_items(&mut found, "ConfigMap", &source["configMap"], "name", &field);
            with_items(&mut found, "Secret", &source["secret"], "name", &field);
        }
    }
    found
}

fn push<'a>(found: &mut Vec<Reference<'a>>, kind: &'static str, at: &'a Value, name: &str, keyed: bool, field: &str) {
    if let Some(name) = at[name].as_str().filter(|name| *name != ROOT_CERTIFICATES) {
        let key = if keyed { at["key"].as_str() } else { None };
        let optional = at["optional"].as_bool().unwrap_or(false);
        found.push(Reference { kind, name, key, optional, field: field.to_owned() });
    }
}

fn with_items<'a>(found: &mut Vec<Reference<'a>>, kind: &'static str, at: &'a Value, name: &str, field: &str) {
    push(found, kind, at, name, false, field);
    let Some(name) = at[name].as_str() else { return };
    let optional = at["optional"].as_bool().unwrap_or(false);
    for item in items(&at["items"]) {
        if let Some(key) = item["key"].as_str() {
            found.push(Reference { kind, name, key: Some(key), optional, field: format!("{field}.items") });
        }
    }
}

/// True if a ConfigMap or Secret has the key. What was taken out of a Secret before it was handed over
/// (no data at all) counts as having it.
pub(crate) fn has_key(object: &Object, key: &str) -> bool {
    let redacted = object.at.kind == "Secret" && object["data"].is_null() && object["stringData"].is_null();
    redacted || ["data", "binaryData", "stringData"].iter().any(|part| object[part].get(key).is_some())
}

/// What a message of the kubelet misses: kind, name, and the key if it is only that.
pub(crate) fn missing_in(message: &str) -> Option<(&'static str, String, Option<String>)> {
    if let Some(rest) = after(message, "couldn't find key ") {
        let (key, rest) = rest.split_once(" in ")?;
        let kind = if rest.starts_with("ConfigMap") { "ConfigMap" } else { "Secret" };
        let name = rest.split_whitespace().nth(1)?.rsplit('/').next()?;
        return Some((kind, trim(name), Some(trim(key))));
    }
    for (kind, word) in
        [("ConfigMap", "configmap "), ("Secret", "secret "), ("ConfigMap", "configmaps "), ("Secret", "secrets ")]
    {
        if let Some(rest) = after(message, word)
            && rest.starts_with('"')
        {
            let name = rest[1..].split('"').next()?;
            let rest = &rest[1 + name.len()..];
            if rest.trim_start_matches('"').trim_start().starts_with("not found") {
                return Some((kind, trim(name), None));
            }
        }
    }
    None
}

/// The key that a volume's items name and its object lacks: `references non-existent config key: K`.
pub(crate) fn missing_item(message: &str) -> Option<(&'static str, String)> {
    let config = after(message, "references non-existent config key: ").map(|rest| ("ConfigMap", rest));
    let found = config.or_else(|| after(message, "references non-existent secret key: ").map(|rest| ("Secret", rest)));
    found.map(|(kind, rest)| (kind, trim(rest.split_whitespace().next().unwrap_or_default())))
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark).map(|(_, rest)| rest)
}

fn trim(text: &str) -> String {
    text.trim_matches(['"', '\'', ',', '.', ' ']).to_owned()
}

/// The symptom of a missing object or key, rooted there.
pub(crate) fn symptom(
    objects: &Objects,
    namespace: &str,
    kind: &'static str,
    name: &str,
    key: Option<&str>,
    severity: Severity,
) -> Symptom {
    let root = Ref::new(kind, namespace, name);
    match key {
        Some(key) => {
            let present = objects.get(&root);
            let keys = present.into_iter().flat_map(|object| {
                ["data", "binaryData"]
                    .into_iter()
                    .flat_map(|part| object[part].as_object().into_iter().flatten().map(|(key, _)| key.as_str()))
            });
            let hint = near::nearest(key, keys).map(|near| format!("; it has {near:?}")).unwrap_or_default();
            Symptom::new("config-key-missing", severity, &root, &format!("data.{key}"), format!("has no key {key:?}{hint}"))
                .remedy(
                    Remedy::step(format!("add the key {key:?} to the {kind}, or correct the reference; then the kubelet tries again by itself"))
                        .kubectl("edit", &root, ""),
                )
        }
        None => {
            let hint = near::hint(name, objects.in_space(kind, namespace).map(|object| object.name()));
            Symptom::new("config-missing", severity, &root, "metadata.name", format!("does not exist{hint}")).remedy(
                Remedy::step(format!(
                    "create the {kind}, or correct the reference to it; then the kubelet tries again by itself"
                )),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_the_kubelet_says() {
        for (message, want) in [
            ("configmap \"cart-config\" not found", Some(("ConfigMap", "cart-config", None))),
            ("secret \"db\" not found", Some(("Secret", "db", None))),
            ("couldn't find key URL in ConfigMap shop/cart", Some(("ConfigMap", "cart", Some("URL")))),
            ("couldn't find key token in Secret shop/api", Some(("Secret", "api", Some("token")))),
            ("MountVolume.SetUp failed for volume \"c\" : configmap \"x\" not found", Some(("ConfigMap", "x", None))),
            ("secrets \"x\" is forbidden: User cannot get", None),
            ("container has runAsNonRoot", None),
            ("couldn't find key ", None),
            ("secret \"", None),
        ] {
            let found = missing_in(message);
            let found = found.as_ref().map(|(kind, name, key)| (*kind, name.as_str(), key.as_deref()));
            assert_eq!(found, want, "{message}");
        }
        assert_eq!(
            missing_item("references non-existent config key: app.yaml"),
            Some(("ConfigMap", "app.yaml".into()))
        );
    }

    #[test]
    fn finds_every_kind_of_reference() {
        let template = json!({"spec": {
            "containers": [{"name": "a",
                "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "c1", "key": "k"}}},
                        {"name": "Y", "valueFrom": {"secretKeyRef": {"name": "s1", "key": "k", "optional": true}}}],
                "envFrom": [{"configMapRef": {"name": "c2"}}, {"secretRef": {"name": "s2"}}]}],
            "volumes": [{"name": "v", "configMap": {"name": "c3", "items": [{"key": "f", "path": "f"}]}},
                        {"name": "w", "secret": {"secretName": "s3"}},
                        {"name": "p", "projected": {"sources": [{"configMap": {"name": "c4"}}, {"secret": {"name": "s4"}}]}}]}});
        let names: Vec<&str> = of(&template).iter().map(|reference| reference.name).collect();
        assert_eq!(names, ["c1", "s1", "c2", "s2", "c3", "c3", "s3", "c4", "s4"]);
        assert_eq!(of(&template).iter().filter(|reference| reference.optional).count(), 1);
    }
}
