//! Request bodies as types. What does not fit is told as every other fault is.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::StatusCode;
use opsward_domain::fault::{Code, Fault};
use serde::de::DeserializeOwned;

use super::{BODY_BYTES_MAX, Shared};
use crate::problem::Problem;

/// A body that was sent as JSON.
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Problem> {
        let sent = <Json<T> as FromRequest<Shared>>::from_request(request, shared).await;
        sent.map(|Json(body)| Self(body)).map_err(|rejection| refusal(&rejection))
    }
}

impl<T: DeserializeOwned> OptionalFromRequest<Shared> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Shared) -> Result<Option<Self>, Problem> {
        let sent = <Json<T> as OptionalFromRequest<Shared>>::from_request(request, shared).await;
        sent.map(|sent| sent.map(|Json(body)| Self(body))).map_err(|rejection| refusal(&rejection))
    }
}

fn refusal(rejection: &JsonRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem(Fault::new(Code::TooMany, format!("the body has more than {BODY_BYTES_MAX} bytes")));
    }
    Problem(
        Fault::invalid("the body is not as expected")
            .detail(rejection.body_text())
            .hint("send JSON with content-type: application/json; /openapi.json describes it"),
    )
}
