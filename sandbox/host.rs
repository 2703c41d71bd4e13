//! What the host offers a script: observations over the socket and step constructors. Nothing else is
//! reachable from a script, and nothing here has an effect.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::rc::Rc;

use opsward_wire::{
    ExitReason, FailKind, FromWorker, Outcome, RunLimits, ToWorker, WireError, read_frame, write_frame,
};
use rhai::{Dynamic, Engine, EvalAltResult, Map, Position};
use serde_json::Value;

use crate::exit::leave;
use crate::value::{Step, arguments_to_json, to_dynamic};

/// Ceiling of calls in one run, whatever the broker allows.
const MAX_CALLS: u32 = 1_000;

/// Denied calls after which the run ends: a script that goes on asking is looking for a gap.
const MAX_DENIALS: u32 = 20;

/// The worker's end of the socket. Never closed by the worker: the filter refuses that too.
pub(crate) struct Channel {
    socket: &'static File,
}

impl Channel {
    /// Takes the socket for the life of the process.
    pub(crate) fn new(socket: File) -> Self {
        Self { socket: Box::leak(Box::new(socket)) }
    }

    /// Next frame of the broker; leaves when there is none or it is not a frame.
    pub(crate) fn receive(&mut self) -> ToWorker {
        match read_frame(&mut &*self.socket) {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(WireError::Socket(_) | WireError::Truncated) => leave(ExitReason::BrokerGone),
            Err(_) => leave(ExitReason::Protocol),
        }
    }

    /// Sends a frame; leaves when the broker is gone.
    ///
    /// # Errors
    /// [`WireError::Oversized`] or [`WireError::Malformed`]: nothing was sent then.
    pub(crate) fn send(&mut self, frame: &FromWorker) -> Result<(), WireError> {
        match write_frame(&mut &*self.socket, frame) {
            Err(WireError::Socket(_)) => leave(ExitReason::BrokerGone),
            other => other,
        }
    }
}

/// State of the one run of this process.
pub(crate) struct Host {
    channel: RefCell<Channel>,
    limits: RunLimits,
    calls: Cell<u32>,
    denials: Cell<u32>,
    last_denial: RefCell<Option<String>>,
    ended: RefCell<Option<(FailKind, String)>>,
}

impl Host {
    /// A run over this channel, within the smaller of these limits and the worker's own.
    pub(crate) fn new(channel: Channel, limits: RunLimits) -> Rc<Self> {
        let limits = RunLimits {
            operations: limits.operations.clamp(1, crate::engine::MAX_OPERATIONS),
            calls: limits.calls.min(MAX_CALLS),
        };
        Rc::new(Self {
            channel: RefCell::new(channel),
            limits,
            calls: Cell::new(0),
            denials: Cell::new(0),
            last_denial: RefCell::new(None),
            ended: RefCell::new(None),
        })
    }

    /// The limits in force.
    pub(crate) fn limits(&self) -> RunLimits {
        self.limits
    }

    /// Ends the run; the first reason stands. No script can catch it.
    pub(crate) fn end(&self, kind: FailKind, message: impl Into<String>) {
        self.ended.borrow_mut().get_or_insert_with(|| (kind, message.into()));
    }

    /// Whether the run is to end.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// The reason given to [`Host::end`].
    pub(crate) fn end_reason(&self) -> Option<(FailKind, String)> {
        self.ended.borrow().clone()
    }

    /// What was denied last. A script that took the denial for its answer fails in a way that only this explains.
    pub(crate) fn last_denial(&self) -> Option<String> {
        self.last_denial.borrow().clone()
    }

    /// Sends a frame of the run.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub(crate) fn send(&self, frame: &FromWorker) -> Result<(), WireError> {
        self.channel.borrow_mut().send(frame)
    }

    fn call(&self, query: &str, args: serde_json::Map<String, Value>) -> HostResult {
        if self.calls.get() == self.limits.calls {
            return Err(self.terminated(FailKind::Limit, format!("more than {} calls in one run", self.limits.calls)));
        }
        self.calls.set(self.calls.get() + 1);
        let seq = u64::from(self.calls.get());
        let frame = FromWorker::Call { seq, query: query.to_owned(), args: Value::Object(args) };
        if let Err(error) = self.send(&frame) {
            return Err(self.terminated(FailKind::BadValue, error.to_string()));
        }
        let ToWorker::Reply { seq: answered, outcome } = self.channel.borrow_mut().receive() else {
            leave(ExitReason::Protocol)
        };
        if answered != seq {
            leave(ExitReason::Protocol);
        }
        match outcome {
            Outcome::Value(value) => Ok(to_dynamic(value)),
            Outcome::Denied { code, message } => self.denied(query, code, message),
        }
    }

    fn denied(&self, query: &str, code: String, message: String) -> HostResult {
        *self.last_denial.borrow_mut() = Some(format!("`{query}` was denied: {message}"));
        self.denials.set(self.denials.get() + 1);
        if self.denials.get() >= MAX_DENIALS {
            return Err(self.terminated(FailKind::Limit, format!("{} calls were denied", self.denials.get())));
        }
        let answer = Map::from([("denied".into(), code.into()), ("message".into(), message.into())]);
        Ok(Dynamic::from_map(answer))
    }

    fn arguments(&self, name: &str, args: &Map) -> Result<serde_json::Map<String, Value>, Box<EvalAltResult>> {
        arguments_to_json(args)
            .map_err(|fault| self.terminated(FailKind::BadValue, format!("argument of `{name}`: {fault}")))
    }

    /// Ends the run, as an error that no script can catch.
    fn terminated(&self, kind: FailKind, message: impl Into<String>) -> Box<EvalAltResult> {
        self.end(kind, message);
        EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into()
    }
}

type HostResult = Result<Dynamic, Box<EvalAltResult>>;

/// Makes an observation callable.
pub(crate) fn register_query(engine: &mut Engine, host: &Rc<Host>, name: &str) {
    register(engine, host, name, Host::call);
}

/// Makes a step constructor callable.
pub(crate) fn register_step(engine: &mut Engine, host: &Rc<Host>, name: &str) {
    register(engine, host, name, |_, name, args| Ok(Dynamic::from(Step { name: name.to_owned(), args })));
}

/// What a host function does with its name and arguments.
type Action = fn(&Host, &str, serde_json::Map<String, Value>) -> HostResult;

/// Registers a function of one map or of nothing.
fn register(engine: &mut Engine, host: &Rc<Host>, name: &str, action: Action) {
    let call = {
        let (host, name) = (Rc::clone(host), name.to_owned());
        move |args: Map| -> HostResult { action(&host, &name, host.arguments(&name, &args)?) }
    };
    engine.register_fn(name, call.clone());
    engine.register_fn(name, move || call(Map::new()));
}
