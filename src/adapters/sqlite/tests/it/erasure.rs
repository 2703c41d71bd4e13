//! Erasing a body: gone from every file, still on record, and the chain as valid as before. And the disk
//! budget, and the commits that are counted. Never erases by other means.

use std::sync::Arc;

use opsward_domain::event::StreamKind;
use opsward_ports::journal::{Error, Journal as _, conformance, export::verify_export};
use opsward_sqlite::{Commits, Options, SqliteJournal};

use crate::support::{block_on, caller, fill, incident, open, path};

/// The cases of this file.
pub(crate) const CASES: &[crate::Case] = &[
    ("an_erased_body_is_gone", an_erased_body_is_gone),
    ("erasing_is_refused", erasing_is_refused),
    ("the_budget_keeps_room_for_effects", the_budget_keeps_room_for_effects),
    ("commits_are_forced_when_asked", commits_are_forced_when_asked),
];

fn holds(dir: &std::path::Path, secret: &str) -> bool {
    let files = std::fs::read_dir(dir).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    files.into_iter().any(|bytes| bytes.windows(secret.len()).any(|window| window == secret.as_bytes()))
}

fn an_erased_body_is_gone() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path()).await;
        // Why two sizes: the larger one fills pages of its own, which are given back when it goes.
        let (small, large) = ("hunter2-small", format!("hunter2-{}", "large".repeat(4_000)));
        fill(&journal, 3).await;
        let events = vec![conformance::power(small), conformance::power(&large), conformance::power("stays")];
        journal.append(&caller(), &incident(), 3, events).await.unwrap();
        assert!(holds(dir.path(), "hunter2"));
        for seq in [4, 5, 5] {
            journal.erase(&caller(), seq, 1_700_000_000_000, "a password was pasted").await.unwrap();
        }
        assert!(!holds(dir.path(), "hunter2") && !holds(dir.path(), "largelarge"), "it is still in a file");
        let events = journal.read(&caller(), &incident(), 0, 100).await.unwrap();
        assert_eq!(
            events.iter().filter(|event| event.body.is_none()).map(|event| event.seq).collect::<Vec<_>>(),
            [4, 5]
        );
        let verified = journal.verify(1).await.unwrap();
        assert_eq!((verified.entries, verified.erased, &verified.damage), (6, 2, &Vec::new()));
        let mut text = Vec::new();
        journal.export(&mut text).await.unwrap();
        assert_eq!(verify_export(text.as_slice()).unwrap(), verified);
        assert!(String::from_utf8(text).unwrap().contains("a password was pasted"));
        journal.close().await.unwrap();
        let journal = open(dir.path()).await;
        fill(&journal, 1).await;
        assert_eq!(journal.verify(1).await.unwrap().erased, 2);
        journal.close().await.unwrap();
    });
}

fn erasing_is_refused() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path()).await;
        fill(&journal, 2).await;
        let theirs = conformance::person("zeta");
        for (cx, seq) in [(&theirs, 1), (&caller(), 3), (&caller(), 0), (&caller(), u64::MAX)] {
            let refused = journal.erase(cx, seq, 0, "because").await;
            assert!(matches!(refused, Err(Error::NotFound)), "{seq}: {refused:?}");
        }
        for reason in ["", &"x".repeat(1_001)] {
            assert!(matches!(journal.erase(&caller(), 1, 0, reason).await, Err(Error::TooLarge(_))));
        }
        assert_eq!(journal.verify(1).await.unwrap().erased, 0);
        journal.close().await.unwrap();
    });
}

fn the_budget_keeps_room_for_effects() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { bytes_max: 2 * 1024 * 1024 };
        let journal = SqliteJournal::open(&path(dir.path()), options.clone()).await.unwrap();
        let large = "x".repeat(32 * 1024);
        let until_refused = async |event: opsward_domain::event::NewEvent, from: u64| {
            for seq in from..from + 1_000 {
                match journal.append(&caller(), &incident(), seq, vec![event.clone()]).await {
                    Ok(_) => {}
                    Err(Error::Unavailable { detail, hint }) => {
                        assert!(detail.contains("budget") && hint.contains("budget"), "{detail}; {hint}");
                        return seq;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            panic!("the budget was never reached");
        };
        let soft = until_refused(conformance::process(&large), 0).await;
        assert!(soft > 10, "refused after {soft}");
        assert!(journal.put_blob(&caller(), large.as_bytes()).await.is_err());
        let hard = until_refused(conformance::power(&large), soft).await;
        assert!(hard > soft, "nothing was left for effects");
        assert!(journal.size_bytes() <= options.bytes_max, "{} bytes", journal.size_bytes());
        assert_eq!(journal.read(&caller(), &incident(), 0, 1_000).await.unwrap().len() as u64, hard);
        journal.close().await.unwrap();
    });
}

fn commits_are_forced_when_asked() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let journal = Arc::new(open(dir.path()).await);
        fill(&journal, 3).await;
        assert_eq!(journal.commits(), Commits { power: 0, process: 3 });
        let mixed = vec![conformance::process("a"), conformance::power("b"), conformance::process("c")];
        journal.append(&caller(), &incident(), 3, mixed).await.unwrap();
        assert_eq!(journal.commits(), Commits { power: 1, process: 3 });
        let appends = (0..64).map(|n| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                let stream = conformance::stream("acme", StreamKind::Command, &format!("c{n}"));
                journal.append(&caller(), &stream, 0, vec![conformance::power("x")]).await.unwrap()
            })
        });
        for append in futures::future::join_all(appends).await {
            append.unwrap();
        }
        let forced = journal.commits().power - 1;
        assert!(forced < 64, "64 concurrent appends took {forced} commits");
        journal.close().await.unwrap();
    });
}
