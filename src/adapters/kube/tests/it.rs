//! The provider against an API server: the double in this process, or the cluster that
//! `OPSWARD_TEST_KUBECONFIG` names. Never sleeps where it can look.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails loudly")]

#[path = "it/act.rs"]
mod act;
#[path = "it/bench.rs"]
mod bench;
#[path = "it/conformance.rs"]
mod conformance;
#[path = "it/conventions.rs"]
mod conventions;
#[path = "it/double.rs"]
mod double;
#[path = "it/look.rs"]
mod look;
#[path = "it/troubles.rs"]
mod troubles;
