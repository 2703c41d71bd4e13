//! The vault: making it, opening it, its snapshots and its keys.
//! It must never be left half made, nor without a key that opens it.

mod keys;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rustic_core::repofile::{MasterKey, SnapshotFile, SnapshotId};
use rustic_core::{
    ConfigOptions, Credentials, FileType, KeyOptions, LimitOption, NoProgressBars, OpenStatus, ProgressBars,
    PruneOptions, Repository, RepositoryOptions,
};
use zeroize::Zeroize as _;

use crate::lock::{Hold, VaultLock, hold};
use crate::reading::Reading;
use crate::record::Listing;
use crate::store::{Store, Veto, key_files};
use crate::{Error, Passphrase, RecoveryKit, Result};

/// How long an operation waits for another one by default.
pub const DEFAULT_LOCK_WAIT_MS: u64 = 5_000;
/// Shortest beginning of an id that is accepted for it.
const MIN_ID_DIGITS: usize = 8;
const ID_DIGITS: usize = 64;

/// An open vault. Several may be open on one folder, in one process or many; they lock each other out where needed.
pub struct Vault {
    dir: PathBuf,
    id: String,
    master: MasterKey,
    key_id: Option<String>,
    lock_wait_ms: u64,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("dir", &self.dir).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        wipe(&mut self.master);
    }
}

impl Vault {
    /// Makes a vault in `dir`, which must not exist or be empty (mode 0700). Takes about a second: deriving the key is slow on purpose.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Storage`].
    pub fn create(dir: &Path, passphrase: &Passphrase) -> Result<Self> {
        if dir
            .read_dir()
            .map_or_else(|error| error.kind() != std::io::ErrorKind::NotFound, |mut names| names.next().is_some())
        {
            return Err(Error::Exists { dir: dir.to_owned() });
        }
        // Made next to its place and moved in whole: a crash leaves no half vault under the name.
        let mut suffix = [0u8; 8];
        getrandom::fill(&mut suffix).map_err(Error::storage)?;
        let name = dir.file_name().ok_or_else(|| Error::invalid("dir", "must name a folder"))?;
        let mut making = std::ffi::OsString::from(".making-");
        making.push(u64::from_le_bytes(suffix).to_string());
        making.push("-");
        making.push(name);
        let making = dir.with_file_name(making);
        DirBuilder::new().mode(0o700).create(&making).map_err(Error::storage)?;
        let made = with_password(passphrase, |credentials| {
            let repo = Repository::new(&options(), &Store::backends(&making, Veto::default())?)?;
            let repo = repo.init(credentials, &key_options(), &ConfigOptions::default())?;
            std::fs::rename(&making, dir).map_err(Error::storage)?;
            Ok(Self::over(dir, &repo))
        });
        if made.is_err()
            && let Err(left) = std::fs::remove_dir_all(&making)
        {
            tracing::warn!(folder = %making.display(), %left, "cannot remove a half made vault");
        }
        made
    }

    /// Opens the vault in `dir`.
    ///
    /// # Errors
    /// [`Error::WrongPassphrase`] when every key file is whole and none opens; [`Error::Missing`] when there is no
    /// vault; [`Error::Damaged`] when its configuration or the key files are.
    pub fn open(dir: &Path, passphrase: &Passphrase) -> Result<Self> {
        if !dir.join("config").is_file() {
            let remains = ["keys", "data"].iter().any(|name| dir.join(name).is_dir());
            return Err(if remains {
                Error::damaged("config", "the vault's configuration file is gone")
            } else {
                Error::Missing { dir: dir.to_owned() }
            });
        }
        let keys = key_files(dir)?;
        if !keys.iter().any(|(_, whole)| *whole) {
            return Err(Error::damaged("keys", "no key file is left whole"));
        }
        let backends = Store::backends(dir, Veto::default())?;
        let opened =
            with_password(passphrase, |credentials| Ok(Repository::new(&options(), &backends)?.open(credentials)))?;
        let repo = match opened {
            Ok(repo) => repo,
            Err(error) if error.is_incorrect_password() => {
                return Err(match keys.iter().find(|(_, whole)| !whole) {
                    Some((id, _)) => Error::damaged(
                        format!("key {id}"),
                        "the key file does not match its checksum, and no other key opens with this passphrase",
                    ),
                    None => Error::WrongPassphrase,
                });
            }
            Err(error) => return Err(Error::damaged("config", crate::error::brief(&error))),
        };
        Ok(Self::over(dir, &repo))
    }

    fn over(dir: &Path, repo: &Repository<OpenStatus>) -> Self {
        Self {
            dir: dir.to_owned(),
            id: repo.config().id.to_hex().as_str().to_owned(),
            master: repo.key(),
            key_id: repo.key_id().as_ref().map(|id| id.to_hex().as_str().to_owned()),
            lock_wait_ms: DEFAULT_LOCK_WAIT_MS,
        }
    }

    /// Opens the vault in `dir` with its recovery kit.
    ///
    /// # Errors
    /// As [`Vault::open`], and [`Error::OtherVault`] when the kit names another vault.
    pub fn open_with_kit(dir: &Path, kit: &RecoveryKit) -> Result<Self> {
        let vault = Self::open(dir, &kit.passphrase()?)?;
        match kit.vault_id() {
            Some(named) if named != vault.id => Err(Error::OtherVault { kit_vault: named.to_owned() }),
            _ => Ok(vault),
        }
    }

