//! Patches: JSON merge patch, strategic merge patch, JSON patch, and server-side apply with its field
//! managers and their conflicts.

use serde_json::{Map, Value, json};

use super::status::No;
use super::text;

/// Lists that are merged by a key of their elements, in strategic merge and in apply.
const MERGED: [(&str, &str); 7] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("volumeMounts", "mountPath"),
    ("ports", "containerPort"),
    ("ownerReferences", "uid"),
];

fn merge_key(list: &str) -> Option<&'static str> {
    MERGED.iter().find(|(name, _)| *name == list).map(|(_, key)| *key)
}

/// RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let map = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// As [`merge`], with lists merged by their key and `$patch` directives.
pub(crate) fn strategic(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    let directive = patch.get("$patch").and_then(Value::as_str);
    if !target.is_object() || directive == Some("replace") {
        *target = json!({});
    }
    let map = target.as_object_mut().unwrap();
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        match (value, merge_key(key)) {
            (Value::Null, _) => {
                map.remove(key);
            }
            (Value::Array(elements), Some(by)) => {
                let list = map.entry(key.clone()).or_insert(json!([]));
                elements.iter().for_each(|element| element_into(list, element, by));
            }
            _ => strategic(map.entry(key.clone()).or_insert(Value::Null), value),
        }
    }
}

fn element_into(list: &mut Value, element: &Value, by: &str) {
    if !list.is_array() {
        *list = json!([]);
    }
    let list = list.as_array_mut().unwrap();
    let at = list.iter().position(|it| it[by] == element[by]);
    match (at, element["$patch"] == json!("delete")) {
        (Some(at), true) => drop(list.remove(at)),
        (Some(at), false) => strategic(&mut list[at], element),
        (None, true) => {}
        (None, false) => list.push(element.clone()),
    }
}

/// RFC 6902: add, remove, replace, test.
pub(crate) fn operations(target: &mut Value, patch: &Value) -> Result<(), No> {
    let bad = |why: String| {
        No::new(422, "Invalid", format!("the server rejected our request due to an error in our request: {why}"))
    };
    for operation in patch.as_array().ok_or_else(|| No::bad("a JSON patch is a list"))? {
        let (op, path) = (text(operation, "/op"), text(operation, "/path"));
        let (parent, last) = path.rsplit_once('/').ok_or_else(|| bad(format!("path {path:?}")))?;
        let last = last.replace("~1", "/").replace("~0", "~");
        if op == "test" {
            if target.pointer(path) != Some(&operation["value"]) {
                return Err(bad(format!("testing path {path} value failed")));
            }
            continue;
        }
        let there = target.pointer(path).is_some();
        let parent = target.pointer_mut(parent).ok_or_else(|| bad(format!("no {path}")))?;
        match (op, parent) {
            ("remove" | "replace", _) if !there => return Err(bad(format!("no {path}"))),
            ("remove", Value::Object(map)) => drop(map.remove(&last)),
            ("remove", Value::Array(list)) => drop(list.remove(last.parse().map_err(|_| bad(last.clone()))?)),
            ("add" | "replace", Value::Object(map)) => drop(map.insert(last, operation["value"].clone())),
            ("add", Value::Array(list)) if last == "-" => list.push(operation["value"].clone()),
            ("add", Value::Array(list)) => {
                let at: usize = last.parse().map_err(|_| bad(last.clone()))?;
                if at > list.len() {
                    return Err(bad(format!("no {path}")));
                }
                list.insert(at, operation["value"].clone());
            }
            ("replace", Value::Array(list)) => {
                let at: usize = last.parse().map_err(|_| bad(last.clone()))?;
                list[at] = operation["value"].clone();
            }
            _ => return Err(bad(format!("operation {op}"))),
        }
    }
    Ok(())
}

