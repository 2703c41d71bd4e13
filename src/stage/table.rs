//! `opsward demo --all`: every incident over several seeds, as a table with the totals that count.
#![allow(clippy::print_stdout, reason = "this is the terminal")]

use std::io::Write as _;

use opsward_demo::driver::score::Tally;
use opsward_domain::fault::Fault;

use super::{Options, incidents, play};

/// Plays every incident with seeds 1 to `seeds` and prints a row for each. 0 if every run passed.
pub async fn all(options: &Options, seeds: u64) -> Result<u8, Fault> {
    let mut tally = Tally::default();
    for (name, _) in incidents() {
        let mut row = Tally::default();
        for seed in 1..=seeds {
            let one =
                Options { incident: name.to_owned(), seed, yes: true, quiet: true, json: false, ..options.clone() };
            match play(&one).await {
                Ok(played) => {
                    row.add(&played.score);
                    tally.add(&played.score);
                }
                Err(fault) => {
                    row.runs += 1;
                    tally.runs += 1;
                    line(&format!("FAILED {name} seed {seed}: {fault}"));
                }
            }
        }
        line(&summary(name, &row));
    }
    line(&summary("all", &tally));
    Ok(u8::from(tally.passed < tally.runs))
}

fn summary(name: &str, tally: &Tally) -> String {
    let time = |share| tally.time_ms(share).map_or("-".to_owned(), |ms| format!("{:.0} s", ms as f64 / 1000.0));
    format!(
        "{name:24} runs {:3}  passed {:3}  right {:3}  wrong target {:2}  worse {:2}  p50 {:>6}  p95 {:>6}",
        tally.runs,
        tally.passed,
        tally.right,
        tally.wrong_target,
        tally.worse,
        time(0.5),
        time(0.95)
    )
}

fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
