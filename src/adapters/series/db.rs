//! Memory and segments together: what is readable is also on its way to the disk. Has no clock: what is
//! old is told by the caller, or follows from the bounds.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use opsward_domain::fault::Fault;
use opsward_domain::name::Tenant;
use opsward_domain::telemetry::Sample;
use opsward_domain::time::AtMs;

use crate::Options;
use crate::head::{Head, Kept, Key, Refused};
use crate::segment::{self, Writer, failed};

/// Most segment files; the oldest give way.
const SEGMENTS_MAX: usize = 1_024;

/// A segment that is complete.
struct Closed {
    number: u64,
    bytes: u64,
    newest: HashMap<Tenant, AtMs>,
}

/// The store behind its lock.
pub(crate) struct Db {
    dir: PathBuf,
    options: Options,
    head: Head,
    closed: VecDeque<Closed>,
    writer: Option<Writer>,
    next_number: u64,
    synced: Instant,
    expired: HashMap<Tenant, AtMs>,
    /// Holds the directory for this process; released by the system when it ends.
    _lock: File,
}

impl Db {
    pub(crate) fn open(dir: &Path, options: Options) -> Result<Self, Fault> {
        fs::create_dir_all(dir).map_err(|error| failed("make", dir, &error))?;
        let lock = lock(dir)?;
        let mut head = Head::default();
        let mut closed = VecDeque::new();
        for number in numbers(dir)? {
            let path = segment::path(dir, number);
            let found = segment::replay(&path, &options, &mut head)?;
            if !found.whole {
                tracing::warn!(segment = %path.display(), "metrics segment ends early, kept what is whole");
            }
            closed.push_back(Closed { number, bytes: found.bytes, newest: found.newest });
        }
        let next_number = closed.back().map_or(1, |last| last.number + 1);
        let mut db = Self {
            dir: dir.to_owned(),
            options,
            head,
            closed,
            writer: None,
            next_number,
            synced: Instant::now(),
            expired: HashMap::new(),
            _lock: lock,
        };
        db.make_room();
        Ok(db)
    }

    /// What is in memory.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn append(&mut self, tenant: &Tenant, samples: Vec<Sample>) -> Result<Refused, Fault> {
        self.rotate()?;
        let mut refused = Refused::default();
        for Sample { workspace, workload, replica, metric, labels, at_ms, value } in samples {
            let Some(writer) = &mut self.writer else { break };
            let key = Key { metric, workload, replica, labels };
            let place = (tenant, &workspace);
            match self.head.push(&self.options, place, &key, (at_ms, value)) {
                Kept::Yes(mark) => writer.point(place, &key, mark, (at_ms, value)),
                Kept::Skipped => {}
                Kept::Refused => refused.add(&key),
            }
            if writer.wants_write() {
                self.write()?;
            }
        }
        self.head.shed(&self.options);
        self.write()?;
        if self.synced.elapsed() >= Duration::from_millis(self.options.sync_every_ms) {
            self.sync()?;
        }
        Ok(refused)
    }

    pub(crate) fn expire(&mut self, tenant: &Tenant, before_ms: AtMs) -> Result<(), Fault> {
        self.head.expire(tenant, before_ms);
        self.rotate()?;
        if let Some(writer) = &mut self.writer {
            writer.expire(tenant, before_ms);
        }
        self.write()?;
        let floor = self.expired.entry(tenant.clone()).or_insert(before_ms);
        *floor = before_ms.max(*floor);
        let gone = |newest: &HashMap<Tenant, AtMs>, expired: &HashMap<Tenant, AtMs>| {
            newest.iter().all(|(tenant, newest)| expired.get(tenant).is_some_and(|floor| newest < floor))
        };
        while self.closed.front().is_some_and(|oldest| gone(&oldest.newest, &self.expired)) {
            self.remove_oldest();
        }
        Ok(())
    }

    /// Bytes of all segments.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|closed| closed.bytes).sum();
        closed + self.writer.as_ref().map_or(0, |writer| writer.bytes)
    }

    /// Flushes to the disk.
    pub(crate) fn sync(&mut self) -> Result<(), Fault> {
        self.synced = Instant::now();
        self.writer.as_mut().map_or(Ok(()), Writer::sync)
    }

    /// Makes sure that there is a segment to write to, and that the closed ones fit.
    fn rotate(&mut self) -> Result<(), Fault> {
        if self.writer.as_ref().is_some_and(|writer| writer.bytes < self.options.segment_bytes) {
            return Ok(());
        }
        self.sync()?;
        if let Some(Writer { number, bytes, newest, .. }) = self.writer.take() {
            self.closed.push_back(Closed { number, bytes, newest });
        }
        self.make_room();
        self.next_number += 1;
        self.writer = Some(Writer::create(&self.dir, self.next_number - 1)?);
        Ok(())
    }

    /// Writes what was added. A segment that failed is left as it is: reading back stops at its torn end.
    fn write(&mut self) -> Result<(), Fault> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.write().inspect_err(|_| {
            if let Some(Writer { number, bytes, newest, .. }) = self.writer.take() {
                self.closed.push_back(Closed { number, bytes, newest });
            }
        })
    }

    fn make_room(&mut self) {
        let bound = self.options.disk_bytes_max.saturating_sub(self.options.segment_bytes);
        while self.closed.len() > SEGMENTS_MAX || self.closed.iter().map(|closed| closed.bytes).sum::<u64>() > bound {
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) {
        if let Some(oldest) = self.closed.pop_front() {
            let path = segment::path(&self.dir, oldest.number);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(segment = %path.display(), %error, "cannot remove an old metrics segment");
            }
        }
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if let Err(error) = self.sync() {
            tracing::warn!(%error, "the last metrics may not be on the disk");
        }
    }
}

fn lock(dir: &Path) -> Result<File, Fault> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| failed("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Fault::conflict("the metrics store is in use by another process")
            .detail(dir.display().to_string())
            .hint("stop the other process, or use another data directory")),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path, &error)),
    }
}

/// Numbers of the segments in `dir`, rising.
pub(crate) fn numbers(dir: &Path) -> Result<Vec<u64>, Fault> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| failed("read", dir, &error))? {
        let entry = entry.map_err(|error| failed("read", dir, &error))?;
        let name = entry.file_name();
        if let Some(number) = name.to_str().and_then(|name| name.strip_suffix(".segment")) {
            found.extend(number.parse::<u64>().ok());
        }
    }
    found.sort_unstable();
    Ok(found)
}
