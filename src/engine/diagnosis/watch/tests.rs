//! Faults fire within seconds; bursts, hiccups, single crashes and rolling restarts do not.

use super::*;
use opsward_domain::name::Volume;
use opsward_domain::resource::{Replica, ReplicaExit, ReplicaState, ResourceVersion, Revision};
use opsward_domain::spec::{Limits, Objective, Restart, WorkloadSpec};
use opsward_domain::telemetry::{Lifecycle, Series};

fn web() -> Workload {
    Workload::parse("web").unwrap()
}

fn status(states: &[ReplicaState]) -> WorkloadStatus {
    let spec = WorkloadSpec {
        version: "1".into(),
        command: vec!["/bin/web".into()],
        env: BTreeMap::new(),
        files: BTreeMap::new(),
        replicas: states.len() as u32,
        limits: Limits { memory_bytes: 1 << 27, open_files: 1024 },
        port: true,
        health: None,
        metrics_path: None,
        volumes: vec![],
        depends_on: vec![],
        restart: Restart::Always,
        objective: Some(Objective { error_ratio_max: Some(0.05), latency_p95_ms_max: Some(200.0) }),
        image: None,
    };
    let replica = |(index, state): (usize, &ReplicaState)| Replica {
        index: index as u32,
        pid: Some(7),
        state: *state,
        port: None,
        revision: 1,
        restarts: 0,
        started_at_ms: -600_000,
        memory_bytes: 0,
        last_exit: None,
        instance: None,
    };
    WorkloadStatus {
        name: web(),
        revision: 1,
        revisions: vec![Revision { revision: 1, at_ms: -600_000, spec: spec.clone() }],
        resource_version: ResourceVersion("1".into()),
        address: None,
        replicas: states.iter().enumerate().map(replica).collect(),
        spec,
    }
}

/// Counters at one sample a second; answer times are exponential around a mean.
fn traffic(seconds: i64, rate: f64, errors: impl Fn(i64) -> f64, mean_ms: impl Fn(i64) -> f64) -> SeriesByMetric {
    let mut all = crate::diagnosis::traffic::tests::series(seconds, rate, errors);
    let mut buckets: Vec<Series> = Vec::new();
    for bound in [0.05, 0.1, 0.2, 0.4, 0.8, f64::INFINITY] {
        let mut sum = 0.0;
        let step = |t: i64| {
            sum += rate * (1.0 - (-bound * 1_000.0 / mean_ms(t)).exp());
            (t * 1_000, sum)
        };
        let points = (0..seconds).map(step).collect();
        let le = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
        let labels = BTreeMap::from([("le".to_owned(), le)]);
        buckets.push(Series { workload: None, replica: Some(0), labels, points });
    }
    all.insert("http_request_duration_seconds_bucket".to_owned(), buckets);
    all
}

fn cut(series: &SeriesByMetric, to_ms: i64) -> SeriesByMetric {
    let mut out = series.clone();
    for one in out.values_mut().flatten() {
        one.points.retain(|point| point.0 <= to_ms);
    }
    out
}

/// Runs second by second; gives the seconds at which alerts rose and cleared.
fn run(series: &SeriesByMetric, from: i64, to: i64) -> (Vec<(i64, String)>, Vec<i64>) {
    let (mut state, mut raised, mut cleared) = (WatchState::default(), vec![], vec![]);
    let workspace = Workspace::parse("shop").unwrap();
    let workloads = [status(&[ReplicaState::Ready])];
    for t in from..to {
        let known = BTreeMap::from([(web(), cut(series, t * 1_000))]);
        let input = WatchInput {
            workspace: &workspace,
            now_ms: t * 1_000 + 300,
            workloads: &workloads,
            volumes: &[],
            series: &known,
            events: &[],
        };
        let seen = evaluate(&input, &mut state);
        raised.extend(seen.raised.into_iter().map(|alert| (t, alert.name)));
        cleared.extend(seen.cleared.iter().map(|_| t));
    }
    (raised, cleared)
}

#[test]
fn errors_fire_within_ten_seconds_once_and_clear_when_gone() {
    for rate in [3.0, 8.0, 60.0] {
        let series = traffic(200, rate, |t| if (100..140).contains(&t) { 0.3 } else { 0.01 }, |_| 20.0);
        let (raised, cleared) = run(&series, 60, 200);
        let [(at, name)] = raised.as_slice() else { panic!("{rate}: {raised:?}") };
        assert_eq!(name, "HighErrorRatio");
        assert!((103..=if rate < 4.0 { 115 } else { 110 }).contains(at), "{rate}: fired at {at}");
        assert_eq!(cleared.len(), 1, "{rate}");
        assert!(cleared[0] > 140, "{rate}: cleared at {}", cleared[0]);
    }
}

