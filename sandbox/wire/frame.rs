//! The frames themselves. Plain data; no frame ever carries a path, a pointer or a secret of the broker.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bounds of one run. The worker takes the smaller of each and its own ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunLimits {
    /// Interpreter operations.
    pub operations: u64,
    /// Calls to the broker.
    pub calls: u32,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self { operations: 1_000_000, calls: 64 }
    }
}

/// What the broker sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToWorker {
    /// Evaluate a script. Sent once, after [`FromWorker::Ready`].
    Run {
        /// The script.
        source: String,
        /// Value of the constant `input`; an object.
        input: Value,
        /// Observations it may ask for, each a function of one map or of nothing. Names start with a lower
        /// case letter and have up to 64 of these, digits and `_`; no name twice, steps included.
        queries: Vec<String>,
        /// Step constructors it may use, named and called as the observations.
        steps: Vec<String>,
        /// Bounds of the run.
        limits: RunLimits,
    },
    /// The answer to the call in flight.
    Reply {
        /// Sequence number of that call.
        seq: u64,
        /// What came of it.
        outcome: Outcome,
    },
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The observation.
    Value(Value),
    /// Refused; the script sees a map with `denied` and `message`.
    Denied {
        /// Stable code of the refusal.
        code: String,
        /// Why, in one sentence.
        message: String,
    },
}

/// What a worker says about its own lock-down. The broker believes its probes, not this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// [`crate::PROTOCOL_VERSION`] of the worker.
    pub protocol: u32,
    /// Landlock ABI that is fully enforced; 1 or more.
    pub landlock_abi: u32,
    /// System calls the filter lets through.
    pub syscalls: u32,
    /// Address space above the start-up size, in bytes.
    pub heap_bytes: u64,
    /// Processor time after which the kernel kills, in seconds.
    pub cpu_s: u64,
}

/// Why a run ended without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailKind {
    /// The script does not parse.
    Syntax,
    /// A bound of the run was reached.
    Limit,
    /// The script failed while it ran.
    Runtime,
    /// The source was refused before it was parsed, or redefines what it was given.
    RefusedSource,
    /// An argument or the result is not a value that may leave the worker.
    BadValue,
}

/// What the worker sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FromWorker {
    /// Locked down and waiting for a run. Sent once, first.
    Ready {
        /// What was locked down.
        attestation: Attestation,
    },
    /// Asks for an observation and waits for the reply.
    Call {
        /// 1 for the first call of the run, then one more each.
        seq: u64,
        /// Name of the query.
        query: String,
        /// Its argument; an object.
        args: Value,
    },
    /// The run's value: an object, an array or a string. Last frame.
    Done {
        /// The value.
        value: Value,
    },
    /// The run failed. Last frame.
    Fail {
        /// Class of the failure.
        kind: FailKind,
        /// What happened, at most a few hundred characters; text of the script may be in it.
        message: String,
        /// Line of the script, where known; the first is 1.
        line: Option<u32>,
    },
}

impl FromWorker {
    /// The frame's kind, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ready { .. } => "ready",
            Self::Call { .. } => "call",
            Self::Done { .. } => "done",
            Self::Fail { .. } => "fail",
        }
    }
}
