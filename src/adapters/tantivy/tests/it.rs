//! The log store as its callers meet it: the port's suite, restarts, kill -9, damage, bounds.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "tests fail loudly")]
#![allow(clippy::print_stdout, reason = "the child of the crash test reports to its parent")]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use opsward_domain::fault::{Code, Fault};
use opsward_domain::telemetry::{LogLine, LogQuery};
use opsward_domain::time::Window;
use opsward_ports::logs::conformance::{self, START_MS, everything, line, system};
use opsward_ports::logs::{GroupField, HITS_MAX, Logs};
use opsward_tantivy::{Options, TantivyLogs};

/// Small enough that partitions are written and merged all the time.
fn tiny() -> Options {
    Options { memory_bytes: 4_000, ..Options::default() }
}

#[track_caller]
fn fault(dir: &Path) -> Fault {
    TantivyLogs::open(dir, Options::default()).err().expect("the directory must be refused")
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|ext| ext == extension));
    found.sort();
    found
}

async fn conforms_with(options: Options) {
    let kept = Mutex::new(Vec::new());
    conformance::all(|| {
        let dir = tempfile::tempdir().unwrap();
        let store = TantivyLogs::open(dir.path(), options.clone()).unwrap();
        kept.lock().unwrap().push(dir);
        async move { store }
    })
    .await;
}

#[tokio::test]
async fn conforms_from_memory() {
    conforms_with(Options::default()).await;
}

#[tokio::test]
async fn conforms_from_partitions() {
    conforms_with(Options { memory_bytes: 1, ..Options::default() }).await;
}

fn event(number: i64) -> LogLine {
    let text = match number % 4 {
        0 => format!("request {number} served in {} ms", number % 97),
        1 => format!("level=error msg=\"payment {number} refused\" code={}", number % 7),
        2 => format!("worker w{} took job {number} from queue \"orders\"", number % 5),
        _ => format!("WARN cache of {number} entries is cold"),
    };
    line(["web", "db", "cache"][(number % 3) as usize], number, &text)
}

#[tokio::test]
async fn restarts_and_merges_change_no_answer() {
    let (dir, cx) = (tempfile::tempdir().unwrap(), system("acme"));
    let mut before = None;
    for round in 0..4_i64 {
        let store = TantivyLogs::open(dir.path(), tiny()).unwrap();
        for batch in 0..25 {
            let first = (round * 25 + batch) * 20;
            store.ingest(&cx, (first..first + 20).map(event).collect()).await.unwrap();
        }
    }
    for settled in [false, true] {
        let store = TantivyLogs::open(dir.path(), tiny()).unwrap();
        if settled {
            store.settle().await.unwrap();
            let tenant = dir.path().join("tenants/acme");
            assert!(files(&tenant, "spool").is_empty(), "everything is in partitions");
            assert!(files(&tenant, "partition").len() < 16, "partitions are merged");
        }
        let query = LogQuery { limit: HITS_MAX, ..everything() };
        let hits = store.search(&cx, &query).await.unwrap();
        assert_eq!(hits.len(), 2_000);
        for (number, hit) in (0..).zip(&hits) {
            assert_eq!(hit.line.text, event(number).text);
            assert_eq!(hit.line.workload, event(number).workload);
        }
        let refused = LogQuery { text: "\"payment 1001 refused\"".into(), ..query.clone() };
        assert_eq!(store.search(&cx, &refused).await.unwrap().len(), 1);
        let now = (
            store.templates(&cx, &query).await.unwrap(),
            store.group(&cx, &query, GroupField::Level).await.unwrap(),
            store.histogram(&cx, &query, 60_000).await.unwrap(),
        );
        assert_eq!(*before.get_or_insert_with(|| now.clone()), now);
        assert!(store.disk_bytes() > 0);
    }
}

