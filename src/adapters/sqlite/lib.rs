//! The embedded journal and blobs: SQLite in WAL mode, one writer with group commit, a few readers. Never
//! two processes on one file, and never a write after damage was found.

mod copy;
mod failure;
mod files;
mod lock;
mod open;
mod options;
mod read;
mod schema;
mod shared;
mod store;
mod verify;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::event::{Event, NewEvent, StreamKind, StreamName};
use opsward_domain::principal::Kind;
use opsward_domain::time::AtMs;
use opsward_ports::journal::entry::{Batch, blob_digest};
use opsward_ports::journal::{Appended, Error, Journal, Verified, export, may_read};
use sqlx::SqlitePool;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot, watch};

pub use copy::copy;
pub use options::Options;
pub use shared::Commits;

use files::Files;
use shared::Shared;
use writer::{Job, Work};

/// Most bytes of the reason of an erasure.
pub const REASON_BYTES_MAX: usize = 1_000;

/// A journal in one SQLite file. Dropping it closes it in the background; [`SqliteJournal::close`] waits.
#[derive(Debug)]
pub struct SqliteJournal {
    jobs: mpsc::Sender<Job>,
    readers: SqlitePool,
    shared: Arc<Shared>,
    files: Files,
    /// Last entry that opening took on the word of a checkpoint.
    trusted_seq: u64,
}

impl SqliteJournal {
    /// Verifies what opening took on the word of the last checkpoint. Meant for a task in the background
    /// soon after; damage that it finds refuses writes from then on.
    pub async fn verify_behind(&self) -> Result<Verified, Error> {
        self.check(0, self.trusted_seq).await
    }

    /// Erases the body of entry `seq` for good: from the database, and from its log unless someone reads
    /// just then, in which case it is written over later. The chain stays valid, and who erased it, when and why stays on record. Erasing it again changes nothing. [`Error::NotFound`] if
    /// there is no such entry in the caller's tenant; a System principal may erase in any.
    pub async fn erase(&self, cx: &CallContext, seq: u64, at_ms: AtMs, reason: &str) -> Result<(), Error> {
        if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
            return Err(Error::TooLarge(format!("a reason has 1 to {REASON_BYTES_MAX} bytes")));
        }
        let tenant = (cx.principal.kind != Kind::System).then(|| cx.tenant().clone());
        let by = cx.principal.subject.clone();
        self.write(Work::Erase { tenant, by, seq, at_ms, reason: reason.to_owned() }).await.map(|_| ())
    }

    /// Writes the whole journal as text that [`export::verify_export`] can check without us, up to the entry
    /// that is the last when it begins. Stops with an error at an entry that cannot be read at all.
    pub async fn export(&self, writer: &mut (impl AsyncWrite + Unpin + Send)) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::Unavailable {
            detail: format!("export cannot be written: {error}"),
            hint: "check the room and the permissions where it goes".into(),
        };
        let to = *self.shared.head.borrow();
        let head = read::hash(&self.readers, to).await?;
        writer.write_all(export::head_line(to, &head)?.as_bytes()).await.map_err(failed)?;
        let mut after = 0;
        while after < to {
            let page = read::page(&self.readers, after, to).await?;
            after = page.last().map_or(to, |entry| entry.link.seq);
            for entry in page {
                writer.write_all(export::entry_line(entry)?.as_bytes()).await.map_err(failed)?;
            }
        }
        writer.flush().await.map_err(failed)
    }

    /// Bytes that the journal takes on the disk, its log included.
    pub fn size_bytes(&self) -> u64 {
        self.files.bytes()
    }

    /// Commits made since it was opened.
    pub fn commits(&self) -> Commits {
        self.shared.commits()
    }

    /// Finishes what is queued, empties the log into the database, and lets go of the file. Later calls are
    /// refused.
    pub async fn close(&self) -> Result<(), Error> {
        self.readers.close().await;
        self.write(Work::Close).await.map(|_| ())
    }

    async fn write(&self, work: Work) -> Result<Appended, Error> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { work, reply }).await.map_err(|_| failure::closed())?;
        answer.await.map_err(|_| failure::closed())?
    }

    /// Checks entries after `after` up to `to`, and remembers damage.
    async fn check(&self, after: u64, to: u64) -> Result<Verified, Error> {
        let mut check = verify::chain(&self.readers, after, to).await.map_err(|error| self.shared.noted(error))?;
        if after == 0 {
            verify::rest(&self.readers, &mut check).await.map_err(|error| self.shared.noted(error))?;
        }
        let found = check.finish();
        if let Some((seq, detail)) = found.damage.first() {
            self.shared.damaged(*seq, detail);
        }
        Ok(found)
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn append(
        &self,
        cx: &CallContext,
        stream: &StreamName,
        expected_seq: u64,
        events: Vec<NewEvent>,
    ) -> Result<Appended, Error> {
        if cx.tenant() != &stream.tenant {
            return Err(Error::NotFound);
        }
        let batch = Batch::encode(cx, events)?;
        self.write(Work::Append { stream: stream.clone(), expected_seq, batch }).await
    }

    async fn read(
        &self,
        cx: &CallContext,
        stream: &StreamName,
        after_stream_seq: u64,
        limit: usize,
    ) -> Result<Vec<Event>, Error> {
        if !may_read(cx, &stream.tenant) {
            return Ok(Vec::new());
        }
        let read = read::stream(&self.readers, stream, after_stream_seq, limit);
        read.await.map_err(|error| self.shared.noted(error))
    }

    async fn feed(&self, cx: &CallContext, after_seq: u64, limit: usize) -> Result<Vec<Event>, Error> {
        read::feed(&self.readers, cx, after_seq, limit).await.map_err(|error| self.shared.noted(error))
    }

    async fn streams(&self, cx: &CallContext, kind: StreamKind, limit: usize) -> Result<Vec<(StreamName, u64)>, Error> {
        read::streams(&self.readers, cx, kind, limit).await.map_err(|error| self.shared.noted(error))
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.shared.head.subscribe()
    }

    fn refusal(&self) -> Option<Error> {
        self.shared.refusal()
    }

    async fn verify(&self, from_seq: u64) -> Result<Verified, Error> {
        let (after, to) = (from_seq.saturating_sub(1), *self.shared.head.borrow());
        if after > to {
            return Ok(opsward_ports::journal::entry::Check::from_start().finish());
        }
        let mut found = self.check(after, to).await?;
        if after == 0 {
            verify::blobs(&self.readers, &mut found).await?;
        }
        Ok(found)
    }

    async fn put_blob(&self, cx: &CallContext, bytes: &[u8]) -> Result<String, Error> {
        let digest = blob_digest(bytes)?;
        let work = Work::Blob { tenant: cx.tenant().clone(), digest: digest.clone(), bytes: bytes.to_vec() };
        self.write(work).await.map(|_| digest)
    }

    async fn get_blob(&self, cx: &CallContext, digest: &str) -> Result<Option<Vec<u8>>, Error> {
        read::blob(&self.readers, cx.tenant(), digest).await
    }
}
