//! Bounded concurrency with a bounded queue, so that overload is refused instead of hidden.
//! Must never let more than `workers` requests run at once.

use super::lock;
use std::sync::{Condvar, Mutex};
use std::time::Instant;

#[derive(Debug, Default)]
struct Load {
    busy: usize,
    waiting: usize,
}

/// The worker slots of a service.
#[derive(Debug)]
pub(super) struct Slots {
    workers: usize,
    queue: usize,
    load: Mutex<Load>,
    freed: Condvar,
}

/// A slot in use; dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Slot<'a>(&'a Slots);

/// Why there was no slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// The queue is full.
    Full,
    /// The request's time ran out in the queue.
    Late,
}

impl Slots {
    pub(super) fn new(workers: usize, queue: usize) -> Self {
        Self { workers, queue, load: Mutex::default(), freed: Condvar::new() }
    }

    /// `(busy, waiting, workers)`.
    pub(super) fn load(&self) -> (usize, usize, usize) {
        let load = lock(&self.load);
        (load.busy, load.waiting, self.workers)
    }

    /// Waits for a slot until `deadline`.
    pub(super) fn enter(&self, deadline: Instant) -> Result<Slot<'_>, NoSlot> {
        let mut load = lock(&self.load);
        if load.busy >= self.workers {
            if load.waiting >= self.queue {
                return Err(NoSlot::Full);
            }
            load.waiting += 1;
            while load.busy >= self.workers {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    load.waiting -= 1;
                    return Err(NoSlot::Late);
                }
                load = match self.freed.wait_timeout(load, left) {
                    Ok((load, _)) => load,
                    Err(poisoned) => poisoned.into_inner().0,
                };
            }
            load.waiting -= 1;
        }
        load.busy += 1;
        Ok(Slot(self))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        lock(&self.0.load).busy -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_full_house_queues_then_refuses() {
        let slots = Slots::new(1, 0);
        let held = slots.enter(Instant::now()).unwrap();
        assert_eq!(slots.enter(Instant::now() + Duration::from_secs(1)).unwrap_err(), NoSlot::Full);
        drop(held);
        assert!(slots.enter(Instant::now()).is_ok());

        let slots = Slots::new(1, 1);
        let held = slots.enter(Instant::now()).unwrap();
        assert_eq!(slots.enter(Instant::now() + Duration::from_millis(5)).unwrap_err(), NoSlot::Late);
        assert_eq!(slots.load(), (1, 0, 1));
        drop(held);
        assert_eq!(slots.load(), (0, 0, 1));
    }
}
