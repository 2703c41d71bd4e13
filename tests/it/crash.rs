//! The process is lost after every single event, and a reply is lost after its effect: the next process
//! finishes the run with every effect done exactly once, and the record verifies.

use opsward_domain::alert::{Alert, Condition, Severity};
use opsward_domain::context::Origin;
use opsward_domain::event::StreamKind;
use opsward_domain::fault::Fault;
use opsward_domain::label::{Integrity, Label, Labelled};
use opsward_ports::journal::Journal;
use opsward_ports::provider::memory::Trouble;
use opsward_surface::view;
use serde_json::{Value, json};

use crate::world::{APPENDS_FOR_EVER, World, action, cx, furnish, shop, system, tenant};

/// Runs one approved action, losing the process after `appends`; a second process finishes it.
async fn run(value: &Value, appends: u64, trouble: Option<Trouble>) -> (World, opsward_engine::state::RunState, bool) {
    let world = World::new();
    let first = world.peopled().await;
    furnish(&first).await;
    let stream = {
        let asking = cx(&first, "owner", Origin::Api);
        let stream = first.act(&asking, &shop(), action(value.clone()), "").await.unwrap();
        let state = first.settle(&system(), &stream, 5_000, view::settled).await.unwrap();
        assert_eq!(view::status(&state), "awaiting_approval");
        stream
    };
    drop(first);
    if let Some(trouble) = trouble {
        world.provider.inject(trouble);
    }
    let (dying, journal) = world.process(appends).await;
    let state = dying.run(&system(), &stream).await.unwrap();
    let id = state.plans[0].approval.as_ref().unwrap().request.id.clone();
    let _: Result<_, Fault> = dying.approve(&cx(&dying, "owner", Origin::Api), &id).await;
    let _ = dying
        .settle(&system(), &stream, 1_500, |state| view::settled(state) && view::status(state) != "awaiting_approval")
        .await;
    let died = journal.guard.came();
    drop(dying);
    let (next, _) = world.process(APPENDS_FOR_EVER).await;
    for unfinished in next.views.unfinished() {
        next.drivers.wake(&unfinished);
    }
    let open = |state: &opsward_engine::state::RunState| view::status(state) == "awaiting_approval";
    if open(&next.run(&system(), &stream).await.unwrap()) {
        next.approve(&cx(&next, "owner", Origin::Api), &id).await.unwrap();
    }
    let state = next.settle(&system(), &stream, 10_000, |state| view::settled(state) && !open(state)).await.unwrap();
    (world, state, died)
}

fn applied_once(world: &World, label: &str) {
    for (key, applied) in world.provider.ledger(&tenant()) {
        assert_eq!(applied.count, 1, "{label}: key {key} was applied {} times", applied.count);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_the_process_after_any_event_loses_and_doubles_nothing() {
    let value = json!({"kind": "scale_workload", "workload": "web", "replicas": 5});
    let mut deaths = 0;
    for appends in 1.. {
        let (world, state, died) = run(&value, appends, None).await;
        let label = format!("after {appends} appends");
        assert_eq!(view::status(&state), "succeeded", "{label}: {:?}", state.fault);
        applied_once(&world, &label);
        let verified = world.journal.verify(1).await.unwrap();
        assert!(verified.damage.is_empty(), "{label}: {verified:?}");
        if !died {
            break;
        }
        deaths += 1;
        assert!(appends < 50, "the run never finishes");
    }
    assert!(deaths >= 4, "only {deaths} points were tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_lost_after_the_effect_is_found_again() {
    for value in [
        json!({"kind": "scale_workload", "workload": "web", "replicas": 5}),
        json!({"kind": "create_backup", "backup": "again", "volumes": ["orders"]}),
    ] {
        let (world, state, _) = run(&value, APPENDS_FOR_EVER, Some(Trouble::ReplyLost)).await;
        let label = value.to_string();
        // The effect happened although the caller heard nothing: it is either kept or taken back, never doubled.
        assert!(matches!(view::status(&state), "succeeded" | "undone"), "{label}: {}", view::status(&state));
        applied_once(&world, &label);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_world_that_moved_after_the_plan_voids_it() {
    let world = World::new();
    let engine = world.peopled().await;
    furnish(&engine).await;
    let asking = cx(&engine, "owner", Origin::Api);
    let first = action(json!({"kind": "scale_workload", "workload": "web", "replicas": 5}));
    let stream = engine.act(&asking, &shop(), first, "").await.unwrap();
    let state = engine.settle(&system(), &stream, 5_000, view::settled).await.unwrap();
    crate::world::must(&engine, json!({"kind": "set_environment", "workload": "web", "set": {"B": "2"}})).await;
    let id = state.plans[0].approval.as_ref().unwrap().request.id.clone();
    engine.approve(&asking, &id).await.unwrap();
    let state = engine
        .settle(&system(), &stream, 5_000, |s| view::settled(s) && view::status(s) != "awaiting_approval")
        .await
        .unwrap();
    assert_eq!(view::status(&state), "undone");
    assert!(state.plans[0].failure.as_ref().unwrap().contains("has changed since"), "{:?}", state.plans[0].failure);
}

/// An alert of a workload that is gone, reported in words or measured here.
fn alert(fingerprint: &str, condition: Condition) -> Alert {
    Alert {
        fingerprint: fingerprint.to_owned(),
        name: fingerprint.to_owned(),
        workspace: shop(),
        workload: None,
        condition,
        severity: Severity::Critical,
        started_at_ms: 1,
        text: Labelled::new("words", Label::of(Integrity::Untrusted)),
        labels: Default::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_ends_no_alert_that_only_its_sender_can_end() {
    let world = World::new();
    let first = world.peopled().await;
    furnish(&first).await;
    for (name, condition) in [("theirs", Condition::Reported), ("ours", Condition::CrashLoop)] {
        first.raise(&system(), alert(name, condition)).await.unwrap();
    }
    let incident = first.views.open_incidents(&tenant(), &shop())[0].clone();
    assert_eq!(incident.fingerprints.len(), 2, "both are in one incident");
    drop(first);
    let (next, _) = world.process(APPENDS_FOR_EVER).await;
    next.start().await.unwrap();
    let name = opsward_engine::facade::stream(&system(), StreamKind::Incident, &incident.id);
    let ours = |state: &opsward_engine::state::RunState| state.cleared.contains(&"ours".to_owned());
    let state = next.settle(&system(), &name, 10_000, ours).await.unwrap();
    assert_eq!(state.cleared, ["ours"], "the watch looked, and knows nothing about theirs");
    for _ in 0..2 {
        next.clear(&system(), &shop(), "theirs").await.unwrap();
    }
    assert_eq!(next.run(&system(), &name).await.unwrap().cleared, ["ours", "theirs"], "each ends once");
}
