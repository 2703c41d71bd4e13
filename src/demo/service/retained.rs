//! State that requests leave in memory, and what a full heap does to a garbage-collected program.
//! Must never account for more than it holds.

use super::lock;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

/// Share of the heap above which collections start to hurt.
const PRESSURE_FROM: f64 = 0.6;
/// Pause of a collection when the heap is full.
const PAUSE_MAX_MS: f64 = 900.0;

#[derive(Debug, Default)]
struct Entries {
    blocks: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// Retained entries, oldest first.
#[derive(Debug)]
pub(super) struct Retained {
    heap_bytes: u64,
    entries: Mutex<Entries>,
}

impl Retained {
    /// `heap_mb` 0 means that the program has no heap limit of its own.
    pub(super) fn new(heap_mb: u64) -> Self {
        Self { heap_bytes: heap_mb * 1024 * 1024, entries: Mutex::default() }
    }

    pub(super) fn bytes(&self) -> usize {
        lock(&self.entries).bytes
    }

    pub(super) fn heap_bytes(&self) -> u64 {
        self.heap_bytes
    }

    /// Keeps one more block and drops the oldest beyond `cap` entries.
    pub(super) fn keep(&self, bytes: usize, cap: usize) {
        let block = filled(bytes);
        let mut entries = lock(&self.entries);
        entries.bytes += block.len();
        entries.blocks.push_back(block);
        while entries.blocks.len() > cap {
            let gone = entries.blocks.pop_front().map_or(0, |block| block.len());
            entries.bytes -= gone;
        }
    }

    /// How long a collection stops this request, if the heap is nearly full.
    pub(super) fn pause(&self) -> Option<Duration> {
        if self.heap_bytes == 0 {
            return None;
        }
        let share = self.bytes() as f64 / self.heap_bytes as f64;
        let over = ((share - PRESSURE_FROM) / (1.0 - PRESSURE_FROM)).min(1.0);
        (over > 0.0).then(|| Duration::from_secs_f64(PAUSE_MAX_MS * over / 1000.0))
    }
}

/// Written to, so that the pages are really resident.
fn filled(bytes: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(bytes);
    block.resize(bytes, 0x5a);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_bounds_what_is_kept_and_pressure_pauses() {
        let retained = Retained::new(1);
        for _ in 0..10 {
            retained.keep(1000, 4);
        }
        assert_eq!(retained.bytes(), 4000);
        assert_eq!(retained.pause(), None);
        retained.keep(1024 * 1024, usize::MAX);
        assert_eq!(retained.pause(), Some(Duration::from_millis(900)));
        assert_eq!(Retained::new(0).pause(), None);
    }
}
