//! Which part of the case is the incident and which is quiet. The moment in question is given by the alert, or found
//! where most series leave their usual range at once. Stretches of data that lie apart from it are quiet.

use std::collections::BTreeMap;

use crate::Options;
use crate::case::{ComponentId, Level, TimeMs};
use crate::checked::Checked;
use crate::stats::{median, rate_ratio};
use crate::words::{Aspect, Bad, meaning};

/// A hole this many usual steps wide parts two stretches.
const HOLE_STEPS: i64 = 20;
/// The narrowest hole.
const HOLE_MIN_MS: i64 = 30_000;
/// Bins the whole time is cut into when the moment has to be found.
const BINS: usize = 240;
/// Doublings, summed over series, below which nothing is taken for a moment in question.
const MOMENT_MIN: f64 = 4.0;
/// Symptoms are looked for this far around a time that is known.
const BEGINS_WINDOW_MS: i64 = 5 * 60_000;
/// Points of a series used for its usual range here.
const THIN: usize = 256;

/// What is compared with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The moment in question.
    pub anchor: Option<TimeMs>,
    /// Whether somebody named it.
    pub told: bool,
    /// How far around it symptoms are looked for.
    pub window_ms: i64,
    /// The moment is when it began, not when somebody noticed: what lies before it is quiet.
    pub begins: bool,
    /// Where lines and spans without a hole in time are parted into before and after.
    pub split_ms: TimeMs,
}

/// Where a sorted run of times is parted: before the stretch, the stretch with the moment, after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// First index of the stretch.
    pub start: usize,
    /// One past its last index.
    pub end: usize,
    /// The usual step.
    pub step_ms: i64,
}

impl Frame {
    /// Finds the moment in question.
    pub(crate) fn of(clean: &Checked<'_>, options: &Options) -> Self {
        let asked = clean.asked_at(options);
        let anchor = asked.or_else(|| find_moment(clean));
        // A time that was asked for is when it began; an alert tells of it some time later.
        let begins = options.at_ms.is_some();
        let window_ms = if begins { options.window_ms.min(BEGINS_WINDOW_MS) } else { options.window_ms }.max(1);
        let mut frame =
            Self { anchor, told: asked.is_some(), window_ms, begins, split_ms: anchor.unwrap_or(TimeMs::MAX) };
        if let Some(anchor) = anchor {
            frame.split_ms = split_by_lines(clean, anchor, window_ms);
        }
        frame
    }

    /// The stretch of rising times that holds the moment, or the nearest one.
    pub(crate) fn stretch(&self, times: &[TimeMs]) -> Stretch {
        let Some(anchor) = self.anchor else { return Stretch { start: 0, end: times.len(), step_ms: step_of(times) } };
        let step_ms = step_of(times);
        let hole = step_ms.saturating_mul(HOLE_STEPS).max(HOLE_MIN_MS);
        let after = times.partition_point(|at| *at < anchor);
        let centre = match (after.checked_sub(1), times.get(after)) {
            (Some(before), Some(next)) if next - anchor >= anchor - times[before] => before,
            (_, Some(_)) => after,
            (Some(before), None) => before,
            (None, None) => return Stretch { start: 0, end: 0, step_ms },
        };
        let (mut start, mut end) = (centre, centre + 1);
        while start > 0 && times[start] - times[start - 1] <= hole {
            start -= 1;
        }
        while end < times.len() && times[end] - times[end - 1] <= hole {
            end += 1;
        }
        Stretch { start, end, step_ms }
    }
}

/// The usual step of rising times: the middle one of at most a few hundred.
pub(crate) fn step_of(times: &[TimeMs]) -> i64 {
    let stride = (times.len() / THIN).max(1);
    let steps = times.windows(2).step_by(stride).map(|pair| (pair[1] - pair[0]) as f64);
    (median(steps) as i64).max(1)
}

