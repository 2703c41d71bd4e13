//! The feed: journal events with sequence numbers over WebSocket, replayed from a cursor, and the same
//! as pages of JSON. Pieces of a model's reply are display only and have no sequence number.

use axum::Json;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::Response;
use opsward_domain::context::CallContext;
use opsward_engine::facade::Engine;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

use super::{Caller, Shared};
use crate::problem::Problem;

const PAGE_EVENTS_MAX: usize = 500;
/// A reader that takes longer for one frame is dropped; it comes back with its cursor.
const SEND_WITHIN_S: u64 = 20;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Cursor {
    after: u64,
    limit: Option<usize>,
}

pub(super) async fn events(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Query(cursor): Query<Cursor>,
) -> Result<Json<Value>, Problem> {
    let limit = cursor.limit.unwrap_or(100).clamp(1, PAGE_EVENTS_MAX);
    let page = s.engine.feed(&cx, cursor.after, limit).await?;
    Ok(Json(json!({"events": page.events, "cursor": page.cursor, "end": page.end, "head": *s.engine.head().borrow()})))
}

pub(super) async fn feed(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Query(cursor): Query<Cursor>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let engine = s.engine.clone();
    upgrade.protocols(["opsward.v1"]).on_upgrade(move |socket| async move {
        if let Err(end) = follow(socket, engine, cx, cursor.after).await {
            tracing::debug!(reason = %end, "feed ended");
        }
    })
}

async fn follow(mut socket: WebSocket, engine: Arc<Engine>, cx: CallContext, mut after: u64) -> Result<(), String> {
    let mut head = engine.head();
    let mut pieces = engine.drivers.pieces.follow();
    loop {
        loop {
            let page = engine.feed(&cx, after, PAGE_EVENTS_MAX).await.map_err(|fault| fault.to_string())?;
            for event in &page.events {
                let text = serde_json::to_string(event).map_err(|error| error.to_string())?;
                send(&mut socket, text).await?;
            }
            after = page.cursor;
            if page.end {
                break;
            }
        }
        tokio::select! {
            changed = head.changed() => changed.map_err(|error| error.to_string())?,
            piece = pieces.recv() => {
                if let Ok((stream, text)) = piece && engine.may_see(&cx, &stream) {
                    send(&mut socket, json!({"piece": text, "stream": stream}).to_string()).await?;
                }
            }
            frame = socket.recv() => match frame {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Err("closed by the reader".into()),
                Some(Ok(_)) => {}
            },
        }
    }
}

async fn send(socket: &mut WebSocket, text: String) -> Result<(), String> {
    let sending = socket.send(Message::Text(text.into()));
    match tokio::time::timeout(std::time::Duration::from_secs(SEND_WITHIN_S), sending).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_) => Err("the reader is too slow".into()),
    }
}
