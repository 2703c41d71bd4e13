//! The one writer: takes what is queued, commits it as one transaction, then answers. Never answers before
//! the commit, and never writes again once it cannot know what the disk holds.
//!
//! Durability. In WAL mode `synchronous = FULL` forces the log to the disk at each commit, `NORMAL` only
//! before a checkpoint. The log is one file written in order, so one forced commit also secures every
//! unforced one before it: what is lost with the power is always a tail, and never crosses an event that
//! asked for [`Durability::Power`]. The mode is a field of the connection, so switching it costs one short
//! statement, and only when it differs.

mod work;

use std::collections::HashMap;
use std::sync::Arc;

use opsward_domain::event::Durability;
use opsward_ports::journal::{Appended, BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Error};
use sqlx::{Connection as _, SqliteConnection, raw_sql};
use tokio::sync::{mpsc, oneshot};

use crate::files::Files;
use crate::lock::Lock;
use crate::shared::Shared;
use crate::{failure, store};

use work::Room;
pub(crate) use work::Work;

/// Most jobs that wait; further callers wait for room.
pub(crate) const QUEUE_JOBS_MAX: usize = 256;
/// Most jobs of one commit.
const COMMIT_JOBS_MAX: usize = 256;
/// Entries after which a checkpoint is due.
const CHECKPOINT_ENTRIES: u64 = 256;
/// Stream ends kept in memory, so that most appends need not look them up.
const STREAM_ENDS_MAX: usize = 1_024;

/// One thing to write, and who waits for it.
pub(crate) struct Job {
    pub(crate) work: Work,
    pub(crate) reply: oneshot::Sender<Result<Appended, Error>>,
}

/// The end of the chain.
#[derive(Debug, Clone)]
pub(crate) struct Tip {
    pub(crate) seq: u64,
    pub(crate) hash: String,
    pub(crate) checkpoint: u64,
}

pub(crate) struct Writer {
    conn: SqliteConnection,
    shared: Arc<Shared>,
    files: Files,
    bytes_max: u64,
    tip: Tip,
    ends: HashMap<String, u64>,
    held: Option<Durability>,
    broken: Option<String>,
    _lock: Lock,
}

impl Writer {
    pub(crate) fn new(
        conn: SqliteConnection,
        lock: Lock,
        files: Files,
        shared: Arc<Shared>,
        tip: Tip,
        bytes_max: u64,
    ) -> Self {
        Self { conn, shared, files, bytes_max, tip, ends: HashMap::new(), held: None, broken: None, _lock: lock }
    }

