//! The vault's files on disk, as the archive engine sees them.
//! It must never let a snapshot be recorded that its taker did not finish, nor offer a key file that was tampered with.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustic_backend::local::LocalBackend;
use rustic_core::repofile::KeyFile;
use rustic_core::{
    BytesList, ErrorKind, FileType, Id, ReadBackend, RepositoryBackends, RusticError, RusticResult, WriteBackend,
};
use sha2::{Digest as _, Sha256};

use crate::{Error, Result};

/// Largest key derivation that is attempted: 256 MiB of memory (`128 * N * r`), and few rounds.
const MAX_KDF_BYTES: u64 = 256 * 1024 * 1024;
const MAX_KDF_ROUNDS: u32 = 8;

/// Set while a snapshot must not be recorded.
pub(crate) type Veto = Arc<AtomicBool>;

/// A local folder, with fsync of what is created, a veto on snapshot records, and a check of key files.
pub(crate) struct Store {
    inner: LocalBackend,
    dir: PathBuf,
    veto: Veto,
}

impl Store {
    pub(crate) fn backends(dir: &Path, veto: Veto) -> Result<RepositoryBackends> {
        let text = dir.to_str().ok_or_else(|| Error::invalid("dir", "must be valid UTF-8"))?;
        let inner = LocalBackend::new(text, [])?;
        let store = Self { inner, dir: dir.to_owned(), veto };
        Ok(RepositoryBackends::new(Arc::new(store), None))
    }

    /// A renamed file is only there after a power cut once its folder is synced.
    fn sync_folder(&self, tpe: FileType, id: &Id) -> std::io::Result<()> {
        let folder = match tpe {
            FileType::Config => self.dir.clone(),
            FileType::Pack => {
                let hex = id.to_hex();
                self.dir.join(tpe.dirname()).join(hex.as_str().get(..2).unwrap_or_default())
            }
            _ => self.dir.join(tpe.dirname()),
        };
        File::open(folder)?.sync_all()
    }
}

impl ReadBackend for Store {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn list_with_size(&self, tpe: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.inner.list_with_size(tpe)
    }

    fn list(&self, tpe: FileType) -> RusticResult<Vec<Id>> {
        let mut ids = self.inner.list(tpe)?;
        if tpe == FileType::Key {
            ids.retain(|id| self.inner.read_full(tpe, id).is_ok_and(|data| key_is_whole(id, &data)));
        }
        Ok(ids)
    }

    fn read_full(&self, tpe: FileType, id: &Id) -> RusticResult<Bytes> {
        self.inner.read_full(tpe, id)
    }

    fn read_partial(&self, tpe: FileType, id: &Id, cacheable: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        self.inner.read_partial(tpe, id, cacheable, offset, length)
    }

    fn warmup_path(&self, tpe: FileType, id: &Id) -> String {
        self.inner.warmup_path(tpe, id)
    }
}

impl WriteBackend for Store {
    fn create(&self) -> RusticResult<()> {
        self.inner.create()
    }

    fn write_bytes(&self, tpe: FileType, id: &Id, cacheable: bool, content: BytesList) -> RusticResult<()> {
        if tpe == FileType::Snapshot && self.veto.load(Ordering::SeqCst) {
            return Err(RusticError::new(ErrorKind::AppendOnly, "the snapshot was not finished"));
        }
        self.inner.write_bytes(tpe, id, cacheable, content)?;
        self.sync_folder(tpe, id)
            .map_err(|error| RusticError::with_source(ErrorKind::InputOutput, "cannot sync the vault's folder", error))
    }

    fn remove(&self, tpe: FileType, id: &Id, cacheable: bool) -> RusticResult<()> {
        self.inner.remove(tpe, id, cacheable)
    }
}

/// A key file is named by its own hash; its cost is bounded so that a planted one cannot exhaust the server.
fn key_is_whole(id: &Id, data: &[u8]) -> bool {
    let params_fit = |key: &KeyFile| {
        let memory = 128u64.saturating_mul(u64::from(key.n)).saturating_mul(u64::from(key.r));
        key.kdf == "scrypt"
            && key.n.is_power_of_two()
            && memory <= MAX_KDF_BYTES
            && (1..=MAX_KDF_ROUNDS).contains(&key.p)
    };
    hash(data) == *id && parse_key(data).is_some_and(|key| params_fit(&key))
}

fn parse_key(data: &[u8]) -> Option<KeyFile> {
    serde_json::from_slice(data).ok()
}

/// The name of a piece of data: its SHA-256.
pub(crate) fn hash(data: &[u8]) -> Id {
    Id::new(Sha256::digest(data).into())
}

/// The key files in the vault at `dir`, each with whether it is whole.
pub(crate) fn key_files(dir: &Path) -> Result<Vec<(Id, bool)>> {
    let text = dir.to_str().ok_or_else(|| Error::invalid("dir", "must be valid UTF-8"))?;
    let inner = LocalBackend::new(text, [])?;
    let whole = |id: &Id| inner.read_full(FileType::Key, id).is_ok_and(|data| key_is_whole(id, &data));
    Ok(inner.list(FileType::Key)?.into_iter().map(|id| (id, whole(&id))).collect())
}
