//! Acting on what other people built: each action, its undo, who else looks after the object, and who may.

use opsward_domain::fault::Code;
use opsward_domain::principal::Kind;
use opsward_domain::resource::ResourceState;
use opsward_ports::provider::Provider as _;
use opsward_ports::provider::conformance::{apply, step};
use serde_json::{Value, json};

use crate::bench::{Bench, shop};
use crate::double::Rule;

fn main_of(object: &Value) -> &Value {
    &object["spec"]["template"]["spec"]["containers"][0]
}

#[tokio::test]
async fn each_action_changes_what_it_says_and_nothing_else_and_its_undo_takes_it_back() {
    let bench = Bench::new().await;
    bench.deploy("deployments", "web", |_| {}).await;
    let before = bench.double.get("deployments", "shop", "web").unwrap();
    let cases = [
        ("set_environment", json!({"workload": "web", "set": {"LEVEL": "debug"}, "unset": ["PASSWORD"]})),
        ("set_limits", json!({"workload": "web", "limits": {"memory_bytes": 32 << 20}})),
        ("set_image", json!({"workload": "web", "image": "registry.local/web:2.0"})),
        ("scale_workload", json!({"workload": "web", "replicas": 3})),
    ];
    for (number, (kind, fields)) in cases.into_iter().enumerate() {
        let done = step(&bench.kube, &bench.cx, &shop(), bench.action(kind, fields)).await;
        let undo = done.undo.clone().unwrap();
        let outcome = apply(&bench.kube, &bench.cx, done, &format!("do-{number}")).await.unwrap();
        let after = bench.double.get("deployments", "shop", "web").unwrap();
        let status = bench.status("web").await.unwrap();
        assert!(status.settled(), "{kind}: {status:?}");
        assert_eq!(outcome.version.as_ref(), Some(&status.resource_version), "{kind}");
        assert_eq!(
            after["spec"]["template"]["spec"]["containers"][1],
            before["spec"]["template"]["spec"]["containers"][1]
        );
        let managers: Vec<&str> = crate::double::items(&after, "/metadata/managedFields")
            .iter()
            .map(|it| crate::double::text(it, "/manager"))
            .collect();
        assert!(managers.contains(&"opsward"), "{kind}: {managers:?}");
        match kind {
            "set_environment" => assert_eq!(main_of(&after)["env"], json!([{"name": "LEVEL", "value": "debug"}])),
            "set_limits" => assert_eq!(main_of(&after)["resources"]["limits"]["memory"], "32Mi"),
            "set_image" => assert_eq!((status.spec.version.as_str(), status.ready()), ("2.0", 2)),
            _ => assert_eq!(after["spec"]["replicas"], 3),
        }
        let back = step(&bench.kube, &bench.cx, &shop(), undo).await;
        apply(&bench.kube, &bench.cx, back, &format!("undo-{number}")).await.unwrap();
        let after = bench.double.get("deployments", "shop", "web").unwrap();
        assert_eq!(after["spec"], before["spec"], "{kind} was taken back");
    }
}

#[tokio::test]
async fn restart_makes_every_pod_new_for_each_kind_and_rollback_keeps_the_count() {
    let bench = Bench::new().await;
    for (kind, name) in [("deployments", "web"), ("statefulsets", "db"), ("daemonsets", "agent")] {
        bench.deploy(kind, name, |_| {}).await;
        let old = crate::double::lock(&bench.double.world.store).all("pods", "shop");
        bench.run("restart_workload", json!({"workload": name}), &format!("restart-{name}")).await.unwrap();
        let status = bench.status(name).await.unwrap();
        assert!(status.settled() && status.revision == 2, "{kind}: {status:?}");
        let uids = |pods: &[Value]| pods.iter().map(|it| it["metadata"]["uid"].clone()).collect::<Vec<_>>();
        let new = crate::double::lock(&bench.double.world.store).all("pods", "shop");
        let own = new.iter().filter(|it| it["metadata"]["labels"]["app"] == name).cloned().collect::<Vec<_>>();
        assert!(uids(&own).iter().all(|uid| !uids(&old).contains(uid)), "{kind}");
        bench
            .run("rollback_workload", json!({"workload": name, "revision": 1}), &format!("back-{name}"))
            .await
            .unwrap();
        let status = bench.status(name).await.unwrap();
        assert_eq!((status.revision, status.replicas.len(), status.settled()), (3, 2, true), "{kind}");
    }
    let fault = bench.run("scale_workload", json!({"workload": "agent", "replicas": 5}), "s").await.unwrap_err();
    assert!(fault.message.contains("DaemonSet"), "{fault}");
}

