//! The call context: the first argument of every port method. Never defaulted, never anonymous.

use serde::{Deserialize, Serialize};

use crate::name::{Id, Tenant};
use crate::principal::Principal;

/// Through which door a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// REST or the chat page.
    Api,
    /// A terminal.
    Cli,
    /// A conversation turn (model, or deterministic answers), or an assistant that calls for a person.
    Agent,
    /// An alert.
    Alert,
    /// A schedule.
    Schedule,
    /// opsward's own housekeeping.
    System,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Self; 6] = [Self::Api, Self::Cli, Self::Agent, Self::Alert, Self::Schedule, Self::System];

    /// The word used in policies and records.
    pub fn word(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Cli => "cli",
            Self::Agent => "agent",
            Self::Alert => "alert",
            Self::Schedule => "schedule",
            Self::System => "system",
        }
    }
}

/// Who calls, through which door, in which run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallContext {
    /// The authenticated caller.
    pub principal: Principal,
    /// The door.
    pub origin: Origin,
    /// The run or request this call belongs to, for traces and records.
    pub trace: Option<Id>,
}

impl CallContext {
    /// A context for `principal` through `origin`.
    pub fn new(principal: Principal, origin: Origin) -> Self {
        Self { principal, origin, trace: None }
    }
    /// The caller's tenant: the only one this call may touch.
    pub fn tenant(&self) -> &Tenant {
        &self.principal.tenant
    }
    /// The same caller inside run `trace`.
    #[must_use]
    pub fn within(mut self, trace: Id) -> Self {
        self.trace = Some(trace);
        self
    }
}
