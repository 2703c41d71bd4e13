//! A language model behind a chat endpoint. Its words are data, its calls are proposals.
//!
//! Contract: a reply is complete and well-formed or an error (a cut stream never yields a call);
//! streamed pieces are for display only; the key is held by reference and never appears in an error;
//! dropping the future cancels the request.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod scripted;

use std::sync::Arc;

use async_trait::async_trait;
use opsward_domain::event::Usage;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One message of a transcript.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Message {
    /// Our instructions.
    System {
        /// Text.
        text: String,
    },
    /// A person, or evidence fenced as data.
    User {
        /// Text.
        text: String,
    },
    /// The model, earlier.
    Assistant {
        /// Text.
        text: String,
        /// Calls it made.
        calls: Vec<Call>,
    },
    /// What a call returned.
    Tool {
        /// Which call.
        call: String,
        /// Result as text.
        text: String,
    },
}

/// A call as the model made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Identity; made by us where the endpoint gave none or gave one twice.
    pub id: String,
    /// Tool name.
    pub name: String,
    /// Parsed arguments; a mistake is kept as text so that it can go back as data.
    pub arguments: Result<Value, String>,
}

/// A tool the model may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSchema {
    /// Name, `[a-z0-9_]`.
    pub name: String,
    /// When to use it and when not.
    pub description: String,
    /// JSON schema of its input.
    pub parameters: Value,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Transcript, oldest first.
    pub messages: Vec<Message>,
    /// Tools; empty means: answer in words.
    pub tools: Vec<ToolSchema>,
    /// Most tokens of the reply.
    pub reply_tokens_max: u32,
}

/// A complete reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Text, possibly empty if there are calls.
    pub text: String,
    /// Calls in order.
    pub calls: Vec<Call>,
    /// Cost.
    pub usage: Usage,
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Refused for now; try later.
    #[error("model endpoint is busy: {0}")]
    Busy(String),
    /// No answer in time.
    #[error("model endpoint timed out after {0} ms")]
    Timeout(u64),
    /// Not reachable or broken.
    #[error("model endpoint failed: {0}")]
    Failed(String),
    /// It answered something that is no reply.
    #[error("model endpoint answered nonsense: {0}")]
    Nonsense(String),
    /// The request was refused for good (key, model name, size).
    #[error("model endpoint refused the request: {0}")]
    Refused(String),
}

/// Receives pieces of text while they arrive; must not block.
pub type Sink = Arc<dyn Fn(&str) + Send + Sync>;

/// A model.
#[async_trait]
pub trait Model: Send + Sync {
    /// Name for records, such as `qwen3@localhost`.
    fn name(&self) -> String;
    /// Tokens of context it takes, prompt and reply together.
    fn context_tokens(&self) -> u32;
    /// Completes `request`.
    async fn complete(&self, request: &Request, sink: Option<Sink>) -> Result<Reply, Error>;
}
