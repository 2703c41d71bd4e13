//! What the journal remembers: envelopes and the closed list of bodies. The vocabulary has no place
//! for a secret value. Old versions are upcast on read, never rewritten.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alert::Alert;
use crate::approval::ApprovalRequest;
use crate::cause::{Claim, Diagnosis};
use crate::context::Origin;
use crate::decision::Decision;
use crate::evidence::Evidence;
use crate::fault::Fault;
use crate::label::{Label, Labelled};
use crate::name::{Id, Subject, Tenant, Workspace};
use crate::plan::Plan;
use crate::principal::Role;
use crate::schedule::Schedule;
use crate::time::AtMs;

/// Version that new bodies are written in.
pub const BODY_VERSION: u16 = 2;

/// What a stream is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// People, roles and tokens of a tenant; one stream a tenant.
    People,
    /// Switches and limits of a tenant; one stream a tenant.
    Control,
    /// A conversation.
    Conversation,
    /// An incident.
    Incident,
    /// One typed action or tool run by a person or a schedule.
    Command,
    /// A schedule: made, fired, missed, removed.
    Schedule,
}

impl StreamKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::People, Self::Control, Self::Conversation, Self::Incident, Self::Command, Self::Schedule];

    /// The word used in stream names.
    pub fn word(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Control => "control",
            Self::Conversation => "conversation",
            Self::Incident => "incident",
            Self::Command => "command",
            Self::Schedule => "schedule",
        }
    }
}

/// Names one stream. The tenant always equals the caller's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamName {
    /// Whose.
    pub tenant: Tenant,
    /// About what.
    pub kind: StreamKind,
    /// Which.
    pub id: Id,
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.tenant, self.kind.word(), self.id)
    }
}

/// How hard a record must be held before the next thing may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Survives a crash of the process; the last moments may be lost with the power.
    Process,
    /// Survives a loss of power before the append returns.
    Power,
}

/// A request to a model's tool, as the model made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Identity inside the stream.
    pub id: Id,
    /// Tool name.
    pub tool: String,
    /// Arguments as given; checked before use.
    pub input: Value,
}

/// One look at the world, as it was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// The observation's name.
    pub what: String,
    /// Its arguments.
    pub args: Value,
}

/// Tokens and time of one model call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens sent, as reported or estimated.
    pub prompt_tokens: u64,
    /// Tokens received, as reported or estimated.
    pub completion_tokens: u64,
    /// True if the endpoint did not report and we estimated.
    pub estimated: bool,
    /// Wall time.
    pub duration_ms: u64,
}

/// How one step went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// One line made by code.
    pub summary: String,
    /// Typed result, such as a new revision or a function's status.
    pub result: Value,
    /// Version in which it left its resource, if that still exists.
    pub version: Option<crate::resource::ResourceVersion>,
}

/// What a goal check or a step check saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// The condition is gone, under enough traffic, for long enough.
    Better,
    /// No difference that counts.
    Same,
    /// It got worse.
    Worse,
    /// Not enough traffic or data to tell; never counts as healthy.
    Unverified,
}

/// How a plan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanEnd {
    /// Done and, where it had a goal, the goal was met.
    Succeeded,
    /// Done, but nobody could tell whether it helped.
    Unverified,
    /// Taken back: a step failed, or it did not help.
    Undone,
    /// Failed, and not everything could be taken back.
    NeedsHuman,
    /// Refused by policy, a person, a switch or a moved world before it began.
    Refused,
}

/// Why a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnEnd {
    /// Answered.
    Answered,
    /// Cancelled by a person.
    Cancelled,
    /// A budget ran out.
    BudgetSpent,
    /// A fault ended it.
    Failed,
    /// Its plan waits for people, and somebody went on talking meanwhile. The plan's end is told later.
    Waiting,
}

