//! One tenant's logs: a folder of its own, so nothing is shared that could leak.
//!
//! A line goes to the spool (on the disk before ingest answers) and to memory (seen by the next search).
//! When memory holds enough, it is frozen and a thread writes it as a partition, names the partition in
//! the manifest and removes the spool's generation, in this order; the manifest says up to which
//! generation lines are in partitions. So a crash at any point neither loses nor doubles a line.
//! Locks are taken in the order of the fields.

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use opsward_domain::fault::{Code, Fault};
use opsward_domain::telemetry::{LogLine, LogQuery};
use opsward_domain::time::{AtMs, Window};
use opsward_ports::logs::{level, text};
use serde::{Deserialize, Serialize};

use crate::Options;
use crate::catalog::{Catalog, Snapshot};
use crate::memtable::{Memtable, Row, put_param, variant};
use crate::partition::{self, Partition, Summary};
use crate::plan::{Plan, code};
use crate::reader::{Reader, Source};
use crate::spool::{self, Spool};
use crate::wire::{damaged, failed, replace};

/// Name of the file that says which partitions there are.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Lines of one spool entry; a greater ingest is several.
const BATCH_LINES: usize = 8_192;
/// Neighbouring partitions of about equal size that are merged into one.
const MERGE_PARTS: usize = 8;
/// Most lines of a partition.
const PARTITION_LINES_MAX: u64 = 4_000_000;
/// Longest wait of an ingest for memory to be written.
const WRITE_WAIT_MS: u64 = 60_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Manifest {
    /// Spool generations up to this one are in partitions.
    flushed: u64,
    /// Lines before this time have expired.
    floor_ms: AtMs,
    /// Next number of a partition.
    next: u64,
    parts: Vec<Summary>,
}

/// What queries see.
struct View {
    parts: Vec<Arc<Partition>>,
    frozen: Vec<Arc<Memtable>>,
    active: Vec<Arc<Memtable>>,
    generation: u64,
    names: Arc<Snapshot>,
    floor_ms: AtMs,
}

impl View {
    /// Adds a batch; batches grow together so that there are few.
    fn push(&mut self, mut batch: Memtable) {
        while let Some(last) = self.active.pop_if(|last| last.rows().len() <= batch.rows().len()) {
            let mut both = Arc::unwrap_or_clone(last);
            both.extend(&batch);
            batch = both;
        }
        self.active.push(Arc::new(batch));
    }
    fn active_bytes(&self) -> usize {
        self.active.iter().map(|table| table.bytes()).sum()
    }
}

#[derive(Default)]
struct Work {
    running: bool,
    stopping: bool,
    fault: Option<Fault>,
}

