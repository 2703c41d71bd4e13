//! Resources, actions and tools over REST.

use axum::Json;
use axum::extract::{Path, Query, State};
use opsward_domain::action::{Action, ActionKind};
use opsward_domain::fault::Fault;
use opsward_domain::name::Workspace;
use opsward_engine::provider;
use opsward_engine::toolbox::{self, Tool};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Sent;
use super::{Caller, Shared};
use crate::problem::Problem;
use crate::view;

type Answer = Result<Json<Value>, Problem>;

/// Longest wait of one request.
const WAIT_MS_MAX: u64 = 120_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Act {
    action: Value,
    #[serde(default)]
    reason: String,
    /// The asker's own explicit yes, where policy lets the asker's yes count.
    #[serde(default)]
    approve: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    #[serde(default)]
    wait_ms: u64,
}

pub(super) fn workspace_of(name: &str) -> Result<Workspace, Fault> {
    Ok(Workspace::parse(name)?)
}

pub(super) async fn act(
    State(shared): State<Shared>,
    Caller(cx): Caller,
    Path(workspace): Path<String>,
    Query(wait): Query<Wait>,
    Sent(body): Sent<Value>,
) -> Answer {
    let workspace = workspace_of(&workspace)?;
    let body: Act = parse(body)?;
    let action = action_of(body.action)?;
    let engine = &shared.engine;
    if body.approve {
        engine.may_answer(&cx, &workspace, action.kind() == ActionKind::CreateWorkspace).await?;
    }
    let stream = engine.act(&cx, &workspace, action, &body.reason).await?;
    let wait_ms = wait.wait_ms.min(WAIT_MS_MAX);
    let mut state =
        engine.settle(&cx, &stream, if body.approve { wait_ms.max(5_000) } else { wait_ms }, view::settled).await?;
    if body.approve
        && let Some((_, asked)) = state.plans.last().and_then(|plan| plan.approval.as_ref().map(|a| (plan, a)))
        && !asked.request.approvers.not_asker
        && view::status(&state) == "awaiting_approval"
    {
        engine.approve(&cx, &asked.request.id).await?;
        state = engine.settle(&cx, &stream, wait_ms, view::settled).await?;
    }
    Ok(Json(view::run(&state)))
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(body: Value) -> Result<T, Fault> {
    serde_json::from_value(body)
        .map_err(|error| Fault::invalid("the body is not as expected").detail(error.to_string()))
}

/// An action from JSON; an unknown kind is told from a wrong argument.
pub(super) fn action_of(value: Value) -> Result<Action, Fault> {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let facts = ActionKind::parse(&kind)?.facts();
    serde_json::from_value(value).map_err(|error| {
        let fields: Vec<&str> = facts.fields.iter().map(|field| field.name).collect();
        Fault::invalid(format!("{kind} is malformed"))
            .detail(error.to_string())
            .hint(format!("arguments: {}", fields.join(", ")))
    })
}

pub(super) async fn workspaces(State(shared): State<Shared>, Caller(cx): Caller) -> Answer {
    observed(&shared, &cx, provider::Query::Workspaces).await
}

pub(super) async fn platform(State(shared): State<Shared>, Caller(cx): Caller) -> Answer {
    let provider = observed(&shared, &cx, provider::Query::Platform).await?.0;
    let attestation = shared.engine.parts.runner.attestation();
    Ok(Json(json!({
        "provider": provider, "sandbox": attestation, "sandbox_holds": attestation.passed(),
        "observe_only": shared.engine.setup.switches.observe_only(),
        "read_only": shared.engine.read_only(),
        "model": shared.engine.parts.model.as_ref().map(|model| model.name()),
        "policy_set": shared.engine.setup.gate.policy_set(),
    })))
}

pub(super) async fn workloads(State(s): State<Shared>, Caller(cx): Caller, Path(ws): Path<String>) -> Answer {
    observed(&s, &cx, provider::Query::Workloads { workspace: workspace_of(&ws)? }).await
}

pub(super) async fn volumes(State(s): State<Shared>, Caller(cx): Caller, Path(ws): Path<String>) -> Answer {
    observed(&s, &cx, provider::Query::Volumes { workspace: workspace_of(&ws)? }).await
}

pub(super) async fn functions(State(s): State<Shared>, Caller(cx): Caller, Path(ws): Path<String>) -> Answer {
    observed(&s, &cx, provider::Query::Functions { workspace: workspace_of(&ws)? }).await
}

pub(super) async fn backups(State(s): State<Shared>, Caller(cx): Caller, Path(ws): Path<String>) -> Answer {
    observed(&s, &cx, provider::Query::Backups { workspace: workspace_of(&ws)? }).await
}

pub(super) async fn workload(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path((ws, name)): Path<(String, String)>,
) -> Answer {
    let resource = provider::resource_of("workload", &name)?;
    let query = provider::Query::Resource { workspace: workspace_of(&ws)?, resource };
    let state = observed(&s, &cx, query).await?.0;
    match state.get("is").and_then(Value::as_str) {
        Some("workload") => Ok(Json(state)),
        _ => Err(Problem(Fault::not_found(format!("there is no workload {name} in {ws}")))),
    }
}

async fn observed(shared: &Shared, cx: &opsward_domain::context::CallContext, query: provider::Query) -> Answer {
    let observation = shared.engine.observe(cx, &query).await?;
    let value = serde_json::to_value(observation).map_err(|error| Fault::internal(error.to_string()))?;
    Ok(Json(value.get("value").cloned().unwrap_or(Value::Null)))
}

pub(super) async fn actions(_caller: Caller) -> Json<Value> {
    Json(json!(ActionKind::ALL.iter().map(|kind| kind.facts()).collect::<Vec<_>>()))
}

/// A tool's declaration with what derives from it.
fn declared(tool: &Tool) -> Value {
    let mut declared = json!(tool);
    declared["effect"] = json!(tool.effect());
    declared["parameters"] = toolbox::schema(tool).parameters;
    declared
}

pub(super) async fn tools(State(shared): State<Shared>, _caller: Caller) -> Json<Value> {
    Json(json!(shared.engine.toolbox.iter().map(declared).collect::<Vec<_>>()))
}

pub(super) async fn tool(State(shared): State<Shared>, _caller: Caller, Path(name): Path<String>) -> Answer {
    let tool = shared.engine.toolbox.get(&name)?;
    Ok(Json(json!({"tool": declared(tool), "schema": toolbox::schema(tool), "handler": tool.handler})))
}

/// Runs a tool. What it proposes is shown, not done: a person who wants it acts, or asks in a conversation.
pub(super) async fn tool_run(
    State(shared): State<Shared>,
    Caller(cx): Caller,
    Path((workspace, name)): Path<(String, String)>,
    Sent(input): Sent<Value>,
) -> Answer {
    let workspace = workspace_of(&workspace)?;
    let tool = shared.engine.toolbox.get(&name)?;
    let input = toolbox::check(tool, &input)?;
    let ran = shared.engine.run_handler(&cx, &workspace, tool, input).await?;
    Ok(Json(json!({
        "answer": ran.answer, "reason": ran.reason, "actions": ran.actions,
        "workspace": ran.workspace.unwrap_or(workspace), "label": ran.label,
    })))
}

/// Runs a tool and takes what it proposes to the gate, as a run of its own.
pub(super) async fn tool_plan(
    State(shared): State<Shared>,
    Caller(cx): Caller,
    Path((workspace, name)): Path<(String, String)>,
    Query(wait): Query<Wait>,
    Sent(input): Sent<Value>,
) -> Answer {
    let workspace = workspace_of(&workspace)?;
    let stream = shared.engine.act_by_tool(&cx, &workspace, &name, input).await?;
    let state = shared.engine.settle(&cx, &stream, wait.wait_ms.min(WAIT_MS_MAX), view::settled).await?;
    Ok(Json(view::run(&state)))
}
