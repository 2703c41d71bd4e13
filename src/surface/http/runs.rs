//! Conversations, incidents, approvals and the audit trail over REST.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use opsward_domain::context::CallContext;
use opsward_domain::event::{StreamKind, StreamName};
use opsward_domain::fault::Fault;
use opsward_domain::name::Id;
use opsward_engine::facade::stream;
use opsward_engine::state::RunState;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Sent;
use super::work::workspace_of;
use super::{Caller, Shared};
use crate::problem::Problem;
use crate::view;

type Answer = Result<Json<Value>, Problem>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Say {
    text: String,
    #[serde(default)]
    conversation: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wait {
    wait_ms: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Note {
    note: String,
}

const WAIT_MS_MAX: u64 = 120_000;

pub(super) async fn say(
    State(shared): State<Shared>,
    Caller(cx): Caller,
    Path(workspace): Path<String>,
    Sent(body): Sent<Say>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let workspace = workspace_of(&workspace)?;
    let conversation = body.conversation.as_deref().map(Id::parse).transpose().map_err(Fault::from)?;
    let (id, seq) = shared.engine.say(&cx, &workspace, conversation, &body.text).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"conversation": id, "seq": seq}))))
}

fn named(cx: &CallContext, kind: &str, id: &str) -> Result<StreamName, Fault> {
    let known = [StreamKind::Conversation, StreamKind::Incident, StreamKind::Command];
    let kind = known
        .into_iter()
        .find(|known| known.word() == kind)
        .ok_or_else(|| Fault::not_found("there is no such kind of run").hint("conversation, incident or command"))?;
    Ok(stream(cx, kind, &Id::parse(id)?))
}

/// A run the caller may see: exists, and the caller may look into its workspace.
async fn seen(shared: &Shared, cx: &CallContext, kind: &str, id: &str) -> Result<RunState, Fault> {
    let name = named(cx, kind, id)?;
    let state = shared.engine.run(cx, &name).await?;
    if state.stream_seq == 0 {
        let fault = Fault::not_found(format!("there is no {kind} {id}"));
        return Err(if kind == "incident" { fault.hint("`opsward incident list` shows them") } else { fault });
    }
    match &state.workspace {
        // The asker of a refused request for a workspace that is not theirs may still read the refusal.
        Some(_) if state.asker.as_ref() == Some(&cx.principal.subject) => {}
        workspace => shared.engine.setup.may_observe(cx, workspace.as_ref(), "incidents").await?,
    }
    Ok(state)
}

pub(super) async fn run(
    State(shared): State<Shared>,
    Caller(cx): Caller,
    Path((kind, id)): Path<(String, String)>,
    Query(wait): Query<Wait>,
) -> Answer {
    let state = seen(&shared, &cx, &kind, &id).await?;
    if wait.wait_ms == 0 || view::settled(&state) {
        return Ok(Json(scored(&shared, &cx, &state).await?));
    }
    let state = shared.engine.settle(&cx, &state.stream, wait.wait_ms.min(WAIT_MS_MAX), view::settled).await?;
    Ok(Json(scored(&shared, &cx, &state).await?))
}

/// A run with one line a withheld plan: how it compares with what people did.
async fn scored(shared: &Shared, cx: &CallContext, state: &RunState) -> Result<Value, Fault> {
    let mut run = view::run(state);
    run["scores"] = json!(sentences(shared, cx, state).await?);
    Ok(run)
}

