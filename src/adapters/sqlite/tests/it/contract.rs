//! The port's suite on real files, and what only this adapter promises. Never shares a file between cases.

use std::sync::{Arc, Mutex};

use opsward_ports::journal::{Error, Journal, conformance, export::verify_export};
use opsward_sqlite::{Options, SqliteJournal};

use crate::support::{block_on, caller, fill, incident, open, path};

/// The cases of this file.
pub(crate) const CASES: &[crate::Case] = &[("contract", contract), ("reopened", reopened), ("export", export)];

fn contract() {
    block_on(async {
        let dirs = Mutex::new(Vec::new());
        let make = async || {
            let dir = tempfile::tempdir().unwrap();
            let journal = open(dir.path()).await;
            dirs.lock().unwrap().push(dir);
            Arc::new(journal) as Arc<dyn Journal>
        };
        conformance::all(make).await;
    });
}

fn reopened() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path()).await;
        fill(&journal, 300).await;
        journal.close().await.unwrap();
        assert!(matches!(
            journal.append(&caller(), &incident(), 300, Vec::new()).await,
            Err(Error::Unavailable { .. })
        ));
        assert!(
            matches!(journal.feed(&caller(), 0, 1).await, Err(Error::Unavailable { detail, .. }) if detail == "it was closed")
        );
        assert!(!dir.path().join("journal.db-wal").exists(), "a closed journal is one file");
        let journal = open(dir.path()).await;
        assert_eq!(*journal.head().borrow(), 300);
        fill(&journal, 1).await;
        let verified = journal.verify(1).await.unwrap();
        assert_eq!((verified.entries, verified.damage), (301, Vec::new()));
        let behind = journal.verify_behind().await.unwrap();
        assert_eq!((behind.entries, behind.damage), (300, Vec::new()));
        journal.close().await.unwrap();
    });
}

fn export() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let journal = SqliteJournal::open(&path(dir.path()), Options::default()).await.unwrap();
        fill(&journal, 600).await;
        let mut text = Vec::new();
        journal.export(&mut text).await.unwrap();
        let offline = verify_export(text.as_slice()).unwrap();
        assert_eq!(offline, journal.verify(1).await.unwrap());
        assert_eq!((offline.entries, offline.damage), (600, Vec::new()));
        journal.close().await.unwrap();
    });
}
