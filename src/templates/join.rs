//! Which template a line with new words belongs to, and when several templates are one.

use crate::Miner;
use crate::changes::Change;
use crate::cluster::{Fit, keys_of_line};

/// Most templates compared for one line by each key, the newest first.
const RIVALS_MAX: usize = 128;
/// Equal plain words from which a value may stand where a plain word stood.
const MIXED_WORDS_MIN: u32 = 2;
/// Equal plain words for every one that differs.
const WORDS_PER_MISS: u32 = 3;
/// The same where all that differs is states and values of fields.
const WORDS_PER_TELLING: u32 = 2;

/// Different words at a position, or combinations of them, from which it is a parameter: the fewer the
/// more words are equal.
fn enough(fit: &Fit) -> usize {
    match fit.agreed {
        0 => usize::MAX,
        1 => 12,
        2 => 8,
        3.. if are_telling(fit) => 3,
        3 => 6,
        4..=5 => 5,
        _ => 4,
    }
}

/// True if all that differs are words in capitals, as states are written.
fn are_telling(fit: &Fit) -> bool {
    fit.telling == fit.misses && fit.misses * WORDS_PER_TELLING <= fit.agreed
}

impl Miner {
    /// The template that the line belongs to, if there is one. May merge templates to find it.
    pub(crate) fn decide(&mut self, line: &str) -> Option<u32> {
        let (best, near) = self.compared(line);
        best.or_else(|| self.gather(&near))
    }

    /// The best template that the line fits, and those that it nearly fits if there is none.
    pub(crate) fn compared(&self, line: &str) -> (Option<u32>, Vec<(Fit, u32)>) {
        let words = &self.scan.words;
        let mut rivals: Vec<u32> = Vec::new();
        for key in keys_of_line(line, words) {
            rivals.extend(self.by_key.get(&key).into_iter().flat_map(|all| all.iter().rev().take(RIVALS_MAX)));
        }
        rivals.sort_unstable();
        rivals.dedup();
        let mut best: Option<((u32, u32, u32), u32)> = None;
        let mut near: Vec<(Fit, u32)> = Vec::new();
        for index in rivals {
            let Some(fit) = self.clusters[index as usize].1.compare(line, words) else { continue };
            if joins(&fit) {
                let rank = (u32::MAX - fit.misses, fit.agreed * 2 + fit.likely, u32::MAX - fit.doubts);
                if best.as_ref().is_none_or(|(other, _)| rank > *other) {
                    best = Some((rank, index));
                }
            } else if fit.misses > 0
                && (fit.misses == 1 || fit.misses * WORDS_PER_MISS <= fit.agreed || are_telling(&fit))
            {
                near.push((fit, index));
            }
        }
        (best.map(|(_, index)| index), near)
    }

    /// Merges templates that differ from the line at the same positions, if they are enough.
    fn gather(&mut self, near: &[(Fit, u32)]) -> Option<u32> {
        let inside = |a: &Fit, b: &Fit| a.mask.iter().zip(&b.mask).all(|(a, b)| a & !b == 0);
        let counted = near.iter().map(|(fit, _)| {
            let count = near.iter().filter(|(other, _)| inside(other, fit)).count() + 1;
            (fit, count)
        });
        let (widest, _) = counted.filter(|(fit, count)| *count >= enough(fit)).min_by_key(|(fit, _)| fit.misses)?;
        let group: Vec<u32> = near.iter().filter(|(fit, _)| inside(fit, widest)).map(|(_, index)| *index).collect();
        let (into, others) = group.split_first()?;
        for from in others {
            self.merge(*from, *into);
            let (id, into) = (self.clusters[*from as usize].0, self.clusters[*into as usize].0);
            self.changes.push(Change::Merged { id, into });
        }
        Some(*into)
    }

    /// Lets the template at `from` be part of the one at `into`.
    pub(crate) fn merge(&mut self, from: u32, into: u32) {
        let number = self.clusters[into as usize].0;
        let (keys, slots) = {
            let cluster = &mut self.clusters[from as usize].1;
            cluster.merged = Some(number);
            cluster.generation += 1;
            (cluster.keys, cluster.slots.clone())
        };
        self.merged += 1;
        for key in keys {
            if let Some(list) = self.by_key.get_mut(&key) {
                list.retain(|index| *index != from);
                if !list.contains(&into) {
                    list.push(into);
                    list.sort_unstable();
                }
            }
        }
        self.clusters[into as usize].1.absorb(&slots);
    }
}

/// True if the line is of the template without further evidence.
fn joins(fit: &Fit) -> bool {
    match fit.misses {
        0 => fit.agreed > 0 || fit.doubts == 0 || fit.likely > 0,
        1 => fit.mixed == 1 && fit.agreed >= MIXED_WORDS_MIN,
        _ => false,
    }
}