#[tokio::test]
async fn a_rehearsal_is_the_clusters_own_dry_run_and_changes_nothing() {
    let bench = Bench::new().await;
    bench.deploy("deployments", "web", |_| {}).await;
    let before = bench.double.get("deployments", "shop", "web").unwrap();
    let after =
        bench.rehearse("set_image", json!({"workload": "web", "image": "registry.local/web:2.0"})).await.unwrap();
    match after {
        ResourceState::Workload(status) => assert_eq!((status.spec.version.as_str(), status.revision), ("2.0", 2)),
        other => panic!("{other:?}"),
    }
    let now = bench.double.get("deployments", "shop", "web").unwrap();
    assert_eq!((&now["spec"], &now["metadata"]["generation"]), (&before["spec"], &before["metadata"]["generation"]));
    assert_eq!(bench.double.served("PUT", "dryRun=All").len(), 1);
    let fault = bench
        .rehearse("set_limits", json!({"workload": "web", "limits": {"memory_bytes": 64 << 20, "open_files": 4096}}))
        .await
        .unwrap_err();
    assert_eq!(fault.code, Code::InvalidInput);
    let gone = bench.rehearse("restart_workload", json!({"workload": "nobody"})).await.unwrap_err();
    assert_eq!(gone.code, Code::NotFound);
}

#[tokio::test]
async fn what_a_reconciler_keeps_is_refused_with_the_place_to_change_it() {
    let bench = Bench::new().await;
    let marks = [
        (
            "argo",
            json!({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/argo"}}),
            "Argo CD application shop",
        ),
        ("flux", json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}), "Flux Kustomization"),
        (
            "helm",
            json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {"meta.helm.sh/release-name": "r"}}),
            "Helm release r",
        ),
    ];
    for (name, mark, wanted) in marks {
        bench
            .deploy("deployments", name, |object| {
                for (key, value) in mark.as_object().unwrap() {
                    object["metadata"][key] = value.clone();
                }
            })
            .await;
        for fault in [
            bench.rehearse("scale_workload", json!({"workload": name, "replicas": 1})).await.unwrap_err(),
            bench.run("scale_workload", json!({"workload": name, "replicas": 1}), name).await.unwrap_err(),
        ] {
            assert_eq!(fault.code, Code::Denied);
            assert!(fault.message.contains(wanted) && !fault.hint.is_empty(), "{fault:?}");
        }
        assert_eq!(bench.double.get("deployments", "shop", name).unwrap()["spec"]["replicas"], 2);
        bench.run("restart_workload", json!({"workload": name}), &format!("restart-{name}")).await.unwrap();
    }
}

#[tokio::test]
async fn an_autoscaler_keeps_the_number_of_replicas() {
    let bench = Bench::new().await;
    bench.deploy("deployments", "web", |_| {}).await;
    bench.double.put("horizontalpodautoscalers", "shop", json!({ "metadata": { "name": "web" }, "spec": {
        "minReplicas": 2, "maxReplicas": 6, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } } }));
    let fault = bench.run("scale_workload", json!({"workload": "web", "replicas": 5}), "k").await.unwrap_err();
    assert!(fault.message.contains("HorizontalPodAutoscaler web") && fault.hint.contains("2 to 6"), "{fault:?}");
    bench.run("set_environment", json!({"workload": "web", "set": {"A": "b"}}), "k2").await.unwrap();
}

