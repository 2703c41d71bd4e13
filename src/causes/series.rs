//! Metrics: how far a series in the incident leaves what this same series did in comparable windows of quiet. The
//! comparison with its own windows is what keeps heavy tails, rare requests and daily rhythm from being taken for news.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::case::{ComponentId, Series, TimeMs};
use crate::checked::Checked;
use crate::frame::{Frame, step_of};
use crate::signal::{Signal, number};
use crate::stats::{doublings, median, quantile, sorted, spread, trend};
use crate::words::{Aspect, Bad, Meaning, meaning};

/// Fewest quiet points before data after the incident is used as well.
const QUIET_MIN: usize = 8;
/// Most quiet points whose spread is computed.
const THIN: usize = 256;
/// Fewest quiet windows whose maxima are taken for a distribution.
const WINDOWS_MIN: usize = 8;
/// Change, relative to the usual value, below which a signal counts in proportion.
const CHANGE_FULL: f64 = 0.15;
/// Excess, in what quiet windows reach, from which a series has something to say.
const EXCESS_MIN: f64 = 0.6;
/// What a statistic that stands alone keeps.
const ALONE: f64 = 0.3;
/// A share of a resource below which its use is no trouble.
const SHARE_FULL: f64 = 0.8;
/// Growth of a slow rise over its whole length that counts.
const GROWTH_MIN: f64 = 1.3;

/// Every series that left its usual range.
pub(crate) fn compare(clean: &Checked<'_>, frame: &Frame) -> Vec<Signal> {
    let Some(anchor) = frame.anchor else { return Vec::new() };
    let steps = clean.series.iter().map(|(_, points)| {
        let times: Vec<TimeMs> = points.iter().take(THIN).map(|(at, _)| *at).collect();
        step_of(&times) as f64
    });
    let usual_step_ms = median(steps).max(1.0) as i64;
    let mut found = Vec::new();
    for (series, points) in &clean.series {
        let meaning = meaning(&series.name, &series.unit);
        if meaning.bad == Bad::Never {
            continue;
        }
        let points = as_rate(points, meaning);
        let part = Part::of(&points, frame, anchor, usual_step_ms);
        for up in [true, false] {
            let bad = match meaning.bad {
                Bad::Up => up,
                Bad::Down => !up,
                Bad::Either => true,
                Bad::Never => false,
            };
            if bad && let Some(signal) = part.judge(clean, series, meaning, up, anchor) {
                found.push(signal);
            }
        }
        found.extend(part.rise(clean, series, meaning, anchor));
        found.extend(part.runs_out(clean, series, meaning));
    }
    found
}

/// Several series that speak of one aspect of one component must agree. Where there are shares of what there is, raw
/// amounts say nothing more; where there are three statistics or more, one that stands alone is noise.
pub(crate) fn corroborate(clean: &Checked<'_>, signals: Vec<Signal>) -> Vec<Signal> {
    let mut given: BTreeMap<(ComponentId, Aspect), (usize, bool)> = BTreeMap::new();
    for (series, _) in &clean.series {
        let meaning = meaning(&series.name, &series.unit);
        let count = given.entry((series.component, meaning.aspect)).or_default();
        count.0 += 1;
        count.1 |= meaning.share;
    }
    let mut best: BTreeMap<(ComponentId, Aspect), Vec<f64>> = BTreeMap::new();
    for signal in &signals {
        best.entry((signal.component, signal.aspect)).or_default().push(signal.strength);
    }
    let resource = |aspect: Aspect| matches!(aspect, Aspect::Cpu | Aspect::Memory | Aspect::Disk | Aspect::Saturation);
    let mut kept = Vec::with_capacity(signals.len());
    for mut signal in signals {
        let (count, shares) = given.get(&(signal.component, signal.aspect)).copied().unwrap_or_default();
        if resource(signal.aspect) && shares && !signal.share && !signal.slow {
            continue;
        }
        if signal.aspect == Aspect::Latency && count >= 3 {
            let strengths =
                best.get(&(signal.component, signal.aspect)).map(|all| sorted(all.iter().copied())).unwrap_or_default();
            let second = strengths.len().checked_sub(2).map_or(0.0, |place| strengths[place]);
            signal.strength = signal.strength.min(second + ALONE);
        }
        kept.push(signal);
    }
    kept
}

