//! Workload actions: deploy, configure, scale, restart, roll back, limit, delete.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Action, ActionFacts, Family, Field, FieldKind, unexpected};
use crate::effect::{Check, Effect, Undo};
use crate::fault::Fault;
use crate::name::Workload;
use crate::resource::{Resource, ResourceState, ResourceVersion, WorkloadStatus};
use crate::spec::{ENVIRONMENT_MAX, Limits, REPLICAS_MAX, VALUE_BYTES_MAX, WorkloadSpec, environment_key, image_name};

const WORKLOAD: Field = Field::must("workload", FieldKind::Name, "the workload");

const FAMILY: Family = Family { name: "workload", resource: "workload" };

const fn change(name: &'static str, risk: u8, summary: &'static str) -> ActionFacts {
    FAMILY.kind(name, Effect::Change, risk, Undo::Inverse, Check::WorkloadReady, summary)
}

pub(super) const DEPLOY: ActionFacts =
    change("deploy_workload", 2, "Run a version of a workload: create it, or roll it to a new revision.")
        .takes(&[WORKLOAD, Field::must("spec", FieldKind::Json, "what it is asked to be, as JSON")]);
pub(super) const SET_ENVIRONMENT: ActionFacts =
    change("set_environment", 2, "Set or unset environment variables of a workload; rolls a new revision.").takes(&[
        WORKLOAD,
        Field::may("set", FieldKind::Map, "new values, KEY=VALUE"),
        Field::may("unset", FieldKind::Words, "variables to remove"),
    ]);
pub(super) const SCALE: ActionFacts = change("scale_workload", 1, "Set the number of replicas of a workload.")
    .takes(&[WORKLOAD, Field::must("replicas", FieldKind::Integer, "wanted replicas, 0 to 1000; 32 on one machine")]);
pub(super) const RESTART: ActionFacts = ActionFacts {
    undo: Undo::Unneeded,
    fields: &[WORKLOAD],
    ..change("restart_workload", 1, "Restart every replica of a workload, one after the other.")
};
pub(super) const ROLLBACK: ActionFacts =
    change("rollback_workload", 1, "Return a workload to an earlier revision, keeping its replica count.")
        .takes(&[WORKLOAD, Field::must("revision", FieldKind::Integer, "the revision to return to")]);
pub(super) const SET_LIMITS: ActionFacts =
    change("set_limits", 2, "Set memory and file limits of a workload's replicas; rolls a new revision.")
        .takes(&[WORKLOAD, Field::must("limits", FieldKind::Json, "memory_bytes and open_files, as JSON")]);
pub(super) const SET_IMAGE: ActionFacts = change(
    "set_image",
    2,
    "Set the container image of a workload; rolls a new revision. Only where workloads are containers.",
)
.takes(&[WORKLOAD, Field::must("image", FieldKind::Text, "the image, such as registry.example/shop/web:1.4.2")]);
pub(super) const DELETE: ActionFacts = FAMILY
    .kind(
        "delete_workload",
        Effect::Destroy,
        3,
        Undo::Inverse,
        Check::Absent,
        "Stop a workload and forget it and its revisions.",
    )
    .takes(&[WORKLOAD]);

/// Creates a workload or rolls it to a new revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployWorkload {
    /// Which.
    pub workload: Workload,
    /// What it is asked to be.
    pub spec: Box<WorkloadSpec>,
}

/// Sets and unsets environment variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetEnvironment {
    /// Which.
    pub workload: Workload,
    /// New values.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Variables to remove.
    #[serde(default)]
    pub unset: BTreeSet<String>,
}

/// Sets the number of replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleWorkload {
    /// Which.
    pub workload: Workload,
    /// Wanted replicas, 0 to 1000; 32 on one machine.
    pub replicas: u32,
}

/// Restarts every replica in turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartWorkload {
    /// Which.
    pub workload: Workload,
}

/// Returns to an earlier revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackWorkload {
    /// Which.
    pub workload: Workload,
    /// The revision to return to.
    pub revision: u64,
}

/// Sets the limits of each replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLimits {
    /// Which.
    pub workload: Workload,
    /// New limits.
    pub limits: Limits,
}

/// Sets the container image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetImage {
    /// Which.
    pub workload: Workload,
    /// New image.
    pub image: String,
}

/// Removes a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteWorkload {
    /// Which.
    pub workload: Workload,
}

fn status(before: &ResourceState) -> Result<&WorkloadStatus, Fault> {
    match before {
        ResourceState::Workload(status) => Ok(status),
        other => Err(unexpected(other)),
    }
}

fn rolled(before: &WorkloadStatus, edit: impl FnOnce(&mut WorkloadSpec)) -> ResourceState {
    let mut after = before.clone();
    edit(&mut after.spec);
    after.revision = before.revision.saturating_add(1);
    ResourceState::Workload(Box::new(after))
}

fn back_to(workload: &Workload, before: &ResourceState) -> Option<Action> {
    let revision = status(before).ok()?.revision;
    Some(Action::RollbackWorkload(RollbackWorkload { workload: workload.clone(), revision }))
}

macro_rules! on_workload {
    ($($type:ident),*) => {$(
        impl $type {
            pub(super) fn resource(&self) -> Resource {
                Resource::Workload(self.workload.clone())
            }
        }
    )*};
}
on_workload!(
    DeployWorkload,
    SetEnvironment,
    ScaleWorkload,
    RestartWorkload,
    RollbackWorkload,
    SetLimits,
    SetImage,
    DeleteWorkload
);

