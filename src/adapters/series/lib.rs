//! The embedded metrics store: compressed points in memory, an append-only log of segments on disk.
//! Never computes a rate or fills a gap, and never lets one tenant see another's series.
//!
//! A point is readable when `append` returns and survives the end of the process, because it is handed
//! to the operating system first. The disk itself is flushed every few seconds only
//! ([`Options::sync_every_ms`]): a power cut may cost that much. Metrics can bear it; logs and the
//! journal, which cannot, flush before they answer.

mod chunk;
mod codec;
mod copy;
mod db;
mod head;
mod segment;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::fault::Fault;
use opsward_domain::name::Workspace;
use opsward_domain::telemetry::{Sample, Series, SeriesQuery};
use opsward_domain::time::AtMs;
use opsward_ports::series::SeriesStore;

pub use copy::copy;

use db::Db;

/// Bounds of the store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most series of one workspace; samples of further ones are dropped and reported.
    pub series_per_workspace_max: usize,
    /// Most series of all workspaces together.
    pub series_max: usize,
    /// Most points kept of one series; the oldest give way.
    pub points_per_series_max: usize,
    /// Most bytes of compressed points in memory; the oldest of all series give way.
    pub memory_bytes_max: usize,
    /// Most bytes on disk; the oldest segments give way.
    pub disk_bytes_max: u64,
    /// Size at which a segment is closed and the next one begun.
    pub segment_bytes: u64,
    /// Longest time after which an append flushes the disk.
    pub sync_every_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            series_per_workspace_max: 5_000,
            series_max: 20_000,
            points_per_series_max: 20_000,
            memory_bytes_max: 48 << 20,
            disk_bytes_max: 96 << 20,
            segment_bytes: 8 << 20,
            sync_every_ms: 3_000,
        }
    }
}

/// The store. Cheap to clone; one process at a time may hold a directory open.
#[derive(Clone)]
pub struct SeriesDb {
    db: Arc<Mutex<Db>>,
    dropped: Arc<AtomicU64>,
    /// Kept beside the store, for those who must not wait for its lock.
    bytes: Arc<AtomicU64>,
}

impl SeriesDb {
    /// Opens or makes the store in `dir` and reads back what it holds. Blocks while it reads.
    ///
    /// A torn end, as a crash leaves it, is cut off. A segment damaged elsewhere is read up to the
    /// damage. Faults: directory unusable, held by another process, or from a newer version.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, Fault> {
        let db = Db::open(dir.as_ref(), options)?;
        let bytes = Arc::new(AtomicU64::new(db.disk_bytes()));
        Ok(Self { db: Arc::new(Mutex::new(db)), dropped: Arc::new(AtomicU64::new(0)), bytes })
    }

    /// Samples dropped since start because a bound was reached.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Bytes on disk, as of the last append or expiry.
    pub fn disk_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Flushes what was appended to the disk.
    pub async fn sync(&self) -> Result<(), Fault> {
        self.blocking(Db::sync).await
    }

    /// Runs `work` off the async threads: it may wait for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Db) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (db, bytes) = (Arc::clone(&self.db), Arc::clone(&self.bytes));
        let run = move || {
            let mut db = db.lock().unwrap_or_else(PoisonError::into_inner);
            let done = work(&mut db);
            bytes.store(db.disk_bytes(), Ordering::Relaxed);
            done
        };
        tokio::task::spawn_blocking(run)
            .await
            .map_err(|e| Fault::internal("the metrics store failed").detail(e.to_string()))?
    }
}

#[async_trait]
impl SeriesStore for SeriesDb {
    /// Keeps what fits; if a bound drops samples the fault says how many, and the rest is kept.
    async fn append(&self, cx: &CallContext, samples: Vec<Sample>) -> Result<(), Fault> {
        let tenant = cx.tenant().clone();
        let dropped = Arc::clone(&self.dropped);
        self.blocking(move |db| {
            let refused = db.append(&tenant, samples)?;
            dropped.fetch_add(refused.samples, Ordering::Relaxed);
            refused.into_result()
        })
        .await
    }

    async fn range(&self, cx: &CallContext, query: &SeriesQuery) -> Result<Vec<Series>, Fault> {
        let (tenant, query) = (cx.tenant().clone(), query.clone());
        self.blocking(move |db| db.head().range(&tenant, &query)).await
    }

    async fn names(&self, cx: &CallContext, workspace: &Workspace) -> Result<Vec<String>, Fault> {
        let (tenant, workspace) = (cx.tenant().clone(), workspace.clone());
        self.blocking(move |db| Ok(db.head().names(&tenant, &workspace))).await
    }

    async fn expire(&self, cx: &CallContext, before_ms: AtMs) -> Result<(), Fault> {
        let tenant = cx.tenant().clone();
        self.blocking(move |db| db.expire(&tenant, before_ms)).await
    }
}
