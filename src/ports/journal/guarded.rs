//! A journal whose calls pass a guard that may stop them: how a process is lost at a chosen moment. Adds nothing
//! of its own to what is stored or read.

use std::sync::Arc;

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::event::{Event, NewEvent, StreamKind, StreamName};
use tokio::sync::watch;

use super::{Appended, Error, Journal, Verified};

/// Who stands before a journal.
#[async_trait]
pub trait Guard: Send + Sync {
    /// What is remembered from before an append until after it.
    type Passing: Send;
    /// Before `events` are appended; an error refuses them.
    async fn before(&self, events: &[NewEvent]) -> Result<Self::Passing, Error>;
    /// After they were appended, before anybody is told.
    async fn after(&self, passing: Self::Passing);
    /// Before events or names are read; an error refuses to.
    fn reading(&self) -> Result<(), Error>;
}

/// A journal behind a guard.
pub struct Guarded<G> {
    inner: Arc<dyn Journal>,
    /// The guard.
    pub guard: G,
}

impl<G: Guard> Guarded<G> {
    /// `inner` behind `guard`.
    pub fn new(inner: Arc<dyn Journal>, guard: G) -> Self {
        Self { inner, guard }
    }
}

#[async_trait]
impl<G: Guard> Journal for Guarded<G> {
    async fn append(
        &self,
        cx: &CallContext,
        stream: &StreamName,
        expected_seq: u64,
        events: Vec<NewEvent>,
    ) -> Result<Appended, Error> {
        let passing = self.guard.before(&events).await?;
        let done = self.inner.append(cx, stream, expected_seq, events).await?;
        self.guard.after(passing).await;
        Ok(done)
    }
    async fn read(&self, cx: &CallContext, stream: &StreamName, after: u64, limit: usize) -> Result<Vec<Event>, Error> {
        self.guard.reading()?;
        self.inner.read(cx, stream, after, limit).await
    }
    async fn feed(&self, cx: &CallContext, after: u64, limit: usize) -> Result<Vec<Event>, Error> {
        self.guard.reading()?;
        self.inner.feed(cx, after, limit).await
    }
    async fn streams(&self, cx: &CallContext, kind: StreamKind, limit: usize) -> Result<Vec<(StreamName, u64)>, Error> {
        self.guard.reading()?;
        self.inner.streams(cx, kind, limit).await
    }
    fn head(&self) -> watch::Receiver<u64> {
        self.inner.head()
    }
    fn refusal(&self) -> Option<Error> {
        self.inner.refusal()
    }
    async fn verify(&self, from_seq: u64) -> Result<Verified, Error> {
        self.inner.verify(from_seq).await
    }
    async fn put_blob(&self, cx: &CallContext, bytes: &[u8]) -> Result<String, Error> {
        self.inner.put_blob(cx, bytes).await
    }
    async fn get_blob(&self, cx: &CallContext, digest: &str) -> Result<Option<Vec<u8>>, Error> {
        self.inner.get_blob(cx, digest).await
    }
}
