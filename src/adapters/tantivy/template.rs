//! Streaming template mining. Pure: no clock, no files, no threads. Never loses a byte of a line.
//!
//! A Drain variant, changed in four ways:
//! 1. Words are split at punctuation as well as at blanks, and each is looked at once: a *value*
//!    (number, unit, address, identity, path, quoted field) never decides which template a line has; a
//!    *doubtful* word (host, class, name with a digit) decides nothing either, but stays part of the text
//!    until it differs. Only plain words vote, with a high threshold. So few plain words are mistaken
//!    for parameters, which is Drain's usual error, and values need no rules of one log's format.
//! 2. Instead of walking a tree, a line whose words other than values were seen before is found by one
//!    hash ([`Miner::mine`]'s fast way, checked byte by byte); only new combinations are compared.
//! 3. A template keeps *shapes*: the exact text around its parameters, blanks and punctuation included.
//!    A line is its template, shape and parameters, and `render` gives it back byte for byte. When a
//!    template becomes more general it gets a new shape; stored lines keep the one they were cut with.
//! 4. Memory is bounded: by templates and bytes (beyond, lines become the one parameter of the template
//!    `<*>`), by templates compared per key (beyond, the nearest absorbs the line), and by the size of
//!    the fast way's memory (two generations, the older is forgotten).
//!
//! Ids count from 1, are never reused, and stay the same while a template becomes more general.

pub mod cluster;
pub mod scan;
pub mod shape;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use cluster::{Cluster, Slot};
use scan::{Look, Scan};
use shape::Shape;

/// Share of the deciding words that must agree for a line to join a template.
const SIMILAR_MIN: f64 = 0.8;
/// Most templates compared for one line.
const RIVALS_MAX: usize = 128;
/// Lines remembered for the fast way, by generation.
const REMEMBERED_MAX: usize = 16_384;

/// Bounds of what a miner remembers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most templates.
    pub templates_max: usize,
    /// Most bytes of all templates together, about.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { templates_max: 10_000, bytes_max: 8 << 20 }
    }
}

/// Which template and shape a line has; its parameters are in [`Miner::spans`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mined {
    /// The template's id.
    pub template: u64,
    /// The shape's number inside the template.
    pub shape: u8,
}

/// What must be kept so that a miner can be made again and stored lines be rendered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// A template is new, or became more general.
    Template {
        /// Its id.
        id: u64,
        /// Where lines look for it.
        key: u64,
        /// What stands where.
        slots: Vec<Slot>,
    },
    /// A template got its next shape.
    Shape {
        /// The template's id.
        id: u64,
        /// The shape.
        shape: Arc<Shape>,
    },
    /// Every smaller id was given once.
    Next {
        /// The next id.
        id: u64,
    },
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
    next_id: u64,
    /// By rising id.
    clusters: Vec<(u64, Cluster)>,
    bytes: usize,
    by_key: ByHash<Vec<u32>>,
    seen: ByHash<Seen>,
    seen_before: ByHash<Seen>,
    scan: Scan,
    spans: Vec<(u32, u32)>,
    changes: Vec<Change>,
}

impl Miner {
    /// A miner that knows nothing.
    pub fn new(limits: Limits) -> Self {
        Self { limits, next_id: 1, ..Self::default() }
    }

    /// Finds or makes the template of `line`.
    pub fn mine(&mut self, line: &str) -> Mined {
        self.scan.scan(line);
        let hash = self.scan.hash;
        let recent = self.seen.get(&hash).copied();
        if let Some(seen) = recent.or_else(|| self.seen_before.get(&hash).copied())
            && let Some((id, cluster)) = self.clusters.get(seen.index as usize)
            && cluster.generation == seen.generation
            && let Some(shape) = cluster.shapes.get(usize::from(seen.shape))
            && shape.extract(line, &self.scan.words, &mut self.spans)
        {
            let mined = Mined { template: *id, shape: seen.shape };
            if recent.is_none() {
                self.remember(hash, seen);
            }
            return mined;
        }
        let index = self.nearest(line).or_else(|| self.add(line));
        let Some(index) = index else { return self.overflow(line) };
        let (id, cluster) = &mut self.clusters[index as usize];
        let cost = cluster.cost();
        if cluster.generalise(line, &self.scan.words) {
            self.changes.push(Change::Template { id: *id, key: cluster.key, slots: cluster.slots.clone() });
        }
        let (shape, made) = cluster.shape(line, &self.scan.words, &mut self.spans);
        if made {
            let shape = Arc::clone(&cluster.shapes[usize::from(shape)]);
            self.changes.push(Change::Shape { id: *id, shape });
        }
        self.bytes = self.bytes + cluster.cost() - cost;
        let (template, generation) = (*id, cluster.generation);
        self.remember(hash, Seen { index, generation, shape });
        Mined { template, shape }
    }

    /// Spans of the parameters of the line mined last, in bytes.
    pub fn spans(&self) -> &[(u32, u32)] {
        &self.spans
    }