impl DeployWorkload {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        self.spec.validate()
    }
    pub(super) fn inverse(&self, before: &ResourceState) -> Option<Action> {
        match before {
            ResourceState::Absent => Some(Action::DeleteWorkload(DeleteWorkload { workload: self.workload.clone() })),
            _ => back_to(&self.workload, before),
        }
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        if let ResourceState::Absent = before {
            return Ok(ResourceState::Workload(Box::new(WorkloadStatus {
                name: self.workload.clone(),
                spec: self.spec.as_ref().clone(),
                revision: 1,
                revisions: Vec::new(),
                resource_version: ResourceVersion(String::new()),
                address: None,
                replicas: Vec::new(),
            })));
        }
        Ok(rolled(status(before)?, |spec| *spec = self.spec.as_ref().clone()))
    }
}

impl SetEnvironment {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        if self.set.is_empty() && self.unset.is_empty() {
            return Err(Fault::invalid("nothing to set or unset").hint("give set or unset"));
        }
        if let Some(both) = self.set.keys().find(|key| self.unset.contains(*key)) {
            return Err(Fault::invalid(format!("{both} is both set and unset")));
        }
        if self.set.values().any(|value| value.len() > VALUE_BYTES_MAX || value.contains('\0')) {
            return Err(
                Fault::invalid("a value is longer than 8 KiB or holds a NUL").hint("put large content in files")
            );
        }
        self.set.keys().chain(&self.unset).try_for_each(|key| environment_key(key))
    }
    pub(super) fn inverse(&self, before: &ResourceState) -> Option<Action> {
        back_to(&self.workload, before)
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        let after = rolled(status(before)?, |spec| {
            spec.env.retain(|key, _| !self.unset.contains(key));
            spec.env.extend(self.set.clone());
        });
        // What was there before is not this action's to judge: other platforms allow other names.
        match &after {
            ResourceState::Workload(status) if status.spec.env.len() > ENVIRONMENT_MAX => {
                Err(Fault::invalid(format!("more than {ENVIRONMENT_MAX} environment variables"))
                    .hint("put large configuration in files"))
            }
            _ => Ok(after),
        }
    }
}

impl ScaleWorkload {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        if self.replicas > REPLICAS_MAX {
            return Err(Fault::invalid("more than 1000 replicas").hint("share the work among several workloads"));
        }
        Ok(())
    }
    pub(super) fn inverse(&self, before: &ResourceState) -> Option<Action> {
        let replicas = status(before).ok()?.spec.replicas;
        Some(Action::ScaleWorkload(Self { workload: self.workload.clone(), replicas }))
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        let mut after = status(before)?.clone();
        after.spec.replicas = self.replicas;
        Ok(ResourceState::Workload(Box::new(after)))
    }
}

impl RestartWorkload {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        Ok(())
    }
    pub(super) fn inverse(&self, _before: &ResourceState) -> Option<Action> {
        None
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        status(before).map(|same| ResourceState::Workload(Box::new(same.clone())))
    }
}

impl RollbackWorkload {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        if self.revision == 0 {
            return Err(Fault::invalid("revisions start at 1"));
        }
        Ok(())
    }
    pub(super) fn inverse(&self, before: &ResourceState) -> Option<Action> {
        back_to(&self.workload, before)
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        let now = status(before)?;
        let Some(target) = now.revisions.iter().find(|kept| kept.revision == self.revision) else {
            let kept: Vec<String> = now.revisions.iter().map(|kept| kept.revision.to_string()).collect();
            return Err(Fault::not_found(format!("{} has no revision {}", self.workload, self.revision))
                .hint(format!("kept revisions: {}", kept.join(", "))));
        };
        let replicas = now.spec.replicas;
        Ok(rolled(now, |spec| {
            *spec = target.spec.clone();
            spec.replicas = replicas;
        }))
    }
}

impl SetLimits {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        if self.limits.memory_bytes < 1024 * 1024 || self.limits.open_files < 16 {
            return Err(Fault::invalid("limits are below 1 MiB or 16 open files").hint("memory_bytes is in bytes"));
        }
        Ok(())
    }
    pub(super) fn inverse(&self, before: &ResourceState) -> Option<Action> {
        back_to(&self.workload, before)
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        Ok(rolled(status(before)?, |spec| spec.limits = self.limits.clone()))
    }
}

impl SetImage {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        image_name(&self.image)
    }
    pub(super) fn inverse(&self, before: &ResourceState) -> Option<Action> {
        back_to(&self.workload, before)
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        let now = status(before)?;
        if now.spec.image.is_none() {
            return Err(Fault::invalid(format!("{} is a program, not a container image", self.workload))
                .hint("deploy another version of it"));
        }
        Ok(rolled(now, |spec| spec.image = Some(self.image.clone())))
    }
}

impl DeleteWorkload {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        Ok(())
    }
    pub(super) fn inverse(&self, before: &ResourceState) -> Option<Action> {
        let now = status(before).ok()?;
        Some(Action::DeployWorkload(DeployWorkload {
            workload: self.workload.clone(),
            spec: Box::new(now.spec.clone()),
        }))
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        status(before).map(|_| ResourceState::Absent)
    }
}