/// The fields of an applied configuration, as `FieldsV1` names them.
fn fields(config: &Value, name: &str) -> Value {
    match config {
        Value::Object(map) => {
            let own = map
                .iter()
                .filter(|(key, _)| !(name.is_empty() && ["apiVersion", "kind", "metadata"].contains(&key.as_str())));
            let mut found: Map<String, Value> =
                own.map(|(key, value)| (format!("f:{key}"), fields(value, key))).collect();
            if let Some(meta) = map.get("metadata").filter(|_| name.is_empty()) {
                let part = |key: &str| meta.get(key).map(|it| (format!("f:{key}"), fields(it, key)));
                let kept: Map<String, Value> = ["labels", "annotations"].into_iter().filter_map(part).collect();
                if !kept.is_empty() {
                    found.insert("f:metadata".into(), Value::Object(kept));
                }
            }
            Value::Object(found)
        }
        Value::Array(list) if merge_key(name).is_some() => {
            let by = merge_key(name).unwrap();
            list.iter()
                .map(|it| (format!("k:{}", json!({ by: it[by] })), fields(it, "element")))
                .collect::<Map<_, _>>()
                .into()
        }
        _ => json!({}),
    }
}

/// Leaves of a `FieldsV1`, as paths.
fn leaves(fields: &Value, path: &str, into: &mut Vec<String>) {
    match fields.as_object().filter(|map| !map.is_empty()) {
        None => into.push(path.to_owned()),
        Some(map) => map.iter().for_each(|(key, value)| leaves(value, &format!("{path}.{key}"), into)),
    }
}

/// The value at a leaf.
fn at<'a>(object: &'a Value, leaf: &str) -> Option<&'a Value> {
    let mut found = object;
    let mut rest = leaf;
    while let Some(start) = rest.find(".f:").into_iter().chain(rest.find(".k:")).min() {
        rest = &rest[start + 1..];
        let end = rest.find(".f:").into_iter().chain(rest.find(".k:")).min().unwrap_or(rest.len());
        let step = &rest[..end];
        found = match step.strip_prefix("f:") {
            Some(key) => found.get(key)?,
            None => {
                let wanted: Value = serde_json::from_str(&step[2..]).ok()?;
                let (by, value) = wanted.as_object()?.iter().next()?;
                found.as_array()?.iter().find(|it| it[by.as_str()] == *value)?
            }
        };
        rest = &rest[end..];
    }
    Some(found)
}

/// Applies a configuration for `manager`. Fields of others that would change are a conflict, unless forced.
pub(crate) fn apply(target: &mut Value, config: &Value, manager: &str, force: bool, time: &str) -> Result<(), No> {
    if manager.is_empty() {
        return Err(No::bad("fieldManager is required for apply patch"));
    }
    let own = fields(config, "");
    let (mut wanted, before) = (Vec::new(), target.clone());
    leaves(&own, "", &mut wanted);
    let mut managers = target["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let mut causes = Vec::new();
    for other in managers.iter_mut().filter(|it| text(it, "/manager") != manager) {
        let mut theirs = Vec::new();
        leaves(&other["fieldsV1"], "", &mut theirs);
        for leaf in wanted.iter().filter(|leaf| theirs.iter().any(|it| leaf.starts_with(it.as_str()))) {
            if at(&before, leaf) != at(config, leaf) {
                let who = text(other, "/manager");
                causes.push(json!({ "reason": "FieldManagerConflict", "field": leaf,
                    "message": format!("conflict with {who:?} using {}", text(other, "/apiVersion")) }));
            }
        }
        if force {
            forget(&mut other["fieldsV1"], &wanted, "");
        }
    }
    if !causes.is_empty() && !force {
        let mut no = No::new(409, "Conflict", format!("Apply failed with {} conflict(s)", causes.len()));
        no.details = json!({ "causes": causes });
        return Err(no);
    }
    strategic(target, config);
    managers.retain(|it| text(it, "/manager") != manager);
    managers.push(json!({ "manager": manager, "operation": "Apply", "apiVersion": config["apiVersion"],
        "time": time, "fieldsType": "FieldsV1", "fieldsV1": own }));
    target["metadata"]["managedFields"] = json!(managers);
    Ok(())
}

/// Takes away what somebody else has taken over.
fn forget(fields: &mut Value, taken: &[String], path: &str) {
    if let Some(map) = fields.as_object_mut() {
        map.retain(|key, value| {
            let path = format!("{path}.{key}");
            forget(value, taken, &path);
            !taken.contains(&path)
        });
    }
}
