//! Bringing function and backup changes about. Every branch may run twice: after a crash it is run
//! again, except a call of a function, which is answered as interrupted.

use std::sync::Arc;

use async_trait::async_trait;
use opsward_domain::action::{CreateBackup, DeleteBackup, RestoreBackup, VerifyBackup};
use opsward_domain::canonical::digest_bytes;
use opsward_domain::context::CallContext;
use opsward_domain::event::Outcome;
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Backup, Workspace};
use opsward_ports::kits::{Kits, Page};
use opsward_snapshots::{Restored, Source, Watch};
use serde_json::{Value, json};

use crate::disk;
use crate::place::Place;
use crate::provider::{Inner, LocalProvider};
use crate::state::{KeptBackup, State};
use crate::wire::Ask;

/// Characters of a key's digest that mark a snapshot as made under it.
const OPERATION_CHARS: usize = 32;

/// Smallest size of a restored volume.
const RESTORED_BYTES_MIN: u64 = 1 << 20;

impl Inner {
    pub(crate) async fn take_backup(&self, place: &Place, key: &str, create: &CreateBackup) -> Result<Outcome, Fault> {
        let operation = &digest_bytes(key.as_bytes())[..OPERATION_CHARS];
        let now_ms = self.clock.now_ms();
        let sources = create.volumes.iter().map(|volume| Source::new(volume.as_str(), place.folder.volume(volume)));
        let taken_ms = u64::try_from(now_ms).unwrap_or(0);
        let proved = match place.vaults.take(&create.backup, operation, sources.collect(), taken_ms).await {
            Ok(proved) => proved,
            Err(fault) => {
                // Nothing of it stays: what could not be read back is no backup.
                place.amend(|state| state.backups.retain(|name, _| *name != create.backup)).await?;
                return Err(fault);
            }
        };
        let record = &proved.taken.snapshot;
        let noted = place.amend(|state| {
            if let Some(kept) = state.backups.get_mut(&create.backup) {
                kept.snapshot = Some(record.id.clone());
                kept.taken_at_ms = i64::try_from(record.taken_at_ms).unwrap_or(i64::MAX);
                kept.bytes = record.bytes;
                kept.verified_at_ms = Some(now_ms);
            }
        });
        noted.await?;
        let changed = proved.taken.changed_total;
        let result = json!({ "bytes": record.bytes, "files": proved.files, "changed_while_read": changed,
            "left_out": proved.taken.left_out_total });
        let summary = format!("backed {} files up, {} bytes, and read them back", proved.files, record.bytes);
        Ok(outcome(place, &create.backup, summary, result))
    }

    pub(crate) async fn prove_backup(&self, place: &Place, verify: &VerifyBackup) -> Result<Outcome, Fault> {
        let id = snapshot(&place.state(), &verify.backup)?;
        let report = place.vaults.with(move |vault| vault.verify(&id, &Watch::default())).await?;
        if let Some(first) = report.damage.first() {
            return Err(Fault::new(Code::Corrupt, format!("backup {} is damaged", verify.backup))
                .detail(format!(
                    "{} of {} files: first {}: {}",
                    report.damage_total, report.files, first.path, first.detail
                ))
                .hint("take a new backup; restore what is whole"));
        }
        let now_ms = self.clock.now_ms();
        let proved = place.amend(|state| {
            if let Some(kept) = state.backups.get_mut(&verify.backup) {
                kept.verified_at_ms = Some(now_ms);
            }
        });
        proved.await?;
        let result = json!({ "bytes": report.bytes, "files": report.files, "chunks": report.chunks });
        let summary = format!("read {} files of backup {} back, {} bytes", report.files, verify.backup, report.bytes);
        Ok(outcome(place, &verify.backup, summary, result))
    }

    /// The workspace whose backup a restore into `place` reads; of the same tenant always.
    pub(crate) fn source(&self, place: &Place, restore: &RestoreBackup) -> Result<Arc<Place>, Fault> {
        self.place(&place.tenant, restore.from.as_ref().unwrap_or(&place.workspace))
    }

