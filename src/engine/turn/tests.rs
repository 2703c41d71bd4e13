//! What comes next, as stories: each line of a story is one event, each expectation one `Next`.

use opsward_domain::action::{Action, ScaleWorkload};
use opsward_domain::alert::{Alert, Condition, Severity};
use opsward_domain::approval::ApprovalRequest;
use opsward_domain::cause::{CauseKind, Diagnosis, Hypothesis, Verdict as Finding};
use opsward_domain::context::Origin;
use opsward_domain::decision::{Approvers, Decision, Verdict};
use opsward_domain::event::{Body, CheckVerdict, Event, Outcome, PlanEnd, StreamKind, StreamName, TurnEnd, Usage};
use opsward_domain::fault::Fault;
use opsward_domain::label::{Integrity, Label, Labelled};
use opsward_domain::name::{Id, Subject, Tenant, Workload, Workspace};
use opsward_domain::plan::{Blast, Goal, Plan, Step};
use proptest::prelude::*;

use super::{INVESTIGATE_AGAIN_MS, INVESTIGATIONS_MAX, Next, Setting, next};
use crate::parts::Limits;
use crate::state::RunState;

fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

fn label() -> Label {
    Label::of(Integrity::Operator)
}

fn story(kind: StreamKind, bodies: Vec<Body>) -> (RunState, Vec<Event>) {
    let stream = StreamName { tenant: Tenant::parse("acme").unwrap(), kind, id: id("r1") };
    let events: Vec<Event> = bodies
        .into_iter()
        .zip(1u64..)
        .map(|(body, seq)| Event {
            seq,
            stream: stream.clone(),
            stream_seq: seq,
            at_ms: 1_000 * i64::try_from(seq).unwrap(),
            by: Subject::parse("ada").unwrap(),
            origin: Origin::Api,
            cause: None,
            version: 1,
            body: Some(body),
        })
        .collect();
    (RunState::fold(stream, &events), events)
}

fn at(now_ms: i64, model: bool) -> Setting {
    Setting { model, now_ms, limits: Limits::default() }
}

fn scale(replicas: u32) -> Action {
    Action::ScaleWorkload(ScaleWorkload { workload: Workload::parse("web").unwrap(), replicas })
}

fn goal() -> Goal {
    Goal {
        workload: Workload::parse("web").unwrap(),
        condition: Condition::ErrorRatio { above: 0.05 },
        windows: 3,
        window_ms: 4_000,
        requests_min: 20,
        within_ms: 60_000,
    }
}

fn proposed(steps: u32, goal: Option<Goal>) -> Body {
    let step = |index| Step {
        index,
        workspace: Workspace::parse("shop").unwrap(),
        action: scale(3 + index),
        expects: None,
        diff: Vec::new(),
        undo: Some(scale(1)),
        blast: Blast { objects: 1, replicas_percent: 0 },
    };
    let workspace = Workspace::parse("shop").unwrap();
    let plan = Plan { id: id("p1"), workspace, reason: "r".into(), steps: (0..steps).map(step).collect(), goal };
    Body::PlanProposed { digest: plan.digest(), plan: Box::new(plan), influence: label() }
}

fn decided(verdict: Verdict) -> Body {
    let decision = Decision { verdict, policies: vec!["p".into()], reason: "because".into() };
    Body::PlanDecided { plan: id("p1"), decision, steps: Vec::new(), policy_set: "s".into() }
}

const ONE: Approvers = Approvers { people: 1, not_asker: false };

fn asked() -> Body {
    let asker = Subject::parse("ada").unwrap();
    let request = ApprovalRequest {
        id: id("ok1"),
        plan: id("p1"),
        binding: "b".into(),
        asker,
        approvers: ONE,
        nonce: "n".into(),
        expires_at_ms: 900_000,
    };
    Body::ApprovalRequested { request: Box::new(request) }
}

fn given() -> Body {
    Body::ApprovalGiven { approval: id("ok1"), by: Subject::parse("bob").unwrap(), binding: "b".into() }
}

fn started(step: u32) -> Body {
    Body::StepStarted { plan: id("p1"), step, key: format!("k{step}") }
}

fn succeeded(step: u32) -> Body {
    let outcome = Outcome { summary: "done".into(), result: serde_json::Value::Null, version: None };
    Body::StepSucceeded { plan: id("p1"), step, key: format!("k{step}"), outcome }
}

