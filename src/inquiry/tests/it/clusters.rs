//! Clusters as tools print them: what is broken now is the cause, what is over is told as over.

use opsward_causes::diagnosis::Verdict;

fn pods(list: &str) -> String {
    format!("{{\"pods\":[{list}]}}")
}

fn pod(name: &str, ready: bool, restarts: u32, state: &str, more: &str) -> String {
    format!(
        r#"{{"name":"{name}","namespace":"a","phase":"Running","node_name":"n1","start_time":"2026-06-18T14:00:00Z",{more}"containers":[{{"name":"web","ready":{ready},"restart_count":{restarts},"state":{state}}}],"conditions":[{{"type":"Ready","status":"{}"}}]}}"#,
        if ready { "True" } else { "False" }
    )
}

fn event(kind: &str, name: &str, reason: &str, message: &str) -> String {
    format!(
        r#"{{"warning_events":[{{"namespace":"a","reason":"{reason}","message":"{message}","type":"Warning","count":6,"involved_object":"{kind}/{name}","first_time":"2026-06-18T14:30:00Z","last_time":"2026-06-18T14:40:00Z"}}]}}"#
    )
}

const RUNNING: &str = r#"{"running":true,"started_at":"2026-06-18T14:01:00Z"}"#;
const ALERT: &str = r#"{"title":"web","state":"alerting","commonLabels":{"alertname":"PodRestarting","severity":"critical","service":"web","namespace":"a"}}"#;

#[test]
fn a_container_that_runs_out_of_memory() {
    let state =
        r#"{"waiting":true,"reason":"CrashLoopBackOff","exit_code":137,"message":"last terminated: reason=OOMKilled"}"#;
    let list =
        [pod("web-7f9dd8b6c4-x7gr9", false, 8, state, ""), pod("web-7f9dd8b6c4-k2m4p", true, 0, RUNNING, "")].join(",");
    let events = event("Pod", "web-7f9dd8b6c4-x7gr9", "BackOff", "Back-off restarting failed container");
    let report = crate::ask_text(&[("alert.json", ALERT), ("p.json", &pods(&list)), ("e.json", &events)]).report;
    assert_eq!((report.verdict, report.category), (Verdict::Incident, "resource_exhaustion"));
    assert_eq!(report.causes[0].component, "web");
    assert_eq!(report.first_failing_component.as_deref(), Some("web-7f9dd8b6c4-x7gr9"));
    assert!(report.ruled_out.iter().any(|one| one.why.contains("web-7f9dd8b6c4-k2m4p")), "{:?}", report.ruled_out);
}

#[test]
fn a_probe_that_kills() {
    let state = r#"{"running":true,"started_at":"2026-06-18T14:39:30Z","exit_code":0}"#;
    let events = event(
        "Pod",
        "web-7f9dd8b6c4-x7gr9",
        "Unhealthy",
        "Liveness probe failed: HTTP probe failed with statuscode: 500",
    );
    let report = crate::ask_text(&[
        ("alert.json", ALERT),
        ("p.json", &pods(&pod("web-7f9dd8b6c4-x7gr9", false, 6, state, ""))),
        ("e.json", &events),
    ])
    .report;
    assert_eq!(report.category, "configuration_error", "{report:?}");
    assert!(matches!(report.verdict, Verdict::Degraded | Verdict::Incident));
}

#[test]
fn a_quota_that_is_used_up() {
    let events = event(
        "ReplicaSet",
        "web-7f9dd8b6c4",
        "FailedCreate",
        "Error creating: pods is forbidden: exceeded quota: team, requested: limits.cpu=2, used: limits.cpu=8, limited: limits.cpu=8",
    );
    let report = crate::ask_text(&[
        ("alert.json", ALERT),
        (
            "d.json",
            r#"{"deployments":[{"name":"web","namespace":"a","desired":5,"ready":3,"available":3,"unavailable":2}]}"#,
        ),
        ("e.json", &events),
    ])
    .report;
    assert_eq!((report.verdict, report.category), (Verdict::Incident, "resource_exhaustion"), "{report:?}");
    assert!(report.causes[0].claim.contains("team"));
}

