//! All series in memory. Knows nothing of files.

use std::collections::{BTreeMap, HashMap, VecDeque};

use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Tenant, Workload, Workspace};
use opsward_domain::telemetry::{Series, SeriesQuery};
use opsward_domain::time::AtMs;
use opsward_ports::series::{POINTS_MAX, selects, too_many_points};

use crate::Options;
use crate::chunk::Chunk;

/// Longest metric name.
const METRIC_BYTES_MAX: usize = 256;
/// Most labels of a series.
const LABELS_MAX: usize = 32;
/// Most bytes of all labels of a series.
const LABEL_BYTES_MAX: usize = 2_048;
/// When memory is full the oldest one of this many parts goes at once, so that it happens rarely.
const SHED_PARTS: usize = 8;

/// A series inside its workspace, in the order of answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) metric: String,
    pub(crate) workload: Option<Workload>,
    pub(crate) replica: Option<u32>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Key {
    fn is_reasonable(&self) -> bool {
        let labels: usize = self.labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        let metric = 1..=METRIC_BYTES_MAX;
        metric.contains(&self.metric.len()) && self.labels.len() <= LABELS_MAX && labels <= LABEL_BYTES_MAX
    }
}

/// Where a series is known in the segment being written.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Mark {
    /// Number of the segment, 0 for none.
    pub(crate) segment: u64,
    /// Its reference there.
    pub(crate) reference: u64,
    /// The bits written last.
    pub(crate) bits: u64,
}

#[derive(Debug, Default)]
struct Line {
    chunks: VecDeque<Chunk>,
    points: usize,
    mark: Mark,
}

impl Line {
    /// Adds a point unless it is not newer than the last one.
    fn push(&mut self, options: &Options, (at_ms, value): (AtMs, f64), cost: &mut usize) -> bool {
        if self.chunks.back().is_some_and(|chunk| at_ms <= chunk.last_ms()) {
            return false;
        }
        if self.points >= options.points_per_series_max {
            *cost -= self.drop_oldest();
        }
        if self.chunks.back().is_none_or(Chunk::is_full) {
            self.chunks.push_back(Chunk::default());
            *cost += size_of::<Chunk>();
        }
        if let Some(chunk) = self.chunks.back_mut() {
            let before = chunk.cost();
            chunk.push(at_ms, value);
            *cost = *cost + chunk.cost() - before;
        }
        self.points += 1;
        true
    }

    fn drop_oldest(&mut self) -> usize {
        let Some(chunk) = self.chunks.pop_front() else { return 0 };
        self.points -= chunk.count();
        chunk.cost()
    }
}

type Space = BTreeMap<Key, Line>;

/// What became of a sample.
pub(crate) enum Kept<'a> {
    /// It was added; the caller may note where it wrote it.
    Yes(&'a mut Mark),
    /// It was not newer than the last one, or not finite.
    Skipped,
    /// A bound was reached.
    Refused,
}

/// Series by tenant and workspace.
#[derive(Default)]
pub(crate) struct Head {
    tenants: HashMap<Tenant, HashMap<Workspace, Space>>,
    series: usize,
    cost: usize,
}

