//! The client side: keeps a function host running and calls functions in it.
//! It must never repeat an invocation by itself, nor wait for a host without a bound.

mod process;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::limits::{MAX_INPUT_BYTES, MAX_LOADED, MAX_NAME_BYTES, MAX_SOURCE_BYTES, MAX_TIMEOUT_MS, MIN_MEMORY_BYTES};
use crate::wire::{Ask, Bounds, Done, Language, Name, Reply};
use crate::{
    Error, Invocation, InvocationOutcome, Isolation, LoadReport, Options, Result, Source, SourceError, Status,
};
use process::{Launch, Process};

/// A function host and everything needed to start it again. Clones share it; the last one dropped ends it.
#[derive(Clone)]
pub struct FunctionHost(Arc<Inner>);

/// How a function host is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostStatus {
    /// Process id of the host; none while it is down (the next call starts it).
    pub pid: Option<u32>,
    /// How often a host was started after the first one.
    pub restarts: u64,
    /// Functions (key and version) loaded.
    pub loaded: usize,
    /// Invocations waiting or running.
    pub in_flight: usize,
}

struct Inner {
    launch: Launch,
    process: tokio::sync::Mutex<Option<Arc<Process>>>,
    sources: Mutex<HashMap<Name, Source>>,
    turns: Arc<Semaphore>,
    in_flight: AtomicUsize,
    restarts: AtomicU64,
}

impl FunctionHost {
    /// Starts a host: `exe` is this program (`/proc/self/exe` stays right when the file is replaced), `args` enter its
    /// role (`["__functions"]`). Needs a tokio runtime, here and in every other call.
    ///
    /// # Errors
    /// [`Error::Invalid`] for options out of bounds; [`Error::Start`] when it does not come up or a layer of its jail fails.
    pub async fn spawn(exe: impl Into<PathBuf>, args: &[String], options: Options) -> Result<Self> {
        options.check()?;
        let turns = Arc::new(Semaphore::new(options.concurrency));
        let launch = Launch { exe: exe.into(), args: args.to_vec(), options };
        let process = Process::start(&launch).await?;
        Ok(Self(Arc::new(Inner {
            launch,
            process: tokio::sync::Mutex::new(Some(Arc::new(process))),
            sources: Mutex::default(),
            turns,
            in_flight: AtomicUsize::new(0),
            restarts: AtomicU64::new(0),
        })))
    }

    /// Compiles and checks a function. It stays loaded, over restarts of the host too, until it is unloaded;
    /// loading the same key and version again replaces it, when the new source is good.
    ///
    /// # Errors
    /// [`Error::Source`] says what is wrong with it; [`Error::LoadTimedOut`], [`Error::Full`], [`Error::Start`],
    /// [`Error::Lost`].
    pub async fn load(&self, key: &str, version: &str, source: Source) -> Result<LoadReport> {
        let name = name(key, version)?;
        if source.bytes().len() > MAX_SOURCE_BYTES {
            let bytes = u64::try_from(source.bytes().len()).unwrap_or(u64::MAX);
            let limit_bytes = u64::try_from(MAX_SOURCE_BYTES).unwrap_or(u64::MAX);
            return Err(SourceError::TooLarge { bytes, limit_bytes }.into());
        }
        let loaded = self.0.sources().len();
        if loaded >= MAX_LOADED && !self.0.sources().contains_key(&name) {
            return Err(Error::Full { loaded });
        }
        let inner = Arc::clone(&self.0);
        to_its_end(async move {
            let process = inner.running().await?;
            let report = inner.load_into(&process, &name, &source).await?;
            inner.sources().insert(name, source);
            Ok(report)
        })
        .await
    }

