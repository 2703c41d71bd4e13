//! The one place where a fault becomes a status, an exit code or text.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use opsward_domain::fault::{Code, Fault};
use serde_json::json;

/// A fault on its way out of HTTP.
#[derive(Debug)]
pub struct Problem(pub Fault);

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

/// The HTTP status of a code.
pub fn status(code: Code) -> StatusCode {
    match code {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Denied => StatusCode::FORBIDDEN,
        Code::NeedsApproval => StatusCode::ACCEPTED,
        Code::InvalidInput => StatusCode::BAD_REQUEST,
        Code::Conflict => StatusCode::CONFLICT,
        Code::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Code::NoRoom => StatusCode::INSUFFICIENT_STORAGE,
        Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Corrupt | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
    }
}

/// The exit code of a command that ended with this code: 2 for wrong input, 3 for a missing yes, 4 for a
/// refusal, 1 for the rest.
pub fn exit_code(code: Code) -> u8 {
    match code {
        Code::InvalidInput => 2,
        Code::NeedsApproval => 3,
        Code::Denied => 4,
        _ => 1,
    }
}

/// A fault as lines for a terminal.
pub fn text(fault: &Fault) -> String {
    let mut lines = format!("error: {}", fault.message);
    for (name, part) in [("detail", &fault.detail), ("hint", &fault.hint)] {
        if !part.is_empty() {
            lines.push_str(&format!("\n  {name}: {part}"));
        }
    }
    opsward_domain::label::visible(&lines)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if matches!(self.0.code, Code::Internal | Code::Corrupt) {
            tracing::error!(code = ?self.0.code, fault = %self.0, "request failed");
        }
        (status(self.0.code), Json(json!({ "error": self.0 }))).into_response()
    }
}