#[test]
fn slowness_fires_and_a_hiccup_does_not() {
    let slow = traffic(140, 40.0, |_| 0.0, |t| if t >= 100 { 300.0 } else { 20.0 });
    let (raised, _) = run(&slow, 60, 140);
    assert!(matches!(raised.as_slice(), [(at, name)] if *at <= 110 && name == "HighLatency"), "{raised:?}");
    let hiccup = traffic(140, 40.0, |_| 0.0, |t| if (100..103).contains(&t) { 900.0 } else { 20.0 });
    assert_eq!(run(&hiccup, 60, 140).0, vec![]);
}

#[test]
fn bursts_silence_and_few_requests_do_not_fire() {
    let burst = traffic(160, 40.0, |t| if (100..103).contains(&t) { 0.6 } else { 0.01 }, |_| 20.0);
    assert_eq!(run(&burst, 60, 160).0, vec![]);
    let silence = traffic(160, 0.0, |_| 0.0, |_| 20.0);
    assert_eq!(run(&silence, 60, 160).0, vec![]);
    // One failure among few requests is a large share and no alert.
    let few = traffic(160, 0.4, |t| if t == 100 { 1.0 } else { 0.0 }, |_| 20.0);
    assert_eq!(run(&few, 60, 160).0, vec![]);
}

fn exit_at(at_ms: i64, reason: &str) -> ReplicaEvent {
    let exit = ReplicaExit { at_ms, code: Some(1), signal: None, reason: reason.into() };
    let workspace = Workspace::parse("shop").unwrap();
    ReplicaEvent { workspace, workload: web(), replica: 0, at_ms, what: Lifecycle::Exited { exit } }
}

/// Looks at one state of replicas for `seconds`; gives what rose.
fn steady(status: &WorkloadStatus, volumes: &[VolumeStatus], events: &[ReplicaEvent], seconds: i64) -> Vec<String> {
    let mut state = WatchState::default();
    let workspace = Workspace::parse("shop").unwrap();
    let workloads = [status.clone()];
    let series = BTreeMap::new();
    let look = |t: i64| {
        let now_ms = t * 1_000;
        let input =
            WatchInput { workspace: &workspace, now_ms, workloads: &workloads, volumes, series: &series, events };
        evaluate(&input, &mut state).raised
    };
    (100..100 + seconds).flat_map(look).map(|alert| alert.name).collect()
}

#[test]
fn a_crash_loop_fires_and_one_crash_or_planned_stops_do_not() {
    use ReplicaState::Ready;
    let loops: Vec<ReplicaEvent> = [95_000, 96_000, 98_000].map(|at| exit_at(at, "exited")).into();
    assert_eq!(steady(&status(&[Ready]), &[], &loops, 5), vec!["CrashLoop"]);
    assert_eq!(steady(&status(&[Ready]), &[], &loops[..1], 5), Vec::<String>::new());
    let planned: Vec<ReplicaEvent> = [95_000, 96_000, 98_000].map(|at| exit_at(at, "stopped")).into();
    assert_eq!(steady(&status(&[Ready]), &[], &planned, 5), Vec::<String>::new());
}

#[test]
fn replicas_that_stay_unready_fire_and_a_rolling_restart_does_not() {
    use ReplicaState::{Ready, Starting, Unhealthy};
    assert_eq!(steady(&status(&[Ready, Unhealthy]), &[], &[], 10), vec!["ReplicasNotReady"]);
    let mut rolling = status(&[Ready, Starting]);
    rolling.replicas[1].started_at_ms = 95_000;
    assert_eq!(steady(&rolling, &[], &[], 10), Vec::<String>::new());
    assert_eq!(steady(&rolling, &[], &[], 60), vec!["ReplicasNotReady"], "never became ready");
}

#[test]
fn a_nearly_full_volume_fires_and_what_is_gone_clears() {
    let volume = |used_bytes| VolumeStatus {
        name: Volume::parse("data").unwrap(),
        size_bytes: 100,
        used_bytes,
        mounted_by: vec![web()],
        resource_version: ResourceVersion("1".into()),
    };
    let ready = status(&[ReplicaState::Ready]);
    assert_eq!(steady(&ready, &[volume(95)], &[], 5), vec!["VolumeNearlyFull"]);
    assert_eq!(steady(&ready, &[volume(80)], &[], 5), Vec::<String>::new());
    let workspace = Workspace::parse("shop").unwrap();
    let mut state = WatchState::default();
    state.resume("old", 0);
    let input = WatchInput {
        workspace: &workspace,
        now_ms: 0,
        workloads: &[],
        volumes: &[],
        series: &BTreeMap::new(),
        events: &[],
    };
    assert_eq!(evaluate(&input, &mut state).cleared, vec!["old".to_owned()]);
    assert_eq!(state.firing().count(), 0);
}
