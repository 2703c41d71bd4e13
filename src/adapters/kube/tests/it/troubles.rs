//! Bad days: a cluster that fails, throttles, races, forgets to answer, or does not let one in; two opswards at
//! once; a crash at each place between the intent and the answer.

use std::sync::Arc;
use std::time::Instant;

use opsward_domain::fault::Code;
use opsward_domain::name::{Tenant, Workload};
use opsward_domain::resource::{Resource, ResourceState};
use opsward_kube::KubeProvider;
use opsward_ports::clock::SystemClock;
use opsward_ports::provider::conformance::{apply, step};
use opsward_ports::provider::{Observation, Provider as _, Query, observe_resource, observe_workloads};
use serde_json::json;

use crate::bench::{Bench, options, shop};
use crate::double::{TOKEN, Trouble, lock};

fn scale(replicas: u32) -> serde_json::Value {
    json!({"workload": "web", "replicas": replicas})
}

async fn web() -> Bench {
    let bench = Bench::new().await;
    bench.deploy("deployments", "web", |_| {}).await;
    bench
}

const BUSY: Trouble = Trouble::Status { code: 429, reason: "TooManyRequests", retry_after_s: None };
const DOWN: Trouble = Trouble::Status { code: 503, reason: "ServiceUnavailable", retry_after_s: None };

#[tokio::test]
async fn a_read_is_asked_again_within_bounds_and_then_told() {
    let bench = web().await;
    bench.double.inject("GET", "pods", 2, DOWN);
    observe_workloads(&bench.kube, &bench.cx, &shop()).await.unwrap();
    bench.double.inject("GET", "pods", 100, DOWN);
    let before = bench.double.served("GET", "/pods").len();
    let fault = observe_workloads(&bench.kube, &bench.cx, &shop()).await.unwrap_err();
    assert_eq!(
        (fault.code, fault.message.as_str()),
        (Code::Unavailable, "the cluster failed to list pods in namespace shop")
    );
    assert_eq!(bench.double.served("GET", "/pods").len() - before, 4, "asked a bounded number of times");
}

