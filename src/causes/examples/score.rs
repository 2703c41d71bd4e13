//! Scores the diagnosis on PetShop's issues, with the alert late and early and cells blank, and on windows without an
//! issue; beside a rule of twenty lines, with Wilson intervals, on both halves of the set; and measures its speed.
//! `OPSWARD_SHARED` names the folder with `data`; `score [petshop|speed] [words]`, where words print what is said of the
//! cases whose name holds one. It only reads. Sets that are support bundles are scored by `opsward eval`.

#![allow(clippy::print_stdout, reason = "it is a program that prints a table")]

#[path = "score/petshop.rs"]
mod petshop;
#[path = "score/speed.rs"]
mod speed;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use opsward_causes::case::Case;
use opsward_causes::{Diagnosis, Options, diagnose};

/// Anything that went wrong while reading.
pub(crate) type Fault = Box<dyn std::error::Error>;

/// One incident with its answer.
pub(crate) struct Trial {
    pub(crate) name: String,
    pub(crate) case: Case,
    pub(crate) options: Options,
    /// The component that did it; none on a quiet window.
    pub(crate) component: Option<String>,
    /// Kinds that are right.
    pub(crate) kinds: Vec<&'static str>,
    /// What the rule of twenty lines answers, best first.
    pub(crate) rule: Vec<String>,
}

/// A count of successes, with the interval in which the true share lies (95 %).
#[derive(Default, Clone, Copy)]
struct Share {
    hits: u32,
    of: u32,
}

impl Share {
    fn add(&mut self, hit: bool) {
        self.hits += u32::from(hit);
        self.of += 1;
    }

    fn wilson(self) -> (f64, f64) {
        let (n, z) = (f64::from(self.of.max(1)), 1.96);
        let p = f64::from(self.hits) / n;
        let (middle, wide) = (
            (p + z * z / (2.0 * n)) / (1.0 + z * z / n),
            z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / (1.0 + z * z / n),
        );
        ((middle - wide).max(0.0), (middle + wide).min(1.0))
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (low, high) = self.wilson();
        write!(
            f,
            "{:.3} ({}/{}; {low:.2}-{high:.2})",
            f64::from(self.hits) / f64::from(self.of.max(1)),
            self.hits,
            self.of
        )
    }
}

/// Everything counted of one set.
#[derive(Default)]
struct Table {
    rows: BTreeMap<(&'static str, &'static str), Share>,
    failures: Vec<String>,
    times_ms: Vec<f64>,
}

impl Table {
    fn note(&mut self, half: &'static str, what: &'static str, hit: bool) {
        self.rows.entry((what, half)).or_default().add(hit);
        self.rows.entry((what, "all")).or_default().add(hit);
    }

    fn judge(&mut self, index: usize, trial: &Trial, said: &Diagnosis) {
        let half = if index.is_multiple_of(2) { "even" } else { "odd" };
        let names: Vec<&str> = said.causes.iter().map(|cause| cause.component.as_str()).collect();
        let Some(truth) = &trial.component else {
            self.note(half, "false alarm", !names.is_empty());
            if !names.is_empty() {
                self.failures.push(format!("{}: alarm about {:?}", trial.name, &said.causes[0].claim));
            }
            return;
        };
        let place = names.iter().position(|name| name == truth);
        self.note(half, "top-1", place == Some(0));
        self.note(half, "top-3", place.is_some_and(|place| place < 3));
        self.note(half, "rule top-1", trial.rule.first() == Some(truth));
        self.note(half, "rule top-3", trial.rule.iter().take(3).any(|name| name == truth));
        if !trial.kinds.is_empty() {
            let kind = said.causes.iter().find(|cause| &cause.component == truth).map(|cause| json(&cause.kind));
            self.note(half, "kind", kind.as_ref().is_some_and(|kind| trial.kinds.contains(&kind.as_str())));
        }
        if place != Some(0) {
            let three: Vec<String> = said
                .causes
                .iter()
                .take(3)
                .map(|cause| format!("{} {} {:.2}", cause.component, json(&cause.kind), cause.score))
                .collect();
            self.failures.push(format!("{}: is {truth} {:?}, said {three:?}", trial.name, trial.kinds));
        }
    }

    fn print(&mut self, title: &str, verbose: bool) {
        println!("\n{title}");
        for ((what, half), share) in &self.rows {
            println!("  {what:16} {half:5} {share}");
        }
        self.times_ms.sort_by(f64::total_cmp);
        if let (Some(middle), Some(most)) = (self.times_ms.get(self.times_ms.len() / 2), self.times_ms.last()) {
            println!("  milliseconds a case: median {middle:.1}, most {most:.1}, n = {}", self.times_ms.len());
        }
        if verbose {
            self.failures.iter().for_each(|line| println!("  - {line}"));
        }
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default().trim_matches('"').to_owned()
}

fn run(title: &str, trials: impl Iterator<Item = Result<Trial, Fault>>, shown: &[String]) -> Result<(), Fault> {
    let mut table = Table::default();
    for (index, trial) in trials.enumerate() {
        let trial = trial?;
        let began = Instant::now();
        let said = diagnose(&trial.case, &trial.options);
        table.times_ms.push(began.elapsed().as_secs_f64() * 1_000.0);
        table.judge(index, &trial, &said);
        if shown.iter().any(|word| trial.name.contains(word.as_str())) {
            println!("{}\n{}", trial.name, serde_json::to_string_pretty(&said)?);
        }
    }
    table.print(title, true);
    Ok(())
}

fn main() -> Result<(), Fault> {
    let mut args = std::env::args().skip(1);
    let set = args.next().unwrap_or_default();
    let shown: Vec<String> = args.collect();
    let data = PathBuf::from(std::env::var("OPSWARD_SHARED")?).join("data");
    let wants = |name: &str| set.is_empty() || set == name;
    if wants("petshop") {
        petshop::all(&data.join("petshop"), &shown)?;
    }
    if wants("speed") {
        speed::all();
    }
    Ok(())
}
