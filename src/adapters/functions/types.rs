//! What goes into a function host and what comes out.
//! It must never hold a type of an engine.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The code of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A binary WebAssembly module: a WASI command or a plain module.
    Wasm(Arc<[u8]>),
    /// JavaScript text.
    JavaScript(Arc<str>),
}

impl Source {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Wasm(bytes) => bytes,
            Self::JavaScript(text) => text.as_bytes(),
        }
    }
}

/// What a function turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// WebAssembly with `_start`, spoken to over standard input and output.
    WasiCommand,
    /// WebAssembly with `memory`, `alloc` and `handle`.
    PlainModule,
    /// JavaScript.
    JavaScript,
}

/// A function that was compiled and checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadReport {
    /// What it is.
    pub kind: Kind,
    /// Size of the source.
    pub source_bytes: u64,
    /// Time to compile and check it, in microseconds.
    pub compile_us: u64,
}

/// One call of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The request, at most 8 MiB.
    pub input: Vec<u8>,
    /// How long it may run, 1 ms to 10 minutes.
    pub timeout_ms: u64,
    /// How much memory it may use: linear memory or JavaScript heap, 1 MiB to `Options::memory_max_bytes`.
    pub memory_max_bytes: u64,
}

impl Invocation {
    /// A call with 10 seconds and 64 MiB.
    pub fn new(input: impl Into<Vec<u8>>) -> Self {
        Self { input: input.into(), timeout_ms: 10_000, memory_max_bytes: 64 * 1024 * 1024 }
    }
}

/// How an invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It answered.
    Ok,
    /// WebAssembly trapped: an unreachable point, a bad access, an exhausted stack.
    Trapped,
    /// Its time was up.
    TimedOut,
    /// It failed after it was refused memory.
    OutOfMemory,
    /// It said so itself (an exception, an exit code), or answered outside its bounds.
    Failed,
}

/// What an invocation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvocationOutcome {
    /// How it ended.
    pub status: Status,
    /// The response; empty unless `status` is `Ok`.
    pub output: Vec<u8>,
    /// Why it did not answer: the trap, the exception with its line, the exit code.
    pub detail: Option<String>,
    /// Its log lines, oldest first, at most 200.
    pub logs: Vec<String>,
    /// Lines were cut or dropped.
    pub logs_truncated: bool,
    /// Time from making the instance to its end inside the host, in microseconds.
    pub duration_us: u64,
    /// First run since the function was loaded into this host process.
    pub cold: bool,
    /// WebAssembly: the most linear memory it had, in bytes. JavaScript: the heap at its end.
    pub memory_peak_bytes: u64,
}

/// Which layers of the jail hold for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Landlock ABI enforced; none when the kernel has no Landlock.
    pub landlock_abi: Option<u32>,
    /// System calls that are still allowed; all others kill the host.
    pub syscalls: u32,
}
