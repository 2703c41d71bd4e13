//! The composition root and what the binary and the tests share. Only `app` names an adapter.

pub mod app;
pub mod audit;
pub mod bench;
pub mod config;
#[cfg(debug_assertions)]
pub mod crash;
pub mod disk;
pub mod doctor;
pub mod embedded;
pub mod entropy;
#[cfg(feature = "connect")]
pub mod mcp;
pub mod mining;
pub mod recovery;
pub mod roles;
pub mod routing;
pub mod stage;
pub mod trace;
pub mod up;
