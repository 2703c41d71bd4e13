//! Raw series brought onto one time grid: increases of counters, levels of gauges. Never judges.

use opsward_domain::telemetry::Series;
use opsward_domain::time::{AtMs, Window};

/// Most bins of a grid; a longer span gets wider bins.
const BINS_MAX: i64 = 900;
/// Narrowest bin.
const BIN_MS_MIN: i64 = 1_000;
/// A pause between two samples beyond which the time between counts as unknown.
const GAP_MS_MAX: i64 = 10_000;
/// How much later than its siblings a counter must appear to count as new in the window.
const BORN_AFTER_MS: i64 = 3_000;

/// Equal bins that end at the moment of the look, so that a shift of all times changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) from_ms: AtMs,
    pub(super) bin_ms: i64,
    pub(super) len: usize,
}

impl Grid {
    pub(super) fn over(window: Window) -> Self {
        let length = window.length_ms().max(BIN_MS_MIN);
        let per_bin = (length + BINS_MAX - 1) / BINS_MAX;
        let bin_ms = per_bin.max(BIN_MS_MIN).saturating_add(999) / 1_000 * 1_000;
        let len = usize::try_from(length / bin_ms).unwrap_or(1).max(1);
        let span = bin_ms.saturating_mul(i64::try_from(len).unwrap_or(1));
        Self { from_ms: window.to_ms.saturating_sub(span), bin_ms, len }
    }
    /// Start of bin `index`.
    pub(super) fn at(&self, index: usize) -> AtMs {
        self.from_ms.saturating_add(self.bin_ms.saturating_mul(i64::try_from(index).unwrap_or(i64::MAX)))
    }
    /// The bin of `at_ms`, clamped to the grid.
    pub(super) fn index(&self, at_ms: AtMs) -> usize {
        let bins = at_ms.saturating_sub(self.from_ms).max(0) / self.bin_ms;
        usize::try_from(bins).unwrap_or(usize::MAX).min(self.len.saturating_sub(1))
    }
    pub(super) fn bin_s(&self) -> f64 {
        self.bin_ms as f64 / 1_000.0
    }
    /// How many bins cover `span_ms`, at least one.
    pub(super) fn bins(&self, span_ms: i64) -> usize {
        usize::try_from(span_ms / self.bin_ms).unwrap_or(1).max(1)
    }
}

/// Increases per bin of all `series` together, and which bins any of them covers.
#[derive(Debug, Clone)]
pub(super) struct Increases {
    pub(super) sum: Vec<f64>,
    pub(super) known: Vec<bool>,
}

impl Increases {
    pub(super) fn none(grid: &Grid) -> Self {
        Self { sum: vec![0.0; grid.len], known: vec![false; grid.len] }
    }
    /// Adds one counter. `born_after_ms` is the first sample of its siblings.
    pub(super) fn add(&mut self, grid: &Grid, points: &[(AtMs, f64)], siblings_from_ms: AtMs) {
        let Some(&(first_ms, first)) = points.first() else { return };
        let born = first_ms > siblings_from_ms.saturating_add(BORN_AFTER_MS) && first_ms > grid.from_ms;
        if born && first.is_finite() && first > 0.0 {
            self.spread(grid, (first_ms - grid.bin_ms).max(grid.from_ms), first_ms, first);
        }
        for pair in points.windows(2) {
            let ((t0, v0), (t1, v1)) = (pair[0], pair[1]);
            if t1 <= t0 || t1 <= grid.from_ms || t0 >= grid.at(grid.len) || !v0.is_finite() || !v1.is_finite() {
                continue;
            }
            // A counter that went down was reset: what it shows now is what it counted since.
            let increase = if v1 >= v0 { v1 - v0 } else { v1 };
            self.spread(grid, t0, t1, increase);
        }
    }
    fn spread(&mut self, grid: &Grid, t0: AtMs, t1: AtMs, increase: f64) {
        let covers = t1.saturating_sub(t0) <= GAP_MS_MAX.max(3 * grid.bin_ms);
        let last = grid.index(t1 - 1);
        let first = grid.index(t0);
        if first == last {
            self.sum[last] += increase;
            self.known[last] |= covers;
            return;
        }
        let span = t1.saturating_sub(t0) as f64;
        for bin in first..=last {
            let overlap = (t1.min(grid.at(bin) + grid.bin_ms) - t0.max(grid.at(bin))).max(0) as f64;
            self.sum[bin] += increase * overlap / span;
            self.known[bin] |= covers;
        }
    }
}

/// First sample of any of `series`.
pub(super) fn first_ms(series: &[Series]) -> AtMs {
    series.iter().filter_map(|one| one.points.first()).map(|point| point.0).min().unwrap_or(AtMs::MAX)
}

/// Last sample of any of `series`.
pub(super) fn last_ms(series: &[Series]) -> Option<AtMs> {
    series.iter().filter_map(|one| one.points.last()).map(|point| point.0).max()
}

/// All counters that pass `keep`, summed.
pub(super) fn increases(grid: &Grid, series: &[Series], keep: impl Fn(&Series) -> bool) -> Increases {
    let from = first_ms(series);
    let mut all = Increases::none(grid);
    for one in series.iter().filter(|one| keep(one)) {
        all.add(grid, &one.points, from);
    }
    all
}

