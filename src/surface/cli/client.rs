//! One HTTP client with the caller's token. The token is read from the environment or a private file and
//! is never printed.

use std::path::PathBuf;

use clap::ArgMatches;
use opsward_domain::fault::{Code, Fault};
use serde_json::Value;

/// Longest part of an address that is somebody's word.
const PART_BYTES_MAX: usize = 200;

/// A connection to a server as somebody.
pub struct Client {
    server: String,
    token: Option<String>,
    http: reqwest::Client,
    door: &'static str,
    /// True if data is to be printed as JSON.
    pub json: bool,
}

/// Where the session of this machine is kept.
pub(super) fn token_file() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))?;
    Some(base.join("opsward").join("token"))
}

impl Client {
    /// Reads `--server`, `--json` and the token's place.
    pub fn from_matches(matches: &ArgMatches) -> Result<Self, Fault> {
        let server = matches.get_one::<String>("server").cloned().unwrap_or_else(|| super::SERVER_DEFAULT.to_owned());
        let token = std::env::var("OPSWARD_TOKEN").ok().or_else(|| {
            let kept = std::fs::read_to_string(token_file()?).ok()?;
            Some(kept.trim().to_owned())
        });
        Self::new(&server, token, matches.get_flag("json"))
    }

    /// A client of `server`, an `http://` or `https://` address.
    pub fn new(server: &str, token: Option<String>, json: bool) -> Result<Self, Fault> {
        if !(server.starts_with("http://") || server.starts_with("https://")) {
            return Err(Fault::invalid(format!("{server:?} is not a server's address"))
                .hint("for example http://127.0.0.1:7700"));
        }
        let http = opsward_tls::client()
            .connect_timeout(std::time::Duration::from_secs(5))
            .build()
            .map_err(|error| Fault::internal(error.to_string()))?;
        Ok(Self { server: server.trim_end_matches('/').to_owned(), token, http, door: "cli", json })
    }

    /// The same client for an assistant, which may do less than the person whose token it has.
    #[must_use]
    pub fn for_assistant(self) -> Self {
        Self { door: "mcp", ..self }
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The caller's token.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// GET below `/api/v1`.
    pub async fn get(&self, path: &str) -> Result<Value, Fault> {
        self.send(self.http.get(self.url(path)?)).await
    }

    /// GET below `/api/v1` with query arguments.
    pub async fn get_with(&self, path: &str, query: &[(String, String)]) -> Result<Value, Fault> {
        let mut url = reqwest::Url::parse(&self.url(path)?).map_err(|error| Fault::invalid(error.to_string()))?;
        url.query_pairs_mut().extend_pairs(query);
        self.send(self.http.get(url)).await
    }

    /// POST below `/api/v1`.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Fault> {
        self.send(self.http.post(self.url(path)?).json(body)).await
    }

    /// DELETE below `/api/v1`.
    pub async fn delete(&self, path: &str) -> Result<Value, Fault> {
        self.send(self.http.delete(self.url(path)?)).await
    }

    /// POST of text below `/api/v1`.
    pub async fn post_text(&self, path: &str, body: String) -> Result<Value, Fault> {
        self.send(self.http.post(self.url(path)?).body(body)).await
    }

    /// The address of `path`, in which people's own words may stand: what an address cannot hold as it is would
    /// be dropped or would lead elsewhere, and is refused instead.
    fn url(&self, path: &str) -> Result<String, Fault> {
        let strange = |part: &&str| {
            let plain = part.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\'));
            !plain || matches!(*part, "." | "..") || part.len() > PART_BYTES_MAX
        };
        let empty = path.contains("//") || path.ends_with('/');
        match path.split(['/', '?', '&']).find(strange) {
            None if !empty => Ok(format!("{}/api/v1{path}", self.server)),
            part => {
                let shown: String = part.unwrap_or_default().chars().take(40).collect();
                Err(Fault::invalid(format!("{shown:?} is not a valid name"))
                    .hint("a name is 1 to 63 of a-z, 0-9 and inner '-'"))
            }
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, Fault> {
        let request = request.header("x-opsward-door", self.door);
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        let value: Option<Value> = serde_json::from_slice(&bytes).ok();
        if status.is_success() {
            return value.ok_or_else(|| self.not_ours("its answer is not JSON"));
        }
        let fault = value.and_then(|mut value| serde_json::from_value(value["error"].take()).ok());
        Err(fault.unwrap_or_else(|| self.not_ours(&format!("it answered {status}"))))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Fault {
        let why = if error.is_timeout() { "no answer in time" } else { "no connection" };
        Fault::new(Code::Unavailable, format!("the server at {} cannot be reached", self.server))
            .detail(why)
            .hint("start one with `opsward up`, or name it with --server or OPSWARD_SERVER")
    }

    fn not_ours(&self, why: &str) -> Fault {
        Fault::new(Code::Unavailable, format!("{} does not answer like opsward", self.server)).detail(why)
    }
}