/// A count that only rises becomes its steps; a fall is a restart and counts from zero.
fn as_rate<'a>(points: &'a [(TimeMs, f64)], meaning: Meaning) -> Cow<'a, [(TimeMs, f64)]> {
    let falls = points.windows(2).filter(|pair| pair[1].1 < pair[0].1).count();
    let rises = points.windows(2).any(|pair| pair[1].1 > pair[0].1);
    if !meaning.counter || points.len() < 3 || !rises || falls * 50 > points.len() {
        return Cow::Borrowed(points);
    }
    let steps = points.windows(2).map(|pair| {
        let step = pair[1].1 - pair[0].1;
        (pair[1].0, if step < 0.0 { pair[1].1.max(0.0) } else { step })
    });
    Cow::Owned(steps.collect())
}

/// A series parted into quiet values and the window of the incident.
struct Part<'a> {
    /// All points.
    points: &'a [(TimeMs, f64)],
    /// Stretch that holds the incident.
    start: usize,
    /// One past its end.
    end: usize,
    /// The window around the moment, inside the stretch.
    from: usize,
    /// One past its end.
    to: usize,
    /// Quiet runs, as ranges of indexes.
    quiet: Vec<(usize, usize)>,
    /// Quiet values lie in other stretches only.
    apart: bool,
    /// The usual step of the whole case.
    step_ms: i64,
}

impl<'a> Part<'a> {
    fn of(points: &'a [(TimeMs, f64)], frame: &Frame, anchor: TimeMs, usual_step_ms: i64) -> Self {
        let times: Vec<TimeMs> = points.iter().map(|(at, _)| *at).collect();
        let stretch = frame.stretch(&times);
        let (start, end) = (stretch.start, stretch.end);
        let window = frame.window_ms.max(3 * stretch.step_ms);
        let from = start + times[start..end].partition_point(|at| *at < anchor - window);
        let to = start + times[start..end].partition_point(|at| *at <= anchor + window);
        let mut quiet = Vec::new();
        if from > start {
            quiet.push((start, from));
        }
        let apart = from - start < QUIET_MIN;
        if apart {
            quiet.extend([(0, start), (end, points.len())].into_iter().filter(|(a, b)| b > a));
        }
        let known: usize = quiet.iter().map(|(a, b)| b - a).sum();
        if known < QUIET_MIN && to < end {
            quiet.push((to, end));
        }
        Self { points, start, end, from, to, quiet, apart, step_ms: usual_step_ms }
    }

    /// From when to when the incident was looked at.
    fn seen(&self, onset_ms: TimeMs) -> (TimeMs, TimeMs) {
        let at = |index: usize| self.points.get(index).map_or(onset_ms, |(at, _)| *at);
        (at(self.from).min(onset_ms), at(self.to.saturating_sub(1)).max(onset_ms))
    }

    fn value(&self, index: usize, sign: f64) -> f64 {
        sign * self.points[index].1
    }

    /// Means over `wide` neighbours, of a range.
    fn smooth(&self, range: (usize, usize), wide: usize, sign: f64) -> Vec<f64> {
        let count = range.1 - range.0;
        if count < wide {
            return Vec::new();
        }
        let mut sum: f64 = (range.0..range.0 + wide).map(|index| self.value(index, sign)).sum();
        let mut out = Vec::with_capacity(count - wide + 1);
        out.push(sum / wide as f64);
        for index in range.0 + wide..range.1 {
            sum += self.value(index, sign) - self.value(index - wide, sign);
            out.push(sum / wide as f64);
        }
        out
    }

