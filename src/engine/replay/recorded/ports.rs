//! The ports of a replay. Each asks the recorded world; the runner and the policies are real, because what
//! they do is under test.

use std::sync::Arc;

use async_trait::async_trait;
use opsward_domain::action::Action;
use opsward_domain::cause::{Diagnosis, Verdict};
use opsward_domain::context::CallContext;
use opsward_domain::event::{Body, Outcome};
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Id, Workspace};
use opsward_domain::plan::{Goal, Step};
use opsward_domain::resource::{ResourceState, ResourceVersion, WorkspaceStatus};
use opsward_domain::seal::Authorized;
use opsward_domain::time::Window;
use opsward_ports::clock::Entropy;
use opsward_ports::model::{self, Call, Model, Reply, Request, Sink};
use opsward_ports::policy::{Answer, Policy, Question};
use opsward_ports::provider::{Observation, Provider, Query};
use opsward_ports::runner::{self, Attestation, Observer, Program, Runner};
use serde_json::{Value, json};

use super::{MOVED, Recorded, unheard, unknown_outcome};
use crate::investigate::{Investigation, Measured, Senses};
use crate::looks::{PLATFORM, rehearsal};
use crate::observe::Looked;
use crate::state::RunState;

/// Tokens that the recorded model takes.
const CONTEXT_TOKENS: u32 = 32_768;

#[async_trait]
impl Provider for Recorded {
    async fn observe(&self, _cx: &CallContext, query: &Query) -> Result<Observation, Fault> {
        if let Some(found) = self.looked(PLATFORM, &json!(query)) {
            return serde_json::from_value(found?.value).map_err(|error| Fault::internal(error.to_string()));
        }
        match query {
            Query::Workspaces => {
                let status = |name: &Workspace| WorkspaceStatus {
                    name: name.clone(),
                    memory_bytes_max: 0,
                    resource_version: ResourceVersion(String::new()),
                };
                Ok(Observation::Workspaces(self.ours.iter().map(status).collect()))
            }
            Query::Resource { workspace, resource } => self.resource(workspace, resource).map(Observation::Resource),
            // A plan that could not be made failed with what was recorded.
            other => Err(self.fault().unwrap_or_else(|| unheard(&format!("an answer to {other:?}")))),
        }
    }

    async fn rehearse(
        &self,
        _cx: &CallContext,
        workspace: &Workspace,
        action: &Action,
        before: &ResourceState,
    ) -> Result<ResourceState, Fault> {
        match self.looked(PLATFORM, &rehearsal(workspace, action)) {
            Some(found) => serde_json::from_value(found?.value).map_err(|error| Fault::internal(error.to_string())),
            None => action.predict(before),
        }
    }

    async fn apply(&self, _cx: &CallContext, _step: &Authorized<Step>, key: &str) -> Result<Outcome, Fault> {
        let found = self.find(|body| match body {
            Body::StepSucceeded { key: at, outcome, .. } | Body::UndoSucceeded { key: at, outcome, .. }
                if at == key =>
            {
                Some(Ok(outcome.clone()))
            }
            // It took effect, and its check failed: that is told when the resource is looked at.
            Body::StepFailed { key: at, applied: true, .. } if at == key => Some(Ok(unknown_outcome())),
            Body::StepFailed { key: at, fault, .. } | Body::UndoFailed { key: at, fault, .. } if at == key => {
                Some(Err(fault.clone()))
            }
            _ => None,
        });
        found.unwrap_or_else(|| Err(unheard("an effect under this key")))
    }

    async fn lookup(&self, _cx: &CallContext, key: &str) -> Result<Option<Outcome>, Fault> {
        Ok(self.place().effects.get(key).cloned())
    }
}

#[async_trait]
impl Senses for Recorded {
    async fn investigate(&self, _cx: &CallContext, workspace: &Workspace, _state: &RunState) -> Investigation {
        let nothing = Diagnosis {
            workspace: workspace.clone(),
            verdict: Verdict::Unknown,
            onset_ms: None,
            affected: Vec::new(),
            hypotheses: Vec::new(),
            ruled_out: Vec::new(),
            blind_spots: vec!["the recording holds no look here".to_owned()],
        };
        let mut found = Investigation { evidence: Vec::new(), missing: Vec::new(), diagnosis: nothing };
        for body in &self.place().next {
            match body {
                Body::EvidenceGathered { evidence, took_ms } => {
                    found.evidence.push((evidence.as_ref().clone(), *took_ms));
                }
                Body::EvidenceMissing { what, why } => found.missing.push((what.clone(), why.clone())),
                Body::Diagnosed { diagnosis, .. } => found.diagnosis = diagnosis.as_ref().clone(),
                _ => {}
            }
        }
        found
    }

    async fn measure(
        &self,
        _cx: &CallContext,
        _workspace: &Workspace,
        _goal: &Goal,
        _before: Window,
        _after: Window,
    ) -> Result<Measured, Fault> {
        let found = self.find(|body| match body {
            Body::GoalChecked { verdict, claims, .. } => Some(Measured { verdict: *verdict, claims: claims.clone() }),
            _ => None,
        });
        found.ok_or_else(|| unheard("a measurement"))
    }

    async fn look(&self, _cx: &CallContext, _workspace: &Workspace, name: &str, args: &Value) -> Result<Looked, Fault> {
        self.looked(name, args).unwrap_or_else(|| Err(unheard(&format!("a look at {name} with {args}"))))
    }
}

