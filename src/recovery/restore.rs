//! Bringing a backup back: into a folder beside the wanted one, which takes its name only once its journal
//! verifies. Never into a folder that holds anything.

use std::fs;
use std::path::{Path, PathBuf};

use opsward_domain::fault::{Code, Fault};
use opsward_snapshots::{SnapshotRecord, Vault, Watch};
use serde::Serialize;

use super::{FORMAT, LABEL, MANIFEST, Manifest, Opener, choose, fault, io_fault, short};

/// What was brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// From which backup.
    pub id: String,
    /// When it was taken.
    pub taken_at_ms: i64,
    /// Version of opsward that took it.
    pub version: String,
    /// Bytes written and read back.
    pub bytes: u64,
    /// Journal entries, verified.
    pub entries: u64,
    /// Volumes whose content it does not hold, as `tenant/workspace/volume`; they begin empty.
    pub empty_volumes: Vec<String>,
}

/// A folder that goes again unless it is finished.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.0.exists()
            && let Err(error) = fs::remove_dir_all(&self.0)
        {
            tracing::warn!(folder = %self.0.display(), %error, "what was restored so far could not be removed");
        }
    }
}

/// Restores a backup of the vault `from` into `into`, which must not exist or be empty; the newest one unless
/// `id` says which.
///
/// Faults: `Conflict` if `into` holds something; `NotFound`, `Corrupt` and wrong keys as the vault says them.
/// Whatever it is, `into` is as it was.
pub async fn restore(from: &Path, opener: Opener, id: Option<&str>, into: &Path) -> Result<Restored, Fault> {
    if fs::read_dir(into)
        .map_or_else(|error| error.kind() != std::io::ErrorKind::NotFound, |mut names| names.next().is_some())
    {
        return Err(Fault::conflict(format!("{} is not an empty folder", into.display()))
            .hint("name a data folder that does not exist yet with --data"));
    }
    let (from, id, target) = (from.to_owned(), id.map(str::to_owned), into.to_owned());
    let written = tokio::task::spawn_blocking(move || {
        let vault = opener.open(&from)?;
        let record = choose(&vault, id.as_deref())?;
        write(&vault, &record, &target)
    });
    let (fresh, manifest, mut restored) = written.await.map_err(|error| Fault::internal(error.to_string()))??;
    let verified = crate::audit::verify(&fresh.0).await?;
    if let Some((seq, detail)) = verified.damage.first() {
        return Err(Fault::new(Code::Corrupt, format!("journal entry {seq} of the backup is damaged"))
            .detail(detail.clone())
            .hint("restore an older backup; `opsward state list` shows them"));
    }
    if (verified.entries, &verified.head) != (manifest.entries, &manifest.head) {
        return Err(Fault::new(Code::Corrupt, "the backup's journal is not the one that was backed up")
            .hint("restore an older backup; `opsward state list` shows them"));
    }
    restored.empty_volumes = opsward_local::fill_in(&fresh.0.join("platform"))?;
    fs::rename(&fresh.0, into).map_err(|error| io_fault("the data folder cannot be made", into, &error))?;
    Ok(restored)
}

fn write(vault: &Vault, record: &SnapshotRecord, target: &Path) -> Result<(Unfinished, Manifest, Restored), Fault> {
    let target = std::path::absolute(target).map_err(|error| io_fault("the folder cannot be found", target, &error))?;
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(Fault::invalid(format!("{} is no name for a data folder", target.display())));
    };
    fs::create_dir_all(parent).map_err(|error| io_fault("the data folder cannot be made", parent, &error))?;
    let fresh = Unfinished(parent.join(format!(".{}.restoring-{}", name.to_string_lossy(), std::process::id())));
    let watch = Watch::default();
    let restored = vault.restore(&record.id, LABEL, &fresh.0, &watch).map_err(|error| fault(&error))?;
    let path = fresh.0.join(MANIFEST);
    let text = fs::read(&path).map_err(|error| io_fault("the backup says nothing about itself", &path, &error))?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| {
        Fault::new(Code::Corrupt, "what the backup says about itself cannot be read").detail(error.to_string())
    })?;
    if manifest.format > FORMAT {
        return Err(Fault::conflict(format!("backup {} was taken by a newer version", short(&record.id)))
            .detail(format!("opsward {}, this is {}", manifest.version, env!("CARGO_PKG_VERSION")))
            .hint("use that version or a newer one"));
    }
    fs::remove_file(&path).map_err(|error| io_fault("the data folder cannot be made", &path, &error))?;
    let mut bytes = restored.bytes;
    for (label, place) in &manifest.bulk {
        // Ours, and still checked: a vault may come from anywhere.
        let plain = place.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let into = fresh.0.join(place);
        let parent = into.parent().filter(|_| plain);
        let parent = parent.ok_or_else(|| Fault::new(Code::Corrupt, "the backup leads outside the data folder"))?;
        fs::create_dir_all(parent).map_err(|error| io_fault("the data folder cannot be made", parent, &error))?;
        bytes += vault.restore(&record.id, label, &into, &watch).map_err(|error| fault(&error))?.bytes;
    }
    let restored = Restored {
        id: record.id.clone(),
        taken_at_ms: manifest.taken_at_ms,
        version: manifest.version.clone(),
        bytes,
        entries: manifest.entries,
        empty_volumes: Vec::new(),
    };
    Ok((fresh, manifest, restored))
}
