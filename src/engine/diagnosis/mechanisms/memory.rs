//! Memory that grows until the limit, told apart from a cache that fills and stops.

use opsward_domain::cause::CauseKind;
use opsward_domain::resource::WorkloadStatus;
use opsward_domain::time::AtMs;

use super::Trace;
use crate::diagnosis::case::Case;
use crate::diagnosis::picture::Topic;
use crate::diagnosis::remedies;
use crate::diagnosis::words::{bytes, claim, clock, span};

/// Least samples to speak of growth.
const POINTS_MIN: usize = 8;
/// Growth that reaches the limit within this time is a leak, not a trend.
const REACHES_LIMIT_S: f64 = 900.0;
/// Least quotient of memory now and at the start of the growth.
const GROWTH_TIMES: f64 = 1.25;
/// Share of the limit from which growth is a danger by itself.
const NEAR_LIMIT: f64 = 0.8;
/// Growth in the last third must be at least this share of the growth overall: a cache that filled stops.
const STILL_GROWING: f64 = 0.4;
/// Memory up to this share of the growth above the lowest level has not begun to grow.
const NEAR_LOW: f64 = 0.08;
/// A fall to this share of the level before is a restart.
const RESTARTED: f64 = 0.7;

/// Growth of one replica since it started.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Growth {
    from_ms: AtMs,
    from: f64,
    to: f64,
    per_s: f64,
}

fn average(points: &[(AtMs, f64)]) -> f64 {
    points.iter().map(|p| p.1).sum::<f64>() / points.len().max(1) as f64
}

/// The points since the last restart.
fn since_restart(points: &[(AtMs, f64)]) -> &[(AtMs, f64)] {
    let fell = points.windows(2).rposition(|pair| pair[1].1 < RESTARTED * pair[0].1);
    points.get(fell.map_or(0, |at| at + 1)..).unwrap_or_default()
}

/// Where steady growth began: the last stretch near the lowest level.
fn start_of_growth(points: &[(AtMs, f64)], low: f64, high: f64) -> usize {
    let step = (points.len() / 48).max(3);
    let near = low + NEAR_LOW * (high - low);
    let last_low = points.chunks(step).rposition(|chunk| average(chunk) <= near).unwrap_or(0);
    (last_low * step).min(points.len() - 1)
}

fn growth(points: &[(AtMs, f64)]) -> Option<Growth> {
    let run = since_restart(points);
    if run.len() < POINTS_MIN {
        return None;
    }
    let edge = (run.len() / 10).max(2);
    let low = run.chunks(edge).map(average).fold(f64::INFINITY, f64::min);
    let to = average(&run[run.len() - edge..]);
    if to < GROWTH_TIMES * low {
        return None;
    }
    let run = &run[start_of_growth(run, low, to)..];
    if run.len() < POINTS_MIN / 2 {
        return None;
    }
    let seconds = |part: &[(AtMs, f64)]| match (part.first(), part.last()) {
        (Some(a), Some(b)) if b.0 > a.0 => (b.0 - a.0) as f64 / 1_000.0,
        _ => f64::INFINITY,
    };
    let edge = (run.len() / 10).max(1);
    let (from, to) = (average(&run[..edge]), average(&run[run.len() - edge..]));
    let per_s = (to - from) / seconds(run);
    let tail = &run[run.len() - (run.len() / 3).max(2)..];
    let third = (tail.len() / 3).max(1);
    let tail_per_s = (average(&tail[tail.len() - third..]) - average(&tail[..third])) / (seconds(tail) * 2.0 / 3.0);
    (per_s > 0.0 && tail_per_s >= STILL_GROWING * per_s).then_some(Growth { from_ms: run[0].0, from, to, per_s })
}

/// A leak: growth that was ended by the limit, will be soon, or already hurts.
pub(super) fn leak(case: &Case<'_>, status: &WorkloadStatus) -> Option<Trace> {
    let name = &status.name;
    let found = case.symptoms.get(name)?;
    let limit = status.spec.limits.memory_bytes as f64;
    let memory = &case.vital(name)?.memory;
    let kills: Vec<AtMs> = found.exits.iter().filter(|e| e.reason == "memory_limit").map(|e| e.at_ms).collect();
    let fastest = memory.iter().filter_map(|m| growth(&m.points)).max_by(|a, b| a.per_s.total_cmp(&b.per_s));
    let before_kill = memory.iter().filter_map(|m| {
        let fell = m.points.windows(2).rposition(|pair| pair[1].1 < RESTARTED * pair[0].1)?;
        growth(&m.points[..=fell])
    });
    let grown = before_kill.min_by_key(|g| g.from_ms).filter(|_| !kills.is_empty()).or(fastest);
    let left_s = grown.map_or(f64::INFINITY, |g| (limit - g.to).max(0.0) / g.per_s);
    let near = grown.is_some_and(|g| g.to >= NEAR_LIMIT * limit);
    let strength = match (kills.len(), grown) {
        (0, None) => return None,
        (0, Some(_)) if near && left_s < REACHES_LIMIT_S => 1.0,
        (0, Some(_)) if found.any() && left_s < REACHES_LIMIT_S => 0.7,
        (0, Some(_)) => return None,
        (_, Some(_)) => 1.0,
        // Killed at the limit without having grown: the limit is more suspect than the program.
        (_, None) => 0.6,
    };
    let cite = |text: String, topics: &[Topic]| claim(&case.picture.citations, text, topics);
    let mut claims = Vec::new();
    if let Some(g) = grown {
        let text = format!(
            "memory of a {name} replica grew from {} to {} since {}, about {} a minute, with a limit of {}",
            bytes(g.from),
            bytes(g.to),
            clock(g.from_ms),
            bytes(g.per_s * 60.0),
            bytes(limit)
        );
        claims.push(cite(text, &[Topic::Metrics(name.clone())]));
    }
    if let Some(last) = kills.last() {
        let text = format!(
            "{name} was ended at its memory limit {} times, last {} ago",
            kills.len(),
            span(case.picture.now_ms.saturating_sub(*last))
        );
        claims.push(cite(text, &[Topic::Events, Topic::State]));
    }
    Some(Trace {
        kind: CauseKind::MemoryLeak,
        strength,
        since_ms: grown.map(|g| g.from_ms).or(kills.first().copied()),
        claims,
        remedies: vec![remedies::restart(status), remedies::more_memory(status)],
        takes_change: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(value: impl Fn(i64) -> f64) -> Vec<(AtMs, f64)> {
        (0..300).map(|i| (i * 1_000, value(i))).collect()
    }

    #[test]
    fn growth_is_told_from_a_cache_that_filled_and_from_a_saw() {
        let leak = growth(&points(|i| 100.0 + (i - 150).max(0) as f64)).unwrap();
        assert!((leak.from_ms - 150_000).abs() < 40_000 && (leak.per_s - 1.0).abs() < 0.3, "{leak:?}");
        assert_eq!(growth(&points(|_| 100.0)), None);
        assert_eq!(growth(&points(|i| 100.0 + (i * 3).min(200) as f64)), None, "filled and stopped");
        assert_eq!(growth(&points(|i| 100.0 + (i % 7) as f64)), None);
        assert_eq!(growth(&[]), None);
    }
}