fn failed(step: u32, applied: bool) -> Body {
    Body::StepFailed { plan: id("p1"), step, key: format!("k{step}"), fault: Fault::internal("no"), applied }
}

fn requested() -> Body {
    let workspace = Workspace::parse("shop").unwrap();
    Body::ActionRequested { workspace, origin: Origin::Api, action: Box::new(scale(3)), reason: String::new() }
}

fn of(bodies: Vec<Body>) -> Next {
    next(&story(StreamKind::Command, bodies).0, &at(10_000, false))
}

#[test]
fn a_typed_action_is_planned_decided_approved_and_done() {
    let ask = || decided(Verdict::Ask { approvers: ONE });
    assert_eq!(of(vec![]), Next::Idle);
    assert_eq!(of(vec![requested()]), Next::PlanRequest);
    assert_eq!(of(vec![requested(), proposed(1, None)]), Next::Decide(id("p1")));
    assert_eq!(of(vec![requested(), proposed(1, None), ask()]), Next::RequestApproval(id("p1"), ONE));
    assert_eq!(of(vec![requested(), proposed(1, None), ask(), asked()]), Next::WaitUntil(900_000));
    let yes = || vec![requested(), proposed(1, None), ask(), asked(), given()];
    assert_eq!(of(yes()), Next::Step(id("p1"), 0));
    assert_eq!(
        of([yes(), vec![started(0)]].concat()),
        Next::Step(id("p1"), 0),
        "an open intent is resolved, not skipped"
    );
    let done = of([yes(), vec![started(0), succeeded(0)]].concat());
    assert!(matches!(done, Next::EndPlan(_, PlanEnd::Succeeded, _)), "{done:?}");
}

#[test]
fn no_and_nothing_and_too_late_end_a_plan_untouched() {
    let ask = decided(Verdict::Ask { approvers: ONE });
    let open = vec![requested(), proposed(1, None), ask, asked()];
    let late = next(&story(StreamKind::Command, open.clone()).0, &at(900_001, false));
    assert!(matches!(late, Next::VoidApproval(..)), "{late:?}");
    let no = Body::ApprovalRefused { approval: id("ok1"), by: Subject::parse("bob").unwrap(), note: "not now".into() };
    let refused = of([open, vec![no]].concat());
    assert!(matches!(&refused, Next::EndPlan(_, PlanEnd::Refused, why) if why.contains("not now")), "{refused:?}");
    let denied = of(vec![requested(), proposed(1, None), decided(Verdict::Deny)]);
    assert!(matches!(&denied, Next::EndPlan(_, PlanEnd::Refused, why) if why == "because"), "{denied:?}");
}

#[test]
fn what_took_effect_is_taken_back_in_reverse() {
    let begun = vec![requested(), proposed(2, None), decided(Verdict::Allow), started(0), succeeded(0), started(1)];
    assert_eq!(of([begun.clone(), vec![failed(1, true)]].concat()), Next::Undo(id("p1"), 1));
    assert_eq!(of([begun.clone(), vec![failed(1, false)]].concat()), Next::Undo(id("p1"), 0));
    let outcome = Outcome { summary: String::new(), result: serde_json::Value::Null, version: None };
    let undone = |step| Body::UndoSucceeded { plan: id("p1"), step, key: "u".into(), outcome: outcome.clone() };
    let last = of([begun, vec![failed(1, true), undone(1), undone(0)]].concat());
    assert!(matches!(last, Next::EndPlan(_, PlanEnd::Undone, _)), "{last:?}");
}

#[test]
fn a_goal_decides_what_success_is() {
    let acted = vec![requested(), proposed(1, Some(goal())), decided(Verdict::Allow), started(0), succeeded(0)];
    assert_eq!(of(acted.clone()), Next::CheckGoal(id("p1")));
    let seen =
        |verdict| [acted.clone(), vec![Body::GoalChecked { plan: id("p1"), verdict, claims: Vec::new() }]].concat();
    assert!(matches!(of(seen(CheckVerdict::Better)), Next::EndPlan(_, PlanEnd::Succeeded, _)));
    assert!(matches!(of(seen(CheckVerdict::Unverified)), Next::EndPlan(_, PlanEnd::Unverified, _)));
    assert_eq!(of(seen(CheckVerdict::Same)), Next::Undo(id("p1"), 0));
    assert_eq!(of(seen(CheckVerdict::Worse)), Next::Undo(id("p1"), 0));
}