    pub(crate) async fn restore(&self, place: &Place, restore: &RestoreBackup) -> Result<Outcome, Fault> {
        let restored = match self.bring_back(place, restore).await {
            Ok(restored) => restored,
            Err(fault) => {
                place.amend(|state| state.volumes.retain(|name, _| *name != restore.into)).await?;
                return Err(fault);
            }
        };
        let grown = place.amend(|state| {
            if let Some(volume) = state.volumes.get_mut(&restore.into) {
                volume.size_bytes = volume.size_bytes.max(restored.bytes).max(RESTORED_BYTES_MIN);
            }
        });
        grown.await?;
        place.link.ask(Ask::Reload).await?;
        let result = json!({ "bytes": restored.bytes, "files": restored.files, "volume": restore.into });
        let summary = format!("restored {} into {}, {} bytes read back", restore.volume, restore.into, restored.bytes);
        let state = place.state();
        let version = state.volumes.get(&restore.into).map(|volume| state.version_of(volume.version));
        Ok(Outcome { summary, result, version })
    }

    /// Writes what the backup holds into the new volume's folder.
    async fn bring_back(&self, place: &Place, restore: &RestoreBackup) -> Result<Restored, Fault> {
        let source = self.source(place, restore)?;
        let id = snapshot(&source.state(), &restore.backup)?;
        let (label, into) = (restore.volume.to_string(), place.folder.volume(&restore.into));
        let restored = source.vaults.with(move |vault| {
            // What a restore before a crash left is not whole; nobody may mount it until this is answered.
            disk::remove_tree(&into)
                .and_then(|()| std::fs::create_dir_all(into.parent().unwrap_or(&into)))
                .map_err(|error| opsward_snapshots::Error::Storage { detail: error.to_string() })?;
            vault.restore(&id, &label, &into, &Watch::default())
        });
        restored.await
    }

    pub(crate) async fn drop_backup(&self, place: &Place, delete: &DeleteBackup) -> Result<Outcome, Fault> {
        let tag = delete.backup.to_string();
        let current = place.state().backups.get(&delete.backup).and_then(|kept| kept.snapshot.clone());
        let forget = place.vaults.with(move |vault| {
            let all = vault.list()?.snapshots.into_iter();
            let gone = all.filter(|it| it.tags.contains(&tag) && Some(&it.id) != current.as_ref());
            vault.forget(&gone.map(|it| it.id).collect::<Vec<_>>())
        });
        forget.await?;
        let summary = format!("removed backup {} for good", delete.backup);
        Ok(Outcome { summary, result: Value::Null, version: None })
    }

    /// Takes the backups of an earlier workspace of this name over.
    pub(crate) async fn adopt_backups(&self, place: &Place) -> Result<usize, Fault> {
        let found = place.vaults.found().await?;
        let count = found.len();
        if count > 0 {
            let taken_over = place.amend(|state| {
                let version = state.generation;
                let adopted = found.iter().map(|(name, record)| (name.clone(), crate::vaults::adopt(record, version)));
                state.backups.extend(adopted);
            });
            taken_over.await?;
        }
        Ok(count)
    }
}

#[async_trait]
impl Kits for LocalProvider {
    async fn recovery_kit(&self, cx: &CallContext, workspace: &Workspace) -> Result<Page, Fault> {
        let place = self.inner.place(cx.tenant(), workspace)?;
        let made_on = day(self.inner.clock.now_ms());
        let title = format!("backups of workspace {workspace} of tenant {}", cx.tenant());
        let page = place.vaults.with(move |vault| {
            let (kit, _) = vault.add_recovery_kit()?;
            Ok(Page::new(kit.render(&title, &made_on).to_string()))
        });
        page.await
    }
}

/// The date of a time, as people write it.
fn day(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| "unknown".into(), |at| at.strftime("%Y-%m-%d").to_string())
}

fn snapshot(state: &State, name: &Backup) -> Result<String, Fault> {
    let kept: Option<&KeptBackup> = state.backups.get(name);
    let kept = kept.ok_or_else(|| Fault::not_found(format!("there is no backup {name}")))?;
    kept.snapshot.clone().ok_or_else(|| Fault::conflict(format!("backup {name} is still being taken")))
}

fn outcome(place: &Place, name: &Backup, summary: String, result: Value) -> Outcome {
    let state = place.state();
    let version = state.backups.get(name).map(|kept| state.version_of(kept.version));
    Outcome { summary, result, version }
}

/// The answer of a call that a crash interrupted: it may have run, and is not run again.
pub(crate) fn interrupted() -> Outcome {
    Outcome {
        summary: "interrupted: whether the function ran to its end is unknown".into(),
        result: json!({ "status": "interrupted" }),
        version: None,
    }
}
