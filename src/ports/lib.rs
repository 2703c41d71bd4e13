//! Floor 1: what the engine needs from outside. One file a port: the trait with its contract; beside
//! it a memory twin and one conformance suite that every adapter runs.
//!
//! Never here: a product's name or client, or any rule about who may do what.

pub mod clock;
pub mod disk;
pub mod identity;
pub mod journal;
pub mod kits;
pub mod logs;
pub mod model;
pub mod policy;
pub mod provider;
pub mod runner;
pub mod series;
pub mod telemetry;
