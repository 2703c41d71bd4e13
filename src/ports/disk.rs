//! The disk that everything is kept on: how much each store takes of the one budget, and what is free.
//!
//! Contract: `room` never changes anything and is cheap enough to be asked before every ingest. What may
//! be taken in is decided here for every door alike: ingest stops while a part of budget and disk is
//! still free, and that part is the journal's.

use std::sync::{Mutex, PoisonError};

use opsward_domain::fault::{Code, Fault};
use serde::Serialize;

/// Share of budget and disk at which ingest stops, unless configured.
pub const FULL_PERCENT: u64 = 95;

/// What is used and what is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Bytes of each store by its name.
    pub stores: Vec<(&'static str, u64)>,
    /// Most bytes of all stores together.
    pub budget_bytes: u64,
    /// Bytes that may still be written on the disk.
    pub disk_free_bytes: u64,
    /// Bytes of the whole disk.
    pub disk_total_bytes: u64,
    /// Share of budget and disk at which ingest stops.
    pub full_percent: u64,
}

impl Room {
    /// Bytes of all stores.
    pub fn used_bytes(&self) -> u64 {
        self.stores.iter().map(|(_, bytes)| *bytes).sum()
    }

    /// Why no log line and no sample is taken now, if so. The journal goes on.
    pub fn refusal(&self) -> Option<Fault> {
        let full = |what: &str, detail: String, hint: &str| {
            let message = format!("{what} is {} % full, new log lines and samples are refused", self.full_percent);
            Some(Fault::new(Code::NoRoom, message).detail(detail).hint(hint))
        };
        if self.used_bytes() >= self.budget_bytes / 100 * self.full_percent {
            let detail = format!("{} of {} bytes are used", self.used_bytes(), self.budget_bytes);
            let hint = "shorten data.logs_hours, or raise data.disk_bytes_max; ingest goes on by itself";
            return full("the disk budget", detail, hint);
        }
        if self.disk_free_bytes < self.disk_total_bytes / 100 * 100_u64.saturating_sub(self.full_percent) {
            let detail = format!("{} of {} bytes are free", self.disk_free_bytes, self.disk_total_bytes);
            return full("the disk of the data folder", detail, "free some room on it; ingest goes on by itself");
        }
        None
    }
}

/// The disk.
pub trait Disk: Send + Sync {
    /// Measures now. A disk that cannot be measured is a fault, and nothing is taken in.
    fn room(&self) -> Result<Room, Fault>;
}

/// A disk as a test wants it.
#[derive(Debug)]
pub struct MemoryDisk(Mutex<Room>);

impl Default for MemoryDisk {
    /// Half empty.
    fn default() -> Self {
        let (budget_bytes, disk_total_bytes) = (1 << 30, 1 << 40);
        Self(Mutex::new(Room {
            stores: vec![("journal", 1 << 20)],
            budget_bytes,
            disk_free_bytes: disk_total_bytes / 2,
            disk_total_bytes,
            full_percent: FULL_PERCENT,
        }))
    }
}

impl MemoryDisk {
    /// Leaves `bytes` free.
    pub fn set_free(&self, bytes: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).disk_free_bytes = bytes;
    }
}

impl Disk for MemoryDisk {
    fn room(&self) -> Result<Room, Fault> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(used: u64, free: u64) -> Room {
        let stores = vec![("journal", used / 2), ("logs", used - used / 2)];
        Room { stores, budget_bytes: 1_000, disk_free_bytes: free, disk_total_bytes: 10_000, full_percent: 95 }
    }

    #[test]
    fn ingest_stops_at_the_mark_of_budget_or_disk_and_says_which() {
        assert_eq!(room(949, 500).refusal(), None);
        let budget = room(950, 500).refusal().unwrap();
        assert!(budget.message.starts_with("the disk budget is 95 % full"), "{budget}");
        let disk = room(0, 499).refusal().unwrap();
        assert!(disk.message.starts_with("the disk of the data folder"), "{disk}");
        assert_eq!((budget.code, disk.code), (Code::NoRoom, Code::NoRoom));
        assert!(!budget.hint.is_empty() && !disk.hint.is_empty());
    }
}
