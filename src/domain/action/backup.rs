//! Backup actions. A restore is verified by its bytes; a backup is proved by reading it back.

use serde::{Deserialize, Serialize};

use super::{Action, ActionFacts, Family, Field, FieldKind, unexpected};
use crate::effect::{Check, Effect, Undo};
use crate::fault::Fault;
use crate::name::{Backup, Volume, Workspace};
use crate::resource::{BackupStatus, Resource, ResourceState, ResourceVersion, VolumeStatus};

const BACKUP: Field = Field::must("backup", FieldKind::Name, "the backup");

const FAMILY: Family = Family { name: "backup", resource: "backup" };

pub(super) const CREATE: ActionFacts = FAMILY
    .kind(
        "create_backup",
        Effect::Change,
        1,
        Undo::Inverse,
        Check::BytesVerified,
        "Back up volumes, encrypted and deduplicated, and read the result back.",
    )
    .takes(&[BACKUP, Field::must("volumes", FieldKind::Names, "the volumes it holds")]);
pub(super) const RESTORE: ActionFacts = ActionFacts {
    resource: "volume",
    ..FAMILY
        .kind(
            "restore_backup",
            Effect::Change,
            3,
            Undo::Inverse,
            Check::BytesVerified,
            "Restore a volume of a backup into a new volume, of the same workspace or from another one's backup.",
        )
        .takes(&[
            BACKUP,
            Field::must("volume", FieldKind::Name, "which volume of it"),
            Field::must("into", FieldKind::Name, "name of the new volume"),
            Field::may("from", FieldKind::Name, "the workspace whose backup it is, if another"),
        ])
};
pub(super) const VERIFY: ActionFacts = FAMILY
    .kind(
        "verify_backup",
        Effect::Change,
        1,
        Undo::Unneeded,
        Check::BytesVerified,
        "Read every byte of a backup back and compare.",
    )
    .takes(&[BACKUP]);
pub(super) const DELETE: ActionFacts = FAMILY
    .kind("delete_backup", Effect::Destroy, 3, Undo::Impossible, Check::Absent, "Remove a backup for good.")
    .takes(&[BACKUP]);

/// Takes a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBackup {
    /// Its name.
    pub backup: Backup,
    /// Which volumes.
    pub volumes: Vec<Volume>,
}

/// Restores one volume of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreBackup {
    /// From which backup.
    pub backup: Backup,
    /// Which volume of it.
    pub volume: Volume,
    /// Name of the new volume that receives the content; must not exist.
    pub into: Volume,
    /// The workspace whose backup it is; absent means the one that the volume is made in.
    #[serde(default)]
    pub from: Option<Workspace>,
}

/// Reads a backup back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyBackup {
    /// Which.
    pub backup: Backup,
}

/// Removes a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteBackup {
    /// Which.
    pub backup: Backup,
}

macro_rules! on_backup {
    ($($type:ident),*) => {$(
        impl $type {
            pub(super) fn resource(&self) -> Resource {
                Resource::Backup(self.backup.clone())
            }
        }
    )*};
}
on_backup!(CreateBackup, VerifyBackup, DeleteBackup);

fn status(before: &ResourceState) -> Result<&BackupStatus, Fault> {
    match before {
        ResourceState::Backup(status) => Ok(status),
        other => Err(unexpected(other)),
    }
}

impl CreateBackup {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        if self.volumes.is_empty() || self.volumes.len() > 32 {
            return Err(Fault::invalid("a backup holds 1 to 32 volumes"));
        }
        Ok(())
    }
    pub(super) fn inverse(&self, before: &ResourceState) -> Option<Action> {
        matches!(before, ResourceState::Absent)
            .then(|| Action::DeleteBackup(DeleteBackup { backup: self.backup.clone() }))
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        match before {
            ResourceState::Absent => Ok(ResourceState::Backup(BackupStatus {
                name: self.backup.clone(),
                taken_at_ms: 0,
                volumes: self.volumes.clone(),
                bytes: 0,
                verified_at_ms: None,
                resource_version: ResourceVersion(String::new()),
            })),
            other => Err(unexpected(other)),
        }
    }
}

impl RestoreBackup {
    /// What changes is the new volume; the backup is only read.
    pub(super) fn resource(&self) -> Resource {
        Resource::Volume(self.into.clone())
    }
    pub(super) fn validate(&self) -> Result<(), Fault> {
        Ok(())
    }
    pub(super) fn inverse(&self, _before: &ResourceState) -> Option<Action> {
        Some(Action::DeleteVolume(super::DeleteVolume { volume: self.into.clone() }))
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        match before {
            ResourceState::Absent => Ok(ResourceState::Volume(VolumeStatus {
                name: self.into.clone(),
                size_bytes: 0,
                used_bytes: 0,
                mounted_by: Vec::new(),
                resource_version: ResourceVersion(String::new()),
            })),
            _ => Err(Fault::conflict(format!("volume {} exists already", self.into)).hint("restore into a new name")),
        }
    }
    /// Checks the state of the backup that it reads.
    pub(super) fn check_source(&self, backup: &ResourceState) -> Result<(), Fault> {
        let kept = status(backup).map_err(|_| {
            Fault::not_found(format!("there is no backup {}", self.backup)).hint("list the workspace's backups first")
        })?;
        if kept.volumes.contains(&self.volume) {
            return Ok(());
        }
        let held: Vec<&str> = kept.volumes.iter().map(Volume::as_str).collect();
        Err(Fault::not_found(format!("backup {} does not hold volume {}", self.backup, self.volume))
            .hint(format!("it holds {}", held.join(", "))))
    }
}

impl VerifyBackup {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        Ok(())
    }
    pub(super) fn inverse(&self, _before: &ResourceState) -> Option<Action> {
        None
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        status(before).map(|same| ResourceState::Backup(same.clone()))
    }
}

impl DeleteBackup {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        Ok(())
    }
    pub(super) fn inverse(&self, _before: &ResourceState) -> Option<Action> {
        None
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        status(before).map(|_| ResourceState::Absent)
    }
}
