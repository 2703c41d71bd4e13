//! "The same provider layer" means: through every door the same action gives the same decision, the same
//! plan digest and the same audit record. And what the gate never lets through.

mod leaving;

use std::sync::Arc;

use opsward_domain::action::ActionKind;
use opsward_domain::context::Origin;
use opsward_domain::decision::Verdict;
use opsward_domain::event::{Body, StreamKind, StreamName, Usage};
use opsward_domain::label::{Integrity, Label, Source};
use opsward_domain::name::{Id, Workload};
use opsward_engine::facade::Engine;
use opsward_engine::planner::Planner;
use opsward_engine::state::{Exchange, RunState};
use opsward_ports::model::scripted::ScriptedModel;
use opsward_ports::model::{Call, Message, Reply};
use opsward_surface::http::{Shared, router};
use opsward_surface::view;
use serde_json::{Value, json};

use crate::support;
use crate::world::{
    World, action, cx, done, every_action, furnish, must, obedient, shop, steps, subject, system, tenant,
};

/// The ways in. Each goes through what a user of it goes through.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Door {
    Rest,
    Terminal,
    Schedule,
    Alert,
    Agent,
}

const DOORS: [Door; 5] = [Door::Rest, Door::Terminal, Door::Schedule, Door::Alert, Door::Agent];

/// A model that proposes the action it is told, with the one tool there is.
fn obeying() -> ScriptedModel {
    ScriptedModel::by(|request, _| {
        let (text, calls) = match request.messages.last() {
            Some(Message::User { text }) if text.starts_with('{') => {
                let value = steps(&serde_json::from_str(text).unwrap());
                let call = Call { id: "1".into(), name: "obey".into(), arguments: Ok(json!({"value": value})) };
                (String::new(), vec![call])
            }
            _ => ("done".to_owned(), Vec::new()),
        };
        Ok(Reply { text, calls, usage: Usage::default() })
    })
}

/// A world behind a real listener, with somebody's token.
struct House {
    world: World,
    engine: Arc<Engine>,
    address: String,
    token: String,
    asker: &'static str,
}

impl House {
    async fn open(asker: &'static str) -> Self {
        let mut world = World::new();
        world.toolbox = obedient();
        world.model = Some(Arc::new(obeying()));
        let engine = world.peopled().await;
        furnish(&engine).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let shared = Shared::new(engine.clone(), vec![host.clone()]);
        tokio::spawn(async move { axum::serve(listener, router(shared)).await.unwrap() });
        let owner = cx(&engine, "owner", Origin::Api);
        let token = engine
            .setup
            .people
            .issue(&owner, &subject(asker), None, opsward_engine::people::Purpose::Session)
            .await
            .unwrap();
        Self { world, engine, address: format!("http://{host}"), token, asker }
    }

    fn terminal(&self) -> opsward_surface::cli::Client {
        opsward_surface::cli::Client::new(&self.address, Some(self.token.clone()), true).unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/api/v1{path}", self.address);
        let answer = support::http().post(url).bearer_auth(&self.token).json(body).send().await.unwrap();
        answer.json().await.unwrap()
    }

    fn stream(&self, kind: StreamKind, answer: &Value, key: &str) -> StreamName {
        let id = answer[key].as_str().unwrap_or_else(|| panic!("{answer}"));
        StreamName { tenant: tenant(), kind, id: Id::parse(id).unwrap() }
    }

    /// Asks for `action` through `door`; the run that carries it.
    async fn ask(&self, door: Door, action: &Value) -> StreamName {
        let body = json!({"action": action, "reason": ""});
        match door {
            Door::Rest => self.stream(StreamKind::Command, &self.post("/workspaces/shop/actions", &body).await, "run"),
            Door::Terminal => {
                let run = self.terminal().post("/workspaces/shop/actions", &body).await.unwrap();
                self.stream(StreamKind::Command, &run, "run")
            }
            Door::Schedule => self.ask_by_schedule(action).await,
            Door::Alert => self.ask_by_alert(action).await,
            Door::Agent => {
                let said = self.post("/workspaces/shop/messages", &json!({"text": action.to_string()})).await;
                self.stream(StreamKind::Conversation, &said, "conversation")
            }
        }
    }

    async fn ask_by_schedule(&self, action: &Value) -> StreamName {
        let name = action["kind"].as_str().unwrap().replace('_', "-");
        let body = json!({"name": name, "every_minutes": 1, "action": action});
        let made = self.post("/workspaces/shop/schedules", &body).await;
        assert_eq!(made["owner"], self.asker, "{made}");
        self.world.shift.shift_ms(60_000);
        self.engine.tend_schedules().await.unwrap();
        let list = self.terminal().get("/workspaces/shop/schedules").await.unwrap();
        let fired = list.as_array().unwrap().iter().find(|line| line["name"] == name.as_str()).unwrap();
        self.terminal().delete(&format!("/workspaces/shop/schedules/{name}")).await.unwrap();
        self.stream(StreamKind::Command, &fired["last"], "run")
    }

