//! Logs, metrics, changes and alerts over REST.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use opsward_domain::context::CallContext;
use opsward_domain::fault::Fault;
use serde_json::{Map, Value, json};

use super::body::Sent;
use super::work::workspace_of;
use super::{Caller, Shared};
use crate::problem::Problem;

type Answer = Result<Json<Value>, Problem>;

type Arguments = Query<BTreeMap<String, String>>;

/// Query text as arguments; numbers become numbers. Names are checked where they are used.
fn arguments(Query(given): Arguments) -> Value {
    let value = |key: &str, text: String| match text.parse::<i64>() {
        Ok(number) if matches!(key, "minutes" | "limit") => json!(number),
        Err(_) if key == "previous" => json!(text == "true"),
        _ => json!(text),
    };
    Value::Object(given.into_iter().map(|(key, text)| (key.clone(), value(&key, text))).collect::<Map<_, _>>())
}

async fn looked(shared: &Shared, cx: &CallContext, workspace: &str, what: &str, args: Value) -> Answer {
    let workspace = workspace_of(workspace)?;
    let looking = shared.engine.looking(cx, &workspace);
    let looked = looking.look(what, args).await?;
    Ok(Json(looked.value))
}

pub(super) async fn changes(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path(ws): Path<String>,
    raw: Arguments,
) -> Answer {
    looked(&s, &cx, &ws, "changes", arguments(raw)).await
}

pub(super) async fn platform_events(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path(ws): Path<String>,
    raw: Arguments,
) -> Answer {
    looked(&s, &cx, &ws, "platform_events", arguments(raw)).await
}

pub(super) async fn platform_objects(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path((ws, kind)): Path<(String, String)>,
) -> Answer {
    looked(&s, &cx, &ws, "platform_objects", json!({ "kind": kind })).await
}

pub(super) async fn live_output(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path((ws, name)): Path<(String, String)>,
    raw: Arguments,
) -> Answer {
    let mut args = arguments(raw);
    args["workload"] = json!(name);
    looked(&s, &cx, &ws, "live_output", args).await
}

pub(super) async fn logs(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path(ws): Path<String>,
    raw: Arguments,
) -> Answer {
    looked(&s, &cx, &ws, "logs", arguments(raw)).await
}

pub(super) async fn templates(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path(ws): Path<String>,
    raw: Arguments,
) -> Answer {
    looked(&s, &cx, &ws, "log_templates", arguments(raw)).await
}

pub(super) async fn metrics(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path((ws, metric)): Path<(String, String)>,
    raw: Arguments,
) -> Answer {
    let mut args = arguments(raw);
    args["metric"] = json!(metric);
    looked(&s, &cx, &ws, "metrics", args).await
}

/// Takes lines: one JSON object `{workload, text, at_ms?, level?}` or plain text a line, the workload by query.
pub(super) async fn ingest(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path(ws): Path<String>,
    raw: Arguments,
    body: Bytes,
) -> Answer {
    let workspace = workspace_of(&ws)?;
    let args = arguments(raw);
    let text = String::from_utf8_lossy(&body);
    let kept = s.engine.ingest_text(&cx, &workspace, args.get("workload").and_then(Value::as_str), &text).await?;
    Ok(Json(json!({"ingested": kept})))
}

/// An Alertmanager webhook (version 4). Firing alerts open or join incidents, resolved ones clear.
pub(super) async fn alerts(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path(ws): Path<String>,
    Sent(body): Sent<Value>,
) -> Answer {
    let workspace = workspace_of(&ws)?;
    let taken = s.engine.webhook(&cx, &workspace, &body).await?;
    // An alert that ended and that nobody here knew opens nothing, and is no mistake of the sender.
    let sent = body.get("alerts").and_then(Value::as_array).is_some_and(|alerts| !alerts.is_empty());
    if taken.is_empty() && !sent {
        return Err(Problem(Fault::invalid("the body holds no alerts").hint("send an Alertmanager version 4 webhook")));
    }
    Ok(Json(json!({"accepted": taken})))
}
