//! One test a shape: what stands in the file is in the case.

use opsward_causes::case::{ChangeKind, Level};

use super::{bundle, name, names};

/// 2026-06-18T15:06:00Z.
const AT: i64 = 1_781_795_160_000;

#[test]
fn alerts_of_several_monitors() {
    for (text, component, metric) in [
        (
            r#"{"service":"shop","metric":"p99","threshold":800,"observed":4120,"fired_at":"2026-06-18T15:06:00Z","severity":"critical","summary":"slow"}"#,
            "shop",
            "p99",
        ),
        (
            r#"{"version":"4","receiver":"x","status":"firing","commonLabels":{"alertname":"Slow","service":"shop"},"commonAnnotations":{"summary":"slow"},"alerts":[{"status":"resolved","labels":{"alertname":"Other","service":"db"},"startsAt":"2026-06-18T14:00:00Z"},{"status":"firing","labels":{"pod":"shop-1"},"startsAt":"2026-06-18T15:06:00Z"}]}"#,
            "shop",
            "Slow",
        ),
        (
            r#"{"title":"slow","state":"alerting","commonLabels":{"alertname":"Slow","workload_name":"shop","severity":"page"},"startsAt":"2026-06-18T15:06:00Z"}"#,
            "shop",
            "Slow",
        ),
        (
            r#"{"AlarmName":"Slow","NewStateValue":"ALARM","NewStateReason":"slow","StateChangeTime":"2026-06-18T15:06:00.000+0000","service":"shop"}"#,
            "shop",
            "Slow",
        ),
    ] {
        let bundle = bundle(&[("alert.json", text)]);
        let alert = bundle.case.alert.as_ref().unwrap_or_else(|| panic!("{text}: {:?}", bundle.not_looked_at));
        assert_eq!(alert.fired_ms, Some(AT), "{text}");
        assert_eq!(name(&bundle.case, alert.component.unwrap()), component, "{text}");
        assert_eq!(alert.metric, metric, "{text}");
        assert!(alert.summary.contains("slow"), "{text}: {}", alert.summary);
    }
}

#[test]
fn an_alert_that_is_over_does_not_fire() {
    let bundle = bundle(&[(
        "alert.json",
        r#"{"title":"check","state":"normal","commonLabels":{"alertname":"A","severity":"info","service":"shop"}}"#,
    )]);
    assert!(bundle.case.alert.is_none());
    assert_eq!(bundle.quiet_alerts.len(), 1);
}

#[test]
fn logs_in_every_file() {
    let bundle = bundle(&[
        (
            "a.ndjson",
            "{\"timestamp\":\"2026-06-18T15:06:00Z\",\"service\":\"shop\",\"severity_text\":\"ERROR\",\"msg\":\"charge failed\",\"trace_id\":\"t1\"}\n",
        ),
        (
            "logs/prod/cart-7f9dd8b6c4-x7gr9/app.log",
            "2026-06-18T15:06:01.5Z stderr F E broken\n2026-06-18T15:06:02.5Z stdout F fine\n",
        ),
        ("db.log", "2026-06-18 15:06:03,123 [main] WARN  c.a.Pool - exhausted\n    at c.a.Pool.get\nCaused by: x\n"),
        (
            "l.csv",
            "Timestamp,PodName,TraceID,SpanID,Log\n2026-06-18T15:06:04Z,web-0,t2,s,\"{\"\"log\"\":\"\"15:06:04 ERROR no, not, this\\n\"\"}\"\n",
        ),
        (
            "d.json",
            "{\"logs\":[{\"timestamp\":\"2026-06-18T15:06:05Z\",\"message\":\"m\",\"status\":\"error\",\"service\":\"api\",\"tags\":[\"pod_name:api-7f9dd8b6c4-k2m4p\"]}]}",
        ),
        (
            "k.json",
            "{\"pod_name\":\"job-1\",\"namespace\":\"n\",\"logs\":\"2026-06-18T15:06:06Z INFO one\\n2026-06-18T15:06:07Z INFO two\\n\"}",
        ),
    ]);
    let case = &bundle.case;
    let lines: Vec<(&str, Level, &str)> =
        case.logs.iter().map(|line| (name(case, line.component), line.level, line.message.as_str())).collect();
    assert_eq!(lines.len(), 8, "{lines:?}\n{:?}", bundle.problems);
    assert_eq!(lines[0], ("shop", Level::Error, "charge failed"));
    assert_eq!(case.logs[0].trace.as_deref(), Some("t1"));
    assert_eq!(lines[1].0, "cart-7f9dd8b6c4-x7gr9");
    assert_eq!(lines[3].0, "db");
    assert_eq!((lines[3].1, lines[3].2), (Level::Warning, "exhausted\n    at c.a.Pool.get\nCaused by: x"));
    assert_eq!(case.logs[3].at_ms, AT + 3123);
    assert!(lines[4].2.ends_with("no, not, this"), "{:?}", lines[4]);
    assert_eq!((lines[4].0, lines[5].0, lines[5].1), ("web-0", "api-7f9dd8b6c4-k2m4p", Level::Error));
    let cart = case.components.iter().find(|component| component.name.starts_with("cart-")).unwrap();
    assert_eq!(name(case, cart.service.unwrap()), "cart");
    assert_eq!(bundle.files[case.logs[3].source.0 as usize], "db.log");
    assert!(bundle.not_looked_at.is_empty(), "{:?}", bundle.not_looked_at);
}

