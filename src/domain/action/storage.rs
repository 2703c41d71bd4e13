//! Volume actions. A volume never shrinks below its content.

use serde::{Deserialize, Serialize};

use super::{Action, ActionFacts, Family, Field, FieldKind, unexpected};
use crate::effect::{Check, Effect, Undo};
use crate::fault::Fault;
use crate::name::Volume;
use crate::resource::{Resource, ResourceState, ResourceVersion, VolumeStatus};

/// Smallest volume.
pub(super) const VOLUME_BYTES_MIN: u64 = 64 * 1024;

const VOLUME: Field = Field::must("volume", FieldKind::Name, "the volume");
const SIZE: Field = Field::must("size_bytes", FieldKind::Integer, "upper bound of its content, in bytes");

const FAMILY: Family = Family { name: "storage", resource: "volume" };

pub(super) const CREATE: ActionFacts = FAMILY
    .kind("create_volume", Effect::Change, 1, Undo::Inverse, Check::Present, "Create an empty volume.")
    .takes(&[VOLUME, SIZE]);
pub(super) const RESIZE: ActionFacts = FAMILY
    .kind(
        "resize_volume",
        Effect::Change,
        2,
        Undo::Inverse,
        Check::Present,
        "Set the size of a volume; its content stays.",
    )
    .takes(&[VOLUME, SIZE]);
pub(super) const DELETE: ActionFacts = FAMILY
    .kind("delete_volume", Effect::Destroy, 3, Undo::Backup, Check::Absent, "Remove a volume and everything on it.")
    .takes(&[VOLUME]);

/// Makes an empty volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateVolume {
    /// Which.
    pub volume: Volume,
    /// Upper bound of its content.
    pub size_bytes: u64,
}

/// Sets a volume's size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizeVolume {
    /// Which.
    pub volume: Volume,
    /// New upper bound of its content.
    pub size_bytes: u64,
}

/// Removes a volume and its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteVolume {
    /// Which.
    pub volume: Volume,
}

fn size(size_bytes: u64) -> Result<(), Fault> {
    if size_bytes < VOLUME_BYTES_MIN {
        return Err(Fault::invalid("a volume is at least 64 KiB").hint("size_bytes is in bytes"));
    }
    Ok(())
}

impl CreateVolume {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        size(self.size_bytes)
    }
    pub(super) fn resource(&self) -> Resource {
        Resource::Volume(self.volume.clone())
    }
    pub(super) fn inverse(&self, before: &ResourceState) -> Option<Action> {
        matches!(before, ResourceState::Absent)
            .then(|| Action::DeleteVolume(DeleteVolume { volume: self.volume.clone() }))
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        match before {
            ResourceState::Absent => Ok(ResourceState::Volume(VolumeStatus {
                name: self.volume.clone(),
                size_bytes: self.size_bytes,
                used_bytes: 0,
                mounted_by: Vec::new(),
                resource_version: ResourceVersion(String::new()),
            })),
            other => Err(unexpected(other)),
        }
    }
}

impl ResizeVolume {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        size(self.size_bytes)
    }
    pub(super) fn resource(&self) -> Resource {
        Resource::Volume(self.volume.clone())
    }
    pub(super) fn inverse(&self, before: &ResourceState) -> Option<Action> {
        match before {
            ResourceState::Volume(now) => {
                Some(Action::ResizeVolume(Self { volume: self.volume.clone(), size_bytes: now.size_bytes }))
            }
            _ => None,
        }
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        match before {
            ResourceState::Volume(now) if self.size_bytes < now.used_bytes => {
                Err(Fault::conflict("the volume holds more than that")
                    .detail(format!("{} bytes are used", now.used_bytes))
                    .hint("choose a size above what is used"))
            }
            ResourceState::Volume(now) => {
                Ok(ResourceState::Volume(VolumeStatus { size_bytes: self.size_bytes, ..now.clone() }))
            }
            other => Err(unexpected(other)),
        }
    }
}

impl DeleteVolume {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        Ok(())
    }
    pub(super) fn resource(&self) -> Resource {
        Resource::Volume(self.volume.clone())
    }
    pub(super) fn inverse(&self, _before: &ResourceState) -> Option<Action> {
        None
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        match before {
            ResourceState::Volume(now) if !now.mounted_by.is_empty() => {
                Err(Fault::conflict("the volume is mounted").hint("delete the workloads that mount it first"))
            }
            ResourceState::Volume(_) => Ok(ResourceState::Absent),
            other => Err(unexpected(other)),
        }
    }
}
