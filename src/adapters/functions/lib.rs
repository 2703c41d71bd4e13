//! Functions as WebAssembly or JavaScript, run in a jailed child process: one **function host** per workspace.
//! A function must never reach a file, the network, another workspace or the server's memory, and must never take
//! more time, memory or output than its invocation allows.
//!
//! # Writing a function
//!
//! The request is bytes (usually JSON), the response is bytes; every invocation gets a fresh instance, so nothing
//! is remembered between two of them.
//!
//! **WebAssembly, WASI command** (`_start`; what `rustc --target wasm32-wasip1`, clang with wasi-libc, TinyGo make):
//! request on standard input, response on standard output, log lines on standard error. A non-zero exit code is a
//! failure. There is a clock and randomness, no arguments, no environment, no files, no sockets.
//!
//! **WebAssembly, plain module**: exports `memory`, `alloc(length: i32) -> pointer: i32` and
//! `handle(pointer: i32, length: i32) -> i64`, the response packed as `pointer << 32 | length`. `_initialize` is
//! called first when it is exported.
//!
//! **JavaScript**: `export default function (request) { ... }`, or `function handle(request)`; synchronous or
//! `async`. `request` is the parsed JSON (or the text, when it is no JSON). What it returns is the response as JSON
//! (`undefined` is `null`). `console.log` and its siblings write log lines. No timers, no imports, no `fetch`.
//!
//! # The jail
//!
//! The host is the program itself, re-executed with an empty environment and one socket ([`role_main`]). Before it
//! reads anything it drops all capabilities, sets `no_new_privs`, resource limits, Landlock without a single rule
//! (as far as the kernel has it) and a system call allow-list that kills on anything else: no `open`, no `socket`,
//! no `clone`, no `execve`. Compiling WebAssembly needs `mprotect` to make code executable; the filter permits that
//! but never memory that is writable and executable at once. [`Isolation`] says what holds.
//!
//! WebAssembly is stopped by epoch interruption, JavaScript by the engine's interrupt hook. Code that neither can
//! stop, or a host that dies, is the client's business: it kills the host, fails what was running in it, and starts
//! a new one for the next call. No invocation is ever repeated by itself.

mod client;
mod error;
mod host;
mod limits;
mod types;
mod wire;

pub use client::{FunctionHost, HostStatus};
pub use error::{Error, Result, SourceError};
pub use host::role_main;
pub use limits::{
    MAX_INPUT_BYTES, MAX_LOG_BYTES, MAX_LOG_LINE_BYTES, MAX_LOG_LINES, MAX_OUTPUT_BYTES, MAX_SOURCE_BYTES,
    MAX_TIMEOUT_MS, Options,
};
pub use types::{Invocation, InvocationOutcome, Isolation, Kind, LoadReport, Source, Status};
