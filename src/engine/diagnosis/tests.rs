//! Whole incidents on a generated workspace: every family, its healthy twins, decoys, many seeds.
//! The generator shares no code with the diagnosis.

mod faults;
mod world;

use std::collections::BTreeMap;

use opsward_domain::cause::{Diagnosis, Verdict};

use super::diagnose;
use faults::{FAMILIES, Family, Truth, twin};
use world::World;

const SEEDS: u64 = 30;

fn incident(family: &Family, seed: u64) -> (Truth, super::Picture) {
    let mut world = World::new(seed * 131 + family.0.len() as u64 * 7);
    let truth = family.1(&mut world);
    (truth, world.picture())
}

fn right(truth: &Truth, found: &Diagnosis) -> bool {
    let Some(best) = found.hypotheses.first() else { return false };
    let remedy = best.remedies.first().map_or("", |action| action.kind().facts().name);
    truth.kinds.contains(&best.kind) && best.workload == truth.workload && remedy == truth.remedy
}

fn summary(found: &Diagnosis) -> String {
    let one = |h: &opsward_domain::cause::Hypothesis| {
        let remedy = h.remedies.first().map_or("none", |a| a.kind().facts().name);
        format!("{:?}@{:?}={:.2}[{remedy}]", h.kind, h.workload, h.confidence)
    };
    format!("{:?} {}", found.verdict, found.hypotheses.iter().map(one).collect::<Vec<_>>().join(" "))
}

#[test]
fn every_family_is_explained() {
    let (mut all, mut good) = (0u32, 0u32);
    let mut bins: BTreeMap<u32, (f64, f64, f64)> = BTreeMap::new();
    let mut weak = Vec::new();
    for family in &FAMILIES {
        let mut hits = 0u32;
        for seed in 0..SEEDS {
            let (truth, picture) = incident(family, seed);
            let found = diagnose(&picture);
            let ok = right(&truth, &found);
            if !ok {
                println!("{} seed {seed}: want {truth:?}\n    got {}", family.0, summary(&found));
            }
            hits += u32::from(ok);
            if let Some(best) = found.hypotheses.first() {
                let bin = bins.entry((best.confidence * 5.0).min(4.0) as u32).or_default();
                *bin = (bin.0 + 1.0, bin.1 + best.confidence, bin.2 + f64::from(u8::from(ok)));
            }
        }
        println!("{:40} {hits}/{SEEDS}", family.0);
        if hits * 10 < SEEDS as u32 * 7 {
            weak.push(family.0);
        }
        all += SEEDS as u32;
        good += hits;
    }
    println!("all {good}/{all}; calibration {bins:?}");
    assert!(weak.is_empty(), "under 70 %: {weak:?}");
    assert!(good * 10 >= all * 9, "{good} of {all}");
    let (n, belief, truth) =
        bins.values().fold((0.0, 0.0, 0.0), |sum, bin| (sum.0 + bin.0, sum.1 + bin.1, sum.2 + bin.2));
    assert!((belief / n - truth / n).abs() < 0.08, "mean belief {} but {} are right", belief / n, truth / n);
}

#[test]
fn healthy_twins_raise_nothing() {
    for seed in 0..180 {
        let mut world = World::new(7_000 + seed);
        twin(&mut world, seed);
        let found = diagnose(&world.picture());
        assert_eq!(found.verdict, Verdict::Healthy, "twin {} seed {seed}: {}", seed % 9, summary(&found));
    }
}
