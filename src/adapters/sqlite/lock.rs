//! One process at a time per journal: an advisory lock on a file beside the database. Never removes that
//! file, because whoever waits for it would then hold a lock on nothing.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use opsward_ports::journal::Error;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::failure;

/// Digits of a process id, a newline, and room.
const PID_BYTES_MAX: u64 = 32;

/// Held while it lives; the kernel lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock at `path`, or says who has it.
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut file = open.map_err(|error| failure::file(path, &error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(held(path, &mut file)),
            Err(errno) => return Err(failure::file(path, &errno.into())),
        }
        let pid = format!("{}\n", std::process::id());
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(pid.as_bytes()));
        written.map_err(|error| failure::file(path, &error))?;
        Ok(Self { _file: file })
    }
}

fn held(path: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    let known = file.take(PID_BYTES_MAX).read_to_string(&mut text).is_ok();
    let holder = match text.trim().parse::<u32>() {
        Ok(pid) if known => format!("process {pid}"),
        _ => "another process".into(),
    };
    Error::Unavailable {
        detail: format!("{holder} has this journal open ({})", path.display()),
        hint: format!("stop {holder}, or give this one a data directory of its own"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_learns_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::take(&path).unwrap();
        let refused = Lock::take(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(Lock::take(&path).unwrap_err().to_string().contains("another process"));
        drop(first);
        Lock::take(&path).unwrap();
    }
}
