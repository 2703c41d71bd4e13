//! The feed: journal events with sequence numbers over WebSocket, replayed from a cursor, and the same
//! as pages of JSON. Pieces of a model's reply are display only and have no sequence number.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::Response;
use opsward_domain::context::CallContext;
use opsward_domain::fault::{Code, Fault};
use opsward_engine::facade::Engine;
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::Token;
use super::{Caller, Shared};
use crate::problem::Problem;

const PAGE_EVENTS_MAX: usize = 500;
/// Most readers at once.
pub const READERS_MAX: usize = 256;
/// Times without a word after which a reader is gone.
const SILENT_PINGS_MAX: u32 = 3;

/// How long readers of the feed are waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A reader that takes longer for one frame is dropped; it comes back with its cursor.
    pub send_within: Duration,
    /// How often a reader is asked whether it is still there; one that says nothing for three such times is
    /// dropped.
    pub ping_every: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { send_within: Duration::from_secs(20), ping_every: Duration::from_secs(30) }
    }
}

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
    Token(token): Token,
    Query(cursor): Query<Cursor>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let place = s.readers.clone().try_acquire_owned().map_err(|_| {
        Fault::new(Code::TooMany, format!("{READERS_MAX} readers follow the feed already"))
            .hint("close one, or read pages of /api/v1/events")
    })?;
    let (engine, patience) = (s.engine.clone(), s.patience);
    let reader = Reader { engine, cx, token, after: cursor.after, heard: Instant::now(), patience };
    Ok(upgrade.protocols(["opsward.v1"]).on_upgrade(move |socket| async move {
        if let Err(end) = reader.follow(socket).await {
            tracing::debug!(reason = %end, "feed ended");
        }
        drop(place);
    }))
}

/// One who follows the feed, with the rights of each moment.
struct Reader {
    engine: Arc<Engine>,
    cx: CallContext,
    token: String,
    after: u64,
    heard: Instant,
    patience: Patience,
}

impl Reader {
    async fn follow(mut self, mut socket: WebSocket) -> Result<(), String> {
        let mut head = self.engine.head();
        let mut pieces = self.engine.drivers.pieces.follow();
        let mut ping = tokio::time::interval(self.patience.ping_every);
        loop {
            self.catch_up(&mut socket).await?;
            tokio::select! {
                changed = head.changed() => changed.map_err(|error| error.to_string())?,
                piece = pieces.recv() => {
                    if let Ok((stream, text)) = piece && self.engine.may_see(&self.cx, &stream) {
                        let text = json!({"piece": text, "stream": stream}).to_string();
                        self.send(&mut socket, Message::Text(text.into())).await?;
                    }
                }
                _ = ping.tick() => {
                    if self.heard.elapsed() > SILENT_PINGS_MAX * self.patience.ping_every {
                        return Err("the reader is gone".into());
                    }
                    self.send(&mut socket, Message::Ping(Bytes::new())).await?;
                }
                frame = socket.recv() => match frame {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err("closed by the reader".into()),
                    Some(Ok(_)) => self.heard = Instant::now(),
                },
            }
        }
    }

    /// Sends everything there is. Whoever has lost the token or the account gets nothing more.
    async fn catch_up(&mut self, socket: &mut WebSocket) -> Result<(), String> {
        let credential = opsward_engine::credential(self.token.clone());
        self.cx.principal = self.engine.authenticate(&credential).await.map_err(|fault| fault.to_string())?.principal;
        loop {
            let page =
                self.engine.feed(&self.cx, self.after, PAGE_EVENTS_MAX).await.map_err(|fault| fault.to_string())?;
            for event in &page.events {
                let text = serde_json::to_string(event).map_err(|error| error.to_string())?;
                self.send(socket, Message::Text(text.into())).await?;
            }
            self.after = page.cursor;
            if page.end {
                return Ok(());
            }
        }
    }

    async fn send(&self, socket: &mut WebSocket, message: Message) -> Result<(), String> {
        match tokio::time::timeout(self.patience.send_within, socket.send(message)).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err("the reader is too slow".into()),
        }
    }
}