async fn sentences(shared: &Shared, cx: &CallContext, state: &RunState) -> Result<Vec<String>, Fault> {
    if !state.plans.iter().any(|plan| plan.withheld) {
        return Ok(Vec::new());
    }
    let scores = shared.engine.scores(cx, state.opened_at_ms).await?;
    let ours = scores.iter().filter(|score| score.run == state.stream.id && score.kind == state.stream.kind);
    Ok(ours.map(opsward_engine::score::Score::sentence).collect())
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Since {
    since_ms: i64,
}

pub(super) async fn score(State(shared): State<Shared>, Caller(cx): Caller, Query(since): Query<Since>) -> Answer {
    let scores = shared.engine.scores(&cx, since.since_ms).await?;
    let counts: serde_json::Map<String, Value> = opsward_engine::score::count(&scores)
        .into_iter()
        .map(|(verdict, count)| (verdict.word().to_owned(), json!(count)))
        .collect();
    let lines: Vec<Value> = scores
        .iter()
        .map(|score| {
            let mut line = json!(score);
            line["text"] = json!(score.sentence());
            line
        })
        .collect();
    Ok(Json(json!({"counts": counts, "scores": lines})))
}

pub(super) async fn trail(
    State(shared): State<Shared>,
    Caller(cx): Caller,
    Path((kind, id)): Path<(String, String)>,
) -> Answer {
    let state = seen(&shared, &cx, &kind, &id).await?;
    Ok(Json(json!(shared.engine.trail(&cx, &state.stream).await?)))
}

/// The run as a file for `opsward replay`.
pub(super) async fn transcript(
    State(shared): State<Shared>,
    Caller(cx): Caller,
    Path((kind, id)): Path<(String, String)>,
) -> Result<impl IntoResponse, Problem> {
    let state = seen(&shared, &cx, &kind, &id).await?;
    let text = shared.engine.record(&cx, &state.stream).await?.write()?;
    Ok(([(CONTENT_TYPE, "application/json")], text))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Part {
    after: Option<u64>,
    before: Option<u64>,
    limit: Option<u64>,
}

const ITEMS_DEFAULT: u64 = 60;
const ITEMS_MAX: u64 = 200;

/// A part of a run as items, oldest first: what came `after` a place, or the last ones `before` it, or the
/// last ones there are. Places count the run's records.
pub(super) async fn items(
    State(shared): State<Shared>,
    Caller(cx): Caller,
    Path((kind, id)): Path<(String, String)>,
    Query(part): Query<Part>,
) -> Answer {
    let state = seen(&shared, &cx, &kind, &id).await?;
    let limit = part.limit.unwrap_or(ITEMS_DEFAULT).clamp(1, ITEMS_MAX);
    let end = part.before.map_or(state.stream_seq, |before| before.saturating_sub(1).min(state.stream_seq));
    let after = part.after.unwrap_or(end.saturating_sub(limit));
    let count = usize::try_from(limit.min(end.saturating_sub(after))).unwrap_or(0);
    let journal = &shared.engine.parts.journal;
    let mut events = Vec::new();
    // A read may end early; only an empty one is the end.
    while events.len() < count {
        let from = events.last().map_or(after, |event: &opsward_domain::event::Event| event.stream_seq);
        let read = journal.read(&cx, &state.stream, from, count - events.len()).await;
        let read = read.map_err(opsward_engine::parts::journal_fault)?;
        if read.is_empty() {
            break;
        }
        events.extend(read);
    }
    let mut page = view::items(&state, after, &events);
    page["scores"] = json!(sentences(&shared, &cx, &state).await?);
    Ok(Json(page))
}

pub(super) async fn cancel(
    State(shared): State<Shared>,
    Caller(cx): Caller,
    Path((kind, id)): Path<(String, String)>,
) -> Answer {
    shared.engine.cancel(&cx, &named(&cx, &kind, &id)?).await?;
    Ok(Json(json!({"cancelled": true})))
}

pub(super) async fn incidents(State(shared): State<Shared>, Caller(cx): Caller) -> Answer {
    shared.engine.catch_up().await?;
    let mut list = shared.engine.views.incidents(cx.tenant());
    list.retain(|line| cx.principal.role_in(&line.workspace).is_some());
    Ok(Json(json!(list)))
}

pub(super) async fn conversations(State(shared): State<Shared>, Caller(cx): Caller) -> Answer {
    shared.engine.catch_up().await?;
    let mut list = shared.engine.views.conversations(cx.tenant());
    list.retain(|line| cx.principal.role_in(&line.workspace).is_some());
    Ok(Json(json!(list)))
}

pub(super) async fn incident(State(shared): State<Shared>, Caller(cx): Caller, Path(id): Path<String>) -> Answer {
    let state = seen(&shared, &cx, "incident", &id).await?;
    Ok(Json(scored(&shared, &cx, &state).await?))
}

pub(super) async fn report(State(shared): State<Shared>, Caller(cx): Caller, Path(id): Path<String>) -> Answer {
    let state = seen(&shared, &cx, "incident", &id).await?;
    let (claims, text) = opsward_engine::answers::report(&state);
    let trail = shared.engine.trail(&cx, &state.stream).await?;
    Ok(Json(json!({
        "incident": id, "status": view::status(&state), "claims": claims, "text": text.visible(),
        "evidence": state.evidence, "timeline": trail, "scores": sentences(&shared, &cx, &state).await?,
    })))
}

pub(super) async fn approvals(State(shared): State<Shared>, Caller(cx): Caller) -> Answer {
    shared.engine.catch_up().await?;
    let mut list = shared.engine.views.approvals(cx.tenant());
    list.retain(|line| line.workspace.as_ref().is_some_and(|workspace| cx.principal.role_in(workspace).is_some()));
    Ok(Json(json!(list)))
}

pub(super) async fn approve(State(shared): State<Shared>, Caller(cx): Caller, Path(id): Path<String>) -> Answer {
    let id = Id::parse(&id).map_err(Fault::from)?;
    let stream = shared.engine.approve(&cx, &id).await?;
    Ok(Json(json!({"approved": id, "run": stream.id, "kind": stream.kind})))
}

pub(super) async fn refuse(
    State(shared): State<Shared>,
    Caller(cx): Caller,
    Path(id): Path<String>,
    body: Option<Sent<Note>>,
) -> Answer {
    let id = Id::parse(&id).map_err(Fault::from)?;
    let note = body.map(|Sent(note)| note.note).unwrap_or_default();
    let stream = shared.engine.refuse(&cx, &id, &note).await?;
    Ok(Json(json!({"refused": id, "run": stream.id, "kind": stream.kind})))
}

pub(super) async fn verify(State(shared): State<Shared>, Caller(cx): Caller) -> Answer {
    shared.engine.setup.may_observe(&cx, None, "audit").await?;
    let verified = shared.engine.parts.journal.verify(1).await.map_err(opsward_engine::parts::journal_fault)?;
    Ok(Json(json!(verified)))
}