#[test]
fn metrics_in_every_shape() {
    let long = "timestamp,service,metric,value\n2026-06-18T15:06:00Z,shop,cpu,1.5\n2026-06-18T15:07:00Z,shop,cpu,NaN\n2026-06-18T15:08:00Z,shop,cpu,3\n";
    let wide = "time,shop_cpu,shop_mem,cart_service_cpu,cart_service_mem,cart_service_latency-50\n1781795160,1,2,3,4,5\n1781795220,1,,3,4,5\n";
    let stacked = "microservice,shop,cart,shop\nmetric,latency,latency,latency\nstatistic,Average,Average,p90\nunix_timestamp,,,\n1781795160.0,0.1,,0.3\n1781795220.0,0.1,0.2,0.3\n";
    let pod = "Time,TimeStamp,PodName,CpuUsage(m),Success(%)\n2026-06-18 15:06:00.1 +0000 UTC m=+1.4,1781795160,shop-7f9dd8b6c4-x7gr9,16.4,100\n";
    let range = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","pod":"shop-0","quantile":"0.9"},"values":[[1781795160,"1"],[1781795220,"0"]]}]}}"#;
    let otlp = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeMetrics":[{"metrics":[{"name":"m","unit":"By","gauge":{"dataPoints":[{"timeUnixNano":"1781795160000000000","asInt":"7"}]}}]}]}]}"#;
    for (file, text, wanted) in [
        ("long.csv", long, vec![("shop", "cpu", "", 2)]),
        (
            "wide.csv",
            wide,
            vec![
                ("cart_service", "cpu", "", 2),
                ("cart_service", "latency-50", "", 2),
                ("cart_service", "mem", "", 2),
                ("shop", "cpu", "", 2),
                ("shop", "mem", "", 1),
            ],
        ),
        (
            "stacked.csv",
            stacked,
            vec![("cart", "latency", "Average", 1), ("shop", "latency", "Average", 2), ("shop", "latency", "p90", 2)],
        ),
        (
            "pod.csv",
            pod,
            vec![("shop-7f9dd8b6c4-x7gr9", "CpuUsage", "m", 1), ("shop-7f9dd8b6c4-x7gr9", "Success", "%", 1)],
        ),
        ("range.json", range, vec![("shop-0", "up", "quantile=0.9", 2)]),
        ("otlp.json", otlp, vec![("shop", "m", "By", 1)]),
    ] {
        let bundle = bundle(&[(file, text)]);
        let case = &bundle.case;
        let mut found: Vec<(&str, &str, &str, usize)> = case
            .metrics
            .iter()
            .map(|series| {
                (name(case, series.component), series.name.as_str(), series.unit.as_str(), series.points.len())
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, wanted, "{file}: {:?} {:?}", bundle.problems, bundle.not_looked_at);
        assert_eq!(case.metrics[0].points[0].0 / 1000 * 1000, AT, "{file}");
        assert!(bundle.problems.is_empty(), "{file}: {:?}", bundle.problems);
    }
}

#[test]
fn traces_in_every_shape() {
    let flat = r#"[{"trace_id":"t","span_id":"a","parent_id":null,"service":"web","name":"GET /","start":"2026-06-18T15:06:00Z","duration_ms":12.5,"status":"OK"},
        {"trace_id":"t","span_id":"b","parent_id":"a","service":"db","name":"q","start":"2026-06-18T15:06:00Z","duration_ms":10,"status":"ERROR","error":"no connection"}]"#;
    let csv = "TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration\nt,a,root,web-0,GET,1781795160000000000,1781795160012500000,12500\nt,b,a,db-0,q,1781795160000000000,1781795160010000000,10000\n";
    let otlp = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},"scopeSpans":[{"spans":[{"traceId":"t","spanId":"a","name":"GET","startTimeUnixNano":"1781795160000000000","endTimeUnixNano":"1781795160012500000","status":{}}]}]},
        {"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"db"}}]},"scopeSpans":[{"spans":[{"traceId":"t","spanId":"b","parentSpanId":"a","name":"q","startTimeUnixNano":"1781795160000000000","endTimeUnixNano":"1781795160010000000","status":{"code":2,"message":"no connection"}}]}]}]}"#;
    let jaeger = r#"{"data":[{"traceID":"t","spans":[{"traceID":"t","spanID":"a","operationName":"GET","references":[],"startTime":1781795160000000,"duration":12500,"processID":"p1","tags":[]},
        {"traceID":"t","spanID":"b","operationName":"q","references":[{"refType":"CHILD_OF","traceID":"t","spanID":"a"}],"startTime":1781795160000000,"duration":10000,"processID":"p2","tags":[{"key":"error","value":true}]}],"processes":{"p1":{"serviceName":"web"},"p2":{"serviceName":"db"}}}]}"#;
    let zipkin = r#"[{"traceId":"t","id":"a","name":"get","timestamp":1781795160000000,"duration":12500,"localEndpoint":{"serviceName":"web"}},{"traceId":"t","id":"b","parentId":"a","name":"q","timestamp":1781795160000000,"duration":10000,"localEndpoint":{"serviceName":"db"},"tags":{"error":"no connection"}}]"#;
    for (file, text) in [("a.json", flat), ("b.csv", csv), ("c.json", otlp), ("d.json", jaeger), ("e.json", zipkin)] {
        let bundle = bundle(&[(file, text)]);
        let case = &bundle.case;
        let [first, second] = case.spans.as_slice() else { panic!("{file}: {:?} {:?}", case.spans, bundle.problems) };
        assert_eq!(
            (first.start_ms, first.duration_us, first.parent.as_deref(), first.failed),
            (AT, 12_500, None, false),
            "{file}"
        );
        assert_eq!((second.duration_us, second.parent.as_deref()), (10_000, Some("a")), "{file}");
        assert_eq!(second.failed, file != "b.csv", "{file}");
        assert!(
            name(case, first.component).starts_with("web") && name(case, second.component).starts_with("db"),
            "{file}"
        );
    }
    let errors = bundle(&[("a.json", flat)]);
    assert_eq!(errors.case.logs[0].message, "no connection");
}

