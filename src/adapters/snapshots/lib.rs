//! Encrypted, deduplicated, verified snapshots of folders, in a vault (one folder on disk, restic format).
//! It must never follow a link out of a folder it was given, keep a snapshot that is not whole, or call data good that it has not read.
//!
//! What a snapshot holds: folders, regular files, symbolic links (kept as links, never followed) and pipes, with
//! their permission bits, modification time and owner ids. Sockets and device files are left out and counted.
//! Hard links come back as separate files; extended attributes are not kept.
//!
//! Keys: the vault has one master key, wrapped by each passphrase or recovery key under `keys/` (scrypt).
//! Losing every passphrase and the recovery kit means losing the vault: nothing else opens it. Rotating a
//! passphrase stops the old one from opening *this* folder; whoever kept a copy of the old key file and the old
//! passphrase could still unwrap the master key, so after a theft make a new vault.
//!
//! Everything here is blocking: call it on a thread that may block.

mod error;
mod kit;
mod lock;
mod passphrase;
mod reading;
mod record;
mod restore;
mod rooted;
mod source;
mod store;
mod take;
mod vault;
mod verify;
mod watch;

pub use error::{Error, Result};
pub use kit::{KitError, RecoveryKit};
pub use lock::Still;
pub use passphrase::Passphrase;
pub use record::{
    Damage, KeyRecord, Listing, MAX_NOTES, MAX_SOURCES, Restored, SnapshotRecord, Source, Taken, VerifyReport,
};
pub use vault::{DEFAULT_LOCK_WAIT_MS, Vault};
pub use watch::{CancelToken, Progress, Watch};