    /// Forgets a function; false when it was not loaded. Invocations that run already end normally.
    ///
    /// # Errors
    /// None but [`Error::Invalid`] for a key or version out of bounds.
    pub async fn unload(&self, key: &str, version: &str) -> Result<bool> {
        let name = name(key, version)?;
        let known = self.0.sources().remove(&name).is_some();
        let inner = Arc::clone(&self.0);
        to_its_end(async move {
            let process = inner.process.lock().await.clone();
            if let Some(process) = process.filter(|process| process.is_alive()) {
                process.forget(&name);
                let wait = Duration::from_millis(inner.launch.options.start_timeout_ms);
                // A host that is gone has forgotten it anyway; one that does not even answer this is no good.
                if let Ok(None) = process.ask(name, Ask::Unload, &[], wait).await {
                    process.kill().await;
                }
            }
            Ok(known)
        })
        .await
    }

    /// Calls a function once. What the function does wrong is in the outcome, not an error.
    ///
    /// Dropping the returned future while the call waits for its turn takes it back; once it runs, it runs to its
    /// end or its time limit.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Overloaded`] and [`Error::Invalid`]: it did not run. [`Error::Lost`]: the host
    /// died meanwhile (through this or another invocation); whether it ran to its end is unknown.
    pub async fn invoke(&self, key: &str, version: &str, invocation: Invocation) -> Result<InvocationOutcome> {
        let name = name(key, version)?;
        let bounds = self.0.bounds(&invocation)?;
        let unknown = || Error::Unknown { key: key.to_owned(), version: version.to_owned() };
        if !self.0.sources().contains_key(&name) {
            return Err(unknown());
        }
        let here = InFlight::enter(&self.0)?;
        let turn = Arc::clone(&self.0.turns).acquire_owned().await.map_err(|_| stopped())?;
        let source = self.0.sources().get(&name).cloned().ok_or_else(unknown)?;
        to_its_end(async move {
            let (inner, _turn) = (&here.0, turn);
            let process = inner.running().await?;
            if !process.knows(&name) {
                inner.load_into(&process, &name, &source).await?;
            }
            inner.call(&process, name, bounds, &invocation.input).await
        })
        .await
    }

    /// Which layers of the jail hold; none while the host is down.
    pub async fn isolation(&self) -> Option<Isolation> {
        self.0.process.lock().await.as_ref().filter(|process| process.is_alive()).map(|process| process.isolation())
    }

    /// How the host is doing.
    pub async fn status(&self) -> HostStatus {
        let process = self.0.process.lock().await.clone();
        HostStatus {
            pid: process.filter(|process| process.is_alive()).and_then(|process| process.pid()),
            restarts: self.0.restarts.load(Ordering::Relaxed),
            loaded: self.0.sources().len(),
            in_flight: self.0.in_flight.load(Ordering::Relaxed),
        }
    }

    /// Ends the host; calls that wait or run fail with [`Error::Lost`], later ones too.
    pub async fn stop(&self) {
        self.0.turns.close();
        if let Some(process) = self.0.process.lock().await.take() {
            process.kill().await;
        }
    }
}

impl Inner {
    fn sources(&self) -> MutexGuard<'_, HashMap<Name, Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host that runs, started anew when the last one is gone.
    async fn running(&self) -> Result<Arc<Process>> {
        let mut place = self.process.lock().await;
        if let Some(process) = place.as_ref().filter(|process| process.is_alive()) {
            return Ok(Arc::clone(process));
        }
        if self.turns.is_closed() {
            return Err(stopped());
        }
        let process = Arc::new(Process::start(&self.launch).await?);
        self.restarts.fetch_add(1, Ordering::Relaxed);
        *place = Some(Arc::clone(&process));
        Ok(process)
    }

    async fn load_into(&self, process: &Process, name: &Name, source: &Source) -> Result<LoadReport> {
        let limit_ms = self.launch.options.load_timeout_ms;
        let language = match source {
            Source::Wasm(_) => Language::Wasm,
            Source::JavaScript(_) => Language::JavaScript,
        };
        let asked = process.ask(name.clone(), Ask::Load { language }, source.bytes(), Duration::from_millis(limit_ms));
        match asked.await? {
            Some((Reply::Loaded(loaded), _)) => {
                let report = loaded?;
                process.remember(name.clone());
                Ok(report)
            }
            Some(_) => Err(process.nonsense().await),
            None => {
                process.kill().await;
                Err(Error::LoadTimedOut { limit_ms })
            }
        }
    }

