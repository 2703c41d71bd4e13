//! The Model Context Protocol for assistants: a thin client of a running service, under its caller's token.
//! It looks and proposes. It has no tool that approves, and writes nothing but protocol to standard output.

mod calls;
mod catalogue;
mod server;
mod text;

use async_trait::async_trait;
use opsward_domain::fault::Fault;
use opsward_domain::name::Workspace;
use serde_json::Value;

pub use server::serve;

/// What this needs of opsward: its REST interface below `/api/v1`, as one caller.
#[async_trait]
pub trait Api: Send + Sync {
    /// GET of `path`, which begins with a slash.
    async fn get(&self, path: &str) -> Result<Value, Fault>;
    /// POST of `body` to `path`.
    async fn post(&self, path: &str, body: &Value) -> Result<Value, Fault>;
    /// The address at which people find the service.
    fn address(&self) -> &str;
}

/// What is chosen at start.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where a call goes that names no workspace; without it, the only one the caller has.
    pub workspace: Option<Workspace>,
}
