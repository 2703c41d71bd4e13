//! The embedded log store: lines as templates and parameters, indexed and kept by Tantivy.
//! Never lets one tenant see another's lines, templates or counts, and never acknowledges a line that
//! is not on the disk.
//!
//! Why it is built like this:
//! - *A folder a tenant.* Nothing is shared between tenants, neither index nor template ids, so nothing
//!   can leak by a forgotten filter, and a tenant's folder can be removed, moved or restored alone.
//! - *A spool, memory, partitions.* Tantivy shows lines only after a commit, and a commit per ingest is
//!   slow and makes thousands of segments. So lines go to a spool of our own that is flushed before
//!   ingest answers (concurrent ingests share a flush) and to memory, where searches see them at once.
//!   Every [`Options::memory_bytes`] a thread writes memory as a partition: an index of one segment
//!   that never changes. Neighbouring partitions are merged in the background.
//! - *Small when idle.* There is no open index writer: its memory and threads exist only while a
//!   partition is written. Partitions are mapped files, opened when first asked.
//! - *Time.* Partitions follow arrival, so they cover narrow spans of time: a search for the newest
//!   lines ends early, a window leaves most of them unopened, and expiry removes whole folders.

mod catalog;
mod copy;
mod memtable;
mod partition;
mod plan;
mod reader;
mod spool;
mod tenant;
mod wire;

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name;
use opsward_domain::telemetry::{LogHit, LogLine, LogQuery, TemplateCount};
use opsward_domain::time::AtMs;
use opsward_ports::logs::text::TextFilter;
use opsward_ports::logs::{GroupField, HITS_MAX, Logs, buckets};
use opsward_templates::Limits;

pub use copy::copy;

use tenant::Tenant;
use wire::{failed, replace};

/// Format of the directory; a greater one is from a newer version.
const FORMAT: u32 = 1;
/// Most tenants of one store.
const TENANTS_MAX: usize = 1_000;
/// Share of the disk budget at which ingest stops.
const FULL_PERCENT: u64 = 95;

/// Bounds of the store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of a tenant's lines in memory at which they are written as a partition. While they are
    /// written as many again may come.
    pub memory_bytes: usize,
    /// Most bytes of lines in memory of all tenants together, without what is being written.
    pub memory_total_bytes: usize,
    /// Disk budget of all tenants together; ingest is refused at 95 % of it. Whether the disk itself has
    /// room is asked before it comes here.
    pub disk_bytes_max: u64,
    /// Bounds of each tenant's templates.
    pub templates: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory_bytes: 8 << 20,
            memory_total_bytes: 24 << 20,
            disk_bytes_max: 8 << 30,
            templates: Limits::default(),
        }
    }
}

struct Store {
    dir: PathBuf,
    options: Options,
    tenants: Mutex<HashMap<name::Tenant, Arc<Tenant>>>,
    lock: Arc<File>,
}

/// The store. Cheap to clone; one process at a time may hold a directory open.
#[derive(Clone)]
pub struct TantivyLogs(Arc<Store>);

impl TantivyLogs {
    /// Opens or makes the store in `dir` and reads back what was spooled. Blocks while it reads.
    ///
    /// Faults: directory unusable, held by another process, from a newer version, or damaged.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, Fault> {
        let dir = dir.as_ref().to_owned();
        fs::create_dir_all(&dir).map_err(|error| failed("make", &dir, &error))?;
        let lock = Arc::new(hold(&dir)?);
        check_format(&dir)?;
        let mut tenants = HashMap::new();
        let folder = dir.join("tenants");
        fs::create_dir_all(&folder).map_err(|error| failed("make", &folder, &error))?;
        for entry in fs::read_dir(&folder).map_err(|error| failed("read", &folder, &error))? {
            let entry = entry.map_err(|error| failed("read", &folder, &error))?;
            let Some(name) = entry.file_name().to_str().and_then(|name| name::Tenant::parse(name).ok()) else {
                continue;
            };
            let tenant = Tenant::open(&entry.path(), options.clone(), Arc::clone(&lock))?;
            tenants.insert(name, Arc::new(tenant));
        }
        Ok(Self(Arc::new(Store { dir, options, tenants: Mutex::new(tenants), lock })))
    }

    /// Bytes on disk of all tenants.
    pub fn disk_bytes(&self) -> u64 {
        self.0.all().iter().map(|tenant| tenant.disk_bytes()).sum()
    }

    /// Writes what is in memory as partitions and waits for the merging. Lines are safe without it;
    /// it makes restarts quicker and sizes comparable.
    pub async fn settle(&self) -> Result<(), Fault> {
        self.blocking(|store| {
            for tenant in store.all() {
                tenant.relieve()?;
                if !tenant.settle() {
                    return Err(Fault::new(Code::Timeout, "the log store is still merging"));
                }
            }
            Ok(())
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let store = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|error| Fault::internal("the log store failed").detail(error.to_string()))?
    }

    /// Runs `work` over the lines that may match; `otherwise` is the answer if none can.
    async fn ask<T: Send + 'static>(
        &self,
        cx: &CallContext,
        query: &LogQuery,
        otherwise: T,
        work: impl FnOnce(&reader::Reader, T) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (name, query) = (cx.tenant().clone(), query.clone());
        self.blocking(move |store| {
            TextFilter::parse(&query.text)?;
            let reader = store.tenant(&name).map(|tenant| tenant.reader(&query)).transpose()?.flatten();
            match reader {
                Some(reader) => work(&reader, otherwise),
                None => Ok(otherwise),
            }
        })
        .await
    }
}

