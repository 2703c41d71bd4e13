//! The journal's files on the disk: where they are, how they are made and how large they are. Everything is
//! readable by its owner only.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use opsward_ports::journal::Error;

use crate::failure;

/// A database file and those that SQLite keeps beside it.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    database: PathBuf,
}

impl Files {
    /// The files of the database at `path`, which is made absolute: SQLite reads some relative names as URIs.
    pub(crate) fn at(path: &Path) -> Result<Self, Error> {
        let database = std::path::absolute(path).map_err(|error| failure::file(path, &error))?;
        Ok(Self { database })
    }

    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    /// The file beside the database whose name ends in `suffix`.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.database.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    /// Makes the directory of the database.
    pub(crate) fn make_dir(&self) -> Result<(), Error> {
        let Some(dir) = self.database.parent() else { return Ok(()) };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| failure::file(dir, &error))
    }

    /// Makes the database file, if it is not there. SQLite gives its other files the same mode.
    pub(crate) fn make_database(&self) -> Result<(), Error> {
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.database);
        made.map(|_| ()).map_err(|error| failure::file(&self.database, &error))
    }

    /// Forces the directory to the disk: without it, a loss of power can take a new database with its name.
    pub(crate) fn sync_dir(&self) -> Result<(), Error> {
        let Some(dir) = self.database.parent() else { return Ok(()) };
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| failure::file(dir, &error))
    }

    /// Bytes of all files; one that is not there has none.
    pub(crate) fn bytes(&self) -> u64 {
        let size = |path: PathBuf| path.metadata().map_or(0, |meta| meta.len());
        size(self.database.clone()) + size(self.beside("-wal")) + size(self.beside("-shm"))
    }
}
