//! What a model client is told: where, which model, which key by reference, and every bound. A key is
//! never part of a text that anybody prints.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use opsward_ports::model::Error;

/// Where the key comes from; it is read anew for every request, so that it can be rotated.
#[derive(Clone, PartialEq, Eq)]
pub enum Key {
    /// The endpoint wants none.
    None,
    /// In an environment variable of this name.
    Variable(String),
    /// In a file, surrounding white space aside.
    File(PathBuf),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reference())
    }
}

impl Key {
    /// How people name it: never the key itself.
    pub fn reference(&self) -> String {
        match self {
            Self::None => "no key".to_owned(),
            Self::Variable(name) => format!("variable {name}"),
            Self::File(path) => format!("file {}", path.display()),
        }
    }

    /// Reads it. Errors name the reference only.
    pub(crate) fn read(&self) -> Result<Option<String>, Error> {
        let missing = || Error::Refused(format!("the key is not in {}", self.reference()));
        let text = match self {
            Self::None => return Ok(None),
            Self::Variable(name) => std::env::var(name).map_err(|_| missing())?,
            Self::File(path) => std::fs::read_to_string(path).map_err(|_| missing())?,
        };
        let key = text.trim();
        let printable = |key: &&str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        Some(key).filter(printable).map(|key| Some(key.to_owned())).ok_or_else(missing)
    }
}

/// Everything a client is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address up to and with the version, such as `http://localhost:11434/v1`; no credentials in it.
    pub base_url: String,
    /// Name of the model as the endpoint knows it.
    pub model: String,
    /// Where the key comes from.
    pub key: Key,
    /// `auto`, or the name of a row of [`crate::dialect::DIALECTS`].
    pub dialect: String,
    /// Tokens of context, prompt and reply together.
    pub context_tokens: u32,
    /// Longest wait for a connection.
    pub connect_timeout_ms: u64,
    /// Longest wait from the request to the first byte of the answer; a cold local model loads meanwhile.
    pub first_byte_timeout_ms: u64,
    /// Longest silence between two pieces of an answer.
    pub idle_timeout_ms: u64,
    /// Longest time for a whole answer, retries included.
    pub total_timeout_ms: u64,
    /// Most bytes of one answer.
    pub reply_bytes_max: usize,
    /// Most retries per hundred calls.
    pub retry_percent_max: u32,
    /// Wait before a retry where the endpoint names none; also the unit that grows with each retry.
    pub backoff_ms: u64,
    /// Longest wait that an endpoint may ask for; above it the call fails as busy at once.
    pub wait_ms_max: u64,
}

impl Options {
    /// Options with the usual bounds for `model` at `base_url`.
    pub fn new(base_url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            model: model.into(),
            key: Key::None,
            dialect: "auto".to_owned(),
            context_tokens: 16_384,
            connect_timeout_ms: 3_000,
            first_byte_timeout_ms: 120_000,
            idle_timeout_ms: 30_000,
            total_timeout_ms: 300_000,
            reply_bytes_max: 4 * 1024 * 1024,
            retry_percent_max: 20,
            backoff_ms: 250,
            wait_ms_max: 10_000,
        }
    }

    pub(crate) fn total(&self) -> Duration {
        Duration::from_millis(self.total_timeout_ms)
    }
}
