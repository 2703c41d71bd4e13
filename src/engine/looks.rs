//! What a run looked at for its next event, kept with the answers, so that the run can be read and played
//! again without the world. Keeps what was seen, never decides what may be.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use opsward_domain::action::Action;
use opsward_domain::context::CallContext;
use opsward_domain::event::{Body, Look, Outcome};
use opsward_domain::fault::Fault;
use opsward_domain::label::{Integrity, Label};
use opsward_domain::name::{Id, Workspace};
use opsward_domain::plan::Step;
use opsward_domain::resource::ResourceState;
use opsward_domain::seal::Authorized;
use opsward_ports::journal::Journal;
use opsward_ports::provider::{Observation, Provider, Query};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::observe::Looked;
use crate::parts::journal_fault;

/// Most bytes of all answers kept for one event; beyond it only the questions are kept.
pub const ANSWERS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most looks kept for one event.
const LOOKS_MAX: usize = 200;
/// The name under which looks at the platform itself are kept.
pub const PLATFORM: &str = "platform";

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A value with its label.
    Saw(Looked),
    /// A refusal or failure.
    Failed(Fault),
}

/// One look with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// What was asked.
    pub look: Look,
    /// What came back.
    pub answer: Answer,
}

/// Looks in the order they were made.
#[derive(Debug, Default)]
pub struct Looks(Mutex<Vec<Seen>>);

impl Looks {
    pub(crate) fn push(&self, what: &str, args: Value, answer: Answer) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < LOOKS_MAX {
            all.push(Seen { look: Look { what: what.to_owned(), args }, answer });
        }
    }

    /// Takes everything seen so far.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Keeps what was seen and returns the event that says so; nothing seen, no event.
pub(crate) async fn keep(
    journal: &dyn Journal,
    cx: &CallContext,
    call: Option<Id>,
    seen: Vec<Seen>,
) -> Result<Option<Body>, Fault> {
    if seen.is_empty() {
        return Ok(None);
    }
    let mut label = Label::of(Integrity::Typed);
    for one in &seen {
        if let Answer::Saw(looked) = &one.answer {
            label.join(&looked.label);
        }
    }
    let bytes = serde_json::to_vec(&seen).map_err(|error| Fault::internal(error.to_string()))?;
    let digest = match bytes.len() {
        0..=ANSWERS_BYTES_MAX => Some(journal.put_blob(cx, &bytes).await.map_err(journal_fault)?),
        _ => None,
    };
    let looks = seen.into_iter().map(|seen| seen.look).collect();
    Ok(Some(Body::Looked { call, looks, label, digest }))
}

/// How a rehearsal is named among looks.
pub(crate) fn rehearsal(workspace: &Workspace, action: &Action) -> Value {
    json!({ "rehearse": action, "workspace": workspace })
}

/// A provider that can only be looked through, and keeps what was seen. For planning.
pub(crate) struct Watched {
    provider: Arc<dyn Provider>,
    looks: Arc<Looks>,
}

impl Watched {
    pub(crate) fn new(provider: Arc<dyn Provider>, looks: Arc<Looks>) -> Self {
        Self { provider, looks }
    }
}

#[async_trait]
impl Provider for Watched {
    async fn observe(&self, cx: &CallContext, query: &Query) -> Result<Observation, Fault> {
        let found = self.provider.observe(cx, query).await;
        let answer = match &found {
            Ok(observation) => Answer::Saw(Looked { value: json!(observation), label: Label::of(Integrity::Typed) }),
            Err(fault) => Answer::Failed(fault.clone()),
        };
        self.looks.push(PLATFORM, json!(query), answer);
        found
    }
    /// A rehearsal that says more than the prediction is something that was seen, too.
    async fn rehearse(
        &self,
        cx: &CallContext,
        workspace: &Workspace,
        action: &Action,
        before: &ResourceState,
    ) -> Result<ResourceState, Fault> {
        let found = self.provider.rehearse(cx, workspace, action, before).await;
        if found != action.predict(before) {
            let answer = match &found {
                Ok(state) => Answer::Saw(Looked { value: json!(state), label: Label::of(Integrity::Typed) }),
                Err(fault) => Answer::Failed(fault.clone()),
            };
            self.looks.push(PLATFORM, rehearsal(workspace, action), answer);
        }
        found
    }
    async fn apply(&self, _cx: &CallContext, _step: &Authorized<Step>, _key: &str) -> Result<Outcome, Fault> {
        Err(Fault::internal("whoever plans does not act"))
    }
    async fn lookup(&self, _cx: &CallContext, _key: &str) -> Result<Option<Outcome>, Fault> {
        Err(Fault::internal("whoever plans does not act"))
    }
}
