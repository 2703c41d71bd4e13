//! A copy of a journal that is in use: as of one moment, verifiable, and without what was erased.

use opsward_ports::journal::{Error, Journal as _};
use opsward_sqlite::{Options, SqliteJournal, copy};

use crate::support::{block_on, caller, fill, incident, open, path};

/// The cases of this file.
pub(crate) const CASES: &[crate::Case] =
    &[("a_copy_is_of_one_moment", a_copy_is_of_one_moment), ("a_copy_never_goes_over_a_file", never_over_a_file)];

fn a_copy_is_of_one_moment() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path()).await;
        fill(&journal, 40).await;
        journal.erase(&caller(), 7, 1_700_000_000_000, "a password was pasted").await.unwrap();
        let into = dir.path().join("copy.db");
        copy(&path(dir.path()), &into).await.unwrap();
        fill(&journal, 5).await;
        let copied = SqliteJournal::open(&into, Options::default()).await.unwrap();
        let verified = copied.verify(1).await.unwrap();
        assert_eq!((verified.entries, verified.erased, verified.damage), (40, 1, Vec::new()));
        assert_eq!(copied.read(&caller(), &incident(), 0, 100).await.unwrap().len(), 40);
        // It is a journal like any other.
        fill(&copied, 1).await;
        assert_eq!(*copied.head().borrow(), 41);
        assert!(journal.verify(1).await.unwrap().damage.is_empty(), "the original is as it was");
        copied.close().await.unwrap();
        journal.close().await.unwrap();
        // Also of one that nobody has open.
        copy(&path(dir.path()), &dir.path().join("later.db")).await.unwrap();
    });
}

fn never_over_a_file() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path()).await;
        fill(&journal, 1).await;
        let into = dir.path().join("taken");
        std::fs::write(&into, "mine").unwrap();
        let refused = copy(&path(dir.path()), &into).await.unwrap_err();
        assert!(matches!(&refused, Error::Unavailable { .. }), "{refused}");
        assert_eq!(std::fs::read(&into).unwrap(), b"mine");
        let missing = copy(&dir.path().join("none.db"), &dir.path().join("x.db")).await.unwrap_err();
        assert!(matches!(missing, Error::Unavailable { .. }), "{missing}");
    });
}
