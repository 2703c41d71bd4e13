//! The one integration-test binary: the real binary, real adapters, the engine over memory twins.

mod crash;
mod doors;
mod service;
mod support;
mod tidy;
mod tools;
mod world;
