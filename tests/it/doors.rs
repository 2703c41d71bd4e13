//! "The same provider layer" means: through every door the same action gives the same decision, the same
//! plan digest and the same audit record. And what the gate never lets through.

use opsward_domain::action::ActionKind;
use opsward_domain::context::Origin;
use opsward_domain::decision::Verdict;
use opsward_domain::label::{Integrity, Label, Source};
use opsward_domain::name::{Id, Workload};
use opsward_engine::planner::Planner;
use serde_json::{Value, json};

use crate::world::{World, action, cx, done, every_action, furnish, must, shop, system};

const DOORS: [Origin; 5] = [Origin::Api, Origin::Cli, Origin::Schedule, Origin::Alert, Origin::Agent];

#[tokio::test(flavor = "multi_thread")]
async fn every_door_gives_the_same_decision_digest_and_record() {
    let world = World::new();
    let engine = world.peopled().await;
    furnish(&engine).await;
    assert_eq!(every_action().len(), ActionKind::ALL.len(), "an action has no example");
    for value in every_action() {
        let kind = value["kind"].as_str().unwrap();
        let mut seen: Vec<(String, Vec<String>, Value)> = Vec::new();
        for door in DOORS {
            let cx = cx(&engine, "owner", door);
            let creating = kind == "create_workspace";
            let planner = Planner::new(world.provider.clone());
            let id = Id::parse("p1").unwrap();
            let plan = planner.plan(&cx, id, &shop(), vec![action(value.clone())], "same".into(), None).await;
            let Ok(plan) = plan else {
                // A workspace that exists cannot be made again, whichever the door.
                assert!(creating, "{kind}");
                continue;
            };
            let setting = engine.setup.setting(&cx, Some(&shop()), creating).await.unwrap();
            let label = Label::of(Integrity::Operator);
            let decided = engine.setup.gate.decide(&cx, &setting, &plan, &label, &[]).await;
            seen.push((plan.digest(), decided.overall.policies.clone(), json!(decided.overall)));
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{kind}: {seen:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_actions_leave_the_same_record_through_every_door() {
    let mut records = Vec::new();
    for door in [Origin::Api, Origin::Cli, Origin::Schedule] {
        let world = World::new();
        let engine = world.peopled().await;
        furnish(&engine).await;
        let asking = cx(&engine, "olga", door);
        let scale = action(json!({"kind": "scale_workload", "workload": "web", "replicas": 4}));
        let stream = engine.act(&asking, &shop(), scale, "").await.unwrap();
        let state = engine.settle(&system(), &stream, 5_000, opsward_surface::view::settled).await.unwrap();
        let id = state.plans[0].approval.as_ref().unwrap().request.id.clone();
        engine.approve(&asking, &id).await.unwrap();
        engine.settle(&system(), &stream, 5_000, opsward_surface::view::settled).await.unwrap();
        let lines: Vec<String> =
            engine.trail(&system(), &stream).await.unwrap().into_iter().map(|line| line.what).collect();
        records.push(
            lines
                .join("\n")
                .replace(&format!("through {}", door.word()), "through DOOR")
                .replace(id.as_str(), "APPROVAL"),
        );
    }
    assert!(records[0].contains("step 0 applied"), "{}", records[0]);
    assert_eq!(records[0], records[1]);
    assert_eq!(records[1], records[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_bound_what_their_holders_get() {
    let world = World::new();
    let engine = world.peopled().await;
    furnish(&engine).await;
    let scale = json!({"kind": "scale_workload", "workload": "web", "replicas": 1});
    assert_eq!(done(&engine, "vera", &["vera", "olga"], scale.clone()).await, "denied");
    assert_eq!(done(&engine, "olga", &["olga"], scale).await, "succeeded");
    let remove = json!({"kind": "delete_workload", "workload": "web"});
    assert_eq!(done(&engine, "dan", &["owner"], remove.clone()).await, "denied");
    // Destroy: the asker's own yes does not count, and a developer's neither.
    assert_eq!(done(&engine, "owner", &["owner", "dan"], remove.clone()).await, "awaiting_approval");
    assert_eq!(done(&engine, "owner", &["owen", "adam"], remove).await, "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn observe_only_and_a_failed_self_test_stop_every_effect() {
    let mut world = World::new();
    let engine = world.peopled().await;
    furnish(&engine).await;
    let before = world.provider.ledger(&crate::world::tenant()).len();
    world.observe_only = true;
    let (watching, _) = world.process(crate::world::APPENDS_FOR_EVER).await;
    let scale = json!({"kind": "scale_workload", "workload": "web", "replicas": 1});
    assert_eq!(done(&watching, "owner", &["owner"], scale.clone()).await, "withheld");
    world.observe_only = false;
    world.attested = false;
    let (broken, _) = world.process(crate::world::APPENDS_FOR_EVER).await;
    assert_eq!(done(&broken, "owner", &["owner"], scale.clone()).await, "denied");
    assert_eq!(world.provider.ledger(&crate::world::tenant()).len(), before, "something was applied");
    // The control: with both in order the same request succeeds.
    assert_eq!(done(&engine, "owner", &["owner"], scale).await, "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn untrusted_words_never_widen_what_may_be_done() {
    let world = World::new();
    let engine = world.peopled().await;
    furnish(&engine).await;
    let cx = cx(&engine, "owner", Origin::Agent);
    let planner = Planner::new(world.provider.clone());
    let setting = engine.setup.setting(&cx, Some(&shop()), false).await.unwrap();
    let source = Source::Workload { workspace: shop(), workload: Workload::parse("web").unwrap() };
    let tainted = Label::from(Integrity::Untrusted, source);
    for value in every_action() {
        let Ok(plan) = planner
            .plan(&cx, Id::parse("p1").unwrap(), &shop(), vec![action(value.clone())], String::new(), None)
            .await
        else {
            continue;
        };
        let clean = engine.setup.gate.decide(&cx, &setting, &plan, &Label::of(Integrity::Operator), &[]).await;
        let dirty = engine.setup.gate.decide(&cx, &setting, &plan, &tainted, &[]).await;
        assert!(dirty.overall.verdict != Verdict::Allow, "{value}");
        let strictest = clean.overall.verdict.clone().strictest(dirty.overall.verdict.clone());
        assert_eq!(strictest, dirty.overall.verdict, "taint made it easier: {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_is_not_yours_is_refused_by_the_wall_and_not_confirmed() {
    let world = World::new();
    let engine = world.peopled().await;
    must(&engine, json!({"kind": "create_workspace", "memory_bytes_max": 1_073_741_824u64})).await;
    let asking = cx(&engine, "owner", Origin::Api);
    let elsewhere = opsward_domain::name::Workspace::parse("vault").unwrap();
    let remove = action(json!({"kind": "delete_backup", "backup": "nightly"}));
    let stream = engine.act(&asking, &elsewhere, remove, "").await.unwrap();
    let state = engine.settle(&system(), &stream, 5_000, opsward_surface::view::settled).await.unwrap();
    let plan = state.plans.last().unwrap();
    assert_eq!(opsward_surface::view::status(&state), "denied");
    assert!(plan.decision.as_ref().unwrap().policies.contains(&"tenancy.wall".to_owned()), "{:?}", plan.decision);
    assert!(plan.plan.steps[0].diff.is_empty(), "nothing of the other side was looked at");
}
