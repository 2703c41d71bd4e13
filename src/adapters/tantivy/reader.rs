//! Answers over everything a tenant has at one moment: partitions and the lines in memory, as one
//! sequence in order of arrival. Holds no lock, so ingest goes on meanwhile.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use opsward_domain::fault::Fault;
use opsward_domain::name::{Workload, Workspace};
use opsward_domain::telemetry::{LogHit, LogLine, TemplateCount};
use opsward_domain::time::AtMs;
use opsward_ports::logs::GroupField;
use opsward_ports::logs::level::word;

use crate::memtable::{Memtable, params};
use crate::partition::{Found, Order, Partition};
use crate::plan::{Counts, Plan, level};
use crate::wire::damaged;

/// Where lines are.
#[derive(Clone)]
pub(crate) enum Source {
    /// On disk.
    Partition(Arc<Partition>),
    /// In memory.
    Table(Arc<Memtable>),
}

/// Address of a line: time, source, number in the source. Ordered as answers are.
type Address = (AtMs, u32, u32);

/// A question and what it is asked of.
pub(crate) struct Reader {
    pub(crate) plan: Plan,
    /// In order of arrival.
    pub(crate) sources: Vec<Source>,
}

/// A template's occurrences in one place.
struct Occurrences {
    count: u64,
    level: u8,
    first_ms: AtMs,
    newest: (Address, Found),
}

impl Reader {
    /// The newest `limit` lines, oldest of them first.
    pub(crate) fn newest(&self, limit: usize) -> Result<Vec<LogHit>, Fault> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut kept: BinaryHeap<Reverse<(Address, Entry)>> = BinaryHeap::new();
        let mut order: Vec<usize> = (0..self.sources.len()).collect();
        order.sort_by_key(|index| Reverse(self.newest_ms(*index)));
        for index in order {
            let full_above = |kept: &BinaryHeap<Reverse<(Address, Entry)>>, newest_ms: AtMs| {
                kept.len() >= limit && kept.peek().is_some_and(|Reverse(((at_ms, ..), _))| *at_ms > newest_ms)
            };
            if full_above(&kept, self.newest_ms(index)) {
                break;
            }
            let kept = std::cell::RefCell::new(&mut kept);
            let stop = |newest_ms: AtMs| {
                if full_above(&kept.borrow(), newest_ms) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            self.scan(index, Order::NewestFirst, stop, |number, found| {
                let mut kept = kept.borrow_mut();
                let address = (found.at_ms, index as u32, number);
                if kept.len() < limit {
                    kept.push(Reverse((address, Entry(found))));
                } else if kept.peek().is_some_and(|Reverse((least, _))| address > *least) {
                    kept.pop();
                    kept.push(Reverse((address, Entry(found))));
                }
            })?;
        }
        let found = kept.into_sorted_vec();
        found.into_iter().rev().map(|Reverse((address, Entry(found)))| self.hit(address, found)).collect()
    }

    /// Counts by bucket of the window.
    pub(crate) fn histogram(&self, from_ms: AtMs, bucket_ms: i64, counts: &mut [(AtMs, u64)]) -> Result<(), Fault> {
        self.each(|_, found| {
            let bucket = found.at_ms.saturating_sub(from_ms) / bucket_ms;
            if let Some((_, count)) = usize::try_from(bucket).ok().and_then(|bucket| counts.get_mut(bucket)) {
                *count += 1;
            }
        })
    }

    /// Counts by a field.
    pub(crate) fn group(&self, by: GroupField) -> Result<Vec<(String, u64)>, Fault> {
        let mut counts: Counts<u64> = HashMap::new();
        self.each(|_, found| {
            let key = match by {
                GroupField::Workload => u64::from(found.place),
                GroupField::Level => u64::from(found.level),
                GroupField::Template => self.plan.names.template_of(found.variant),
            };
            *counts.entry(key).or_default() += 1;
        })?;
        let value = |key: u64| match by {
            GroupField::Workload => self.place(key as u32).map_or_else(String::new, |(_, name)| name.to_string()),
            GroupField::Level => level(key as u8).map_or("unknown", word).to_owned(),
            GroupField::Template => key.to_string(),
        };
        let mut groups: Vec<(String, u64)> = counts.into_iter().map(|(key, count)| (value(key), count)).collect();
        groups.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Ok(groups)
    }

