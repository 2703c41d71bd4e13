//! Conversations over memory twins: a model's proposals, messages while a plan waits, what observe-only
//! withholds, and one short talk with an endpoint over real HTTP.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use opsward::app::Replayer;
use opsward_domain::context::Origin;
use opsward_domain::event::{Body, StreamKind, StreamName, TurnEnd, Usage};
use opsward_domain::name::Id;
use opsward_engine::facade::{Engine, stream};
use opsward_engine::score::Verdict;
use opsward_engine::state::{Exchange, RunState};
use opsward_ports::model::scripted::ScriptedModel;
use opsward_ports::model::{Call, Message, Model, Reply, Request};
use opsward_surface::view;
use opsward_worker::{Options, Pool};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::binary;
use crate::tidy::root;
use crate::world::{World, action, cx, furnish, shop, system};

fn says(text: &str) -> Reply {
    Reply { text: text.to_owned(), calls: Vec::new(), usage: Usage::default() }
}

fn calls(name: &str, arguments: Value) -> Reply {
    let call = Call { id: String::new(), name: name.to_owned(), arguments: Ok(arguments) };
    Reply { text: String::new(), calls: vec![call], usage: Usage::default() }
}

async fn world(model: impl Model + 'static) -> World {
    let pool = Pool::start(Options::new(binary())).await.unwrap();
    let mut world = World::new();
    world.model = Some(Arc::new(model));
    world.runner = Some(Arc::new(pool));
    world
}

async fn say(engine: &Engine, conversation: Option<Id>, text: &str) -> StreamName {
    let olga = cx(engine, "olga", Origin::Api);
    let (id, _) = engine.say(&olga, &shop(), conversation, text).await.unwrap();
    stream(&olga, StreamKind::Conversation, &id)
}

async fn until(engine: &Engine, stream: &StreamName, status: &str) -> RunState {
    let there = |state: &RunState| view::status(state) == status;
    let state = engine.settle(&system(), stream, 20_000, there).await.unwrap();
    assert_eq!(view::status(&state), status, "{:?} {:?}", state.fault, state.exchanges.last());
    state
}

/// Proposes to scale, answers questions, tells how a plan ended.
fn careful() -> ScriptedModel {
    ScriptedModel::by(|request: &Request, _| {
        Ok(match request.messages.last() {
            Some(Message::User { text }) if text.contains("scale") => {
                calls("scale_workload", json!({"workload": "web", "replicas": 4}))
            }
            Some(Message::User { text }) if text.contains("also") => {
                calls("restart_workload", json!({"workload": "web"}))
            }
            Some(Message::User { text }) if text.starts_with("[opsward: plan p1 ended") => says("It is done."),
            Some(Message::Tool { text, .. }) if text.contains("still waits") => says("One plan at a time."),
            _ => says("Two replicas."),
        })
    })
}

