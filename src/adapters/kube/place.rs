//! Which namespace a workspace is. The tenant is part of the name or of the configuration, and a namespace
//! that does not carry the tenant's label is never taken for a workspace.

use opsward_domain::canonical::digest_bytes;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Tenant, Workspace};
use opsward_domain::resource::{ResourceVersion, WorkspaceStatus};
use serde_json::{Value, json};

use crate::json::{label, uid};
use crate::options::Options;
use crate::quantity::bytes;

/// Label with the tenant of a namespace that opsward made.
pub(crate) const TENANT: &str = "opsward.dev/tenant";
/// Label with the workspace of a namespace that opsward made.
pub(crate) const WORKSPACE: &str = "opsward.dev/workspace";
/// Quota that holds a workspace's bound.
pub(crate) const QUOTA_NAME: &str = "opsward";
/// Longest name of a namespace.
const NAMESPACE_BYTES_MAX: usize = 63;

/// Where a workspace is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    /// True if the configuration names the namespace; opsward neither makes nor removes it.
    pub(crate) mapped: bool,
}

/// The place of a workspace, whether or not it exists.
pub(crate) fn place(options: &Options, tenant: &Tenant, workspace: &Workspace) -> Place {
    match options.namespaces.get(&(tenant.clone(), workspace.clone())) {
        Some(namespace) => Place { namespace: namespace.clone(), mapped: true },
        None => Place { namespace: made_name(tenant, workspace), mapped: false },
    }
}

/// The namespace that opsward makes for a workspace. Two different pairs never share one: `--` parts them
/// where neither holds it, and a digest of both where that does not do.
fn made_name(tenant: &Tenant, workspace: &Workspace) -> String {
    let (tenant, workspace) = (tenant.as_str(), workspace.as_str());
    let plain = format!("{tenant}--{workspace}");
    if plain.len() <= NAMESPACE_BYTES_MAX && !tenant.contains("--") && !workspace.contains("--") {
        return plain;
    }
    let digest = digest_bytes(format!("{tenant}/{workspace}").as_bytes());
    let head: String = tenant.chars().take(20).collect();
    format!("{}---{}", head.trim_end_matches('-'), &digest[..32])
}

/// A namespace of the tenant as a workspace; `None` if it is not the tenant's.
pub(crate) fn workspace_of(namespace: &Value, tenant: &Tenant) -> Option<Workspace> {
    if label(namespace, TENANT) != Some(tenant.as_str()) {
        return None;
    }
    Workspace::parse(label(namespace, WORKSPACE)?).ok()
}

/// A namespace that is to be made.
pub(crate) fn namespace(place: &Place, tenant: &Tenant, workspace: &Workspace) -> Value {
    let labels = json!({ TENANT: tenant, WORKSPACE: workspace, "app.kubernetes.io/managed-by": "opsward" });
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": place.namespace, "labels": labels } })
}

/// The quota that bounds the memory promised in a workspace.
pub(crate) fn quota(place: &Place, memory_bytes_max: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": { "name": QUOTA_NAME, "namespace": place.namespace },
        "spec": { "hard": { "limits.memory": memory_bytes_max.to_string() } },
    })
}

/// A workspace as people see it; `quotas` are those of its namespace.
pub(crate) fn status(name: &Workspace, namespace: &Value, quotas: &[Value]) -> WorkspaceStatus {
    let bounds = quotas.iter().filter_map(|it| {
        let hard = it.pointer("/spec/hard")?;
        bytes(hard.get("limits.memory")?.as_str()?)
    });
    WorkspaceStatus {
        name: name.clone(),
        memory_bytes_max: bounds.min().unwrap_or(0),
        resource_version: ResourceVersion(uid(namespace).to_owned()),
    }
}

/// That there is no such workspace for this tenant.
pub(crate) fn no_workspace(workspace: &Workspace) -> Fault {
    Fault::not_found(format!("there is no workspace {workspace}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(tenant: &str, workspace: &str) -> String {
        made_name(&Tenant::parse(tenant).unwrap(), &Workspace::parse(workspace).unwrap())
    }

    #[test]
    fn no_two_pairs_share_a_namespace() {
        let long = "a".repeat(63);
        let pairs = [
            ("a", "b-c"),
            ("a-b", "c"),
            ("a--b", "c"),
            ("a", "b--c"),
            (long.as_str(), "b"),
            (long.as_str(), "c"),
            ("a", long.as_str()),
        ];
        let names: std::collections::BTreeSet<String> =
            pairs.iter().map(|(tenant, workspace)| name(tenant, workspace)).collect();
        assert_eq!(names.len(), pairs.len(), "{names:?}");
        for made in &names {
            Workspace::parse(made).unwrap();
        }
        assert_eq!(name("acme", "shop"), "acme--shop");
    }

    #[test]
    fn a_namespace_without_the_tenants_label_is_nobodys() {
        let tenant = Tenant::parse("acme").unwrap();
        let of = |labels: Value| workspace_of(&json!({"metadata": {"labels": labels}}), &tenant);
        assert_eq!(of(json!({TENANT: "acme", WORKSPACE: "shop"})), Some(Workspace::parse("shop").unwrap()));
        assert_eq!(of(json!({TENANT: "globex", WORKSPACE: "shop"})), None);
        assert_eq!(of(json!({WORKSPACE: "shop"})), None);
        assert_eq!(of(json!({TENANT: "acme", WORKSPACE: "Not A Name"})), None);
    }
}
