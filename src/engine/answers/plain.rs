//! A turn without a model: a few plain intents, each answered from the same stores and the same
//! diagnosis. Anything else is answered by investigating.

use opsward_domain::cause::{Claim, Diagnosis};
use opsward_domain::context::CallContext;
use opsward_domain::event::Body;
use opsward_domain::fault::Fault;
use opsward_domain::label::{Integrity, Label, Labelled, visible};
use opsward_domain::name::Workspace;
use serde_json::{Value, json};

use super::{found, render};
use crate::facade::Engine;
use crate::looks;
use crate::observe::Looking;
use crate::state::{Exchange, RunState};
use crate::turn::CONFIDENCE_MIN;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    Help,
    Status,
    Changes,
    Logs,
    Fix,
    Investigate,
}

const INTENTS: &[(Intent, &[&str])] = &[
    (Intent::Help, &["help", "what can you do"]),
    (Intent::Fix, &["fix it", "fix this", "repair", "do it", "apply the", "remediate", "roll it back"]),
    (Intent::Changes, &["what changed", "changes", "deployed", "recent deploy", "who changed"]),
    (Intent::Logs, &["logs", "log lines", "log templates", "show errors"]),
    (Intent::Status, &["status", "list workloads", "show workloads", "what is running", "what runs"]),
];

fn intent(text: &str) -> Intent {
    let text = text.to_lowercase();
    let hit = INTENTS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word)));
    hit.map_or(Intent::Investigate, |(intent, _)| *intent)
}

const HELP: &str = "No model is configured, so I answer from the evidence itself. Ask what is wrong, \
what changed, for status, or for logs of a workload; say \"fix it\" and I propose a plan for what I found.";

impl Engine {
    /// Answers the last message from the evidence.
    pub(crate) async fn answer_plainly(&self, cx: &CallContext, state: &RunState) -> Result<Vec<Body>, Fault> {
        let Some(workspace) = state.workspace.clone() else { return Err(Fault::internal("the run has no workspace")) };
        let said = state.exchanges.iter().rev().find_map(|exchange| match exchange {
            Exchange::Said { text, .. } => Some(text.clone()),
            _ => None,
        });
        let text = said.unwrap_or_default();
        let looking = self.looking(cx, &workspace);
        let answer = match intent(&text) {
            Intent::Help => Ok(vec![answer(vec![line(HELP)], Label::of(Integrity::System))]),
            Intent::Status => self.looked_up(cx, &looking, answer_status(&looking, &workspace).await).await,
            Intent::Changes => self.looked_up(cx, &looking, answer_changes(&looking).await).await,
            Intent::Logs => self.looked_up(cx, &looking, answer_logs(&looking, &text).await).await,
            Intent::Fix => self.answer_fix(cx, state, &workspace).await,
            Intent::Investigate => self.answer_investigation(cx, state, &workspace).await,
        };
        Ok(answer.unwrap_or_else(|fault| vec![failed(&fault)]))
    }

    /// Looks as the caller, at anything policy lets the caller see.
    pub fn looking(&self, cx: &CallContext, workspace: &Workspace) -> Looking {
        let allowed = crate::observe::OBSERVATIONS.iter().map(|(name, _, _)| (*name).to_owned()).collect();
        Looking::new(self.setup.clone(), self.senses.clone(), cx.clone(), workspace.clone(), allowed)
    }

    /// An answer with what was looked at for it.
    async fn looked_up(
        &self,
        cx: &CallContext,
        looking: &Looking,
        answer: Result<Body, Fault>,
    ) -> Result<Vec<Body>, Fault> {
        let looked = looks::keep(self.parts.journal.as_ref(), cx, None, looking.seen()).await?;
        Ok(looked.into_iter().chain([answer.unwrap_or_else(|fault| failed(&fault))]).collect())
    }

    async fn answer_investigation(
        &self,
        cx: &CallContext,
        state: &RunState,
        workspace: &Workspace,
    ) -> Result<Vec<Body>, Fault> {
        let mut bodies = self.investigate(cx, state).await?;
        let diagnosis = diagnosis_of(&bodies);
        let mut claims = diagnosis.as_ref().map(found).unwrap_or_default();
        let best =
            diagnosis.as_ref().and_then(|d| d.hypotheses.first()).filter(|best| best.confidence >= CONFIDENCE_MIN);
        if let Some(remedy) = best.and_then(|best| best.remedies.first()) {
            let facts = remedy.kind().facts();
            claims.push(line(&format!(
                "I would {} on {} in {workspace}; say \"fix it\" and I propose that plan.",
                facts.name,
                remedy.resource()
            )));
        }
        bodies.push(answer(claims, Label { integrity: Integrity::Untrusted, ..state.label.clone() }));
        Ok(bodies)
    }

