//! Streaming log template mining. Pure: no clock, no files, no threads. Never loses a byte of a line.
//!
//! A Drain variant (He et al., "Drain: An Online Log Parsing Approach with Fixed Depth Tree", ICWS 2017):
//! one pass, no model, no training, and the first words of a line decide what it is compared with. Drain
//! because it is the most accurate of the parsers that work on line (Zhu et al., ICSE-SEIP 2019; Jiang et
//! al., ISSTA 2024), and the better ones ask a language model. It is changed in five ways:
//! 1. *Values are typed by form* ([`scan`], [`value`]), one set of rules for every log. A value (number,
//!    quantity, identity, address, time, path, quoted field, list of them) never decides which template a
//!    line has; a *doubtful* word (host, class, name with a digit) decides nothing either, but stays part
//!    of the text until it differs. Only plain words vote.
//! 2. *A plain word becomes a parameter by evidence*, not by a share of equal words: lines that are equal
//!    but for the same position are one template when they had enough different words there ([`join`]),
//!    the fewer the longer the rest. Drain's usual error is to merge what differs in one telling word
//!    ("opened", "closed"); that takes two. Templates found to be one are merged, and it is said which.
//! 3. *No tree.* A line whose words other than values were seen before is found by one hash (checked
//!    byte by byte); only new combinations are compared, found by pairs of plain words of which any one may
//!    differ, the first included.
//! 4. *Shapes*: the exact text around the parameters, blanks and punctuation included. A line is its
//!    template, shape and parameters, and `render` gives it back byte for byte. A template that becomes
//!    more general gets new shapes; stored lines keep the one they were cut with.
//! 5. *Memory is bounded*: by templates and bytes (beyond, lines become the one parameter of the template
//!    `<*>`, or the least recently used are forgotten), by templates compared for a line, by words and
//!    bytes of a line that are looked at, and by the size of the fast way's memory.
//!
//! Numbers count from 1 in a miner, are never reused, and stay while a template becomes more general; a
//! merged one leads to the one that took its place. [`Miner::id`] is the name by content: the hash of the
//! template's first text, so the same first line has the same id in every process and every tenant.

mod changes;
pub mod cluster;
mod explain;
pub mod format;
mod join;
pub mod scan;
pub mod shape;
mod value;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub use changes::Change;
use cluster::{Cluster, KEYS, keys_of_line};
pub use explain::{Explained, MARK};
use scan::{Look, Scan};

/// Lines remembered for the fast way, by generation.
const REMEMBERED_MAX: usize = 16_384;
/// Share of the templates, as a divisor, that are forgotten at once.
const FORGET_SHARE: usize = 4;

/// What happens when there is no room for another template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Lines become the one parameter of the template `<*>`, so what was stored stays readable.
    #[default]
    Lump,
    /// The templates that had no line for longest are forgotten, and it is said which.
    Forget,
}

/// Bounds of what a miner remembers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most templates.
    pub templates_max: usize,
    /// Most bytes of all templates together, about.
    pub bytes_max: usize,
    /// What happens beyond.
    pub when_full: WhenFull,
}

impl Default for Limits {
    fn default() -> Self {
        Self { templates_max: 10_000, bytes_max: 8 << 20, when_full: WhenFull::Lump }
    }
}

/// Which template and shape a line has; its parameters are in [`Miner::spans`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mined {
    /// The template's number.
    pub template: u64,
    /// The shape's number inside the template.
    pub shape: u8,
}

/// Keys of the maps here are hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = scan::mix_bytes(self.0, bytes);
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type ByHash<T> = HashMap<u64, T, BuildHasherDefault<AsIs>>;

/// Where a line with the same words was found.
#[derive(Debug, Clone, Copy)]
struct Seen {
    index: u32,
    generation: u32,
    shape: u8,
}

