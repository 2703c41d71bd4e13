//! The embedded journal from outside: its suite, its files, and what happens when processes and disks fail.
//! Has no test harness, because the crash tests start this binary again as the process that gets killed;
//! never lets a test outlive its bound.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "all of it is test, which lints can only tell where there is a harness"
)]

#[path = "it/contract.rs"]
mod contract;
#[path = "it/copies.rs"]
mod copies;
#[path = "it/crash.rs"]
mod crash;
#[path = "it/damage.rs"]
mod damage;
#[path = "it/erasure.rs"]
mod erasure;
#[path = "it/golden.rs"]
mod golden;
#[path = "it/refusal.rs"]
mod refusal;
#[path = "it/support.rs"]
mod support;

use std::time::Instant;

/// A test by its name.
type Case = (&'static str, fn());

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["child-writer", dir] => return crash::writer(dir.as_ref()),
        ["child-full-disk", dir] => return refusal::on_a_full_disk(dir.as_ref()),
        ["child-read-only", dir] => return refusal::on_a_read_only_disk(dir.as_ref()),
        ["write-golden"] => return golden::write(),
        _ => {}
    }
    let first = [contract::CASES, copies::CASES, erasure::CASES, golden::CASES];
    let cases: Vec<Case> = [first.concat(), [refusal::CASES, damage::CASES, crash::CASES].concat()].concat();
    // Why so little: the arguments that `cargo test` passes through, a filter above all.
    let filter = words.iter().find(|word| !word.starts_with('-'));
    let [exact, list] = ["--exact", "--list"].map(|flag| words.iter().any(|word| word == flag));
    let chosen =
        |name: &str| filter.is_none_or(|filter| if exact { name == filter } else { name.contains(filter.as_str()) });
    for (name, case) in cases.into_iter().filter(|(name, _)| chosen(name)) {
        if list {
            println!("{name}: test");
            continue;
        }
        let began = Instant::now();
        case();
        println!("test {name} ... ok ({} ms)", began.elapsed().as_millis());
    }
}
