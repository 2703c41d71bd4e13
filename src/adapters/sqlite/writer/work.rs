//! What can be written, one kind at a time, inside the writer's transaction. A refusal is an answer and
//! leaves the rest of the transaction standing; never half of a work is written.

use opsward_domain::event::{Durability, StreamName};
use opsward_domain::name::{Subject, Tenant};
use opsward_domain::time::AtMs;
use opsward_ports::journal::entry::{Batch, Entry, Place, SALT_BYTES, stream_name};
use opsward_ports::journal::{Appended, Error};

use super::{STREAM_ENDS_MAX, Tip, Writer};
use crate::store::{self, number};

/// What an entry takes on the disk besides its body: rows, indexes, log frames.
const ENTRY_BYTES: u64 = 1_024;

/// One piece of work.
pub(crate) enum Work {
    /// Events for a stream, if it ends where the caller believes.
    Append { stream: StreamName, expected_seq: u64, batch: Batch },
    /// A blob.
    Blob { tenant: Tenant, digest: String, bytes: Vec<u8> },
    /// The end of a body. No tenant means any.
    Erase { tenant: Option<Tenant>, by: Subject, seq: u64, at_ms: AtMs, reason: String },
    /// The end of the writer.
    Close,
}

impl Work {
    pub(super) fn durability(&self) -> Durability {
        match self {
            Self::Append { batch, .. } => batch.durability,
            Self::Blob { .. } => Durability::Process,
            Self::Erase { .. } | Self::Close => Durability::Power,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append { batch, .. } => batch.bytes,
            Self::Blob { bytes, .. } => bytes.len(),
            Self::Erase { .. } | Self::Close => 0,
        }
    }

    pub(super) fn events(&self) -> usize {
        if let Self::Append { batch, .. } = self { batch.events.len() } else { 1 }
    }
}

/// What is left of the disk budget.
pub(super) struct Room {
    used: u64,
    max: u64,
}

impl Room {
    pub(super) fn new(used: u64, max: u64) -> Self {
        Self { used, max }
    }

    /// Takes room for `work`. Past 95 % only what must survive a power loss gets any: an intent or its
    /// outcome must still fit when chatter no longer does.
    fn take(&mut self, work: (Durability, usize, usize)) -> Result<(), Error> {
        let (durability, bytes, events) = work;
        let limit = match durability {
            Durability::Power => self.max,
            Durability::Process => self.max / 100 * 95,
        };
        let needed = (bytes as u64).saturating_add(ENTRY_BYTES.saturating_mul(events as u64));
        let used = self.used.saturating_add(needed);
        if used > limit {
            return Err(Error::Unavailable {
                detail: format!("its disk budget is spent: {} of {} bytes are used", self.used, self.max),
                hint: "raise the journal's budget, or export it and begin a new one".into(),
            });
        }
        self.used = used;
        Ok(())
    }
}

impl Writer {
    /// Does `work`; entries are left in `pending`, to be inserted together. The outer error ends the
    /// transaction, the inner one is only this work's.
    pub(super) async fn apply(
        &mut self,
        work: Work,
        tip: &mut Tip,
        room: &mut Room,
        pending: &mut Vec<Entry>,
    ) -> Result<Result<Appended, Error>, sqlx::Error> {
        let needs = (work.durability(), work.bytes(), work.events());
        match work {
            Work::Append { stream, expected_seq, batch } => {
                let name = stream.to_string();
                let actual = self.end_of(&name).await?;
                if actual != expected_seq {
                    return Ok(Err(Error::Conflict { stream: name, expected: expected_seq, actual }));
                }
                if batch.events.is_empty() {
                    return Ok(Ok(Appended { seq: tip.seq, stream_seq: actual }));
                }
                let sealed = room.take(needs).and_then(|()| seal(batch, &name, actual, tip, pending));
                if let Ok(done) = &sealed {
                    self.remember(name, done.stream_seq);
                }
                Ok(sealed)
            }
            Work::Blob { tenant, digest, bytes } => match room.take(needs) {
                Ok(()) => self.keep_blob(&tenant, digest, bytes, tip).await.map(Ok),
                Err(refused) => Ok(Err(refused)),
            },
            Work::Erase { tenant, by, seq, at_ms, reason } => self.erase(tenant, by, seq, (at_ms, reason), tip).await,
            Work::Close => Ok(Ok(Appended { seq: tip.seq, stream_seq: 0 })),
        }
    }

