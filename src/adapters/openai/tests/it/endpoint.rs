//! A scripted endpoint: a function of the request's body says what comes back, byte by byte if wanted.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use futures::StreamExt as _;
use opsward_openai::{OpenAiModel, Options};
use serde_json::{Value, json};

/// What comes back for one request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// A status, a content type and a body.
    Plain(u16, &'static str, String),
    /// The same with a `Retry-After` header.
    Later(u16, &'static str),
    /// Events, in pieces of so many bytes, ended properly.
    Events(Vec<u8>, usize),
    /// Bytes of events, and then the connection breaks.
    Broken(Vec<u8>),
    /// Bytes of events, and then nothing more for ever.
    Silent(Vec<u8>),
    /// One byte in so many milliseconds, for ever.
    Drip(u64),
    /// No answer at all.
    Hang,
    /// Endless words.
    Flood,
}

type Script = dyn Fn(&Value, usize) -> Answer + Send + Sync;

pub(crate) struct Endpoint {
    pub(crate) base_url: String,
    pub(crate) bodies: Arc<Mutex<Vec<Value>>>,
    pub(crate) keys: Arc<Mutex<Vec<Option<String>>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Endpoint {
    /// Listens on a free port; `owner` is who its list of models names.
    pub(crate) async fn start(
        owner: Option<&'static str>,
        script: impl Fn(&Value, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let bodies: Arc<Mutex<Vec<Value>>> = Arc::default();
        let keys: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
        let script: Arc<Script> = Arc::new(script);
        let (seen, keys_seen) = (bodies.clone(), keys.clone());
        let chat = move |request: Request| {
            let (script, seen, keys_seen) = (script.clone(), seen.clone(), keys_seen.clone());
            async move {
                let key = request.headers().get(header::AUTHORIZATION).map(|key| key.to_str().unwrap().to_owned());
                keys_seen.lock().unwrap().push(key);
                let bytes = axum::body::to_bytes(request.into_body(), 10_000_000).await.unwrap();
                let body: Value = serde_json::from_slice(&bytes).unwrap();
                let nth = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(body.clone());
                    seen.len() - 1
                };
                respond(script(&body, nth)).await
            }
        };
        let models = move || async move {
            match owner {
                Some(owner) => axum::Json(json!({"data": [
                    {"id": "another", "owned_by": "somebody"}, {"id": "test-model", "owned_by": owner}
                ]})),
                None => axum::Json(json!({"models": "no list here"})),
            }
        };
        let app = Router::new().route("/v1/chat/completions", post(chat)).route("/v1/models", get(models));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { base_url, bodies, keys, task }
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            connect_timeout_ms: 2_000,
            first_byte_timeout_ms: 5_000,
            idle_timeout_ms: 2_000,
            total_timeout_ms: 20_000,
            backoff_ms: 1,
            ..Options::new(&self.base_url, "test-model")
        }
    }

    pub(crate) fn model(&self) -> OpenAiModel {
        OpenAiModel::new(self.options()).unwrap()
    }

    pub(crate) fn requests(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }
}

fn pieces(bytes: &[u8], size: usize) -> Vec<Result<Bytes, Infallible>> {
    bytes.chunks(size.max(1)).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

async fn respond(answer: Answer) -> Response {
    let events = |body: Body| Response::builder().header(header::CONTENT_TYPE, "text/event-stream").body(body).unwrap();
    match answer {
        Answer::Plain(status, kind, body) => {
            Response::builder().status(status).header(header::CONTENT_TYPE, kind).body(Body::from(body)).unwrap()
        }
        Answer::Later(status, seconds) => {
            let status = StatusCode::from_u16(status).unwrap();
            Response::builder().status(status).header(header::RETRY_AFTER, seconds).body(Body::empty()).unwrap()
        }
        Answer::Events(bytes, size) => events(Body::from_stream(futures::stream::iter(pieces(&bytes, size)))),
        Answer::Broken(bytes) => {
            let broken = futures::stream::iter([Ok(Bytes::from(bytes)), Err(std::io::Error::other("broken"))]);
            events(Body::from_stream(broken))
        }
        Answer::Silent(bytes) => {
            let first = futures::stream::iter(pieces(&bytes, bytes.len()));
            events(Body::from_stream(first.chain(futures::stream::pending())))
        }
        Answer::Drip(wait_ms) => events(Body::from_stream(futures::stream::unfold((), move |()| async move {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b":")), ()))
        }))),
        Answer::Hang => std::future::pending().await,
        Answer::Flood => {
            let words = chunk(&json!({"content": "x".repeat(10_000)}), None);
            events(Body::from_stream(futures::stream::repeat_with(move || Ok::<_, Infallible>(words.clone()))))
        }
    }
}

/// One chunk of a stream as an event.
pub(crate) fn chunk(delta: &Value, finish: Option<&str>) -> String {
    let value = json!({
        "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "test-model",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]
    });
    format!("data: {value}\n\n")
}

pub(crate) const DONE: &str = "data: [DONE]\n\n";