#[tokio::test]
async fn a_slow_cluster_is_late_not_waited_for() {
    let bench = Bench::with(|options| options.request_timeout_ms = 100).await;
    bench.double.inject("GET", "persistentvolumeclaims", 100, Trouble::Slow { ms: 60_000 });
    let started = Instant::now();
    let query = Query::Volumes { workspace: shop() };
    let fault = bench.kube.observe(&bench.cx, &query).await.unwrap_err();
    assert_eq!(fault.code, Code::Timeout);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_throttled_write_waits_as_long_as_it_is_told_and_happens_once() {
    let bench = web().await;
    bench.double.inject(
        "PUT",
        "deployments",
        1,
        Trouble::Status { code: 429, reason: "TooManyRequests", retry_after_s: Some(1) },
    );
    let started = Instant::now();
    bench.run("scale_workload", scale(1), "k").await.unwrap();
    assert!(started.elapsed().as_millis() >= 1_000);
    bench.double.inject("PUT", "deployments", 100, BUSY);
    let fault = bench.run("scale_workload", scale(2), "k2").await.unwrap_err();
    assert_eq!(fault.code, Code::TooMany);
    assert_eq!(bench.kube.lookup(&bench.cx, "k2").await.unwrap(), None);
}

#[tokio::test]
async fn a_write_without_an_answer_is_looked_at_and_never_done_twice() {
    let bench = web().await;
    bench.double.inject("PUT", "deployments", 1, Trouble::ReplyLost);
    let outcome = bench.run("restart_workload", json!({"workload": "web"}), "k").await.unwrap();
    assert_eq!(bench.status("web").await.unwrap().revision, 2, "one restart");
    assert_eq!(bench.kube.lookup(&bench.cx, "k").await.unwrap(), Some(outcome));
    bench.double.inject("PUT", "deployments", 1, DOWN);
    bench.run("restart_workload", json!({"workload": "web"}), "k2").await.unwrap();
    assert_eq!(bench.status("web").await.unwrap().revision, 3);
}

#[tokio::test]
async fn a_status_that_changes_is_no_conflict_and_a_wish_that_changes_is_one() {
    let bench = web().await;
    bench.double.inject("PUT", "deployments", 2, Trouble::Raced { wish: false });
    bench.run("scale_workload", scale(1), "k").await.unwrap();
    assert_eq!(bench.status("web").await.unwrap().spec.replicas, 1);
    bench.double.inject("PUT", "deployments", 1, Trouble::Raced { wish: true });
    let fault = bench.run("scale_workload", scale(2), "k2").await.unwrap_err();
    assert_eq!(fault.code, Code::Conflict);
    assert_eq!(bench.status("web").await.unwrap().spec.replicas, 1, "nothing was done over it");
    assert_eq!(bench.kube.lookup(&bench.cx, "k2").await.unwrap(), None);
}

#[tokio::test]
async fn an_expired_token_stops_everything_and_says_so() {
    let bench = web().await;
    let stale = step(&bench.kube, &bench.cx, &shop(), bench.action("scale_workload", scale(1))).await;
    lock(&bench.double.world.tokens).clear();
    let fault = apply(&bench.kube, &bench.cx, stale.clone(), "k").await.unwrap_err();
    assert_eq!(fault.message, "the cluster does not accept opsward's credentials");
    assert!(fault.hint.contains("renew") && !format!("{fault:?}").contains(TOKEN));
    lock(&bench.double.world.tokens).insert(TOKEN.into(), "system:serviceaccount:ops:opsward".into());
    apply(&bench.kube, &bench.cx, stale, "k").await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_is_away_keeps_nobody_from_starting_and_is_named() {
    let bench = web().await;
    let dir = tempfile::tempdir().unwrap();
    let nowhere = bench.double.kubeconfig(TOKEN).replace(&bench.double.address.to_string(), "127.0.0.1:1");
    let kube = KubeProvider::open(options(dir.path(), &nowhere), Arc::new(SystemClock)).await.unwrap();
    match kube.observe(&bench.cx, &Query::Workspaces).await.unwrap() {
        Observation::Workspaces(list) => assert_eq!(list.len(), 1, "whose a workspace is does not hang on the cluster"),
        other => panic!("{other:?}"),
    }
    let fault = observe_workloads(&kube, &bench.cx, &shop()).await.unwrap_err();
    assert_eq!((fault.code, fault.message.as_str()), (Code::Unavailable, "the cluster does not answer"));
    for (provider, answers) in [(&kube, false), (&bench.kube, true)] {
        match provider.observe(&bench.cx, &Query::Platform).await.unwrap() {
            Observation::Platform(facts) => {
                let server = &facts.isolation[0];
                assert_eq!((server.name.as_str(), server.holds), ("api server", answers), "{server:?}");
                assert_eq!(server.detail.contains("v1.34.0-double"), answers, "{server:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn two_opswards_with_one_key_do_one_thing_and_with_two_keys_one_wins() {
    let bench = web().await;
    let dir = tempfile::tempdir().unwrap();
    let other =
        KubeProvider::open(options(dir.path(), &bench.double.kubeconfig(TOKEN)), Arc::new(SystemClock)).await.unwrap();
    let restart =
        step(&bench.kube, &bench.cx, &shop(), bench.action("restart_workload", json!({"workload": "web"}))).await;
    let (one, two) = tokio::join!(
        apply(&bench.kube, &bench.cx, restart.clone(), "same"),
        apply(&other, &bench.cx, restart.clone(), "same"),
    );
    assert_eq!(one.unwrap().version, two.unwrap().version);
    assert_eq!(bench.status("web").await.unwrap().revision, 2, "one restart");
    let up = step(&bench.kube, &bench.cx, &shop(), bench.action("scale_workload", scale(3))).await;
    let down = step(&bench.kube, &bench.cx, &shop(), bench.action("scale_workload", scale(1))).await;
    let (one, two) = tokio::join!(apply(&bench.kube, &bench.cx, up, "a"), apply(&other, &bench.cx, down, "b"));
    let faults: Vec<_> = [one, two].into_iter().filter_map(Result::err).collect();
    assert_eq!(faults.iter().map(|it| it.code).collect::<Vec<_>>(), [Code::Conflict]);
}

#[tokio::test]
async fn a_rollout_that_fails_is_told_as_applied_and_its_reason_is_the_pods() {
    let bench = web().await;
    let fields = json!({"workload": "web", "image": "registry.local/crash:1"});
    let fault = bench.run("set_image", fields, "k").await.unwrap_err();
    assert_eq!(fault.message, "web did not become ready");
    assert!(fault.detail.contains("with code 3"), "{fault}");
    let outcome = bench.kube.lookup(&bench.cx, "k").await.unwrap().unwrap();
    assert!(outcome.summary.starts_with("done, but"), "{outcome:?}");
    let status = bench.status("web").await.unwrap();
    assert_eq!(outcome.version, Some(status.resource_version), "so that it can be taken back");
    bench.run("rollback_workload", json!({"workload": "web", "revision": 1}), "back").await.unwrap();
    assert!(bench.status("web").await.unwrap().settled());
}

/// Loses the process after the write and before the answer was written down, then starts again.
#[tokio::test]
async fn after_a_crash_the_object_itself_tells_what_was_done() {
    let bench = web().await;
    let kept = bench.dir.path().join("kube/acme.jsonl");
    let restart =
        step(&bench.kube, &bench.cx, &shop(), bench.action("restart_workload", json!({"workload": "web"}))).await;
    let done = apply(&bench.kube, &bench.cx, restart.clone(), "k").await.unwrap();
    let lines: Vec<String> = std::fs::read_to_string(&kept).unwrap().lines().map(|it| format!("{it}\n")).collect();
    assert_eq!(lines.len(), 3, "intended, written, done");
    for left in [2, 1] {
        std::fs::write(&kept, lines[..left].concat()).unwrap();
        let again =
            KubeProvider::open(options(bench.dir.path(), &bench.double.kubeconfig(TOKEN)), Arc::new(SystemClock))
                .await
                .unwrap();
        let found = again.lookup(&bench.cx, "k").await.unwrap().unwrap();
        assert_eq!(found.version, done.version);
        assert_eq!(apply(&again, &bench.cx, restart.clone(), "k").await.unwrap(), done);
        assert_eq!(bench.status("web").await.unwrap().revision, 2, "not done twice");
    }
    // An intent whose write never left: it did not happen, and can be done now.
    let lost = lines[0].replace("\"k\"", "\"never\"");
    std::fs::write(&kept, lost).unwrap();
    let again = KubeProvider::open(options(bench.dir.path(), &bench.double.kubeconfig(TOKEN)), Arc::new(SystemClock))
        .await
        .unwrap();
    assert_eq!(again.lookup(&bench.cx, "never").await.unwrap(), None);
}

/// What was removed has no mark left on it: the intent knows its identity.
#[tokio::test]
async fn after_a_crash_a_removal_is_known_by_what_is_gone() {
    let bench = Bench::new().await;
    let spec =
        json!({"version": "1", "command": ["x"], "image": "a", "replicas": 1, "limits": {"memory_bytes": 1 << 20}});
    bench.run("deploy_workload", json!({"workload": "web", "spec": spec}), "make").await.unwrap();
    bench.run("delete_workload", json!({"workload": "web"}), "k").await.unwrap();
    let kept = bench.dir.path().join("kube/acme.jsonl");
    let text = std::fs::read_to_string(&kept).unwrap();
    let intent: String =
        text.lines().filter(|it| it.contains("\"k\"") && it.contains("intended")).map(|it| format!("{it}\n")).collect();
    std::fs::write(&kept, intent).unwrap();
    let again = KubeProvider::open(options(bench.dir.path(), &bench.double.kubeconfig(TOKEN)), Arc::new(SystemClock))
        .await
        .unwrap();
    let found = again.lookup(&bench.cx, "k").await.unwrap().unwrap();
    assert_eq!(found.version, None);
    let resource = Resource::Workload(Workload::parse("web").unwrap());
    assert_eq!(observe_resource(&again, &bench.cx, &shop(), &resource).await.unwrap(), ResourceState::Absent);
}

#[tokio::test]
async fn a_list_that_became_too_old_is_begun_again() {
    let bench = Bench::with(|options| {
        options.namespaces.insert((Tenant::parse("acme").unwrap(), shop()), "shop".into());
    })
    .await;
    for number in 0..600 {
        bench.double.put(
            "events",
            "shop",
            json!({ "metadata": { "name": format!("e{number:04}") }, "type": "Normal" }),
        );
    }
    bench.double.inject("GET", "events", 1, Trouble::Status { code: 410, reason: "Expired", retry_after_s: None });
    match bench.kube.observe(&bench.cx, &Query::Events { workspace: shop(), workload: None }).await.unwrap() {
        Observation::Events(events) => assert_eq!(events.len(), 500),
        other => panic!("{other:?}"),
    }
    bench.double.inject("GET", "events", 100, Trouble::Status { code: 410, reason: "Expired", retry_after_s: None });
    let fault = bench.kube.observe(&bench.cx, &Query::Events { workspace: shop(), workload: None }).await.unwrap_err();
    assert_eq!(fault.code, Code::Conflict);
}
