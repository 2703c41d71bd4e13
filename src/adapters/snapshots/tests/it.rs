//! The vault against real folders: what goes in comes out, damage is found, nothing escapes.
//! It must never depend on the clock or on who runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may stop at the first surprise")]

#[path = "it/keys.rs"]
mod keys;
#[path = "it/locks.rs"]
mod locks;
#[path = "it/restores.rs"]
mod restores;
#[path = "it/snapshots.rs"]
mod snapshots;
#[path = "it/support.rs"]
mod support;
#[path = "it/verifies.rs"]
mod verifies;
