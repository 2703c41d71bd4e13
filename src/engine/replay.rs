//! Plays a recorded run again: the same decisions (`turn::next`), the same doing (the driver's), the real gate,
//! planner and executor, with ports that answer from the recording. Compares every event the engine makes
//! with the recorded one. Never touches the world.

mod difference;
mod recorded;

use std::collections::BTreeMap;
use std::sync::Arc;

use opsward_domain::event::{Body, Event, NewEvent, StreamKind, StreamName};
use opsward_domain::fault::Fault;
use opsward_domain::name::Id;
use opsward_domain::seal::GateSeal;
use opsward_ports::disk::MemoryDisk;
use opsward_ports::journal::Journal;
use opsward_ports::journal::memory::MemoryJournal;
use opsward_ports::kits::MemoryKits;
use opsward_ports::logs::memory::MemoryLogs;
use opsward_ports::policy::Policy;
use opsward_ports::runner::Runner;
use opsward_ports::series::memory::MemorySeries;
use opsward_ports::telemetry::memory::MemoryTelemetry;

use crate::changes::Changes;
use crate::facade::Engine;
use crate::incidents::Lifecycles;
use crate::keeping::Retention;
use crate::parts::{Limits, Parts, journal_fault, system_context};
use crate::start::Options;
use crate::state::RunState;
use crate::toolbox::Toolbox;
use crate::transcript::Transcript;
use crate::turn::{Next, Setting, next};

pub use difference::Difference;
use recorded::{Recorded, RecordedModel, RecordedPolicy, RecordedRunner};

/// Most differences told of one run.
const DIFFERENCES_MAX: usize = 20;

/// What a replay uses besides the recording: what is under test.
pub struct Stage {
    /// The gate's seal.
    pub seal: GateSeal,
    /// Decides again what was decided.
    pub policy: Arc<dyn Policy>,
    /// Runs the tools' handlers again.
    pub runner: Arc<dyn Runner>,
    /// Tools.
    pub toolbox: Toolbox,
    /// Prompts by name.
    pub prompts: BTreeMap<String, String>,
}

/// What a replay came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// Events of the recording that the engine made again.
    pub made: usize,
    /// Events of the recording that came from outside.
    pub given: usize,
    /// Where the two differ, first difference first; empty means they are the same.
    pub differences: Vec<Difference>,
    /// The events as they would be recorded now.
    pub events: Vec<Event>,
}

/// Plays `transcript` again.
pub async fn replay(transcript: &Transcript, stage: Stage) -> Result<Replayed, Fault> {
    let recorded = Arc::new(Recorded::new(transcript));
    let engine = engine(transcript, stage, &recorded).await?;
    let mut state = RunState::new(transcript.stream.clone());
    let mut played = Replayed { made: 0, given: 0, differences: Vec::new(), events: Vec::new() };
    let mut rest = transcript.events.as_slice();
    while let Some(event) = rest.first() {
        // The driver names what its events follow from; an event without a cause came from outside.
        if event.cause.is_none() {
            take(&mut state, &recorded, &mut rest, 1);
            played.given += 1;
            played.events.push(event.clone());
            continue;
        }
        let group: Vec<&Event> = rest.iter().take_while(|next| next.cause == event.cause).collect();
        recorded.stand_before(&group);
        let (what, bodies) = step(&engine, &recorded, &state, event.at_ms).await;
        let told = difference::compare(&state, &what, &group, &bodies);
        let count = group.len();
        played.made += count;
        let same_length = bodies.as_ref().is_ok_and(|bodies| bodies.len() == count);
        for (at, event) in group.iter().enumerate() {
            let mut event = (*event).clone();
            if same_length && told.is_some() {
                event.body = bodies.as_ref().ok().and_then(|bodies| bodies.get(at)).cloned();
            }
            played.events.push(event);
        }
        played.differences.extend(told);
        // A run that went another way says nothing about what would have come after.
        if !same_length || played.differences.len() >= DIFFERENCES_MAX {
            return Ok(played);
        }
        take(&mut state, &recorded, &mut rest, count);
    }
    let goes_on = next(&state, &setting(&engine, state.last_at_ms));
    if !matches!(goes_on, Next::Idle | Next::WaitUntil(_)) && played.differences.is_empty() {
        played.differences.push(difference::goes_on(&state, &goes_on));
    }
    Ok(played)
}

/// What comes next, and what doing it comes to. The driver acts right after the last event, or, where it had
/// to wait, when the recorded event came.
async fn step(engine: &Engine, recorded: &Recorded, state: &RunState, at_ms: i64) -> (Next, Result<Vec<Body>, Fault>) {
    recorded.set_clock(state.last_at_ms);
    let mut what = next(state, &setting(engine, state.last_at_ms));
    if matches!(what, Next::Idle | Next::WaitUntil(_)) {
        recorded.set_clock(at_ms);
        what = next(state, &setting(engine, at_ms));
    }
    recorded.set_request_clock();
    let done = engine.perform(state, what.clone()).await;
    (what, done)
}

fn setting(engine: &Engine, now_ms: i64) -> Setting {
    Setting { model: engine.parts.model.is_some(), now_ms, limits: engine.parts.limits }
}

fn take(state: &mut RunState, recorded: &Recorded, rest: &mut &[Event], count: usize) {
    let (now, later) = rest.split_at(count.min(rest.len()));
    for event in now {
        state.apply(event);
        recorded.pass(event);
    }
    *rest = later;
}

/// An engine whose ports answer from the recording.
async fn engine(transcript: &Transcript, stage: Stage, recorded: &Arc<Recorded>) -> Result<Arc<Engine>, Fault> {
    let journal = Arc::new(MemoryJournal::default());
    let system = system_context(&transcript.stream.tenant)?;
    let people =
        StreamName { tenant: transcript.stream.tenant.clone(), kind: StreamKind::People, id: Id::parse("all")? };
    let rights = transcript.rights.iter().map(|body| NewEvent { at_ms: 0, cause: None, body: body.clone() }).collect();
    journal.append(&system, &people, 0, rights).await.map_err(journal_fault)?;
    for text in transcript.kept.values() {
        journal.put_blob(&system, text.as_bytes()).await.map_err(journal_fault)?;
    }
    let spoke = |event: &Event| matches!(event.body, Some(Body::ModelReplied { .. } | Body::ModelFailed { .. }));
    let model = transcript.events.iter().any(spoke).then(|| Arc::new(RecordedModel(recorded.clone())) as _);
    let parts = Parts {
        journal,
        provider: recorded.clone(),
        kits: Arc::new(MemoryKits),
        telemetry: Arc::new(MemoryTelemetry::default()),
        logs: Arc::new(MemoryLogs::new()),
        series: Arc::new(MemorySeries::new()),
        policy: Arc::new(RecordedPolicy { tested: stage.policy, recorded: recorded.clone() }),
        runner: Arc::new(RecordedRunner { runner: stage.runner, recorded: recorded.clone() }),
        model,
        disk: Arc::new(MemoryDisk::default()),
        clock: recorded.clock(),
        entropy: recorded.clone(),
        limits: Limits::default(),
    };
    let off = recorded.clone();
    let options = Options {
        seal: stage.seal,
        toolbox: stage.toolbox,
        prompts: stage.prompts,
        observe_only: false,
        retention: Retention { logs_ms: i64::MAX, metrics_ms: i64::MAX },
        outside_switch: Arc::new(move || off.switched_off()),
    };
    let nothing = (Arc::new(Changes::default()), Arc::new(Lifecycles::default()));
    Engine::assemble(parts, options, recorded.clone(), nothing).await
}
