//! What the writer, the readers and the caller's handle all see. Never blocks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use opsward_domain::event::Durability;
use opsward_ports::journal::Error;
use tokio::sync::watch;

/// Commits made since the journal was opened, by how hard they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commits {
    /// Forced to the disk before they were acknowledged.
    pub power: u64,
    /// Left to the operating system.
    pub process: u64,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) head: watch::Sender<u64>,
    damage: OnceLock<(u64, String)>,
    power: AtomicU64,
    process: AtomicU64,
}

impl Shared {
    pub(crate) fn new(head: u64) -> Self {
        Self {
            head: watch::Sender::new(head),
            damage: OnceLock::new(),
            power: AtomicU64::new(0),
            process: AtomicU64::new(0),
        }
    }

    /// Remembers the first damage found, which refuses writes from now on.
    pub(crate) fn damaged(&self, seq: u64, detail: &str) {
        if self.damage.set((seq, detail.to_owned())).is_ok() {
            tracing::error!(seq, detail, "the journal is damaged; writes are refused from now on");
        }
    }

    /// Passes `error` on, remembering it if it is damage.
    pub(crate) fn noted(&self, error: Error) -> Error {
        if let Error::Corrupt { seq, detail } = &error {
            self.damaged(*seq, detail);
        }
        error
    }

    /// Why writes are refused, if they are.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.damage.get().map(|(seq, detail)| Error::Corrupt { seq: *seq, detail: detail.clone() })
    }

    pub(crate) fn committed(&self, durability: Durability) {
        let count = match durability {
            Durability::Power => &self.power,
            Durability::Process => &self.process,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn commits(&self) -> Commits {
        Commits { power: self.power.load(Ordering::Relaxed), process: self.process.load(Ordering::Relaxed) }
    }
}
