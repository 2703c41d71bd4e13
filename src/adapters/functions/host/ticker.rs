//! The clock by which WebAssembly is interrupted.
//! It must never tick while nothing runs: an idle host costs no processor time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time between two interruption points, in milliseconds; a time limit is met to within it.
const TICK_MS: u64 = 5;

/// Something that counts ticks.
pub(super) type Epochs = Box<dyn Fn() + Send>;

#[derive(Debug, Default)]
struct Shared {
    running: Mutex<usize>,
    started: Condvar,
}

/// Ticks while at least one invocation runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Ticker(Arc<Shared>);

/// One running invocation.
#[derive(Debug)]
pub(super) struct Running(Arc<Shared>);

impl Ticker {
    /// What the ticking thread does, for ever.
    pub(super) fn tick(&self, epochs: &Epochs) {
        loop {
            let waiting = self.0.started.wait_while(self.0.count(), |running| *running == 0);
            drop(waiting.unwrap_or_else(PoisonError::into_inner));
            std::thread::sleep(Duration::from_millis(TICK_MS));
            epochs();
        }
    }

    pub(super) fn run(&self) -> Running {
        *self.0.count() += 1;
        self.0.started.notify_one();
        Running(Arc::clone(&self.0))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.count() -= 1;
    }
}

impl Shared {
    fn count(&self) -> MutexGuard<'_, usize> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