/// A tenant's store.
pub(crate) struct Tenant {
    dir: PathBuf,
    options: Options,
    catalog: Mutex<Catalog>,
    manifest: Mutex<Manifest>,
    view: RwLock<View>,
    work: Mutex<Work>,
    worked: Condvar,
    spool: Spool,
    /// Size of the catalog, for those who must not wait for its lock.
    catalog_bytes: AtomicU64,
    /// Holds the store's directory while a thread of ours may still write.
    _lock: Arc<File>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tenant {
    /// Opens the tenant's folder `dir`, making it if needed, and reads the spool back.
    pub(crate) fn open(dir: &Path, options: Options, held: Arc<File>) -> Result<Self, Fault> {
        fs::create_dir_all(dir).map_err(|error| failed("make", dir, &error))?;
        let manifest = read_manifest(dir)?;
        remove_unnamed(dir, &manifest)?;
        let catalog = Catalog::open(dir, options.templates.clone())?;
        let mut table = Memtable::default();
        let last = spool::replay(dir, manifest.flushed, &mut table)?;
        let parts = manifest.parts.iter().map(|part| Arc::new(Partition::new(dir, part.clone()))).collect();
        let active = if table.is_empty() { Vec::new() } else { vec![Arc::new(table)] };
        let (names, floor_ms) = (Arc::new(catalog.snapshot()), manifest.floor_ms);
        let view = View { parts, frozen: Vec::new(), active, generation: last + 1, names, floor_ms };
        Ok(Self {
            dir: dir.to_owned(),
            options,
            catalog_bytes: AtomicU64::new(catalog.bytes()),
            catalog: Mutex::new(catalog),
            manifest: Mutex::new(manifest),
            view: RwLock::new(view),
            work: Mutex::new(Work::default()),
            worked: Condvar::new(),
            spool: Spool::new(dir),
            _lock: held,
        })
    }

    fn read<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        change(&mut self.view.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps `lines`; on the disk when it returns.
    pub(crate) fn ingest(self: &Arc<Self>, lines: &[LogLine]) -> Result<(), Fault> {
        let mut mark = None;
        let mut places = Vec::with_capacity(lines.len());
        {
            let mut catalog = lock(&self.catalog);
            for line in lines {
                places.push(catalog.place(&line.workspace, &line.workload)?);
            }
        }
        for (lines, places) in lines.chunks(BATCH_LINES).zip(places.chunks(BATCH_LINES)) {
            let mut catalog = lock(&self.catalog);
            self.make_room()?;
            let mut batch = Memtable::default();
            for (line, place) in lines.iter().zip(places) {
                let text = text::bounded(&line.text);
                let level = line.level.or_else(|| level::of(&text));
                let (mined, spans) = catalog.mine(&text);
                let variant = variant(mined.template, mined.shape);
                batch.push(Row::new(line.at_ms, variant, *place, line.replica, code(level)), |out| {
                    for (start, end) in spans {
                        put_param(out, &text[*start as usize..*end as usize]);
                    }
                });
            }
            let names = catalog.save()?.then(|| Arc::new(catalog.snapshot()));
            self.catalog_bytes.store(catalog.bytes(), Ordering::Relaxed);
            mark = Some(self.spool.append(self.read(|view| view.generation), &batch)?);
            self.change(|view| {
                view.names = names.unwrap_or_else(|| Arc::clone(&view.names));
                view.push(batch);
            });
        }
        mark.map_or(Ok(()), |mark| self.spool.sync(mark))
    }

    /// Freezes memory if it is full, first waiting until what was frozen before is written.
    fn make_room(self: &Arc<Self>) -> Result<(), Fault> {
        if self.read(View::active_bytes) < self.options.memory_bytes {
            return Ok(());
        }
        self.freeze()
    }

    /// Has memory written as a partition. The caller holds the catalog, so no line comes meanwhile.
    fn freeze(self: &Arc<Self>) -> Result<(), Fault> {
        self.wait(WRITE_WAIT_MS)?;
        if self.read(|view| view.active.is_empty()) {
            return Ok(());
        }
        self.spool.end()?;
        self.change(|view| {
            view.frozen = std::mem::take(&mut view.active);
            view.generation += 1;
        });
        self.start()
    }

    /// Waits until nothing is frozen; starts the writing again if it had failed.
    fn wait(self: &Arc<Self>, wait_ms: u64) -> Result<(), Fault> {
        let is_frozen = || self.read(|view| !view.frozen.is_empty());
        if is_frozen() {
            self.start()?;
        }
        let work = lock(&self.work);
        let pending = |work: &mut Work| is_frozen() && work.running;
        let (work, _) = self
            .worked
            .wait_timeout_while(work, Duration::from_millis(wait_ms), pending)
            .unwrap_or_else(PoisonError::into_inner);
        match (&work.fault, is_frozen()) {
            (_, false) => Ok(()),
            (Some(fault), true) => Err(fault.clone()),
            (None, true) => Err(Fault::new(Code::Timeout, "the log store cannot write fast enough")),
        }
    }

    fn start(self: &Arc<Self>) -> Result<(), Fault> {
        let mut work = lock(&self.work);
        if work.running {
            return Ok(());
        }
        (work.running, work.fault) = (true, None);
        let tenant = Arc::clone(self);
        let spawned = std::thread::Builder::new().name("logs-write".to_owned()).spawn(move || {
            if catch_unwind(AssertUnwindSafe(|| tenant.run())).is_err() {
                let mut work = lock(&tenant.work);
                (work.running, work.fault) = (false, Some(Fault::internal("writing logs to a partition failed")));
                tenant.worked.notify_all();
            }
        });
        spawned.map(drop).map_err(|error| {
            work.running = false;
            Fault::unavailable("the log store cannot start its writer").detail(error.to_string())
        })
    }

    /// Writes and merges until there is nothing to do.
    fn run(&self) {
        loop {
            let done = self.write_frozen().and_then(|wrote| if wrote { Ok(true) } else { self.merge_some() });
            let mut work = lock(&self.work);
            match done {
                Ok(true) if work.stopping => work.running = false,
                Ok(true) => {}
                Ok(false) => work.running = self.read(|view| !view.frozen.is_empty()),
                Err(fault) => {
                    tracing::warn!(%fault, "cannot write logs to a partition, lines stay in the spool");
                    (work.running, work.fault) = (false, Some(fault));
                }
            }
            self.worked.notify_all();
            if !work.running {
                return;
            }
        }
    }

    /// Writes what is frozen, if anything is.
    fn write_frozen(&self) -> Result<bool, Fault> {
        let (tables, generation) = self.read(|view| (view.frozen.clone(), view.generation - 1));
        if tables.is_empty() {
            return Ok(false);
        }
        let number = self.take_number();
        let summary = partition::write(&self.dir, number, &tables)?;
        let mut manifest = lock(&self.manifest);
        let mut next = Manifest { flushed: generation, ..manifest.clone() };
        next.parts.push(summary.clone());
        save_manifest(&self.dir, &next)?;
        *manifest = next;
        self.change(|view| {
            view.frozen.clear();
            view.parts.push(Arc::new(Partition::new(&self.dir, summary)));
        });
        spool::remove(&self.dir, generation)?;
        Ok(true)
    }

    /// Merges one run of neighbours of about equal size, if there is one.
    fn merge_some(&self) -> Result<bool, Fault> {
        let parts = self.read(|view| view.parts.clone());
        let Some(run) = mergeable(&parts) else { return Ok(false) };
        let number = self.take_number();
        let summary = partition::merge(&self.dir, number, &parts[run.clone()])?;
        let mut manifest = lock(&self.manifest);
        let start = parts[run.start].summary.number;
        let Some(at) = manifest.parts.iter().position(|part| part.number == start) else {
            return self.drop_folder(number).map(|()| true);
        };
        let mut next = manifest.clone();
        if next
            .parts
            .get(at..at + run.len())
            .is_none_or(|kept| kept.iter().zip(&parts[run.clone()]).any(|(a, b)| *a != b.summary))
        {
            return self.drop_folder(number).map(|()| true);
        }
        next.parts.splice(at..at + run.len(), [summary.clone()]);
        save_manifest(&self.dir, &next)?;
        *manifest = next;
        let merged = Arc::new(Partition::new(&self.dir, summary));
        let gone: Vec<_> = self.change(|view| view.parts.splice(at..at + run.len(), [merged]).collect());
        gone.iter().try_for_each(|part| self.drop_folder(part.summary.number))?;
        Ok(true)
    }

    fn take_number(&self) -> u64 {
        let mut manifest = lock(&self.manifest);
        manifest.next += 1;
        manifest.next - 1
    }

    /// Removes a partition's files. Readers that have it open keep what they need.
    fn drop_folder(&self, number: u64) -> Result<(), Fault> {
        let path = partition::folder(&self.dir, number);
        fs::remove_dir_all(&path).map_err(|error| failed("clean", &path, &error))
    }

    /// A reader for `query`, or `None` if nothing can match.
    pub(crate) fn reader(&self, query: &LogQuery) -> Result<Option<Reader>, Fault> {
        let (names, floor_ms, sources) = self.read(|view| {
            let tables = view.frozen.iter().chain(&view.active).cloned().map(Source::Table);
            let sources: Vec<Source> = view.parts.iter().cloned().map(Source::Partition).chain(tables).collect();
            (Arc::clone(&view.names), view.floor_ms, sources)
        });
        Ok(Plan::new(query, names, floor_ms)?.map(|plan| Reader { plan, sources }))
    }

    /// Hides lines before `before_ms` and removes partitions that have no others; returns how many. Older
    /// lines that still come are outside retention: they stay hidden.
    pub(crate) fn expire(self: &Arc<Self>, before_ms: AtMs) -> Result<u64, Fault> {
        let mut catalog = lock(&self.catalog);
        let mut manifest = lock(&self.manifest);
        if before_ms <= manifest.floor_ms {
            return Ok(0);
        }
        let window = Window { from_ms: manifest.floor_ms, to_ms: before_ms };
        let (parts, tables) =
            self.read(|view| (view.parts.clone(), [view.frozen.as_slice(), view.active.as_slice()].concat()));
        let mut count = tables.iter().flat_map(|t| t.rows()).filter(|row| window.contains(row.at_ms)).count() as u64;
        for part in parts.iter().filter(|part| part.meets(&window)) {
            let inside = window.contains(part.summary.oldest_ms) && window.contains(part.summary.newest_ms);
            count += if inside { part.summary.lines } else { part.opened()?.count(&window) };
        }
        let mut next = Manifest { floor_ms: before_ms, ..manifest.clone() };
        next.parts.retain(|part| part.newest_ms >= before_ms);
        save_manifest(&self.dir, &next)?;
        *manifest = next;
        self.change(|view| {
            view.floor_ms = before_ms;
            view.parts.retain(|part| part.summary.newest_ms >= before_ms);
        });
        let gone = parts.iter().filter(|part| part.summary.newest_ms < before_ms);
        gone.map(|part| part.summary.number).try_for_each(|number| self.drop_folder(number))?;
        drop(manifest);
        // A quiet tenant never fills its memory: written as a partition, its old lines can go as a whole.
        if tables.iter().flat_map(|table| table.rows()).any(|row| row.at_ms < before_ms) {
            self.freeze()?;
        }
        if catalog.is_crowded() {
            self.forget_templates(&mut catalog)?;
        }
        Ok(count)
    }

    /// Forgets templates that no line has.
    fn forget_templates(&self, catalog: &mut Catalog) -> Result<(), Fault> {
        let (parts, tables) =
            self.read(|view| (view.parts.clone(), [view.frozen.as_slice(), view.active.as_slice()].concat()));
        let mut used = tables.iter().flat_map(|t| t.rows()).map(|row| row.variant >> 8).collect();
        for part in &parts {
            part.opened()?.templates(&mut used);
        }
        catalog.retain(|template| used.contains(&template))?;
        self.catalog_bytes.store(catalog.bytes(), Ordering::Relaxed);
        let names = Arc::new(catalog.snapshot());
        self.change(|view| view.names = names);
        Ok(())
    }

    /// Bytes on disk, without what is being written this moment.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let parts: u64 = self.read(|view| view.parts.iter().map(|part| part.summary.bytes).sum());
        parts + self.spool.bytes() + self.catalog_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of lines in memory that are not being written.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.read(View::active_bytes)
    }

    /// Has memory written as a partition.
    pub(crate) fn relieve(self: &Arc<Self>) -> Result<(), Fault> {
        let _catalog = lock(&self.catalog);
        self.freeze()
    }

    /// Waits until nothing is being written or merged; false if that takes too long.
    pub(crate) fn settle(&self) -> bool {
        let running = |work: &mut Work| work.running;
        let wait = Duration::from_millis(WRITE_WAIT_MS);
        let waited = self.worked.wait_timeout_while(lock(&self.work), wait, running);
        !waited.unwrap_or_else(PoisonError::into_inner).0.running
    }

    /// Lets the writer end after the partition it is at. What is not written stays in the spool.
    pub(crate) fn stop(&self) -> bool {
        lock(&self.work).stopping = true;
        self.settle()
    }
}

/// The oldest run of [`MERGE_PARTS`] neighbours of one size class whose lines fit into a partition.
fn mergeable(parts: &[Arc<Partition>]) -> Option<std::ops::Range<usize>> {
    let class = |part: &Arc<Partition>| part.summary.lines.max(1).ilog2() / MERGE_PARTS.ilog2();
    let fits = |run: &[Arc<Partition>]| {
        run.iter().all(|part| class(part) == class(&run[0]))
            && run.iter().map(|part| part.summary.lines).sum::<u64>() <= PARTITION_LINES_MAX
    };
    let start = parts.windows(MERGE_PARTS).position(fits)?;
    Some(start..start + MERGE_PARTS)
}

fn read_manifest(dir: &Path) -> Result<Manifest, Fault> {
    let path = dir.join(MANIFEST);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| damaged(&path, &error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Manifest { flushed: 0, floor_ms: AtMs::MIN, next: 1, parts: Vec::new() })
        }
        Err(error) => Err(failed("read", &path, &error)),
    }
}

