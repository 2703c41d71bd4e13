//! Workspace actions. Names come from the caller, the tenant never does.

use serde::{Deserialize, Serialize};

use super::{Action, ActionFacts, Field, FieldKind, unexpected};
use crate::effect::{Check, Effect, Risk, Undo};
use crate::fault::Fault;
use crate::resource::{Resource, ResourceState, ResourceVersion, WorkspaceStatus};

pub(super) const CREATE: ActionFacts = ActionFacts {
    name: "create_workspace",
    family: "workspace",
    effect: Effect::Change,
    risk: Risk(2),
    undo: Undo::Inverse,
    check: Check::Present,
    resource: "workspace",
    summary: "Create the workspace with its own folders, limits and network addresses.",
    fields: &[Field::must(
        "memory_bytes_max",
        FieldKind::Integer,
        "most memory its replicas may be promised together, in bytes",
    )],
};
pub(super) const DELETE: ActionFacts = ActionFacts {
    name: "delete_workspace",
    family: "workspace",
    effect: Effect::Destroy,
    risk: Risk(3),
    undo: Undo::Backup,
    check: Check::Absent,
    resource: "workspace",
    summary: "Stop everything in the workspace and remove it with its volumes and functions.",
    fields: &[],
};

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
