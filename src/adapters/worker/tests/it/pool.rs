//! The runner's contract on the pool, and what the pool does with its processes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use opsward_ports::runner::{Error, Program, RunLimits, Runner};
use opsward_worker::{Options, Pool};
use serde_json::json;

use crate::Test;
use crate::support::{Echo, Silent, block_on, eventually, has_ended, options, processes, program, run, start};

pub(crate) const TESTS: &[Test] = &[
    ("pool::all_probes_hold", all_probes_hold),
    ("pool::values_observations_and_steps", values_observations_and_steps),
    ("pool::refusals_are_data", refusals_are_data),
    ("pool::script_errors_are_classed", script_errors_are_classed),
    ("pool::limits_hold", limits_hold),
    ("pool::oversized_programs_and_replies", oversized_programs_and_replies),
    ("pool::cancelling_kills", cancelling_kills),
    ("pool::each_run_has_its_own_process", each_run_has_its_own_process),
    ("pool::runs_in_parallel_up_to_the_bound", runs_in_parallel_up_to_the_bound),
    ("pool::a_worker_killed_while_it_waits_is_replaced", a_worker_killed_while_it_waits_is_replaced),
    ("pool::dropping_leaves_no_process", dropping_leaves_no_process),
    ("pool::a_program_that_is_no_worker", a_program_that_is_no_worker),
];

fn all_probes_hold() {
    block_on(async {
        let attestation = start("probes").await.attestation();
        for probe in &attestation.probes {
            assert!(probe.held, "{}: {}", probe.name, probe.detail);
        }
        assert!(attestation.passed());
        assert!(attestation.probes.len() > 30);
    });
}

fn values_observations_and_steps() {
    block_on(async {
        let pool = start("values").await;
        let source =
            "let seen = logs(#{workload: input.name});\nreturn #{seen: seen, plan: [scale_workload(#{replicas: 3})]};";
        let expected = json!({
            "seen": {"query": "logs", "args": {"workload": "web"}},
            "plan": [{"$step": "scale_workload", "replicas": 3}],
        });
        assert_eq!(run(&pool, source).await, Ok(expected));
        assert_eq!(run(&pool, "return [logs()]").await, Ok(json!([{"query": "logs", "args": {}}])));
    });
}

fn refusals_are_data() {
    block_on(async {
        let pool = start("refusals").await;
        let expected = json!({"denied": "not_allowed", "message": "no"});
        assert_eq!(run(&pool, "return workloads()").await, Ok(expected));
        let stubborn = run(&pool, "loop { workloads(); }\nreturn []").await;
        assert!(matches!(&stubborn, Err(Error::Limit(message)) if message.contains("denied")), "{stubborn:?}");
    });
}

fn script_errors_are_classed() {
    block_on(async {
        let pool = start("errors").await;
        for (source, expected, at) in [
            ("let = 1; return []", "syntax", Some(1)),
            ("let a = [];\nreturn [a[1]]", "runtime", Some(2)),
            ("[1]", "refused_source", Some(1)),
            ("return 1", "bad_value", None),
        ] {
            match run(&pool, source).await {
                Err(Error::Script { kind, line, .. }) => assert_eq!((kind.as_str(), line), (expected, at), "{source}"),
                other => panic!("{source}: {other:?}"),
            }
        }
        let unsound = Program { queries: vec!["Logs".to_owned()], ..program("return []") };
        let refused = pool.run(unsound, Arc::new(Echo::default())).await;
        assert!(matches!(&refused, Err(Error::Script { kind, .. }) if kind == "bad_value"), "{refused:?}");
    });
}

