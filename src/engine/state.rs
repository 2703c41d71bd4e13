//! A run's state: what a conversation, an incident or a typed action has come to. Folded from its
//! stream's events and from nothing else.

mod fold;
mod plan;

use std::collections::BTreeMap;

use opsward_domain::action::Action;
use opsward_domain::alert::Alert;
use opsward_domain::cause::Diagnosis;
use opsward_domain::context::Origin;
use opsward_domain::event::{CheckVerdict, Event, StreamName, ToolCall, TurnEnd};
use opsward_domain::evidence::Evidence;
use opsward_domain::fault::Fault;
use opsward_domain::incident::IncidentStatus;
use opsward_domain::label::{Integrity, Label, Labelled};
use opsward_domain::name::{Id, Subject, Workspace};
use opsward_domain::time::AtMs;

pub use plan::{ApprovalState, PlanState, StepState};

/// One exchange of the transcript, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Exchange {
    /// A person's words.
    Said {
        /// Who.
        by: Subject,
        /// What.
        text: String,
    },
    /// The model's words and calls.
    Replied {
        /// Its words.
        text: Labelled,
        /// Its calls.
        calls: Vec<ToolCall>,
    },
    /// What a call came to.
    Returned {
        /// Which call.
        call: Id,
        /// Output, labelled.
        output: Labelled,
        /// Where the whole output is kept, if it was too large.
        digest: Option<String>,
        /// The evidence that cites it, if it looked at anything.
        evidence: Option<Id>,
    },
    /// Something happened that a model must know, in words made by code.
    Noted {
        /// What.
        text: String,
    },
    /// Our answer.
    Answered {
        /// The text.
        text: Labelled,
    },
}

/// Everything a run has come to.
#[derive(Debug, Clone, PartialEq)]
pub struct RunState {
    /// Its stream.
    pub stream: StreamName,
    /// Last stream sequence folded.
    pub stream_seq: u64,
    /// Journal sequence of the last event folded.
    pub seq: u64,
    /// Where it acts, once known.
    pub workspace: Option<Workspace>,
    /// On whose behalf; the opener of an incident is its remediator.
    pub asker: Option<Subject>,
    /// Through which door it came.
    pub origin: Origin,
    /// Alerts, opener first.
    pub alerts: Vec<Alert>,
    /// Fingerprints of alerts that ended.
    pub cleared: Vec<String>,
    /// The typed action, if that is what was asked, with its reason.
    pub request: Option<(Action, String)>,
    /// Messages received.
    pub said: usize,
    /// Transcript.
    pub exchanges: Vec<Exchange>,
    /// Calls that models ever made.
    pub calls: usize,
    /// Calls that have not returned.
    pub open_calls: Vec<ToolCall>,
    /// Current or last turn.
    pub turn: Option<TurnState>,
    /// Evidence in order.
    pub evidence: Vec<Evidence>,
    /// What could not be looked at, with why.
    pub missing: Vec<(String, String)>,
    /// The newest diagnosis.
    pub diagnosis: Option<Diagnosis>,
    /// True while the newest diagnosis is older than the last plan's end.
    pub diagnosis_stale: bool,
    /// When it was made.
    pub diagnosed_at_ms: AtMs,
    /// Diagnoses since the last plan ended or the turn began.
    pub investigations: usize,
    /// Plans in order.
    pub plans: Vec<PlanState>,
    /// Remedies already tried and what they came to.
    pub tried: Vec<(Action, CheckVerdict)>,
    /// High-water mark.
    pub label: Label,
    /// When the first event happened.
    pub opened_at_ms: AtMs,
    /// When the last event happened.
    pub last_at_ms: AtMs,
    /// Where an incident stands.
    pub incident: Option<IncidentStatus>,
    /// How it ended, in words.
    pub ended: Option<String>,
    /// The last fault, if any.
    pub fault: Option<Fault>,
    /// True once somebody cancelled the running turn.
    pub cancelled: bool,
    /// True while the end of a plan is still to be told: its turn ended before it did.
    pub outcome_owed: bool,
    /// Calls of this turn by input digest, so that an identical one is answered from here. Forgotten when a
    /// plan ends: the world may have changed.
    pub ledger: BTreeMap<String, Id>,
}

/// A turn.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnState {
    /// Its identity.
    pub id: Id,
    /// When it began.
    pub started_at_ms: AtMs,
    /// Model calls made.
    pub model_calls: usize,
    /// Tool calls made.
    pub tool_calls: usize,
    /// Tokens spent.
    pub tokens: u64,
    /// Model failures in a row.
    pub model_failures: usize,
    /// Messages received when it began.
    pub said: usize,
    /// Plans there were when it began.
    pub plans: usize,
    /// Evidence there was when it began.
    pub evidence: usize,
    /// True once it was answered.
    pub answered: bool,
    /// How it ended.
    pub end: Option<TurnEnd>,
}

impl RunState {
    /// The state before anything happened.
    pub fn new(stream: StreamName) -> Self {
        Self {
            stream,
            stream_seq: 0,
            seq: 0,
            workspace: None,
            asker: None,
            origin: Origin::System,
            alerts: Vec::new(),
            cleared: Vec::new(),
            request: None,
            said: 0,
            exchanges: Vec::new(),
            calls: 0,
            open_calls: Vec::new(),
            turn: None,
            evidence: Vec::new(),
            missing: Vec::new(),
            diagnosis: None,
            diagnosis_stale: false,
            diagnosed_at_ms: 0,
            investigations: 0,
            plans: Vec::new(),
            tried: Vec::new(),
            label: Label::of(Integrity::Operator),
            opened_at_ms: 0,
            last_at_ms: 0,
            incident: None,
            ended: None,
            fault: None,
            cancelled: false,
            outcome_owed: false,
            ledger: BTreeMap::new(),
        }
    }

    /// Folds a whole stream.
    pub fn fold(stream: StreamName, events: &[Event]) -> Self {
        let mut state = Self::new(stream);
        for event in events {
            state.apply(event);
        }
        state
    }

    /// The turn that is still running.
    pub fn open_turn(&self) -> Option<&TurnState> {
        self.turn.as_ref().filter(|turn| turn.end.is_none())
    }

    /// True if a message came after the last turn began.
    pub fn unanswered(&self) -> bool {
        self.said > self.turn.as_ref().map_or(0, |turn| turn.said)
    }

    /// The plan that has not ended.
    pub fn open_plan(&self) -> Option<&PlanState> {
        self.plans.iter().find(|plan| plan.end.is_none())
    }

    /// Number of the next evidence id: 1 gives `e1`, `e2`, ...
    pub fn next_evidence(&self) -> u32 {
        u32::try_from(self.evidence.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// True once nothing more will happen by itself or by a person's yes.
    pub fn over(&self) -> bool {
        if self.open_plan().is_some() || self.stream_seq == 0 {
            return false;
        }
        match (&self.turn, &self.request) {
            (Some(turn), _) => turn.end.is_some() && !self.unanswered() && !self.outcome_owed,
            (None, Some(_)) => !self.plans.is_empty() || self.fault.is_some(),
            (None, None) => self.fault.is_some(),
        }
    }

    /// A plan by identity.
    pub fn plan(&self, id: &Id) -> Option<&PlanState> {
        self.plans.iter().find(|plan| plan.plan.id == *id)
    }

    /// The approval of that identity, if this run asked for it.
    pub fn approval(&self, id: &Id) -> Option<(&PlanState, &ApprovalState)> {
        self.plans.iter().find_map(|plan| {
            let approval = plan.approval.as_ref()?;
            (approval.request.id == *id).then_some((plan, approval))
        })
    }
}
