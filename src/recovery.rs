//! opsward's own state: journal, people and tokens in it, keys, the platform's wanted state, logs and metrics.
//! Copied while the service runs, kept encrypted in a vault, proved by reading back, and brought back into an
//! empty folder. Never over anything, and never a copy whose journal does not verify.

mod restore;
pub mod schedule;
mod take;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use opsward_domain::fault::{Code, Fault};
use opsward_snapshots::{Error, Passphrase, RecoveryKit, SnapshotRecord, Vault, VerifyReport, Watch};
use serde::{Deserialize, Serialize};

pub use restore::{Restored, restore};
pub use take::{Taken, take};

/// Name of the journal in a data folder.
pub const JOURNAL: &str = "journal.sqlite";
/// Key of the vault, in the data folder; it goes into the backups too.
const KEY: &str = "keys/state";
/// Where the last backup is told of.
const LAST: &str = "state-backup.json";
/// What marks a snapshot as ours.
const TAG: &str = "opsward-state";
/// What a snapshot holds the state under.
const LABEL: &str = "state";
/// What a copy says about itself.
const MANIFEST: &str = "state.json";
/// Form of a copy.
const FORMAT: u32 = 1;

/// What goes into a backup besides journal, keys and wanted state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct What {
    /// Logs and metrics.
    pub telemetry: bool,
    /// Volumes and backups of every workspace.
    pub volumes: bool,
}

/// What opens the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opener {
    /// The key of a data folder, in a file.
    Key(PathBuf),
    /// The page that `opsward state kit` printed, in a file.
    Kit(PathBuf),
}

impl Opener {
    /// The key that the data folder in `dir` keeps.
    pub fn of(dir: &Path) -> Self {
        Self::Key(dir.join(KEY))
    }

    /// Opens the vault in `dir`.
    fn open(&self, dir: &Path) -> Result<Vault, Fault> {
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|error| {
                Fault::invalid(format!("{} cannot be read", path.display()))
                    .detail(error.to_string())
                    .hint("name the key with --key, or the recovery kit's page with --kit")
            })
        };
        let opened = match self {
            Self::Key(path) => Passphrase::new(read(path)?.trim()).and_then(|key| Vault::open(dir, &key)),
            Self::Kit(path) => {
                let kit = RecoveryKit::parse(&read(path)?).map_err(|error| {
                    Fault::invalid("the recovery kit cannot be read")
                        .detail(error.to_string())
                        .hint("type the page again as it is printed")
                })?;
                Vault::open_with_kit(dir, &kit)
            }
        };
        opened.map_err(|error| fault(&error))
    }
}

/// What a copy says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    version: String,
    taken_at_ms: i64,
    entries: u64,
    head: String,
    /// What else the snapshot holds: label, and where it belongs in the data folder.
    bulk: Vec<(String, PathBuf)>,
}

/// How the last backup went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// When; before the first one, since when there should be one.
    pub at_ms: i64,
    /// Which, if there is one.
    pub snapshot: Option<String>,
    /// Its bytes.
    pub bytes: u64,
    /// Why the newest try failed, if it did.
    pub failed: Option<String>,
}

impl Last {
    /// What is known of the data folder in `dir`.
    pub fn of(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(LAST)).ok()?).ok()
    }

    fn keep(&self, dir: &Path) -> Result<(), Fault> {
        let path = dir.join(LAST);
        let fresh = path.with_extension("new");
        let bytes = serde_json::to_vec(self).map_err(|error| Fault::internal(error.to_string()))?;
        let written = fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, &path));
        written.map_err(|error| io_fault("the last backup cannot be noted", &path, &error))
    }
}

/// The backups in the vault `dir`, oldest first.
pub fn list(dir: &Path, opener: &Opener) -> Result<Vec<SnapshotRecord>, Fault> {
    let vault = opener.open(dir)?;
    ours(&vault)
}

