//! Schedules: due, late, overlapping, paused, of somebody who lost their rights, across a lost process and
//! a clock that jumps. Nothing that is due is done twice, and what is not done is said.

use std::sync::Arc;

use opsward_domain::context::Origin;
use opsward_domain::event::{Body, Event, StreamKind, StreamName};
use opsward_domain::fault::Code;
use opsward_domain::name::Id;
use opsward_domain::principal::Role;
use opsward_domain::schedule::{Schedule, When, Work};
use opsward_engine::facade::Engine;
use opsward_engine::schedules::{PER_WORKSPACE_MAX, ScheduleState};
use opsward_engine::state::RunState;
use opsward_ports::journal::Journal;
use opsward_surface::view;
use serde_json::{Value, json};

use crate::world::{
    APPENDS_FOR_EVER, World, action, cx, done, furnish, obedient, shop, steps, subject, system, tenant,
};

const MINUTE_MS: i64 = 60_000;

fn restart() -> Work {
    Work::Act { action: Box::new(action(json!({"kind": "restart_workload", "workload": "web"}))) }
}

fn schedule(name: &str, minutes: u32, work: Work) -> Schedule {
    let name = Id::parse(name).unwrap();
    Schedule { name, workspace: shop(), when: When::Every { minutes }, work, late_minutes: 60 }
}

async fn made(engine: &Engine, by: &str, minutes: u32, work: Work) -> ScheduleState {
    engine.schedule_add(&cx(engine, by, Origin::Api), schedule("again", minutes, work)).await.unwrap()
}

async fn now(engine: &Engine) -> ScheduleState {
    engine.schedules(&cx(engine, "owner", Origin::Api), &shop()).await.unwrap().remove(0)
}

async fn furnished() -> (World, Arc<Engine>) {
    let mut world = World::new();
    world.toolbox = obedient();
    let engine = world.peopled().await;
    furnish(&engine).await;
    (world, engine)
}

/// Lets `minutes` pass and looks at the schedules.
async fn pass(world: &World, engine: &Engine, minutes: i64) {
    world.shift.shift_ms(minutes * MINUTE_MS);
    engine.tend_schedules().await.unwrap();
}

async fn last_run(engine: &Engine) -> RunState {
    let run = now(engine).await.last.unwrap().run;
    engine.settle(&system(), &run, 10_000, view::settled).await.unwrap()
}

async fn yes(engine: &Engine, by: &str, run: &StreamName) -> RunState {
    let state = engine.settle(&system(), run, 10_000, view::settled).await.unwrap();
    let id = state.plans[0].approval.as_ref().unwrap().request.id.clone();
    engine.approve(&cx(engine, by, Origin::Api), &id).await.unwrap();
    engine.settle(&system(), run, 10_000, RunState::over).await.unwrap()
}

async fn events(world: &World) -> Vec<Event> {
    world.journal.feed(&system(), 0, 1_000).await.unwrap()
}

