//! The spool: lines are on the disk here before an ingest is acknowledged, until a partition holds them.
//! One file a generation; a generation is one memtable.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use opsward_domain::fault::Fault;

use crate::memtable::Memtable;
use crate::wire::{Framed, damaged, failed, frame, sync_dir, take_frame};

/// How far a spool was written: generation and bytes.
pub(crate) type Mark = (u64, u64);

fn path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("{generation:012}.spool"))
}

/// Generations that have a file in `dir`, rising.
fn generations(dir: &Path) -> Result<Vec<u64>, Fault> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| failed("read", dir, &error))? {
        let entry = entry.map_err(|error| failed("read", dir, &error))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".spool"));
        found.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// Reads back every generation after `flushed`, removes the others; returns the last number in use.
///
/// A torn end was never acknowledged and is left out. A damaged frame was, and is a fault.
pub(crate) fn replay(dir: &Path, flushed: u64, into: &mut Memtable) -> Result<u64, Fault> {
    let mut last = flushed;
    for generation in generations(dir)? {
        let path = path(dir, generation);
        if generation <= flushed {
            fs::remove_file(&path).map_err(|error| failed("clean", &path, &error))?;
            continue;
        }
        let bytes = fs::read(&path).map_err(|error| failed("read", &path, &error))?;
        let mut from = bytes.as_slice();
        loop {
            match take_frame(&mut from) {
                Framed::Whole(payload) => {
                    into.decode(payload).ok_or_else(|| damaged(&path, "a batch of lines cannot be read"))?;
                }
                Framed::End => break,
                Framed::Torn => {
                    tracing::warn!(spool = %path.display(), bytes = from.len(), "left out what was never acknowledged");
                    break;
                }
                Framed::Damaged => return Err(damaged(&path, "a batch's checksum is wrong")),
            }
        }
        last = generation;
    }
    Ok(last)
}

/// Removes every generation up to `flushed`.
pub(crate) fn remove(dir: &Path, flushed: u64) -> Result<(), Fault> {
    for generation in generations(dir)?.into_iter().filter(|generation| *generation <= flushed) {
        let path = path(dir, generation);
        fs::remove_file(&path).map_err(|error| failed("clean", &path, &error))?;
    }
    Ok(())
}

struct Tail {
    file: Arc<File>,
    mark: Mark,
}

/// The generation being written.
pub(crate) struct Spool {
    dir: PathBuf,
    /// Absent until the first line, and between a flush and the next line.
    tail: Mutex<Option<Tail>>,
    /// How far the disk has it. Its lock is held while flushing, so that those who wait find it done.
    synced: Mutex<Mark>,
}

impl Spool {
    /// A spool in `dir` without a file.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), tail: Mutex::new(None), synced: Mutex::new((0, 0)) }
    }

    /// Appends a batch to `generation`, making its file if it is new. Not on the disk before [`Spool::sync`].
    pub(crate) fn append(&self, generation: u64, batch: &Memtable) -> Result<Mark, Fault> {
        let path = path(&self.dir, generation);
        let fail = |error| failed("write", &path, &error);
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = frame(&batch.encode());
        let tail = match &mut *tail {
            Some(tail) if tail.mark.0 == generation => tail,
            other => {
                let file = File::options().create_new(true).append(true).open(&path).map_err(fail)?;
                sync_dir(&self.dir).map_err(fail)?;
                other.insert(Tail { file: Arc::new(file), mark: (generation, 0) })
            }
        };
        if let Err(error) = (&*tail.file).write_all(&bytes) {
            // A part of a frame in the middle would hide what comes after it.
            tail.file.set_len(tail.mark.1).map_err(fail)?;
            return Err(fail(error));
        }
        tail.mark.1 += bytes.len() as u64;
        Ok(tail.mark)
    }

    /// Returns when everything up to `mark` is on the disk. Callers share flushes: whoever comes while
    /// one runs waits, and mostly finds that the next one covered it.
    pub(crate) fn sync(&self, mark: Mark) -> Result<(), Fault> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced >= mark {
            return Ok(());
        }
        let (file, now) = {
            let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(tail) = &*tail else { return Ok(()) };
            (Arc::clone(&tail.file), tail.mark)
        };
        file.sync_data().map_err(|error| failed("flush", &self.dir, &error))?;
        *synced = now;
        Ok(())
    }

    /// Bytes of the generation being written.
    pub(crate) fn bytes(&self) -> u64 {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |tail| tail.mark.1)
    }

    /// Puts the generation being written on the disk and ends it.
    pub(crate) fn end(&self) -> Result<(), Fault> {
        self.sync((u64::MAX, 0))?;
        *self.tail.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}