/// The time where most series leave their usual range at once.
fn find_moment(clean: &Checked<'_>) -> Option<TimeMs> {
    let first = clean.series.iter().filter_map(|(_, points)| points.first()).map(|(at, _)| *at).min();
    let last = clean.series.iter().filter_map(|(_, points)| points.last()).map(|(at, _)| *at).max();
    let (Some(first), Some(last)) = (first, last) else { return first_bad_line(clean) };
    // Lines and spans are kept from around the moment: one that lies apart from all of them is none.
    let spoken = clean
        .logs
        .first()
        .map(|line| line.at_ms)
        .into_iter()
        .chain(clean.spans.first().map(|span| span.start_ms))
        .min();
    let silent =
        clean.logs.last().map(|line| line.at_ms).into_iter().chain(clean.spans.last().map(|span| span.start_ms)).max();
    let (first, last) = match (spoken, silent) {
        (Some(spoken), Some(silent)) if spoken < last && silent > first => (first.max(spoken), last.min(silent)),
        _ => (first, last),
    };
    let width = ((last - first) / BINS as i64 + 1).max(1);
    let mut bins: BTreeMap<(ComponentId, Aspect), Vec<f64>> = BTreeMap::new();
    for (series, points) in &clean.series {
        let meaning = meaning(&series.name, &series.unit);
        if matches!(meaning.bad, Bad::Never) || points.len() < 8 {
            continue;
        }
        let stride = (points.len() / THIN).max(1);
        let usual = crate::stats::sorted(points.iter().step_by(stride).map(|(_, value)| *value));
        let middle = crate::stats::quantile(&usual, 0.5);
        let wide = crate::stats::spread(&usual).max(0.03 * middle.abs()).max(1e-9);
        let most = bins.entry((series.component, meaning.aspect)).or_insert_with(|| vec![0.0_f64; BINS + 1]);
        for (at, value) in points.iter().filter(|(at, _)| (first..=last).contains(at)) {
            let away = (value - middle) / wide;
            let away = match meaning.bad {
                Bad::Up => away,
                Bad::Down => -away,
                Bad::Either | Bad::Never => away.abs() / 2.0,
            };
            if away > 6.0 {
                let bin = (((at - first) / width) as usize).min(BINS);
                most[bin] = most[bin].max(crate::stats::doublings(away / 6.0).min(2.0));
            }
        }
    }
    // Each aspect of a component counts once, however many series speak of it.
    let at = |bin: usize| bins.values().map(|most| most.get(bin).copied().unwrap_or(0.0)).sum::<f64>();
    let smooth: Vec<f64> = (0..=BINS).map(|bin| at(bin) + at(bin + 1)).collect();
    let most = smooth.iter().copied().fold(0.0, f64::max);
    if most < MOMENT_MIN.min(1.0 + clean.series.len() as f64 / 2.0) {
        return first_bad_line(clean);
    }
    let bin = smooth.iter().position(|sum| *sum >= most * 0.5).unwrap_or(0);
    Some(first + (bin as i64 + 1) * width)
}

/// Without metrics: the first line that tells of an error.
fn first_bad_line(clean: &Checked<'_>) -> Option<TimeMs> {
    clean.logs.iter().find(|line| line.level >= Level::Error).map(|line| line.at_ms)
}

/// Where bad lines begin to be more frequent, near the moment; a little before it when they do not.
fn split_by_lines(clean: &Checked<'_>, anchor: TimeMs, window_ms: i64) -> TimeMs {
    let fallback = anchor - window_ms / 4;
    let bad: Vec<TimeMs> =
        clean.logs.iter().filter(|line| line.level >= Level::Warning).map(|line| line.at_ms).collect();
    let (Some(first), Some(last)) = (clean.logs.first(), clean.logs.last()) else { return fallback };
    let (first, last) = (first.at_ms, last.at_ms.min(anchor + window_ms) + 1);
    let mut best = (9.0, fallback);
    let from = bad.partition_point(|at| *at < anchor - window_ms);
    let to = bad.partition_point(|at| *at <= anchor + window_ms / 2);
    let stride = ((to - from) / THIN).max(1);
    for index in (from..to).step_by(stride) {
        let at = bad[index];
        let ratio = rate_ratio((to - index) as f64, (last - at) as f64, index as f64, (at - first).max(1) as f64);
        if ratio > best.0 {
            best = (ratio, at);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(anchor: TimeMs) -> Frame {
        Frame { anchor: Some(anchor), told: true, window_ms: 720_000, split_ms: anchor, begins: false }
    }

    #[test]
    fn the_stretch_ends_at_a_hole() {
        let mut times: Vec<TimeMs> = (0..100).map(|i| i * 60_000).collect();
        times.extend((0..5).map(|i| 1_000_000_000 + i * 60_000));
        let stretch = frame(1_000_100_000).stretch(&times);
        assert_eq!((stretch.start, stretch.end), (100, 105));
        let stretch = frame(-5).stretch(&times);
        assert_eq!((stretch.start, stretch.end), (0, 100));
        assert_eq!(frame(0).stretch(&[]), Stretch { start: 0, end: 0, step_ms: 1 });
    }
}
