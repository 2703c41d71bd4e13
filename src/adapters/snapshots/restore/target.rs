//! The folder a restore writes into.
//! It must never take a folder that has anything in it, nor a link to one.

use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, fstatvfs, syncfs};

use crate::rooted::open_root;
use crate::{Error, Result};

/// An empty folder, held open.
pub(super) struct Target {
    pub(super) folder: OwnedFd,
    path: PathBuf,
    created: bool,
}

impl Target {
    pub(super) fn prepare(path: &Path) -> Result<Self> {
        let fail = |detail: String| Error::Target { path: path.display().to_string(), detail };
        let created = match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(fail(error.to_string())),
        };
        let folder = open_root(path).map_err(|errno| fail(errno.to_string()))?;
        for entry in Dir::read_from(&folder).map_err(|errno| fail(errno.to_string()))? {
            let entry = entry.map_err(|errno| fail(errno.to_string()))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                return Err(fail("the folder is not empty".to_owned()));
            }
        }
        Ok(Self { folder, path: path.to_owned(), created })
    }

    pub(super) fn free_bytes(&self) -> Result<u64> {
        let stat = fstatvfs(&self.folder).map_err(|errno| self.fail(errno))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    pub(super) fn sync(&self) -> Result<()> {
        syncfs(&self.folder).map_err(|errno| self.fail(errno))
    }

    /// Puts the folder back to what it was: absent or empty.
    pub(super) fn clear(&self) {
        let cleared = if self.created { std::fs::remove_dir_all(&self.path) } else { self.empty() };
        if let Err(error) = cleared {
            tracing::warn!(folder = %self.path.display(), %error, "cannot clear a failed restore");
        }
    }

    fn empty(&self) -> std::io::Result<()> {
        for entry in self.path.read_dir()? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn fail(&self, errno: rustix::io::Errno) -> Error {
        Error::Target { path: self.path.display().to_string(), detail: errno.to_string() }
    }
}
