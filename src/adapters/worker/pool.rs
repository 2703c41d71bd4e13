//! The pool: takes a warm worker for each run, bounds how many run, and watches the wall clock.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opsward_ports::runner::{Attestation, Error, Observer, Program, Runner};
use opsward_wire::check_names;
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::keeper::{self, LastFault};
use crate::process::{Launch, Worker};
use crate::{run, selftest};

/// How to run workers.
#[derive(Clone, Debug)]
pub struct Options {
    /// The executable that has the worker role; the server's own.
    pub program: PathBuf,
    /// Arguments that select that role.
    pub role: Vec<String>,
    /// Workers kept ready, 2 or more.
    pub warm: usize,
    /// Runs at the same time; further ones wait.
    pub concurrent: usize,
    /// Longest wait of a run for its turn and a worker.
    pub queue_ms: u64,
    /// Longest time that a worker may take to get ready.
    pub start_ms: u64,
}

impl Options {
    /// The usual bounds for this executable: `PROGRAM __worker`.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self { program, role: vec!["__worker".to_owned()], warm: 4, concurrent: 8, queue_ms: 5_000, start_ms: 5_000 }
    }
}

/// Warm, jailed workers. Dropping it kills them all.
pub struct Pool {
    workers: Mutex<mpsc::Receiver<Worker>>,
    turns: Semaphore,
    queue_wait: Duration,
    fault: LastFault,
    attestation: Attestation,
}

impl Pool {
    /// Tries the probes and starts to keep workers ready. Takes some hundred milliseconds, nearly all of
    /// them outside the calling thread.
    ///
    /// # Errors
    /// When the threads for it cannot be had. Workers that do not start show in the attestation and in runs.
    pub async fn start(options: Options) -> io::Result<Self> {
        let launch = Launch { program: options.program, role: options.role };
        let start_timeout = Duration::from_millis(options.start_ms.max(1));
        let (workers, fault) = keeper::start(launch.clone(), options.warm, start_timeout)?;
        let attestation =
            tokio::task::spawn_blocking(move || selftest::attest(&launch)).await.map_err(io::Error::other)?;
        for probe in attestation.probes.iter().filter(|probe| !probe.held) {
            tracing::error!(probe = probe.name, detail = probe.detail, "a probe of the script jail did not hold");
        }
        Ok(Self {
            workers: Mutex::new(workers),
            turns: Semaphore::new(options.concurrent.max(1)),
            queue_wait: Duration::from_millis(options.queue_ms),
            fault,
            attestation,
        })
    }

    /// A live worker. One that was killed while it waited is passed over.
    async fn worker(&self) -> Result<Worker, Error> {
        let mut workers = self.workers.lock().await;
        loop {
            let next = workers.recv().await;
            let mut worker = next.ok_or_else(|| Error::Unavailable("the pool has stopped".to_owned()))?;
            if worker.is_alive() {
                return Ok(worker);
            }
        }
    }

    fn nothing_in_time(&self) -> Error {
        let waited = format!("none within {} ms", self.queue_wait.as_millis());
        Error::Unavailable(self.fault.get().map_or(waited.clone(), |fault| format!("{waited}; {fault}")))
    }
}

#[async_trait]
impl Runner for Pool {
    async fn run(&self, program: Program, observer: Arc<dyn Observer>) -> Result<Value, Error> {
        check_names(&program.queries, &program.steps).map_err(run::bad_value)?;
        let turn = async {
            let turn = self.turns.acquire().await.map_err(|error| Error::Unavailable(error.to_string()))?;
            Ok((turn, self.worker().await?))
        };
        let (_turn, mut worker) =
            tokio::time::timeout(self.queue_wait, turn).await.map_err(|_| self.nothing_in_time())??;
        let wall = Duration::from_millis(program.limits.wall_ms);
        tokio::time::timeout(wall, run::run(&mut worker, &program, observer.as_ref()))
            .await
            .unwrap_or_else(|_| Err(Error::Limit(format!("wall time of {} ms", program.limits.wall_ms))))
    }

    fn attestation(&self) -> Attestation {
        self.attestation.clone()
    }
}
