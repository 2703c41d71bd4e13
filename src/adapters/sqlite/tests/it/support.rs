//! What the tests share: a runtime, a directory, a journal. Never asserts.

use std::future::Future;
use std::path::{Path, PathBuf};

use opsward_domain::context::CallContext;
use opsward_domain::event::StreamName;
use opsward_ports::journal::{Journal as _, conformance};
use opsward_sqlite::{Options, SqliteJournal};

/// Runs one test on a runtime of its own.
pub(crate) fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

/// Where the journal of `dir` is.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("journal.db")
}

/// Opens the journal of `dir`.
pub(crate) async fn open(dir: &Path) -> SqliteJournal {
    SqliteJournal::open(&path(dir), Options::default()).await.unwrap()
}

/// The usual caller.
pub(crate) fn caller() -> CallContext {
    conformance::person("acme")
}

/// The usual stream.
pub(crate) fn incident() -> StreamName {
    conformance::stream("acme", opsward_domain::event::StreamKind::Incident, "one")
}

/// Appends `count` events to the usual stream, one append each.
pub(crate) async fn fill(journal: &SqliteJournal, count: u64) {
    let from = journal.streams(&caller(), incident().kind, 1).await.unwrap().first().map_or(0, |(_, last)| *last);
    for seq in from..from + count {
        let event = conformance::process(&format!("event {}", seq + 1));
        journal.append(&caller(), &incident(), seq, vec![event]).await.unwrap();
    }
}
