//! Runs the tests one after the other, each in a task of its own, with a bound on its time.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const TEST_TIMEOUT: Duration = Duration::from_secs(120);

pub(crate) type Body = Pin<Box<dyn Future<Output = ()>>>;

/// A test and its name.
pub(crate) struct Test {
    name: &'static str,
    body: Body,
}

pub(crate) fn test(name: &'static str, body: impl Future<Output = ()> + 'static) -> Test {
    Test { name, body: Box::pin(body) }
}

/// Names the listed async functions as tests.
macro_rules! tests {
    ($list:ident, $($function:ident),+ $(,)?) => {
        $($list.push($crate::runner::test(concat!(module_path!(), "::", stringify!($function)), $function()));)+
    };
}
pub(crate) use tests;

/// Runs those whose name contains one of the words among the arguments (all, when there is none).
pub(crate) fn run(tests: Vec<Test>, args: &[String]) -> ExitCode {
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let mut failed = Vec::new();
    let mut passed = 0;
    for Test { name, body } in tests.into_iter().filter(|test| wanted(test.name)) {
        let started = Instant::now();
        let local = tokio::task::LocalSet::new();
        let ended = local
            .block_on(&runtime, async { tokio::time::timeout(TEST_TIMEOUT, tokio::task::spawn_local(body)).await });
        let word = match ended {
            Ok(Ok(())) => "ok",
            Ok(Err(_)) => "FAILED",
            Err(_) => "FAILED (took too long)",
        };
        println!("test {name} ... {word} ({} ms)", started.elapsed().as_millis());
        if word == "ok" {
            passed += 1;
        } else {
            failed.push(name);
        }
    }
    println!("\n{passed} passed, {} failed {failed:?}\n", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