    /// Works until told to close, or until nobody can send any more.
    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut closer = None;
        while closer.is_none()
            && let Some(first) = jobs.recv().await
        {
            let (works, replies) = gather(first, &mut jobs, &mut closer);
            self.commit(works, replies).await;
        }
        let closed = self.finish().await;
        if let Some(reply) = closer {
            // Why ignored, here and below: whoever asked may have stopped waiting.
            let _ = reply.send(closed);
        }
    }

    async fn commit(&mut self, works: Vec<Work>, replies: Vec<oneshot::Sender<Result<Appended, Error>>>) {
        if works.is_empty() {
            return;
        }
        let mut tip = self.tip.clone();
        let done = match self.refusal() {
            Some(error) => Err(error),
            None => self.transaction(works, &mut tip).await.map_err(|error| self.failed(&error)),
        };
        let answers = match done {
            Ok(answers) => {
                self.tip = tip;
                self.shared.head.send_if_modified(|head| std::mem::replace(head, self.tip.seq) != self.tip.seq);
                answers
            }
            Err(error) => {
                // Why: the failed transaction may have got as far as any statement.
                let _ = raw_sql("ROLLBACK").execute(&mut self.conn).await;
                self.ends.clear();
                replies.iter().map(|_| Err(copy(&error))).collect()
            }
        };
        for (reply, answer) in replies.into_iter().zip(answers) {
            let _ = reply.send(answer);
        }
    }

    /// One answer a work, in order. On an error nothing of it was kept, or nobody can know.
    async fn transaction(
        &mut self,
        works: Vec<Work>,
        tip: &mut Tip,
    ) -> Result<Vec<Result<Appended, Error>>, sqlx::Error> {
        let durability = works.iter().map(Work::durability).max().unwrap_or(Durability::Process);
        let erases = works.iter().any(|work| matches!(work, Work::Erase { .. }));
        self.hold(durability).await?;
        raw_sql("BEGIN IMMEDIATE").execute(&mut self.conn).await?;
        let mut room = Room::new(self.files.bytes(), self.bytes_max);
        let (mut answers, mut pending) = (Vec::with_capacity(works.len()), Vec::new());
        for work in works {
            answers.push(self.apply(work, tip, &mut room, &mut pending).await?);
        }
        store::insert(&mut self.conn, pending).await?;
        if tip.seq >= tip.checkpoint.saturating_add(CHECKPOINT_ENTRIES) {
            store::set_checkpoint(&mut self.conn, tip.seq).await?;
            tip.checkpoint = tip.seq;
        }
        raw_sql("COMMIT").execute(&mut self.conn).await?;
        self.shared.committed(durability);
        if erases {
            self.empty_log().await;
        }
        Ok(answers)
    }

    /// Empties the log, in which erased bytes still are. Only a warning if it cannot be done now: what was
    /// committed stays committed, and the log is written over in any case.
    async fn empty_log(&mut self) {
        let done = sqlx::query_as::<_, (i64, i64, i64)>("PRAGMA wal_checkpoint(TRUNCATE)");
        match done.fetch_one(&mut self.conn).await {
            Ok((0, ..)) => {}
            Ok(_) => tracing::warn!("the journal's log could not be emptied yet: it is being read"),
            Err(error) => tracing::warn!(error = %failure::statement(&error), "the journal's log could not be emptied"),
        }
    }

    async fn hold(&mut self, durability: Durability) -> Result<(), sqlx::Error> {
        if self.held == Some(durability) {
            return Ok(());
        }
        let pragma = match durability {
            Durability::Power => "PRAGMA synchronous = FULL",
            Durability::Process => "PRAGMA synchronous = NORMAL",
        };
        raw_sql(pragma).execute(&mut self.conn).await?;
        self.held = Some(durability);
        Ok(())
    }

    fn refusal(&self) -> Option<Error> {
        let broken = || {
            self.broken.as_ref().map(|detail| Error::Unavailable {
                detail: format!("an earlier write failed and may or may not be kept: {detail}"),
                hint: "check the disk, then restart opsward; it goes on from what was kept".into(),
            })
        };
        self.shared.refusal().or_else(broken)
    }

    fn failed(&mut self, error: &sqlx::Error) -> Error {
        let failure = self.shared.noted(failure::statement(error));
        if failure::is_uncertain(error) {
            self.broken = Some(failure.to_string());
        }
        tracing::error!(error = %failure, "the journal could not be written");
        failure
    }

    /// Ends the writer and lets go of the file, whether or not the last of it could be secured.
    async fn finish(mut self) -> Result<Appended, Error> {
        let secured = if self.refusal().is_none() { self.secure().await } else { Ok(()) };
        let closed = self.conn.close().await;
        secured.and(closed).map_err(|error| failure::statement(&error))?;
        Ok(Appended { seq: self.tip.seq, stream_seq: 0 })
    }

    /// Makes the next open quick: nothing to verify but the last entry, and no log to recover.
    async fn secure(&mut self) -> Result<(), sqlx::Error> {
        self.hold(Durability::Power).await?;
        if self.tip.seq > self.tip.checkpoint {
            store::set_checkpoint(&mut self.conn, self.tip.seq).await?;
        }
        raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.conn).await.map(|_| ())
    }
}

/// Takes what is queued behind `first`, within the bounds of one commit.
#[allow(clippy::type_complexity, reason = "two lists in step, used once")]
fn gather(
    first: Job,
    jobs: &mut mpsc::Receiver<Job>,
    closer: &mut Option<oneshot::Sender<Result<Appended, Error>>>,
) -> (Vec<Work>, Vec<oneshot::Sender<Result<Appended, Error>>>) {
    let (mut works, mut replies) = (Vec::new(), Vec::new());
    let (mut bytes, mut events) = (0, 0);
    let mut next = Some(first);
    while let Some(job) = next {
        if matches!(job.work, Work::Close) {
            *closer = Some(job.reply);
            break;
        }
        bytes += job.work.bytes();
        events += job.work.events();
        works.push(job.work);
        replies.push(job.reply);
        let full = works.len() >= COMMIT_JOBS_MAX || events >= BATCH_EVENTS_MAX || bytes >= BATCH_BYTES_MAX;
        next = if full { None } else { jobs.try_recv().ok() };
    }
    (works, replies)
}

/// The same failure for everyone whose work was in the transaction.
fn copy(error: &Error) -> Error {
    match error {
        Error::Corrupt { seq, detail } => Error::Corrupt { seq: *seq, detail: detail.clone() },
        Error::Unavailable { detail, hint } => Error::Unavailable { detail: detail.clone(), hint: hint.clone() },
        other => Error::Unavailable { detail: other.to_string(), hint: String::new() },
    }
}
