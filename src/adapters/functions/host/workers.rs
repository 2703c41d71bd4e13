//! The host's threads: one that loads, several that run, one that ticks, all writing to the one socket.
//! They must all exist before the filter is up (no thread can be made after), and one must never wait for another's function.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Barrier, Mutex, PoisonError};

use super::settings::Settings;
use super::table::Table;
use crate::wire::{self, Answer, Bounds, Done, Language, Name, Reply};
use crate::{SourceError, Status};

/// Stack of a thread that runs functions: the engines stop a function at a fraction of it.
const STACK_BYTES: usize = 8 * 1024 * 1024;
/// The loader, the ticker and the one that reads the socket.
const OTHER_THREADS: usize = 3;
/// Work that may wait in the host; the client holds back before that.
const QUEUE: usize = 256;

/// The socket to the client, written to a whole frame at a time.
#[derive(Clone)]
pub(super) struct Port(Arc<Mutex<File>>);

impl Port {
    pub(super) fn new(socket: File) -> Self {
        Self(Arc::new(Mutex::new(socket)))
    }

    /// Sends an answer. When the client is gone the reading thread ends the host, so a failure needs no care.
    pub(super) fn send(&self, ticket: u64, reply: Reply, body: &[u8]) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _gone = wire::write(&mut *socket, &Answer { ticket, reply }, body);
    }
}

struct Invoke {
    ticket: u64,
    name: Name,
    bounds: Bounds,
    input: Vec<u8>,
}

struct Load {
    ticket: u64,
    name: Name,
    language: Language,
    source: Vec<u8>,
}

/// Where work is handed in.
pub(super) struct Workers {
    invokes: SyncSender<Invoke>,
    loads: SyncSender<Load>,
}

impl Workers {
    /// Starts all threads, one of them for `tick`, and waits until each is running.
    pub(super) fn start(
        settings: &Settings,
        table: &Arc<Table>,
        port: &Port,
        tick: Box<dyn FnOnce() + Send>,
    ) -> std::io::Result<Self> {
        let (invokes, work) = sync_channel(QUEUE);
        let (loads, sources) = sync_channel(QUEUE);
        let work = Arc::new(Mutex::new(work));
        let barrier = Arc::new(Barrier::new(settings.concurrency + OTHER_THREADS));
        for _ in 0..settings.concurrency {
            let (table, port) = (Arc::clone(table), port.clone());
            let (work, barrier) = (Arc::clone(&work), Arc::clone(&barrier));
            spawn("function", move || {
                barrier.wait();
                while let Some(job) = next(&work) {
                    invoke(&table, &port, job);
                }
            })?;
        }
        let (table, port, at_start) = (Arc::clone(table), port.clone(), Arc::clone(&barrier));
        spawn("loader", move || {
            at_start.wait();
            while let Ok(job) = sources.recv() {
                load(&table, &port, job);
            }
        })?;
        let at_start = Arc::clone(&barrier);
        spawn("ticker", move || {
            at_start.wait();
            tick();
        })?;
        barrier.wait();
        Ok(Self { invokes, loads })
    }

    pub(super) fn invoke(&self, ticket: u64, name: Name, bounds: Bounds, input: Vec<u8>) {
        // Sending fails only when all threads are gone, and they never end before the process.
        let _gone = self.invokes.send(Invoke { ticket, name, bounds, input });
    }

    pub(super) fn load(&self, ticket: u64, name: Name, language: Language, source: Vec<u8>) {
        let _gone = self.loads.send(Load { ticket, name, language, source });
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(work).map(drop)
}

fn next<T>(work: &Mutex<Receiver<T>>) -> Option<T> {
    work.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn invoke(table: &Table, port: &Port, job: Invoke) {
    let Some(function) = table.get(&job.name) else {
        return port.send(job.ticket, Reply::Unknown, &[]);
    };
    let ran = catch_unwind(AssertUnwindSafe(|| table.run(&function, job.bounds, job.input)));
    let (done, output) = ran.unwrap_or_else(|_| (engine_failed(), Vec::new()));
    port.send(job.ticket, Reply::Done(done), &output);
}

fn load(table: &Table, port: &Port, job: Load) {
    let loaded = catch_unwind(AssertUnwindSafe(|| table.load(job.name, job.language, job.source)));
    let loaded =
        loaded.unwrap_or_else(|_| Err(SourceError::InvalidModule { detail: "the compiler gave up on it".to_owned() }));
    port.send(job.ticket, Reply::Loaded(loaded), &[]);
}

fn engine_failed() -> Done {
    Done {
        status: Status::Failed,
        detail: Some("the engine gave up on it".to_owned()),
        logs: Vec::new(),
        logs_truncated: true,
        duration_us: 0,
        cold: false,
        memory_peak_bytes: 0,
    }
}