/// Everything that can be remembered.
#[allow(missing_docs, reason = "fields carry documented types and repeat their terms")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Body {
    /// A person or remediator was added to the tenant.
    PersonAdded { subject: Subject, remediator: bool },
    /// A role was given; no workspace means the whole tenant. `None` takes it away.
    RoleSet { subject: Subject, workspace: Option<Workspace>, role: Option<Role> },
    /// A credential was made; only its hash is kept. One for an assistant never gives a yes.
    TokenIssued {
        token: Id,
        subject: Subject,
        hash: String,
        expires_at_ms: Option<AtMs>,
        single_use: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        assistant: bool,
    },
    /// A credential ended.
    TokenRevoked { token: Id, reason: String },
    /// A switch was set: no effects while on. No workspace means the whole tenant.
    SwitchSet { workspace: Option<Workspace>, on: bool, reason: String },
    /// A key on paper that opens the backups of a workspace was made and handed out; never the key itself.
    RecoveryKitTaken { workspace: Workspace },

    /// Someone said something, or typed an action.
    MessageReceived { workspace: Workspace, origin: Origin, text: String },
    /// A typed action was requested.
    ActionRequested { workspace: Workspace, origin: Origin, action: Box<crate::action::Action>, reason: String },
    /// A tool run was requested; what it proposes goes to the gate.
    ToolRequested { workspace: Workspace, origin: Origin, call: ToolCall },
    /// An alert opened this incident.
    IncidentOpened { alert: Box<Alert>, title: String },
    /// Another alert belongs to it.
    AlertLinked { alert: Box<Alert> },
    /// The alert's own condition ended, as its sender or our measurement says.
    AlertCleared { fingerprint: String },
    /// A turn began; events until `TurnEnded` belong to it.
    TurnStarted { turn: Id },
    /// Something was looked at.
    EvidenceGathered { evidence: Box<Evidence>, took_ms: u64 },
    /// Something could not be looked at.
    EvidenceMissing { what: String, why: String },
    /// The deterministic diagnosis concluded.
    Diagnosed { diagnosis: Box<Diagnosis>, took_ms: u64 },
    /// A model answered.
    ModelReplied { model: String, text: Labelled, calls: Vec<ToolCall>, usage: Usage },
    /// A model could not answer.
    ModelFailed { model: String, fault: Fault },
    /// A tool was called.
    ToolCalled { call: ToolCall, tool_digest: String },
    /// The world was looked at for what comes next; the answers are kept under `digest`, unless they were
    /// too large to keep.
    Looked { call: Option<Id>, looks: Vec<Look>, label: Label, digest: Option<String> },
    /// A tool returned; large outputs are kept by digest. `evidence` cites what it looked at.
    ToolReturned {
        call: Id,
        output: Labelled,
        digest: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Id>,
        took_ms: u64,
    },
    /// A tool refused or failed; goes back as data.
    ToolFailed { call: Id, fault: Fault },

    /// A plan was made.
    PlanProposed { plan: Box<Plan>, digest: String, influence: Label },
    /// The gate decided on it.
    PlanDecided { plan: Id, decision: Decision, steps: Vec<Decision>, policy_set: String },
    /// A person's yes is needed.
    ApprovalRequested { request: Box<ApprovalRequest> },
    /// A person said yes.
    ApprovalGiven { approval: Id, by: Subject, binding: String },
    /// A person said no.
    ApprovalRefused { approval: Id, by: Subject, note: String },
    /// Lapsed, or what it was bound to has moved.
    ApprovalVoided { approval: Id, reason: String },
    /// Its one use began.
    ApprovalUsed { approval: Id },
    /// Intent: this step is about to be applied with this key.
    StepStarted { plan: Id, step: u32, key: String },
    /// It was applied.
    StepSucceeded { plan: Id, step: u32, key: String, outcome: Outcome },
    /// It was not applied, or it was and its own check failed; `applied` tells which.
    StepFailed { plan: Id, step: u32, key: String, fault: Fault, applied: bool },
    /// Intent: this step is about to be taken back.
    UndoStarted { plan: Id, step: u32, key: String },
    /// It was taken back.
    UndoSucceeded { plan: Id, step: u32, key: String, outcome: Outcome },
    /// It could not be taken back.
    UndoFailed { plan: Id, step: u32, key: String, fault: Fault },
    /// The goal was measured after all steps.
    GoalChecked { plan: Id, verdict: CheckVerdict, claims: Vec<Claim> },
    /// Nothing more happens to the plan.
    PlanEnded { plan: Id, end: PlanEnd, reason: String },
    /// Observe-only: what would have been done, to be scored against what people did.
    PlanWithheld { plan: Id, reason: String },

    /// The turn's answer, sentences with citations.
    AnswerGiven { claims: Vec<Claim>, text: Labelled },
    /// The turn is over.
    TurnEnded { turn: Id, end: TurnEnd },
    /// The incident is over.
    IncidentResolved { by: Option<Subject>, reason: String },
    /// People have to go on; what was found is in the report.
    IncidentEscalated { reason: String },
    /// Someone cancelled the running turn.
    CancelRequested { by: Subject },
    /// A broken promise of ours ended something.
    FaultRaised { fault: Fault },

    /// Someone made a schedule; it works with their rights of each moment.
    ScheduleMade { schedule: Box<Schedule> },
    /// It was stopped for a while, or goes on.
    SchedulePaused { paused: bool },
    /// Intent: `run` is about to begin. `coalesced` earlier firings are made up for by this one; everything
    /// due until `settled_ms` is dealt with.
    ScheduleFired { due_ms: AtMs, settled_ms: AtMs, coalesced: u32, key: String, run: StreamName },
    /// What was due until `settled_ms` is not done.
    ScheduleMissed { due_ms: AtMs, settled_ms: AtMs, count: u32, reason: String },
    /// It ended for good.
    ScheduleRemoved {},
}

impl Body {
    /// How hard it must be held: intents, approvals, outcomes and rights survive a power loss.
    pub fn durability(&self) -> Durability {
        match self {
            Self::EvidenceGathered { .. }
            | Self::EvidenceMissing { .. }
            | Self::Diagnosed { .. }
            | Self::ModelReplied { .. }
            | Self::ModelFailed { .. }
            | Self::ToolCalled { .. }
            | Self::Looked { .. }
            | Self::ToolReturned { .. }
            | Self::ToolFailed { .. }
            | Self::TurnStarted { .. }
            | Self::AnswerGiven { .. }
            | Self::TurnEnded { .. }
            | Self::FaultRaised { .. } => Durability::Process,
            _ => Durability::Power,
        }
    }
}

/// An event about to be appended.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// When, by the clock port.
    pub at_ms: AtMs,
    /// Sequence number of the event that caused it, if one did.
    pub cause: Option<u64>,
    /// What happened.
    pub body: Body,
}

/// An event as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Place in the whole journal, from 1, without gaps.
    pub seq: u64,
    /// Its stream.
    pub stream: StreamName,
    /// Place in the stream, from 1, without gaps.
    pub stream_seq: u64,
    /// When.
    pub at_ms: AtMs,
    /// By whom.
    pub by: Subject,
    /// Through which door.
    pub origin: Origin,
    /// Which event caused it.
    pub cause: Option<u64>,
    /// Version the body was written in.
    pub version: u16,
    /// What happened; absent if the body was erased.
    pub body: Option<Body>,
}
