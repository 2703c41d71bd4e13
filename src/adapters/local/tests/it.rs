//! The local provider against the real machine: real processes, real sockets, real crashes. This binary
//! is also the shim, the workload program and a server to be killed. Never sleeps where it can look.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails loudly; without a harness the compiler does not know that this is one"
)]

#[path = "it/bench.rs"]
mod bench;
#[path = "it/cases.rs"]
mod cases;
#[path = "it/crashes.rs"]
mod crashes;
#[path = "it/keeping.rs"]
mod keeping;
#[path = "it/program.rs"]
mod program;
#[path = "it/telemetry.rs"]
mod telemetry;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Tests at once.
const THREADS: usize = 4;

type Case = (&'static str, fn());

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some(opsward_local::ROLE) => return opsward_local::role_main(&args),
        Some("__functions") => return opsward_functions::role_main(&args),
        Some(program::ROLE) => return program::main(&args[1..]),
        Some(crashes::ROLE) => return crashes::serve(&args[1..]),
        _ => {}
    }
    let filter: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let all = [cases::ALL, crashes::ALL, keeping::ALL, telemetry::ALL].concat();
    let chosen: Vec<Case> = all
        .into_iter()
        .filter(|(name, _)| filter.is_empty() || filter.iter().any(|part| name.contains(*part)))
        .collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((name, case)) = chosen.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let started = Instant::now();
                    let good = std::panic::catch_unwind(case).is_ok();
                    let word = if good { "ok" } else { "FAILED" };
                    println!("test {name} ... {word} ({} ms)", started.elapsed().as_millis());
                    if !good {
                        failed.lock().unwrap().push(*name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!("\ntest result: {} passed; {} failed {failed:?}", chosen.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
