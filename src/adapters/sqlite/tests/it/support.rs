//! What the tests share: a runtime, a directory, a journal, and ways past its guards. Never asserts.

use std::future::Future;
use std::path::{Path, PathBuf};

use opsward_domain::context::CallContext;
use opsward_domain::event::StreamName;
use opsward_ports::journal::{Journal as _, conformance};
use opsward_sqlite::{Options, SqliteJournal};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

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

/// Runs `sql` on the journal of `dir`, which nobody has open, past the triggers that guard it.
pub(crate) async fn tamper(dir: &Path, sql: &str) {
    let mut conn = SqliteConnectOptions::new().filename(path(dir)).connect().await.unwrap();
    let triggers: Vec<(String, String)> = sqlx::query_as("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        .fetch_all(&mut conn)
        .await
        .unwrap();
    let dropped = triggers.iter().map(|(name, _)| format!("DROP TRIGGER {name};"));
    let made_again = triggers.iter().map(|(_, sql)| format!("{sql};"));
    let script: String = dropped.chain([format!("{sql};")]).chain(made_again).collect();
    sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

/// Copies the database and its log as they are right now, as a crash would leave them.
pub(crate) fn copy(from: &Path, to: &Path) {
    for name in ["journal.db", "journal.db-wal"] {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(u64);

impl Dice {
    /// Never 0, which would stay 0.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
