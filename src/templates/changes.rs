//! What a miner learned, so that another can be made that knows the same. Never holds lines.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Miner;
use crate::cluster::{Cluster, KEYS, Slot};
use crate::shape::Shape;

/// What must be kept so that a miner can be made again and stored lines be rendered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// A template is new, or became more general.
    Template {
        /// Its number.
        id: u64,
        /// Where lines look for it; absent in old records: nothing finds those any more.
        #[serde(default)]
        keys: [u64; KEYS],
        /// Its id by content.
        #[serde(default)]
        origin: u64,
        /// What stands where.
        slots: Vec<Slot>,
    },
    /// A template got its next shape.
    Shape {
        /// The template's number.
        id: u64,
        /// The shape.
        shape: Arc<Shape>,
    },
    /// A template turned out to be part of an older one, which takes its lines from now on.
    Merged {
        /// Its number.
        id: u64,
        /// The older one's.
        into: u64,
    },
    /// A template was forgotten to make room.
    Forgotten {
        /// Its number.
        id: u64,
    },
    /// Every smaller number was given once.
    Next {
        /// The next number.
        id: u64,
    },
}

impl Change {
    /// The template as it is now.
    pub(crate) fn of(id: u64, cluster: &Cluster) -> Self {
        Self::Template { id, keys: cluster.keys, origin: cluster.origin, slots: cluster.slots.clone() }
    }
}

impl Miner {
    /// Does what another miner said it did. Changes that do not fit are left out.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Next { id } => self.next = self.next.max(id),
            Change::Template { id, keys, origin, slots } => match self.position(id) {
                Ok(index) => {
                    let cluster = &mut self.clusters[index].1;
                    self.bytes -= cluster.cost().min(self.bytes);
                    cluster.slots = slots;
                    cluster.generation += 1;
                    self.bytes += cluster.cost();
                }
                Err(index) if index == self.clusters.len() && id > 0 => {
                    self.insert(id, Cluster { origin, ..Cluster::new(slots, keys) });
                }
                Err(_) => {}
            },
            Change::Shape { id, shape } => {
                if let Ok(index) = self.position(id) {
                    self.bytes += shape.cost();
                    self.clusters[index].1.shapes.push(shape);
                }
            }
            Change::Merged { id, into } => {
                if let (Ok(from), Ok(to)) = (self.position(id), self.position(into))
                    && to < from
                {
                    self.merge(from as u32, to as u32);
                }
            }
            Change::Forgotten { id } => self.retain(|number| number != id),
        }
    }

    /// Everything that [`Miner::apply`] needs to make an equal miner.
    pub fn all(&self) -> impl Iterator<Item = Change> + '_ {
        let of = |(id, cluster): &(u64, Cluster)| {
            let shape = |shape: &Arc<Shape>| Change::Shape { id: *id, shape: shape.clone() };
            let shapes: Vec<Change> = cluster.shapes.iter().skip(1).map(shape).collect();
            let merged = cluster.merged.map(|into| Change::Merged { id: *id, into });
            std::iter::once(Change::of(*id, cluster)).chain(shapes).chain(merged)
        };
        self.clusters.iter().flat_map(of).chain(std::iter::once(Change::Next { id: self.next }))
    }
}
