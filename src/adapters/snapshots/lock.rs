//! The vault's lock: many may read or add, one alone may delete or change keys.
//! It must never outlive the process that holds it (it is an `flock`), nor wait without a bound.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::{Error, Result};

const FILE: &str = "opsward.lock";
const POLL_MS: u64 = 20;

/// How an operation needs the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Reading, or adding packs that nobody else knows yet.
    Shared,
    /// Removing packs or keys.
    Alone,
}

/// Held while it lives.
#[derive(Debug)]
pub(crate) struct VaultLock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

/// While it lives nothing of a vault is removed or replaced, so that its folder can be copied as it is.
#[derive(Debug)]
pub struct Still(#[expect(dead_code, reason = "held for its drop")] VaultLock);

impl Still {
    /// Holds the vault in `dir` still, waiting at most `wait_ms` for whoever changes it.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Storage`].
    pub fn hold(dir: &Path, wait_ms: u64) -> Result<Self> {
        hold(dir, Hold::Shared, wait_ms).map(Self)
    }
}

/// Takes the lock of the vault in `dir`, waiting at most `wait_ms`.
pub(crate) fn hold(dir: &Path, hold: Hold, wait_ms: u64) -> Result<VaultLock> {
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(dir.join(FILE))
        .map_err(Error::storage)?;
    let operation = match hold {
        Hold::Shared => FlockOperation::NonBlockingLockShared,
        Hold::Alone => FlockOperation::NonBlockingLockExclusive,
    };
    let until = Instant::now() + Duration::from_millis(wait_ms);
    loop {
        match flock(&file, operation) {
            Ok(()) => return Ok(VaultLock(file)),
            Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(Duration::from_millis(POLL_MS)),
            Err(Errno::WOULDBLOCK) => return Err(Error::Busy { waited_ms: wait_ms }),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::storage(errno)),
        }
    }
}
