//! How accurate the miner is on labelled logs, one row a system. `score SYSTEM...` also lists what it got
//! wrong there. Run it with `cargo run -p opsward-templates --example score`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};

use opsward_templates::format::Format;
use opsward_templates::{Limits, Miner};

#[path = "../tests/it/score.rs"]
#[allow(dead_code, missing_docs, unreachable_pub)]
mod score;

/// Most wrong texts listed of one template.
const SHOWN_MAX: usize = 8;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let Some(root) = score::root() else {
        println!("no labelled logs here: set OPSWARD_SHARED to the folder that has data/loghub-2k");
        return;
    };
    println!("                     --format content         folded            --format auto on the raw file");
    println!("system           GA    FGA     PA    FTA     PA    FTA     GA    FGA    FTA  messages found");
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for one in score::systems(&root) {
        let found = mine(&one.contents);
        let plain = score::score(&found, &one.truth);
        let fold = |all: &[String]| all.iter().map(|text| score::folded(text)).collect::<Vec<_>>();
        let folded = score::score(&fold(&found), &fold(&one.truth));
        let raw = raw(&one);
        let auto = score::score(&mine(&raw), &one.truth);
        let same = raw.iter().zip(&one.contents).filter(|(a, b)| a.trim() == b.trim()).count();
        let same = same as f64 / raw.len() as f64;
        let values =
            vec![plain.ga, plain.fga, plain.pa, plain.fta, folded.pa, folded.fta, auto.ga, auto.fga, auto.fta, same];
        row(&one.system, &values);
        rows.push(values);
        if wanted.contains(&one.system) {
            errors(&found, &one);
        }
    }
    let mean: Vec<f64> = (0..10).map(|i| rows.iter().map(|row| row[i]).sum::<f64>() / rows.len() as f64).collect();
    row("mean", &mean);
}

/// The messages in the raw file.
fn raw(one: &score::Labelled) -> Vec<String> {
    let text = String::from_utf8_lossy(&std::fs::read(&one.log).unwrap()).into_owned();
    let messages: Vec<String> = text.lines().map(|line| Format::Auto.message(line).into_owned()).collect();
    assert_eq!(messages.len(), one.contents.len(), "{}", one.system);
    messages
}

fn mine(lines: &[String]) -> Vec<String> {
    let mut miner = Miner::new(Limits::default());
    for line in lines {
        miner.mine(line);
    }
    let numbers: Vec<u64> = lines.iter().map(|line| miner.explain(line).template).collect();
    numbers.iter().map(|number| miner.template(*number).unwrap().text()).collect()
}

fn row(name: &str, values: &[f64]) {
    let values: Vec<String> = values.iter().map(|value| format!("{value:6.3}")).collect();
    println!("{name:12} {}", values.join(" "));
}

fn errors(found: &[String], one: &score::Labelled) {
    let mut by_truth: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut by_found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (text, truth) in found.iter().zip(&one.truth) {
        by_truth.entry(truth).or_default().insert(text);
        by_found.entry(text).or_default().insert(truth);
        *counts.entry((text, truth)).or_default() += 1;
    }
    for (truth, texts) in &by_truth {
        let split = texts.len() > 1;
        let mixed = texts.iter().any(|text| by_found[text].len() > 1);
        let kind = match (split, mixed) {
            (true, true) => "BOTH ",
            (true, false) => "SPLIT",
            (false, true) => "MIXED",
            (false, false) if !texts.contains(truth) => "text ",
            _ => continue,
        };
        println!("{kind} {truth}");
        for text in texts.iter().take(SHOWN_MAX) {
            println!("        {:5} {text}", counts[&(*text, *truth)]);
        }
        if texts.len() > SHOWN_MAX {
            println!("              and {} more", texts.len() - SHOWN_MAX);
        }
    }
}
