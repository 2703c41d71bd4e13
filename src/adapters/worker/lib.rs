//! The script runner: a pool of jailed workers reached over one socket each. Trusts nothing that a
//! worker says, and never runs a script in its own process.

mod keeper;
mod pool;
mod process;
mod run;
mod selftest;

pub use pool::{Options, Pool};
