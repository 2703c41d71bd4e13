//! Kubernetes: objects as they are, and the summaries that tools print of them, given the shape of objects, so that
//! the same rules read both.

use std::collections::BTreeMap;

use opsward_causes::case::ComponentId;
use serde_json::{Map, Value, json};

use crate::gather::{Gather, Named};
use crate::kind::Kind;
use crate::record::Record;
use crate::role::{self, Role};
use crate::take::{self, Place};

/// Objects of one list that are looked at.
const OBJECTS_MAX: usize = 200_000;

/// Takes an object or a list of them.
pub(crate) fn object(gather: &mut Gather, value: &Value, place: Place<'_>) {
    let one = [value];
    let list: &[Value] = value["items"].as_array().map_or(&[], Vec::as_slice);
    let kind = value["kind"].as_str().unwrap_or_default();
    let item_kind = kind.strip_suffix("List").unwrap_or(kind);
    let items: Vec<&Value> = if list.is_empty() { one.to_vec() } else { list.iter().take(OBJECTS_MAX).collect() };
    for (number, item) in items.into_iter().enumerate() {
        let place = Place { line: u32::try_from(number).unwrap_or(u32::MAX), ..place };
        match item["kind"].as_str().unwrap_or(item_kind) {
            "Event" => take::event::object(gather, item, place),
            "Pod" => {
                pod_component(gather, item);
            }
            "ReplicaSet" => {
                let text = |key: &str| item["metadata"][key].as_str().unwrap_or_default().to_owned();
                gather.sets.insert((text("namespace"), text("name")));
            }
            "Deployment" | "StatefulSet" | "DaemonSet" => {
                if let Some(name) = item["metadata"]["name"].as_str() {
                    gather.component(name);
                }
            }
            _ => {}
        }
    }
    let folder = gather.path().rsplit('/').nth(1).map(str::to_owned);
    opsward_analyzers::load::note_listed(&mut gather.collection, value, folder.as_deref());
    let added = gather.collection.add(value.clone());
    if added > 0 {
        gather.count("Kubernetes objects", added);
    } else if value["items"].as_array().is_some_and(Vec::is_empty) {
        gather.count("empty lists", 1);
    }
}

/// Notes which containers a pod has.
fn note_containers(gather: &mut Gather, pod: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names = pod["spec"]["containers"].as_array().into_iter().flatten().map(|one| text(&one["name"])).collect();
    let meta = &pod["metadata"];
    gather.containers.insert(text(&meta["name"]), (text(&meta["namespace"]), names));
}

fn pod_component(gather: &mut Gather, pod: &Value) -> Option<ComponentId> {
    note_containers(gather, pod);
    let labels = &pod["metadata"]["labels"];
    let label = ["app.kubernetes.io/name", "app", "k8s-app", "app.kubernetes.io/component"]
        .iter()
        .find_map(|name| labels[*name].as_str());
    let owner =
        pod["metadata"]["ownerReferences"].as_array().into_iter().flatten().find(|owner| owner["controller"] == true);
    let owner = owner.and_then(|owner| {
        let name = owner["name"].as_str()?;
        if owner["kind"] == "ReplicaSet" { name.rsplit_once('-').map(|(workload, _)| workload) } else { Some(name) }
    });
    gather.whose(Named {
        service: owner.or(label),
        pod: pod["metadata"]["name"].as_str(),
        node: pod["spec"]["nodeName"].as_str(),
    })
}

/// Takes a line that a tool printed about a pod, a workload or a node.
pub(crate) fn summary(gather: &mut Gather, record: &Record<'_>, kind: Kind) -> bool {
    let name =
        record.text(Role::Name).or_else(|| if kind == Kind::Workload { record.text(Role::Workload) } else { None });
    let Some(name) = name.map(|name| name.into_owned()) else { return false };
    let space = record.text(Role::Namespace).unwrap_or_default().into_owned();
    let made = match kind {
        Kind::Pod => pod(record, &name, &space),
        Kind::Node => node(record, &name),
        _ => workload(record, &name, &space),
    };
    let node = record.text(Role::Node).map(|node| node.into_owned());
    match kind {
        Kind::Pod => {
            gather.whose(Named {
                service: record.text(Role::Service).as_deref(),
                pod: Some(&name),
                node: node.as_deref(),
            });
            gather.mentioned.insert(("Pod".to_owned(), space, name));
        }
        Kind::Workload => {
            gather.component(&name);
            let number = |role| record.number(role).unwrap_or(0.0) as i64;
            gather.workloads.insert((space, name), (number(Role::Desired), number(Role::Ready)));
        }
        _ => {}
    }
    if kind == Kind::Pod {
        note_containers(gather, &made);
    }
    let added = gather.collection.add(made);
    gather.count(kind.word(), added);
    true
}

