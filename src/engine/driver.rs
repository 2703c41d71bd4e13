//! Does what `turn::next` says and appends what happened, one stream at a time. A restart continues
//! wherever the journal stands. Decides nothing itself.

mod perform;
mod plans;

pub use plans::headline;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use opsward_domain::context::CallContext;
use opsward_domain::event::{Body, NewEvent, StreamKind, StreamName};
use opsward_domain::fault::Fault;
use opsward_ports::journal;
use tokio::sync::Notify;

use crate::facade::Engine;
use crate::parts::{journal_fault, system_context};
use crate::state::RunState;
use crate::turn::{Next, Setting, next};

/// Most things done in one waking; a run that needs more is broken.
const STEPS_PER_WAKING_MAX: usize = 2_000;
/// Tries to record what an effect came to while others append to the same run.
const APPEND_TRIES_MAX: usize = 8;
/// Pauses between tries while something needed is away.
const RETRY_MS: [u64; 4] = [200, 1_000, 5_000, 15_000];

struct Running {
    again: bool,
    cancel: Arc<Notify>,
}

/// The running streams of this process.
#[derive(Clone, Default)]
pub struct Drivers {
    running: Arc<Mutex<HashMap<StreamName, Running>>>,
    engine: Arc<std::sync::OnceLock<std::sync::Weak<Engine>>>,
    /// Text pieces of model replies while they arrive, for display only.
    pub pieces: Pieces,
}

/// Display-only broadcast of reply text.
#[derive(Clone)]
pub struct Pieces(tokio::sync::broadcast::Sender<(StreamName, String)>);

const PIECES_MAX: usize = 1_024;

impl Default for Pieces {
    fn default() -> Self {
        Self(tokio::sync::broadcast::channel(PIECES_MAX).0)
    }
}

impl Pieces {
    /// Follows pieces of every stream; slow readers miss some.
    pub fn follow(&self) -> tokio::sync::broadcast::Receiver<(StreamName, String)> {
        self.0.subscribe()
    }
    pub(crate) fn push(&self, stream: &StreamName, text: &str) {
        // Nobody watching is fine.
        let _ = self.0.send((stream.clone(), text.to_owned()));
    }
}

impl Drivers {
    /// Tells the drivers which engine they work for; called once when it is composed.
    pub fn bind(&self, engine: &Arc<Engine>) {
        let _ = self.engine.set(Arc::downgrade(engine));
    }

    /// Drives `stream` until it waits; if it is being driven, once more after that.
    pub fn wake(&self, stream: &StreamName) {
        let Some(engine) = self.engine.get().and_then(std::sync::Weak::upgrade) else { return };
        if !matches!(stream.kind, StreamKind::Conversation | StreamKind::Incident | StreamKind::Command) {
            return;
        }
        // What cannot be recorded is not begun.
        if engine.read_only().is_some() {
            return;
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(already) = running.get_mut(stream) {
            already.again = true;
            return;
        }
        let cancel = Arc::new(Notify::new());
        running.insert(stream.clone(), Running { again: false, cancel: cancel.clone() });
        drop(running);
        let (drivers, stream) = (self.clone(), stream.clone());
        tokio::spawn(async move {
            loop {
                drive(&engine, &stream, &cancel).await;
                let mut running = drivers.running.lock().unwrap_or_else(PoisonError::into_inner);
                match running.get_mut(&stream) {
                    Some(state) if state.again => state.again = false,
                    _ => {
                        running.remove(&stream);
                        return;
                    }
                }
            }
        });
    }

    /// Interrupts what a stream's driver waits for, unless it is an effect.
    pub fn cancel(&self, stream: &StreamName) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = running.get(stream) {
            state.cancel.notify_waiters();
        }
    }

