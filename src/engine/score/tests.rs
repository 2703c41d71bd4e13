//! Scores as stories: what was withheld, what people did, what came of the condition.

use opsward_domain::action::{RestartWorkload, ScaleWorkload};
use opsward_domain::alert::{Alert, Condition, Severity};
use opsward_domain::event::Outcome;
use opsward_domain::label::{Integrity, Label, Labelled};
use opsward_domain::name::Workload;
use opsward_domain::plan::{Blast, Step};

use super::*;

const MIN: i64 = 60_000;

fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

fn scale(workload: &str, replicas: u32) -> Action {
    Action::ScaleWorkload(ScaleWorkload { workload: Workload::parse(workload).unwrap(), replicas })
}

fn restart(workload: &str) -> Action {
    Action::RestartWorkload(RestartWorkload { workload: Workload::parse(workload).unwrap() })
}

fn proposed(action: Action, place: &str) -> Body {
    let workspace = Workspace::parse(place).unwrap();
    let blast = Blast { objects: 1, replicas_percent: 0 };
    let step =
        Step { index: 0, workspace: workspace.clone(), action, expects: None, diff: Vec::new(), undo: None, blast };
    let plan = Plan { id: id("p1"), workspace, reason: "r".into(), steps: vec![step], goal: None };
    Body::PlanProposed { digest: plan.digest(), plan: Box::new(plan), influence: Label::of(Integrity::Typed) }
}

fn withheld() -> Body {
    Body::PlanWithheld { plan: id("p1"), reason: "observe-only".into() }
}

fn alert() -> Body {
    let workspace = Workspace::parse("shop").unwrap();
    let alert = Alert {
        fingerprint: "f1".into(),
        name: "errors".into(),
        workspace,
        workload: None,
        condition: Condition::Reported,
        severity: Severity::Critical,
        started_at_ms: 0,
        text: Labelled::new("", Label::of(Integrity::Untrusted)),
        labels: BTreeMap::new(),
    };
    Body::IncidentOpened { alert: Box::new(alert), title: "t".into() }
}

fn cleared() -> Body {
    Body::AlertCleared { fingerprint: "f1".into() }
}

/// Tells `(minute, stream kind, stream id, body)` in order.
fn told(story: Vec<(i64, StreamKind, &str, Body)>) -> Scores {
    let scores = Scores::default();
    for ((minute, kind, run, body), seq) in story.into_iter().zip(1u64..) {
        scores.apply(&Event {
            seq,
            stream: StreamName { tenant: Tenant::parse("acme").unwrap(), kind, id: id(run) },
            stream_seq: 1,
            at_ms: minute * MIN,
            by: Subject::parse("olga").unwrap(),
            origin: Origin::Cli,
            cause: None,
            version: 1,
            body: Some(body),
        });
    }
    scores
}

/// An incident whose plan to scale web to 5 was withheld at minute 10.
fn incident() -> Vec<(i64, StreamKind, &'static str, Body)> {
    vec![
        (9, StreamKind::Incident, "i1", alert()),
        (10, StreamKind::Incident, "i1", proposed(scale("web", 5), "shop")),
        (10, StreamKind::Incident, "i1", withheld()),
    ]
}

/// A person's typed action at `minute`, done or withheld as well.
fn typed(
    minute: i64,
    run: &'static str,
    action: Action,
    place: &str,
    done: bool,
) -> Vec<(i64, StreamKind, &'static str, Body)> {
    let workspace = Workspace::parse(place).unwrap();
    let asked = Body::ActionRequested {
        workspace,
        origin: Origin::Cli,
        action: Box::new(action.clone()),
        reason: String::new(),
    };
    let outcome = Outcome { summary: "done".into(), result: serde_json::Value::Null, version: None };
    let end = if done { Body::StepSucceeded { plan: id("p1"), step: 0, key: "k".into(), outcome } } else { withheld() };
    [asked, proposed(action, place), end].into_iter().map(|body| (minute, StreamKind::Command, run, body)).collect()
}