    /// Waits at most `lock_wait_ms` for other operations from now on.
    #[must_use]
    pub fn with_lock_wait_ms(mut self, lock_wait_ms: u64) -> Self {
        self.lock_wait_ms = lock_wait_ms;
        self
    }

    /// The vault's own id, 64 hexadecimal digits; it is on the recovery kit.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// All snapshots, oldest first; damaged records are named, not hidden.
    ///
    /// # Errors
    /// [`Error::Storage`] when the folder cannot be read.
    pub fn list(&self) -> Result<Listing> {
        let repo = self.repository(Veto::default(), NoProgressBars)?;
        let mut listing = Listing::default();
        for id in repo.list::<SnapshotId>()? {
            match read_snapshot(&repo, id) {
                Ok(snapshot) => listing.snapshots.push(crate::take::record(&snapshot)),
                Err(_) => listing.damaged.push(id.to_hex().as_str().to_owned()),
            }
        }
        listing.snapshots.sort_by(|a, b| (a.taken_at_ms, &a.id).cmp(&(b.taken_at_ms, &b.id)));
        listing.damaged.sort();
        Ok(listing)
    }

    /// Deletes snapshots and every chunk that no other snapshot needs. Cannot be undone.
    ///
    /// # Errors
    /// [`Error::UnknownSnapshot`] (nothing is deleted then), [`Error::Busy`], [`Error::Storage`].
    pub fn forget(&self, ids: &[String]) -> Result<()> {
        let _lock = self.hold_alone()?;
        let repo = self.repository(Veto::default(), NoProgressBars)?;
        let ids: Vec<SnapshotId> = ids.iter().map(|id| self.resolve(&repo, id)).collect::<Result<_>>()?;
        repo.delete_snapshots(&ids)?;
        let mut options = PruneOptions::default();
        options.instant_delete = true;
        options.max_unused = LimitOption::Percentage(0);
        options.max_repack = LimitOption::Unlimited;
        let pruned = catch_unwind(AssertUnwindSafe(|| {
            let plan = repo.prune_plan(&options)?;
            repo.prune(&options, plan)
        }));
        Ok(pruned.map_err(|_| Error::storage("the archive engine stopped unexpectedly"))??)
    }

    pub(crate) fn hold_shared(&self) -> Result<VaultLock> {
        hold(&self.dir, Hold::Shared, self.lock_wait_ms)
    }

    pub(crate) fn hold_alone(&self) -> Result<VaultLock> {
        hold(&self.dir, Hold::Alone, self.lock_wait_ms)
    }

    /// A fresh view of the vault, with its own veto.
    pub(crate) fn repository(&self, veto: Veto, progress: impl ProgressBars) -> Result<Repository<OpenStatus>> {
        let backends = Store::backends(&self.dir, veto)?;
        let mut credentials = Credentials::Masterkey(self.master.clone());
        let opened = Repository::new_with_progress(&options(), &backends, progress)?.open(&credentials);
        if let Credentials::Masterkey(master) = &mut credentials {
            wipe(master);
        }
        Ok(opened?)
    }

    pub(crate) fn reading(&self) -> Result<Reading> {
        let repo = self.repository(Veto::default(), NoProgressBars)?;
        let indexed = repo.to_indexed().map_err(|error| Error::damaged("index", crate::error::brief(&error)))?;
        Ok(Reading::new(indexed))
    }

    /// The record of the snapshot with this id, or with this unique beginning of at least 8 digits.
    pub(crate) fn find(&self, id: &str) -> Result<SnapshotFile> {
        let repo = self.repository(Veto::default(), NoProgressBars)?;
        let id = self.resolve(&repo, id)?;
        read_snapshot(&repo, id)
    }

    fn resolve(&self, repo: &Repository<OpenStatus>, id: &str) -> Result<SnapshotId> {
        let unknown = || Error::UnknownSnapshot { id: id.chars().take(ID_DIGITS).collect() };
        if !(MIN_ID_DIGITS..=ID_DIGITS).contains(&id.len()) {
            return Err(unknown());
        }
        let mut fitting = repo.list::<SnapshotId>()?.filter(|known| known.to_hex().as_str().starts_with(id));
        match (fitting.next(), fitting.next()) {
            (Some(found), None) => Ok(found),
            _ => Err(unknown()),
        }
    }
}

fn read_snapshot(repo: &Repository<OpenStatus>, id: SnapshotId) -> Result<SnapshotFile> {
    let mut snapshot: SnapshotFile = repo.get_file(&id).map_err(|error| {
        Error::damaged(format!("{:?} {}", FileType::Snapshot, id.to_hex().as_str()), crate::error::brief(&error))
    })?;
    snapshot.id = id;
    Ok(snapshot)
}

fn options() -> RepositoryOptions {
    let mut options = RepositoryOptions::default();
    options.no_cache = true;
    options
}

fn key_options() -> KeyOptions {
    let mut options = KeyOptions::default();
    options.with_created = true;
    options
}

/// Lends the passphrase to the engine and wipes that copy afterwards.
fn with_password<T>(passphrase: &Passphrase, work: impl FnOnce(&Credentials) -> Result<T>) -> Result<T> {
    let mut credentials = Credentials::Password(passphrase.reveal().to_owned());
    let result = work(&credentials);
    if let Credentials::Password(text) = &mut credentials {
        text.zeroize();
    }
    result
}

fn wipe(master: &mut MasterKey) {
    master.encrypt.zeroize();
    master.mac.k.zeroize();
    master.mac.r.zeroize();
}
