//! The public interface as an ordinary developer uses it. Must never use anything that is not in
//! the published description of that interface.

use crate::http;
use serde_json::{Value, json};
use std::time::Duration;

/// How long the platform may take for an action.
const ACTION_WAIT_MS: u64 = 30_000;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A workspace as seen through the interface.
#[derive(Debug)]
pub(super) struct Api {
    addr: String,
    token: String,
    workspace: String,
}

fn valid_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl Api {
    pub(super) fn new(url: &str, token: String, workspace: &str) -> Result<Self, String> {
        let addr = url.strip_prefix("http://").ok_or("--api: only http:// on this machine")?;
        if !valid_name(workspace) {
            return Err(format!("not a workspace name: {workspace}"));
        }
        let addr = addr.trim_end_matches('/').to_owned();
        Ok(Self { addr, token, workspace: workspace.to_owned() })
    }

    fn call(&self, method: &str, path: &str, body: &Value, patience: Duration) -> Result<Value, String> {
        let path = format!("/api/v1/workspaces/{}/{path}", self.workspace);
        let bearer = format!("Bearer {}", self.token);
        let headers =
            [("authorization", bearer.as_str()), ("content-type", "application/json"), ("accept", "application/json")];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = http::once(&self.addr, method, &path, &headers, &body, patience)
            .map_err(|cause| format!("{method} {path}: {cause}"))?;
        let said = String::from_utf8_lossy(&answer.body);
        if !(200..300).contains(&answer.status()) {
            return Err(format!("{method} {path}: {}: {said}", answer.status()));
        }
        if said.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&said).map_err(|cause| format!("{method} {path}: {cause}"))
    }

    /// A workload: address, replicas with process ids, and its description.
    pub(super) fn workload(&self, name: &str) -> Result<Value, String> {
        self.call("GET", &format!("workloads/{name}"), &Value::Null, TIMEOUT)
    }

    /// Does an action; anything but success (or still running) is an error.
    pub(super) fn act(&self, action: &Value, reason: &str) -> Result<(), String> {
        let body = json!({"action": action, "reason": reason, "approve": true});
        let patience = Duration::from_millis(ACTION_WAIT_MS) + TIMEOUT;
        let answer = self.call("POST", &format!("actions?wait_ms={ACTION_WAIT_MS}"), &body, patience)?;
        match answer.get("status").and_then(Value::as_str) {
            Some("succeeded" | "running") => Ok(()),
            status => Err(format!(
                "action {} on {} ended as {}: {}",
                action["kind"],
                action["workload"],
                status.unwrap_or("nothing"),
                answer.get("detail").unwrap_or(&Value::Null)
            )),
        }
    }

    /// Reports an alert the way Alertmanager does.
    pub(super) fn alert(&self, alert: Value) -> Result<(), String> {
        self.call("POST", "alerts", &alert, TIMEOUT).map(|_| ())
    }

    pub(super) fn workspace(&self) -> &str {
        &self.workspace
    }
}

#[cfg(test)]
mod tests {
    use super::Api;

    #[test]
    fn addresses_and_names_are_checked() {
        assert!(Api::new("http://127.0.0.1:1/", String::new(), "shop").is_ok());
        assert!(Api::new("https://h", String::new(), "shop").is_err());
        for name in ["", "../x", "a b", "a/b"] {
            assert!(Api::new("http://h", String::new(), name).is_err(), "{name}");
        }
    }
}
