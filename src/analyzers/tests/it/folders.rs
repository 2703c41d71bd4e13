//! Folders as people have them: dumps, trees, broken files, links, packed files, too much of everything.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use opsward_analyzers::load::{self, Limits, LoadError};
use opsward_analyzers::{Options, Severity, Verdict, analyze};
use serde_json::{Value, json};

use crate::made::report_in;

const STAMP: &str = "2026-11-23T03:14:00Z";

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// As `kubectl cluster-info dump` writes them: a typed list whose items say neither kind nor version.
fn list(kind: &str, api: &str, items: Vec<Value>) -> String {
    let items: Vec<Value> = items
        .into_iter()
        .map(|mut item| {
            item.as_object_mut().unwrap().retain(|key, _| key != "kind" && key != "apiVersion");
            item
        })
        .collect();
    json!({"kind": format!("{kind}List"), "apiVersion": api, "metadata": {"resourceVersion": "900"}, "items": items})
        .to_string()
}

fn pod(name: &str, app: &str, waiting: bool) -> Value {
    let state = if waiting {
        json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}})
    } else {
        json!({"running": {"startedAt": "2026-11-22T03:00:00Z"}})
    };
    let last = if waiting {
        json!({"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": STAMP}})
    } else {
        json!({})
    };
    let ready = if waiting { "False" } else { "True" };
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": app}, "creationTimestamp": "2026-11-22T03:00:00Z"},
        "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "a:1"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-11-23T03:00:00Z"}],
            "containerStatuses": [{"name": "app", "image": "a:1", "ready": !waiting, "restartCount": if waiting { 9 } else { 0 }, "state": state, "lastState": last}]}})
}

fn service(name: &str, app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": "2026-11-22T03:00:00Z"},
        "spec": {"type": "ClusterIP", "selector": {"app": app}, "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]},
        "status": {"loadBalancer": {}}})
}

#[test]
fn a_cluster_dump_is_read_with_its_logs_and_a_called_service_is_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "nodes.json", &list("Node", "v1", vec![]));
    write(at, "shop/pods.json", &list("Pod", "v1", vec![pod("cart-1", "cart", true)]));
    write(
        at,
        "shop/services.json",
        &list("Service", "v1", vec![service("cart", "cart"), service("redis", "redis-primary")]),
    );
    write(at, "shop/deployments.json", &list("Deployment", "apps/v1", vec![]));
    write(
        at,
        "shop/cart-1/logs.txt",
        "==== START logs for container app of pod shop/cart-1 ====\nstarting\nerror: dial tcp redis:6379: connect: connection refused\n==== END logs for container app of pod shop/cart-1 ====\n",
    );
    let report = report_in(at);
    assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
    let finding = &report.findings[0];
    assert_eq!((finding.rule, finding.object.to_string().as_str()), ("selector-matches-nothing", "Service shop/redis"));
    let chain: Vec<String> = finding.cause_chain.iter().map(|link| link.object.to_string()).collect();
    assert!(
        chain.contains(&"Pod shop/cart-1".to_owned()) && chain.contains(&"Service shop/cart".to_owned()),
        "{chain:?}"
    );
    assert_eq!(finding.severity, Severity::Critical);
    assert!(report.not_looked_at.iter().any(|gap| gap.what.contains("ConfigMap")), "{:?}", report.not_looked_at);
}

#[test]
fn what_was_not_collected_is_never_said_to_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let mut alone = pod("cart-1", "cart", false);
    alone["spec"]["containers"][0]["envFrom"] =
        json!([{"configMapRef": {"name": "nowhere"}}, {"secretRef": {"name": "nowhere"}}]);
    alone["spec"]["serviceAccountName"] = json!("nowhere");
    write(folder.path(), "pod.json", &alone.to_string());
    let report = report_in(folder.path());
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!(report.verdict, Verdict::Healthy);
}

#[test]
fn broken_files_are_named_and_the_rest_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "a/good.yaml", &format!("---\n{}\n---\nkind: [\n", pod("cart-1", "cart", true)));
    write(at, "a/helm.yaml", "kind: {{ .Values.kind }}\n");
    write(at, "a/half.json", "{\"kind\": \"Pod\", ");
    write(at, "a/values.yaml", "replicas: 3\n");
    write(at, "a/binary.yaml", "\u{0}\u{1}\u{2}");
    write(at, "notes.md", "# notes");
    write(at, ".git/config.json", "{");
    fs::write(at.join("a/latin.yaml"), b"kind: Pod\nmetadata: {name: \xff\xfe}\n").unwrap();
    std::os::unix::fs::symlink("/etc", at.join("etc")).unwrap();
    let report = report_in(at);
    assert!(report.findings.iter().any(|finding| finding.rule == "crash-loop"));
    let gaps: Vec<&str> = report.not_looked_at.iter().map(|gap| gap.what.as_str()).collect();
    for want in ["a/good.yaml", "a/helm.yaml", "a/half.json", "a/binary.yaml", "etc"] {
        assert!(gaps.contains(&want), "{want} not in {gaps:?}");
    }
    assert!(!gaps.iter().any(|gap| gap.contains(".git")), "{gaps:?}");
}

