//! Robust change-point detection: is a series at another level now than it was, and since when?
//! Never a fixed threshold of one system: noise is measured from the series itself.

use super::track::Grid;
use opsward_domain::time::AtMs;

/// Most segments of one series.
const SEGMENTS_MAX: usize = 10;
/// Shortest segment, in bins.
const SEGMENT_BINS_MIN: usize = 3;
/// A split must lower the squared error by this many noise variances for each unit of ln(bins).
const SPLIT_PENALTY: f64 = 5.0;
/// Shortest stretch that may serve as the normal level, in bins.
const NORMAL_BINS_MIN: usize = 8;
/// Share of the present rise that an earlier stretch must have reached to belong to it.
const RISEN_SHARE: f64 = 0.2;
/// Median of a chi-squared variable with one degree of freedom.
const CHI2_MEDIAN: f64 = 0.4549;

/// Values with their weights (how many observations each stands for); weight 0 means unknown.
#[derive(Debug, Clone)]
pub(super) struct Weighted {
    value: Vec<f64>,
    weight: Vec<f64>,
}

impl Weighted {
    /// A mean per bin: `num` over `den` observations.
    pub(super) fn ratio(num: &[f64], den: &[f64]) -> Self {
        let value = num.iter().zip(den).map(|(n, d)| if *d > 0.0 { n / d } else { 0.0 }).collect();
        Self { value, weight: den.iter().map(|d| d.max(0.0)).collect() }
    }
    /// A level per bin; NaN means unknown.
    pub(super) fn level(values: &[f64]) -> Self {
        let weight = values.iter().map(|v| if v.is_finite() { 1.0 } else { 0.0 }).collect();
        Self { value: values.iter().map(|v| if v.is_finite() { *v } else { 0.0 }).collect(), weight }
    }
    /// Noise variance of one observation in a stretch, from the differences of neighbours.
    fn noise(&self, from: usize, to: usize, floor: f64) -> f64 {
        let known: Vec<usize> = (from..to).filter(|i| self.weight[*i] > 0.0).collect();
        let mut squares: Vec<f64> = known
            .windows(2)
            .map(|pair| {
                let (a, b) = (pair[0], pair[1]);
                let spread = 1.0 / self.weight[a] + 1.0 / self.weight[b];
                (self.value[b] - self.value[a]).powi(2) / spread
            })
            .collect();
        (median(&mut squares) / CHI2_MEDIAN).max(floor)
    }
}

/// The middle value; 0 for nothing. Reorders its input.
pub(super) fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    from: usize,
    to: usize,
    mean: f64,
    weight: f64,
}

/// A segment with the split of it that is worth doing, and what that gains over the noise.
type Open = (Segment, Option<(usize, f64)>);

struct Sums {
    w: Vec<f64>,
    wx: Vec<f64>,
}

impl Sums {
    fn new(series: &Weighted) -> Self {
        let mut sums = Self { w: vec![0.0], wx: vec![0.0] };
        for (value, weight) in series.value.iter().zip(&series.weight) {
            sums.w.push(sums.w[sums.w.len() - 1] + weight);
            sums.wx.push(sums.wx[sums.wx.len() - 1] + weight * value);
        }
        sums
    }
    fn segment(&self, from: usize, to: usize) -> Segment {
        let weight = self.w[to] - self.w[from];
        let mean = if weight > 0.0 { (self.wx[to] - self.wx[from]) / weight } else { 0.0 };
        Segment { from, to, mean, weight }
    }
    /// The split of a segment that lowers the squared error most, with how much.
    fn best_split(&self, segment: Segment) -> Option<(usize, f64)> {
        let inner = segment.from + SEGMENT_BINS_MIN..(segment.to + 1).saturating_sub(SEGMENT_BINS_MIN);
        let mut best: Option<(usize, f64)> = None;
        for at in inner {
            let (left, right) = (self.segment(segment.from, at), self.segment(at, segment.to));
            if left.weight <= 0.0 || right.weight <= 0.0 {
                continue;
            }
            let gain = left.weight * right.weight / segment.weight * (left.mean - right.mean).powi(2);
            if best.is_none_or(|(_, most)| gain > most) {
                best = Some((at, gain));
            }
        }
        best
    }
}

/// The noise is measured in each segment anew: a bad stretch is noisier than a good one, and must not
/// be cut to pieces by its own noise.
fn open(series: &Weighted, sums: &Sums, segment: Segment, noise_floor: f64) -> Open {
    let least = SPLIT_PENALTY * (series.value.len().max(8) as f64).ln();
    let split = sums.best_split(segment).and_then(|(at, gain)| {
        let over = gain / series.noise(segment.from, segment.to, noise_floor).max(f64::MIN_POSITIVE);
        (over > least).then_some((at, over))
    });
    (segment, split)
}

