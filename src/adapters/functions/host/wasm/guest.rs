//! What one running instance may still use: time, memory, output.
//! It must never be shared by two instances.

use std::time::{Duration, Instant};

use wasmtime::{Caller, Memory, ResourceLimiter};

use super::super::logs::Logs;
use crate::wire::Bounds;

/// Most entries of one table (function references), and most tables.
const MAX_TABLE_ENTRIES: usize = 100_000;
const MAX_TABLES: usize = 8;

/// Why an instance was stopped by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stop {
    #[error("its time is up")]
    TimedOut,
    #[error("the response is larger than {0} bytes")]
    OutputTooLarge(usize),
    #[error("exit status {0}")]
    Exit(i32),
    #[error("pointers lead outside its memory")]
    BadPointer,
}

/// The state of one instance.
pub(super) struct Guest {
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    pub(super) input: Vec<u8>,
    pub(super) input_read: usize,
    pub(super) output: Vec<u8>,
    pub(super) logs: Logs,
    pub(super) memory: Option<Memory>,
    pub(super) limiter: Limiter,
    output_max_bytes: usize,
}

/// Says yes or no to growth, and remembers a no.
pub(super) struct Limiter {
    memory_max_bytes: u64,
    pub(super) peak_bytes: u64,
    pub(super) refused: bool,
}

impl Guest {
    pub(super) fn new(bounds: Bounds, input: Vec<u8>) -> Self {
        let started = Instant::now();
        Self {
            started,
            deadline: started + Duration::from_millis(bounds.timeout_ms),
            input,
            input_read: 0,
            output: Vec::new(),
            logs: Logs::default(),
            memory: None,
            limiter: Limiter { memory_max_bytes: bounds.memory_max_bytes, peak_bytes: 0, refused: false },
            output_max_bytes: bounds.output_max_bytes,
        }
    }

    /// Errs when the time is up: for host functions that may take long.
    pub(super) fn go_on(&self) -> Result<(), Stop> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(Stop::TimedOut) }
    }

    pub(super) fn answer(&mut self, data: &[u8]) -> Result<(), Stop> {
        if self.output.len() + data.len() > self.output_max_bytes {
            return Err(Stop::OutputTooLarge(self.output_max_bytes));
        }
        self.output.extend_from_slice(data);
        Ok(())
    }

    /// The instance's memory, as bytes, and this state next to it.
    pub(super) fn memory<'a>(caller: &'a mut Caller<'_, Self>) -> Result<(&'a mut [u8], &'a mut Self), Stop> {
        let memory = match caller.data().memory {
            Some(memory) => memory,
            None => caller.get_export("memory").and_then(wasmtime::Extern::into_memory).ok_or(Stop::BadPointer)?,
        };
        Ok(memory.data_and_store_mut(caller))
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, _current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let desired = u64::try_from(desired).unwrap_or(u64::MAX);
        let fits = desired <= self.memory_max_bytes;
        if fits {
            self.peak_bytes = self.peak_bytes.max(desired);
        }
        self.refused |= !fits;
        Ok(fits)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= MAX_TABLE_ENTRIES;
        self.refused |= !fits;
        Ok(fits)
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }
}
