//! The host as a process: its jail, its crashes, its neighbours.

use std::time::{Duration, Instant};

use opsward_functions::{Error, FunctionHost, Invocation, Options, Status};
use rustix::process::{Pid, Signal, kill_process};

use crate::modules::{WASI_ECHO, command};
use crate::runner::{Test, tests};
use crate::support::{KEY, VERSION, call, detail, host, host_with, invoke, script, text, wasm, with, within};

const BOUND: Duration = Duration::from_secs(20);

pub(crate) fn tests(list: &mut Vec<Test>) {
    tests!(
        list,
        every_thread_is_jailed,
        a_killed_host_comes_back_with_its_functions,
        a_hung_host_is_killed,
        a_slow_function_holds_up_nobody,
        too_many_at_once_are_refused,
        the_host_ends_with_its_client,
        many_at_once_keep_apart,
        abandoned_calls_harm_nobody,
        a_hungry_crowd_harms_only_its_host,
        versions_live_side_by_side,
        a_program_that_is_no_host_is_noticed,
        arguments_are_checked,
    );
}

async fn pid(host: &FunctionHost) -> Pid {
    let pid = host.status().await.pid.expect("host runs");
    Pid::from_raw(pid.cast_signed()).expect("pid")
}

async fn every_thread_is_jailed() {
    let host = with(wasm(WASI_ECHO)).await;
    invoke(&host, call("x")).await;
    let isolation = host.isolation().await.expect("host runs");
    assert!(isolation.syscalls <= 18, "{isolation:?}");
    let folder = format!("/proc/{}/task", pid(&host).await.as_raw_nonzero());
    let threads: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(threads.len() >= 4 + 3, "{threads:?}");
    for thread in threads {
        let status = std::fs::read_to_string(thread.join("status")).unwrap();
        for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"] {
            assert!(status.contains(line), "{line} in\n{status}");
        }
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", pid(&host).await.as_raw_nonzero())).unwrap();
    for limit in ["Max open files", "Max core file size", "Max file size", "Max processes"] {
        let line = limits.lines().find(|line| line.starts_with(limit)).unwrap();
        assert_eq!(line[limit.len()..].split_whitespace().next(), Some("0"), "{line}");
    }
}

async fn a_killed_host_comes_back_with_its_functions() {
    let host = with(script("export default (r) => r ?? 'fine'")).await;
    host.load("slow", "1", wasm(&command("(loop $for (br $for))"))).await.unwrap();
    let first = pid(&host).await;
    let running = {
        let host = host.clone();
        tokio::spawn(async move { host.invoke("slow", "1", within(60_000)).await })
    };
    until("the slow one runs", async || host.status().await.in_flight == 1).await;
    kill_process(first, Signal::KILL).unwrap();
    let lost = running.await.unwrap();
    assert!(matches!(&lost, Err(Error::Lost { detail }) if detail.contains("signal 9")), "{lost:?}");
    let outcome = invoke(&host, call("")).await;
    assert_eq!((text(&outcome), outcome.cold), ("\"fine\"", true));
    let status = host.status().await;
    assert!(status.restarts == 1 && status.loaded == 2 && pid(&host).await != first, "{status:?}");
}

async fn a_hung_host_is_killed() {
    let host = host_with(Options { grace_ms: 200, ..Options::default() }).await;
    host.load(KEY, VERSION, script("export default () => 1")).await.unwrap();
    kill_process(pid(&host).await, Signal::STOP).unwrap();
    let started = Instant::now();
    let outcome = invoke(&host, within(100)).await;
    assert_eq!(outcome.status, Status::TimedOut);
    assert!(detail(&outcome).contains("killed"), "{outcome:?}");
    assert!(started.elapsed() < BOUND);
    assert_eq!(text(&invoke(&host, call("")).await), "1");
    assert_eq!(host.status().await.restarts, 1);
}