    async fn call(&self, process: &Process, name: Name, bounds: Bounds, input: &[u8]) -> Result<InvocationOutcome> {
        let Name { key, version } = name.clone();
        let wait = Duration::from_millis(bounds.timeout_ms + self.launch.options.grace_ms);
        match process.ask(name, Ask::Invoke(bounds), input, wait).await? {
            Some((Reply::Done(done), output)) => Ok(outcome(done, output)),
            Some((Reply::Unknown, _)) => Err(Error::Unknown { key, version }),
            Some(_) => Err(process.nonsense().await),
            None => {
                tracing::warn!(function = %key, %version, "function could not be interrupted, killing its host");
                process.kill().await;
                Ok(killed(wait))
            }
        }
    }

    fn bounds(&self, invocation: &Invocation) -> Result<Bounds> {
        let options = &self.launch.options;
        let fits = [
            ("input", invocation.input.len() <= MAX_INPUT_BYTES),
            ("timeout_ms", (1..=MAX_TIMEOUT_MS).contains(&invocation.timeout_ms)),
            ("memory_max_bytes", (MIN_MEMORY_BYTES..=options.memory_max_bytes).contains(&invocation.memory_max_bytes)),
        ];
        if let Some((field, _)) = fits.iter().find(|(_, fits)| !fits) {
            return Err(Error::Invalid { field, detail: "is out of bounds".to_owned() });
        }
        Ok(Bounds {
            timeout_ms: invocation.timeout_ms,
            memory_max_bytes: invocation.memory_max_bytes,
            output_max_bytes: options.output_max_bytes,
        })
    }
}

/// Counts an invocation from when it is asked for to its end.
struct InFlight(Arc<Inner>);

impl InFlight {
    fn enter(inner: &Arc<Inner>) -> Result<Self> {
        let options = &inner.launch.options;
        let before = inner.in_flight.fetch_add(1, Ordering::SeqCst);
        let here = Self(Arc::clone(inner));
        if before >= options.concurrency.saturating_add(options.queue_max) {
            return Err(Error::Overloaded { waiting: before.saturating_sub(options.concurrency) });
        }
        Ok(here)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Runs an exchange with the host to its end even when the caller goes away: half a frame would be the end of the
/// host, and a function that nobody waits for must still be stopped when its time is up.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|_| Err(stopped()))
}

fn stopped() -> Error {
    Error::Lost { detail: "the host was stopped".to_owned() }
}

fn name(key: &str, version: &str) -> Result<Name> {
    for (field, text) in [("key", key), ("version", version)] {
        if text.is_empty() || text.len() > MAX_NAME_BYTES {
            return Err(Error::Invalid { field, detail: format!("must have 1 to {MAX_NAME_BYTES} bytes") });
        }
    }
    Ok(Name { key: key.to_owned(), version: version.to_owned() })
}

fn outcome(done: Done, output: Vec<u8>) -> InvocationOutcome {
    let Done { status, detail, logs, logs_truncated, duration_us, cold, memory_peak_bytes } = done;
    InvocationOutcome { status, output, detail, logs, logs_truncated, duration_us, cold, memory_peak_bytes }
}

/// The outcome of an invocation that only the end of its host could stop.
fn killed(after: Duration) -> InvocationOutcome {
    InvocationOutcome {
        status: Status::TimedOut,
        output: Vec::new(),
        detail: Some("it could not be interrupted; its host was killed".to_owned()),
        logs: Vec::new(),
        logs_truncated: true,
        duration_us: u64::try_from(after.as_micros()).unwrap_or(u64::MAX),
        cold: false,
        memory_peak_bytes: 0,
    }
}