/// A value by any of these names, wherever its marks are.
fn any<'a>(record: &Record<'a>, names: &[&str]) -> Option<&'a Value> {
    let field = record.fields.iter().find(|field| names.contains(&role::plain(field.name).as_str()))?;
    match field.cell {
        crate::record::Cell::Json(value) => Some(value),
        crate::record::Cell::Text(_) => None,
    }
}

/// True for a pod that has no place yet.
fn pends(record: &Record<'_>) -> bool {
    record.text(Role::Phase).is_some_and(|phase| phase.eq_ignore_ascii_case("pending"))
}

fn meta(record: &Record<'_>, name: &str, space: &str) -> Map<String, Value> {
    let mut meta = Map::new();
    meta.insert("name".to_owned(), json!(name));
    meta.insert("namespace".to_owned(), json!(space));
    // Whoever printed it saw it on a server.
    meta.insert("uid".to_owned(), json!(format!("{space}/{name}")));
    // When a container started tells how old its pod is; of anything else it would be the only time there is, and
    // what has no age counts as old.
    let started = || any(record, &["starttime"]).filter(|_| record.has(Role::Containers) && !pends(record));
    if let Some(made) =
        any(record, &["creationtimestamp", "createdat"]).or_else(started).filter(|made| made.is_string())
    {
        meta.insert("creationTimestamp".to_owned(), made.clone());
    }
    if let Some(gone) = any(record, &["deletiontimestamp", "deletedat"]).filter(|value| value.is_string()) {
        meta.insert("deletionTimestamp".to_owned(), gone.clone());
    }
    if let Some(labels) = any(record, &["labels"]).filter(|value| value.is_object()) {
        meta.insert("labels".to_owned(), labels.clone());
    }
    meta
}

fn pod(record: &Record<'_>, name: &str, space: &str) -> Value {
    let mut meta = meta(record, name, space);
    if let Some((set, _)) = name.rsplit_once('-').filter(|_| crate::names::workload_of_pod(name).is_some()) {
        meta.insert(
            "ownerReferences".to_owned(),
            json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set, "controller": true}]),
        );
    }
    let list = record.json(Role::Containers).and_then(Value::as_array).cloned().unwrap_or_default();
    let statuses: Vec<Value> = list.iter().map(container).collect();
    let specs: Vec<Value> =
        list.iter().map(|one| json!({"name": one["name"], "resources": one["resources"]})).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": meta,
        "spec": {"nodeName": record.text(Role::Node).unwrap_or_default(), "containers": specs},
        "status": {
            "phase": record.text(Role::Phase).or_else(|| record.text(Role::Status)).unwrap_or_default(),
            "reason": record.text(Role::Reason).unwrap_or_default(),
            "startTime": any(record, &["starttime"]).cloned().unwrap_or_default(),
            "containerStatuses": statuses,
            "conditions": any(record, &["conditions"]).cloned().unwrap_or_default(),
        }
    })
}

/// A field of a summary under its own name or in capitals.
fn either<'a>(value: &'a Value, names: &[&str]) -> &'a Value {
    names.iter().map(|name| &value[*name]).find(|value| !value.is_null()).unwrap_or(&Value::Null)
}

fn container(summary: &Value) -> Value {
    let state = &summary["state"];
    let text = |names: &[&str]| {
        either(state, names).as_str().or_else(|| either(summary, names).as_str()).unwrap_or_default().to_owned()
    };
    let code =
        [either(state, &["exit_code", "exitCode"]), either(summary, &["exit_code", "exitCode", "last_exit_code"])]
            .into_iter()
            .find_map(Value::as_i64);
    let word = state.as_str().unwrap_or_default().to_ascii_lowercase();
    let is = |name: &str| word == name || state[name] == true || state[name].is_object();
    let inner = |name: &str| if state[name].is_object() { state[name].clone() } else { json!({}) };
    let message = text(&["message"]);
    let mut made = Map::new();
    let mut last = summary["lastState"].clone();
    let ended = either(summary, &["last_state", "last_termination", "lastTermination"]);
    if ended.is_object() {
        let ended = if ended["terminated"].is_object() { &ended["terminated"] } else { ended };
        last = json!({"terminated": {
            "reason": ended["reason"], "exitCode": either(ended, &["exit_code", "exitCode"]),
            "finishedAt": either(ended, &["finished_at", "finishedAt"]), "message": ended["message"]}});
    }
    if is("waiting") {
        let mut waiting = inner("waiting");
        waiting["reason"] = json!(text(&["reason"]));
        waiting["message"] = json!(message);
        made.insert("waiting".to_owned(), waiting);
    } else if is("terminated") {
        let mut ended = inner("terminated");
        ended["reason"] = json!(text(&["reason"]));
        ended["exitCode"] = json!(code);
        ended["finishedAt"] = json!(text(&["finished_at", "finishedAt"]));
        made.insert("terminated".to_owned(), ended);
    } else if is("running") {
        made.insert("running".to_owned(), json!({"startedAt": text(&["started_at", "startedAt"])}));
    }
    if !is("terminated") && !last["terminated"].is_object() && code.is_some() {
        // Summaries put the code of the last end beside the present state.
        last = json!({"terminated": {"exitCode": code, "reason": ended_reason(&message, code)}});
    }
    json!({
        "name": summary["name"], "ready": summary["ready"],
        "restartCount": either(summary, &["restart_count", "restartCount", "restarts"]),
        "state": made, "lastState": last, "image": summary["image"],
    })
}

