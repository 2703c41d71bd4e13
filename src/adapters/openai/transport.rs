//! One attempt over HTTP: sends a body, reads what comes back within the bounds, and says what went
//! wrong in words that carry no key and no control character.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use opsward_domain::label::visible;
use opsward_ports::model::{Error, Reply, Request, Sink};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::dialect::{Dialect, Schema};
use crate::display::Display;
use crate::fold::{Fold, error_words};
use crate::options::Options;
use crate::request;
use crate::sse::Decoder;

/// Most characters of an endpoint's own words in an error.
const QUOTED_CHARS_MAX: usize = 300;
/// Most bytes of a refusal or a list of models that are read.
const SIDE_BYTES_MAX: usize = 1024 * 1024;
/// Longest wait for what may follow the finish of an answer.
const FINISH_GRACE_MS: u64 = 1_000;
/// Longest wait for the list of models: it only helps to guess well.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why an attempt did not give a reply.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// The endpoint's refusal of the request's form, for [`crate::dialect::adapt`].
    pub(crate) refusal: Option<String>,
    /// True if the same request may succeed in a moment.
    pub(crate) retry: bool,
    /// How long the endpoint asked to wait.
    pub(crate) wait: Option<Duration>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let retry = matches!(error, Error::Failed(_));
        Self { error, refusal: None, retry, wait: None }
    }
}

/// Where attempts go.
pub(crate) struct Transport {
    pub(crate) client: reqwest::Client,
    pub(crate) options: Options,
}

impl Transport {
    /// One attempt. `shown` becomes true as soon as a piece was displayed.
    pub(crate) async fn attempt(
        &self,
        dialect: &Dialect,
        request: &Request,
        sink: Option<Sink>,
        shown: &mut bool,
    ) -> Result<Reply, Failure> {
        let body = request::body(dialect, &self.options.model, request)?;
        let sent_bytes = body.len();
        let key = self.options.key.read()?;
        let scrub = |error: Failure| scrubbed(error, key.as_deref());
        let mut post = self
            .client
            .post(format!("{}/chat/completions", self.options.base_url))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "text/event-stream, application/json")
            .body(body);
        if let Some(value) = bearer(key.as_deref()) {
            post = post.header(AUTHORIZATION, value);
        }
        let wait = self.options.first_byte_timeout_ms;
        let response = within(wait, post.send()).await?.map_err(|error| unreachable_words(&error)).map_err(scrub)?;
        if !response.status().is_success() {
            return Err(scrub(self.refused(response).await));
        }
        let mut display = Display::new(sink, !request.tools.is_empty());
        let result = self.read(response, &mut display).await;
        *shown |= display.has_shown();
        let fold = result.map_err(scrub)?;
        let reply = fold.finish(request, sent_bytes, dialect.schema == Schema::Strict).map_err(Failure::from);
        let reply = reply.map_err(scrub)?;
        display.finish(&reply.text);
        Ok(reply)
    }

    /// Reads a successful answer: a stream of events, or one JSON value from endpoints that do not stream.
    async fn read(&self, response: Response, display: &mut Display) -> Result<Fold, Failure> {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let whole = kind.contains("json") && !kind.contains("ndjson");
        if kind.contains("html") {
            return Err(html().into());
        }
        let mut fold = Fold::default();
        if whole {
            let bytes = self.collect(response, self.options.reply_bytes_max).await?;
            let value: Value = serde_json::from_slice(&bytes).map_err(|_| nonsense(&bytes))?;
            display.push(&fold.value(&value)?);
            return Ok(fold);
        }
        let mut decoder = Decoder::default();
        let mut stream = response.bytes_stream();
        let (mut read_bytes, mut events_seen) = (0, false);
        let mut first: Vec<u8> = Vec::new();
        while !fold.is_done() {
            // After its finish an answer only has usage and an end mark left, which not everybody sends.
            let finished = fold.is_finished();
            let limit = if finished { FINISH_GRACE_MS } else { self.options.idle_timeout_ms };
            let piece = match within(limit, stream.next()).await {
                Err(_) if finished => break,
                waited => waited?,
            };
            let Some(piece) = piece else { break };
            let piece = piece.map_err(|error| Error::Failed(format!("the answer was cut: {}", root(&error))))?;
            read_bytes += piece.len();
            if read_bytes > self.options.reply_bytes_max {
                return Err(too_long(self.options.reply_bytes_max).into());
            }
            if first.len() < QUOTED_CHARS_MAX {
                first.extend(piece.iter().take(QUOTED_CHARS_MAX));
            }
            for event in decoder.push(&piece) {
                events_seen = true;
                display.push(&fold.event(&event)?);
            }
        }
        for event in decoder.finish() {
            events_seen = true;
            display.push(&fold.event(&event)?);
        }
        if !events_seen && !first.is_empty() {
            return Err(nonsense(&first).into());
        }
        Ok(fold)
    }

    async fn collect(&self, response: Response, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let mut stream = response.bytes_stream();
        let mut all = Vec::new();
        while let Some(piece) = within(self.options.idle_timeout_ms, stream.next()).await? {
            let piece: Bytes = piece.map_err(|error| Error::Failed(format!("the answer was cut: {}", root(&error))))?;
            if all.len() + piece.len() > bytes_max {
                return Err(too_long(bytes_max));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    async fn refused(&self, response: Response) -> Failure {
        let status = response.status();
        let wait = retry_after(&response);
        let bytes = self.collect(response, SIDE_BYTES_MAX).await.unwrap_or_default();
        let words = refusal_words(&bytes);
        let said = format!("{} {}", status.as_u16(), quoted(&words));
        let said = said.trim().to_owned();
        let (error, retry) = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => (Error::Busy(said), true),
            StatusCode::REQUEST_TIMEOUT => (Error::Failed(said), true),
            StatusCode::NOT_FOUND if looks_like_html(&bytes) || words.is_empty() => {
                (Error::Refused(format!("{said}: is the base address right? it usually ends in /v1")), false)
            }
            status if status.is_server_error() => (Error::Failed(said), true),
            status if status.is_redirection() => (Error::Refused(format!("{said}: redirects are not followed")), false),
            _ => (Error::Refused(said), false),
        };
        let about_form = matches!(status.as_u16(), 400 | 404 | 405 | 415 | 422 | 500 | 501);
        Failure { error, refusal: about_form.then_some(words), retry, wait }
    }

    /// Who owns the model, by the endpoint's own list; nothing if it cannot be learned quickly.
    pub(crate) async fn owner(&self) -> Option<String> {
        let key = self.options.key.read().ok()?;
        let mut get = self.client.get(format!("{}/models", self.options.base_url));
        if let Some(value) = bearer(key.as_deref()) {
            get = get.header(AUTHORIZATION, value);
        }
        let list = async {
            let response = get.send().await.ok().filter(|response| response.status().is_success())?;
            let bytes = self.collect(response, SIDE_BYTES_MAX).await.ok()?;
            serde_json::from_slice::<Value>(&bytes).ok()
        };
        let list = tokio::time::timeout(PROBE_TIMEOUT, list).await.ok()??;
        let models = list.get("data")?.as_array()?;
        let ours = models.iter().find(|model| model.get("id").is_some_and(|id| *id == self.options.model.as_str()));
        ours.or_else(|| models.first())?.get("owned_by")?.as_str().map(str::to_owned)
    }
}

/// Waits at most `limit_ms`.
async fn within<T>(limit_ms: u64, future: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(Duration::from_millis(limit_ms), future).await.map_err(|_| Error::Timeout(limit_ms))
}

fn bearer(key: Option<&str>) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key?)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The innermost cause, without the address.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    quoted(&cause.to_string())
}

