//! Sources whose clocks cannot be meant: a source that shares no minute with any other, and would if it were some
//! whole half-hours away, was written in another time zone. It is told, never silently mended.

use opsward_causes::case::TimeMs;

use crate::gather::Gather;
use crate::time;

/// Zones differ by multiples of this.
const STEP_MS: i64 = 30 * 60_000;
/// Furthest zones apart.
const FARTHEST_MS: i64 = 14 * 3_600_000;
/// A source that lies apart by less than this is merely early or late.
const APART_MS: i64 = 20 * 60_000;

/// First and last moment of a source.
type Extent = (TimeMs, TimeMs);

/// Tells of sources that lie apart from the others.
pub(crate) fn check(gather: &mut Gather) {
    let case = &gather.case;
    let mut extents: Vec<(&str, Extent)> = Vec::new();
    let mut add = |name, times: &mut dyn Iterator<Item = TimeMs>| {
        let found = times.fold(None, |extent: Option<Extent>, at| {
            Some(extent.map_or((at, at), |(low, high)| (low.min(at), high.max(at))))
        });
        extents.extend(found.map(|extent| (name, extent)));
    };
    add("logs", &mut case.logs.iter().map(|line| line.at_ms));
    add(
        "metrics",
        &mut case
            .metrics
            .iter()
            .flat_map(|series| [series.points.first(), series.points.last()])
            .flatten()
            .map(|point| point.0),
    );
    add("spans", &mut case.spans.iter().map(|span| span.start_ms));
    add("alert", &mut case.alert.iter().filter_map(|alert| alert.fired_ms));
    let told: Vec<String> = extents.iter().filter_map(|(name, extent)| apart(name, *extent, &extents)).collect();
    for what in told {
        gather.gap("clocks", what);
    }
}

/// What is to be told of a source that lies apart from all others.
fn apart(name: &str, (low, high): Extent, all: &[(&str, Extent)]) -> Option<String> {
    if all.len() < 3 && name == "alert" {
        return None;
    }
    let others: Vec<Extent> = all.iter().filter(|(other, _)| *other != name).map(|(_, extent)| *extent).collect();
    let (others_low, others_high) =
        (others.iter().map(|extent| extent.0).min()?, others.iter().map(|extent| extent.1).max()?);
    let gap = if low > others_high {
        low - others_high
    } else if others_low > high {
        others_low - high
    } else {
        0
    };
    if gap < APART_MS {
        return None;
    }
    let shift = (1..=FARTHEST_MS / STEP_MS).map(|step| step * STEP_MS).flat_map(|shift| [shift, -shift]);
    let fits = shift.into_iter().find(|shift| low - shift <= others_high && high - shift >= others_low);
    let span = format!(
        "{name} lie from {} to {}, everything else from {} to {}",
        time::shown(low),
        time::shown(high),
        time::shown(others_low),
        time::shown(others_high)
    );
    Some(match fits {
        Some(shift) => {
            let hours = shift as f64 / 3_600_000.0;
            format!("{span}: written {hours:+} h away? if so, say timezone = \"...\" in bundle.toml")
        }
        None => format!("{span}: they share no moment"),
    })
}
