//! Who is calling, and from which page. A token is a bearer header, or the WebSocket subprotocol that a
//! browser can set; never a cookie and never a query string.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use opsward_domain::context::{CallContext, Origin};
use opsward_domain::fault::{Code, Fault};
use opsward_engine::identity::Holder;

use super::Shared;
use crate::problem::Problem;

/// Prefix of the WebSocket subprotocol that carries a token.
pub(super) const TOKEN_PROTOCOL: &str = "bearer.";
/// Header by which our own programs say what they are. It can only lower what a request may do: a terminal
/// is a person as the API is, an assistant is less.
const DOOR: &str = "x-opsward-door";

/// An authenticated caller.
pub struct Caller(pub CallContext);

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        let token = bearer(parts).ok_or_else(|| {
            Fault::new(Code::Denied, "no token was sent")
                .hint("send Authorization: Bearer TOKEN; `opsward person token` makes one")
        })?;
        let session = shared.engine.authenticate(&opsward_engine::credential(token)).await?;
        let door = parts.headers.get(DOOR).and_then(|door| door.to_str().ok());
        let origin = match (session.holder, door) {
            (Holder::Assistant, _) | (_, Some("mcp")) => Origin::Agent,
            (Holder::Person, Some("cli")) => Origin::Cli,
            (Holder::Person, _) => Origin::Api,
        };
        Ok(Self(CallContext::new(session.principal, origin)))
    }
}

/// The token that a request was sent with, for requests that last.
pub(super) struct Token(pub(super) String);

impl FromRequestParts<Shared> for Token {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _shared: &Shared) -> Result<Self, Problem> {
        bearer(parts).map(Self).ok_or_else(|| Problem(Fault::denied("no token was sent")))
    }
}

fn bearer(parts: &Parts) -> Option<String> {
    if let Some(header) = parts.headers.get(AUTHORIZATION) {
        return header.to_str().ok()?.strip_prefix("Bearer ").map(|token| token.trim().to_owned());
    }
    let offered = parts.headers.get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    offered.split(',').find_map(|protocol| protocol.trim().strip_prefix(TOKEN_PROTOCOL).map(str::to_owned))
}

/// Carries a request that changes something to its end, whether or not its caller still waits for the
/// answer: what was recorded is also begun.
pub(super) async fn to_its_end(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => Problem(Fault::internal("the request died").detail(error.to_string())).into_response(),
    }
}

/// Refuses requests for a host that is not ours (DNS rebinding) or from a page that is not ours.
pub(super) async fn known_host(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !shared.hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
        return Problem(
            Fault::denied("this address is not one of mine")
                .detail(opsward_domain::label::visible(&host.chars().take(80).collect::<String>()))
                .hint("use the printed address, or add the host to server.hosts in the configuration"),
        )
        .into_response();
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let page = origin.to_str().unwrap_or_default();
        let ours = page
            .split_once("://")
            .is_some_and(|(_, authority)| shared.hosts.iter().any(|known| known.eq_ignore_ascii_case(authority)));
        if !ours {
            return Problem(Fault::denied("requests from pages of other origins are refused")).into_response();
        }
    }
    next.run(request).await
}
