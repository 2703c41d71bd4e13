//! What is kept and for how long: old lines and samples go when their time has come, of every tenant and of
//! no other; a full disk stops what comes in, never the journal, and lets go by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opsward_domain::context::{CallContext, Origin};
use opsward_domain::fault::Code;
use opsward_domain::name::{Tenant, Workload};
use opsward_domain::resource::ReplicaExit;
use opsward_domain::telemetry::{Lifecycle, LogLine, LogQuery, ReplicaEvent, Sample, SeriesQuery};
use opsward_domain::time::Window;
use opsward_engine::facade::Engine;
use opsward_engine::parts::system_context;
use opsward_ports::clock::ManualClock;
use opsward_ports::logs::Logs;
use opsward_ports::series::SeriesStore;
use serde_json::json;

use crate::world::{DAY_MS, World, cx, done, furnish, shop, subject, tenant};

const NOW_MS: i64 = 1_800_000_000_000;

fn line(at_ms: i64, text: &str) -> LogLine {
    let workload = Workload::parse("web").unwrap();
    LogLine { workspace: shop(), workload, replica: 0, at_ms, level: None, text: text.to_owned() }
}

fn sample(at_ms: i64) -> Sample {
    Sample {
        workspace: shop(),
        workload: None,
        replica: None,
        metric: "requests".into(),
        labels: Default::default(),
        at_ms,
        value: 1.0,
    }
}

async fn lines(logs: &dyn Logs, cx: &CallContext) -> usize {
    let query = LogQuery {
        workspace: shop(),
        workloads: Vec::new(),
        window: Window { from_ms: 0, to_ms: i64::MAX },
        level_min: None,
        text: String::new(),
        template: None,
        limit: 100,
    };
    logs.search(cx, &query).await.unwrap().len()
}

async fn points(series: &dyn SeriesStore, cx: &CallContext) -> usize {
    let window = Window { from_ms: 0, to_ms: i64::MAX };
    let query = SeriesQuery {
        workspace: shop(),
        workload: None,
        metric: "requests".into(),
        labels: Default::default(),
        window,
    };
    series.range(cx, &query).await.unwrap().iter().map(|series| series.points.len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_lines_and_samples_go_when_their_time_has_come() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW_MS)));
    let logs = opsward_tantivy::TantivyLogs::open(dir.path().join("logs"), Default::default()).unwrap();
    let series = opsward_series::SeriesDb::open(dir.path().join("metrics"), Default::default()).unwrap();
    let mut world = World::at(clock.clone());
    (world.logs, world.series) = (Arc::new(logs.clone()), Arc::new(series.clone()));
    let engine = world.peopled().await;
    let other = Tenant::parse("other").unwrap();
    engine.setup.people.found(&other, &subject("owner")).await.unwrap();
    let (ours, theirs) = (system_context(&tenant()).unwrap(), system_context(&other).unwrap());
    for (cx, age_ms) in [(&ours, 0), (&ours, 10 * DAY_MS), (&theirs, DAY_MS)] {
        engine.parts.logs.ingest(cx, vec![line(NOW_MS - age_ms, "hello")]).await.unwrap();
    }
    for (cx, age_ms) in [(&ours, DAY_MS), (&ours, 0), (&theirs, 0)] {
        engine.parts.series.append(cx, vec![sample(NOW_MS - age_ms)]).await.unwrap();
    }
    let seen = async || {
        (
            lines(&logs, &ours).await,
            points(&series, &ours).await,
            lines(&logs, &theirs).await,
            points(&series, &theirs).await,
        )
    };
    // Days later by the clock, and what is left: lines live 14 days, samples 2.
    for (days, left) in [(0, (2, 2, 1, 1)), (1, (2, 1, 1, 1)), (4, (1, 0, 1, 0)), (9, (0, 0, 0, 0))] {
        clock.advance_ms(days * DAY_MS + 1);
        engine.sweep().await;
        assert_eq!(seen().await, left, "{days} days on");
    }
    assert_eq!((engine.keeping.expired_lines(), engine.keeping.sweeps()), (3, 4));
    // What was still being written when its time came goes with the next sweep.
    logs.settle().await.unwrap();
    clock.advance_ms(1);
    engine.sweep().await;
    let files = std::fs::read_dir(dir.path().join("logs/tenants/acme")).unwrap().flatten();
    let kept = files.filter(|file| file.path().extension().is_some_and(|end| end == "partition" || end == "spool"));
    assert_eq!(kept.count(), 0, "old lines are on the disk");
    // The journal is not theirs to sweep.
    assert!(engine.setup.people.principal(&tenant(), &subject("owner")).is_some());
}

async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn crash(at_ms: i64) -> ReplicaEvent {
    let exit = ReplicaExit { code: Some(1), signal: None, reason: "exited".into(), at_ms };
    let what = Lifecycle::Exited { exit };
    ReplicaEvent { workspace: shop(), workload: Workload::parse("web").unwrap(), replica: 0, at_ms, what }
}

async fn push(engine: &Arc<Engine>, name: &str) -> Result<usize, opsward_domain::fault::Fault> {
    engine.ingest_text(&cx(engine, name, Origin::Api), &shop(), Some("web"), "a line").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_ingest_and_nothing_else_until_there_is_room() {
    let world = World::new();
    let engine = world.peopled().await;
    furnish(&engine).await;
    engine.start().await.unwrap();
    assert_eq!(push(&engine, "owner").await.unwrap(), 1);
    world.disk.set_free(0);
    let refused = push(&engine, "owner").await.unwrap_err();
    assert!(
        refused.code == Code::NoRoom && refused.message.contains("95 % full") && !refused.hint.is_empty(),
        "{refused}"
    );
    // Who may not ingest learns that, not the state of the disk.
    assert_eq!(push(&engine, "vera").await.unwrap_err().code, Code::Denied);
    let now_ms = engine.parts.clock.now_ms();
    world.telemetry.push(&tenant(), vec![line(now_ms, "late")], vec![sample(now_ms)], vec![crash(now_ms)]);
    let window = Window { from_ms: 0, to_ms: i64::MAX };
    eventually("what happened to a replica is told", async || {
        !engine.lifecycles.list(&tenant(), &shop(), window).is_empty()
    })
    .await;
    // The journal, plans and effects go on.
    let scale = json!({"kind": "scale_workload", "workload": "web", "replicas": 3});
    assert_eq!(done(&engine, "owner", &["owner"], scale).await, "succeeded");
    let system = system_context(&tenant()).unwrap();
    assert_eq!((lines(world.logs.as_ref(), &system).await, points(world.series.as_ref(), &system).await), (1, 0));
    world.disk.set_free(1 << 40);
    eventually("what waited is kept", async || {
        // The late line, and the one that tells of the exit.
        (lines(world.logs.as_ref(), &system).await, points(world.series.as_ref(), &system).await) == (3, 1)
    })
    .await;
    assert_eq!(engine.lifecycles.list(&tenant(), &shop(), window).len(), 1, "told once");
    assert_eq!(push(&engine, "owner").await.unwrap(), 1);
}