/// Why a container ended, where a message says it.
fn ended_reason(message: &str, code: Option<i64>) -> &'static str {
    match code {
        _ if message.contains("OOMKilled") => "OOMKilled",
        Some(0) => "Completed",
        _ => "Error",
    }
}

fn workload(record: &Record<'_>, name: &str, space: &str) -> Value {
    let desired = record.number(Role::Desired).unwrap_or(0.0) as i64;
    let ready = record.number(Role::Ready).unwrap_or(0.0) as i64;
    let number = |names: &[&str], other: i64| any(record, names).and_then(Value::as_i64).unwrap_or(other);
    let available = number(&["available", "availablereplicas"], ready);
    let kind = match record.text(Role::Type).unwrap_or_default().to_ascii_lowercase().as_str() {
        "statefulset" => "StatefulSet",
        "daemonset" => "DaemonSet",
        _ => "Deployment",
    };
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": meta(record, name, space),
        "spec": {"replicas": desired},
        "status": {
            "replicas": number(&["current", "currentreplicas"], ready), "readyReplicas": ready, "availableReplicas": available,
            "unavailableReplicas": number(&["unavailable", "unavailablereplicas"], desired - available),
            "updatedReplicas": number(&["updated", "uptodate", "updatedreplicas"], desired),
            "conditions": any(record, &["conditions"]).cloned().unwrap_or_default(),
        }
    })
}

fn node(record: &Record<'_>, name: &str) -> Value {
    let mut conditions: Vec<Value> =
        any(record, &["conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    for (kind, field) in [
        ("Ready", "ready"),
        ("MemoryPressure", "memorypressure"),
        ("DiskPressure", "diskpressure"),
        ("PIDPressure", "pidpressure"),
        ("NetworkUnavailable", "networkunavailable"),
    ] {
        let said = record.fields.iter().find(|one| role::plain(one.name) == field).and_then(|one| one.cell.text());
        let Some(said) = said else { continue };
        let status = match said.to_ascii_lowercase().as_str() {
            "true" | "yes" => "True",
            "false" | "no" => "False",
            _ => "Unknown",
        };
        conditions.push(json!({"type": kind, "status": status}));
    }
    json!({"apiVersion": "v1", "kind": "Node", "metadata": meta(record, name, ""), "spec": {}, "status": {"conditions": conditions}})
}

/// Ends the gathering: replica sets that only events or pods name get a place under the workload that made them, and
/// ends of logs go to their pods.
pub(crate) fn finish(gather: &mut Gather) {
    for ((space, name), (wanted, ready)) in std::mem::take(&mut gather.workloads) {
        let prefix = format!("{name}-");
        let mut sets: BTreeMap<String, (bool, i64)> = BTreeMap::new();
        for (kind, of, object) in gather.mentioned.iter().filter(|(_, of, _)| *of == space) {
            let set = match kind.as_str() {
                "ReplicaSet" => object.as_str(),
                "Pod" => object.rsplit_once('-').map_or("", |(set, _)| set),
                _ => continue,
            };
            let made = set.strip_prefix(&prefix).is_some_and(|hash| hash.len() >= 5 && !hash.contains('-'));
            if made && !gather.sets.contains(&(of.clone(), set.to_owned())) {
                let entry = sets.entry(set.to_owned()).or_default();
                entry.0 |= kind == "ReplicaSet";
                entry.1 += i64::from(kind == "Pod");
            }
        }
        for (set, (told, pods)) in sets {
            let has = if told { ready.max(pods) } else { pods };
            let wants = if told { wanted } else { pods };
            gather.collection.add(json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet",
                "metadata": {"name": set, "namespace": space, "uid": format!("{space}/{set}"), "ownerReferences":
                    [{"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "controller": true}]},
                "spec": {"replicas": wants}, "status": {"replicas": has, "readyReplicas": has},
            }));
        }
    }
    for (space, pod, container, tail) in std::mem::take(&mut gather.tails) {
        // A log that does not say more than its pod is that of the pod's only container.
        let known = gather.containers.get(&pod);
        let space = known.map_or(&space, |(known, _)| if space.is_empty() { known } else { &space }).clone();
        let only = known.and_then(|(_, names)| names.first().filter(|_| names.len() == 1));
        let container = only.filter(|_| container.is_empty()).unwrap_or(&container).clone();
        gather.collection.add_log(&space, &pod, &container, tail);
    }
}