fn unreachable_words(error: &reqwest::Error) -> Failure {
    let what = if error.is_connect() { "cannot connect" } else { "the request failed" };
    Error::Failed(format!("{what}: {}", root(error))).into()
}

fn quoted(words: &str) -> String {
    let short: String = words.split_whitespace().collect::<Vec<_>>().join(" ");
    visible(&short.chars().take(QUOTED_CHARS_MAX).collect::<String>())
}

fn refusal_words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if looks_like_html(bytes) {
        return "an HTML page".to_owned();
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => {
            let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(&value);
            let words = error_words(error);
            // The field at fault is often named beside the message.
            match error.get("param").and_then(Value::as_str) {
                Some(param) => format!("{words} ({param})"),
                None => words,
            }
        }
        Err(_) => text.into_owned(),
    }
}

fn looks_like_html(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<')
}

fn html() -> Error {
    Error::Nonsense("an HTML page; is the base address right? it usually ends in /v1".to_owned())
}

fn nonsense(bytes: &[u8]) -> Error {
    if looks_like_html(bytes) {
        return html();
    }
    Error::Nonsense(format!("neither events nor JSON: {}", quoted(&String::from_utf8_lossy(bytes))))
}

fn too_long(bytes_max: usize) -> Error {
    Error::Nonsense(format!("the answer is longer than {bytes_max} bytes"))
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds: f64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Takes the key out of an error that quotes it.
fn scrubbed(mut failure: Failure, key: Option<&str>) -> Failure {
    let Some(key) = key else { return failure };
    let clean = |words: &mut String| *words = words.replace(key, "[key]");
    match &mut failure.error {
        Error::Busy(words) | Error::Failed(words) | Error::Nonsense(words) | Error::Refused(words) => clean(words),
        Error::Timeout(_) => {}
    }
    failure
}
