//! Watching and stopping a long operation.
//! It must never block the operation longer than the caller's own function does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes between two progress reports.
const REPORT_EVERY_BYTES: u64 = 1024 * 1024;

/// How far an operation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files finished.
    pub files_done: u64,
    /// Bytes of file contents worked through.
    pub bytes_done: u64,
    /// Bytes in all, when known beforehand (verify and restore).
    pub bytes_total: Option<u64>,
}

/// A flag that asks an operation to stop; clones share it.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Asks to stop. The operation ends with `Cancelled` and keeps nothing.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How the caller follows an operation. The default neither watches nor stops it.
#[derive(Clone, Default)]
pub struct Watch {
    /// Called from the operation's threads after each file and about every MiB.
    pub progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
    /// Asked at each file and each chunk.
    pub cancel: CancelToken,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("progress", &self.progress.is_some()).field("cancel", &self.cancel).finish()
    }
}

/// Counts one operation and reports it.
#[derive(Debug)]
pub(crate) struct Meter {
    watch: Watch,
    files: AtomicU64,
    bytes: AtomicU64,
    reported: AtomicU64,
    total: Option<u64>,
}

impl Meter {
    pub(crate) fn new(watch: &Watch, total: Option<u64>) -> Self {
        Self {
            watch: watch.clone(),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            total,
        }
    }

    pub(crate) fn cancelled(&self) -> bool {
        self.watch.cancel.is_cancelled()
    }

    /// Errs when the caller asked to stop.
    pub(crate) fn go_on(&self) -> crate::Result<()> {
        if self.cancelled() { Err(crate::Error::Cancelled) } else { Ok(()) }
    }

    pub(crate) fn add_bytes(&self, bytes: u64) {
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if now.saturating_sub(self.reported.load(Ordering::Relaxed)) >= REPORT_EVERY_BYTES {
            self.report();
        }
    }

    pub(crate) fn add_file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.report();
    }

    fn report(&self) {
        let bytes_done = self.bytes.load(Ordering::Relaxed);
        self.reported.store(bytes_done, Ordering::Relaxed);
        if let Some(progress) = &self.watch.progress {
            progress(Progress { files_done: self.files.load(Ordering::Relaxed), bytes_done, bytes_total: self.total });
        }
    }
}