/// Mines the lines of one tenant.
#[derive(Default)]
pub struct Miner {
    limits: Limits,
    next: u64,
    /// Lines mined so far.
    lines: u64,
    /// By rising number.
    clusters: Vec<(u64, Cluster)>,
    merged: usize,
    bytes: usize,
    by_key: ByHash<Vec<u32>>,
    seen: ByHash<Seen>,
    seen_before: ByHash<Seen>,
    /// Where lines were found that were explained.
    explained: ByHash<u32>,
    scan: Scan,
    spans: Vec<(u32, u32)>,
    changes: Vec<Change>,
}

impl Miner {
    /// A miner that knows nothing.
    pub fn new(limits: Limits) -> Self {
        Self { limits, next: 1, ..Self::default() }
    }

    /// Finds or makes the template of `line`.
    pub fn mine(&mut self, line: &str) -> Mined {
        self.lines += 1;
        self.scan.scan(line);
        if let Some(mined) = self.recall(line) {
            return mined;
        }
        let index = match self.decide(line) {
            Some(index) => index,
            None => match self.add(line) {
                Some(index) => index,
                None => return self.lump(line),
            },
        };
        let (number, cluster) = &mut self.clusters[index as usize];
        let cost = cluster.cost();
        cluster.used = self.lines;
        if cluster.generalise(line, &self.scan.words) {
            self.changes.push(Change::of(*number, cluster));
        }
        let (shape, made) = cluster.shape(line, &self.scan.words, &mut self.spans);
        if made {
            let shape = cluster.shapes[usize::from(shape)].clone();
            self.changes.push(Change::Shape { id: *number, shape });
        }
        self.bytes = self.bytes + cluster.cost() - cost;
        let (template, generation) = (*number, cluster.generation);
        self.remember(self.scan.hash, Seen { index, generation, shape });
        Mined { template, shape }
    }

    /// The template and shape of a line whose words other than values were seen before.
    #[inline]
    fn recall(&mut self, line: &str) -> Option<Mined> {
        let hash = self.scan.hash;
        let recent = self.seen.get(&hash).copied();
        let seen = recent.or_else(|| self.seen_before.get(&hash).copied())?;
        let (number, cluster) = self.clusters.get_mut(seen.index as usize)?;
        if cluster.generation != seen.generation {
            return None;
        }
        let shape = cluster.shapes.get(usize::from(seen.shape))?;
        if !shape.extract(line, &self.scan.words, &mut self.spans) {
            return None;
        }
        cluster.used = self.lines;
        let mined = Mined { template: *number, shape: seen.shape };
        if recent.is_none() {
            self.remember(hash, seen);
        }
        Some(mined)
    }

    /// Spans of the parameters of the line mined last, in bytes.
    pub fn spans(&self) -> &[(u32, u32)] {
        &self.spans
    }

    /// What changed since the last call, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The number that `number` leads to now: itself, or the template it was merged into.
    pub fn resolve(&self, number: u64) -> u64 {
        let mut now = number;
        // A template is only merged into an older one, so this ends.
        while let Some(older) = self.template(now).and_then(|cluster| cluster.merged).filter(|older| *older < now) {
            now = older;
        }
        now
    }

    /// The id by content of the template with this number, after merges.
    pub fn id(&self, number: u64) -> Option<u64> {
        self.template(self.resolve(number)).map(|cluster| cluster.origin)
    }

    /// The template with this number, merged or not.
    pub fn template(&self, number: u64) -> Option<&Cluster> {
        self.position(number).ok().map(|index| &self.clusters[index].1)
    }

    /// Every template by rising number, merged ones included.
    pub fn templates(&self) -> impl Iterator<Item = (u64, &Cluster)> {
        self.clusters.iter().map(|(number, cluster)| (*number, cluster))
    }

    /// True if more than half of the room for templates is taken.
    pub fn is_crowded(&self) -> bool {
        self.clusters.len() > self.limits.templates_max / 2 || self.bytes > self.limits.bytes_max / 2
    }

