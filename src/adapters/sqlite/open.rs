//! Opening: lock, check, migrate, verify the tail, and only then take writes. A file that is not sound is
//! opened for reading, so that people can still see what it says.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opsward_domain::chain::GENESIS;
use opsward_ports::journal::Error;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, SqliteConnection, SqlitePool};
use tokio::sync::mpsc;

use crate::files::Files;
use crate::lock::Lock;
use crate::options::Options;
use crate::shared::Shared;
use crate::writer::{QUEUE_JOBS_MAX, Tip, Writer};
use crate::{SqliteJournal, failure, schema, store, verify};

/// Connections for reading.
const READERS: u32 = 2;
/// Longest wait for a lock of the database, which only a foreign program can hold.
const BUSY_WAIT_MS: u64 = 5_000;
/// Longest wait for a free reader.
const READER_WAIT_MS: u64 = 10_000;
/// Page cache of the writer and of each reader.
const CACHE_KIB: i64 = 512;
/// Size the log is cut back to when it has grown past it.
const LOG_BYTES: i64 = 4 * 1024 * 1024;
/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 24;
/// Rows that a connection reads ahead.
const ROWS_AHEAD: usize = 32;

impl SqliteJournal {
    /// Opens the journal at `path`, or makes it, directory included. Verifies the entries after the last
    /// checkpoint: damage there leaves it open for reading, and every write is refused with
    /// [`Error::Corrupt`]. [`Error::Unavailable`], with a hint, if another process has it open, a newer
    /// version or another program made it, or the file or its directory cannot be used.
    pub async fn open(path: &Path, options: Options) -> Result<Self, Error> {
        let files = Files::at(path)?;
        files.make_dir()?;
        let lock = Lock::take(&files.beside(".lock"))?;
        files.make_database()?;
        let failed = |error: sqlx::Error| failure::open(files.database(), &error);
        let mut conn = connect_options(&files)
            .pragma("secure_delete", "ON")
            .pragma("journal_size_limit", LOG_BYTES.to_string())
            .connect()
            .await
            .map_err(failed)?;
        schema::migrate(&mut conn, files.database()).await?;
        files.sync_dir()?;
        let tip = tip(&mut conn).await.map_err(failed)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(0)
            .acquire_timeout(Duration::from_millis(READER_WAIT_MS))
            .test_before_acquire(false)
            .connect_lazy_with(connect_options(&files).read_only(true));
        let shared = Arc::new(Shared::new(tip.seq));
        if let Some(name) = schema::difference(&mut conn, files.database()).await? {
            shared.damaged(0, &format!("{name} in its schema is not as this program made it"));
        }
        verify_tail(&readers, &shared, &tip).await?;
        let trusted_seq = tip.checkpoint;
        let (jobs, queue) = mpsc::channel(QUEUE_JOBS_MAX);
        let writer = Writer::new(conn, lock, files.clone(), Arc::clone(&shared), tip, options.bytes_max);
        tokio::spawn(writer.run(queue));
        Ok(Self { jobs, readers, shared, files, trusted_seq })
    }
}

pub(crate) fn connect_options(files: &Files) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(files.database())
        .create_if_missing(false)
        .busy_timeout(Duration::from_millis(BUSY_WAIT_MS))
        .statement_cache_capacity(STATEMENTS)
        .row_buffer_size(ROWS_AHEAD)
        .pragma("cache_size", (-CACHE_KIB).to_string())
        // Why: without these, macOS acknowledges a forced write before it is on the disk. Nothing elsewhere.
        .pragma("fullfsync", "ON")
        .pragma("checkpoint_fullfsync", "ON")
        .thread_name(|n| format!("journal-{n}"))
        .disable_statement_logging()
}

/// Where the chain ends, and the last entry that a checkpoint vouches for.
async fn tip(conn: &mut SqliteConnection) -> Result<Tip, sqlx::Error> {
    let start = || (0, GENESIS.to_owned());
    let (seq, hash) = store::last(conn, store::LAST_ENTRY).await?.unwrap_or_else(start);
    let (checkpoint, _) = store::last(conn, store::LAST_CHECKPOINT).await?.unwrap_or_else(start);
    Ok(Tip { seq, hash, checkpoint })
}

/// Verifies the last checkpoint and what comes after it. Damage is for [`Shared`] to remember.
async fn verify_tail(readers: &SqlitePool, shared: &Shared, tip: &Tip) -> Result<(), Error> {
    if tip.checkpoint > tip.seq {
        shared.damaged(tip.checkpoint, "a checkpoint is at this entry, which does not exist");
        return Ok(());
    }
    match verify::tail(readers, tip.checkpoint.saturating_sub(1), tip.seq).await {
        Ok(found) => {
            if let Some((seq, detail)) = found.damage.first() {
                shared.damaged(*seq, detail);
            }
            Ok(())
        }
        Err(error) => match shared.noted(error) {
            Error::Corrupt { .. } => Ok(()),
            error => Err(error),
        },
    }
}
