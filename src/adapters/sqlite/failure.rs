//! What SQLite and the file system report, in the port's terms. Never shows a statement or a bound value.

use std::io;
use std::path::Path;

use opsward_ports::journal::Error;

// Primary result codes: https://www.sqlite.org/rescode.html
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const CONSTRAINT: i32 = 19;
const NOTADB: i32 = 26;

fn code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// The message of SQLite alone, without the codes and wrappers around it.
fn message(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |inner| inner.message().to_owned())
}

/// True if nobody can know whether what was being written is on the disk.
pub(crate) fn is_uncertain(error: &sqlx::Error) -> bool {
    !matches!(code(error), Some(BUSY | LOCKED | READONLY | CORRUPT | FULL | CANTOPEN | CONSTRAINT | NOTADB))
}

/// A failed statement.
pub(crate) fn statement(error: &sqlx::Error) -> Error {
    if matches!(error, sqlx::Error::PoolClosed) {
        return closed();
    }
    let text = message(error);
    let hint = match code(error) {
        // Why constraints too: only this program writes, in order; a refused row means that the file is not
        // as this program left it.
        Some(CORRUPT | NOTADB | CONSTRAINT) => return Error::Corrupt { seq: 0, detail: text },
        Some(BUSY | LOCKED) => "close every other program that has the journal's file open, such as a database shell",
        Some(READONLY | CANTOPEN) => "check that the data directory and its files can be written by this user",
        Some(FULL) => "free space on the disk of the data directory; nothing of this append was kept",
        Some(IOERR) => "check the disk of the data directory, then restart opsward; it goes on from what was kept",
        _ => "see the log for what happened before",
    };
    Error::Unavailable { detail: text, hint: hint.into() }
}

/// A journal that could not be opened.
pub(crate) fn open(path: &Path, error: &sqlx::Error) -> Error {
    match statement(error) {
        Error::Corrupt { detail, .. } => Error::Unavailable {
            detail: format!("{} is damaged or is no journal: {detail}", path.display()),
            hint: "restore the data directory from a backup, or move the file away to begin a new journal".into(),
        },
        Error::Unavailable { detail, hint } => {
            Error::Unavailable { detail: format!("{} cannot be opened: {detail}", path.display()), hint }
        }
        other => other,
    }
}

/// A failed call on a file or directory.
pub(crate) fn file(path: &Path, error: &io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "make the data directory writable for this user, or choose another one"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space on the disk of the data directory",
        io::ErrorKind::NotADirectory => "choose a data directory whose parents are directories",
        _ => "check the data directory and the disk that it is on",
    };
    Error::Unavailable { detail: format!("{} cannot be used: {error}", path.display()), hint: hint.into() }
}

/// A journal that was closed.
pub(crate) fn closed() -> Error {
    Error::Unavailable { detail: "it was closed".into(), hint: "open it again".into() }
}
