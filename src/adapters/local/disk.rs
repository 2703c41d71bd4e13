//! Files that are whole or not there. Never leaves a half-written file under its real name.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use opsward_domain::fault::{Code, Fault};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Replaces `path` so that a power loss leaves the old or the new bytes.
pub(crate) fn write_durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, true)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Replaces `path` so that a crash of the process leaves the old or the new bytes.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, false)
}

fn replace(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    if sync {
        file.sync_all()?;
    }
    fs::rename(&fresh, path)
}

/// Makes the names inside `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The bytes that [`write_durable`] is given for `value`.
pub(crate) fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(io::Error::other)
}

/// Reads a JSON file; `None` if it does not exist.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Fault> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault("a state file cannot be read", path, &error)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Fault::new(Code::Corrupt, "a state file is damaged")
            .detail(format!("{}: {error}", path.display()))
            .hint("restore the data folder from a backup, or move this workspace's folder away")
    })
}

/// An I/O error as people meet it.
pub(crate) fn fault(what: &str, path: &Path, error: &io::Error) -> Fault {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some room on the disk",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "make the data folder writable",
        _ => "",
    };
    Fault::unavailable(what).detail(format!("{}: {error}", path.display())).hint(hint)
}

/// Removes a folder with everything in it; absent is fine.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