    /// An incident whose diagnosis, as recorded, has the action as its best remedy.
    async fn ask_by_alert(&self, action: &Value) -> StreamName {
        let cx = cx(&self.engine, self.asker, Origin::Alert);
        let id = self.engine.parts.entropy.id("i");
        let stream = StreamName { tenant: tenant(), kind: StreamKind::Incident, id };
        let alert = json!({
            "fingerprint": "f", "name": "Reported", "workspace": "shop", "workload": null,
            "condition": {"signal": "reported"}, "severity": "critical", "started_at_ms": 0, "labels": {},
            "text": {"text": "", "label": {"integrity": "operator", "sources": []}},
        });
        let hypothesis = json!({
            "id": "h1", "kind": "overload", "workload": "web", "change": null, "confidence": 0.9,
            "because": [], "despite": [], "remedies": [action],
        });
        let diagnosis = json!({
            "workspace": "shop", "verdict": "incident", "onset_ms": null, "hypotheses": [hypothesis],
            "ruled_out": [], "affected": [], "blind_spots": [],
        });
        let bodies = vec![
            Body::IncidentOpened { alert: serde_json::from_value(alert).unwrap(), title: "reported".into() },
            Body::TurnStarted { turn: Id::parse("t1").unwrap() },
            Body::Diagnosed { diagnosis: serde_json::from_value(diagnosis).unwrap(), took_ms: 0 },
        ];
        self.engine.append(&cx, &stream, bodies).await.unwrap();
        self.engine.drivers.wake(&stream);
        stream
    }

    /// The lines of the record that are about the plan, without what names the run.
    async fn record(&self, stream: &StreamName) -> Vec<String> {
        let about = ["plan ", "gate: ", "approval ", "step ", "taking back", "fault: "];
        let trail = self.engine.trail(&system(), stream).await.unwrap();
        let lines = trail.into_iter().map(|line| line.what);
        let told = |line: &String| about.iter().any(|word| line.starts_with(word)) || line.ends_with(" said yes");
        let plain = |line: String| {
            let line = line.split(", influenced by ").next().unwrap_or_default().to_owned();
            match line.strip_prefix("approval ok") {
                Some(rest) => format!("approval ID{}", rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric())),
                None => line,
            }
        };
        lines.filter(told).map(plain).collect()
    }
}

fn waits(state: &RunState) -> bool {
    view::status(state) == "awaiting_approval" || state.plans.last().is_some_and(|plan| plan.end.is_some())
}

fn refused(state: &RunState) -> bool {
    let failed =
        |exchange: &Exchange| matches!(exchange, Exchange::Returned { output, .. } if output.text.contains("\"code\""));
    waits(state) || state.fault.is_some() || state.exchanges.iter().any(failed)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_gives_the_same_decision_digest_and_record() {
    let house = House::open("owner").await;
    assert_eq!(every_action().len(), ActionKind::ALL.len(), "an action has no example");
    for value in every_action() {
        let kind = value["kind"].as_str().unwrap();
        let mut seen: Vec<(String, Value, Vec<String>)> = Vec::new();
        for door in DOORS {
            let stream = house.ask(door, &value).await;
            let state = house.engine.settle(&system(), &stream, 10_000, refused).await.unwrap();
            assert_eq!(house.engine.run_context(&state).unwrap().origin, origin(door), "{kind} {door:?}");
            let Some(plan) = state.plans.last() else {
                // A workspace that exists cannot be made again, whichever the door.
                assert_eq!(kind, "create_workspace", "{door:?}: {:?}", state.fault);
                continue;
            };
            let decision = json!([plan.decision, plan.decisions, plan.policy_set]);
            seen.push((plan.digest.clone(), decision, house.record(&stream).await));
        }
        assert!(seen.len() == DOORS.len() || kind == "create_workspace", "{kind}");
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{kind}: {seen:#?}");
    }
}

fn origin(door: Door) -> Origin {
    match door {
        Door::Rest => Origin::Api,
        Door::Terminal => Origin::Cli,
        Door::Schedule => Origin::Schedule,
        Door::Alert => Origin::Alert,
        Door::Agent => Origin::Agent,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_leaves_the_same_record_through_every_door_from_proposal_to_end() {
    let mut records = Vec::new();
    for door in DOORS {
        let house = House::open("olga").await;
        let scale = json!({"kind": "scale_workload", "workload": "web", "replicas": 4});
        let stream = house.ask(door, &scale).await;
        let state = house.engine.settle(&system(), &stream, 10_000, waits).await.unwrap();
        let id = state.plans[0].approval.as_ref().unwrap().request.id.clone();
        house.engine.approve(&cx(&house.engine, "olga", Origin::Api), &id).await.unwrap();
        let ended = |state: &RunState| state.plans.last().is_some_and(|plan| plan.end.is_some());
        house.engine.settle(&system(), &stream, 10_000, ended).await.unwrap();
        let record = house.record(&stream).await;
        assert!(record.iter().any(|line| line.contains("step 0 applied")), "{door:?}: {record:?}");
        records.push((door, record));
    }
    for (door, record) in &records {
        assert_eq!(*record, records[0].1, "{door:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_can_claim_to_be_a_schedule() {
    let house = House::open("owner").await;
    let url = format!("{}/api/v1/workspaces/shop/actions", house.address);
    for (claim, origin) in [("schedule", Origin::Api), ("alert", Origin::Api), ("cli", Origin::Cli)] {
        let body = json!({"action": {"kind": "restart_workload", "workload": "web"}});
        let asking = support::http().post(&url).bearer_auth(&house.token).header("x-opsward-door", claim);
        let run: Value = asking.json(&body).send().await.unwrap().json().await.unwrap();
        let stream = house.stream(StreamKind::Command, &run, "run");
        assert_eq!(house.engine.run(&system(), &stream).await.unwrap().origin, origin, "{claim}");
    }
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
