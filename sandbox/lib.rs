//! The jailed worker: lock-down, Rhai engine, one run per process. It cannot cause an effect: all it
//! can do is ask the broker over one socket and return a value. It must never link anything of the server.

mod engine;
mod exit;
mod heap;
mod host;
mod jail;
mod probe;
mod role;
mod run;
mod source;
mod value;

pub use exit::ExitReason;
pub use jail::ALLOWED_SYSCALLS;
pub use probe::{Control, PROBES, Probe};
pub use role::{NO_JAIL_FLAG, PROBE_FLAG, role_main};
