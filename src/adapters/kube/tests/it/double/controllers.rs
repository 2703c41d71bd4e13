//! Small controllers: a Deployment makes ReplicaSets, those make Pods; a StatefulSet and a DaemonSet keep
//! ControllerRevisions. Each round does one step of each, as the real ones converge.

use serde_json::{Value, json};

use super::kinds::Kind;
use super::store::{Store, Writing};
use super::{digest, items, number, owner_of, text};

const REVISION: &str = "deployment.kubernetes.io/revision";
/// Rounds without a ready pod after which a Deployment's progress counts as over.
const PATIENCE_ROUNDS: u64 = 400;

/// One round of every controller.
pub(crate) fn round(store: &mut Store) {
    store.now_s += 1;
    for object in store.all("deployments", "") {
        deployment(store, object);
    }
    for object in store.all("replicasets", "") {
        replica_set(store, object);
    }
    for object in store.all("statefulsets", "") {
        stateful_set(store, object);
    }
    for object in store.all("daemonsets", "") {
        daemon_set(store, object);
    }
    super::kubelet::round(store);
    super::garbage::round(store);
}

pub(crate) fn leaving(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|it| !it.is_null())
}

pub(crate) fn owned(store: &Store, plural: &'static str, owner: &Value) -> Vec<Value> {
    let (namespace, uid) = (text(owner, "/metadata/namespace"), text(owner, "/metadata/uid"));
    store.all(plural, namespace).into_iter().filter(|it| owner_of(it) == uid).collect()
}

