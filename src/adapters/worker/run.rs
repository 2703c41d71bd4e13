//! One run on one worker: frames in their strict order, each observation handed to the observer. Anything
//! unexpected is an error, and the worker is killed with its handle.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use opsward_ports::runner::{Error, Observer, Program, Reply};
use opsward_wire::{
    FailKind, FromWorker, HEADER_BYTES, Outcome, RunLimits, STEP_KEY, ToWorker, WireError, decode, encode, payload_len,
};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::process::{Worker, describe};

/// Longest message of a script's failure that is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 400;

/// Runs the program to its value on this worker.
///
/// # Errors
/// As [`opsward_ports::runner::Runner::run`], but for the wall time, which the caller watches.
pub(crate) async fn run(worker: &mut Worker, program: &Program, observer: &dyn Observer) -> Result<Value, Error> {
    let frame = encode(&ToWorker::Run {
        source: program.source.clone(),
        input: program.input.clone(),
        queries: program.queries.clone(),
        steps: program.steps.clone(),
        limits: RunLimits { operations: program.limits.operations, calls: program.limits.calls },
    })
    .map_err(|error| bad_value(format!("the script and its input: {error}")))?;
    let socket = worker.socket.try_clone().and_then(UnixStream::from_std).map_err(|error| jailed(&error.into()))?;
    let mut exchange = Exchange { worker, socket };
    exchange.worker.session.run(program.limits.calls).map_err(|error| jailed(&error))?;
    exchange.send(&frame).await?;
    loop {
        match exchange.receive().await? {
            FromWorker::Call { query, args, .. } => {
                if !program.queries.contains(&query) {
                    return Err(Error::Jailed("it called a query that it was not given".to_owned()));
                }
                let reply = observer.observe(&query, args).await;
                exchange.reply(reply).await?;
            }
            FromWorker::Done { value } if only_given_steps(&value, &program.steps) => return Ok(value),
            FromWorker::Done { .. } => {
                return Err(Error::Jailed("it returned a step that it was not given".to_owned()));
            }
            FromWorker::Fail { kind, message, line } => return Err(failure(kind, &message, line)),
            FromWorker::Ready { .. } => return Err(Error::Jailed("ready is out of order".to_owned())),
        }
    }
}

struct Exchange<'a> {
    worker: &'a mut Worker,
    socket: UnixStream,
}

impl Exchange<'_> {
    async fn send(&mut self, frame: &[u8]) -> Result<(), Error> {
        match self.socket.write_all(frame).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ended().await),
        }
    }

    async fn receive(&mut self) -> Result<FromWorker, Error> {
        let mut header = [0; HEADER_BYTES];
        self.fill(&mut header).await?;
        let mut payload = vec![0; payload_len(header).map_err(|error| jailed(&error))?];
        self.fill(&mut payload).await?;
        let frame = decode(&payload).map_err(|error| jailed(&error))?;
        self.worker.session.accept(&frame).map_err(|error| match error {
            WireError::TooManyCalls { .. } => Error::Limit(error.to_string()),
            _ => jailed(&error),
        })?;
        Ok(frame)
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        match self.socket.read_exact(buffer).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.ended().await),
        }
    }

    async fn reply(&mut self, reply: Reply) -> Result<(), Error> {
        let seq = self.worker.session.reply().map_err(|error| jailed(&error))?;
        let frame = encode(&ToWorker::Reply { seq, outcome: outcome(reply) }).or_else(|_| {
            let message = "the observation is over 1 MiB; ask for less".to_owned();
            encode(&ToWorker::Reply { seq, outcome: Outcome::Denied { code: "too_large".to_owned(), message } })
        });
        self.send(&frame.map_err(|error| jailed(&error))?).await
    }

    /// Why the worker closed its socket.
    async fn ended(&mut self) -> Error {
        match self.worker.exit().await {
            Some(status) if over_processor_limit(status) => Error::Limit("processor time".to_owned()),
            Some(status) => Error::Jailed(describe(status)),
            None => Error::Jailed("it closed its socket before the end".to_owned()),
        }
    }
}

fn over_processor_limit(status: ExitStatus) -> bool {
    status.signal().and_then(Signal::from_named_raw) == Some(Signal::XCPU)
}

fn outcome(reply: Reply) -> Outcome {
    match reply {
        Reply::Value(value) => Outcome::Value(value),
        Reply::Refused { code, message } => Outcome::Denied { code, message },
    }
}

fn failure(kind: FailKind, message: &str, line: Option<u32>) -> Error {
    // The worker bounds its messages too, but it is the worker who says so.
    let message: String = message.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE_CHARS).collect();
    let kind = match kind {
        FailKind::Limit => return Error::Limit(message),
        FailKind::Syntax => "syntax",
        FailKind::Runtime => "runtime",
        FailKind::RefusedSource => "refused_source",
        FailKind::BadValue => "bad_value",
    };
    Error::Script { kind: kind.to_owned(), message, line }
}

/// An error of the caller's values, found before or without a worker.
pub(crate) fn bad_value(message: String) -> Error {
    Error::Script { kind: "bad_value".to_owned(), message, line: None }
}

fn jailed(error: &WireError) -> Error {
    Error::Jailed(error.to_string())
}

/// Whether every step in the value is one that the run was given.
fn only_given_steps(value: &Value, steps: &[String]) -> bool {
    match value {
        Value::Array(items) => items.iter().all(|item| only_given_steps(item, steps)),
        Value::Object(fields) => fields.iter().all(|(key, field)| match (key.as_str(), field) {
            (STEP_KEY, Value::String(name)) => steps.contains(name),
            (STEP_KEY, _) => false,
            _ => only_given_steps(field, steps),
        }),
        _ => true,
    }
}
