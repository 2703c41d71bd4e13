//! The policy engine: answers the literal question, nothing else. Only the gate asks.
//!
//! Contract: no policy that matches means no; a policy that errs while it is evaluated is reported in
//! `errors` (the gate makes that a refusal); answers depend on the question alone.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod memory;

use std::collections::BTreeSet;

use async_trait::async_trait;
use opsward_domain::action::ActionKind;
use opsward_domain::context::Origin;
use opsward_domain::effect::{Effect, Risk};
use opsward_domain::fault::Fault;
use opsward_domain::label::Integrity;
use opsward_domain::name::{Subject, Tenant, Workspace};
use opsward_domain::principal::{Kind, Role};
use serde::{Deserialize, Serialize};

/// What may be observed: the closed list of [`Verb::Observe`].
pub const OBSERVATIONS: [&str; 8] = ["logs", "metrics", "state", "changes", "runbooks", "incidents", "audit", "people"];

/// What concerns the service itself: the closed list of [`Verb::Govern`].
pub const GOVERNANCE: [&str; 8] = [
    "converse",
    "schedule",
    "raise_alert",
    "ingest_logs",
    "approve",
    "set_switch",
    "manage_people",
    "take_recovery_kit",
];

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
    /// Something about the service itself: `manage_people`, `set_switch`, `approve`, `raise_alert`, `schedule`, `converse`.
    Govern {
        /// Wire word.
        what: String,
    },
}

impl Verb {
    /// Every verb there is, observations first.
    pub fn all() -> Vec<Self> {
        let observe = OBSERVATIONS.iter().map(|what| Self::Observe { what: (*what).to_owned() });
        let act = ActionKind::ALL.iter().map(|kind| Self::Act { action: kind.facts().name.to_owned() });
        let govern = GOVERNANCE.iter().map(|what| Self::Govern { what: (*what).to_owned() });
        observe.chain(act).chain(govern).collect()
    }
    /// The one word that policies know it by.
    pub fn id(&self) -> String {
        match self {
            Self::Observe { what } => format!("observe_{what}"),
            Self::Act { action } => action.clone(),
            Self::Govern { what } => what.clone(),
        }
    }
}

/// Someone who already said yes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Approver {
    /// Who. Approvers are counted by distinct name, so hypothetical ones need names of their own that
    /// differ from the asker's.
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

impl Question {
    /// What is wrong with the question itself: an unknown verb, or an effect or risk below what the
    /// closed list says. Every engine reports it as an error, so that it becomes a refusal.
    pub fn misstated(&self) -> Option<String> {
        let unknown = || Some(format!("there is no verb {:?}", self.verb.id().chars().take(40).collect::<String>()));
        match &self.verb {
            Verb::Observe { what } if !OBSERVATIONS.contains(&what.as_str()) => unknown(),
            Verb::Observe { .. } if self.effect != Effect::Observe => {
                Some("an observation was said to have an effect".to_owned())
            }
            Verb::Govern { what } if !GOVERNANCE.contains(&what.as_str()) => unknown(),
            Verb::Observe { .. } | Verb::Govern { .. } => None,
            Verb::Act { action } => {
                let Ok(kind) = ActionKind::parse(action) else { return unknown() };
                let facts = kind.facts();
                (self.effect != facts.effect || self.risk < facts.risk)
                    .then(|| format!("effect or risk of {action} was understated"))
            }
        }
    }
    /// True if the asker is among the approvers, by flag or by name.
    pub fn asker_agrees(&self) -> bool {
        self.approvers.iter().any(|yes| self.is_asker(yes))
    }
    /// Distinct other people of at least operator role who agree.
    pub fn others_agree(&self) -> usize {
        let counts = |yes: &&Approver| !self.is_asker(yes) && yes.role >= Role::Operator;
        self.approvers.iter().filter(counts).map(|yes| &yes.subject).collect::<BTreeSet<_>>().len()
    }
    fn is_asker(&self, yes: &Approver) -> bool {
        yes.asker || yes.subject == self.subject
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// True if some permit matched, no forbid did and nothing erred.
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