fn segments(series: &Weighted, noise_floor: f64) -> Vec<Segment> {
    let sums = Sums::new(series);
    let mut found = vec![open(series, &sums, sums.segment(0, series.value.len()), noise_floor)];
    while found.len() < SEGMENTS_MAX {
        let splits = found.iter().enumerate().filter_map(|(i, (_, split))| split.map(|(at, over)| (i, at, over)));
        let Some((i, at, _)) = splits.max_by(|a, b| a.2.total_cmp(&b.2)) else { break };
        let whole = found[i].0;
        found[i] = open(series, &sums, sums.segment(whole.from, at), noise_floor);
        found.insert(i + 1, open(series, &sums, sums.segment(at, whole.to), noise_floor));
    }
    found.into_iter().map(|(segment, _)| segment).filter(|segment| segment.weight > 0.0).collect()
}

/// What counts as another level.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Least difference.
    pub(super) above_by: f64,
    /// Least quotient.
    pub(super) times: f64,
    /// Least variance of one observation.
    pub(super) noise_floor: f64,
    /// How many bins the new level must have lasted.
    pub(super) lasting: usize,
}

/// A level that changed and has not come back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shift {
    /// When the first stretch above the normal level began.
    pub(super) onset_ms: AtMs,
    /// The same as a bin of the grid.
    pub(super) onset_bin: usize,
    /// The normal level.
    pub(super) before: f64,
    /// The level now.
    pub(super) now: f64,
}

/// Finds a rise that is still there. The normal level is the lowest one that lasted, so a fault that
/// fills most of the window is still seen.
pub(super) fn rise(grid: &Grid, series: &Weighted, rule: Rule) -> Option<Shift> {
    let found = segments(series, rule.noise_floor);
    let last = found.last()?;
    let normal = found
        .iter()
        .filter(|segment| segment.to - segment.from >= NORMAL_BINS_MIN.min(series.value.len() / 4))
        .min_by(|a, b| a.mean.total_cmp(&b.mean))?;
    let high = |s: &Segment| s.mean >= normal.mean + rule.above_by && s.mean >= normal.mean * rule.times;
    if !high(last) {
        return None;
    }
    let risen = |s: &&Segment| high(s) && s.mean - normal.mean >= RISEN_SHARE * (last.mean - normal.mean);
    let first = found.iter().rev().take_while(risen).last()?;
    (series.value.len() - first.from >= rule.lasting).then(|| Shift {
        onset_ms: grid.at(first.from),
        onset_bin: first.from,
        before: normal.mean,
        now: last.mean,
    })
}

/// Finds a fall that is still there, as [`rise`] does for a rise. `before` and `now` are as measured.
pub(super) fn fall(grid: &Grid, values: &[f64], times: f64, lasting: usize) -> Option<Shift> {
    let series = Weighted::level(values);
    let found = segments(&series, 0.0);
    let last = found.last()?;
    let mut known: Vec<f64> = values[..last.from].iter().copied().filter(|v| v.is_finite()).collect();
    let normal = median(&mut known);
    (normal > 0.0 && last.mean * times <= normal && values.len() - last.from >= lasting).then(|| Shift {
        onset_ms: grid.at(last.from),
        onset_bin: last.from,
        before: normal,
        now: last.mean,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use opsward_domain::time::Window;

    const RULE: Rule = Rule { above_by: 0.02, times: 1.5, noise_floor: 0.005, lasting: 3 };

    fn grid(bins: i64) -> Grid {
        Grid::over(Window { from_ms: 0, to_ms: bins * 1_000 })
    }

    fn wiggle(i: usize) -> f64 {
        ((i * 7919) % 13) as f64 / 13.0
    }

    fn errors(bins: usize, bad: impl Fn(usize) -> bool) -> Weighted {
        let num: Vec<f64> = (0..bins).map(|i| if bad(i) { 8.0 + wiggle(i) } else { wiggle(i).round() * 0.4 }).collect();
        Weighted::ratio(&num, &vec![40.0; bins])
    }

    #[test]
    fn a_lasting_rise_is_found_at_its_start_short_or_long() {
        for onset in [40usize, 150, 280, 296] {
            let shift = rise(&grid(300), &errors(300, |i| i >= onset), RULE).unwrap();
            assert!(shift.onset_bin.abs_diff(onset) <= 1, "{onset}: {shift:?}");
            assert!(shift.now > 0.15 && shift.before < 0.02);
        }
    }

    #[test]
    fn noise_a_past_burst_and_no_data_are_not_a_rise() {
        assert_eq!(rise(&grid(300), &errors(300, |_| false), RULE), None);
        assert_eq!(rise(&grid(300), &errors(300, |i| (100..104).contains(&i)), RULE), None);
        assert_eq!(rise(&grid(300), &Weighted::level(&[f64::NAN; 300]), RULE), None);
        assert_eq!(rise(&grid(1), &errors(1, |_| true), RULE), None);
        // A level that was always high has no rise.
        assert_eq!(rise(&grid(300), &errors(300, |_| true), RULE), None);
    }

    #[test]
    fn a_fall_to_nothing_is_found() {
        let values: Vec<f64> = (0..200).map(|i| if i < 180 { 0.3 + 0.05 * wiggle(i) } else { 0.0 }).collect();
        let shift = fall(&grid(200), &values, 5.0, 3).unwrap();
        assert!(shift.onset_bin.abs_diff(180) <= 1);
        assert_eq!(fall(&grid(180), &values[..180], 5.0, 3), None);
    }
}