/// Levels of one gauge per bin, carried over short gaps; NaN where unknown.
pub(super) fn levels(grid: &Grid, points: &[(AtMs, f64)]) -> Vec<f64> {
    let mut out = vec![f64::NAN; grid.len];
    for &(at, value) in points.iter().filter(|point| point.0 >= grid.from_ms && point.1.is_finite()) {
        out[grid.index(at)] = value;
    }
    let carry = grid.bins(GAP_MS_MAX);
    let mut last: Option<(usize, f64)> = None;
    for (bin, slot) in out.iter_mut().enumerate() {
        if slot.is_nan() {
            if let Some((_, value)) = last.filter(|(from, _)| bin - from <= carry) {
                *slot = value;
            }
        } else {
            last = Some((bin, *slot));
        }
    }
    out
}

/// The sum over gauges per bin; NaN where none is known.
pub(super) fn total(grid: &Grid, series: &[Series]) -> Vec<f64> {
    let mut out = vec![f64::NAN; grid.len];
    for one in series {
        for (slot, value) in out.iter_mut().zip(levels(grid, &one.points)) {
            if !value.is_nan() {
                *slot = if slot.is_nan() { value } else { *slot + value };
            }
        }
    }
    out
}

/// Total increase of a counter over samples after `window.from_ms` up to `window.to_ms`; resets and a
/// late first appearance counted as in [`Increases::add`].
pub(super) fn increase_in(points: &[(AtMs, f64)], window: Window, siblings_from_ms: AtMs) -> f64 {
    let from = points.partition_point(|point| point.0 <= window.from_ms).saturating_sub(1);
    let to = points.partition_point(|point| point.0 <= window.to_ms);
    let inside = points.get(from..to).unwrap_or_default();
    let born = match points.first() {
        Some(&(at, value))
            if window.from_ms < at && at <= window.to_ms && at > siblings_from_ms.saturating_add(BORN_AFTER_MS) =>
        {
            value
        }
        _ => 0.0,
    };
    let step = |pair: &[(AtMs, f64)]| if pair[1].1 >= pair[0].1 { pair[1].1 - pair[0].1 } else { pair[1].1 };
    let sum = inside.windows(2).map(step).sum::<f64>() + born;
    if sum.is_finite() { sum } else { 0.0 }
}

/// A quantile (0 to 1) of cumulative histogram buckets over a window, in seconds, with the number of
/// observations. `None` without observations.
pub(super) fn quantile(buckets: &[Series], window: Window, q: f64) -> Option<(f64, f64)> {
    let from = first_ms(buckets);
    let mut sums: Vec<(f64, f64)> = Vec::new();
    for one in buckets {
        let Some(bound) = one.labels.get("le").and_then(|text| bound(text)) else { continue };
        let increase = increase_in(&one.points, window, from);
        match sums.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, sum)) => *sum += increase,
            None => sums.push((bound, increase)),
        }
    }
    sums.sort_by(|a, b| a.0.total_cmp(&b.0));
    let count = sums.last()?.1;
    if count <= 0.0 {
        return None;
    }
    let rank = q * count;
    let at = sums.iter().position(|(_, sum)| *sum >= rank)?;
    let (below_bound, below) = if at == 0 { (0.0, 0.0) } else { sums[at - 1] };
    let (upper, sum) = sums[at];
    if upper.is_infinite() {
        return Some((below_bound, count));
    }
    let share = if sum > below { (rank - below) / (sum - below) } else { 1.0 };
    Some((below_bound + (upper - below_bound) * share, count))
}

fn bound(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" | "inf" => Some(f64::INFINITY),
        other => other.parse().ok().filter(|bound: &f64| !bound.is_nan()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn grid() -> Grid {
        Grid::over(Window { from_ms: 0, to_ms: 10_000 })
    }

    #[test]
    fn counters_reset_gap_and_appear() {
        let mut all = Increases::none(&grid());
        all.add(&grid(), &[(0, 5.0), (1_000, 10.0), (2_000, 3.0), (3_000, 4.0)], 0);
        assert_eq!(&all.sum[..4], &[5.0, 3.0, 1.0, 0.0]);
        assert_eq!(&all.known[..4], &[true, true, true, false]);
        // Appears five seconds after its siblings: what it shows is new.
        let mut born = Increases::none(&grid());
        born.add(&grid(), &[(5_000, 7.0)], 0);
        assert_eq!(born.sum.iter().sum::<f64>(), 7.0);
        // There from the start: its past is not ours.
        let mut old = Increases::none(&grid());
        old.add(&grid(), &[(1_000, 700.0)], 0);
        assert_eq!(old.sum.iter().sum::<f64>(), 0.0);
    }

    #[test]
    fn hostile_points_do_not_poison_or_panic() {
        let mut all = Increases::none(&grid());
        all.add(&grid(), &[(0, f64::NAN), (1_000, 1.0), (1_000, 2.0), (i64::MAX, 3.0)], 0);
        all.add(&grid(), &[(-5_000, 0.0), (500, 2.0)], 0);
        assert!(all.sum.iter().all(|sum| sum.is_finite()));
        assert!(quantile(&[], Window { from_ms: 0, to_ms: 1 }, 0.95).is_none());
    }

    #[test]
    fn quantiles_interpolate_inside_the_bucket() {
        let bucket = |le: &str, count: f64| Series {
            workload: None,
            replica: None,
            labels: BTreeMap::from([("le".to_owned(), le.to_owned())]),
            points: vec![(0, 0.0), (1_000, count)],
        };
        let buckets = [bucket("0.1", 50.0), bucket("0.2", 100.0), bucket("+Inf", 100.0)];
        let (p95, count) = quantile(&buckets, Window { from_ms: 0, to_ms: 1_000 }, 0.95).unwrap();
        assert!((p95 - 0.19).abs() < 1e-9 && count == 100.0);
    }
}
