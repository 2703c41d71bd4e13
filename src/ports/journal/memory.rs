//! The memory twin of the journal: the whole contract without a disk, chain included. For tests and for
//! throw-away runs; never durable, and its salts are not secret.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use opsward_domain::chain::GENESIS;
use opsward_domain::context::CallContext;
use opsward_domain::event::{Event, NewEvent, StreamKind, StreamName};
use opsward_domain::name::Tenant;
use opsward_domain::principal::Kind;
use tokio::sync::watch;

use super::entry::{Batch, Check, Entry, Place, SALT_BYTES, blob_digest};
use super::{Appended, BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Error, Journal, Verified, may_read};

#[derive(Debug, Default)]
struct State {
    /// Entry `seq` is at `seq - 1`.
    entries: Vec<Entry>,
    /// Journal sequences of a stream's entries.
    streams: BTreeMap<StreamName, Vec<u64>>,
    blobs: BTreeMap<(Tenant, String), Vec<u8>>,
}

/// A journal that is gone with the process.
#[derive(Debug)]
pub struct MemoryJournal {
    state: Mutex<State>,
    head: watch::Sender<u64>,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self { state: Mutex::default(), head: watch::Sender::new(0) }
    }
}

impl MemoryJournal {
    fn state(&self) -> MutexGuard<'_, State> {
        // Why: no code that holds the lock can fail half-way, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn entry(&self, seq: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    fn append(&mut self, stream: &StreamName, batch: Batch) -> Appended {
        let name = stream.to_string();
        let mut done = Appended { seq: self.entries.len() as u64, stream_seq: 0 };
        done.stream_seq = self.streams.get(stream).map_or(0, Vec::len) as u64;
        for event in batch.events {
            done = Appended { seq: done.seq + 1, stream_seq: done.stream_seq + 1 };
            let previous = self.entries.last().map_or(GENESIS, |entry| &entry.hash);
            let place = Place { previous, seq: done.seq, stream: &name, stream_seq: done.stream_seq };
            let entry = event.seal(place, [0; SALT_BYTES]);
            self.entries.push(entry);
            self.streams.entry(stream.clone()).or_default().push(done.seq);
        }
        done
    }
}

/// Takes entries up to both bounds and makes events of them.
fn events<'a>(entries: impl Iterator<Item = &'a Entry>, limit: usize) -> Result<Vec<Event>, Error> {
    let mut bytes = 0;
    entries
        .take(limit.min(BATCH_EVENTS_MAX))
        .take_while(|entry| {
            let first = bytes == 0;
            bytes += entry.bytes().max(1);
            first || bytes <= BATCH_BYTES_MAX
        })
        .map(|entry| entry.clone().event())
        .collect()
}

#[async_trait]
impl Journal for MemoryJournal {
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
        let mut state = self.state();
        let actual = state.streams.get(stream).map_or(0, Vec::len) as u64;
        if actual != expected_seq {
            return Err(Error::Conflict { stream: stream.to_string(), expected: expected_seq, actual });
        }
        let appended = state.append(stream, batch);
        self.head.send_if_modified(|head| std::mem::replace(head, appended.seq) != appended.seq);
        Ok(appended)
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
        let state = self.state();
        let seqs = state.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let rest = seqs.get(usize::try_from(after_stream_seq).unwrap_or(usize::MAX)..).unwrap_or_default();
        events(rest.iter().filter_map(|seq| state.entry(*seq)), limit)
    }

    async fn feed(&self, cx: &CallContext, after_seq: u64, limit: usize) -> Result<Vec<Event>, Error> {
        let state = self.state();
        let rest = state.entries.get(usize::try_from(after_seq).unwrap_or(usize::MAX)..).unwrap_or_default();
        let own = format!("{}/", cx.tenant());
        let all = cx.principal.kind == Kind::System;
        events(rest.iter().filter(|entry| all || entry.link.stream.starts_with(&own)), limit)
    }

    async fn streams(&self, cx: &CallContext, kind: StreamKind, limit: usize) -> Result<Vec<(StreamName, u64)>, Error> {
        let state = self.state();
        let seen = state.streams.iter().filter(|(name, _)| name.kind == kind && may_read(cx, &name.tenant));
        let mut found: Vec<_> = seen.map(|(name, seqs)| (seqs.last().copied(), name, seqs.len() as u64)).collect();
        found.sort_unstable_by_key(|(last, ..)| std::cmp::Reverse(*last));
        Ok(found.into_iter().take(limit.min(BATCH_EVENTS_MAX)).map(|(_, name, last)| (name.clone(), last)).collect())
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    fn refusal(&self) -> Option<Error> {
        None
    }

    async fn verify(&self, from_seq: u64) -> Result<Verified, Error> {
        let state = self.state();
        let before = from_seq.saturating_sub(1);
        let mut check = match state.entry(before) {
            Some(entry) => Check::after(before, entry.hash.clone()),
            None => Check::from_start(),
        };
        if before <= state.entries.len() as u64 {
            let rest = state.entries.get(usize::try_from(before).unwrap_or(usize::MAX)..).unwrap_or_default();
            rest.iter().for_each(|entry| check.entry(entry));
        }
        Ok(check.finish())
    }

    async fn put_blob(&self, cx: &CallContext, bytes: &[u8]) -> Result<String, Error> {
        let digest = blob_digest(bytes)?;
        self.state().blobs.insert((cx.tenant().clone(), digest.clone()), bytes.to_vec());
        Ok(digest)
    }

    async fn get_blob(&self, cx: &CallContext, digest: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.state().blobs.get(&(cx.tenant().clone(), digest.to_owned())).cloned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        crate::journal::conformance::all(async || Arc::new(MemoryJournal::default()) as Arc<dyn Journal>).await;
    }
}