fn alerted() -> Body {
    let alert = Alert {
        fingerprint: "f".into(),
        name: "HighErrorRatio".into(),
        workspace: Workspace::parse("shop").unwrap(),
        workload: Workload::parse("web").ok(),
        condition: Condition::ErrorRatio { above: 0.05 },
        severity: Severity::Critical,
        started_at_ms: 0,
        text: Labelled::new("", Label::of(Integrity::Untrusted)),
        labels: std::collections::BTreeMap::new(),
    };
    Body::IncidentOpened { alert: Box::new(alert), title: "t".into() }
}

fn diagnosed(verdict: Finding, kind: CauseKind, confidence: f64, remedies: Vec<Action>) -> Body {
    let hypothesis = Hypothesis {
        id: id("h1"),
        kind,
        workload: None,
        change: None,
        confidence,
        because: Vec::new(),
        despite: Vec::new(),
        remedies,
    };
    let diagnosis = Diagnosis {
        workspace: Workspace::parse("shop").unwrap(),
        verdict,
        onset_ms: None,
        hypotheses: vec![hypothesis],
        ruled_out: Vec::new(),
        affected: Vec::new(),
        blind_spots: Vec::new(),
    };
    Body::Diagnosed { diagnosis: Box::new(diagnosis), took_ms: 1 }
}

fn incident(bodies: Vec<Body>, now_ms: i64) -> Next {
    let opened = vec![alerted(), Body::TurnStarted { turn: id("t1") }];
    next(&story(StreamKind::Incident, [opened, bodies].concat()).0, &at(now_ms, false))
}

#[test]
fn an_incident_is_looked_at_again_before_people_get_it() {
    assert_eq!(incident(vec![], 2_000), Next::Investigate);
    let calm = || diagnosed(Finding::Healthy, CauseKind::Hung, 0.0, Vec::new());
    assert_eq!(incident(vec![calm()], 3_000), Next::WaitUntil(3_000 + INVESTIGATE_AGAIN_MS));
    assert_eq!(incident(vec![calm()], 3_000 + INVESTIGATE_AGAIN_MS), Next::Investigate);
    let many = incident((0..INVESTIGATIONS_MAX).map(|_| calm()).collect(), 9_000);
    assert!(matches!(many, Next::Resolve(_)), "{many:?}");
    let unsure = || diagnosed(Finding::Incident, CauseKind::Overload, 0.1, vec![scale(3)]);
    let handed = incident((0..INVESTIGATIONS_MAX).map(|_| unsure()).collect(), 9_000);
    assert!(matches!(handed, Next::Escalate(_)), "{handed:?}");
    let outside = incident(vec![diagnosed(Finding::Incident, CauseKind::ExternalDependency, 0.9, Vec::new())], 3_000);
    assert!(matches!(outside, Next::Escalate(_)), "{outside:?}");
}

#[test]
fn a_conversation_stays_inside_its_budgets() {
    let workspace = Workspace::parse("shop").unwrap();
    let said = || Body::MessageReceived { workspace: workspace.clone(), origin: Origin::Api, text: "why".into() };
    let replied = || Body::ModelReplied {
        model: "m".into(),
        text: Labelled::new("", label()),
        calls: Vec::new(),
        usage: Usage::default(),
    };
    let talk = |bodies: Vec<Body>, model| next(&story(StreamKind::Conversation, bodies).0, &at(5_000, model));
    let begun = vec![said(), Body::TurnStarted { turn: id("t1") }];
    assert_eq!(talk(vec![said()], true), Next::StartTurn);
    assert_eq!(talk(begun.clone(), false), Next::AnswerPlainly);
    assert_eq!(talk(begun.clone(), true), Next::AskModel { with_tools: true });
    let limit = Limits::default().model_calls_per_turn;
    let almost = [begun.clone(), (1..limit).map(|_| replied()).collect()].concat();
    assert_eq!(talk(almost, true), Next::AskModel { with_tools: false }, "the last call must answer");
    let spent = [begun.clone(), (0..limit).map(|_| replied()).collect()].concat();
    assert_eq!(talk(spent, true), Next::EndTurn(TurnEnd::BudgetSpent));
    let down = || Body::ModelFailed { model: "m".into(), fault: Fault::unavailable("down") };
    assert_eq!(
        talk([begun.clone(), vec![down(), down()]].concat(), true),
        Next::AnswerPlainly,
        "a model that is down is done without"
    );
    let cancelled = Body::CancelRequested { by: Subject::parse("ada").unwrap() };
    assert_eq!(talk([begun, vec![cancelled]].concat(), true), Next::EndTurn(TurnEnd::Cancelled));
}