async fn a_slow_function_holds_up_nobody() {
    let host = with(script("export default () => 1")).await;
    host.load("slow", "1", wasm(&command("(loop $for (br $for))"))).await.unwrap();
    let slow: Vec<_> = (0..3)
        .map(|_| {
            let host = host.clone();
            tokio::spawn(async move { host.invoke("slow", "1", within(2_000)).await })
        })
        .collect();
    until("the slow ones run", async || host.status().await.in_flight == 3).await;
    for _ in 0..5 {
        assert_eq!(text(&invoke(&host, call("")).await), "1");
    }
    // Compiling goes on beside them too.
    host.load("new", "1", wasm(WASI_ECHO)).await.unwrap();
    assert!(slow.iter().all(|slow| !slow.is_finished()), "the quick ones waited for the slow ones");
    for slow in slow {
        assert_eq!(slow.await.unwrap().unwrap().status, Status::TimedOut);
    }
}

async fn too_many_at_once_are_refused() {
    let host = host_with(Options { concurrency: 1, queue_max: 1, ..Options::default() }).await;
    host.load("slow", "1", wasm(&command("(loop $for (br $for))"))).await.unwrap();
    let start = || {
        let host = host.clone();
        tokio::spawn(async move { host.invoke("slow", "1", within(700)).await })
    };
    let (one, two) = (start(), start());
    until("two are in flight", async || host.status().await.in_flight == 2).await;
    let third = host.invoke("slow", "1", within(500)).await;
    assert!(matches!(third, Err(Error::Overloaded { waiting: 1 })), "{third:?}");
    for running in [one, two] {
        assert_eq!(running.await.unwrap().unwrap().status, Status::TimedOut);
    }
}

async fn the_host_ends_with_its_client() {
    let host = with(script("export default () => 1")).await;
    let pid = pid(&host).await;
    drop(host);
    until("the host is gone", async || rustix::process::test_kill_process(pid).is_err()).await;
    let host = with(script("export default () => 1")).await;
    host.stop().await;
    assert!(matches!(host.invoke(KEY, VERSION, call("")).await, Err(Error::Lost { .. })));
    assert_eq!(host.status().await.pid, None);
}