impl Head {
    /// Adds a point to its series.
    pub(crate) fn push(
        &mut self,
        options: &Options,
        place: (&Tenant, &Workspace),
        key: &Key,
        point: (AtMs, f64),
    ) -> Kept<'_> {
        if !point.1.is_finite() {
            return Kept::Skipped;
        }
        let Some((line, cost)) = self.line(options, place, key) else { return Kept::Refused };
        if line.push(options, point, cost) { Kept::Yes(&mut line.mark) } else { Kept::Skipped }
    }

    /// Adds points read back from disk to one series.
    pub(crate) fn extend(
        &mut self,
        options: &Options,
        place: (&Tenant, &Workspace),
        key: &Key,
        points: &[(AtMs, f64)],
    ) {
        if let Some((line, cost)) = self.line(options, place, key) {
            for point in points {
                line.push(options, *point, cost);
            }
        }
    }

    /// The series, made if a bound does not forbid it, and the account of memory.
    fn line(&mut self, options: &Options, place: (&Tenant, &Workspace), key: &Key) -> Option<(&mut Line, &mut usize)> {
        let spaces = self.tenants.entry(place.0.clone()).or_default();
        let space = spaces.entry(place.1.clone()).or_default();
        if !space.contains_key(key) {
            let full = space.len() >= options.series_per_workspace_max || self.series >= options.series_max;
            if full || !key.is_reasonable() {
                return None;
            }
            self.series += 1;
            space.insert(key.clone(), Line::default());
        }
        space.get_mut(key).map(|line| (line, &mut self.cost))
    }

    /// Gives way if memory is over its bound: the oldest chunks of all series go.
    pub(crate) fn shed(&mut self, options: &Options) {
        while self.cost > options.memory_bytes_max {
            let lines = self.tenants.values().flat_map(HashMap::values).flat_map(BTreeMap::values);
            let mut ends: Vec<AtMs> = lines.flat_map(|line| line.chunks.iter().map(Chunk::last_ms)).collect();
            if ends.is_empty() {
                return;
            }
            let at = (ends.len() / SHED_PARTS).min(ends.len() - 1);
            let floor_ms = ends.select_nth_unstable(at).1.saturating_add(1);
            for tenant in self.tenants.keys().cloned().collect::<Vec<_>>() {
                self.expire(&tenant, floor_ms);
            }
        }
    }

    /// Removes a tenant's older points, and series that have none left.
    pub(crate) fn expire(&mut self, tenant: &Tenant, before_ms: AtMs) {
        let Some(spaces) = self.tenants.get_mut(tenant) else { return };
        for line in spaces.values_mut().flat_map(BTreeMap::values_mut) {
            while line.chunks.front().is_some_and(|chunk| chunk.last_ms() < before_ms) {
                self.cost -= line.drop_oldest();
            }
            if let Some(chunk) = line.chunks.front_mut() {
                let kept = chunk.since(before_ms);
                if kept.count() < chunk.count() {
                    line.points = line.points + kept.count() - chunk.count();
                    self.cost = self.cost + kept.cost() - chunk.cost();
                    *chunk = kept;
                }
            }
        }
        for space in spaces.values_mut() {
            let had = space.len();
            space.retain(|_, line| line.points > 0);
            self.series -= had - space.len();
        }
        spaces.retain(|_, space| !space.is_empty());
        if spaces.is_empty() {
            self.tenants.remove(tenant);
        }
    }

    /// The series that match, with their points inside the window.
    pub(crate) fn range(&self, tenant: &Tenant, query: &SeriesQuery) -> Result<Vec<Series>, Fault> {
        let Some(space) = self.tenants.get(tenant).and_then(|spaces| spaces.get(&query.workspace)) else {
            return Ok(Vec::new());
        };
        let start = Key { metric: query.metric.clone(), workload: None, replica: None, labels: BTreeMap::new() };
        let mut left = POINTS_MAX;
        let mut found = Vec::new();
        for (key, line) in space.range(start..).take_while(|(key, _)| key.metric == query.metric) {
            if !selects(query, key.workload.as_ref(), &key.labels) {
                continue;
            }
            let mut points = Vec::new();
            for chunk in line.chunks.iter().filter(|chunk| chunk.meets(&query.window)) {
                points.extend(chunk.points().filter(|(at_ms, _)| query.window.contains(*at_ms)));
            }
            left = left.checked_sub(points.len()).ok_or_else(too_many_points)?;
            if !points.is_empty() {
                let Key { workload, replica, labels, .. } = key.clone();
                found.push(Series { workload, replica, labels, points });
            }
        }
        Ok(found)
    }

    /// Metric names of a workspace, sorted.
    pub(crate) fn names(&self, tenant: &Tenant, workspace: &Workspace) -> Vec<String> {
        let space = self.tenants.get(tenant).and_then(|spaces| spaces.get(workspace));
        let mut names: Vec<String> = space.into_iter().flat_map(BTreeMap::keys).map(|key| key.metric.clone()).collect();
        names.dedup();
        names
    }
}

/// What an append did not keep because of a bound.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// How many samples.
    pub(crate) samples: u64,
    /// One of their metrics, cut short.
    pub(crate) example: String,
}

impl Refused {
    pub(crate) fn add(&mut self, key: &Key) {
        self.samples += 1;
        if self.example.is_empty() {
            self.example = key.metric.chars().take(80).collect();
        }
    }
    /// A fault if anything was refused.
    pub(crate) fn into_result(self) -> Result<(), Fault> {
        if self.samples == 0 {
            return Ok(());
        }
        Err(Fault::new(Code::TooMany, "too many series, or labels too long: some samples were not kept")
            .detail(format!(
                "{} samples dropped, for example of {:?}; the others were kept",
                self.samples, self.example
            ))
            .hint("give the metric fewer distinct label values, or raise the bound on series"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(metric: &str) -> Key {
        Key { metric: metric.into(), workload: None, replica: None, labels: BTreeMap::new() }
    }

    #[test]
    fn memory_series_and_rings_are_bounded() {
        let options = Options {
            memory_bytes_max: 20_000,
            series_per_workspace_max: 20,
            points_per_series_max: 300,
            ..Options::default()
        };
        let (tenant, workspace) = (Tenant::parse("acme").unwrap(), Workspace::parse("shop").unwrap());
        let mut head = Head::default();
        let mut refused = 0;
        for at in 0..2_000_i64 {
            for m in 0..25 {
                let point = (at, (at * m) as f64);
                if let Kept::Refused = head.push(&options, (&tenant, &workspace), &key(&format!("m{m}")), point) {
                    refused += 1;
                }
            }
            head.shed(&options);
            assert!(head.cost <= options.memory_bytes_max);
        }
        assert_eq!(refused, 5 * 2_000);
        let lines: Vec<&Line> = head.tenants.values().flat_map(HashMap::values).flat_map(BTreeMap::values).collect();
        assert_eq!(lines.iter().map(|l| l.chunks.iter().map(Chunk::cost).sum::<usize>()).sum::<usize>(), head.cost);
        assert!(lines.iter().all(|l| l.points > 0 && l.points <= 300));
        assert_eq!((lines.len(), head.series), (20, 20));
        let mut long = key(&"m".repeat(METRIC_BYTES_MAX + 1));
        assert!(!long.is_reasonable());
        long.metric = "m".into();
        long.labels.insert("k".into(), "v".repeat(LABEL_BYTES_MAX));
        assert!(!long.is_reasonable() && !key("").is_reasonable());
    }
}
