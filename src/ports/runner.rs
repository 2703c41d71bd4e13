//! Runs an untrusted script somewhere it can only compute and ask.
//!
//! Contract: the script's only abilities are the observations and step constructors listed; each
//! observation goes to the [`Observer`], which decides; one script, one run, one process; limits are
//! enforced from outside too; anything unexpected ends the run with a typed error.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bounds of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLimits {
    /// Wall time of the whole run, waiting for observations included.
    pub wall_ms: u64,
    /// Interpreter operations.
    pub operations: u64,
    /// Observations.
    pub calls: u32,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self { wall_ms: 10_000, operations: 1_000_000, calls: 64 }
    }
}

/// A script with everything it may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Rhai source.
    pub source: String,
    /// Constant `input` in its scope.
    pub input: Value,
    /// Observation functions it may call, by name.
    pub queries: Vec<String>,
    /// Step constructors it may call, by action wire word.
    pub steps: Vec<String>,
    /// Bounds.
    pub limits: RunLimits,
}

/// What an observation yields to the script.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A value.
    Value(Value),
    /// A refusal or failure, given to the script as data.
    Refused {
        /// Stable word.
        code: String,
        /// For people.
        message: String,
    },
}

/// Answers a script's observations; on the trusted side.
#[async_trait]
pub trait Observer: Send + Sync {
    /// Answers `query` with `args`, or refuses.
    async fn observe(&self, query: &str, args: Value) -> Reply;
}

/// Why a run gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The script is wrong; its author can fix it.
    #[error("script {kind}: {message}")]
    Script {
        /// `syntax`, `runtime`, `refused_source`, `bad_value`.
        kind: String,
        /// What is wrong.
        message: String,
        /// Line, if known.
        line: Option<u32>,
    },
    /// A bound was reached.
    #[error("script exceeded its {0} limit")]
    Limit(String),
    /// The worker broke the protocol or was killed by its jail.
    #[error("worker was stopped: {0}")]
    Jailed(String),
    /// The caller cancelled.
    #[error("run was cancelled")]
    Cancelled,
    /// No worker could be had.
    #[error("no worker is available: {0}")]
    Unavailable(String),
}

/// One self-test of the jail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What was tried.
    pub name: String,
    /// True if the jail stopped it.
    pub held: bool,
    /// What was seen.
    pub detail: String,
}

/// The self-test's result, taken at start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// Every probe.
    pub probes: Vec<Probe>,
}

impl Attestation {
    /// True if there was at least one probe and all held.
    pub fn passed(&self) -> bool {
        !self.probes.is_empty() && self.probes.iter().all(|probe| probe.held)
    }
}

/// Something that runs scripts. Dropping the future of `run` cancels the run and kills its worker.
#[async_trait]
pub trait Runner: Send + Sync {
    /// Runs `program`; its value is the script's returned value as JSON. Step constructors yield
    /// `{"$step": "<action word>", ...arguments}`.
    async fn run(&self, program: Program, observer: Arc<dyn Observer>) -> Result<Value, Error>;
    /// The self-test taken at start.
    fn attestation(&self) -> Attestation;
}