async fn many_at_once_keep_apart() {
    let host = with(script("let seen = 0; export default (r) => { seen++; return [r, seen] }")).await;
    host.load("echo", "1", wasm(WASI_ECHO)).await.unwrap();
    let calls: Vec<_> = (0..60)
        .map(|n| {
            let host = host.clone();
            tokio::spawn(async move {
                let input = format!("{n}");
                if n % 2 == 0 {
                    let outcome = host.invoke("echo", "1", call(&input)).await.unwrap();
                    assert_eq!(text(&outcome), input);
                } else {
                    let outcome = host.invoke(KEY, VERSION, call(&input)).await.unwrap();
                    assert_eq!(text(&outcome), format!("[{n},1]"));
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(host.status().await.restarts, 0);
}

async fn abandoned_calls_harm_nobody() {
    let host = host_with(Options { concurrency: 2, queue_max: 8, ..Options::default() }).await;
    host.load(KEY, VERSION, script("export default (r) => r.length")).await.unwrap();
    host.load("slow", "1", wasm(&command("(loop $for (br $for))"))).await.unwrap();
    let big = vec![b'x'; 4 * 1024 * 1024];
    for wait_us in [0, 50, 200, 1_000, 5_000] {
        let call = host.invoke(KEY, VERSION, Invocation::new(big.clone()));
        drop(tokio::time::timeout(Duration::from_micros(wait_us), call).await);
    }
    for _ in 0..4 {
        drop(tokio::time::timeout(Duration::from_millis(20), host.invoke("slow", "1", within(300))).await);
    }
    assert_eq!(text(&invoke(&host, call("four")).await), "4");
    until("the abandoned ones have ended", async || host.status().await.in_flight == 0).await;
    assert_eq!(host.status().await.restarts, 0);
}

async fn a_hungry_crowd_harms_only_its_host() {
    let neighbour = with(script("export default () => 'here'")).await;
    let mib = 1024 * 1024;
    let tight = Options { host_memory_max_bytes: 128 * mib, memory_max_bytes: 128 * mib, ..Options::default() };
    let host = host_with(tight).await;
    let greedy = "export default () => { const a = []; for (;;) a.push(new Uint8Array(1 << 20).fill(1)) }";
    host.load("greedy", "1", script(greedy)).await.unwrap();
    host.load(KEY, VERSION, script("export default () => 'still here'")).await.unwrap();
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let host = host.clone();
            let invocation = Invocation { memory_max_bytes: 128 * mib, ..within(10_000) };
            tokio::spawn(async move { host.invoke("greedy", "1", invocation).await })
        })
        .collect();
    for call in calls {
        // Together they want four times what their host may have: refused, or their host died of it.
        match call.await.unwrap() {
            Ok(outcome) => assert_ne!(outcome.status, Status::Ok),
            Err(error) => assert!(matches!(error, Error::Lost { .. }), "{error:?}"),
        }
    }
    assert_eq!(text(&invoke(&host, call("")).await), "\"still here\"");
    assert_eq!(text(&invoke(&neighbour, call("")).await), "\"here\"");
    assert_eq!(neighbour.status().await.restarts, 0);
}

async fn versions_live_side_by_side() {
    let host = host().await;
    host.load("f", "1", script("export default () => 'one'")).await.unwrap();
    host.load("f", "2", script("export default () => 'two'")).await.unwrap();
    assert_eq!(text(&host.invoke("f", "1", call("")).await.unwrap()), "\"one\"");
    assert_eq!(text(&host.invoke("f", "2", call("")).await.unwrap()), "\"two\"");
    // A bad replacement leaves the good one in place.
    assert!(host.load("f", "2", script("export default ][")).await.is_err());
    assert_eq!(text(&host.invoke("f", "2", call("")).await.unwrap()), "\"two\"");
    host.load("f", "2", script("export default () => 'new'")).await.unwrap();
    assert_eq!(text(&host.invoke("f", "2", call("")).await.unwrap()), "\"new\"");
    assert!(host.unload("f", "1").await.unwrap());
    assert!(!host.unload("f", "1").await.unwrap());
    assert!(matches!(host.invoke("f", "1", call("")).await, Err(Error::Unknown { .. })));
}

async fn a_program_that_is_no_host_is_noticed() {
    for program in ["/bin/true", "/bin/cat", "/nonexistent"] {
        let options = Options { start_timeout_ms: 500, ..Options::default() };
        let spawned = FunctionHost::spawn(program, &[], options).await;
        assert!(matches!(spawned, Err(Error::Start { .. })), "{program}");
    }
    let exe = std::env::current_exe().unwrap();
    let args = ["__functions".to_owned(), "--memory=none".to_owned()];
    let spawned = FunctionHost::spawn(exe, &args, Options::default()).await;
    assert!(matches!(&spawned, Err(Error::Start { detail }) if detail.contains("arguments")), "{:?}", spawned.err());
}

async fn arguments_are_checked() {
    let host = with(script("export default () => 1")).await;
    for invocation in [
        Invocation { timeout_ms: 0, ..call("") },
        Invocation { timeout_ms: 600_001, ..call("") },
        Invocation { memory_max_bytes: 1000, ..call("") },
        Invocation { memory_max_bytes: u64::MAX, ..call("") },
        Invocation::new(vec![0; 8 * 1024 * 1024 + 1]),
    ] {
        let result = host.invoke(KEY, VERSION, invocation).await;
        assert!(matches!(result, Err(Error::Invalid { .. })), "{result:?}");
    }
    assert!(matches!(host.load("", "1", script("")).await, Err(Error::Invalid { field: "key", .. })));
    let long = "x".repeat(201);
    assert!(matches!(host.unload("f", &long).await, Err(Error::Invalid { field: "version", .. })));
    let none = Options { concurrency: 0, ..Options::default() };
    let spawned = FunctionHost::spawn("/bin/true", &[], none).await;
    assert!(matches!(spawned, Err(Error::Invalid { field: "concurrency", .. })));
}

/// Waits for something to become true, for a bounded time.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < BOUND, "{what}: not within {BOUND:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
