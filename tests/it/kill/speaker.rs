//! A model's endpoint over real HTTP, as an answer to what was said last and to nothing else: asked again after a
//! restart, it says the same.

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

/// Talks until it is dropped.
pub(super) struct Speaker {
    task: tokio::task::JoinHandle<()>,
    address: String,
}

impl Speaker {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let routes = Router::new().route("/v1/chat/completions", post(answer));
        Self { task: tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }), address }
    }

    /// The configuration of a service that asks it.
    pub(super) fn config(&self) -> String {
        format!("[model]\nbase_url = \"http://{}/v1\"\nname = \"speaker\"\n", self.address)
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let last = request["messages"].as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
    let (role, text) = (last["role"].as_str().unwrap_or_default(), last["content"].as_str().unwrap_or_default());
    if role == "user" && text.contains("say nothing") {
        return (StatusCode::BAD_REQUEST, "no").into_response();
    }
    let delta = match (role, text.split_whitespace().collect::<Vec<_>>().as_slice()) {
        ("user", ["show", ..]) => call("show_state", &json!({})),
        ("user", ["misuse", ..]) => call("no_such_tool", &json!({})),
        ("user", ["scale", replicas]) => {
            call("scale_workload", &json!({"workload": "web", "replicas": replicas.parse::<u32>().unwrap()}))
        }
        _ => json!({"role": "assistant", "content": "That is what there is."}),
    };
    let end = if delta["tool_calls"].is_null() { "stop" } else { "tool_calls" };
    let events = format!("{}{}data: [DONE]\n\n", chunk(&delta, None), chunk(&json!({}), Some(end)));
    ([(header::CONTENT_TYPE, "text/event-stream")], events).into_response()
}

fn call(tool: &str, arguments: &Value) -> Value {
    let function = json!({"name": tool, "arguments": arguments.to_string()});
    json!({"role": "assistant", "tool_calls": [{"index": 0, "id": "one", "type": "function", "function": function}]})
}

fn chunk(delta: &Value, end: Option<&str>) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": end});
    let chunk =
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "speaker", "choices": [choice]});
    format!("data: {chunk}\n\n")
}
