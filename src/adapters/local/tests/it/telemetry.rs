//! Output, events and samples as the server gets them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opsward_domain::name::{Tenant, Workload, Workspace};
use opsward_domain::telemetry::{Level, Lifecycle};
use opsward_ports::telemetry::conformance::{Speaker, suite};
use opsward_ports::telemetry::{Batch, TelemetrySource as _};
use serde_json::json;

use super::bench::{Bench, open, web, with};

pub(crate) const ALL: &[(&str, fn())] = &[
    ("telemetry_conforms", conforms),
    ("samples_and_events_tell_what_happens", samples),
    ("output_survives_a_restart_of_the_server", restart),
    ("output_beyond_the_bound_is_counted", flood),
];

struct Voice(Arc<Bench>);

#[async_trait]
impl Speaker for Voice {
    async fn speak(&self, _: &Tenant, _: &Workspace, workload: &Workload, prefix: &str, count: u32) {
        for i in 0..count {
            self.0.get(workload.as_str(), &format!("/log?{prefix}%20{i}")).await;
        }
    }
}

/// Collects batches until `good` says that all of them together are enough.
async fn gather(bench: &Bench, what: &str, good: impl Fn(&[Batch]) -> bool) -> Vec<Batch> {
    let deadline = Instant::now() + Duration::from_secs(15);
    let mut all = Vec::new();
    while !good(&all) {
        assert!(Instant::now() < deadline, "never came: {what}");
        let batch = bench.provider.next().await.unwrap();
        bench.provider.acknowledge(batch.cursor).await.unwrap();
        all.push(batch);
    }
    all
}

fn conforms() {
    with(async |bench| {
        bench.deploy("web", web("1", 1)).await;
        let (tenant, workload) = (Tenant::parse("acme").unwrap(), Workload::parse("web").unwrap());
        suite(&bench.provider, &Voice(bench.clone()), &tenant, &bench.workspace, &workload).await;
    });
}

fn samples() {
    with(async |bench| {
        bench.done("create_volume", json!({"volume": "data", "size_bytes": 1 << 20})).await;
        let mut spec = web("1", 1);
        spec["metrics_path"] = json!("/metrics");
        spec["volumes"] = json!(["data"]);
        bench.deploy("web", spec).await;
        bench.get("web", "/log?ERROR%20cannot%20pay").await;
        let has = |all: &[Batch], metric: &str| all.iter().flat_map(|b| &b.samples).any(|s| s.metric == metric);
        let wanted = [
            "requests_total",
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "replica_restarts_total",
            "replica_open_files",
            "volume_used_bytes",
            "volume_size_bytes",
        ];
        let all = gather(&bench, "every metric", |all| {
            wanted.iter().all(|metric| has(all, metric))
                && all.iter().flat_map(|b| &b.lines).any(|l| l.level == Some(Level::Error))
        })
        .await;
        let samples: Vec<_> = all.iter().flat_map(|batch| &batch.samples).collect();
        let exposed = samples.iter().find(|sample| sample.metric == "requests_total").unwrap();
        assert_eq!((exposed.value, exposed.labels["code"].as_str(), exposed.replica), (7.0, "200", Some(0)));
        let ready: Vec<_> = samples.iter().filter(|s| s.metric == "replica_ready").map(|s| s.at_ms).collect();
        let times: std::collections::BTreeSet<_> = ready.iter().collect();
        assert_eq!(times.len(), ready.len(), "what a workload exposes cannot pass for ours");
        let memory = samples.iter().rfind(|s| s.metric == "process_resident_memory_bytes").unwrap();
        assert!(memory.value > 100_000.0, "{memory:?}");
        let events: Vec<&Lifecycle> = all.iter().flat_map(|b| &b.events).map(|event| &event.what).collect();
        assert_eq!(events, [&Lifecycle::Started, &Lifecycle::Ready]);

        let address = bench.status("web").await.address.unwrap();
        let _ = super::bench::fetch(&address, "/exit?7").await;
        let all = gather(&bench, "the exit", |all| {
            all.iter().flat_map(|b| &b.events).any(|event| matches!(event.what, Lifecycle::Exited { .. }))
        });
        let all = all.await;
        let exit = all.iter().flat_map(|b| &b.events).find_map(|event| match &event.what {
            Lifecycle::Exited { exit } => Some(exit.clone()),
            _ => None,
        });
        assert_eq!(exit.map(|exit| (exit.code, exit.reason)), Some((Some(7), "exited".into())));
    });
}