#[test]
fn what_is_over_is_no_incident() {
    let recovered = pods(&pod("web-7f9dd8b6c4-x7gr9", true, 1, RUNNING, ""));
    let back_off = event("Pod", "web-7f9dd8b6c4-x7gr9", "BackOff", "Back-off restarting failed container");
    let waiting = r#"{"waiting":true,"reason":"CrashLoopBackOff"}"#;
    let leaving = pods(
        &[
            pod("web-6c4ab5d9c4-x7gr9", false, 2, waiting, r#""deletion_timestamp":"2026-06-18T14:40:00Z","#),
            pod("web-7f9dd8b6c4-k2m4p", true, 0, RUNNING, ""),
        ]
        .join(","),
    );
    let removed = event("Pod", "web-6c4ab5d9c4-x7gr9", "BackOff", "Back-off restarting failed container");
    let nodes = r#"{"nodes":[{"name":"n1","ready":"True","memory_pressure":"False"}]}"#;
    let flap = event("Node", "n1", "NodeNotReady", "Node n1 status is now: NodeNotReady");
    for (files, word) in [
        (vec![("alert.json", ALERT), ("p.json", recovered.as_str()), ("e.json", back_off.as_str())], "recovered"),
        (vec![("alert.json", ALERT), ("p.json", leaving.as_str()), ("e.json", removed.as_str())], "terminating"),
        (vec![("alert.json", ALERT), ("n.json", nodes), ("e.json", flap.as_str())], "flap"),
    ] {
        let report = crate::ask_text(&files).report;
        assert_eq!((report.verdict, report.category), (Verdict::Healthy, "healthy"), "{report:?}");
        assert!(report.causes.is_empty());
        assert!(report.ruled_out.iter().any(|one| one.why.contains(word)), "{word}: {:?}", report.ruled_out);
    }
}

#[test]
fn each_class_of_fault_has_its_word() {
    let waiting =
        |reason: &str, message: &str| format!(r#"{{"waiting":true,"reason":"{reason}","message":"{message}"}}"#);
    let crashed = r#"{"waiting":true,"reason":"CrashLoopBackOff","exit_code":1,"message":"back-off"}"#;
    let log = |text: &str| {
        format!(
            r#"{{"pod_name":"web-7f9dd8b6c4-x7gr9","namespace":"a","logs":"2026-06-18T14:39:00Z INFO start\n2026-06-18T14:39:01Z ERROR {text}\n"}}"#
        )
    };
    let broken = |state: &str| pods(&pod("web-7f9dd8b6c4-x7gr9", false, 9, state, ""));
    let pending = r#"{"pods":[{"name":"web-7f9dd8b6c4-x7gr9","namespace":"a","phase":"Pending","start_time":"2026-06-18T14:00:00Z","containers":[],"conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"0/3 nodes are available: 3 Insufficient cpu."}]}]}"#;
    for (name, files, class) in [
        ("image", vec![broken(&waiting("ImagePullBackOff", "Back-off pulling image web:nope: manifest unknown"))], "configuration_error"),
        ("config", vec![broken(&waiting("CreateContainerConfigError", "configmap \\\"web-config\\\" not found"))], "configuration_error"),
        (
            "pending",
            vec![
                pending.to_owned(),
                event("Pod", "web-7f9dd8b6c4-x7gr9", "FailedScheduling", "0/3 nodes are available: 3 Insufficient cpu."),
            ],
            "resource_exhaustion",
        ),
        ("dependency", vec![broken(crashed), log("dial tcp db:5432: connect: connection refused")], "dependency_failure"),
        ("panic", vec![broken(crashed), log("panic: index out of range")], "code_defect"),
        ("variable", vec![broken(crashed), log("missing required environment variable DB_URL")], "configuration_error"),
        (
            "node",
            vec![r#"{"nodes":[{"name":"n1","ready":"False","memory_pressure":"False","start_time":"2026-06-01T00:00:00Z"}]}"#.to_owned()],
            "infrastructure",
        ),
        (
            "pressure",
            vec![r#"{"nodes":[{"name":"n1","ready":"True","disk_pressure":"True","start_time":"2026-06-01T00:00:00Z"}]}"#.to_owned()],
            "resource_exhaustion",
        ),
    ] {
        let named: Vec<(String, String)> = files.into_iter().enumerate().map(|(number, text)| (format!("{number}.json"), text)).collect();
        let mut all: Vec<(&str, &str)> = named.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        all.push(("alert.json", ALERT));
        let report = crate::ask_text(&all).report;
        assert_eq!(report.category, class, "{name}: {:?} {:?}", report.causes, report.findings);
        assert!(matches!(report.verdict, Verdict::Incident | Verdict::Degraded), "{name}");
    }
}

#[test]
fn a_healthy_cluster_with_programs_that_complain_is_healthy() {
    let log = "2026-06-18T14:10:00Z ERROR one request failed\n2026-06-18T14:20:00Z INFO fine\n".repeat(3);
    let report = crate::ask_text(&[
        ("p.json", &pods(&pod("web-7f9dd8b6c4-x7gr9", true, 0, RUNNING, ""))),
        ("logs/a/web-7f9dd8b6c4-x7gr9/web.log", &log),
    ])
    .report;
    assert_eq!(report.verdict, Verdict::Healthy, "{report:?}");
}

#[test]
fn metrics_alone_that_do_nothing_are_healthy_or_unknown() {
    let mut rows = String::from("timestamp,service,metric,value\n");
    for minute in 0..60 {
        rows.push_str(&format!("{},web,cpu_usage,0.4{}\n", 1_781_791_200 + minute * 60, minute % 3));
        rows.push_str(&format!("{},web,requests_total,{}\n", 1_781_791_200 + minute * 60, 100));
    }
    let report = crate::ask_text(&[("m.csv", &rows)]).report;
    assert_eq!((report.verdict, report.causes.len()), (Verdict::Healthy, 0), "{report:?}");
    let one = crate::ask_text(&[("m.csv", "timestamp,service,metric,value\n1781791200,web,cpu_usage,99\n")]).report;
    assert!(one.causes.is_empty() && one.verdict != Verdict::Incident, "{one:?}");
}
