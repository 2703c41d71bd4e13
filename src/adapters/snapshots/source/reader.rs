//! Reading one file of a source.
//! It must never read anything but the regular file that the walk saw, below its source folder.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use rustic_core::{ErrorKind, ReadSourceOpen, RusticError, RusticResult};
use rustix::fs::{FileType, OFlags, Stat, fstat};
use rustix::io::Errno;

use super::{Findings, Root, shown};
use crate::rooted::open_below;

/// A file to be opened when the engine gets to it.
#[derive(Debug)]
pub(crate) struct OpenEntry {
    pub(crate) root: Root,
    pub(crate) inside: PathBuf,
    pub(crate) seen: Seen,
    pub(crate) findings: Arc<Findings>,
}

/// What the walk saw of the file; another value afterwards means it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    inode: u64,
    size: i64,
    mtime: (i64, u64),
}

impl Seen {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self { inode: stat.st_ino, size: stat.st_size, mtime: (stat.st_mtime, stat.st_mtime_nsec) }
    }
}

impl ReadSourceOpen for OpenEntry {
    type Reader = FileReader;

    fn open(self) -> RusticResult<FileReader> {
        let path = shown(&self.root.label, &self.inside);
        // NONBLOCK: a pipe that takes the file's place must not hang the backup.
        let opened = open_below(&self.root.folder, &self.inside, OFlags::RDONLY | OFlags::NONBLOCK)
            .and_then(|file| fstat(&file).map(|stat| (file, stat)));
        match opened {
            Ok((file, stat)) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                let file = File::from(file);
                Ok(FileReader { file, path, seen: self.seen, findings: self.findings, done: false })
            }
            // Gone, or replaced by something that is no file: as if it had been deleted a moment earlier.
            Ok(_) | Err(Errno::NOENT | Errno::LOOP | Errno::XDEV | Errno::NOTDIR | Errno::NXIO) => {
                self.findings.left_out(path);
                Err(RusticError::new(ErrorKind::InputOutput, "the file vanished"))
            }
            Err(errno) => {
                self.findings.unreadable(path, errno.to_string());
                Err(RusticError::new(ErrorKind::InputOutput, "the file cannot be read"))
            }
        }
    }
}

/// Reads a file and notes at its end whether it changed meanwhile.
#[derive(Debug)]
pub(crate) struct FileReader {
    file: File,
    path: String,
    seen: Seen,
    findings: Arc<Findings>,
    done: bool,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        // An early end is safe: the veto keeps the cut-off file from ever being recorded.
        if self.done || self.findings.stopped() {
            return Ok(0);
        }
        match self.file.read(buffer) {
            Ok(0) if !buffer.is_empty() => {
                self.done = true;
                if fstat(&self.file).map(|stat| Seen::of(&stat)) != Ok(self.seen) {
                    self.findings.changed(std::mem::take(&mut self.path));
                }
                Ok(0)
            }
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                self.findings.unreadable(std::mem::take(&mut self.path), error.to_string());
                Err(error)
            }
            other => other,
        }
    }
}
