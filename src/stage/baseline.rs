//! What the twenty-line rule would do at the moment an incident opens, from what anybody can read over the
//! public interface. Must never see the truth before it has decided.

use std::collections::BTreeMap;

use opsward_demo::driver::rule::{self, Change};
use opsward_domain::fault::Fault;
use opsward_surface::cli::Client;
use serde_json::Value;

use super::scene::WORKSPACE;

/// Minutes back that the rule looks for errors.
const LOUD_MINUTES: u64 = 2;

/// The rule's action, if it finds one.
pub(super) async fn decide(client: &Client, now_ms: u64) -> Result<Option<Value>, Fault> {
    let minutes = rule::SUSPECT_MS / 60_000;
    let changes = client.get(&format!("/workspaces/{WORKSPACE}/changes?minutes={minutes}")).await?;
    let path = format!("/workspaces/{WORKSPACE}/logs/templates?level=error&minutes={LOUD_MINUTES}");
    let templates = client.get(&path).await?;
    Ok(rule::decide(&revertible(&changes), &errors(&templates), now_ms))
}

/// Changes with a version or a size before them. What was created has none: nobody takes that back.
fn revertible(changes: &Value) -> Vec<Change> {
    let one = |change: &Value| {
        let undo = &change["undo"];
        let before = match undo["kind"].as_str()? {
            "rollback_workload" => undo["revision"].as_u64()?,
            "scale_workload" => undo["replicas"].as_u64()?,
            _ => return None,
        };
        let kind = if undo["kind"] == "scale_workload" { "scale_workload" } else { change["action"].as_str()? };
        let workload = undo["workload"].as_str()?.to_owned();
        Some(Change { workload, kind: kind.to_owned(), at_ms: change["at_ms"].as_u64()?, before })
    };
    changes.as_array().into_iter().flatten().filter_map(one).collect()
}

fn errors(templates: &Value) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for one in templates.as_array().into_iter().flatten() {
        if let (Some(workload), Some(count)) = (one["workload"].as_str(), one["count"].as_u64()) {
            *counts.entry(workload.to_owned()).or_default() += count;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_has_a_before_can_be_reverted() {
        let changes = json!([
            {"at_ms": 1, "action": "deploy_workload", "undo": {"kind": "delete_workload", "workload": "a"}},
            {"at_ms": 2, "action": "deploy_workload", "undo": {"kind": "rollback_workload", "workload": "b", "revision": 3}},
            {"at_ms": 3, "action": "scale_workload", "undo": {"kind": "scale_workload", "workload": "c", "replicas": 2}},
            {"at_ms": 4, "action": "restart_workload", "undo": null},
        ]);
        let found: Vec<(String, u64)> =
            revertible(&changes).into_iter().map(|one| (one.workload, one.before)).collect();
        assert_eq!(found, [("b".to_owned(), 3), ("c".to_owned(), 2)]);
    }

    #[test]
    fn errors_add_up_by_workload() {
        let templates = json!([
            {"workload": "a", "count": 2}, {"workload": "b", "count": 1}, {"workload": "a", "count": 5}, {"count": 9},
        ]);
        assert_eq!(errors(&templates), BTreeMap::from([("a".to_owned(), 7), ("b".to_owned(), 1)]));
    }
}
