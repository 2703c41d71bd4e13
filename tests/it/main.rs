//! The one integration-test binary: the real binary, real adapters, the engine over memory twins.

mod support;
mod tidy;
mod tools;
