//! Plays every incident and its healthy twin against the demo's own services on a small platform
//! of the test, with the same roles, lines and public interface as in a real demonstration.
//! `-- play NAME [--seed N] [--pace F]` plays one by hand and shows its lines.
//! Must never reach beyond the loopback interface.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test program")]

#[path = "it/cast.rs"]
mod cast;
#[path = "it/interface.rs"]
mod interface;
#[path = "it/platform.rs"]
mod platform;
#[path = "it/replica.rs"]
mod replica;
#[path = "it/stage.rs"]
mod stage;

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

/// Worlds that run at a time; each is about a dozen processes.
const WORLDS: usize = 6;
/// Seeds that show different forms of the incidents; one run each.
const SEED: u64 = 11;
const PACE: f64 = 0.12;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|role| opsward_demo::is_role(role)) {
        return opsward_demo::role_main(&args);
    }
    let number = |name: &str, otherwise: f64| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let (seed, pace) = (number("--seed", SEED as f64) as u64, number("--pace", PACE));
    if args.first().is_some_and(|arg| arg == "play") {
        let name = args.get(1).expect("play NAME");
        return report(&[(name.clone(), stage::perform(name, seed, pace, true))]);
    }
    if args.iter().any(|arg| arg == "--list") {
        for (name, _) in opsward_demo::driver::incidents() {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filter = args.first().filter(|arg| !arg.starts_with('-')).cloned().unwrap_or_default();
    let names: Vec<String> = opsward_demo::driver::incidents()
        .into_iter()
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.contains(&filter))
        .collect();
    all(&names, seed, pace)
}

/// Plays many, a few at a time.
fn all(names: &[String], seed: u64, pace: f64) -> ExitCode {
    let started = Instant::now();
    let (left, done) = (Mutex::new(names.to_vec()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORLDS {
            scope.spawn(|| {
                loop {
                    let Some(name) = left.lock().unwrap().pop() else {
                        return;
                    };
                    let outcome = stage::perform(&name, seed, pace, false);
                    report(&[(name, outcome.clone())]);
                    done.lock().unwrap().push(outcome.is_ok());
                }
            });
        }
    });
    let good = done.lock().unwrap().iter().filter(|good| **good).count();
    println!("{good} of {} incidents in {:.1} s", names.len(), started.elapsed().as_secs_f64());
    if good == names.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(outcomes: &[(String, Result<String, String>)]) -> ExitCode {
    for (name, outcome) in outcomes {
        match outcome {
            Ok(text) => println!("ok      {name}: {text}"),
            Err(text) => println!("FAILED  {name}: {text}"),
        }
    }
    if outcomes.iter().all(|(_, outcome)| outcome.is_ok()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
