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

pub use jail::ALLOWED_SYSCALLS;
pub use role::role_main;