    /// Templates by workload, most first.
    pub(crate) fn templates(&self, limit: usize) -> Result<Vec<TemplateCount>, Fault> {
        let mut seen: HashMap<(u64, u32), Occurrences> = HashMap::new();
        self.each(|address, found| {
            let newest = (address, found);
            let entry = seen.entry((self.plan.names.template_of(found.variant), found.place)).or_insert(Occurrences {
                count: 0,
                level: 0,
                first_ms: found.at_ms,
                newest,
            });
            entry.count += 1;
            entry.level = entry.level.max(found.level);
            entry.first_ms = entry.first_ms.min(found.at_ms);
            if address > entry.newest.0 {
                entry.newest = newest;
            }
        })?;
        let name = |place: u32| self.place(place).map(|(_, workload)| workload);
        let mut seen: Vec<_> = seen.into_iter().collect();
        seen.sort_by(|((a, at), x), ((b, bt), y)| {
            y.count.cmp(&x.count).then(a.cmp(b)).then_with(|| name(*at).cmp(&name(*bt)))
        });
        seen.truncate(limit);
        let entry = |((template, _), found): ((u64, u32), Occurrences)| {
            let hit = self.hit(found.newest.0, found.newest.1)?;
            Ok(TemplateCount {
                template,
                text: self.plan.names.text(template),
                workload: hit.line.workload,
                level: level(found.level),
                count: found.count,
                first_ms: found.first_ms,
                last_ms: found.newest.0.0,
                sample: hit.line.text,
            })
        };
        seen.into_iter().map(entry).collect()
    }

    /// Calls `visit` for every match.
    fn each(&self, mut visit: impl FnMut(Address, Found)) -> Result<(), Fault> {
        for index in 0..self.sources.len() {
            let go_on = |_| ControlFlow::Continue(());
            self.scan(index, Order::Any, go_on, |number, found| visit((found.at_ms, index as u32, number), found))?;
        }
        Ok(())
    }

    fn scan(
        &self,
        index: usize,
        order: Order,
        before_block: impl FnMut(AtMs) -> ControlFlow<()>,
        mut visit: impl FnMut(u32, Found),
    ) -> Result<(), Fault> {
        match &self.sources[index] {
            Source::Partition(part) => {
                if part.meets(&self.plan.window) {
                    let scanned = part.opened()?.scan(&self.plan, order, before_block, visit);
                    scanned.map_err(|error| damaged(Path::new("partition"), &error.to_string()))?;
                }
            }
            Source::Table(table) => {
                for (number, row) in (0..).zip(table.rows()) {
                    if self.plan.window.contains(row.at_ms)
                        && self.plan.admits(row.place, row.level, row.variant)
                        && self.plan.has_text(row.variant, table.params(row))
                    {
                        let (at_ms, variant, place, level) = (row.at_ms, row.variant, row.place, row.level);
                        visit(number, Found { at_ms, variant, place, level });
                    }
                }
            }
        }
        Ok(())
    }

    fn newest_ms(&self, index: usize) -> AtMs {
        match &self.sources[index] {
            Source::Partition(part) => part.summary.newest_ms,
            Source::Table(_) => AtMs::MAX,
        }
    }

    fn place(&self, number: u32) -> Option<&(Workspace, Workload)> {
        self.plan.names.places.get(number as usize)
    }

    /// The line at an address.
    fn hit(&self, (at_ms, source, number): Address, found: Found) -> Result<LogHit, Fault> {
        let (replica, encoded) = match &self.sources[source as usize] {
            Source::Partition(part) => {
                part.opened()?.rest(number).map_err(|error| damaged(Path::new("partition"), &error.to_string()))?
            }
            Source::Table(table) => {
                let row = &table.rows()[number as usize];
                (row.replica, table.params(row).to_vec())
            }
        };
        let missing = || damaged(Path::new("catalog"), "a template or workload that a line has is missing");
        let (workspace, workload) = self.place(found.place).cloned().ok_or_else(missing)?;
        let text = self.plan.text(found.variant, &encoded).ok_or_else(missing)?;
        let line = LogLine { workspace, workload, replica, at_ms, level: level(found.level), text };
        let params = params(&encoded).map(str::to_owned).collect();
        Ok(LogHit { line, template: self.plan.names.template_of(found.variant), params })
    }
}

/// Rides along in the heap without taking part in its order.
struct Entry(Found);

impl PartialEq for Entry {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}
