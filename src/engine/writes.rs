//! A volume with room again is only healthy once something is written to it. Adds that to what a goal's check
//! found; never turns a bad finding into a good one.

use opsward_domain::event::CheckVerdict;
use opsward_domain::telemetry::Series;
use opsward_domain::time::Window;

use crate::investigate::Measured;

/// Bytes that a volume holds, over time.
pub(crate) const VOLUME_METRIC: &str = "volume_used_bytes";

/// `measured`, unless it says better while nothing was written inside `after`: then nobody can tell.
pub(crate) fn confirmed(mut measured: Measured, used: &[Series], after: Window) -> Measured {
    if measured.verdict != CheckVerdict::Better {
        return measured;
    }
    let written = written(used, after);
    if !written {
        measured.verdict = CheckVerdict::Unverified;
    }
    if let Some(claim) = measured.claims.first_mut() {
        claim.text.push_str(match written {
            true => ", and it is written to",
            false => ", but nothing was written to it since",
        });
    }
    measured
}

fn written(used: &[Series], after: Window) -> bool {
    let changed = |series: &Series| {
        let inside: Vec<f64> =
            series.points.iter().filter(|(at_ms, _)| after.contains(*at_ms)).map(|(_, value)| *value).collect();
        inside.windows(2).any(|pair| pair[0] != pair[1])
    };
    used.iter().any(changed)
}

#[cfg(test)]
mod tests {
    use opsward_domain::cause::Claim;

    use super::*;

    fn measured(verdict: CheckVerdict) -> Measured {
        Measured { verdict, claims: vec![Claim { text: "volume orders is 40 % full".into(), evidence: Vec::new() }] }
    }

    fn series(values: &[f64]) -> Series {
        let points = values.iter().zip(0..).map(|(value, at)| (at * 1_000, *value)).collect();
        Series { workload: None, replica: None, labels: Default::default(), points }
    }

    #[test]
    fn room_alone_is_not_health() {
        let after = Window { from_ms: 3_000, to_ms: 7_000 };
        let judge = |verdict, values: &[f64]| confirmed(measured(verdict), &[series(values)], after);
        let grows = judge(CheckVerdict::Better, &[5.0, 5.0, 5.0, 5.0, 6.0, 7.0]);
        assert_eq!((grows.verdict, grows.claims[0].text.contains("is written to")), (CheckVerdict::Better, true));
        // What was written before the change says nothing about it.
        let still = judge(CheckVerdict::Better, &[1.0, 2.0, 3.0, 5.0, 5.0, 5.0]);
        assert_eq!(still.verdict, CheckVerdict::Unverified);
        assert!(still.claims[0].text.ends_with("but nothing was written to it since"), "{:?}", still.claims);
        assert_eq!(judge(CheckVerdict::Better, &[]).verdict, CheckVerdict::Unverified, "unknown is not health");
        // Swept is written to as well; and a bad finding stays one.
        assert_eq!(judge(CheckVerdict::Better, &[9.0, 9.0, 9.0, 9.0, 2.0]).verdict, CheckVerdict::Better);
        assert_eq!(judge(CheckVerdict::Same, &[5.0, 5.0, 5.0, 5.0, 6.0]), measured(CheckVerdict::Same));
    }
}
