//! Did it help? A goal against what was measured before and after. Never calls silence health.

use opsward_domain::alert::Condition;
use opsward_domain::cause::Claim;
use opsward_domain::event::CheckVerdict;
use opsward_domain::name::Id;
use opsward_domain::plan::Goal;
use opsward_domain::resource::{VolumeStatus, WorkloadStatus};
use opsward_domain::telemetry::{Lifecycle, ReplicaEvent};
use opsward_domain::time::{AtMs, Window};

use super::picture::SeriesByMetric;
use super::traffic::{Traffic, measure};
use super::words::{claim, percent};

/// How much worse than before counts as worse: a quotient and a floor for each signal.
const WORSE_TIMES: f64 = 1.3;
const WORSE_ERRORS: f64 = 0.03;
const WORSE_LATENCY_MS: f64 = 50.0;

/// What a check looks at: the world before the plan and after its last step.
#[derive(Debug, Clone, Copy)]
pub struct After<'a> {
    /// Some time before the plan began, with the condition present.
    pub before: Window,
    /// From the end of the last step until now.
    pub after: Window,
    /// Metrics of the goal's workload over both spans.
    pub series: &'a SeriesByMetric,
    /// The goal's workload now, if it exists.
    pub status: Option<&'a WorkloadStatus>,
    /// Every volume now.
    pub volumes: &'a [VolumeStatus],
    /// Lifecycle events over both spans.
    pub events: &'a [ReplicaEvent],
    /// What to cite.
    pub evidence: &'a [Id],
}

/// The verdict with the sentences for it. `Unverified` until the goal's windows have passed with enough
/// requests in each; ask again until [`Goal::within_ms`] is over.
pub fn check(goal: &Goal, after: &After<'_>) -> (CheckVerdict, Vec<Claim>) {
    let (verdict, text) = match &goal.condition {
        Condition::ErrorRatio { above } => requests(goal, after, *above, WORSE_ERRORS, |t| t.error_ratio(), percent),
        Condition::LatencyP95 { above_ms } => {
            let show = |ms: f64| format!("{ms:.0} ms");
            requests(goal, after, *above_ms, WORSE_LATENCY_MS, |t| t.p95_ms.unwrap_or(f64::NAN), show)
        }
        Condition::CrashLoop | Condition::NotReady => replicas(goal, after),
        Condition::VolumeNearlyFull { volume, above } => room(after, volume.as_str(), *above),
        Condition::Reported => {
            (CheckVerdict::Unverified, "the condition was reported in words and cannot be measured here".to_owned())
        }
    };
    let mut said = claim(&super::Citations::default(), text, &[]);
    said.evidence = after.evidence.to_vec();
    (verdict, vec![said])
}

/// The last `count` whole windows of `span`, newest last; fewer if it is shorter.
fn windows(span: Window, window_ms: i64, count: u32) -> Vec<Window> {
    let length = window_ms.max(1);
    let fitting = (span.length_ms() / length).min(i64::from(count));
    let start = |back: i64| span.to_ms.saturating_sub(back.saturating_mul(length));
    (0..fitting).rev().map(|i| Window { from_ms: start(i + 1), to_ms: start(i) }).collect()
}

fn requests(
    goal: &Goal,
    after: &After<'_>,
    bound: f64,
    worse_by: f64,
    value: impl Fn(&Traffic) -> f64,
    show: impl Fn(f64) -> String,
) -> (CheckVerdict, String) {
    let wanted = goal.windows.max(1);
    let measured: Vec<Traffic> =
        windows(after.after, goal.window_ms, wanted).into_iter().map(|w| measure(after.series, w)).collect();
    let enough = goal.requests_min.max(1) as f64;
    let busy: Vec<f64> = measured.iter().filter(|t| t.requests >= enough).map(&value).filter(|v| !v.is_nan()).collect();
    let name = &goal.workload;
    if busy.len() < wanted as usize {
        let text = format!(
            "{} of {wanted} windows after the change had the {enough:.0} requests that {name} needs to be judged",
            busy.len()
        );
        return (CheckVerdict::Unverified, text);
    }
    let now = busy.iter().sum::<f64>() / busy.len() as f64;
    let worst = busy.iter().copied().fold(f64::MIN, f64::max);
    if worst <= bound {
        let text =
            format!("{name} stayed at {} or better over {wanted} windows, the bound is {}", show(worst), show(bound));
        return (CheckVerdict::Better, text);
    }
    let before = value(&measure(after.series, after.before));
    let text = format!("{name} is at {}, {} before, the bound is {}", show(now), show(before), show(bound));
    let worse = !before.is_nan() && now > before * WORSE_TIMES && now > before + worse_by;
    (if worse { CheckVerdict::Worse } else { CheckVerdict::Same }, text)
}