async fn firings(world: &World) -> Vec<StreamName> {
    let fired = |event: Event| match event.body {
        Some(Body::ScheduleFired { run, .. }) => Some(run),
        _ => None,
    };
    events(world).await.into_iter().filter_map(fired).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_waits_for_a_yes_and_is_done_once() {
    let (world, engine) = furnished().await;
    made(&engine, "olga", 5, restart()).await;
    pass(&world, &engine, 4).await;
    assert_eq!(firings(&world).await, [], "it was not due yet");
    pass(&world, &engine, 1).await;
    engine.tend_schedules().await.unwrap();
    let run = last_run(&engine).await;
    assert_eq!((view::status(&run), run.origin), ("awaiting_approval", Origin::Schedule));
    assert_eq!(run.asker, Some(subject("olga")), "it runs with its maker's rights");
    engine.catch_up().await.unwrap();
    let waiting = engine.views.approvals(&tenant());
    assert!(waiting.iter().any(|line| line.asker == subject("olga")), "{waiting:?}");
    let run = yes(&engine, "olga", &run.stream).await;
    assert_eq!(view::status(&run), "succeeded");
    pass(&world, &engine, 5).await;
    assert_eq!(firings(&world).await.len(), 2, "and again");
    let stream = now(&engine).await.stream;
    let trail = engine.trail(&system(), &stream).await.unwrap();
    let told: Vec<&str> = trail.iter().map(|line| line.what.as_str()).collect();
    assert!(
        told[0].contains("schedule again made in shop: restart_workload workload web, every 5 minutes"),
        "{told:?}"
    );
    assert!(told[1].starts_with("fired: command/s-"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn downtime_is_made_up_for_once_or_told() {
    let (world, engine) = furnished().await;
    made(&engine, "olga", 5, restart()).await;
    pass(&world, &engine, 23).await;
    let late = now(&engine).await;
    assert_eq!(late.last.as_ref().unwrap().coalesced, 3, "four were due, one is done");
    yes(&engine, "olga", &late.last.unwrap().run).await;
    let mut rare = schedule("rare", 600, restart());
    rare.late_minutes = 10;
    engine.schedule_add(&cx(&engine, "olga", Origin::Api), rare).await.unwrap();
    pass(&world, &engine, 620).await;
    let list = engine.schedules(&cx(&engine, "owner", Origin::Api), &shop()).await.unwrap();
    let rare = list.iter().find(|state| state.schedule.name.as_str() == "rare").unwrap();
    assert!(rare.last.is_none(), "twenty minutes are too late for it");
    let missed = rare.missed.as_ref().unwrap();
    assert!(missed.count == 1 && missed.reason.contains("more than 10 minutes"), "{missed:?}");
    assert!(rare.next_ms.unwrap() > engine.parts.clock.now_ms());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_not_ended_is_not_overtaken() {
    let (world, engine) = furnished().await;
    made(&engine, "olga", 1, restart()).await;
    pass(&world, &engine, 1).await;
    let first = last_run(&engine).await.stream;
    pass(&world, &engine, 1).await;
    let state = now(&engine).await;
    assert_eq!(state.last.unwrap().run, first);
    assert!(state.missed.unwrap().reason.contains("has not ended"));
    yes(&engine, "olga", &first).await;
    pass(&world, &engine, 1).await;
    assert_ne!(now(&engine).await.last.unwrap().run, first, "the next one runs again");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_rights_are_noticed_when_it_is_due() {
    let (world, engine) = furnished().await;
    made(&engine, "olga", 1, restart()).await;
    let people = &engine.setup.people;
    let owner = cx(&engine, "owner", Origin::Api);
    let asking = schedule("asks", 1, Work::Ask { text: "is anything wrong?".into() });
    engine.schedule_add(&cx(&engine, "olga", Origin::Api), asking).await.unwrap();
    people.set_role(&owner, &subject("olga"), None, Some(Role::Viewer)).await.unwrap();
    pass(&world, &engine, 1).await;
    let run = last_run(&engine).await;
    assert_eq!(view::status(&run), "denied", "a viewer restarts nothing");
    assert!(run.plans[0].end.as_ref().unwrap().1.contains("viewer"), "{:?}", run.plans[0].end);
    let asked = firings(&world).await.into_iter().find(|run| run.kind == StreamKind::Conversation).unwrap();
    assert!(engine.settle(&system(), &asked, 10_000, RunState::over).await.unwrap().over());
    people.set_role(&owner, &subject("olga"), None, None).await.unwrap();
    pass(&world, &engine, 1).await;
    let list = engine.schedules(&owner, &shop()).await.unwrap();
    let asks = list.iter().find(|state| state.schedule.name.as_str() == "asks").unwrap();
    assert!(asks.missed.as_ref().unwrap().reason.starts_with("refused: "), "{:?}", asks.missed);
    assert_eq!(view::status(&last_run(&engine).await), "denied");
    assert!(world.provider.ledger(&tenant()).values().all(|applied| applied.count == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_and_a_tool_proposes() {
    let (world, engine) = furnished().await;
    made(&engine, "olga", 1, Work::Ask { text: "is anything wrong?".into() }).await;
    pass(&world, &engine, 1).await;
    let run = last_run(&engine).await;
    assert_eq!((run.stream.kind, view::status(&run)), (StreamKind::Conversation, "answered"));
    let input = json!({"value": steps(&json!({"kind": "scale_workload", "workload": "web", "replicas": 4}))});
    for (name, input, ends) in [
        ("proposes", input, "succeeded"),
        ("answers", json!({"value": "all is well"}), "answered"),
        ("fails", json!({"value": {"steps": [{"$step": "format_disk"}]}}), "failed"),
    ] {
        let work = Work::Tool { tool: "obey".into(), input };
        engine.schedule_add(&cx(&engine, "olga", Origin::Api), schedule(name, 1, work)).await.unwrap();
        pass(&world, &engine, 1).await;
        let list = engine.schedules(&cx(&engine, "owner", Origin::Api), &shop()).await.unwrap();
        let state = list.into_iter().find(|state| state.schedule.name.as_str() == name).unwrap();
        let run = state.last.unwrap().run;
        let mut state = engine.settle(&system(), &run, 10_000, view::settled).await.unwrap();
        if name == "proposes" {
            assert_eq!(view::status(&state), "awaiting_approval");
            state = yes(&engine, "olga", &run).await;
        }
        assert_eq!(view::status(&state), ends, "{name}: {:?}", state.fault);
        assert!(state.over(), "{name}");
        engine.schedule_remove(&cx(&engine, "olga", Origin::Api), &shop(), &Id::parse(name).unwrap()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_the_process_at_any_moment_doubles_and_loses_no_run() {
    let mut deaths = 0;
    for appends in 1..=12 {
        let (world, engine) = furnished().await;
        made(&engine, "olga", 5, restart()).await;
        drop(engine);
        world.shift.shift_ms(5 * MINUTE_MS);
        let (dying, journal) = world.process(appends).await;
        let _ = dying.tend_schedules().await;
        for run in firings(&world).await {
            let _ = dying.settle(&system(), &run, 300, view::settled).await;
        }
        deaths += u32::from(journal.guard.came());
        drop(dying);
        let (next, _) = world.process(APPENDS_FOR_EVER).await;
        next.tend_schedules().await.unwrap();
        for unfinished in next.views.unfinished() {
            next.drivers.wake(&unfinished);
        }
        next.tend_schedules().await.unwrap();
        let fired = firings(&world).await;
        assert_eq!(fired.len(), 1, "after {appends} appends: one was due");
        let run = yes(&next, "olga", &fired[0]).await;
        assert_eq!(view::status(&run), "succeeded", "after {appends} appends");
        let asked = events(&world).await.into_iter();
        let asked = asked.filter(|e| matches!(&e.body, Some(Body::ActionRequested { origin: Origin::Schedule, .. })));
        assert_eq!(asked.count(), 1, "after {appends} appends");
        for (key, applied) in world.provider.ledger(&tenant()) {
            assert_eq!(applied.count, 1, "after {appends} appends: {key}");
        }
    }
    assert!(deaths >= 4, "only {deaths} points were tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firing_whose_process_was_gone_for_too_long_is_closed_and_told() {
    let (world, engine) = furnished().await;
    made(&engine, "olga", 5, restart()).await;
    drop(engine);
    world.shift.shift_ms(5 * MINUTE_MS);
    let (dying, _) = world.process(1).await;
    let _ = dying.tend_schedules().await;
    drop(dying);
    world.shift.shift_ms(24 * 60 * MINUTE_MS);
    let (next, _) = world.process(APPENDS_FOR_EVER).await;
    next.tend_schedules().await.unwrap();
    let first = firings(&world).await.remove(0);
    let state = next.run(&system(), &first).await.unwrap();
    assert!(state.over() && state.plans.is_empty());
    assert!(state.fault.unwrap().message.contains("too late"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_neither_silences_nor_floods() {
    let (world, engine) = furnished().await;
    made(&engine, "olga", 5, Work::Ask { text: "is anything wrong?".into() }).await;
    pass(&world, &engine, 365 * 24 * 60).await;
    let forward = now(&engine).await;
    assert_eq!(firings(&world).await.len(), 1, "a year of firings is made up for once");
    assert!(forward.last.unwrap().coalesced >= 999);
    last_run(&engine).await;
    pass(&world, &engine, -365 * 24 * 60).await;
    assert!(now(&engine).await.missed.unwrap().reason.contains("clock went back"));
    pass(&world, &engine, 5).await;
    assert_eq!(firings(&world).await.len(), 2, "it goes on from the time that is told now");
    let keys: std::collections::BTreeSet<StreamName> = firings(&world).await.into_iter().collect();
    assert_eq!(keys.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_means_nothing_and_resumed_means_from_now() {
    let (world, engine) = furnished().await;
    made(&engine, "dan", 5, Work::Ask { text: "is anything wrong?".into() }).await;
    let name = Id::parse("again").unwrap();
    let (vera, dan, olga) =
        (cx(&engine, "vera", Origin::Api), cx(&engine, "dan", Origin::Api), cx(&engine, "olga", Origin::Cli));
    let refused = engine.schedule_pause(&vera, &shop(), &name, true).await.unwrap_err();
    assert_eq!(refused.code, Code::Denied, "somebody else's schedule is not a viewer's to stop");
    assert!(engine.schedule_pause(&olga, &shop(), &name, true).await.unwrap().paused, "an operator may stop it");
    pass(&world, &engine, 30).await;
    assert_eq!(firings(&world).await, []);
    assert!(!engine.schedule_pause(&dan, &shop(), &name, false).await.unwrap().paused);
    engine.tend_schedules().await.unwrap();
    assert_eq!(firings(&world).await, [], "what was due meanwhile is not made up for");
    pass(&world, &engine, 5).await;
    assert_eq!(firings(&world).await.len(), 1);
    engine.schedule_remove(&dan, &shop(), &name).await.unwrap();
    pass(&world, &engine, 60).await;
    assert_eq!(firings(&world).await.len(), 1);
    assert_eq!(engine.schedule_remove(&dan, &shop(), &name).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_schedules_are_refused_with_what_to_do() {
    let (_world, engine) = furnished().await;
    let olga = cx(&engine, "olga", Origin::Api);
    let cron = |expression: &str, zone: &str| When::Cron { expression: expression.into(), zone: zone.into() };
    let tool = |tool: &str, input: Value| Work::Tool { tool: tool.into(), input };
    let ask = || Work::Ask { text: "?".into() };
    for (when, work, late, says) in [
        (cron("* * * * * *", "UTC"), ask(), 60, "not a cron expression"),
        (cron("0 3 * * *", "Nowhere"), ask(), 60, "no time zone"),
        (cron("0 0 31 2 *", "UTC"), ask(), 60, "never due"),
        (When::Every { minutes: 0 }, ask(), 60, "no period"),
        (When::Every { minutes: 5 }, Work::Ask { text: " ".into() }, 60, "characters"),
        (When::Every { minutes: 5 }, ask(), 0, "minutes late"),
        (When::Every { minutes: 5 }, tool("nope", json!({})), 60, "no tool"),
        (When::Every { minutes: 5 }, tool("obey", json!({})), 60, "missing"),
    ] {
        let wrong = Schedule { when, late_minutes: late, ..schedule("wrong", 5, work) };
        let fault = engine.schedule_add(&olga, wrong).await.unwrap_err();
        assert!(fault.to_string().contains(says), "{says}: {fault}");
    }
    for number in 0..PER_WORKSPACE_MAX {
        engine.schedule_add(&olga, schedule(&format!("n{number}"), 60, ask())).await.unwrap();
    }
    let twice = engine.schedule_add(&olga, schedule("n1", 60, ask())).await.unwrap_err();
    assert_eq!(twice.code, Code::Conflict);
    let one_more = engine.schedule_add(&olga, schedule("more", 60, ask())).await.unwrap_err();
    assert_eq!(one_more.code, Code::TooMany);
    let elsewhere =
        Schedule { workspace: opsward_domain::name::Workspace::parse("vault").unwrap(), ..schedule("x", 5, ask()) };
    assert_eq!(engine.schedule_add(&olga, elsewhere).await.unwrap_err().code, Code::NotFound);
    let agent = cx(&engine, "olga", Origin::Agent);
    assert_eq!(engine.schedule_add(&agent, schedule("x", 5, ask())).await.unwrap_err().code, Code::Denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn observe_only_withholds_what_a_schedule_would_do() {
    let (mut world, engine) = furnished().await;
    made(&engine, "olga", 1, restart()).await;
    drop(engine);
    world.observe_only = true;
    let (watching, _) = world.process(APPENDS_FOR_EVER).await;
    pass(&world, &watching, 1).await;
    assert_eq!(view::status(&last_run(&watching).await), "withheld");
    // The control: the same person, the same action, no schedule.
    let restart = json!({"kind": "restart_workload", "workload": "web"});
    assert_eq!(done(&watching, "olga", &["olga"], restart).await, "withheld");
}
