//! `opsward demo --all`: every incident over several seeds, some at a time, as a table with the totals that
//! count and the simple rule beside them.
#![allow(clippy::print_stdout, reason = "this is the terminal")]

use std::io::Write as _;

use futures::StreamExt as _;
use opsward_demo::driver::score::Tally;
use opsward_domain::fault::Fault;
use serde_json::json;

use super::{Options, Played, incidents, play};

/// Most worlds on stage at a time; each is about a dozen processes.
pub const JOBS_MAX: u64 = 8;

/// One cell of the table.
struct Cell {
    incident: &'static str,
    seed: u64,
    outcome: Result<Played, Fault>,
}

/// Plays every incident with seeds 1 to `seeds`, `jobs` at a time, and prints a line for each run and a row
/// for each incident. 0 if every run passed.
pub async fn all(options: &Options, seeds: u64, jobs: u64) -> Result<u8, Fault> {
    let names: Vec<&'static str> = incidents().into_iter().map(|(name, _)| name).collect();
    let mut runs = Vec::new();
    for seed in 1..=seeds {
        for &incident in &names {
            runs.push(one(options, incident, seed));
        }
    }
    let jobs = usize::try_from(jobs.clamp(1, JOBS_MAX)).unwrap_or(1);
    let mut cells = futures::stream::iter(runs).buffer_unordered(jobs);
    let mut rows: Vec<(&'static str, Tally)> = names.iter().map(|&name| (name, Tally::default())).collect();
    let mut total = Tally::default();
    while let Some(cell) = cells.next().await {
        told(options, &cell);
        let row = rows.iter_mut().find(|(name, _)| *name == cell.incident).map(|(_, row)| row);
        for tally in row.into_iter().chain([&mut total]) {
            match &cell.outcome {
                Ok(played) => tally.add(&played.score, played.rule_right, played.run.seconds.len() as u64),
                Err(_) => tally.runs += 1,
            }
        }
    }
    rows.push(("all", total.clone()));
    for (name, tally) in &rows {
        if options.json {
            line(&json!({"row": name, "tally": tally}).to_string());
        } else {
            line(&summary(name, tally, options.twin));
        }
    }
    Ok(u8::from(total.passed < total.runs))
}

async fn one(options: &Options, incident: &'static str, seed: u64) -> Cell {
    let data = options.data.as_ref().map(|data| data.join(format!("{incident}-{seed}")));
    let options =
        Options { incident: incident.to_owned(), seed, data, yes: true, quiet: true, json: false, ..options.clone() };
    Cell { incident, seed, outcome: play(&options).await }
}

fn told(options: &Options, cell: &Cell) {
    let Cell { incident, seed, outcome } = cell;
    match outcome {
        Ok(played) if options.json => {
            let (truth, score, rule) = (&played.truth, &played.score, played.rule_right);
            line(
                &json!({"incident": incident, "seed": seed, "truth": truth, "score": score, "rule_right": rule})
                    .to_string(),
            );
        }
        Ok(played) => line(&format!("seed {seed:3}  {}", played.sentence())),
        Err(fault) if options.json => line(&json!({"incident": incident, "seed": seed, "fault": fault}).to_string()),
        Err(fault) => line(&format!("seed {seed:3}  FAILED {incident}: {fault}")),
    }
}

fn summary(name: &str, tally: &Tally, twin: bool) -> String {
    let Tally { runs, passed, .. } = tally;
    if twin {
        let hours = tally.watched_s as f64 / 3600.0;
        return format!(
            "{name:24} runs {runs:3}  quiet {passed:3}  incidents {:2}  watched {hours:.2} h",
            tally.incidents
        );
    }
    let time = |share| tally.time_ms(share).map_or("-".to_owned(), |ms| format!("{:.0} s", ms as f64 / 1000.0));
    format!(
        "{name:24} runs {runs:3}  passed {passed:3}  right {:3}  wrong target {:2}  worse {:2}  p50 {:>6}  p95 {:>6}  simple rule right {:3}",
        tally.right,
        tally.wrong_target,
        tally.worse,
        time(0.5),
        time(0.95),
        tally.rule_right,
    )
}

fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