/// Reads every byte of a backup back; the newest unless `id` says which.
pub fn verify(dir: &Path, opener: &Opener, id: Option<&str>) -> Result<VerifyReport, Fault> {
    let vault = opener.open(dir)?;
    let record = choose(&vault, id)?;
    let report = vault.verify(&record.id, &Watch::default()).map_err(|error| fault(&error))?;
    match report.damage.first() {
        None => Ok(report),
        Some(first) => Err(Fault::new(Code::Corrupt, format!("backup {} is damaged", short(&record.id)))
            .detail(format!("{} bad pieces, first {}: {}", report.damage_total, first.path, first.detail))
            .hint("take a new backup; `opsward state list` shows older ones, which may be whole")),
    }
}

/// Adds a recovery key to the vault in `dir` and returns the page to print. It is kept nowhere.
pub fn kit(data: &Path, dir: &Path, made_on: &str) -> Result<String, Fault> {
    let vault = open_or_make(data, dir)?;
    let (kit, _) = vault.add_recovery_kit().map_err(|error| fault(&error))?;
    let whole = fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
    Ok(kit.render(&format!("opsward's own state in {}", whole.display()), made_on).to_string())
}

fn open_or_make(data: &Path, dir: &Path) -> Result<Vault, Fault> {
    let key = Passphrase::kept_in(&data.join(KEY)).map_err(|error| fault(&error))?;
    match Vault::open(dir, &key) {
        Err(Error::Missing { .. }) => {
            let parent = dir.parent().unwrap_or(dir);
            fs::create_dir_all(parent).map_err(|error| io_fault("the vault cannot be made", dir, &error))?;
            Vault::create(dir, &key)
        }
        opened => opened,
    }
    .map_err(|error| fault(&error))
}

fn ours(vault: &Vault) -> Result<Vec<SnapshotRecord>, Fault> {
    let listing = vault.list().map_err(|error| fault(&error))?;
    Ok(listing.snapshots.into_iter().filter(|record| record.tags.iter().any(|tag| tag == TAG)).collect())
}

fn choose(vault: &Vault, id: Option<&str>) -> Result<SnapshotRecord, Fault> {
    let all = ours(vault)?;
    let found = match id {
        None => all.into_iter().next_back(),
        Some(id) => all.into_iter().find(|record| id.len() >= SHORT_CHARS && record.id.starts_with(id)),
    };
    found.ok_or_else(|| {
        Fault::not_found(
            id.map_or("there is no backup in the vault".to_owned(), |id| format!("there is no backup {id}")),
        )
        .hint("`opsward state list` shows every backup")
    })
}

/// Digits of an id that people see.
const SHORT_CHARS: usize = 8;

/// An id as people see it.
pub fn short(id: &str) -> &str {
    id.get(..SHORT_CHARS).unwrap_or(id)
}

fn fault(error: &Error) -> Fault {
    let code = match error {
        Error::Damaged { .. } | Error::WrongPassphrase | Error::OtherVault { .. } => Code::Corrupt,
        Error::Missing { .. } | Error::UnknownSnapshot { .. } | Error::UnknownLabel { .. } => Code::NotFound,
        Error::Invalid { .. } => Code::InvalidInput,
        Error::NoSpace { .. } => Code::NoRoom,
        Error::Cancelled => Code::Cancelled,
        Error::Exists { .. } | Error::Target { .. } => Code::Conflict,
        _ => Code::Unavailable,
    };
    Fault::new(code, error.to_string()).hint(error.hint())
}

fn io_fault(what: &str, path: &Path, error: &std::io::Error) -> Fault {
    Fault::unavailable(what)
        .detail(format!("{}: {error}", path.display()))
        .hint("check the folder, its permissions and the room on its disk")
}

/// Held while a backup of a data folder is taken; the system lets go of it when the process ends.
fn turn(data: &Path) -> Result<File, Fault> {
    let path = data.join("state-backup.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| io_fault("the data folder cannot be used", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(Fault::conflict("another backup of this data folder is being taken").hint("wait for it to end")),
    }
}