fn verdict(rest: Vec<Vec<(i64, StreamKind, &'static str, Body)>>, now_minute: i64) -> (Verdict, String) {
    let scores = told([vec![incident()], rest].concat().concat());
    let list = scores.list(&Tenant::parse("acme").unwrap(), 0, now_minute * MIN);
    assert_eq!(list.len(), 1, "what people typed is not scored");
    (list[0].verdict, list[0].sentence())
}

#[test]
fn people_who_do_the_same_agree() {
    let (said, words) = verdict(vec![typed(14, "a1", scale("web", 5), "shop", true)], 20);
    assert_eq!(said, Verdict::Agreed);
    assert!(words.contains("olga did scale_workload web") && words.contains("4 min later"), "{words}");
    let (said, words) = verdict(vec![typed(14, "a1", scale("web", 5), "shop", false)], 20);
    assert_eq!(said, Verdict::Agreed, "wanted counts, where nothing can be done");
    assert!(words.contains("olga asked for"), "{words}");
    let both = vec![typed(12, "a1", restart("web"), "shop", true), typed(14, "a2", scale("web", 5), "shop", true)];
    assert_eq!(verdict(both, 20).0, Verdict::Agreed, "the same wins over something else before it");
}

#[test]
fn another_argument_or_action_on_the_target_differs() {
    for other in [scale("web", 4), restart("web")] {
        assert_eq!(verdict(vec![typed(14, "a1", other, "shop", true)], 20).0, Verdict::Differed);
    }
}

#[test]
fn what_happens_elsewhere_before_or_too_late_does_not_count_as_agreement() {
    let other_target = typed(14, "a1", scale("cart", 5), "shop", true);
    assert_eq!(verdict(vec![other_target.clone()], 20).0, Verdict::Open);
    assert_eq!(verdict(vec![other_target], 71).0, Verdict::Elsewhere);
    for nothing in [
        typed(14, "a1", scale("web", 5), "bank", true),
        typed(9, "a1", scale("web", 5), "shop", true),
        typed(71, "a1", scale("web", 5), "shop", true),
    ] {
        assert_eq!(verdict(vec![nothing], 80).0, Verdict::Missed);
    }
}

#[test]
fn without_people_the_condition_decides() {
    let gone = vec![(30, StreamKind::Incident, "i1", cleared())];
    assert_eq!(verdict(vec![gone.clone()], 40).0, Verdict::Unneeded);
    assert_eq!(verdict(vec![], 69).0, Verdict::Open);
    assert_eq!(verdict(vec![], 70).0, Verdict::Missed);
    let late = vec![(75, StreamKind::Incident, "i1", cleared())];
    assert_eq!(verdict(vec![late], 80).0, Verdict::Missed, "it stayed as long as people had to act");
    let helped = typed(14, "a1", restart("web"), "shop", true);
    assert_eq!(verdict(vec![helped, gone], 40).0, Verdict::Differed, "it did not go away by itself");
}

#[test]
fn a_plan_of_a_conversation_has_no_condition_and_schedules_are_not_people() {
    let talk = vec![
        (10, StreamKind::Conversation, "c1", proposed(scale("web", 5), "shop")),
        (10, StreamKind::Conversation, "c1", withheld()),
    ];
    let mut nightly = typed(14, "a1", scale("web", 5), "shop", true);
    if let Body::ActionRequested { origin, .. } = &mut nightly[0].3 {
        *origin = Origin::Schedule;
    }
    let list = told([talk, nightly].concat()).list(&Tenant::parse("acme").unwrap(), 0, 80 * MIN);
    assert_eq!(list[0].verdict, Verdict::Unknown);
    assert_eq!(count(&list).iter().map(|(_, count)| count).sum::<usize>(), 1);
    let other = told(incident()).list(&Tenant::parse("other").unwrap(), 0, 80 * MIN);
    assert!(other.is_empty(), "another tenant's plans are not seen");
}