#[tokio::test]
async fn what_opsward_did_not_make_it_does_not_remove() {
    let bench = Bench::new().await;
    bench.deploy("deployments", "web", |_| {}).await;
    let fault = bench.run("delete_workload", json!({"workload": "web"}), "k").await.unwrap_err();
    assert!(fault.code == Code::Denied && fault.message.contains("not made by opsward"), "{fault}");
    let fault = bench.run("delete_workspace", json!({}), "k2").await.unwrap_err();
    assert_eq!(fault.code, Code::Denied);
    let paused = bench.run("scale_workload", json!({"workload": "web", "replicas": 1}), "k3").await;
    paused.unwrap();
    bench.double.edit("deployments", "shop", "web", |object| object["spec"]["paused"] = json!(true));
    let fault = bench.run("restart_workload", json!({"workload": "web"}), "k4").await.unwrap_err();
    assert!(fault.message.contains("paused"), "{fault}");
}

#[tokio::test]
async fn rights_are_the_persons_own_and_what_is_missing_is_named() {
    let bench = Bench::with(|options| options.impersonate = Some("{subject}@{tenant}".into())).await;
    let reader = [
        "deployments",
        "statefulsets",
        "daemonsets",
        "replicasets",
        "controllerrevisions",
        "pods",
        "services",
        "horizontalpodautoscalers",
    ];
    bench.double.allow("tester@acme", vec![Rule::of(&["get", "list"], &reader, "shop")]);
    bench.deploy("deployments", "web", |_| {}).await;
    let fields = json!({"workload": "web", "replicas": 1});
    let fault = bench.rehearse("scale_workload", fields.clone()).await.unwrap_err();
    assert_eq!(fault.code, Code::Denied);
    assert_eq!(fault.message, "user \"tester@acme\" may not update deployments in namespace shop");
    assert!(
        fault.hint.contains("verbs: [\"update\"]") && fault.hint.contains("Role of namespace shop"),
        "{}",
        fault.hint
    );
    assert!(bench.double.served("PUT", "deployments").is_empty(), "nobody tried");
    let fault = bench.run("scale_workload", fields.clone(), "k").await.unwrap_err();
    assert_eq!(fault.message, "user \"tester@acme\" may not update deployments in namespace shop");
    assert_eq!(bench.kube.lookup(&bench.cx, "k").await.unwrap(), None, "refused is not done");
    bench.double.allow(
        "tester@acme",
        vec![Rule::of(&["get", "list"], &reader, "shop"), Rule::of(&["update"], &["deployments"], "shop")],
    );
    bench.rehearse("scale_workload", fields.clone()).await.unwrap();
    bench.run("scale_workload", fields, "k").await.unwrap();
    assert!(bench.double.served("PUT", "deployments").iter().all(|(_, user)| user == "tester@acme"));
    // opsward's own housekeeping looks with its own account.
    let mut own = bench.cx.clone();
    own.principal.kind = Kind::System;
    bench.rehearse_as(&own, "restart_workload", json!({"workload": "web"})).await.unwrap();
    // An account that may not speak for others says so.
    bench.double.allow("system:serviceaccount:ops:opsward", vec![Rule::of(&["get"], &["pods"], "shop")]);
    let fault = bench.rehearse("restart_workload", json!({"workload": "web"})).await.unwrap_err();
    assert!(fault.code == Code::Denied && fault.detail.contains("impersonate"), "{fault:?}");
}

#[tokio::test]
async fn an_autoscaler_that_sets_another_number_meanwhile_does_not_make_a_change_fail() {
    let bench = Bench::new().await;
    bench.deploy("deployments", "web", |object| object["spec"]["replicas"] = json!(2)).await;
    let fields = json!({"workload": "web", "set": {"A": "b"}});
    let change = step(&bench.kube, &bench.cx, &shop(), bench.action("set_environment", fields)).await;
    let scaled = async {
        bench.until("web", "be written", |status| status.spec.env.contains_key("A")).await;
        bench.double.edit("deployments", "shop", "web", |object| object["spec"]["replicas"] = json!(5));
    };
    let (outcome, ()) = tokio::join!(apply(&bench.kube, &bench.cx, change, "k"), scaled);
    let status = bench.until("web", "be settled", |status| status.settled() && status.spec.replicas == 5).await;
    let outcome = outcome.unwrap();
    // Settled before or after the other's change; a version that is older is the one it was left in.
    assert!(outcome.version.is_some() && status.spec.env.contains_key("A"), "{outcome:?}");
}