/// Lines kept under templates that later turned out to be one are lines of that one, wherever they are.
#[tokio::test]
async fn merged_templates_answer_as_one() {
    let (dir, cx) = (tempfile::tempdir().unwrap(), system("acme"));
    let text = |name: &str| format!("the worker named {name} took over the queue of payments");
    let names = ["anna", "berta", "carl", "dora", "emil"];
    let mut old = 0;
    for restart in [false, true] {
        let store = TantivyLogs::open(dir.path(), tiny()).unwrap();
        if !restart {
            for (at, name) in (0..).zip(names) {
                store.ingest(&cx, vec![line("web", at, &text(name))]).await.unwrap();
                if at == 1 {
                    store.settle().await.unwrap();
                    old = store.search(&cx, &everything()).await.unwrap()[1].template;
                }
            }
        }
        let found = store.templates(&cx, &everything()).await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].count, found[0].text.as_str()), (5, text("<*>").as_str()));
        let hits = store.search(&cx, &everything()).await.unwrap();
        assert!(hits.iter().zip(names).all(|(hit, name)| hit.line.text == text(name)));
        assert!(hits.iter().all(|hit| hit.template == found[0].template) && old != found[0].template);
        for template in [old, found[0].template] {
            let query = LogQuery { template: Some(template), ..everything() };
            assert_eq!(store.search(&cx, &query).await.unwrap().len(), 5, "the old id means the same");
        }
        assert_eq!(store.group(&cx, &everything(), GroupField::Template).await.unwrap().len(), 1);
        let word = LogQuery { text: "berta".into(), ..everything() };
        assert_eq!(store.search(&cx, &word).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn expiry_frees_the_disk_and_survives_a_restart() {
    let (dir, cx) = (tempfile::tempdir().unwrap(), system("acme"));
    let store = TantivyLogs::open(dir.path(), tiny()).unwrap();
    for batch in 0..50 {
        store.ingest(&cx, (batch * 20..batch * 20 + 20).map(event).collect()).await.unwrap();
    }
    store.settle().await.unwrap();
    let before = store.disk_bytes();
    assert_eq!(store.expire(&cx, START_MS + 990).await.unwrap(), 990);
    assert!(store.disk_bytes() < before / 2);
    drop(store);
    let store = TantivyLogs::open(dir.path(), tiny()).unwrap();
    assert_eq!(store.search(&cx, &everything()).await.unwrap().len(), 10);
    assert_eq!(store.expire(&cx, START_MS + 990).await.unwrap(), 0);
}

#[tokio::test]
async fn a_quiet_tenants_old_lines_leave_the_disk_too() {
    let (dir, cx) = (tempfile::tempdir().unwrap(), system("acme"));
    let store = TantivyLogs::open(dir.path(), Options::default()).unwrap();
    store.ingest(&cx, (0..20).map(event).collect()).await.unwrap();
    store.ingest(&system("other"), (0..5).map(event).collect()).await.unwrap();
    assert_eq!(store.expire(&cx, START_MS + 100).await.unwrap(), 20);
    store.settle().await.unwrap();
    assert_eq!(store.expire(&cx, START_MS + 200).await.unwrap(), 0);
    let tenant = dir.path().join("tenants/acme");
    assert!(files(&tenant, "spool").is_empty() && files(&tenant, "partition").is_empty(), "old lines are left");
    assert_eq!(store.search(&system("other"), &everything()).await.unwrap().len(), 5, "another tenant's lines went");
}

#[tokio::test]
async fn a_copy_taken_while_lines_come_is_whole() {
    let (dir, cx) = (tempfile::tempdir().unwrap(), system("acme"));
    let store = TantivyLogs::open(dir.path(), tiny()).unwrap();
    let query = LogQuery { limit: HITS_MAX, ..everything() };
    let writer = {
        let (store, cx) = (store.clone(), cx.clone());
        tokio::spawn(async move {
            for batch in 0..150_i64 {
                store.ingest(&cx, (batch * 20..batch * 20 + 20).map(event).collect()).await.unwrap();
            }
        })
    };
    for round in 0..6 {
        let kept = store.search(&cx, &query).await.unwrap().len();
        let into = dir.path().join(format!("copy-{round}"));
        let (from, to) = (dir.path().to_owned(), into.clone());
        tokio::task::spawn_blocking(move || opsward_tantivy::copy(&from, &to)).await.unwrap().unwrap();
        let copied = TantivyLogs::open(&into, tiny()).unwrap();
        let hits = copied.search(&cx, &query).await.unwrap();
        assert!(hits.len() >= kept, "{} of at least {kept} lines", hits.len());
        for (number, hit) in (0..).zip(&hits) {
            assert_eq!(hit.line.text, event(number).text);
        }
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_full_budget_refuses_lines_and_says_what_to_do() {
    let (dir, cx) = (tempfile::tempdir().unwrap(), system("acme"));
    let options = Options { disk_bytes_max: 100_000, ..tiny() };
    let store = TantivyLogs::open(dir.path(), options).unwrap();
    let mut batches = 0_i64;
    let refusal = loop {
        let lines = (batches * 20..batches * 20 + 20).map(event).collect();
        match store.ingest(&cx, lines).await {
            Ok(()) => batches += 1,
            Err(fault) => break fault,
        }
        assert!(batches < 10_000, "the budget must end this");
    };
    assert!(refusal.code == Code::NoRoom && refusal.message.contains("95 %"), "{refusal}");
    let kept = store.search(&cx, &LogQuery { limit: HITS_MAX, ..everything() }).await.unwrap();
    assert_eq!(kept.len() as i64, (batches * 20).min(HITS_MAX as i64), "what was acknowledged is there");
    store.expire(&cx, START_MS + batches * 20).await.unwrap();
    store.settle().await.unwrap();
    store.ingest(&cx, vec![event(batches * 20 + 1)]).await.unwrap();
}

#[tokio::test]
async fn unusable_directories_say_why() {
    let (dir, cx) = (tempfile::tempdir().unwrap(), system("acme"));
    let store = TantivyLogs::open(dir.path(), tiny()).unwrap();
    assert_eq!(fault(dir.path()).code, Code::Conflict);
    for batch in 0..10 {
        store.ingest(&cx, (batch * 20..batch * 20 + 20).map(event).collect()).await.unwrap();
    }
    store.ingest(&cx, vec![line("web", 900, "a template that comes later")]).await.unwrap();
    drop(store);
    let tenant = dir.path().join("tenants/acme");
    fs::write(dir.path().join("format"), "99\n").unwrap();
    let newer = fault(dir.path());
    assert!(newer.code == Code::Conflict && newer.message.contains("newer"), "{newer}");
    fs::write(dir.path().join("format"), "soup").unwrap();
    assert_eq!(fault(dir.path()).code, Code::Corrupt);
    fs::write(dir.path().join("format"), "1\n").unwrap();

    let catalog = fs::read(tenant.join("catalog")).unwrap();
    let mut bad = catalog.clone();
    bad[20] ^= 1;
    fs::write(tenant.join("catalog"), bad).unwrap();
    assert_eq!(fault(dir.path()).code, Code::Corrupt);
    fs::write(tenant.join("catalog"), &catalog).unwrap();

    let manifest = fs::read(tenant.join("manifest.json")).unwrap();
    fs::write(tenant.join("manifest.json"), b"{").unwrap();
    assert_eq!(fault(dir.path()).code, Code::Corrupt);
    fs::write(tenant.join("manifest.json"), &manifest).unwrap();

    let part = files(&tenant, "partition").remove(0);
    fs::remove_file(files(&part, "fast").remove(0)).unwrap();
    let store = TantivyLogs::open(dir.path(), tiny()).unwrap();
    assert_eq!(store.search(&cx, &everything()).await.unwrap_err().code, Code::Corrupt);
    drop(store);
    fs::remove_dir_all(&part).unwrap();
    assert_eq!(fault(dir.path()).code, Code::Corrupt);
}

#[tokio::test]
async fn a_torn_spool_loses_only_its_end_and_a_damaged_one_is_refused() {
    let (dir, cx) = (tempfile::tempdir().unwrap(), system("acme"));
    let store = TantivyLogs::open(dir.path(), Options::default()).unwrap();
    for number in 0..10 {
        store.ingest(&cx, vec![event(number)]).await.unwrap();
    }
    drop(store);
    let spool = files(&dir.path().join("tenants/acme"), "spool").remove(0);
    let whole = fs::read(&spool).unwrap();
    let count = async || {
        let store = TantivyLogs::open(dir.path(), Options::default()).unwrap();
        store.search(&cx, &everything()).await.unwrap().len()
    };
    fs::write(&spool, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(count().await, 9);
    fs::write(&spool, [whole.as_slice(), &[0; 64]].concat()).unwrap();
    assert_eq!(count().await, 10);
    let mut bad = whole.clone();
    bad[12] ^= 1;
    fs::write(&spool, &bad).unwrap();
    assert_eq!(fault(dir.path()).code, Code::Corrupt);
    fs::write(&spool, &whole).unwrap();
    assert_eq!(count().await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_callers_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = TantivyLogs::open(dir.path(), tiny()).unwrap();
    let mut tasks = Vec::new();
    for task in 0..8_i64 {
        let (store, cx) = (store.clone(), system(["acme", "bravo"][(task % 2) as usize]));
        tasks.push(tokio::spawn(async move {
            for batch in 0..20 {
                let first = (task * 20 + batch) * 10;
                store.ingest(&cx, (first..first + 10).map(event).collect()).await.unwrap();
                store.search(&cx, &everything()).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for tenant in ["acme", "bravo"] {
        let mut times: Vec<i64> =
            store.search(&system(tenant), &everything()).await.unwrap().iter().map(|hit| hit.line.at_ms).collect();
        times.dedup();
        assert_eq!(times.len(), 800);
    }
}

/// Not a test of its own: what [`kill_9_loses_and_doubles_nothing`] starts and kills.
#[tokio::test]
async fn crash_child() {
    let Some(dir) = std::env::var_os("OPSWARD_CRASH_DIR") else { return };
    let store = TantivyLogs::open(PathBuf::from(dir), tiny()).unwrap();
    let cx = system("acme");
    let all = LogQuery { window: Window { from_ms: 0, to_ms: i64::MAX }, ..everything() };
    let counts = store.histogram(&cx, &all, i64::MAX).await.unwrap();
    let mut number = counts[0].1 as i64;
    loop {
        let size = 1 + number % 7;
        store.ingest(&cx, (number..number + size).map(event).collect()).await.unwrap();
        number += size;
        println!("acknowledged {number}");
    }
}

#[tokio::test]
async fn kill_9_loses_and_doubles_nothing() {
    let (dir, cx) = (tempfile::tempdir().unwrap(), system("acme"));
    let all = LogQuery { window: Window { from_ms: 0, to_ms: i64::MAX }, limit: HITS_MAX, ..everything() };
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash_child", "--nocapture"])
            .env("OPSWARD_CRASH_DIR", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = 0_usize;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        for (seen, line) in lines.filter(|line| line.contains("acknowledged ")).enumerate() {
            acknowledged = line.rsplit(' ').next().unwrap().parse().unwrap();
            if seen == 20 + round * 13 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged > 0, "the child must have run");
        let store = TantivyLogs::open(dir.path(), tiny()).unwrap();
        let hits = store.search(&cx, &all).await.unwrap();
        let mut counts: HashMap<i64, u32> = HashMap::new();
        hits.iter().for_each(|hit| *counts.entry(hit.line.at_ms - START_MS).or_default() += 1);
        assert!(hits.len() >= acknowledged, "{acknowledged} were acknowledged, {} are there", hits.len());
        for (number, hit) in (0..).zip(&hits) {
            assert_eq!(counts.get(&number), Some(&1), "line {number} in round {round}");
            assert_eq!(hit.line.text, event(number).text);
        }
    }
}