fn ended(events: &[ReplicaEvent], goal: &Goal, span: Window) -> usize {
    let exits = events.iter().filter(|event| event.workload == goal.workload && span.contains(event.at_ms));
    exits.filter(|event| matches!(&event.what, Lifecycle::Exited { exit } if exit.reason != "stopped")).count()
}

fn replicas(goal: &Goal, after: &After<'_>) -> (CheckVerdict, String) {
    let Some(status) = after.status else {
        return (CheckVerdict::Worse, format!("{} does not exist any more", goal.workload));
    };
    let quiet_ms: AtMs = goal.window_ms.max(1).saturating_mul(i64::from(goal.windows.max(1)));
    let (ready, wanted) = (status.ready(), status.spec.replicas);
    let recent = ended(after.events, goal, Window::before(after.after.to_ms, quiet_ms));
    let text = format!("{ready} of {wanted} replicas of {} are ready, {recent} ended lately", goal.workload);
    let verdict = if !status.settled() || recent > 0 {
        CheckVerdict::Same
    } else if after.after.length_ms() < quiet_ms {
        CheckVerdict::Unverified
    } else {
        CheckVerdict::Better
    };
    (verdict, text)
}

fn room(after: &After<'_>, volume: &str, above: f64) -> (CheckVerdict, String) {
    let Some(found) = after.volumes.iter().find(|one| one.name.as_str() == volume) else {
        return (CheckVerdict::Worse, format!("volume {volume} does not exist any more"));
    };
    let used = found.used_bytes as f64 / found.size_bytes.max(1) as f64;
    let text = format!("volume {volume} is {} full, the bound is {}", percent(used), percent(above));
    (if used < above { CheckVerdict::Better } else { CheckVerdict::Same }, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::traffic::tests::series;
    use opsward_domain::name::Workload;

    fn goal(condition: Condition) -> Goal {
        Goal {
            workload: Workload::parse("web").unwrap(),
            condition,
            windows: 3,
            window_ms: 5_000,
            requests_min: 50,
            within_ms: 60_000,
        }
    }

    fn verdict(errors: impl Fn(i64) -> f64, per_second: f64) -> CheckVerdict {
        let series = series(100, per_second, errors);
        let after = After {
            before: Window { from_ms: 30_000, to_ms: 60_000 },
            after: Window { from_ms: 70_000, to_ms: 99_000 },
            series: &series,
            status: None,
            volumes: &[],
            events: &[],
            evidence: &[],
        };
        check(&goal(Condition::ErrorRatio { above: 0.05 }), &after).0
    }

    #[test]
    fn better_same_worse_and_not_enough_traffic() {
        let bad = |share: f64| move |t: i64| if t < 65 { 0.3 } else { share };
        assert_eq!(verdict(bad(0.01), 40.0), CheckVerdict::Better);
        assert_eq!(verdict(bad(0.3), 40.0), CheckVerdict::Same);
        assert_eq!(verdict(bad(0.8), 40.0), CheckVerdict::Worse);
        assert_eq!(verdict(bad(0.0), 2.0), CheckVerdict::Unverified);
        assert_eq!(verdict(bad(0.0), 0.0), CheckVerdict::Unverified);
        // Only the last window is still bad.
        assert_eq!(verdict(|t| if !(65..=96).contains(&t) { 0.3 } else { 0.0 }, 40.0), CheckVerdict::Same);
    }

    #[test]
    fn words_and_gone_things_are_never_better() {
        let series = SeriesByMetric::new();
        let span = Window { from_ms: 0, to_ms: 60_000 };
        let (before, after) = (span, span);
        let after = After { before, after, series: &series, status: None, volumes: &[], events: &[], evidence: &[] };
        assert_eq!(check(&goal(Condition::Reported), &after).0, CheckVerdict::Unverified);
        assert_eq!(check(&goal(Condition::NotReady), &after).0, CheckVerdict::Worse);
        assert_eq!(check(&goal(Condition::LatencyP95 { above_ms: 100.0 }), &after).0, CheckVerdict::Unverified);
    }
}
