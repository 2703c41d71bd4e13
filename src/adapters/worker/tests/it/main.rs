//! Tests of the worker pool against real processes. Without the standard harness, because this executable
//! is also the worker, and the worker gone bad. Must never skip a test silently.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "all of it is test code, which clippy only sees under the standard harness"
)]

mod evil;
mod measure;
mod pool;
mod support;

use std::panic::catch_unwind;
use std::process::ExitCode;

/// A test by name.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|role| role.starts_with(support::WORKER_ROLE)) {
        return opsward_sandbox::role_main(&args);
    }
    if args.first().is_some_and(|role| role == evil::ROLE) {
        return evil::role_main(&args[1..]);
    }
    if args.iter().any(|arg| arg == "measure") {
        measure::print();
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let mut failed = 0;
    for (name, test) in [pool::TESTS, evil::TESTS].concat() {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        if args.iter().any(|arg| arg == "--list") {
            println!("{name}: test");
            continue;
        }
        let passed = catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u32::from(!passed);
    }
    println!("\ntest result: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