#[test]
fn what_people_did() {
    let bundle = bundle(&[
        (
            "context/commits.json",
            r#"[{"sha":"c1","author":"a","timestamp":"2026-06-18T15:00:00Z","message":"fix: x","files_changed":["a.go"],"diff":"@@\n+x"}]"#,
        ),
        (
            "context/deploys.json",
            r#"[{"timestamp":"2026-06-18T15:01:00Z","service":"shop","commit_sha":"c1","version":"v2"}]"#,
        ),
        (
            "context/flags.json",
            r#"{"flags":[{"timestamp":"2026-06-18T15:02:00Z","flag":"f","service":"shop","change":"off->on","actor":"b"}]}"#,
        ),
        ("config.json", r#"[{"time":"2026-06-18T15:03:00Z","service":"shop","key":"pool.size","old":50,"new":5}]"#),
        ("scaling.csv", "time,service,from,to\n2026-06-18T15:04:00Z,shop,5,1\n"),
    ]);
    let case = &bundle.case;
    let kinds: Vec<(ChangeKind, &str, &str)> =
        case.changes.iter().map(|change| (change.kind, change.id.as_str(), change.summary.as_str())).collect();
    assert_eq!(
        kinds,
        [
            (ChangeKind::Commit, "c1", "fix: x"),
            (ChangeKind::Deploy, "v2", "v2"),
            (ChangeKind::Flag, "f", "off->on"),
            (ChangeKind::Config, "pool.size", "50 -> 5"),
            (ChangeKind::Scaling, "shop", "5 -> 1"),
        ],
        "{:?}",
        bundle.problems
    );
    assert_eq!(case.changes[0].files, ["a.go"]);
    assert_eq!(case.changes[1].commit.as_deref(), Some("c1"));
    assert_eq!(case.changes[1].source, "context/deploys.json[0]");
}

#[test]
fn who_calls_whom() {
    for (file, text) in [
        ("topology.csv", "caller,callee\nweb,cart\ncart,db\n"),
        ("edges.csv", "source,target\nweb,cart\ncart,db\n"),
        ("graph.csv", ",web,cart,db\nweb,0,1,0\ncart,0,0,1.0\ndb,0,0,0\n"),
        ("topology.json", r#"{"web":["cart"],"cart":["db"],"db":[]}"#),
        ("calls.json", r#"{"edges":[{"from":"web","to":"cart"},{"from":"cart","to":"db"}]}"#),
    ] {
        let bundle = bundle(&[(file, text)]);
        let case = &bundle.case;
        let mut calls: Vec<(&str, &str)> =
            case.calls.iter().map(|call| (name(case, call.caller), name(case, call.callee))).collect();
        calls.sort_unstable();
        assert_eq!(calls, [("cart", "db"), ("web", "cart")], "{file}: {:?}", bundle.not_looked_at);
    }
}

#[test]
fn clusters_as_objects_and_as_summaries() {
    let objects = "apiVersion: v1\nkind: Pod\nmetadata: {name: web-7f9dd8b6c4-x7gr9, namespace: a, labels: {app: web}}\nspec: {nodeName: n1}\n---\napiVersion: v1\nkind: Event\nmetadata: {name: e, namespace: a}\ninvolvedObject: {kind: Pod, name: web-7f9dd8b6c4-x7gr9, namespace: a}\nreason: BackOff\nmessage: again\ntype: Warning\ncount: 3\nfirstTimestamp: 2026-06-18T15:00:00Z\nlastTimestamp: 2026-06-18T15:06:00Z\n";
    let read = bundle(&[("all.yaml", objects)]);
    assert_eq!(read.objects.len(), 2);
    let event = &read.case.events[0];
    assert_eq!((event.at_ms, event.count, event.warning, event.reason.as_str()), (AT, 3, true, "BackOff"));
    assert_eq!(name(&read.case, event.component.unwrap()), "web-7f9dd8b6c4-x7gr9");
    let printed = bundle(&[
        (
            "pods.json",
            r#"{"pods":[{"name":"web-7f9dd8b6c4-x7gr9","namespace":"a","phase":"Running","node_name":"n1","containers":[{"name":"web","ready":false,"restart_count":8,"state":{"waiting":true,"reason":"CrashLoopBackOff","exit_code":137,"message":"reason=OOMKilled"}}],"conditions":[{"type":"Ready","status":"False"}]}]}"#,
        ),
        (
            "deployments.json",
            r#"{"deployments":[{"name":"web","namespace":"a","desired":3,"ready":2,"available":2,"unavailable":1}]}"#,
        ),
        (
            "events.json",
            r#"{"warning_events":[{"namespace":"a","reason":"BackOff","message":"again","type":"Warning","count":3,"involved_object":"Pod/web-7f9dd8b6c4-x7gr9","first_time":"2026-06-18T15:00:00Z","last_time":"2026-06-18T15:06:00Z"}]}"#,
        ),
        ("nodes.json", r#"{"nodes":[{"name":"n1","ready":"True","memory_pressure":"False"}]}"#),
        ("monitors.json", r#"{"monitors":[{"name":"m","query":"avg(x) > 1","overall_state":"OK","message":"m"}]}"#),
    ]);
    // Pod, deployment, the replica set between them, event, node.
    assert_eq!(printed.objects.len(), 5, "{:?}", printed.not_looked_at);
    assert_eq!(printed.case.events[0].at_ms, AT);
    assert!(!printed.monitors[0].alarms);
    assert_eq!(names(&printed.case), ["web", "web-7f9dd8b6c4-x7gr9"]);
}

#[test]
fn patterns_and_a_map_of_names() {
    let bundle = bundle(&[
        (
            "bundle.toml",
            "[rename]\n\"shop-prod\" = \"shop\"\n[[file]]\npath = \"*.dat\"\nkind = \"metrics\"\nservice = \"shop\"\n[file.columns]\ntime = \"Zeit\"\nmetric = \"Was\"\nvalue = \"Wert\"\n[[file]]\npath = \"secret*\"\nkind = \"skip\"\n",
        ),
        (
            "patterns.json",
            r#"[{"signature":"slow <N>","service":"shop-prod","count":4,"delta_vs_baseline":"-3","sentiment":"negative"}]"#,
        ),
        ("x.dat", "Zeit;Was;Wert\n2026-06-18T15:06:00Z;cpu;4\n"),
        ("secret.json", "[]"),
    ]);
    let case = &bundle.case;
    assert_eq!(names(case), ["shop"]);
    assert_eq!((case.patterns[0].more, case.patterns[0].negative), (Some(-3), true));
    assert_eq!(case.metrics[0].name, "cpu");
    assert_eq!(bundle.not_looked_at.len(), 1);
}

#[test]
fn a_dump_of_a_cluster_with_its_logs() {
    let list = r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[{"metadata":{"name":"cart-0","namespace":"shop"},"spec":{"nodeName":"n"},"status":{}}]}"#;
    let log = "==== START logs for container app of pod shop/cart-0 ====\n2026-06-18T15:06:00Z ERROR refused\n==== END logs for container app of pod shop/cart-0 ====\n";
    let whole = format!("{list}\n{log}");
    for files in [vec![("shop/pods.json", list), ("shop/cart-0/logs.txt", log)], vec![("dump.json", whole.as_str())]] {
        let read = bundle(&files);
        assert_eq!((read.objects.len(), read.case.logs.len()), (1, 1), "{files:?} {:?}", read.not_looked_at);
        assert_eq!(name(&read.case, read.case.logs[0].component), "cart-0");
        assert!(
            read.not_looked_at.is_empty() && read.problems.is_empty(),
            "{:?} {:?}",
            read.not_looked_at,
            read.problems
        );
    }
}

#[test]
fn whose_a_log_is_by_its_place() {
    for (file, owner) in [
        ("checkout.log", "checkout"),
        ("logs/checkout.log", "checkout"),
        ("logs/checkout/app.log", "checkout"),
        ("shop/cart-0/app.log", "cart-0"),
        ("logs/shop/cart-0/app.log", "cart-0"),
        ("pods/shop_cart-0_1234/app/0.log", "cart-0"),
    ] {
        let read = bundle(&[(file, "2026-06-18T15:06:00Z ERROR x\n")]);
        assert_eq!(name(&read.case, read.case.logs[0].component), owner, "{file}");
    }
}
