//! The metrics store as its callers meet it: the port's suite, restarts, crashes, damage and bounds.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "tests fail loudly")]

use std::fs;
use std::path::{Path, PathBuf};

use opsward_domain::fault::Code;
use opsward_domain::telemetry::Sample;
use opsward_ports::series::SeriesStore;
use opsward_ports::series::conformance::{self, START_MS, all_of, sample, system};
use opsward_series::{Options, SeriesDb};

fn open(dir: &Path) -> SeriesDb {
    SeriesDb::open(dir, Options::default()).unwrap()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|ext| ext == "segment"));
    found.sort();
    found
}

async fn count(db: &SeriesDb, metric: &str) -> usize {
    db.range(&system("acme"), &all_of(metric)).await.unwrap().iter().map(|s| s.points.len()).sum()
}

#[tokio::test]
async fn conforms() {
    let kept = std::sync::Mutex::new(Vec::new());
    conformance::all(|| {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path());
        kept.lock().unwrap().push(dir);
        async move { db }
    })
    .await;
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let (dir, cx) = (tempfile::tempdir().unwrap(), system("acme"));
    let options = Options { segment_bytes: 4_000, ..Options::default() };
    let mut expected = Vec::new();
    for round in 0..3_i64 {
        let db = SeriesDb::open(dir.path(), options.clone()).unwrap();
        for at in round * 1_000..(round + 1) * 1_000 {
            let value = (at * at) as f64 / 7.0;
            expected.push((START_MS + at, value));
            let labelled = Sample { labels: [("a".into(), "b".into())].into(), workload: None, ..sample("n", at, 1.0) };
            db.append(&cx, vec![sample("m", at, value), labelled]).await.unwrap();
        }
        assert_eq!(db.range(&cx, &all_of("m")).await.unwrap()[0].points, expected);
    }
    assert!(segments(dir.path()).len() > 5);
    let db = open(dir.path());
    assert_eq!(db.range(&cx, &all_of("m")).await.unwrap()[0].points, expected);
    let other = &db.range(&cx, &all_of("n")).await.unwrap()[0];
    assert_eq!((other.points.len(), other.labels["a"].as_str(), &other.workload), (3_000, "b", &None));
}

#[tokio::test]
async fn expiry_survives_a_restart_and_frees_segments() {
    let (dir, cx) = (tempfile::tempdir().unwrap(), system("acme"));
    let options = Options { segment_bytes: 1_000, ..Options::default() };
    let db = SeriesDb::open(dir.path(), options.clone()).unwrap();
    for at in 0..1_000 {
        db.append(&cx, vec![sample("m", at, at as f64)]).await.unwrap();
    }
    let before = segments(dir.path()).len();
    db.expire(&cx, START_MS + 900).await.unwrap();
    assert!(segments(dir.path()).len() < before / 2);
    drop(db);
    let db = SeriesDb::open(dir.path(), options).unwrap();
    assert_eq!(count(&db, "m").await, 100);
}

#[tokio::test]
async fn a_torn_end_costs_only_itself() {
    let (dir, cx) = (tempfile::tempdir().unwrap(), system("acme"));
    let db = open(dir.path());
    for at in 0..10 {
        db.append(&cx, vec![sample("m", at, at as f64)]).await.unwrap();
    }
    drop(db);
    let path = segments(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    for cut in 1..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(count(&open(dir.path()), "m").await < 10, "cut at {cut}");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x20;
        fs::write(&path, damaged).unwrap();
        match SeriesDb::open(dir.path(), Options::default()) {
            Ok(db) => assert!(count(&db, "m").await < 10, "damage at {at} is noticed"),
            Err(fault) => assert!(at < 8 && matches!(fault.code, Code::Corrupt | Code::Conflict), "{at}: {fault}"),
        }
    }
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let db = open(dir.path());
    db.append(&cx, vec![sample("m", 50, 1.0)]).await.unwrap();
    drop(db);
    assert_eq!(count(&open(dir.path()), "m").await, 10, "nine whole ones and the new one");
}

#[tokio::test]
async fn unusable_directories_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let fault = |path: &Path| SeriesDb::open(path, Options::default()).err().unwrap();
    let db = open(dir.path());
    assert_eq!(fault(dir.path()).code, Code::Conflict);
    drop(db);
    fs::write(dir.path().join("000000000001.segment"), b"opsser\xff\x00rest").unwrap();
    let newer = fault(dir.path());
    assert!(newer.code == Code::Conflict && newer.message.contains("newer"), "{newer}");
    fs::write(dir.path().join("000000000001.segment"), b"something else").unwrap();
    assert_eq!(fault(dir.path()).code, Code::Corrupt);
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert_eq!(fault(&file).code, Code::Unavailable);
}

#[tokio::test]
async fn bounds_drop_and_say_so() {
    let (dir, cx) = (tempfile::tempdir().unwrap(), system("acme"));
    let options =
        Options { series_per_workspace_max: 3, segment_bytes: 2_000, disk_bytes_max: 10_000, ..Options::default() };
    let db = SeriesDb::open(dir.path(), options).unwrap();
    let batch = |at: i64| (0..5).map(|m| sample(&format!("m{m}"), at, 1.0)).collect::<Vec<_>>();
    let fault = db.append(&cx, batch(0)).await.unwrap_err();
    assert!(
        fault.code == Code::TooMany && fault.detail.contains("2 samples") && fault.detail.contains("m3"),
        "{fault}"
    );
    assert_eq!(db.dropped(), 2);
    db.append(&system("bravo"), batch(0)[..3].to_vec()).await.unwrap();
    for at in 1..5_000 {
        db.append(&cx, vec![sample("m0", at, at as f64)]).await.unwrap();
    }
    assert_eq!(count(&db, "m0").await, 5_000);
    let disk: u64 = segments(dir.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(disk <= 10_000, "{disk}");
    db.sync().await.unwrap();
}

#[tokio::test]
async fn a_copy_taken_while_points_come_is_whole() {
    let (dir, cx) = (tempfile::tempdir().unwrap(), system("acme"));
    let db = SeriesDb::open(dir.path(), Options { segment_bytes: 4_000, ..Options::default() }).unwrap();
    for at in 0..2_000_i64 {
        db.append(&cx, vec![sample("m", at, at as f64 / 3.0)]).await.unwrap();
    }
    let copy = tempfile::tempdir().unwrap();
    opsward_series::copy(dir.path(), copy.path()).unwrap();
    db.append(&cx, vec![sample("m", 2_000, 1.0)]).await.unwrap();
    assert_eq!(count(&open(copy.path()), "m").await, 2_000);
    assert!(db.disk_bytes() > 0);
}
