//! Debug builds only: ends this process with SIGKILL at a named point, so that tests can lose it anywhere, and
//! puts its clock forward. A release build holds neither this code nor the variables' names; nothing else may
//! depend on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use opsward_domain::action::Action;
use opsward_domain::context::CallContext;
use opsward_domain::event::{NewEvent, Outcome};
use opsward_domain::fault::Fault;
use opsward_domain::name::Workspace;
use opsward_domain::plan::Step;
use opsward_domain::resource::ResourceState;
use opsward_domain::seal::Authorized;
use opsward_ports::clock::Clock;
use opsward_ports::journal::guarded::{Guard, Guarded};
use opsward_ports::journal::{Error, Journal};
use opsward_ports::provider::{Observation, Provider, Query};
use rustix::process::{Signal, getpid, kill_process};

/// `PLACE:WHAT:N`: the place is `before` or `after` an append that holds a body of kind WHAT, or `apply` or
/// `applied`: before or after an action of kind WHAT; N counts from 1.
pub const VARIABLE: &str = "OPSWARD_CRASH_AT";
/// How far the clock goes ahead, in milliseconds.
pub const CLOCK_VARIABLE: &str = "OPSWARD_CLOCK_AHEAD_MS";

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
        Some(point) => Arc::new(Guarded::new(journal, Kinds(point))),
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

/// `clock`, ahead by what the environment says, if it says anything.
pub fn clock(clock: Arc<dyn Clock>) -> Result<Arc<dyn Clock>, Fault> {
    let Ok(text) = std::env::var(CLOCK_VARIABLE) else { return Ok(clock) };
    let by_ms = text.parse().map_err(|_| Fault::invalid(format!("{CLOCK_VARIABLE} is not a number")))?;
    Ok(Arc::new(Ahead { inner: clock, by_ms }))
}

struct Ahead {
    inner: Arc<dyn Clock>,
    by_ms: i64,
}

#[async_trait]
impl Clock for Ahead {
    fn now_ms(&self) -> i64 {
        self.inner.now_ms().saturating_add(self.by_ms)
    }
    async fn sleep_ms(&self, duration_ms: u64) {
        self.inner.sleep_ms(duration_ms).await;
    }
}

/// Passes the point with the kinds of what is appended.
struct Kinds(Arc<Point>);

fn kinds(events: &[NewEvent]) -> Vec<String> {
    let kind = |event: &NewEvent| serde_json::to_value(&event.body).ok()?["type"].as_str().map(str::to_owned);
    events.iter().filter_map(kind).collect()
}

#[async_trait]
impl Guard for Kinds {
    type Passing = Vec<String>;
    async fn before(&self, events: &[NewEvent]) -> Result<Vec<String>, Error> {
        let kinds = kinds(events);
        self.0.pass("before", &kinds).await;
        Ok(kinds)
    }
    async fn after(&self, kinds: Vec<String>) {
        self.0.pass("after", &kinds).await;
    }
    fn reading(&self) -> Result<(), Error> {
        Ok(())
    }
}

struct Mortal {
    inner: Arc<dyn Provider>,
    point: Arc<Point>,
}

#[async_trait]
impl Provider for Mortal {
    async fn observe(&self, cx: &CallContext, query: &Query) -> Result<Observation, Fault> {
        self.inner.observe(cx, query).await
    }
    async fn rehearse(
        &self,
        cx: &CallContext,
        workspace: &Workspace,
        action: &Action,
        before: &ResourceState,
    ) -> Result<ResourceState, Fault> {
        self.inner.rehearse(cx, workspace, action, before).await
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
