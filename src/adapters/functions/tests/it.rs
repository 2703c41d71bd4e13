//! Functions in a real, jailed host process: this binary re-enters itself as the host.
//! It must never pass by skipping: a test that cannot run fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may stop at the first surprise and say so"
)]

#[path = "it/hosts.rs"]
mod hosts;
#[path = "it/javascript.rs"]
mod javascript;
#[path = "it/modules.rs"]
mod modules;
#[path = "it/runner.rs"]
mod runner;
#[path = "it/speed.rs"]
mod speed;
#[path = "it/support.rs"]
mod support;
#[path = "it/wasm.rs"]
mod wasm;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|role| role == "__functions") {
        return opsward_functions::role_main(&args);
    }
    let mut tests = Vec::new();
    wasm::tests(&mut tests);
    javascript::tests(&mut tests);
    hosts::tests(&mut tests);
    speed::tests(&mut tests);
    runner::run(tests, &args)
}