/// Folders of the partitions that a manifest names.
pub(crate) fn named(dir: &Path, manifest: &[u8]) -> Result<Vec<PathBuf>, Fault> {
    let manifest: Manifest =
        serde_json::from_slice(manifest).map_err(|error| damaged(&dir.join(MANIFEST), &error.to_string()))?;
    Ok(manifest.parts.iter().map(|part| partition::folder(dir, part.number)).collect())
}

fn save_manifest(dir: &Path, manifest: &Manifest) -> Result<(), Fault> {
    let bytes = serde_json::to_vec(manifest);
    let bytes = bytes.map_err(|error| Fault::internal("the manifest cannot be written").detail(error.to_string()))?;
    replace(&dir.join(MANIFEST), &bytes)
}

/// Removes partitions that a crash left before they were named, or after they were replaced; a named
/// one that is missing is a fault.
fn remove_unnamed(dir: &Path, manifest: &Manifest) -> Result<(), Fault> {
    let named: Vec<PathBuf> = manifest.parts.iter().map(|part| partition::folder(dir, part.number)).collect();
    for entry in fs::read_dir(dir).map_err(|error| failed("read", dir, &error))? {
        let path = entry.map_err(|error| failed("read", dir, &error))?.path();
        if path.extension().is_some_and(|ext| ext == "partition") && !named.contains(&path) {
            fs::remove_dir_all(&path).map_err(|error| failed("clean", &path, &error))?;
        }
    }
    match named.iter().find(|path| !path.is_dir()) {
        Some(path) => Err(damaged(path, "a partition is missing")),
        None => Ok(()),
    }
}
