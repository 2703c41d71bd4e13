//! What the engine is made of: the ports, handed over once by the composition root.

use std::sync::Arc;

use opsward_domain::context::{CallContext, Origin};
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Subject, Tenant};
use opsward_domain::principal::{Kind, Principal};
use opsward_ports::clock::{Clock, Entropy};
use opsward_ports::disk::Disk;
pub use opsward_ports::disk::Room;
use opsward_ports::journal::{self, Journal};
use opsward_ports::kits::Kits;
use opsward_ports::logs::Logs;
use opsward_ports::model::Model;
use opsward_ports::policy::Policy;
use opsward_ports::provider::Provider;
use opsward_ports::runner::Runner;
use opsward_ports::series::SeriesStore;
use opsward_ports::telemetry::TelemetrySource;

/// Bounds of a run. Exceeding one is an event, not a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Plans tried in one incident before people have to go on.
    pub plans_per_run: usize,
    /// Model calls in one turn.
    pub model_calls_per_turn: usize,
    /// Tool calls in one turn.
    pub tool_calls_per_turn: usize,
    /// Tokens of one turn, prompts and replies together.
    pub tokens_per_turn: u64,
    /// Wall time of one turn, waiting for people not counted.
    pub turn_ms: u64,
    /// Bytes of a tool's output that the model sees; the rest is kept by digest.
    pub tool_output_bytes: usize,
    /// Incidents open at once in a tenant.
    pub open_incidents: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            plans_per_run: 3,
            model_calls_per_turn: 24,
            tool_calls_per_turn: 40,
            tokens_per_turn: 400_000,
            turn_ms: 10 * 60 * 1000,
            tool_output_bytes: 8 * 1024,
            open_incidents: 100,
        }
    }
}

/// The ports.
#[derive(Clone)]
pub struct Parts {
    /// The record.
    pub journal: Arc<dyn Journal>,
    /// The platform.
    pub provider: Arc<dyn Provider>,
    /// Recovery kits of the platform's backups.
    pub kits: Arc<dyn Kits>,
    /// What the platform says by itself.
    pub telemetry: Arc<dyn TelemetrySource>,
    /// Logs.
    pub logs: Arc<dyn Logs>,
    /// Metrics.
    pub series: Arc<dyn SeriesStore>,
    /// What there is room for.
    pub disk: Arc<dyn Disk>,
    /// Policy; the gate alone asks it.
    pub policy: Arc<dyn Policy>,
    /// The sandbox.
    pub runner: Arc<dyn Runner>,
    /// A model, if one is configured.
    pub model: Option<Arc<dyn Model>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Identities and secrets.
    pub entropy: Arc<dyn Entropy>,
    /// Bounds.
    pub limits: Limits,
}

/// The subject under which opsward keeps its own records.
pub const SYSTEM_SUBJECT: &str = "opsward";

/// opsward's own context in a tenant: may read and record, never act.
pub fn system_context(tenant: &Tenant) -> Result<CallContext, Fault> {
    let principal = Principal {
        subject: Subject::parse(SYSTEM_SUBJECT)?,
        kind: Kind::System,
        tenant: tenant.clone(),
        tenant_role: None,
        roles: std::collections::BTreeMap::new(),
    };
    Ok(CallContext::new(principal, Origin::System))
}

/// A journal error as people meet it.
pub fn journal_fault(error: journal::Error) -> Fault {
    match error {
        journal::Error::Conflict { .. } => Fault::conflict(error.to_string()).hint("read again and retry"),
        journal::Error::NotFound => Fault::not_found(error.to_string()),
        journal::Error::TooLarge(_) => Fault::new(Code::TooMany, error.to_string()),
        journal::Error::Corrupt { .. } => Fault::new(Code::Corrupt, error.to_string())
            .hint("nothing is changed or recorded any more: `opsward audit verify` names the damage, `opsward state restore` brings a backup back"),
        journal::Error::Unavailable { detail, hint } => {
            Fault::unavailable("journal is not available").detail(detail).hint(hint)
        }
    }
}
