//! Times a made-up cluster: `cargo run --release -p opsward-analyzers --example bench -- [OBJECTS]`. Writes it
//! as files as a dump does, then reads, indexes and analyzes it. No part of the product.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a bench may fail loudly and prints its numbers")]

use std::time::Instant;

use opsward_analyzers::load::{Limits, folder};
use opsward_analyzers::{Options, analyze, text};
use serde_json::{Value, json};

/// One in this many Deployments is broken.
const BROKEN_EVERY: usize = 50;
/// Objects of one Deployment: itself, its ReplicaSet, three pods, Service, slice, ConfigMap, two events.
const EACH: usize = 10;

fn meta(name: &str, owner: Option<(&str, &str)>) -> Value {
    let mut meta = json!({"name": name, "namespace": format!("team-{}", name.len() % 7), "uid": format!("{name}-uid"),
        "creationTimestamp": "2026-11-20T03:00:00Z", "resourceVersion": "1000", "labels": {"app": name.split('.').next()},
        "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "time": "2026-11-20T03:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:containers": {"f:image": {}, "f:name": {}, "f:ports": {}, "f:resources": {}}}}}]});
    if let Some((kind, owner)) = owner {
        meta["ownerReferences"] =
            json!([{"apiVersion": "apps/v1", "kind": kind, "name": owner, "controller": true, "uid": "u"}]);
    }
    meta
}

#[allow(clippy::too_many_lines, reason = "a fixture, object after object")]
fn app(number: usize, out: &mut Vec<Value>) {
    let name = format!("app-{number}");
    let broken = number.is_multiple_of(BROKEN_EVERY);
    let ready = if broken { 0 } else { 3 };
    let template = json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": format!("registry.example.com/{name}:1.0"),
        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}], "envFrom": [{"configMapRef": {"name": format!("{name}.config")}}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}}]}});
    let set = format!("{name}.set");
    let space = meta(&name, None)["namespace"].clone();
    let mut add = |api: &str, kind: &str, mut metadata: Value, rest: Value| {
        metadata["namespace"] = space.clone();
        metadata["labels"]["app"] = json!(name);
        let mut object = json!({"apiVersion": api, "kind": kind, "metadata": metadata});
        for (key, value) in rest.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        out.push(object);
    };
    let selector = json!({"matchLabels": {"app": name}});
    add(
        "apps/v1",
        "Deployment",
        meta(&name, None),
        json!({"spec": {"replicas": 3, "selector": selector, "template": template}, "status": {"replicas": 3, "readyReplicas": ready, "availableReplicas": ready}}),
    );
    add(
        "apps/v1",
        "ReplicaSet",
        meta(&set, Some(("Deployment", &name))),
        json!({"spec": {"replicas": 3, "selector": selector, "template": template}, "status": {"replicas": 3, "readyReplicas": ready}}),
    );
    for replica in 0..3 {
        let state = if broken {
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}})
        } else {
            json!({"running": {"startedAt": "2026-11-20T03:01:00Z"}})
        };
        let last = if broken {
            json!({"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2026-11-23T03:00:00Z"}})
        } else {
            json!({})
        };
        let status = if broken { "False" } else { "True" };
        let mut spec = template["spec"].clone();
        spec["nodeName"] = json!(format!("node-{}", replica * 7 % 20));
        add(
            "v1",
            "Pod",
            meta(&format!("{name}.p{replica}"), Some(("ReplicaSet", &set))),
            json!({"spec": spec, "status": {"phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": status, "lastTransitionTime": "2026-11-20T03:01:00Z"}],
            "containerStatuses": [{"name": "main", "image": "x", "ready": !broken, "restartCount": if broken { 20 } else { 0 }, "state": state, "lastState": last}]}}),
        );
    }
    add(
        "v1",
        "Service",
        meta(&name, None),
        json!({"spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}]}, "status": {"loadBalancer": {}}}),
    );
    add(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        meta(&format!("{name}.slice"), None),
        json!({"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": !broken}}]}),
    );
    add("v1", "ConfigMap", meta(&format!("{name}.config"), None), json!({"data": {"A": "b".repeat(200)}}));
    for event in 0..2 {
        add(
            "v1",
            "Event",
            meta(&format!("{name}.e{event}"), None),
            json!({"involvedObject": {"kind": "Pod", "name": format!("{name}.p0"), "namespace": space}, "reason": "Pulled",
            "message": "Container image already present on machine", "firstTimestamp": "2026-11-23T03:00:00Z", "lastTimestamp": "2026-11-23T03:10:00Z"}),
        );
    }
}

fn main() {
    let wanted: usize = std::env::args().nth(1).and_then(|number| number.parse().ok()).unwrap_or(5_000);
    let mut objects = Vec::new();
    for number in 0..wanted / EACH {
        app(number, &mut objects);
    }
    for number in 0..20 {
        objects.push(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{number}"), "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-23T03:10:00Z"}]}}));
    }
    for packed in [("json", false), ("yaml", true)] {
        run(&objects, packed.0, packed.1);
    }
}

fn run(objects: &[Value], word: &str, yaml: bool) {
    let place = std::env::temp_dir().join(format!("opsward-bench-{}-{word}", std::process::id()));
    std::fs::create_dir_all(&place).expect("a folder");
    for (number, chunk) in objects.chunks(500).enumerate() {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": chunk});
        // JSON is YAML: it takes the same reader as a block document of the same content.
        let text = serde_json::to_string_pretty(&list).expect("text");
        std::fs::write(place.join(format!("{number:04}.{}", if yaml { "yaml" } else { "json" })), text)
            .expect("a file");
    }
    let bytes: u64 = std::fs::read_dir(&place)
        .expect("files")
        .filter_map(|file| file.ok()?.metadata().ok())
        .map(|facts| facts.len())
        .sum();
    let mut times: Vec<[f64; 4]> = Vec::new();
    let mut count = 0;
    for _ in 0..5 {
        let start = Instant::now();
        let collection = folder(&place, &Limits::default()).expect("objects");
        let read = start.elapsed().as_secs_f64();
        let bag = collection.index(None);
        let indexed = start.elapsed().as_secs_f64();
        let report = analyze(&bag, &Options::default());
        let analyzed = start.elapsed().as_secs_f64();
        count = report.findings.len();
        assert!(text::render(&report).len() > 100);
        times.push([read, indexed - read, analyzed - indexed, start.elapsed().as_secs_f64()]);
    }
    times.sort_by(|a, b| a[3].total_cmp(&b[3]));
    let [read, index, rules, all] = times[times.len() / 2].map(|seconds| seconds * 1000.0);
    println!(
        "{word}: {} objects, {bytes} bytes, {count} findings; read {read:.0} ms, index {index:.0} ms, rules {rules:.1} ms, report printed after {all:.0} ms (median of {})",
        objects.len(),
        times.len()
    );
    let _ = std::fs::remove_dir_all(&place);
}