fn limits_hold() {
    block_on(async {
        let pool = start("limits").await;
        let with = |source: &str, limits: RunLimits| {
            pool.run(Program { limits, ..program(source) }, Arc::new(Echo::default()))
        };
        let roomy = RunLimits { wall_ms: 30_000, ..RunLimits::default() };
        let counting = "let n = 0; while n < 1000 { n += 1 } return [n]";
        assert_eq!(with(counting, roomy).await, Ok(json!([1000])), "the control");
        let few = with(counting, RunLimits { operations: 500, ..roomy }).await;
        assert!(matches!(few, Err(Error::Limit(_))), "{few:?}");

        let asking = "for i in 0..5 { logs() } return []";
        assert_eq!(with(asking, RunLimits { calls: 5, ..roomy }).await, Ok(json!([])), "the control");
        let asked = with(asking, RunLimits { calls: 4, ..roomy }).await;
        assert!(matches!(asked, Err(Error::Limit(_))), "{asked:?}");

        let waiting = Program { limits: RunLimits { wall_ms: 50, ..roomy }, ..program("return logs()") };
        let silent = Arc::new(Silent(tokio::sync::Notify::new()));
        let waited = pool.run(waiting, silent).await;
        assert!(matches!(&waited, Err(Error::Limit(message)) if message.contains("wall time")), "{waited:?}");
        let burning = "let a = []; a.pad(8000, 1); for i in 0..900000 { a.index_of(2); } return []";
        let start = Instant::now();
        let burnt = with(burning, RunLimits { wall_ms: 100, ..roomy }).await;
        assert!(matches!(burnt, Err(Error::Limit(_))), "{burnt:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "the wall time does not wait for the script");
    });
}

fn oversized_programs_and_replies() {
    struct Large;
    #[async_trait::async_trait]
    impl opsward_ports::runner::Observer for Large {
        async fn observe(&self, _query: &str, _args: serde_json::Value) -> opsward_ports::runner::Reply {
            opsward_ports::runner::Reply::Value(json!("x".repeat(2 << 20)))
        }
    }
    block_on(async {
        let pool = start("large").await;
        let reply = pool.run(program("return logs()"), Arc::new(Large)).await.unwrap();
        assert_eq!(reply["denied"], "too_large");
        let input = json!({"text": "x".repeat(2 << 20)});
        let program = Program { input, ..program("return []") };
        let refused = pool.run(program, Arc::new(Echo::default())).await;
        assert!(matches!(&refused, Err(Error::Script { kind, .. }) if kind == "bad_value"), "{refused:?}");
    });
}

fn cancelling_kills() {
    block_on(async {
        let tag = "cancel";
        let pool = Arc::new(start(tag).await);
        eventually("two warm workers", || processes(tag).len() == 2);
        let before = processes(tag);
        let silent = Arc::new(Silent(tokio::sync::Notify::new()));
        let running = tokio::spawn({
            let (pool, silent) = (Arc::clone(&pool), Arc::clone(&silent));
            async move { pool.run(program("return logs()"), silent).await }
        });
        silent.0.notified().await;
        running.abort();
        assert!(running.await.is_err_and(|error| error.is_cancelled()));
        eventually("its worker is gone and another is warm", || {
            let now = processes(tag);
            now.len() == 2 && before.iter().any(|pid| !now.contains(pid))
        });
        assert_eq!(run(&pool, "return []").await, Ok(json!([])), "the pool goes on");
    });
}

fn each_run_has_its_own_process() {
    block_on(async {
        let tag = "fresh";
        let pool = start(tag).await;
        let mut seen = Vec::new();
        for _ in 0..5 {
            eventually("two warm workers", || processes(tag).len() == 2);
            let before = processes(tag);
            run(&pool, "return []").await.unwrap();
            eventually("one of them is gone", || {
                let now = processes(tag);
                before.iter().any(|pid| !now.contains(pid))
            });
            let now = processes(tag);
            seen.extend(before.into_iter().filter(|pid| !now.contains(pid)));
        }
        let used = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), used, "no process serves twice");
    });
}

fn runs_in_parallel_up_to_the_bound() {
    block_on(async {
        let options = Options { concurrent: 2, queue_ms: 300, ..options("parallel") };
        let pool = Arc::new(Pool::start(options).await.unwrap());
        let silent = Arc::new(Silent(tokio::sync::Notify::new()));
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(tokio::spawn({
                let (pool, silent) = (Arc::clone(&pool), Arc::clone(&silent));
                async move { pool.run(program("return logs()"), silent).await }
            }));
            silent.0.notified().await;
        }
        let third = run(&pool, "return []").await;
        assert!(matches!(third, Err(Error::Unavailable(_))), "{third:?}");
        held.iter().for_each(tokio::task::JoinHandle::abort);
        for run in held {
            assert!(run.await.is_err());
        }
        let mut together = Vec::new();
        for _ in 0..2 {
            let pool = Arc::clone(&pool);
            together.push(tokio::spawn(async move { run(&pool, "return [logs()]").await }));
        }
        for run in together {
            assert!(run.await.unwrap().is_ok());
        }
    });
}

fn a_worker_killed_while_it_waits_is_replaced() {
    block_on(async {
        let tag = "killed";
        let pool = start(tag).await;
        eventually("two warm workers", || processes(tag).len() == 2);
        let killed = processes(tag);
        for &pid in &killed {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        // A dying process has no arguments for a while before its parent can see the end.
        eventually("both are gone", || killed.iter().all(|&pid| has_ended(pid)));
        assert_eq!(run(&pool, "return []").await, Ok(json!([])));
    });
}

fn dropping_leaves_no_process() {
    let tag = "dropped";
    block_on(async {
        let pool = start(tag).await;
        run(&pool, "return []").await.unwrap();
        eventually("two warm workers", || processes(tag).len() == 2);
        let echo = Arc::new(Echo::default());
        pool.run(program("logs(); logs(); return []"), echo.clone()).await.unwrap();
        assert_eq!(echo.asked.load(Ordering::SeqCst), 2);
    });
    eventually("no process is left", || processes(tag).is_empty());
}

fn a_program_that_is_no_worker() {
    for program_path in ["/no/such/program", "/bin/true"] {
        block_on(async {
            let options = Options { program: program_path.into(), queue_ms: 200, ..options("none") };
            let pool = Pool::start(options).await.unwrap();
            assert!(!pool.attestation().passed(), "{program_path}");
            let refused = run(&pool, "return []").await;
            assert!(
                matches!(&refused, Err(Error::Unavailable(why)) if why.contains(';')),
                "{program_path}: {refused:?}"
            );
        });
    }
}