impl Store {
    fn tenant(&self, name: &name::Tenant) -> Option<Arc<Tenant>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn all(&self) -> Vec<Arc<Tenant>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn tenant_or_new(&self, name: &name::Tenant) -> Result<Arc<Tenant>, Fault> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = tenants.get(name) {
            return Ok(Arc::clone(tenant));
        }
        if tenants.len() >= TENANTS_MAX {
            return Err(Fault::new(Code::TooMany, format!("the log store has room for {TENANTS_MAX} tenants")));
        }
        let dir = self.dir.join("tenants").join(name.as_str());
        let tenant = Arc::new(Tenant::open(&dir, self.options.clone(), Arc::clone(&self.lock))?);
        tenants.insert(name.clone(), Arc::clone(&tenant));
        Ok(tenant)
    }

    /// Refuses if the budget is nearly spent.
    fn check_room(&self) -> Result<(), Fault> {
        let used: u64 = self.all().iter().map(|tenant| tenant.disk_bytes()).sum();
        if used < self.options.disk_bytes_max / 100 * FULL_PERCENT {
            return Ok(());
        }
        let message = format!("the log store's disk budget is {FULL_PERCENT} % full, new log lines are refused");
        Err(Fault::new(Code::NoRoom, message)
            .detail(format!("{used} of {} bytes", self.options.disk_bytes_max))
            .hint("shorten the retention of logs, or raise their disk budget"))
    }

    /// If memory of all tenants is over its bound, the greatest is written.
    fn relieve(&self) -> Result<(), Fault> {
        let tenants = self.all();
        if tenants.iter().map(|tenant| tenant.memory_bytes()).sum::<usize>() < self.options.memory_total_bytes {
            return Ok(());
        }
        tenants.iter().max_by_key(|tenant| tenant.memory_bytes()).map_or(Ok(()), Tenant::relieve)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // A thread that still writes keeps the directory held until it ends.
        let stopped = self.all().iter().filter(|tenant| !tenant.stop()).count() == 0;
        if stopped && let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "cannot let go of the log store's directory");
        }
    }
}

#[async_trait]
impl Logs for TantivyLogs {
    async fn ingest(&self, cx: &CallContext, lines: Vec<LogLine>) -> Result<(), Fault> {
        let name = cx.tenant().clone();
        self.blocking(move |store| {
            if lines.is_empty() {
                return Ok(());
            }
            store.check_room()?;
            store.tenant_or_new(&name)?.ingest(&lines)?;
            store.relieve()
        })
        .await
    }

    async fn search(&self, cx: &CallContext, query: &LogQuery) -> Result<Vec<LogHit>, Fault> {
        let limit = query.limit.min(HITS_MAX);
        self.ask(cx, query, Vec::new(), move |reader, _| reader.newest(limit)).await
    }

    async fn histogram(&self, cx: &CallContext, query: &LogQuery, bucket_ms: i64) -> Result<Vec<(AtMs, u64)>, Fault> {
        let (count, from_ms) = (buckets(query, bucket_ms)?, query.window.from_ms);
        let start = |index: usize| from_ms.saturating_add(bucket_ms.saturating_mul(index as i64));
        let empty: Vec<(AtMs, u64)> = (0..count).map(|index| (start(index), 0)).collect();
        self.ask(cx, query, empty, move |reader, mut counts| {
            reader.histogram(from_ms, bucket_ms, &mut counts)?;
            Ok(counts)
        })
        .await
    }

    async fn group(&self, cx: &CallContext, query: &LogQuery, by: GroupField) -> Result<Vec<(String, u64)>, Fault> {
        self.ask(cx, query, Vec::new(), move |reader, _| reader.group(by)).await
    }

    async fn templates(&self, cx: &CallContext, query: &LogQuery) -> Result<Vec<TemplateCount>, Fault> {
        let limit = query.limit.min(HITS_MAX);
        self.ask(cx, query, Vec::new(), move |reader, _| reader.templates(limit)).await
    }

    async fn expire(&self, cx: &CallContext, before_ms: AtMs) -> Result<u64, Fault> {
        let name = cx.tenant().clone();
        self.blocking(move |store| store.tenant(&name).map_or(Ok(0), |tenant| tenant.expire(before_ms))).await
    }
}

/// Takes the directory for this process; the system lets go of it when the process ends.
fn hold(dir: &Path) -> Result<File, Fault> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| failed("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Fault::conflict("the log store is in use by another process")
            .detail(dir.display().to_string())
            .hint("stop the other process, or use another data directory")),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path, &error)),
    }
}

fn check_format(dir: &Path) -> Result<(), Fault> {
    let path = dir.join("format");
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => replace(&path, format!("{FORMAT}\n").as_bytes()),
        Err(error) => Err(failed("read", &path, &error)),
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(format) if format <= FORMAT => Ok(()),
            Ok(format) => Err(Fault::conflict("the log store was written by a newer version")
                .detail(format!("{} is {format}, this version knows {FORMAT}", path.display()))
                .hint("use the newer version, or another data directory")),
            Err(_) => Err(wire::damaged(&path, "it does not name a format")),
        },
    }
}
