//! Who asks, with which rights. Never built from anything but an authenticated credential.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::{Subject, Tenant, Workspace};

/// What a subject may do in a workspace, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Deploys and configures workloads and functions.
    Developer,
    /// Repairs: scale, restart, roll back, restore.
    Operator,
    /// Workspaces, volumes, people of a workspace.
    Admin,
    /// Everything a person may do in the tenant.
    Owner,
}

impl Role {
    /// Every role, weakest first.
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Developer, Self::Operator, Self::Admin, Self::Owner];

    /// The word used in policies, files and commands.
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = crate::fault::Fault;
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|r| r.word() == word).ok_or_else(|| {
            crate::fault::Fault::invalid(format!("{word:?} is not a role"))
                .hint("roles are viewer, developer, operator, admin and owner")
        })
    }
}

/// What kind of subject a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A human with a credential of their own.
    Person,
    /// A workspace's own principal for alert-born runs, made by an owner.
    Remediator,
    /// opsward itself: ingest, folds, housekeeping. Never applies an action.
    System,
}

/// An authenticated subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Who.
    pub subject: Subject,
    /// What kind.
    pub kind: Kind,
    /// Whose world; the only source of a tenant anywhere.
    pub tenant: Tenant,
    /// Role in every workspace of the tenant, if any.
    pub tenant_role: Option<Role>,
    /// Roles by workspace.
    pub roles: BTreeMap<Workspace, Role>,
}

impl Principal {
    /// The stronger of the tenant-wide role and the role in `workspace`.
    pub fn role_in(&self, workspace: &Workspace) -> Option<Role> {
        self.tenant_role.max(self.roles.get(workspace).copied())
    }
}
