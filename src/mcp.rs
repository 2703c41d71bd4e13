//! Joins the terminal's client to the assistants' surface. Adds no right and no request of its own.

use std::sync::Arc;

use async_trait::async_trait;
use opsward_domain::fault::Fault;
use opsward_domain::name::Workspace;
use opsward_mcp::{Api, Options};
use opsward_surface::cli::Client;
use serde_json::Value;

struct Rest(Client);

#[async_trait]
impl Api for Rest {
    async fn get(&self, path: &str) -> Result<Value, Fault> {
        self.0.get(path).await
    }
    async fn post(&self, path: &str, body: &Value) -> Result<Value, Fault> {
        self.0.post(path, body).await
    }
    fn address(&self) -> &str {
        self.0.server()
    }
}

/// Serves one assistant until it closes standard input. `workspace` is where calls go that name none.
pub async fn serve(client: Client, workspace: Option<Workspace>) -> Result<(), Fault> {
    opsward_mcp::serve(Arc::new(Rest(client)), Options { workspace }).await
}
