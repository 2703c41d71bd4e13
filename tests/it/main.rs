//! The one integration-test binary: the real binary, real adapters, the engine over memory twins.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

#[cfg(feature = "connect")]
mod assistants;
mod bad_days;
#[cfg(feature = "scale")]
mod cluster;
mod crash;
mod doors;
mod feed;
mod keeping;
mod kill;
mod recovery;
mod replay;
mod restoring;
mod schedules;
mod service;
mod support;
mod talk;
mod tidy;
mod tools;
mod undo;
mod world;
