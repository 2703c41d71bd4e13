//! Requests, failures and answer times of one workload over one window. Never judges.

use opsward_domain::telemetry::Series;
use opsward_domain::time::Window;

use super::picture::SeriesByMetric;
use super::signals::{Outcome, outcome};
use super::track::{first_ms, increase_in, quantile};

/// What went through a workload in a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Traffic {
    pub(super) requests: f64,
    pub(super) failed: f64,
    pub(super) p95_ms: Option<f64>,
}

impl Traffic {
    /// Share of failed requests; NaN without requests.
    pub(super) fn error_ratio(&self) -> f64 {
        if self.requests > 0.0 { self.failed / self.requests } else { f64::NAN }
    }
}

/// Measures one window.
pub(super) fn measure(series: &SeriesByMetric, window: Window) -> Traffic {
    let of = |name: &str| series.get(name).map_or(&[][..], Vec::as_slice);
    let served = of("http_requests_total");
    let from = first_ms(served);
    let failed = |one: &&Series| {
        let code = one.labels.get("code").or_else(|| one.labels.get("status"));
        outcome(code.map_or("", String::as_str)) == Outcome::Failed
    };
    let count = |one: &Series| increase_in(&one.points, window, from);
    Traffic {
        requests: served.iter().map(count).sum(),
        failed: served.iter().filter(failed).map(count).sum(),
        p95_ms: quantile(of("http_request_duration_seconds_bucket"), window, 0.95).map(|(s, _)| s * 1_000.0),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// `seconds` of counters, one sample a second; the failing code appears with its first failure.
    pub(in crate::diagnosis) fn series(seconds: i64, rate: f64, errors: impl Fn(i64) -> f64) -> SeriesByMetric {
        let one = |code: &str, points: Vec<(i64, f64)>| Series {
            workload: None,
            replica: Some(0),
            labels: BTreeMap::from([("code".to_owned(), code.to_owned())]),
            points,
        };
        let (mut good, mut bad, mut g, mut b) = (vec![], vec![], 0.0, 0.0);
        for t in 0..seconds {
            g += rate * (1.0 - errors(t));
            b += rate * errors(t);
            good.push((t * 1_000, g));
            if b > 0.0 {
                bad.push((t * 1_000, b));
            }
        }
        SeriesByMetric::from([("http_requests_total".to_owned(), vec![one("200", good), one("500", bad)])])
    }

    #[test]
    fn windows_count_what_is_inside_and_new_codes() {
        let series = series(60, 10.0, |t| if t >= 30 { 0.5 } else { 0.0 });
        let before = measure(&series, Window { from_ms: 10_000, to_ms: 20_000 });
        assert!((before.requests - 100.0).abs() < 1e-6 && before.failed == 0.0);
        let first = measure(&series, Window { from_ms: 29_000, to_ms: 30_000 });
        assert!((first.failed - 5.0).abs() < 1e-6, "{first:?}");
        let after = measure(&series, Window { from_ms: 40_000, to_ms: 50_000 });
        assert!((after.error_ratio() - 0.5).abs() < 1e-6);
        assert!(measure(&series, Window { from_ms: 90_000, to_ms: 99_000 }).error_ratio().is_nan());
    }
}
