//! The client against scripted endpoints over real HTTP and server-sent events. No test may pass because
//! an endpoint was not reached: every script checks what it is sent.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "it/dialects.rs"]
mod dialects;
#[path = "it/endpoint.rs"]
mod endpoint;
#[path = "it/faults.rs"]
mod faults;
