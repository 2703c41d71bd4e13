//! Recorded runs, played again: every file in `tests/transcripts` gives the same events with this program's
//! turn logic, gate, planner, executor and tools.

use std::path::{Path, PathBuf};

use opsward::app::Replayer;
use opsward_domain::context::Origin;
use opsward_domain::event::{Body, CheckVerdict, Event, PlanEnd};
use opsward_domain::fault::Fault;
use opsward_domain::incident::IncidentStatus;
use opsward_engine::state::{PlanState, RunState};
use opsward_engine::transcript::Transcript;
use opsward_ports::provider::memory::Trouble;
use opsward_surface::view;
use serde_json::{Value, json};

use crate::support::binary;
use crate::tidy::root;
use crate::world::{World, action, cx, furnish, shop, system};

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(root().join("tests/transcripts")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn read(path: &Path) -> Transcript {
    Transcript::read(&std::fs::read_to_string(path).unwrap()).unwrap_or_else(|fault| panic!("{path:?}: {fault}"))
}

/// `OPSWARD_BLESS=1` writes wanted differences into the files; a run that goes another way must be played anew.
#[tokio::test(flavor = "multi_thread")]
async fn every_transcript_plays_the_same_again() {
    let replayer = Replayer::start(binary()).await.unwrap();
    let files = files();
    assert!(files.len() >= 3, "the recordings were not found");
    for path in files {
        let mut transcript = read(&path);
        let played = replayer.play(&transcript).await.unwrap();
        let shown: Vec<String> = played.differences.iter().map(ToString::to_string).collect();
        if std::env::var_os("OPSWARD_BLESS").is_some() && played.events.len() == transcript.events.len() {
            transcript.events = played.events;
            std::fs::write(&path, transcript.write().unwrap()).unwrap();
            continue;
        }
        assert!(shown.is_empty(), "{}:\n{}", path.display(), shown.join("\n"));
        assert!(played.made >= 5 && played.given >= 1, "{}: hardly anything was played", path.display());
    }
}

/// A real incident whose first plan did not help: it ended, and another hypothesis was tried and verified.
#[test]
fn among_them_the_second_hypothesis_wins() {
    let transcript = read(&root().join("tests/transcripts/second-hypothesis-wins.json"));
    let state = RunState::fold(transcript.stream.clone(), &transcript.events);
    let [first, second] = &state.plans[..] else { panic!("{} plans", state.plans.len()) };
    let verdict = |plan: &PlanState| plan.goal.as_ref().map(|(verdict, _)| *verdict);
    let end = |plan: &PlanState| plan.end.as_ref().map(|(end, _)| *end);
    assert_eq!((verdict(first), end(first)), (Some(CheckVerdict::Worse), Some(PlanEnd::Undone)));
    assert_eq!((verdict(second), end(second)), (Some(CheckVerdict::Better), Some(PlanEnd::Succeeded)));
    assert_ne!(first.plan.steps[0].resource(), second.plan.steps[0].resource(), "another place");
    assert_eq!(state.incident, Some(IncidentStatus::Resolved));
}

/// Runs typed actions of every kind in a world of memory twins and records what came of them.
async fn recorded(attempt: Value, approve: bool, trouble: Option<Trouble>) -> Transcript {
    let world = World::new();
    let engine = world.peopled().await;
    furnish(&engine).await;
    if let Some(trouble) = trouble {
        world.provider.inject(trouble);
    }
    let asking = cx(&engine, "owner", Origin::Api);
    let stream = engine.act(&asking, &shop(), action(attempt), "test").await.unwrap();
    engine.settle(&system(), &stream, 10_000, view::settled).await.unwrap();
    for name in ["owner", "owen", "adam"].iter().filter(|_| approve) {
        let state = engine.settle(&system(), &stream, 10_000, view::settled).await.unwrap();
        if view::status(&state) != "awaiting_approval" {
            break;
        }
        let id = state.plans[0].approval.as_ref().unwrap().request.id.clone();
        let _ = engine.approve(&cx(&engine, name, Origin::Api), &id).await;
        let went_on = |state: &opsward_engine::state::RunState| {
            view::settled(state) && (view::status(state) != "awaiting_approval" || *name != "adam")
        };
        engine.settle(&system(), &stream, 10_000, went_on).await.unwrap();
    }
    opsward_engine::transcript::record(world.journal.as_ref(), &stream).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_typed_action_can_be_recorded_and_played_again() {
    let replayer = Replayer::start(binary()).await.unwrap();
    for value in crate::world::every_action() {
        let transcript = recorded(value.clone(), true, None).await;
        let read = Transcript::read(&transcript.write().unwrap()).unwrap();
        let played = replayer.play(&read).await.unwrap();
        assert!(played.differences.is_empty(), "{value}: {}", played.differences[0]);
        assert_eq!(played.given + played.made, transcript.events.len(), "{value}");
    }
    let impossible = json!({"kind": "rollback_workload", "workload": "web", "revision": 99});
    let played = replayer.play(&recorded(impossible, false, None).await).await.unwrap();
    assert!(played.differences.is_empty(), "a plan that cannot be made: {}", played.differences[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_and_was_taken_back_is_played_again() {
    let replayer = Replayer::start(binary()).await.unwrap();
    let mut ends = Vec::new();
    for trouble in [Trouble::ReplyLost, Trouble::Refuse(Fault::conflict("the platform said no"))] {
        let scale = json!({"kind": "scale_workload", "workload": "web", "replicas": 5});
        let transcript = recorded(scale, true, Some(trouble)).await;
        let failed = |event: &&Event| matches!(event.body, Some(Body::StepFailed { .. }));
        assert!(transcript.events.iter().any(|event| failed(&event)), "nothing failed");
        ends.push(transcript.events.iter().any(|event| matches!(event.body, Some(Body::UndoSucceeded { .. }))));
        let played = replayer.play(&transcript).await.unwrap();
        assert!(played.differences.is_empty(), "{}", played.differences[0]);
    }
    assert_eq!(ends, [true, false], "what took effect is taken back, what did not is left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_recording_is_told_by_its_first_difference() {
    let scale = json!({"kind": "scale_workload", "workload": "web", "replicas": 5});
    let transcript = recorded(scale, true, None).await;
    let replayer = Replayer::start(binary()).await.unwrap();
    let tamper = |change: fn(&mut Body)| {
        let mut changed = transcript.clone();
        changed.events.iter_mut().filter_map(|event| event.body.as_mut()).for_each(change);
        changed
    };
    let other_diff = tamper(|body| {
        if let Body::PlanProposed { plan, .. } = body {
            plan.steps[0].diff[0].after = Some("7".to_owned());
        }
    });
    let told = replayer.play(&other_diff).await.unwrap().differences[0].clone();
    assert_eq!(
        (told.path.as_str(), told.recorded.as_str(), told.replayed.as_str()),
        ("/plan/steps/0/diff/0/after", "7", "5")
    );
    let other_gate = tamper(|body| {
        if let Body::PlanDecided { decision, .. } = body {
            decision.reason = "because".to_owned();
        }
    });
    let told = replayer.play(&other_gate).await.unwrap().differences[0].clone();
    assert_eq!(told.path, "/decision/reason");
    // Without the yes, the engine waits where the recording went on.
    let mut no_yes = transcript.clone();
    no_yes.events.retain(|event| !matches!(event.body, Some(Body::ApprovalGiven { .. })));
    let told = replayer.play(&no_yes).await.unwrap().differences[0].to_string();
    assert!(told.contains("VoidApproval") || told.contains("WaitUntil"), "{told}");
    // Cut short, the engine would go on.
    let mut cut = transcript.clone();
    cut.events.truncate(3);
    let told = replayer.play(&cut).await.unwrap().differences[0].to_string();
    assert!(told.contains("the recording ends here"), "{told}");
    // Nothing that was looked at is known any more.
    let mut forgetful = transcript;
    forgetful.kept.clear();
    let told = replayer.play(&forgetful).await.unwrap().differences[0].to_string();
    assert!(told.contains("does not hold"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_holds_no_credential_and_is_not_for_everybody() {
    let world = World::new();
    let engine = world.peopled().await;
    furnish(&engine).await;
    let owner = cx(&engine, "owner", Origin::Api);
    let secret = engine
        .setup
        .people
        .issue(&owner, &crate::world::subject("olga"), None, opsward_engine::people::Purpose::Session)
        .await
        .unwrap();
    let scale = action(json!({"kind": "scale_workload", "workload": "web", "replicas": 5}));
    let stream = engine.act(&owner, &shop(), scale, "").await.unwrap();
    engine.settle(&system(), &stream, 5_000, view::settled).await.unwrap();
    let text = engine.record(&owner, &stream).await.unwrap().write().unwrap();
    assert!(text.contains("\"olga\""), "who had which role is part of it");
    assert!(!text.contains(&secret) && !text.contains("token_issued") && !text.contains("salt"), "{text}");
    let refused = engine.record(&cx(&engine, "vera", Origin::Api), &stream).await;
    assert!(refused.is_err(), "a viewer may not read what everybody said and did");
}
