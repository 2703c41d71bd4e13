//! What can go wrong with a vault, sorted by what the caller can do about it.
//! It must never carry a passphrase, a key or the contents of a file.

use std::path::PathBuf;

use rustic_core::RusticError;

/// Result of every operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An operation on a vault failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No key of the vault opens with what was given.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// There is no vault in this folder.
    #[error("no vault in {dir}")]
    Missing {
        /// The folder looked at.
        dir: PathBuf,
    },
    /// The folder to create a vault in is taken.
    #[error("{dir} exists and is not empty")]
    Exists {
        /// The folder asked for.
        dir: PathBuf,
    },
    /// Data of the vault is missing or does not match its checksum.
    #[error("damaged vault: {what}: {detail}")]
    Damaged {
        /// Which part: a key, a snapshot, the path of a file in a snapshot.
        what: String,
        /// What was found.
        detail: String,
    },
    /// Another operation holds the vault.
    #[error("vault is busy: another operation did not finish within {waited_ms} ms")]
    Busy {
        /// How long this one waited.
        waited_ms: u64,
    },
    /// No snapshot has this id.
    #[error("no snapshot {id}")]
    UnknownSnapshot {
        /// The id asked for.
        id: String,
    },
    /// The snapshot has no such label.
    #[error("snapshot {id} has no {label}")]
    UnknownLabel {
        /// The snapshot.
        id: String,
        /// The label asked for.
        label: String,
    },
    /// A file or folder to be snapshotted cannot be read; nothing was kept.
    #[error("cannot read {path}: {detail}")]
    Unreadable {
        /// Label and path inside it.
        path: String,
        /// What the system said.
        detail: String,
    },
    /// The folder to restore into is not empty, not a folder, or cannot be written.
    #[error("cannot restore into {path}: {detail}")]
    Target {
        /// The folder or the file in it.
        path: String,
        /// What the system said.
        detail: String,
    },
    /// The disk has no room for the restore.
    #[error("restore needs {needed_bytes} bytes, {free_bytes} are free")]
    NoSpace {
        /// Bytes of the files to restore.
        needed_bytes: u64,
        /// Bytes available on the target's disk.
        free_bytes: u64,
    },
    /// An argument is outside its bounds.
    #[error("invalid {field}: {detail}")]
    Invalid {
        /// Which argument.
        field: &'static str,
        /// Why.
        detail: String,
    },
    /// The recovery kit is not for this vault.
    #[error("recovery kit belongs to vault {kit_vault}")]
    OtherVault {
        /// The vault id in the kit.
        kit_vault: String,
    },
    /// The caller asked to stop; nothing was kept.
    #[error("cancelled")]
    Cancelled,
    /// Reading or writing the vault's own files failed.
    #[error("vault storage: {detail}")]
    Storage {
        /// What the system said.
        detail: String,
    },
}

impl Error {
    /// What a person can do about it, one sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::WrongPassphrase => "check the passphrase, or open the vault with its recovery kit",
            Self::Missing { .. } => "check the folder, or create the vault first",
            Self::Exists { .. } => "choose a folder that is new or empty",
            Self::Damaged { .. } => {
                "verify the snapshots to see which are whole, and copy the vault again from a replica if there is one"
            }
            Self::Busy { .. } => "wait for the running backup, restore or deletion and try again",
            Self::UnknownSnapshot { .. } => "list the snapshots; it may have been deleted",
            Self::UnknownLabel { .. } => "the snapshot's record names the labels it holds",
            Self::Unreadable { .. } => "make the file readable or move it away, then take the snapshot again",
            Self::Target { .. } => "name a folder that does not exist yet or is empty, on a disk that can be written",
            Self::NoSpace { .. } => "free some space or restore to another disk",
            Self::Invalid { .. } => "correct the argument",
            Self::OtherVault { .. } => "use the kit that was printed for this vault",
            Self::Cancelled => "start it again when wanted",
            Self::Storage { .. } => "check the disk that holds the vault: free space, permissions, mount",
        }
    }

    pub(crate) fn damaged(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), detail: detail.into() }
    }

    pub(crate) fn storage(detail: impl std::fmt::Display) -> Self {
        Self::Storage { detail: detail.to_string() }
    }

    pub(crate) fn invalid(field: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid { field, detail: detail.into() }
    }
}

/// The engine's messages name the failing file and its cause; they carry no secret.
impl From<Box<RusticError>> for Error {
    fn from(error: Box<RusticError>) -> Self {
        if error.is_incorrect_password() {
            return Self::WrongPassphrase;
        }
        Self::storage(brief(&error))
    }
}

/// One line for an engine error, without its advice to report bugs elsewhere.
pub(crate) fn brief(error: &RusticError) -> String {
    const MAX_CHARS: usize = 400;
    let line = error.display_log().replace('\n', " ");
    line.trim_start_matches("Error: ").chars().take(MAX_CHARS).collect()
}