    async fn answer_fix(&self, cx: &CallContext, state: &RunState, workspace: &Workspace) -> Result<Vec<Body>, Fault> {
        if let Some(open) = state.open_plan() {
            let said = format!("Plan {} still waits for people; it has to be approved or refused first.", open.plan.id);
            return Ok(vec![answer(vec![line(&said)], Label::of(Integrity::System))]);
        }
        let mut bodies = self.investigate(cx, state).await?;
        let diagnosis = diagnosis_of(&bodies);
        let best =
            diagnosis.as_ref().and_then(|d| d.hypotheses.first()).filter(|best| best.confidence >= CONFIDENCE_MIN);
        let Some((best, remedy)) = best.and_then(|best| best.remedies.first().map(|remedy| (best, remedy))) else {
            let mut claims = diagnosis.as_ref().map(found).unwrap_or_default();
            claims.push(line("There is nothing I would do about it."));
            bodies.push(answer(claims, Label { integrity: Integrity::Untrusted, ..state.label.clone() }));
            return Ok(bodies);
        };
        let reason =
            best.because.first().map_or_else(|| "asked for in conversation".to_owned(), |claim| claim.text.clone());
        bodies.extend(self.propose(cx, state, workspace, vec![remedy.clone()], reason, None).await?);
        Ok(bodies)
    }
}

async fn answer_status(looking: &Looking, workspace: &Workspace) -> Result<Body, Fault> {
    let list = looking.look("workloads", Value::Null).await?;
    let mut claims = vec![line(&format!("Workloads in {workspace}:"))];
    for workload in list.value.as_array().into_iter().flatten() {
        let replicas = workload["replicas"].as_array().map_or(0, Vec::len);
        let ready = workload["replicas"].as_array().into_iter().flatten().filter(|r| r["state"] == "ready").count();
        claims.push(line(&format!(
            "- {}: version {}, revision {}, {ready} of {replicas} replicas ready",
            text(&workload["name"]),
            text(&workload["spec"]["version"]),
            workload["revision"]
        )));
    }
    Ok(answer(claims, list.label))
}

async fn answer_changes(looking: &Looking) -> Result<Body, Fault> {
    let list = looking.look("changes", json!({"minutes": 24 * 60})).await?;
    let mut claims = vec![line("Changes of the last 24 hours, newest last:")];
    for change in list.value.as_array().into_iter().flatten() {
        claims.push(line(&format!("- {} by {}", text(&change["summary"]), text(&change["by"]))));
    }
    if claims.len() == 1 {
        claims = vec![line("Nothing was changed through opsward in the last 24 hours.")];
    }
    Ok(answer(claims, list.label))
}

async fn answer_logs(looking: &Looking, said: &str) -> Result<Body, Fault> {
    let known = looking.look("workloads", Value::Null).await?;
    let named = known.value.as_array().into_iter().flatten().find_map(|workload| {
        let name = workload["name"].as_str()?;
        said.to_lowercase().split(|c: char| !c.is_alphanumeric() && c != '-').any(|word| word == name).then_some(name)
    });
    let mut args = json!({"minutes": 15, "limit": 15});
    if let Some(name) = named {
        args["workload"] = json!(name);
    }
    let counts = looking.look("log_templates", args).await?;
    let mut claims = vec![line(&format!(
        "Most frequent log templates of {} in the last 15 minutes:",
        named.unwrap_or("all workloads")
    ))];
    for count in counts.value.as_array().into_iter().flatten() {
        claims.push(line(&format!(
            "- {} x {}: \"{}\"",
            count["count"],
            text(&count["workload"]),
            text(&count["text"])
        )));
    }
    if claims.len() == 1 {
        claims = vec![line("There are no log lines in the last 15 minutes.")];
    }
    Ok(answer(claims, counts.label))
}

fn diagnosis_of(bodies: &[Body]) -> Option<Diagnosis> {
    bodies.iter().find_map(|body| match body {
        Body::Diagnosed { diagnosis, .. } => Some(diagnosis.as_ref().clone()),
        _ => None,
    })
}

fn text(value: &Value) -> String {
    visible(value.as_str().unwrap_or_default())
}

fn line(text: &str) -> Claim {
    Claim { text: text.to_owned(), evidence: Vec::new() }
}

fn answer(claims: Vec<Claim>, label: Label) -> Body {
    let text = Labelled::new(render(&claims), label);
    Body::AnswerGiven { claims, text }
}

fn failed(fault: &Fault) -> Body {
    let said = format!("That could not be looked at: {fault}. {}", fault.hint);
    answer(vec![line(said.trim())], Label::of(Integrity::System))
}