    fn judge(
        &self,
        clean: &Checked<'_>,
        series: &Series,
        meaning: Meaning,
        up: bool,
        anchor: TimeMs,
    ) -> Option<Signal> {
        let sign = if up { 1.0 } else { -1.0 };
        let count = self.to - self.from;
        let known: usize = self.quiet.iter().map(|(a, b)| b - a).sum();
        if count == 0 || known < 3 {
            return None;
        }
        let wide = (count / 4).clamp(1, 9);
        let inside = self.smooth((self.from, self.to), wide, sign);
        let (peak, worst) = inside.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let usual = Usual::of(self, sign, wide, count, meaning);
        let mut excess = (worst - usual.middle) / usual.reach;
        if self.apart && count >= 4 {
            let calm = quantile(&sorted((self.start..self.end).map(|index| self.value(index, sign))), 0.2);
            let local = (worst - calm) / usual.reach;
            excess = excess.min(local.max(0.35 * excess));
        }
        if excess <= EXCESS_MIN {
            return None;
        }
        let change = (worst - usual.middle).abs();
        let relative = match meaning.aspect {
            Aspect::Errors | Aspect::Cache => change / (usual.scale * 0.005),
            Aspect::Cpu | Aspect::Memory | Aspect::Disk | Aspect::Saturation
                if meaning.share && usual.scale <= 100.0 =>
            {
                worst.abs() / (SHARE_FULL * usual.scale)
            }
            _ => change / (usual.middle.abs() * CHANGE_FULL).max(1e-12),
        };
        let bar = usual.middle + 0.4 * (worst - usual.middle);
        let onset = self.walk_back(self.from + peak + wide / 2, bar, sign);
        // The farther from the moment it began, the less it has to do with it; alerts come some minutes late.
        let late = (self.points[onset].0 - anchor).max(0) as f64 / 720_000.0;
        let early = (anchor - self.points[onset].0 - 300_000).max(0) as f64 / 1_200_000.0;
        let near = (1.0 - 0.4 * late.min(1.0)) * (1.0 - 0.4 * early.min(1.0));
        let strength = (doublings(1.0 + excess) - 0.5).max(0.0) * relative.min(1.0) * near * self.presence();
        let source = Sighting { clean, series, meaning };
        (strength > 0.05)
            .then(|| source.tell(self, strength, self.points[onset].0, up, (usual.middle * sign, worst * sign), false))
    }

    /// How much of the quiet time the series was there at all: what is seldom there is no measure of itself.
    fn presence(&self) -> f64 {
        let (mut there, mut could) = (0.0, 0.0);
        for (from, to) in self.quiet.iter().filter(|(from, to)| to - from > 1) {
            there += (to - from) as f64;
            could += (self.points[to - 1].0 - self.points[*from].0) as f64 / self.step_ms as f64;
        }
        if could <= there { 1.0 } else { (2.0 * there / could).min(1.0).sqrt() }
    }

    /// Since when the values have been above the bar; one value below it is forgiven.
    fn walk_back(&self, peak: usize, bar: f64, sign: f64) -> usize {
        let mut onset = peak.min(self.end - 1);
        let mut index = onset;
        while index > self.start {
            index -= 1;
            if self.value(index, sign) >= bar {
                onset = index;
            } else if index == self.start || self.value(index - 1, sign) < bar {
                break;
            }
        }
        onset
    }

    /// A slow rise over a long time: leaks. It hides from a comparison of windows, as every window is a little worse.
    fn rise(&self, clean: &Checked<'_>, series: &Series, meaning: Meaning, anchor: TimeMs) -> Option<Signal> {
        if !matches!(meaning.aspect, Aspect::Memory | Aspect::Disk | Aspect::Saturation | Aspect::Latency)
            || meaning.bad != Bad::Up
        {
            return None;
        }
        let last = (self.start..self.to).max_by(|a, b| self.points[*a].1.total_cmp(&self.points[*b].1))?;
        let count = last + 1 - self.start;
        if count < 16 || self.points[last].0 < anchor - (anchor - self.points[self.start].0) / 3 {
            return None;
        }
        let stride = (count / 64).max(1);
        let thin: Vec<f64> = (self.start..=last).step_by(stride).map(|index| self.points[index].1).collect();
        let low = quantile(&sorted(thin.iter().copied()), 0.05);
        let high = self.points[last].1;
        let growth = high / low.max(1e-9);
        // A ramp spends its middle half way up; a step does not.
        let middle = (quantile(&sorted(thin.iter().copied()), 0.5) - low) / (high - low).max(1e-9);
        if trend(&thin) < 0.9 || low <= 0.0 || growth < GROWTH_MIN || !(0.2..=0.8).contains(&middle) {
            return None;
        }
        let bar = low + 0.08 * (high - low);
        let onset = (self.start..=last).find(|index| self.points[*index].1 > bar)?;
        let source = Sighting { clean, series, meaning };
        Some(source.tell(self, doublings(growth).min(3.0) + 1.0, self.points[onset].0, true, (low, high), true))
    }