    /// Streams being driven now.
    pub fn busy(&self) -> usize {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

async fn drive(engine: &Arc<Engine>, stream: &StreamName, cancel: &Arc<Notify>) {
    let mut failures = 0usize;
    // Kept from step to step, so that each one folds only what is new.
    let mut state = RunState::new(stream.clone());
    for _ in 0..STEPS_PER_WAKING_MAX {
        match one(engine, &mut state, cancel).await {
            Ok(true) => failures = 0,
            Ok(false) => return,
            Err(fault) => {
                tracing::warn!(stream = %stream, code = ?fault.code, fault = %fault, "run has to wait");
                let Some(pause) = RETRY_MS.get(failures) else { return give_up(engine, stream, fault).await };
                failures += 1;
                engine.parts.clock.sleep_ms(*pause).await;
            }
        }
    }
    give_up(engine, stream, Fault::internal("the run took too many steps")).await;
}

/// Does one thing. True if there may be more to do.
async fn one(engine: &Arc<Engine>, state: &mut RunState, cancel: &Arc<Notify>) -> Result<bool, Fault> {
    let system = system_context(&state.stream.tenant)?;
    engine.refresh(&system, state).await?;
    let (state, stream) = (&*state, &state.stream);
    let setting = Setting {
        model: engine.parts.model.is_some(),
        now_ms: engine.parts.clock.now_ms(),
        limits: engine.parts.limits,
    };
    let what = next(state, &setting);
    tracing::debug!(stream = %stream, seq = state.stream_seq, next = ?std::mem::discriminant(&what), "next");
    match &what {
        Next::Idle => return Ok(false),
        Next::WaitUntil(at_ms) => {
            let wait = u64::try_from(at_ms.saturating_sub(setting.now_ms)).unwrap_or(0).saturating_add(50);
            let (drivers, stream, clock) = (engine.drivers.clone(), stream.clone(), engine.parts.clock.clone());
            tokio::spawn(async move {
                clock.sleep_ms(wait).await;
                drivers.wake(&stream);
            });
            return Ok(false);
        }
        _ => {}
    }
    let interruptible =
        matches!(what, Next::AskModel { .. } | Next::RunTool(_) | Next::Investigate | Next::AnswerPlainly);
    let doing = engine.perform(state, what);
    let bodies = if interruptible {
        tokio::select! {
            done = doing => done?,
            () = cancel.notified() => return Ok(true),
        }
    } else {
        doing.await?
    };
    append(engine, state, bodies).await?;
    Ok(true)
}

/// Appends what happened where the state stood. Somebody else's append means: read again.
async fn append(engine: &Engine, state: &RunState, bodies: Vec<Body>) -> Result<(), Fault> {
    if bodies.is_empty() {
        return Ok(());
    }
    // The run's own principal signs what it did; if the asker is gone, the service does.
    let cx = match engine.run_context(state) {
        Ok(cx) => cx,
        Err(_) => system_context(&state.stream.tenant)?,
    };
    let effect = bodies.iter().any(is_answer_of_effect);
    let mut expected = state.stream_seq;
    for _ in 0..APPEND_TRIES_MAX {
        match append_once(engine, &cx, state, expected, &bodies).await {
            // What happened to the world must be recorded, whatever else was said meanwhile.
            Err(journal::Error::Conflict { actual, .. }) if effect => expected = actual,
            Ok(_) | Err(journal::Error::Conflict { .. }) => return Ok(()),
            Err(error) => return Err(journal_fault(error)),
        }
    }
    Err(Fault::conflict("the run is being changed by somebody else"))
}

/// The events name the event they follow from as their cause: that tells them from what came from outside.
async fn append_once(
    engine: &Engine,
    cx: &CallContext,
    state: &RunState,
    expected: u64,
    bodies: &[Body],
) -> Result<journal::Appended, journal::Error> {
    let at_ms = engine.parts.clock.now_ms();
    let cause = (state.seq > 0).then_some(state.seq);
    let events = bodies.iter().map(|body| NewEvent { at_ms, cause, body: body.clone() }).collect();
    engine.parts.journal.append(cx, &state.stream, expected, events).await
}

fn is_answer_of_effect(body: &Body) -> bool {
    matches!(
        body,
        Body::StepSucceeded { .. } | Body::StepFailed { .. } | Body::UndoSucceeded { .. } | Body::UndoFailed { .. }
    )
}

/// A run that cannot go on says so and stops; a restart or a new message tries again.
async fn give_up(engine: &Engine, stream: &StreamName, fault: Fault) {
    let attempt = async {
        let system = system_context(&stream.tenant)?;
        let state = engine.run(&system, stream).await?;
        let mut bodies = vec![Body::FaultRaised { fault: fault.clone() }];
        if let Some(plan) = state.open_plan()
            && !plan.touched()
        {
            let reason = fault.to_string();
            let end = opsward_domain::event::PlanEnd::Refused;
            bodies.push(Body::PlanEnded { plan: plan.plan.id.clone(), end, reason });
        }
        if let Some(turn) = state.open_turn()
            && state.open_plan().is_none_or(|plan| !plan.touched())
        {
            let end = opsward_domain::event::TurnEnd::Failed;
            bodies.push(Body::TurnEnded { turn: turn.id.clone(), end });
        }
        engine.append(&system, stream, bodies).await
    };
    if let Err(second) = attempt.await {
        tracing::error!(stream = %stream, fault = %fault, second = %second, "run stopped and could not say so");
    }
}
