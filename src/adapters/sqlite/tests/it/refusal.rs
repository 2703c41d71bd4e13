//! What cannot be opened or written, and the words people get for it. The disks that fail are small ones
//! mounted in a namespace of their own; where that is not allowed, the case says that it did not run.

use std::path::Path;
use std::process::Command;

use opsward_ports::journal::{Error, Journal as _, conformance};
use opsward_sqlite::{Options, SqliteJournal};

use crate::support::{block_on, caller, fill, incident, open, path, tamper};

/// The cases of this file.
pub(crate) const CASES: &[crate::Case] = &[
    ("two_on_one_journal", two_on_one_journal),
    ("files_that_are_no_journal", files_that_are_no_journal),
    ("a_newer_version", a_newer_version),
    ("places_that_are_no_directory", places_that_are_no_directory),
    ("only_the_owner_reads_it", only_the_owner_reads_it),
    ("full_disk", full_disk),
    ("read_only_disk", read_only_disk),
];

/// Detail and hint of a journal that does not open.
async fn refusal(at: &Path) -> (String, String) {
    match SqliteJournal::open(at, Options::default()).await {
        Err(Error::Unavailable { detail, hint }) => (detail, hint),
        Err(other) => panic!("expected a refusal with a hint, got {other}"),
        Ok(_) => panic!("{} was opened", at.display()),
    }
}

fn two_on_one_journal() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path()).await;
        let (detail, hint) = refusal(&path(dir.path())).await;
        assert!(detail.contains(&format!("process {} has this journal open", std::process::id())), "{detail}");
        assert!(hint.contains("data directory of its own"), "{hint}");
        journal.close().await.unwrap();
        open(dir.path()).await.close().await.unwrap();
        drop(open(dir.path()).await);
    });
}

fn files_that_are_no_journal() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path()).await;
        fill(&journal, 300).await;
        journal.close().await.unwrap();
        let sound = std::fs::read(path(dir.path())).unwrap();
        let mut no_header = sound.clone();
        no_header[..16].fill(b'x');
        for bytes in [&b"hello, world. ".repeat(600)[..], &no_header, &sound[..100]] {
            std::fs::write(path(dir.path()), bytes).unwrap();
            let (detail, hint) = refusal(&path(dir.path())).await;
            assert!(detail.contains("damaged or is no journal"), "{detail}");
            assert!(hint.contains("backup"), "{hint}");
            assert_eq!(std::fs::read(path(dir.path())).unwrap(), bytes, "a refused file stays as it was");
        }
        for cut in [4_096, sound.len() / 2 / 4_096 * 4_096, sound.len() - 4_096] {
            std::fs::write(path(dir.path()), &sound[..cut]).unwrap();
            let Ok(journal) = SqliteJournal::open(&path(dir.path()), Options::default()).await else { continue };
            let verified = journal.verify(1).await;
            assert!(!verified.is_ok_and(|verified| verified.damage.is_empty()), "cut to {cut} bytes, unseen");
            let written = journal.append(&caller(), &incident(), 300, vec![conformance::power("x")]).await;
            assert!(matches!(written, Err(Error::Corrupt { .. })), "{written:?}");
            let _ = journal.close().await;
        }
        std::fs::write(path(dir.path()), b"").unwrap();
        open(dir.path()).await.close().await.unwrap();
    });
}

fn a_newer_version() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).await.close().await.unwrap();
        tamper(dir.path(), "PRAGMA user_version = 99").await;
        let (detail, hint) = refusal(&path(dir.path())).await;
        assert!(detail.contains("has version 99; this program knows 1"), "{detail}");
        assert!(hint.contains("newer opsward"), "{hint}");
        tamper(dir.path(), "PRAGMA user_version = 1; PRAGMA application_id = 7").await;
        assert!(refusal(&path(dir.path())).await.0.contains("another program"));
    });
}

fn places_that_are_no_directory() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), b"").unwrap();
        refusal(&dir.path().join("file/journal.db")).await;
        std::fs::create_dir(path(dir.path())).unwrap();
        refusal(&path(dir.path())).await;
        let deep = dir.path().join("not/yet/there/journal.db");
        SqliteJournal::open(&deep, Options::default()).await.unwrap().close().await.unwrap();
        assert!(deep.exists());
    });
}

fn only_the_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(&dir.path().join("data")).await;
        fill(&journal, 1).await;
        let mode = |name: &str| dir.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("data"), 0o700);
        for name in ["journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock"] {
            assert_eq!(mode(&format!("data/{name}")), 0o600, "{name}");
        }
        journal.close().await.unwrap();
    });
}

/// Starts this binary again as `child`, on a fresh disk of one mebibyte.
fn on_a_small_disk(child: &str) {
    let namespaces = ["--user", "--map-root-user", "--mount"];
    let allowed = Command::new("unshare").args(namespaces).arg("true").output().is_ok_and(|out| out.status.success());
    if !allowed {
        println!("{child} did not run: mounting in a namespace is not allowed here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=1m none \"$1\" && exec \"$2\" \"$3\" \"$1\"";
    let exe = std::env::current_exe().unwrap();
    let mut unshare = Command::new("unshare");
    unshare.args(namespaces).args(["sh", "-c", script, "sh"]).arg(dir.path()).arg(exe).arg(child);
    assert!(unshare.status().unwrap().success(), "{child} failed");
}

fn full_disk() {
    on_a_small_disk("child-full-disk");
}

fn read_only_disk() {
    on_a_small_disk("child-read-only");
}

/// What `full_disk` does once it is on the small disk.
pub(crate) fn on_a_full_disk(dir: &Path) {
    block_on(async {
        let ballast = dir.join("ballast");
        // Why half of it: what is in the log has to fit a second time when it moves into the database.
        std::fs::write(&ballast, vec![0; 512 * 1024]).unwrap();
        let journal = open(dir).await;
        let event = conformance::power(&"x".repeat(16 * 1024));
        let mut seq = 0;
        let error = loop {
            match journal.append(&caller(), &incident(), seq, vec![event.clone()]).await {
                Ok(_) => seq += 1,
                Err(error) => break error,
            }
        };
        assert!(seq > 0 && seq < 1_000, "{seq}");
        match error {
            Error::Unavailable { detail, hint } => {
                assert!(detail.contains("full"), "{detail}");
                assert!(hint.contains("free space"), "{hint}");
            }
            other => panic!("{other}"),
        }
        assert_eq!(journal.read(&caller(), &incident(), 0, 1_000).await.unwrap().len() as u64, seq);
        assert_eq!(journal.verify(1).await.unwrap().damage, []);
        std::fs::remove_file(&ballast).unwrap();
        journal.append(&caller(), &incident(), seq, vec![event]).await.expect("there is room again");
        journal.close().await.unwrap();
        let journal = open(dir).await;
        assert_eq!(*journal.head().borrow(), seq + 1);
        journal.close().await.unwrap();
    });
}

/// What `read_only_disk` does once it is on the small disk.
pub(crate) fn on_a_read_only_disk(dir: &Path) {
    let remount = |how: &str| Command::new("mount").args(["-o", how]).arg(dir).status().unwrap().success();
    block_on(async {
        open(dir).await.close().await.unwrap();
        assert!(remount("remount,ro"));
        let (detail, hint) = refusal(&path(dir)).await;
        assert!(detail.contains("Read-only"), "{detail}");
        assert!(hint.contains("writable"), "{hint}");
        refusal(&dir.join("new/journal.db")).await;
        assert!(remount("remount,rw"));
        open(dir).await.close().await.unwrap();
    });
}
