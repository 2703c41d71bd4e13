//! Tests of the jailed worker from outside: real processes, real kernel. Without the standard harness,
//! because this executable is also the worker under test. Must never skip a test silently.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "all of it is test code, which clippy only sees under the standard harness"
)]

mod bombs;
mod generated;
mod jail;
mod protocol;
mod scripts;
mod tools;
mod worker;

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

/// A test by name.
type Test = (&'static str, fn());

/// Tests run at the same time; each waits for processes more than it computes.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|role| role == worker::ROLE) {
        return opsward_sandbox::role_main(&args);
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let tests: Vec<Test> = [scripts::TESTS, protocol::TESTS, jail::TESTS, tools::TESTS, generated::TESTS, bombs::TESTS]
        .concat()
        .into_iter()
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())))
        .collect();
    if args.iter().any(|arg| arg == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let failed = run_all(&tests);
    println!("\ntest result: {} passed; {} failed", tests.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_all(tests: &[Test]) -> Vec<&'static str> {
    let queue = Mutex::new(tests.iter());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some((name, test)) = queue.lock().unwrap().next() else { break };
                    let start = Instant::now();
                    let passed = catch_unwind(test).is_ok();
                    let verdict = if passed { "ok" } else { "FAILED" };
                    println!("test {name} ... {verdict} ({} ms)", start.elapsed().as_millis());
                    if !passed {
                        failed.lock().unwrap().push(*name);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}
