//! Every bound of the function host, and what a caller may set.
//! A bound must never be larger than what the jail can hold.

use crate::{Error, Result};

/// Largest source of one function, in bytes.
pub const MAX_SOURCE_BYTES: usize = 16 * 1024 * 1024;
/// Largest request, in bytes.
pub const MAX_INPUT_BYTES: usize = 8 * 1024 * 1024;
/// Largest response that may be allowed, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 8 * 1024 * 1024;
/// Most log lines kept of one invocation.
pub const MAX_LOG_LINES: usize = 200;
/// Longest log line kept, in bytes; the rest of it is cut.
pub const MAX_LOG_LINE_BYTES: usize = 4096;
/// Most bytes of log lines kept of one invocation.
pub const MAX_LOG_BYTES: usize = 64 * 1024;
/// Longest time one invocation may be given, in milliseconds.
pub const MAX_TIMEOUT_MS: u64 = 600_000;
/// Longest key or version, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 200;
/// Most functions (key and version) loaded in one host.
pub(crate) const MAX_LOADED: usize = 512;
/// Least memory an invocation can be given: one page of WebAssembly and what JavaScript needs to start.
pub(crate) const MIN_MEMORY_BYTES: u64 = 1024 * 1024;
/// Most threads that run invocations.
const MAX_CONCURRENCY: usize = 64;

/// How one function host is run. The default suits one workspace of a small machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Invocations that run at once, 1 to 64.
    pub concurrency: usize,
    /// Invocations that may wait for their turn; more are refused.
    pub queue_max: usize,
    /// Memory of the whole host, in bytes (a kernel limit on its data); 64 MiB at least.
    pub host_memory_max_bytes: u64,
    /// Most memory one invocation may ask for, in bytes.
    pub memory_max_bytes: u64,
    /// Largest response, in bytes.
    pub output_max_bytes: usize,
    /// How long a host may take to start, in milliseconds.
    pub start_timeout_ms: u64,
    /// How long compiling one function may take, in milliseconds; the host is killed after it.
    pub load_timeout_ms: u64,
    /// How long past its own time an invocation may go before the whole host is killed, in milliseconds.
    pub grace_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 8,
            queue_max: 256,
            host_memory_max_bytes: 1024 * 1024 * 1024,
            memory_max_bytes: 256 * 1024 * 1024,
            output_max_bytes: 4 * 1024 * 1024,
            start_timeout_ms: 10_000,
            load_timeout_ms: 30_000,
            grace_ms: 1_000,
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<()> {
        const LEAST_HOST_BYTES: u64 = 64 * 1024 * 1024;
        let fits = [
            ("concurrency", (1..=MAX_CONCURRENCY).contains(&self.concurrency)),
            ("host_memory_max_bytes", self.host_memory_max_bytes >= LEAST_HOST_BYTES),
            ("memory_max_bytes", (MIN_MEMORY_BYTES..=self.host_memory_max_bytes).contains(&self.memory_max_bytes)),
            ("output_max_bytes", (1..=MAX_OUTPUT_BYTES).contains(&self.output_max_bytes)),
        ];
        match fits.iter().find(|(_, fits)| !fits) {
            Some((field, _)) => Err(Error::Invalid { field, detail: "is out of bounds".to_owned() }),
            None => Ok(()),
        }
    }
}