    async fn end_of(&mut self, name: &str) -> Result<u64, sqlx::Error> {
        if let Some(end) = self.ends.get(name) {
            return Ok(*end);
        }
        let end = store::last_stream_seq(&mut self.conn, name).await?;
        self.remember(name.to_owned(), end);
        Ok(end)
    }

    fn remember(&mut self, name: String, end: u64) {
        if self.ends.len() >= STREAM_ENDS_MAX {
            self.ends.clear();
        }
        self.ends.insert(name, end);
    }

    async fn keep_blob(
        &mut self,
        tenant: &Tenant,
        digest: String,
        bytes: Vec<u8>,
        tip: &Tip,
    ) -> Result<Appended, sqlx::Error> {
        sqlx::query("INSERT INTO blob (tenant, digest, bytes) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(tenant.to_string())
            .bind(digest)
            .bind(bytes)
            .execute(&mut self.conn)
            .await?;
        Ok(Appended { seq: tip.seq, stream_seq: 0 })
    }

    async fn erase(
        &mut self,
        tenant: Option<Tenant>,
        by: Subject,
        seq: u64,
        (at_ms, reason): (AtMs, String),
        tip: &Tip,
    ) -> Result<Result<Appended, Error>, sqlx::Error> {
        let stream: Option<String> = sqlx::query_scalar("SELECT stream FROM entry WHERE seq = ?")
            .bind(number(seq))
            .fetch_optional(&mut self.conn)
            .await?;
        let owner = stream.and_then(|stream| stream_name(&stream)).map(|stream| stream.tenant);
        if owner.is_none() || (tenant.is_some() && tenant != owner) {
            return Ok(Err(Error::NotFound));
        }
        let erased =
            sqlx::query("INSERT INTO erasure (seq, at_ms, author, reason) SELECT seq, ?, ?, ? FROM body WHERE seq = ?");
        let erased = erased.bind(at_ms).bind(by.to_string()).bind(reason).bind(number(seq));
        if erased.execute(&mut self.conn).await?.rows_affected() > 0 {
            sqlx::query("DELETE FROM body WHERE seq = ?").bind(number(seq)).execute(&mut self.conn).await?;
        }
        Ok(Ok(Appended { seq: tip.seq, stream_seq: 0 }))
    }
}

/// Seals all of `batch` behind `tip` and moves it on, or does nothing.
fn seal(
    batch: Batch,
    stream: &str,
    stream_end: u64,
    tip: &mut Tip,
    pending: &mut Vec<Entry>,
) -> Result<Appended, Error> {
    let mut salts = vec![[0; SALT_BYTES]; batch.events.len()];
    getrandom::fill(salts.as_flattened_mut()).map_err(|error| Error::Unavailable {
        detail: format!("no randomness for a salt: {error}"),
        hint: "check that the system's random source works".into(),
    })?;
    let mut done = Appended { seq: tip.seq, stream_seq: stream_end };
    for (event, salt) in batch.events.into_iter().zip(salts) {
        done = Appended { seq: done.seq + 1, stream_seq: done.stream_seq + 1 };
        let place = Place { previous: &tip.hash, seq: done.seq, stream, stream_seq: done.stream_seq };
        let entry = event.seal(place, salt);
        tip.hash.clone_from(&entry.hash);
        pending.push(entry);
    }
    tip.seq = done.seq;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_twentieth_is_for_what_must_survive() {
        let mut room = Room::new(0, 100 * ENTRY_BYTES);
        room.take((Durability::Process, 0, 95)).unwrap();
        assert!(room.take((Durability::Process, 1, 0)).is_err());
        room.take((Durability::Power, 0, 5)).unwrap();
        assert!(room.take((Durability::Power, 1, 0)).is_err());
        assert!(Room::new(u64::MAX, u64::MAX).take((Durability::Process, 1, 1)).is_err());
    }
}
