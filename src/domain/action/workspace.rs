//! Workspace actions. Names come from the caller, the tenant never does.

use serde::{Deserialize, Serialize};

use super::{Action, ActionFacts, Family, Field, FieldKind, unexpected};
use crate::effect::{Check, Effect, Undo};
use crate::fault::Fault;
use crate::resource::{Resource, ResourceState, ResourceVersion, WorkspaceStatus};

const FAMILY: Family = Family { name: "workspace", resource: "workspace" };

pub(super) const CREATE: ActionFacts = FAMILY
    .kind(
        "create_workspace",
        Effect::Change,
        2,
        Undo::Inverse,
        Check::Present,
        "Create the workspace with its own folders, limits and network addresses.",
    )
    .takes(&[Field::must(
        "memory_bytes_max",
        FieldKind::Integer,
        "most memory its replicas may be promised together, in bytes",
    )]);
pub(super) const DELETE: ActionFacts = FAMILY.kind(
    "delete_workspace",
    Effect::Destroy,
    3,
    Undo::Backup,
    Check::Absent,
    "Stop everything in the workspace and remove it with its volumes and functions.",
);

/// Makes the workspace of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateWorkspace {
    /// Most bytes of memory its replicas may be promised together.
    pub memory_bytes_max: u64,
}

impl CreateWorkspace {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        if self.memory_bytes_max < 16 * 1024 * 1024 {
            return Err(Fault::invalid("a workspace needs at least 16 MiB").hint("memory_bytes_max is in bytes"));
        }
        Ok(())
    }
    pub(super) fn resource(&self) -> Resource {
        Resource::Workspace
    }
    pub(super) fn inverse(&self, before: &ResourceState) -> Option<Action> {
        matches!(before, ResourceState::Absent).then_some(Action::DeleteWorkspace(DeleteWorkspace {}))
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        match before {
            ResourceState::Absent => Ok(ResourceState::Workspace(WorkspaceStatus {
                name: crate::name::Workspace::parse("new")?,
                memory_bytes_max: self.memory_bytes_max,
                resource_version: ResourceVersion(String::new()),
            })),
            other => Err(unexpected(other)),
        }
    }
}

/// Removes the workspace of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteWorkspace {}

impl DeleteWorkspace {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        Ok(())
    }
    pub(super) fn resource(&self) -> Resource {
        Resource::Workspace
    }
    pub(super) fn inverse(&self, _before: &ResourceState) -> Option<Action> {
        None
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        match before {
            ResourceState::Workspace(_) => Ok(ResourceState::Absent),
            other => Err(unexpected(other)),
        }
    }
}