impl Entropy for Recorded {
    fn id(&self, _prefix: &str) -> Id {
        let found = self.find(|body| match body {
            Body::TurnStarted { turn } => Some(turn.clone()),
            Body::ApprovalRequested { request } => Some(request.id.clone()),
            _ => None,
        });
        // An identity that nobody recorded shows as a difference.
        found.unwrap_or_else(|| self.run.clone())
    }
    fn secret_hex(&self, bytes: usize) -> String {
        let found = self.find(|body| match body {
            Body::ApprovalRequested { request } => Some(request.nonce.clone()),
            _ => None,
        });
        found.unwrap_or_else(|| "0".repeat(bytes * 2))
    }
}

/// The model's recorded words.
pub(in super::super) struct RecordedModel(pub(in super::super) Arc<Recorded>);

#[async_trait]
impl Model for RecordedModel {
    fn name(&self) -> String {
        let found = self.0.find(|body| match body {
            Body::ModelReplied { model, .. } | Body::ModelFailed { model, .. } => Some(model.clone()),
            _ => None,
        });
        found.unwrap_or_else(|| "recorded".to_owned())
    }
    fn context_tokens(&self) -> u32 {
        CONTEXT_TOKENS
    }
    async fn complete(&self, _request: &Request, _sink: Option<Sink>) -> Result<Reply, model::Error> {
        let found = self.0.find(|body| match body {
            Body::ModelReplied { text, calls, usage, .. } => {
                let calls = calls.iter().map(|call| Call {
                    id: call.id.to_string(),
                    name: call.tool.clone(),
                    arguments: Ok(call.input.clone()),
                });
                Some(Ok(Reply { text: text.text.clone(), calls: calls.collect(), usage: *usage }))
            }
            Body::ModelFailed { fault, .. } => Some(Err(model_error(&fault.message))),
            _ => None,
        });
        found.unwrap_or_else(|| Err(model_error("the recording holds no reply here")))
    }
}

/// The error that reads as `text`.
fn model_error(text: &str) -> model::Error {
    use model::Error::{Busy, Failed, Nonsense, Refused, Timeout};
    let timed_out = text.strip_prefix("model endpoint timed out after ").and_then(|rest| rest.strip_suffix(" ms"));
    if let Some(timeout_ms) = timed_out.and_then(|number| number.parse().ok()) {
        return Timeout(timeout_ms);
    }
    let rest = |prefix: &str| text.strip_prefix(prefix).map(str::to_owned);
    let made = rest("model endpoint is busy: ")
        .map(Busy)
        .or_else(|| rest("model endpoint failed: ").map(Failed))
        .or_else(|| rest("model endpoint answered nonsense: ").map(Nonsense))
        .or_else(|| rest("model endpoint refused the request: ").map(Refused));
    made.unwrap_or_else(|| Failed(text.to_owned()))
}

/// The policies under test, under the name of the set that decided then: what they say is compared, what
/// they are called is not.
pub(in super::super) struct RecordedPolicy {
    pub(in super::super) tested: Arc<dyn Policy>,
    pub(in super::super) recorded: Arc<Recorded>,
}

#[async_trait]
impl Policy for RecordedPolicy {
    async fn ask(&self, question: &Question) -> Result<Answer, Fault> {
        self.tested.ask(question).await
    }
    fn set_digest(&self) -> String {
        if self.recorded.fault().is_some_and(|fault| fault.message.starts_with(MOVED)) {
            return "moved".to_owned();
        }
        let decided = self.recorded.find(|body| match body {
            Body::PlanDecided { policy_set, .. } => Some(policy_set.clone()),
            _ => None,
        });
        let last = || self.recorded.place().policy_set.clone();
        decided.or_else(last).unwrap_or_else(|| self.tested.set_digest())
    }
    fn advice(&self, policy: &str) -> Option<String> {
        self.tested.advice(policy)
    }
}

/// Runs handlers again, except where the recorded run was ended from outside.
pub(in super::super) struct RecordedRunner {
    pub(in super::super) runner: Arc<dyn Runner>,
    pub(in super::super) recorded: Arc<Recorded>,
}

#[async_trait]
impl Runner for RecordedRunner {
    async fn run(&self, program: Program, observer: Arc<dyn Observer>) -> Result<Value, runner::Error> {
        let ended = self.recorded.find(|body| match body {
            Body::ToolFailed { fault, .. } => ended_from_outside(fault),
            _ => None,
        });
        match ended {
            Some(error) => Err(error),
            None => self.runner.run(program, observer).await,
        }
    }
    fn attestation(&self) -> Attestation {
        self.runner.attestation()
    }
}

fn ended_from_outside(fault: &Fault) -> Option<runner::Error> {
    let rest = |prefix: &str| fault.message.strip_prefix(prefix).map(str::to_owned);
    match fault.code {
        Code::Unavailable => rest("no worker is available: ").map(runner::Error::Unavailable),
        Code::TooMany => rest("script exceeded its ")
            .and_then(|rest| rest.strip_suffix(" limit").map(str::to_owned))
            .map(runner::Error::Limit),
        Code::Cancelled => Some(runner::Error::Cancelled),
        Code::Denied => rest("worker was stopped: ").map(runner::Error::Jailed),
        _ => None,
    }
}
