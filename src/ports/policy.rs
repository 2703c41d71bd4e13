//! The policy engine: answers the literal question, nothing else. Only the gate asks.
//!
//! Contract: no policy that matches means no; a policy that errs while it is evaluated is reported in
//! `errors` (the gate makes that a refusal); answers depend on the question alone.

use async_trait::async_trait;
use opsward_domain::context::Origin;
use opsward_domain::effect::{Effect, Risk};
use opsward_domain::fault::Fault;
use opsward_domain::label::Integrity;
use opsward_domain::name::{Subject, Tenant, Workspace};
use opsward_domain::principal::{Kind, Role};
use serde::{Deserialize, Serialize};

/// What is asked to happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Verb {
    /// An observation, by its wire word.
    Observe {
        /// `logs`, `metrics`, `state`, `changes`, `runbooks`, `incidents`, `audit`, `people`.
        what: String,
    },
    /// An action of the closed list, by its wire word.
    Act {
        /// Wire word.
        action: String,
    },
    /// Something about the service itself: `manage_people`, `set_switch`, `approve`, `raise_alert`, `converse`.
    Govern {
        /// Wire word.
        what: String,
    },
}

/// Someone who already said yes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Approver {
    /// Who; empty name only for the gate's hypothetical approver.
    pub subject: Subject,
    /// Their role in the workspace.
    pub role: Role,
    /// True if they are also the asker.
    pub asker: bool,
}

/// The literal question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Who asks.
    pub subject: Subject,
    /// What kind of principal.
    pub kind: Kind,
    /// Its tenant.
    pub tenant: Tenant,
    /// Its role in the workspace, if any.
    pub role: Option<Role>,
    /// Through which door.
    pub origin: Origin,
    /// What.
    pub verb: Verb,
    /// Effect of it.
    pub effect: Effect,
    /// Risk of it, raised by the gate where nothing takes it back.
    pub risk: Risk,
    /// Kind of the resource.
    pub resource_kind: String,
    /// Name of the resource; empty for the workspace.
    pub resource_name: String,
    /// Where the resource is.
    pub workspace: Option<Workspace>,
    /// Whose the resource is: always looked up, never claimed.
    pub resource_tenant: Tenant,
    /// High-water mark of the run.
    pub integrity: Integrity,
    /// True if every source that influenced the run may itself do this.
    pub sources_may: bool,
    /// People who said yes to exactly this plan.
    pub approvers: Vec<Approver>,
    /// People in the workspace who could approve (single-member workspaces are special).
    pub members: u32,
    /// Share of the workspace's replicas disturbed, in percent.
    pub blast_percent: u8,
    /// True if the step can be taken back by an inverse.
    pub reversible: bool,
    /// True if a switch (observe-only, kill) is on.
    pub switched_off: bool,
    /// True if the sandbox's self-test passed.
    pub attested: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// True if some permit matched and no forbid did.
    pub allowed: bool,
    /// Ids of the policies that determined it.
    pub policies: Vec<String>,
    /// Policies that erred while evaluated.
    pub errors: Vec<String>,
}

/// A policy engine.
#[async_trait]
pub trait Policy: Send + Sync {
    /// Answers one question.
    async fn ask(&self, question: &Question) -> Result<Answer, Fault>;
    /// Digest of the loaded set; changes whenever an answer could.
    fn set_digest(&self) -> String;
    /// One line for people about a policy id, from its own annotation.
    fn advice(&self, policy: &str) -> Option<String>;
}