#[test]
fn packed_files_are_unpacked_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let pack = |name: &str, bytes: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(bytes).unwrap();
        fs::write(folder.path().join(name), packer.finish().unwrap()).unwrap();
    };
    pack("pods.json.gz", list("Pod", "v1", vec![pod("cart-1", "cart", true)]).as_bytes());
    pack("bomb.yaml.gz", &vec![b' '; 3_000_000]);
    fs::write(folder.path().join("not.yaml.gz"), "plain").unwrap();
    let limits = Limits { file_bytes_max: 1_000_000, ..Limits::default() };
    let collection = load::folder(folder.path(), &limits).unwrap();
    let report = analyze(&collection.index(None), &Options::default());
    assert_eq!(report.objects, 1);
    let reason = |what: &str| report.not_looked_at.iter().find(|gap| gap.what == what).map(|gap| gap.reason.clone());
    assert!(reason("bomb.yaml.gz").unwrap().contains("larger"), "{:?}", report.not_looked_at);
    assert!(reason("not.yaml.gz").unwrap().contains("unpacked"));
}

#[test]
fn bounds_are_kept_and_said() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..20 {
        write(folder.path(), &format!("p{number:02}.json"), &pod(&format!("cart-{number}"), "cart", false).to_string());
    }
    write(folder.path(), "d/d/d/d/p.json", &pod("deep", "cart", false).to_string());
    let report = |limits: Limits| {
        let collection = load::folder(folder.path(), &limits).unwrap();
        analyze(&collection.index(None), &Options::default())
    };
    let full = |report: &opsward_analyzers::Report, word: &str| {
        report.not_looked_at.iter().any(|gap| gap.reason.contains(word))
    };
    let few = report(Limits { files_max: 10, ..Limits::default() });
    assert!(few.objects <= 10 && full(&few, "more than 10 files"), "{:?}", few.not_looked_at);
    let objects = report(Limits { objects_max: 5, ..Limits::default() });
    assert!(objects.objects <= 5 && full(&objects, "more than 5 objects"));
    let bytes = report(Limits { total_bytes_max: 2_000, ..Limits::default() });
    assert!(bytes.objects < 20 && full(&bytes, "altogether"), "{:?}", bytes.not_looked_at);
    let flat = report(Limits { depth_max: 2, ..Limits::default() });
    assert!(flat.objects == 20 && full(&flat, "deep"));
}

#[test]
fn nothing_there_is_an_error_and_nothing_in_there_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(load::folder(&folder.path().join("no"), &Limits::default()), Err(LoadError::Missing(_))));
    let report = report_in(folder.path());
    assert_eq!((report.verdict, report.objects), (Verdict::Unknown, 0));
    write(folder.path(), "c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\n");
    assert_eq!(report_in(folder.path()).verdict, Verdict::Unknown);
}

#[test]
fn one_namespace_can_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = pod("other", "x", true);
    other["metadata"]["namespace"] = json!("elsewhere");
    write(folder.path(), "p.json", &format!("{}{}", pod("cart-1", "cart", true), other));
    let collection = load::folder(folder.path(), &Limits::default()).unwrap();
    let report = analyze(&collection.index(Some("elsewhere")), &Options::default());
    let objects: Vec<String> = report.findings.iter().map(|finding| finding.object.to_string()).collect();
    assert_eq!(objects, ["Pod elsewhere/other"]);
}

/// Every field of every object may hold anything at all.
#[test]
fn any_shape_is_survived() {
    let world = include_str!("../faults/config-key.yaml").to_owned() + include_str!("../faults/webhook-down.yaml");
    let read = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "w.yaml", text);
        let collection = load::folder(folder.path(), &Limits::default()).unwrap();
        collection.index(None)
    };
    let objects: Vec<Value> = read(&world).all().iter().map(|object| object.value.clone()).collect();
    let odd = [
        json!(null),
        json!(-1),
        json!(u64::MAX),
        json!("\u{202e}\u{0}x"),
        json!([[], {}]),
        json!({"a": null}),
        json!(1e300),
    ];
    for (number, bent) in odd.iter().enumerate() {
        let mut collection = opsward_analyzers::Collection::default();
        for (place, object) in objects.iter().enumerate() {
            let mut seed = place * 31 + number;
            let mut object = object.clone();
            for part in ["spec", "status", "metadata", "webhooks", "data"] {
                bend(&mut object[part], bent, &mut seed, 0);
            }
            collection.add(object);
        }
        let report = analyze(&collection.index(None), &Options { all: true, ..Options::default() });
        let _ = opsward_analyzers::text::render(&report);
    }
}

fn bend(value: &mut Value, with: &Value, seed: &mut usize, depth: usize) {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    if depth > 0 && (*seed >> 33).is_multiple_of(7) {
        *value = with.clone();
        return;
    }
    match value {
        Value::Object(map) => map.values_mut().for_each(|value| bend(value, with, seed, depth + 1)),
        Value::Array(list) => list.iter_mut().for_each(|value| bend(value, with, seed, depth + 1)),
        _ => {}
    }
}
