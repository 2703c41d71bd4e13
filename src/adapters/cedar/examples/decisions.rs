//! Measures decisions of the built-in set: `cargo run --release -p opsward-cedar --example decisions`.
//! Prints percentiles over every verb, door and mark; changes nothing.
#![allow(clippy::print_stdout, reason = "the printed numbers are the purpose")]

use std::time::{Duration, Instant};

use opsward_cedar::CedarPolicy;
use opsward_domain::context::Origin;
use opsward_domain::label::Integrity;
use opsward_domain::principal::Role;
use opsward_ports::policy::conformance::plain_question;
use opsward_ports::policy::{Question, Verb};

const ROUNDS: usize = 20;

fn main() -> Result<(), opsward_domain::fault::Fault> {
    let begin = Instant::now();
    let policy = CedarPolicy::defaults()?;
    println!("load, validate and check examples: {:?}", begin.elapsed());
    let mut questions = Vec::new();
    for verb in Verb::all() {
        for role in Role::ALL {
            for origin in Origin::ALL {
                for integrity in [Integrity::Operator, Integrity::Untrusted] {
                    questions.push(Question { role: Some(role), origin, integrity, ..plain_question(verb.clone()) });
                }
            }
        }
    }
    let mut allowed = 0_usize;
    let mut times: Vec<Duration> = Vec::with_capacity(questions.len() * ROUNDS);
    for _ in 0..ROUNDS {
        for question in &questions {
            let begin = Instant::now();
            let answer = policy.decide(question);
            times.push(begin.elapsed());
            allowed += usize::from(answer.allowed);
        }
    }
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 1000).copied().unwrap_or_default();
    println!("{} decisions, {allowed} allowed, {} policies", times.len(), policy.ids().count());
    println!("p50 {:?}  p90 {:?}  p99 {:?}  p99.9 {:?}", at(500), at(900), at(990), at(999));
    Ok(())
}