    /// Forgets templates that `keep` does not want. Their numbers stay taken.
    pub fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        let clusters = std::mem::take(&mut self.clusters);
        self.by_key.clear();
        self.seen.clear();
        self.seen_before.clear();
        self.explained.clear();
        (self.bytes, self.merged) = (0, 0);
        // What a merged template leads to is needed as long as it is.
        let mut wanted: std::collections::HashSet<u64> = std::collections::HashSet::new();
        for (number, cluster) in clusters.iter().rev() {
            if wanted.contains(number) || keep(*number) {
                wanted.insert(*number);
                wanted.extend(cluster.merged);
            }
        }
        for (number, cluster) in clusters.into_iter().filter(|(number, _)| wanted.contains(number)) {
            self.insert(number, cluster);
        }
    }

    fn position(&self, number: u64) -> Result<usize, usize> {
        self.clusters.binary_search_by_key(&number, |(number, _)| *number)
    }

    fn remember(&mut self, hash: u64, seen: Seen) {
        if self.seen.len() >= REMEMBERED_MAX {
            self.seen_before = std::mem::take(&mut self.seen);
        }
        self.seen.insert(hash, seen);
    }

    /// Makes a template of the line, if there is room.
    fn add(&mut self, line: &str) -> Option<u32> {
        if self.clusters.len() >= self.limits.templates_max || self.bytes >= self.limits.bytes_max {
            if self.limits.when_full == WhenFull::Lump {
                return None;
            }
            self.forget();
        }
        Some(self.add_cluster(Cluster::of(line, &self.scan.words)))
    }

    /// Forgets the templates that had no line for longest.
    fn forget(&mut self) {
        let mut used: Vec<u64> = self.clusters.iter().map(|(_, cluster)| cluster.used).collect();
        let share = used.len() / FORGET_SHARE;
        let (_, limit, _) = used.select_nth_unstable(share);
        let limit = *limit;
        let gone: Vec<u64> =
            self.clusters.iter().filter(|(_, cluster)| cluster.used <= limit).map(|(number, _)| *number).collect();
        self.changes.extend(gone.iter().map(|number| Change::Forgotten { id: *number }));
        self.retain(|number| gone.binary_search(&number).is_err());
    }

    fn add_cluster(&mut self, cluster: Cluster) -> u32 {
        let number = self.next;
        self.next += 1;
        self.changes.push(Change::of(number, &cluster));
        self.insert(number, cluster)
    }

    fn insert(&mut self, number: u64, cluster: Cluster) -> u32 {
        let index = self.clusters.len() as u32;
        self.bytes += cluster.cost();
        if cluster.merged.is_none() {
            for key in cluster.keys {
                let list = self.by_key.entry(key).or_default();
                if list.last() != Some(&index) {
                    list.push(index);
                }
            }
        } else {
            self.merged += 1;
        }
        self.clusters.push((number, cluster));
        self.next = self.next.max(number + 1);
        index
    }

    /// The template that is one parameter and nothing else, if there is one.
    fn position_of_lump(&self, keys: &[u64; KEYS]) -> Option<u32> {
        let rivals = self.by_key.get(&keys[0])?;
        rivals.iter().find(|index| self.clusters[**index as usize].1.is_lump()).copied()
    }

    /// The number of the template `<*>`, which takes what there is no room for.
    fn lumped(&self) -> Option<u64> {
        let keys = keys_of_line("", &[scan::Word::new(0, 0, Look::Value)]);
        self.position_of_lump(&keys).map(|index| self.clusters[index as usize].0)
    }

    /// There is no room: the line becomes the parameter of the template `<*>`.
    fn lump(&mut self, line: &str) -> Mined {
        self.scan.words.clear();
        self.scan.words.push(scan::Word::new(0, line.len(), Look::Value));
        let keys = keys_of_line(line, &self.scan.words);
        let known = self.position_of_lump(&keys);
        let index = known.unwrap_or_else(|| self.add_cluster(Cluster::of(line, &self.scan.words)));
        let (number, cluster) = &mut self.clusters[index as usize];
        cluster.used = self.lines;
        cluster.shapes[0].extract(line, &self.scan.words, &mut self.spans);
        Mined { template: *number, shape: 0 }
    }
}

#[cfg(test)]
mod tests;