fn owner_reference(owner: &Value) -> Value {
    json!([{ "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true }])
}

fn make(store: &mut Store, plural: &str, namespace: &str, object: Value) {
    let _ = store.create(
        Kind::of(plural),
        namespace,
        object,
        &Writing { manager: "kube-controller-manager".into(), ..Writing::default() },
    );
}

fn is_ready(pod: &Value) -> bool {
    items(pod, "/status/conditions").iter().any(|it| text(it, "/type") == "Ready" && text(it, "/status") == "True")
}

fn ready_of(store: &Store, owner: &Value) -> u64 {
    owned(store, "pods", owner).iter().filter(|pod| is_ready(pod) && !leaving(pod)).count() as u64
}

fn annotation(object: &Value, key: &str) -> u64 {
    object["metadata"]["annotations"][key].as_str().and_then(|it| it.parse().ok()).unwrap_or(0)
}

fn plain(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove("pod-template-hash");
    }
    template
}

fn deployment(store: &mut Store, mut object: Value) {
    if leaving(&object) {
        return;
    }
    let namespace = text(&object, "/metadata/namespace").to_owned();
    let mut sets = owned(store, "replicasets", &object);
    let last = sets.iter().map(|it| annotation(it, REVISION)).max().unwrap_or(0);
    let wanted = plain(&object["spec"]["template"]);
    let found = sets.iter_mut().find(|it| plain(&it["spec"]["template"]) == wanted);
    let paused = object["spec"]["paused"] == json!(true);
    let current = match found {
        Some(set) => {
            let number = annotation(set, REVISION);
            if number < last {
                set["metadata"]["annotations"][REVISION] = json!((last + 1).to_string());
                store.set(set.clone());
            }
            set.clone()
        }
        None if paused => return,
        None => {
            let hash = digest(&wanted);
            let mut template = wanted.clone();
            template["metadata"]["labels"]["pod-template-hash"] = json!(hash);
            let mut labels = template["metadata"]["labels"].clone();
            labels["pod-template-hash"] = json!(hash);
            let mut selector = object["spec"]["selector"].clone();
            selector["matchLabels"]["pod-template-hash"] = json!(hash);
            let name = format!("{}-{hash}", text(&object, "/metadata/name"));
            let set = json!({ "metadata": { "name": name, "labels": labels, "ownerReferences": owner_reference(&object),
                    "annotations": { REVISION: (last + 1).to_string() } },
                "spec": { "replicas": 0, "selector": selector, "template": template } });
            make(store, "replicasets", &namespace, set);
            return;
        }
    };
    object["metadata"]["annotations"][REVISION] = json!(annotation(&current, REVISION).to_string());
    roll(store, &object, &current);
    status(store, &mut object, &current);
    let name = text(&object, "/metadata/name").to_owned();
    let writing = Writing { part: Some("status"), ..Writing::default() };
    object["metadata"]["resourceVersion"] = json!("");
    let _ = store.replace(Kind::of("deployments"), &namespace, &name, object, &writing);
}

/// One step from the old sets to the new one, within surge and unavailability.
fn roll(store: &mut Store, object: &Value, current: &Value) {
    let wanted = number(object, "/spec/replicas");
    let (surge, missing) = (wanted.div_ceil(4), wanted / 4);
    let uid = text(current, "/metadata/uid").to_owned();
    let sets = owned(store, "replicasets", object);
    let (new, old): (Vec<Value>, Vec<Value>) = sets.into_iter().partition(|it| text(it, "/metadata/uid") == uid);
    let Some(mut new) = new.into_iter().next() else { return };
    let olds: u64 = old.iter().map(|it| number(it, "/spec/replicas")).sum();
    let most = wanted + if olds > 0 { surge.max(1) } else { 0 };
    new["spec"]["replicas"] = json!(wanted.min(most.saturating_sub(olds)));
    let ready = ready_of(store, &new);
    store.set(new);
    let least = wanted.saturating_sub(missing);
    let mut kept = least.saturating_sub(ready);
    for mut set in old {
        let now = number(&set, "/spec/replicas").min(kept);
        kept -= now;
        set["spec"]["replicas"] = json!(now);
        store.set(set);
    }
    prune(store, object, &uid);
}

/// Forgets the oldest empty sets beyond the limit.
fn prune(store: &mut Store, object: &Value, current: &str) {
    let limit = usize::try_from(number(object, "/spec/revisionHistoryLimit")).unwrap();
    let mut old = owned(store, "replicasets", object);
    old.retain(|it| {
        text(it, "/metadata/uid") != current && number(it, "/spec/replicas") == 0 && number(it, "/status/replicas") == 0
    });
    old.sort_by_key(|it| annotation(it, REVISION));
    let excess = old.len().saturating_sub(limit);
    for set in old.drain(..excess) {
        store.drop(&set);
    }
}

fn status(store: &Store, object: &mut Value, current: &Value) {
    let all: u64 = owned(store, "replicasets", object).iter().map(|it| number(it, "/status/replicas")).sum();
    let (updated, ready) = (number(current, "/status/replicas"), ready_of(store, current));
    let is_new = object["status"]["observedGeneration"] != object["metadata"]["generation"];
    let moves =
        is_new || ready != number(object, "/status/availableReplicas") || ready >= number(object, "/spec/replicas");
    let since = object["status"]["waitingSince"].as_u64().unwrap_or(store.now_s as u64);
    let over = !moves && (store.now_s as u64).saturating_sub(since) > PATIENCE_ROUNDS;
    let (status, reason) =
        if over { ("False", "ProgressDeadlineExceeded") } else { ("True", "NewReplicaSetAvailable") };
    object["status"] = json!({
        "observedGeneration": object["metadata"]["generation"], "replicas": all, "updatedReplicas": updated,
        "readyReplicas": ready, "availableReplicas": ready,
        "conditions": [{ "type": "Progressing", "status": status, "reason": reason }],
    });
    if !moves {
        object["status"]["waitingSince"] = json!(since);
    }
}

fn new_pod(template: &Value, owner: &Value, name: Value) -> Value {
    let mut meta = template["metadata"].clone();
    meta["ownerReferences"] = owner_reference(owner);
    match name {
        Value::String(name) => meta["name"] = json!(name),
        _ => meta["generateName"] = json!(format!("{}-", text(owner, "/metadata/name"))),
    }
    json!({ "metadata": meta, "spec": template["spec"] })
}

fn end(store: &mut Store, pod: &Value) {
    let (namespace, name) = (text(pod, "/metadata/namespace").to_owned(), text(pod, "/metadata/name").to_owned());
    let _ = store.remove(Kind::of("pods"), &namespace, &name, &json!({}), false);
}

fn replica_set(store: &mut Store, mut set: Value) {
    let namespace = text(&set, "/metadata/namespace").to_owned();
    let pods = owned(store, "pods", &set);
    let live: Vec<&Value> = pods.iter().filter(|pod| !leaving(pod) && text(pod, "/status/phase") != "Failed").collect();
    let wanted = if leaving(&set) { 0 } else { usize::try_from(number(&set, "/spec/replicas")).unwrap() };
    for _ in live.len()..wanted {
        let pod = new_pod(&set["spec"]["template"], &set, Value::Null);
        make(store, "pods", &namespace, pod);
    }
    for pod in live.iter().skip(wanted) {
        end(store, pod);
    }
    set["status"] = json!({ "replicas": live.len().min(wanted), "readyReplicas": ready_of(store, &set),
        "observedGeneration": set["metadata"]["generation"] });
    store.set(set);
}

/// The revision of an object's template, made if it is new; its name and label.
fn revision(store: &mut Store, object: &Value) -> Option<(String, String)> {
    let kept = owned(store, "controllerrevisions", object);
    let template = &object["spec"]["template"];
    let last = kept.iter().map(|it| number(it, "/revision")).max().unwrap_or(0);
    let hash = digest(template);
    let name = format!("{}-{hash}", text(object, "/metadata/name"));
    if let Some(mut found) = kept.into_iter().find(|it| text(it, "/metadata/name") == name) {
        if number(&found, "/revision") < last {
            found["revision"] = json!(last + 1);
            store.set(found);
        }
        return Some((name, hash));
    }
    let mut labels = template["metadata"]["labels"].clone();
    labels["controller-revision-hash"] = json!(hash);
    let mut data = template.clone();
    data["$patch"] = json!("replace");
    let made = json!({ "metadata": { "name": name, "labels": labels, "ownerReferences": owner_reference(object) },
        "revision": last + 1, "data": { "spec": { "template": data } } });
    make(store, "controllerrevisions", text(object, "/metadata/namespace"), made);
    None
}

fn stateful_set(store: &mut Store, mut set: Value) {
    if leaving(&set) {
        return;
    }
    let Some((name, _)) = revision(store, &set) else { return };
    let namespace = text(&set, "/metadata/namespace").to_owned();
    let pods = owned(store, "pods", &set);
    let of = |ordinal: u64| format!("{}-{ordinal}", text(&set, "/metadata/name"));
    let wanted = number(&set, "/spec/replicas");
    let on_delete = text(&set, "/spec/updateStrategy/type") == "OnDelete";
    let mut steady = true;
    for ordinal in 0..wanted {
        match pods.iter().find(|pod| text(pod, "/metadata/name") == of(ordinal)) {
            Some(pod) if is_ready(pod) && !leaving(pod) => {}
            Some(_) => steady = false,
            None if steady => {
                let mut pod = new_pod(&set["spec"]["template"], &set, json!(of(ordinal)));
                pod["metadata"]["labels"]["controller-revision-hash"] = json!(name);
                make(store, "pods", &namespace, pod);
                steady = false;
            }
            None => {}
        }
    }
    let beyond = |pod: &&Value| !(0..wanted).any(|ordinal| of(ordinal) == text(pod, "/metadata/name"));
    let stale = |pod: &&Value| text(pod, "/metadata/labels/controller-revision-hash") != name && !on_delete;
    let next = pods.iter().rev().filter(|pod| !leaving(pod)).find(|pod| beyond(pod) || (steady && stale(pod)));
    if let Some(pod) = next {
        end(store, pod);
    }
    let ready = ready_of(store, &set);
    set["status"] = json!({ "observedGeneration": set["metadata"]["generation"], "replicas": pods.len(),
        "readyReplicas": ready, "updateRevision": name });
    store.set(set);
}

fn daemon_set(store: &mut Store, mut set: Value) {
    if leaving(&set) {
        return;
    }
    let Some((_, hash)) = revision(store, &set) else { return };
    let namespace = text(&set, "/metadata/namespace").to_owned();
    let pods = owned(store, "pods", &set);
    let nodes = store.all("nodes", "");
    for node in &nodes {
        let node = text(node, "/metadata/name");
        let mut here = pods.iter().filter(|pod| text(pod, "/spec/nodeName") == node);
        match here.next() {
            None => {
                let mut pod = new_pod(&set["spec"]["template"], &set, Value::Null);
                pod["metadata"]["labels"]["controller-revision-hash"] = json!(hash);
                pod["spec"]["nodeName"] = json!(node);
                make(store, "pods", &namespace, pod);
            }
            Some(pod) if text(pod, "/metadata/labels/controller-revision-hash") != hash && !leaving(pod) => {
                end(store, pod);
                break;
            }
            Some(_) => {}
        }
    }
    set["status"] = json!({ "observedGeneration": set["metadata"]["generation"], "desiredNumberScheduled": nodes.len(),
        "numberReady": ready_of(store, &set) });
    store.set(set);
}
