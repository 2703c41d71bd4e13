//! The backups of one workspace: one encrypted vault beside it, which outlives it. Never keeps a backup
//! that was not read back, never shows a key.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Backup, Volume};
use opsward_domain::resource::BackupStatus;
use opsward_snapshots::{Error, Passphrase, SnapshotRecord, Source, Taken, Vault, Watch};

use crate::disk;
use crate::place::lock;
use crate::state::{KeptBackup, State};

/// A workspace's vault, opened when first needed.
pub(crate) struct Vaults {
    dir: PathBuf,
    key: PathBuf,
    open: Mutex<Option<Arc<Vault>>>,
}

/// What a verified backup turned out to be.
pub(crate) struct Proved {
    pub(crate) taken: Taken,
    pub(crate) files: u64,
}

impl Vaults {
    /// The vault in `dir`, opened with the passphrase in `key`; both are made when first needed.
    pub(crate) fn new(dir: PathBuf, key: PathBuf) -> Self {
        Self { dir, key, open: Mutex::new(None) }
    }

    /// Runs `work` on the vault, on a thread that may block.
    pub(crate) async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Vault) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Fault> {
        let this = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let vault = this.vault()?;
            work(&vault).map_err(|error| fault(&error))
        });
        task.await.map_err(|_| Fault::internal("the vault's work died"))?
    }

    fn vault(&self) -> Result<Arc<Vault>, Fault> {
        let mut open = lock(&self.open);
        if let Some(vault) = open.as_ref() {
            return Ok(vault.clone());
        }
        let passphrase = Passphrase::kept_in(&self.key).map_err(|error| fault(&error))?;
        let vault = match Vault::open(&self.dir, &passphrase) {
            Err(Error::Missing { .. }) => {
                let parent = self.dir.parent().unwrap_or(&self.dir);
                let failed = |error: std::io::Error| disk::fault("the vault cannot be made", parent, &error);
                fs::create_dir_all(parent).map_err(failed)?;
                Vault::create(&self.dir, &passphrase)
            }
            opened => opened,
        };
        let vault = Arc::new(vault.map_err(|error| fault(&error))?);
        *open = Some(vault.clone());
        Ok(vault)
    }

    /// Backups that the vault holds from an earlier workspace of this name; none if there is no vault.
    pub(crate) async fn found(self: &Arc<Self>) -> Result<Vec<(Backup, SnapshotRecord)>, Fault> {
        if !self.dir.exists() {
            return Ok(Vec::new());
        }
        let listing = self.with(Vault::list).await?;
        let named =
            |record: SnapshotRecord| Some((record.tags.iter().find_map(|tag| Backup::parse(tag).ok())?, record));
        Ok(listing.snapshots.into_iter().filter_map(named).collect())
    }

    /// Takes a backup and reads it back, or finds the one that `operation` took before a crash.
    pub(crate) async fn take(
        self: &Arc<Self>,
        name: &Backup,
        operation: &str,
        sources: Vec<Source>,
        now_ms: u64,
    ) -> Result<Proved, Fault> {
        let operation_tag = format!("op={operation}");
        let tags = vec![name.to_string(), operation_tag.clone()];
        self.with(move |vault| {
            let earlier = vault.list()?.snapshots.into_iter().find(|it| it.tags.contains(&operation_tag));
            let taken = match earlier {
                Some(snapshot) => {
                    Taken { snapshot, changed: Vec::new(), changed_total: 0, left_out: Vec::new(), left_out_total: 0 }
                }
                None => vault.snapshot(&sources, &tags, now_ms, &Watch::default())?,
            };
            let report = vault.verify(&taken.snapshot.id, &Watch::default())?;
            if let Some(damage) = report.damage.first() {
                return Err(Error::Damaged { what: damage.path.clone(), detail: damage.detail.clone() });
            }
            Ok(Proved { taken, files: report.files })
        })
        .await
    }
}

/// What people see of a backup.
pub(crate) fn status(state: &State, name: &Backup, kept: &KeptBackup) -> BackupStatus {
    BackupStatus {
        name: name.clone(),
        taken_at_ms: kept.taken_at_ms,
        volumes: kept.volumes.keys().cloned().collect(),
        bytes: kept.bytes,
        verified_at_ms: kept.verified_at_ms,
        resource_version: state.version_of(kept.version),
    }
}

/// A record of the vault as a backup of this workspace. Volumes come back as large as their content.
pub(crate) fn adopt(record: &SnapshotRecord, version: u64) -> KeptBackup {
    let volumes = record.labels.iter().filter_map(|label| Volume::parse(label).ok());
    KeptBackup {
        version,
        snapshot: Some(record.id.clone()),
        taken_at_ms: i64::try_from(record.taken_at_ms).unwrap_or(i64::MAX),
        volumes: volumes.map(|volume| (volume, 0)).collect(),
        bytes: record.bytes,
        verified_at_ms: None,
    }
}

fn fault(error: &Error) -> Fault {
    let code = match error {
        Error::Damaged { .. } | Error::WrongPassphrase | Error::OtherVault { .. } => Code::Corrupt,
        Error::UnknownSnapshot { .. } | Error::UnknownLabel { .. } => Code::NotFound,
        Error::Invalid { .. } => Code::InvalidInput,
        Error::Cancelled => Code::Cancelled,
        _ => Code::Unavailable,
    };
    Fault::new(code, error.to_string()).hint(error.hint())
}
