//! Debug builds only: ends this process with SIGKILL at a named point, so that tests can lose it anywhere.
//! A release build holds neither this code nor the variable's name; nothing else may depend on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::event::{Event, NewEvent, Outcome, StreamKind, StreamName};
use opsward_domain::fault::Fault;
use opsward_domain::plan::Step;
use opsward_domain::seal::Authorized;
use opsward_ports::journal::{Appended, Error, Journal, Verified};
use opsward_ports::provider::{Observation, Provider, Query};
use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::watch;

/// `PLACE:WHAT:N`: the place is `before` or `after` an append that holds a body of kind WHAT, or `apply` or
/// `applied`: before or after an action of kind WHAT; N counts from 1.
pub const VARIABLE: &str = "OPSWARD_CRASH_AT";

struct Point {
    place: String,
    what: String,
    left: AtomicU64,
}

impl Point {
    fn read() -> Result<Option<Arc<Self>>, Fault> {
        let Ok(text) = std::env::var(VARIABLE) else { return Ok(None) };
        let wrong = || Fault::invalid(format!("{VARIABLE} is not PLACE:WHAT:N"));
        let [place, what, nth] = text.split(':').collect::<Vec<_>>()[..] else { return Err(wrong()) };
        let left = AtomicU64::new(nth.parse().map_err(|_| wrong())?);
        Ok(Some(Arc::new(Self { place: place.to_owned(), what: what.to_owned(), left })))
    }

    /// Does not come back if this is the point.
    async fn pass(&self, place: &str, what: &[String]) {
        if place != self.place || !what.contains(&self.what) {
            return;
        }
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _ = kill_process(getpid(), Signal::KILL);
            std::future::pending::<()>().await;
        }
    }
}

/// `journal`, lost at the point that the environment names, if it names one.
pub fn journal(journal: Arc<dyn Journal>) -> Result<Arc<dyn Journal>, Fault> {
    Ok(match Point::read()? {
        Some(point) => Arc::new(Mortal { inner: journal, point }),
        None => journal,
    })
}

/// `provider`, lost at the point that the environment names, if it names one.
pub fn provider(provider: Arc<dyn Provider>) -> Result<Arc<dyn Provider>, Fault> {
    Ok(match Point::read()? {
        Some(point) => Arc::new(Mortal { inner: provider, point }),
        None => provider,
    })
}

struct Mortal<T: ?Sized> {
    inner: Arc<T>,
    point: Arc<Point>,
}

fn kinds(events: &[NewEvent]) -> Vec<String> {
    let kind = |event: &NewEvent| serde_json::to_value(&event.body).ok()?["type"].as_str().map(str::to_owned);
    events.iter().filter_map(kind).collect()
}

#[async_trait]
impl Journal for Mortal<dyn Journal> {
    async fn append(
        &self,
        cx: &CallContext,
        stream: &StreamName,
        expected_seq: u64,
        events: Vec<NewEvent>,
    ) -> Result<Appended, Error> {
        let kinds = kinds(&events);
        self.point.pass("before", &kinds).await;
        let done = self.inner.append(cx, stream, expected_seq, events).await?;
        self.point.pass("after", &kinds).await;
        Ok(done)
    }
    async fn read(&self, cx: &CallContext, stream: &StreamName, after: u64, limit: usize) -> Result<Vec<Event>, Error> {
        self.inner.read(cx, stream, after, limit).await
    }
    async fn feed(&self, cx: &CallContext, after: u64, limit: usize) -> Result<Vec<Event>, Error> {
        self.inner.feed(cx, after, limit).await
    }
    async fn streams(&self, cx: &CallContext, kind: StreamKind, limit: usize) -> Result<Vec<(StreamName, u64)>, Error> {
        self.inner.streams(cx, kind, limit).await
    }
    fn head(&self) -> watch::Receiver<u64> {
        self.inner.head()
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

#[async_trait]
impl Provider for Mortal<dyn Provider> {
    async fn observe(&self, cx: &CallContext, query: &Query) -> Result<Observation, Fault> {
        self.inner.observe(cx, query).await
    }
    async fn apply(&self, cx: &CallContext, step: &Authorized<Step>, key: &str) -> Result<Outcome, Fault> {
        let kind = [step.get().action.kind().facts().name.to_owned()];
        self.point.pass("apply", &kind).await;
        let done = self.inner.apply(cx, step, key).await;
        self.point.pass("applied", &kind).await;
        done
    }
    async fn lookup(&self, cx: &CallContext, key: &str) -> Result<Option<Outcome>, Fault> {
        self.inner.lookup(cx, key).await
    }
}
