//! Taking a backup: a copy of one moment beside the data, from there into the vault, read back, the copy
//! removed. The journal is copied first: what it says was done is then in the rest for sure.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use opsward_domain::fault::{Code, Fault};
use opsward_snapshots::{Source, Vault, Watch};
use serde::Serialize;

use super::{
    FORMAT, JOURNAL, KEY, LABEL, Last, MANIFEST, Manifest, TAG, What, fault, io_fault, open_or_make, ours, short,
};

/// Where the copy is made, in the data folder: on the same disk, so that what never changes is linked.
const STAGING: &str = ".state-copy";

/// A backup just taken and read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Which.
    pub id: String,
    /// Bytes it holds.
    pub bytes: u64,
    /// Bytes that the vault grew by.
    pub added_bytes: u64,
    /// Files it holds, each read back.
    pub files: u64,
    /// Journal entries it holds, verified.
    pub entries: u64,
    /// Files of volumes that changed while they were read.
    pub changed: u64,
    /// Older backups removed.
    pub removed: usize,
    /// True if some recovery kit opens the vault.
    pub has_kit: bool,
}

/// The copy; removed with this.
struct Staging(PathBuf);

impl Staging {
    fn make(data: &Path) -> Result<Self, Fault> {
        let path = data.join(STAGING);
        let failed = |error: std::io::Error| io_fault("the copy cannot be made", &path, &error);
        // What an earlier one left that was killed.
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?,
        }
        Ok(Self(path))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(copy = %self.0.display(), %error, "the copy could not be removed; the next backup will");
        }
    }
}

/// Backs the data folder `data` up into the vault `to`, which is made if it is not there, and keeps the newest
/// `kept`. Works whether or not a server runs on `data`.
///
/// Faults: `NotFound` if `data` is no data folder; `Corrupt` if its journal does not verify or the backup does
/// not read back (nothing is kept then); `Conflict` while another is taken; `Cancelled`; no room.
pub async fn take(data: &Path, to: &Path, what: What, kept: usize, now_ms: i64, watch: Watch) -> Result<Taken, Fault> {
    let journal = data.join(JOURNAL);
    if !journal.exists() {
        return Err(Fault::not_found(format!("there is no journal in {}", data.display()))
            .hint("name the data folder with --data"));
    }
    let turn = super::turn(data)?;
    let staging = Staging::make(data)?;
    let copied = staging.0.join(JOURNAL);
    opsward_sqlite::copy(&journal, &copied).await.map_err(opsward_engine::parts::journal_fault)?;
    let verified = crate::audit::verify(&staging.0).await?;
    if let Some((seq, detail)) = verified.damage.first() {
        return Err(Fault::new(Code::Corrupt, format!("journal entry {seq} is damaged, so nothing was backed up"))
            .detail(detail.clone())
            .hint("older backups are as they were; `opsward state restore` brings one back"));
    }
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at_ms: now_ms,
        entries: verified.entries,
        head: verified.head,
        bulk: Vec::new(),
    };
    let (data, to) = (data.to_owned(), to.to_owned());
    let work = move || {
        let taken = keep(&data, &to, &staging, what, manifest, kept, &watch);
        drop((staging, turn));
        taken
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| Fault::internal(error.to_string()))?
}

fn keep(
    data: &Path,
    to: &Path,
    staging: &Staging,
    what: What,
    mut manifest: Manifest,
    kept: usize,
    watch: &Watch,
) -> Result<Taken, Fault> {
    let vault = open_or_make(data, to)?;
    let bulk = copy_rest(data, &staging.0, what)?;
    manifest.bulk = bulk.iter().map(|bulk| (bulk.label.clone(), Path::new("platform").join(&bulk.place))).collect();
    let bytes = serde_json::to_vec_pretty(&manifest).map_err(|error| Fault::internal(error.to_string()))?;
    let path = staging.0.join(MANIFEST);
    fs::write(&path, bytes).map_err(|error| io_fault("the copy cannot be made", &path, &error))?;
    let mut sources = vec![Source::new(LABEL, &staging.0)];
    sources.extend(bulk.iter().map(|bulk| Source::new(&bulk.label, &bulk.path)));
    let now_ms = u64::try_from(manifest.taken_at_ms).unwrap_or(0);
    let taken = vault.snapshot(&sources, &[TAG.to_owned()], now_ms, watch).map_err(|error| fault(&error))?;
    let record = &taken.snapshot;
    prove(&vault, &record.id, watch)?;
    let removed = thin(&vault, kept)?;
    let last =
        Last { at_ms: manifest.taken_at_ms, snapshot: Some(record.id.clone()), bytes: record.bytes, failed: None };
    last.keep(data)?;
    Ok(Taken {
        id: record.id.clone(),
        bytes: record.bytes,
        added_bytes: record.added_bytes,
        files: record.files,
        entries: manifest.entries,
        changed: taken.changed_total,
        removed,
        has_kit: vault.keys().map_err(|error| fault(&error))?.len() > 1,
    })
}

/// Copies everything but the journal; returns what is too large for that.
fn copy_rest(data: &Path, into: &Path, what: What) -> Result<Vec<opsward_local::Bulk>, Fault> {
    let failed = |error: std::io::Error| io_fault("the copy cannot be made", into, &error);
    let lock = into.join(format!("{JOURNAL}.lock"));
    if lock.exists() {
        fs::remove_file(&lock).map_err(failed)?;
    }
    let key = into.join(KEY);
    fs::create_dir_all(key.parent().unwrap_or(into)).map_err(failed)?;
    fs::copy(data.join(KEY), &key).map_err(failed)?;
    let there = |name: &str| data.join(name).is_dir();
    if what.telemetry && there("logs") {
        opsward_tantivy::copy(&data.join("logs"), &into.join("logs"))?;
    }
    if what.telemetry && there("metrics") {
        opsward_series::copy(&data.join("metrics"), &into.join("metrics"))?;
    }
    let platform = data.join("platform");
    if !platform.is_dir() {
        return Ok(Vec::new());
    }
    opsward_local::copy(&platform, &into.join("platform"))?;
    if what.volumes { opsward_local::bulk(&platform) } else { Ok(Vec::new()) }
}

/// Reads the backup back; one that does not is removed.
fn prove(vault: &Vault, id: &str, watch: &Watch) -> Result<(), Fault> {
    let report = vault.verify(id, watch).map_err(|error| fault(&error))?;
    let Some(first) = report.damage.first() else { return Ok(()) };
    vault.forget(&[id.to_owned()]).map_err(|error| fault(&error))?;
    Err(Fault::new(Code::Corrupt, format!("backup {} could not be read back and was not kept", short(id)))
        .detail(format!("{}: {}", first.path, first.detail))
        .hint("check the disk of the vault, then try again"))
}

/// Removes all but the newest `kept`.
fn thin(vault: &Vault, kept: usize) -> Result<usize, Fault> {
    let mut old: Vec<String> = ours(vault)?.into_iter().map(|record| record.id).collect();
    old.truncate(old.len().saturating_sub(kept.max(1)));
    if !old.is_empty() {
        vault.forget(&old).map_err(|error| fault(&error))?;
    }
    Ok(old.len())
}