#[test]
fn a_message_sent_while_a_plan_waits_is_answered_at_once() {
    let workspace = Workspace::parse("shop").unwrap();
    let said = || Body::MessageReceived { workspace: workspace.clone(), origin: Origin::Api, text: "why".into() };
    let turn = |name: &str| Body::TurnStarted { turn: id(name) };
    let ended = |name: &str, end| Body::TurnEnded { turn: id(name), end };
    let answered = || Body::AnswerGiven { claims: Vec::new(), text: Labelled::new("so", label()) };
    let talk = |bodies: &[Body]| next(&story(StreamKind::Conversation, bodies.to_vec()).0, &at(20_000, true));
    let ask = decided(Verdict::Ask { approvers: ONE });
    let mut told = vec![said(), turn("t1"), proposed(1, None), ask, asked()];
    let waits = Next::WaitUntil(900_000);
    assert_eq!(talk(&told), waits, "nobody said anything more");
    for (body, then) in [
        (said(), Next::EndTurn(TurnEnd::Waiting)),
        (ended("t1", TurnEnd::Waiting), Next::StartTurn),
        (turn("t2"), Next::AskModel { with_tools: true }),
        (answered(), Next::EndTurn(TurnEnd::Answered)),
        (ended("t2", TurnEnd::Answered), waits),
        // Cancelling says nothing about a plan of an earlier turn.
        (Body::CancelRequested { by: Subject::parse("ada").unwrap() }, Next::WaitUntil(900_000)),
        (given(), Next::Step(id("p1"), 0)),
        (started(0), Next::Step(id("p1"), 0)),
    ] {
        told.push(body);
        assert_eq!(talk(&told), then, "after event {}", told.len());
    }
    told.push(succeeded(0));
    assert!(matches!(talk(&told), Next::EndPlan(_, PlanEnd::Succeeded, _)));
    told.push(Body::PlanEnded { plan: id("p1"), end: PlanEnd::Succeeded, reason: "r".into() });
    assert_eq!(talk(&told), Next::StartTurn, "the plan's end is still owed");
    told.push(turn("t3"));
    // The cancelled turn is over; this one only tells how the plan ended.
    assert_eq!(talk(&told), Next::AskModel { with_tools: true });
    told.extend([answered(), ended("t3", TurnEnd::Answered)]);
    assert_eq!(talk(&told), Next::Idle, "told once");
}

#[test]
fn a_cancelled_turn_takes_its_waiting_plan_with_it() {
    let workspace = Workspace::parse("shop").unwrap();
    let said = Body::MessageReceived { workspace, origin: Origin::Api, text: "why".into() };
    let ask = decided(Verdict::Ask { approvers: ONE });
    let cancelled = Body::CancelRequested { by: Subject::parse("ada").unwrap() };
    let told = vec![said, Body::TurnStarted { turn: id("t1") }, proposed(1, None), ask, asked(), cancelled];
    let what = next(&story(StreamKind::Conversation, told).0, &at(20_000, true));
    assert!(matches!(what, Next::EndPlan(_, PlanEnd::Refused, _)), "{what:?}");
}

proptest! {
    #[test]
    fn folding_in_two_parts_equals_folding_at_once(order in prop::collection::vec(0usize..10, 0..30), cut in 0usize..30) {
        let ask = decided(Verdict::Ask { approvers: ONE });
        let pool = [
            requested(), proposed(2, Some(goal())), ask, asked(), given(), started(0), succeeded(0), started(1),
            failed(1, true), Body::PlanEnded { plan: id("p1"), end: PlanEnd::Undone, reason: "r".into() },
        ];
        let bodies: Vec<Body> = order.iter().map(|pick| pool[*pick].clone()).collect();
        let (whole, events) = story(StreamKind::Command, bodies);
        let (first, rest) = events.split_at(cut.min(events.len()));
        let mut parts = RunState::fold(whole.stream.clone(), first);
        rest.iter().for_each(|event| parts.apply(event));
        prop_assert_eq!(&parts, &whole);
        // Whatever the story, deciding never panics.
        let _ = next(&whole, &at(1_000, true));
    }
}
