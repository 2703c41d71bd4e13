//! A scheduler and a kubelet in one: moves pods through the states that real ones go through. What a pod
//! does is told by its image and command: `missing` cannot be pulled, `crash` ends with code 3, `huge` does
//! not fit any node, `slow` never becomes ready.

use serde_json::{Value, json};

use super::controllers::leaving;
use super::store::Store;
use super::text;

/// Bytes of memory above which a pod fits no node.
const NODE_BYTES: u64 = 1 << 40;

pub(crate) fn round(store: &mut Store) {
    let nodes: Vec<String> = store.all("nodes", "").iter().map(|it| text(it, "/metadata/name").to_owned()).collect();
    let time = store.time();
    for mut pod in store.all("pods", "") {
        if leaving(&pod) {
            store.drop(&pod);
            continue;
        }
        step(&mut pod, &nodes, &time);
        store.set(pod);
    }
    for mut claim in store.all("persistentvolumeclaims", "") {
        let used = store.all("pods", text(&claim, "/metadata/namespace")).iter().any(|pod| mounts(pod, &claim));
        if leaving(&claim) && !used {
            store.drop(&claim);
        } else {
            claim["status"]["phase"] = json!("Bound");
            claim["status"]["capacity"] = claim["spec"]["resources"]["requests"].clone();
            store.set(claim);
        }
    }
}

fn mounts(pod: &Value, claim: &Value) -> bool {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
    let name = text(claim, "/metadata/name");
    volumes.into_iter().flatten().any(|it| text(it, "/persistentVolumeClaim/claimName") == name)
}

fn conditions(ready: bool, time: &str, before: &Value) -> Value {
    let word = if ready { "True" } else { "False" };
    let had = before.pointer("/status/conditions/0");
    let same = had.is_some_and(|it| text(it, "/status") == word);
    let since = if same { text(before, "/status/conditions/0/lastTransitionTime").to_owned() } else { time.to_owned() };
    json!([{ "type": "Ready", "status": word, "lastTransitionTime": since },
        { "type": "PodScheduled", "status": "True", "lastTransitionTime": since }])
}

fn step(pod: &mut Value, nodes: &[String], time: &str) {
    let before = pod.clone();
    let main = pod["spec"]["containers"][0].clone();
    let name = main["name"].clone();
    let status = |state: Value, restarts: u64, last: Value, started: bool| {
        let mut status =
            json!({ "name": name, "restartCount": restarts, "ready": false, "started": started, "state": state });
        if !last.is_null() {
            status["lastState"] = last;
        }
        json!([status])
    };
    if text(pod, "/spec/nodeName").is_empty() {
        let memory = super::quantity(text(&main, "/resources/requests/memory")).unwrap_or(0);
        let fits = memory <= NODE_BYTES;
        pod["status"]["phase"] = json!("Pending");
        match nodes.first().filter(|_| fits) {
            Some(node) => pod["spec"]["nodeName"] = json!(node),
            None => {
                pod["status"]["conditions"] = json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": format!("0/{} nodes are available: {} Insufficient memory.", nodes.len(), nodes.len()),
                    "lastTransitionTime": text(&before, "/metadata/creationTimestamp") }]);
            }
        }
        return;
    }
    let state = before.pointer("/status/containerStatuses/0/state").cloned().unwrap_or(Value::Null);
    let restarts = before.pointer("/status/containerStatuses/0/restartCount").and_then(Value::as_u64).unwrap_or(0);
    let last = before.pointer("/status/containerStatuses/0/lastState").cloned().unwrap_or(Value::Null);
    let does = format!("{} {} {}", text(&main, "/image"), main["command"], main["env"]);
    if does.contains("missing") {
        let waiting = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image" } });
        pod["status"]["containerStatuses"] = status(waiting, 0, Value::Null, false);
        pod["status"]["conditions"] = conditions(false, time, &before);
        return;
    }
    if state.is_null() {
        pod["status"]["phase"] = json!("Pending");
        let waiting = json!({ "waiting": { "reason": "ContainerCreating" } });
        pod["status"]["containerStatuses"] = status(waiting, 0, Value::Null, false);
    } else if state.get("running").is_none() {
        pod["status"]["phase"] = json!("Running");
        let again =
            if state.pointer("/waiting/reason") == Some(&json!("CrashLoopBackOff")) { restarts + 1 } else { restarts };
        pod["status"]["containerStatuses"] = status(json!({ "running": { "startedAt": time } }), again, last, true);
        pod["status"]["conditions"] = conditions(false, time, &before);
    } else if does.contains("crash") {
        let ended = json!({ "terminated": { "exitCode": 3, "reason": "Error", "finishedAt": time } });
        let waiting =
            json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off restarting failed container" } });
        pod["status"]["containerStatuses"] = status(waiting, restarts, ended, false);
        pod["status"]["conditions"] = conditions(false, time, &before);
    } else {
        pod["status"]["conditions"] = conditions(!does.contains("slow"), time, &before);
    }
}