    /// A remaining lifetime that reaches zero.
    fn runs_out(&self, clean: &Checked<'_>, series: &Series, meaning: Meaning) -> Option<Signal> {
        if meaning.aspect != Aspect::Certificate {
            return None;
        }
        let index = (self.start..self.to).find(|index| self.points[*index].1 <= 0.0)?;
        let (before, after) = (self.points[self.start].1, self.points[index].1);
        let source = Sighting { clean, series, meaning };
        (before > 0.0).then(|| source.tell(self, 5.0, self.points[index].0, false, (before, after), false))
    }
}

/// What a series did in quiet.
struct Usual {
    middle: f64,
    /// How far it went from the middle in comparable windows.
    reach: f64,
    /// 1 or 100 for shares, else the usual value.
    scale: f64,
}

impl Usual {
    fn of(part: &Part<'_>, sign: f64, wide: usize, count: usize, meaning: Meaning) -> Self {
        let known: usize = part.quiet.iter().map(|(a, b)| b - a).sum();
        let stride = (known / THIN).max(1);
        let quiet = part.quiet.iter().flat_map(|(a, b)| *a..*b);
        let values = sorted(quiet.step_by(stride).map(|index| part.value(index, sign)));
        let middle = quantile(&values, 0.5);
        let ends = [values.first(), values.last()].into_iter().flatten().map(|value| value.abs());
        let inside = (part.from..part.to).map(|index| part.value(index, sign).abs());
        let most = ends.chain(inside).fold(0.0, f64::max);
        let scale = if most <= 1.2 {
            1.0
        } else if most <= 120.0 {
            100.0
        } else {
            most
        };
        let floor = match meaning.aspect {
            Aspect::Errors | Aspect::Cache => 0.001 * scale,
            _ => 0.02 * middle.abs(),
        };
        let mut maxima = Vec::new();
        let mut slid = Vec::new();
        for range in &part.quiet {
            let smooth = part.smooth(*range, wide, sign);
            let window = (count + 1).saturating_sub(wide).max(1);
            maxima.extend(smooth.chunks(window).map(|chunk| chunk.iter().copied().fold(f64::MIN, f64::max)));
            slid.extend(
                smooth
                    .iter()
                    .copied()
                    .fold(None, |most: Option<f64>, value| Some(most.map_or(value, |m| m.max(value)))),
            );
        }
        let tail = if maxima.len() >= WINDOWS_MIN {
            quantile(&sorted(maxima), 0.95)
        } else {
            slid.into_iter().fold(f64::MIN, f64::max)
        };
        // Few quiet values understate how far they go.
        let doubt = 1.0 + 4.0 / known as f64;
        let reach = (3.0 * spread(&values)).max(tail - middle).max(3.0 * floor).max(1e-9) * doubt;
        Self { middle, reach, scale }
    }
}

/// Puts what was seen into a signal.
struct Sighting<'a, 'b> {
    clean: &'a Checked<'b>,
    series: &'a Series,
    meaning: Meaning,
}

impl Sighting<'_, '_> {
    fn tell(
        &self,
        part: &Part<'_>,
        strength: f64,
        onset_ms: TimeMs,
        up: bool,
        values: (f64, f64),
        slow: bool,
    ) -> Signal {
        let name = self.clean.name(self.series.component);
        let unit = if self.series.unit.is_empty() { String::new() } else { format!(" ({})", self.series.unit) };
        let how = match (slow, up) {
            (true, _) => "grew steadily",
            (false, true) => "rose",
            (false, false) => "fell",
        };
        Signal {
            component: self.series.component,
            aspect: self.meaning.aspect,
            strength,
            onset_ms,
            up,
            before: values.0,
            after: values.1,
            slow,
            of_node: self.meaning.of_node,
            share: self.meaning.share,
            text: format!("{name}: {}{unit} {how} from {} to {}", self.series.name, number(values.0), number(values.1)),
            source: self.series.source.clone(),
            query: format!(
                "metric component={name:?} name={:?}{}",
                self.series.name,
                if self.series.unit.is_empty() { String::new() } else { format!(" statistic={:?}", self.series.unit) }
            ),
            window: part.seen(onset_ms),
        }
    }
}