fn answers(state: &RunState) -> Vec<&str> {
    fn text(exchange: &Exchange) -> Option<&str> {
        match exchange {
            Exchange::Answered { text } => Some(text.text.as_str()),
            _ => None,
        }
    }
    state.exchanges.iter().filter_map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_sent_while_a_plan_waits_is_answered_at_once() {
    let world = world(careful()).await;
    let engine = world.peopled().await;
    furnish(&engine).await;
    let run = say(&engine, None, "please scale web").await;
    let waiting = until(&engine, &run, "awaiting_approval").await;
    let plan = waiting.plans[0].clone();
    say(&engine, Some(run.id.clone()), "how many are there now?").await;
    let state = engine.settle(&system(), &run, 20_000, |state| !answers(state).is_empty()).await.unwrap();
    assert_eq!(answers(&state), ["Two replicas."]);
    say(&engine, Some(run.id.clone()), "also restart it").await;
    let state = engine.settle(&system(), &run, 20_000, |state| answers(state).len() == 2).await.unwrap();
    assert_eq!(answers(&state)[1], "One plan at a time.", "a second plan is refused, and the model is told");
    let state = until(&engine, &run, "awaiting_approval").await;
    assert_eq!(state.plans, [plan], "the waiting plan stays as it is");
    let id = state.plans[0].approval.as_ref().unwrap().request.id.clone();
    engine.approve(&cx(&engine, "olga", Origin::Api), &id).await.unwrap();
    let state = until(&engine, &run, "answered").await;
    assert_eq!(answers(&state).last(), Some(&"It is done."), "the plan's end is told once it is there");
    assert_eq!(state.turn.as_ref().unwrap().end, Some(TurnEnd::Answered));
    let transcript = opsward_engine::transcript::record(world.journal.as_ref(), &run).await.unwrap();
    let played = Replayer::start(binary()).await.unwrap().play(&transcript).await.unwrap();
    assert!(played.differences.is_empty(), "{}", played.differences[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_kept_equals_a_fresh_fold() {
    let world = world(careful()).await;
    let engine = world.peopled().await;
    furnish(&engine).await;
    let run = say(&engine, None, "please scale web").await;
    let mut kept = RunState::new(run.clone());
    let mut head = engine.head();
    let until_waiting = Instant::now() + Duration::from_secs(20);
    let mut folds = 0;
    while view::status(&kept) != "awaiting_approval" {
        assert!(Instant::now() < until_waiting, "it never waited");
        engine.refresh(&system(), &mut kept).await.unwrap();
        let fresh = engine.run(&system(), &run).await.unwrap();
        // The run may have gone on between the two reads.
        if fresh.stream_seq == kept.stream_seq {
            assert_eq!(kept, fresh);
            folds += 1;
        }
        let _ = tokio::time::timeout(Duration::from_millis(20), head.changed()).await;
    }
    engine.refresh(&system(), &mut kept).await.unwrap();
    assert_eq!(kept, engine.run(&system(), &run).await.unwrap());
    assert!(folds > 0, "nothing was compared");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_observe_only_withheld_is_scored_against_what_people_ask_for() {
    let mut world = world(careful()).await;
    furnish(&world.peopled().await).await;
    world.observe_only = true;
    let (engine, _) = world.process(crate::world::APPENDS_FOR_EVER).await;
    let run = say(&engine, None, "please scale web").await;
    let state = until(&engine, &run, "answered").await;
    assert!(state.plans[0].withheld);
    let olga = cx(&engine, "olga", Origin::Cli);
    assert_eq!(engine.scores(&olga, 0).await.unwrap()[0].verdict, Verdict::Open);
    let other = action(json!({"kind": "scale_workload", "workload": "web", "replicas": 3}));
    let same = action(json!({"kind": "scale_workload", "workload": "web", "replicas": 4}));
    for (typed, verdict) in [(other, Verdict::Differed), (same, Verdict::Agreed)] {
        let typed = engine.act(&olga, &shop(), typed, "by hand").await.unwrap();
        let state = engine.settle(&system(), &typed, 10_000, view::settled).await.unwrap();
        assert_eq!(view::status(&state), "withheld");
        let scores = engine.scores(&olga, 0).await.unwrap();
        assert_eq!((scores.len(), scores[0].verdict), (1, verdict), "{}", scores[0].sentence());
    }
    let far = engine.parts.clock.now_ms() + 1_000;
    assert!(engine.scores(&olga, far).await.unwrap().is_empty(), "only since then");
}

/// The endpoint whose answers come from files, or `None` where it is not there and nobody insists.
struct FileModel {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Drop for FileModel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<PathBuf> {
    let shared = std::env::var_os("OPSWARD_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let path = shared.join("bin/file-llm");
    if path.exists() {
        return Some(path);
    }
    let insists = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!insists, "{} is missing: set OPSWARD_SHARED to the folder that has bin/file-llm", path.display());
    let _ = writeln!(std::io::stderr(), "left out: {} is missing, so no live endpoint was talked to", path.display());
    None
}

impl FileModel {
    fn start(program: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = TempDir::new().unwrap();
        let child = Command::new("python3")
            .arg(program)
            .args(["serve", "--port", &port.to_string(), "--timeout", "60", "--dir"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let model = Self { child, dir, port };
        model.wait("the endpoint", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        model
    }

    fn wait<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(Instant::now() < until, "{what} never came");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Reads request `number` and answers it.
    fn answer(&self, number: u32, reply: &Value) -> Value {
        let path = |kind: &str| self.dir.path().join(format!("{number:05}.{kind}.json"));
        let text = self.wait("a request", || std::fs::read_to_string(path("request")).ok());
        std::fs::write(path("part"), reply.to_string()).unwrap();
        std::fs::rename(path("part"), path("reply")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_talk_over_http_is_answered_with_citations_and_played_again() {
    let Some(program) = program() else { return };
    let endpoint = Arc::new(FileModel::start(&program));
    let options = opsward_openai::Options::new(format!("http://127.0.0.1:{}/v1", endpoint.port), "file-llm");
    let model = opsward_openai::OpenAiModel::new(options).unwrap();
    let world = world(model).await;
    let engine = world.peopled().await;
    furnish(&engine).await;
    let player = {
        let endpoint = endpoint.clone();
        tokio::task::spawn_blocking(move || {
            let first =
                endpoint.answer(1, &json!({"tool_calls": [{"name": "show_state", "arguments": {}}]})).to_string();
            let second = endpoint.answer(2, &json!({"content": "web runs 1.1 on two replicas [e1].\nThat is all."}));
            (first, second.to_string())
        })
    };
    let run = say(&engine, None, "what runs here?").await;
    let (first, second) = player.await.unwrap();
    assert!(first.contains("what runs here?") && first.contains("scale_workload"), "the question and the tools");
    assert!(second.contains("[e1]") && second.contains("version 1.1"), "the result with its evidence id: {second}");
    let state = until(&engine, &run, "answered").await;
    assert_eq!(answers(&state), ["web runs 1.1 on two replicas [e1].\nThat is all."]);
    let transcript = opsward_engine::transcript::record(world.journal.as_ref(), &run).await.unwrap();
    let claims = transcript.events.iter().find_map(|event| match event.body.as_ref() {
        Some(Body::AnswerGiven { claims, .. }) => Some(claims.clone()),
        _ => None,
    });
    let cited: Vec<usize> = claims.unwrap().iter().map(|claim| claim.evidence.len()).collect();
    assert_eq!(cited, [1, 0], "one sentence is proven, the other is an opinion");
    let played = Replayer::start(binary()).await.unwrap().play(&transcript).await.unwrap();
    assert!(played.differences.is_empty(), "{}", played.differences[0]);
}
