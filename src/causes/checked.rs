//! A case as the diagnosis may rely on it: every id points somewhere, times rise, values are finite, and nothing is
//! larger than a bound. What was left out is said. Copies nothing that is already in order.

use std::borrow::Cow;

use crate::Options;
use crate::case::{Case, ComponentId, LogLine, Series, Span, TimeMs};

/// Most components.
const COMPONENTS_MAX: usize = 20_000;
/// Most series.
const SERIES_MAX: usize = 50_000;
/// Most changes, events and patterns each.
pub(crate) const RECORDS_MAX: usize = 5_000;

/// A series with its points in order.
pub(crate) type Ordered<'a> = (&'a Series, Cow<'a, [(TimeMs, f64)]>);

/// A case in order.
pub(crate) struct Checked<'a> {
    /// What was given.
    pub case: &'a Case,
    /// Usable series with their points.
    pub series: Vec<Ordered<'a>>,
    /// Usable lines in time order.
    pub logs: Vec<&'a LogLine>,
    /// Usable spans in order of their start.
    pub spans: Vec<&'a Span>,
    /// What was left out, for people.
    pub left_out: Vec<String>,
}

impl<'a> Checked<'a> {
    /// Puts a case in order.
    pub(crate) fn of(case: &'a Case, options: &Options) -> Self {
        let mut left_out = Vec::new();
        let known = case.components.len().min(COMPONENTS_MAX);
        if known < case.components.len() {
            left_out.push(format!("{} components beyond the first {known}", case.components.len() - known));
        }
        let valid = |id: ComponentId| (id.0 as usize) < known;
        let at = options.at_ms.or(case.alert.as_ref().and_then(|alert| alert.fired_ms));
        let mut series = Vec::with_capacity(case.metrics.len().min(SERIES_MAX));
        for one in case.metrics.iter().filter(|one| valid(one.component)).take(SERIES_MAX) {
            let points = in_order(&one.points, options.points_max);
            if !points.is_empty() {
                series.push((one, points));
            }
        }
        if case.metrics.len() > SERIES_MAX {
            left_out.push(format!("{} metric series beyond the first {SERIES_MAX}", case.metrics.len() - SERIES_MAX));
        }
        let logs =
            nearest(case.logs.iter().filter(|line| valid(line.component)), |line| line.at_ms, at, options.lines_max);
        if logs.len() < case.logs.len() {
            left_out
                .push(format!("{} log lines, the farthest from the moment in question", case.logs.len() - logs.len()));
        }
        let spans = nearest(
            case.spans.iter().filter(|span| valid(span.component)),
            |span| span.start_ms,
            at,
            options.spans_max,
        );
        if spans.len() < case.spans.len() {
            left_out
                .push(format!("{} spans, the farthest from the moment in question", case.spans.len() - spans.len()));
        }
        Self { case, series, logs, spans, left_out }
    }

    /// A component's name.
    pub(crate) fn name(&self, id: ComponentId) -> &'a str {
        self.case.components.get(id.0 as usize).map_or("", |component| component.name.as_str())
    }

    /// The service a component belongs to, itself when it is one.
    pub(crate) fn service(&self, id: ComponentId) -> ComponentId {
        let known = self.case.components.len();
        self.case
            .components
            .get(id.0 as usize)
            .and_then(|component| component.service)
            .filter(|service| (service.0 as usize) < known)
            .unwrap_or(id)
    }

    /// The moment in question, if one was given.
    pub(crate) fn asked_at(&self, options: &Options) -> Option<TimeMs> {
        options.at_ms.or_else(|| self.case.alert.as_ref().and_then(|alert| alert.fired_ms))
    }
}

/// The latest points, finite and strictly rising in time.
fn in_order(points: &[(TimeMs, f64)], most: usize) -> Cow<'_, [(TimeMs, f64)]> {
    let points = &points[points.len().saturating_sub(most)..];
    let good = points.iter().all(|(_, value)| value.is_finite()) && points.windows(2).all(|pair| pair[0].0 < pair[1].0);
    if good {
        return Cow::Borrowed(points);
    }
    let mut owned: Vec<(TimeMs, f64)> = points.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    owned.sort_by_key(|(at, _)| *at);
    owned.dedup_by_key(|(at, _)| *at);
    Cow::Owned(owned)
}

/// Those nearest to the moment, in time order.
fn nearest<'a, T>(
    all: impl Iterator<Item = &'a T>,
    time: impl Fn(&T) -> TimeMs,
    at: Option<TimeMs>,
    most: usize,
) -> Vec<&'a T> {
    let mut kept: Vec<&T> = all.collect();
    if kept.len() > most {
        let at = at.unwrap_or(TimeMs::MAX);
        kept.sort_by_key(|one| time(one).abs_diff(at));
        kept.truncate(most);
    }
    if !kept.windows(2).all(|pair| time(pair[0]) <= time(pair[1])) {
        kept.sort_by_key(|one| time(one));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_out_of_order_not_finite_or_twice_are_put_right() {
        let points = [(3, 1.0), (1, f64::NAN), (2, 5.0), (2, 6.0)];
        assert_eq!(in_order(&points, 10).as_ref(), &[(2, 5.0), (3, 1.0)]);
        assert_eq!(in_order(&[(1, 1.0), (2, 2.0), (3, 3.0)], 2).as_ref(), &[(2, 2.0), (3, 3.0)]);
        assert!(in_order(&[(1, f64::INFINITY)], 2).is_empty());
    }
}