fn restart() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let bench = Bench::on(open(dir.path()).await.unwrap(), dir.path().to_owned(), None);
        bench.done("create_workspace", json!({"memory_bytes_max": 4_u64 << 30})).await;
        bench.deploy("web", web("1", 1)).await;
        let address = bench.status("web").await.address.unwrap();
        let seen = |all: &[Batch], text: &str| all.iter().flat_map(|b| &b.lines).filter(|l| l.text == text).count();
        bench.get("web", "/log?first").await;
        gather(&bench, "first", |all| seen(all, "first") == 1).await;
        bench.get("web", "/log?unacknowledged").await;
        loop {
            let batch = bench.provider.next().await.unwrap();
            if seen(std::slice::from_ref(&batch), "unacknowledged") == 1 {
                break;
            }
            bench.provider.acknowledge(batch.cursor).await.unwrap();
        }
        bench.provider.shutdown(true).await.unwrap();
        super::bench::fetch(&address, "/log?alone").await.unwrap();
        let bench = Bench::on(open(dir.path()).await.unwrap(), dir.path().to_owned(), None);
        let all = gather(&bench, "both", |all| seen(all, "alone") == 1).await;
        assert_eq!((seen(&all, "first"), seen(&all, "unacknowledged")), (0, 1));
        assert!(all.iter().all(|batch| batch.lost_lines == 0));
        bench.provider.shutdown(false).await.unwrap();
    });
}

fn flood() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let mut options = super::bench::options(dir.path());
        options.shim.segment_bytes = 64 * 1024;
        options.shim.segments_max = 2;
        let provider = opsward_local::LocalProvider::open(
            options,
            Arc::new(opsward_ports::clock::SystemClock),
            Arc::new(opsward_ports::clock::CountingEntropy::default()),
        );
        let bench = Bench::on(provider.await.unwrap(), dir.path().to_owned(), None);
        bench.done("create_workspace", json!({"memory_bytes_max": 4_u64 << 30})).await;
        let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; sleep 3600";
        let spec = json!({"version": "1", "command": ["sh", "-c", script], "replicas": 1,
            "limits": {"memory_bytes": 64 << 20}});
        bench.deploy("loud", spec).await;
        let logs = bench.folder().join("logs");
        super::bench::eventually("all is written", || {
            let files = std::fs::read_dir(&logs).unwrap().flatten();
            files.into_iter().any(|file| std::fs::read_to_string(file.path()).is_ok_and(|t| t.contains("line 19999\"")))
        });
        let all = gather(&bench, "the last line", |all| {
            all.iter().flat_map(|b| &b.lines).any(|line| line.text == "line 19999")
        });
        let all = all.await;
        let lines = all.iter().map(|batch| batch.lines.len() as u64).sum::<u64>();
        let events = all.iter().map(|batch| batch.events.len() as u64).sum::<u64>();
        let lost = all.iter().map(|batch| batch.lost_lines).sum::<u64>();
        assert!(lost > 0, "the bound was exceeded");
        assert!(lines + lost + events >= 20_000 && lines + lost <= 20_002, "{lines} {lost} {events}");
        let bytes: u64 = std::fs::read_dir(&logs).unwrap().flatten().map(|f| f.metadata().unwrap().len()).sum();
        assert!(bytes < 4 * 64 * 1024 + 64 * 1024, "{bytes}");
        bench.provider.shutdown(false).await.unwrap();
    });
}