    /// What changed since the last call, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Does what another miner said it did. Changes that do not fit are left out.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Next { id } => self.next_id = self.next_id.max(id),
            Change::Template { id, key, slots } => match self.position(id) {
                Ok(index) => {
                    let cluster = &mut self.clusters[index].1;
                    cluster.slots = slots;
                    cluster.generation += 1;
                }
                Err(index) if index == self.clusters.len() && id > 0 => {
                    self.insert(id, Cluster { slots, shapes: vec![Arc::new(Shape::whole())], generation: 0, key });
                }
                Err(_) => {}
            },
            Change::Shape { id, shape } => {
                if let Ok(index) = self.position(id) {
                    self.bytes += shape.cost();
                    self.clusters[index].1.shapes.push(shape);
                }
            }
        }
    }

    /// Everything that [`Miner::apply`] needs to make an equal miner.
    pub fn all(&self) -> impl Iterator<Item = Change> + '_ {
        let of = |(id, cluster): &(u64, Cluster)| {
            let (id, key, slots) = (*id, cluster.key, cluster.slots.clone());
            let shapes: Vec<Change> =
                cluster.shapes.iter().skip(1).map(|shape| Change::Shape { id, shape: shape.clone() }).collect();
            std::iter::once(Change::Template { id, key, slots }).chain(shapes)
        };
        self.clusters.iter().flat_map(of).chain(std::iter::once(Change::Next { id: self.next_id }))
    }

    /// Forgets templates that `keep` does not want. Their ids stay taken.
    pub fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        let clusters = std::mem::take(&mut self.clusters);
        self.by_key.clear();
        self.seen.clear();
        self.seen_before.clear();
        self.bytes = 0;
        for (id, cluster) in clusters.into_iter().filter(|(id, _)| keep(*id)) {
            self.insert(id, cluster);
        }
    }

    /// The template with this id.
    pub fn template(&self, id: u64) -> Option<&Cluster> {
        self.position(id).ok().map(|index| &self.clusters[index].1)
    }

    /// Every template by rising id.
    pub fn templates(&self) -> impl Iterator<Item = (u64, &Cluster)> {
        self.clusters.iter().map(|(id, cluster)| (*id, cluster))
    }

    /// True if more than half of the room for templates is taken.
    pub fn is_crowded(&self) -> bool {
        self.clusters.len() > self.limits.templates_max / 2 || self.bytes > self.limits.bytes_max / 2
    }

    fn position(&self, id: u64) -> Result<usize, usize> {
        self.clusters.binary_search_by_key(&id, |(id, _)| *id)
    }

    fn remember(&mut self, hash: u64, seen: Seen) {
        if self.seen.len() >= REMEMBERED_MAX {
            self.seen_before = std::mem::take(&mut self.seen);
        }
        self.seen.insert(hash, seen);
    }

    /// The template that the line belongs to, if there is one.
    fn nearest(&self, line: &str) -> Option<u32> {
        let words = &self.scan.words;
        let rivals = self.by_key.get(&cluster::key_of_line(line, words))?;
        let similarity = |index: &u32| self.clusters[*index as usize].1.similarity(line, words);
        let (best, nearest) =
            rivals.iter().rev().map(|index| (similarity(index), *index)).max_by(|a, b| a.0.total_cmp(&b.0))?;
        (best >= SIMILAR_MIN || rivals.len() >= RIVALS_MAX).then_some(nearest)
    }

    /// Makes a template of the line, if there is room.
    fn add(&mut self, line: &str) -> Option<u32> {
        if self.clusters.len() >= self.limits.templates_max || self.bytes >= self.limits.bytes_max {
            return None;
        }
        Some(self.add_cluster(Cluster::of(line, &self.scan.words)))
    }

    fn add_cluster(&mut self, cluster: Cluster) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        self.changes.push(Change::Template { id, key: cluster.key, slots: cluster.slots.clone() });
        self.insert(id, cluster)
    }

    fn insert(&mut self, id: u64, cluster: Cluster) -> u32 {
        let index = self.clusters.len() as u32;
        self.bytes += cluster.cost();
        self.by_key.entry(cluster.key).or_default().push(index);
        self.clusters.push((id, cluster));
        self.next_id = self.next_id.max(id + 1);
        index
    }

    /// There is no room: the line becomes the parameter of the template `<*>`.
    fn overflow(&mut self, line: &str) -> Mined {
        self.scan.words.clear();
        self.scan.words.push(scan::Word { start: 0, end: line.len() as u32, look: Look::Value });
        let index = self.nearest(line).unwrap_or_else(|| self.add_cluster(Cluster::of(line, &self.scan.words)));
        let (id, cluster) = &self.clusters[index as usize];
        cluster.shapes[0].extract(line, &self.scan.words, &mut self.spans);
        Mined { template: *id, shape: 0 }
    }
}

#[cfg(test)]
mod tests;
