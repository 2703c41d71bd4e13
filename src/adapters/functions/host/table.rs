//! The functions that are loaded in this host.
//! It must never share anything between two invocations but compiled code.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::javascript::Script;
use super::logs::Logs;
use super::ticker::Ticker;
use super::wasm::{self, Module};
use crate::wire::{Bounds, Done, Language, Name};
use crate::{LoadReport, SourceError, Status};

/// Code that is ready to run.
enum Code {
    Wasm(Module),
    JavaScript(Script),
}

/// A loaded function.
pub(super) struct Loaded {
    code: Code,
    ran: AtomicBool,
}

/// What running code came to.
pub(super) struct Ran {
    pub(super) status: Status,
    pub(super) output: Vec<u8>,
    pub(super) detail: Option<String>,
    pub(super) memory_peak_bytes: u64,
}

pub(super) struct Table {
    engine: wasm::Engine,
    ticker: Ticker,
    functions: Mutex<HashMap<Name, Arc<Loaded>>>,
}

impl Table {
    pub(super) fn new(engine: wasm::Engine, ticker: Ticker) -> Self {
        Self { engine, ticker, functions: Mutex::default() }
    }

    pub(super) fn get(&self, name: &Name) -> Option<Arc<Loaded>> {
        self.functions().get(name).map(Arc::clone)
    }

    pub(super) fn remove(&self, name: &Name) -> bool {
        self.functions().remove(name).is_some()
    }

    /// Compiles and checks a source; only then it replaces what had the name before.
    pub(super) fn load(&self, name: Name, language: Language, source: Vec<u8>) -> Result<LoadReport, SourceError> {
        let started = Instant::now();
        let source_bytes = u64::try_from(source.len()).unwrap_or(u64::MAX);
        let (code, kind) = match language {
            Language::Wasm => {
                let module = self.engine.compile(&source)?;
                let kind = module.kind();
                (Code::Wasm(module), kind)
            }
            Language::JavaScript => (Code::JavaScript(Script::check(source)?), crate::Kind::JavaScript),
        };
        let loaded = Loaded { code, ran: AtomicBool::new(false) };
        self.functions().insert(name, Arc::new(loaded));
        Ok(LoadReport { kind, source_bytes, compile_us: micros(started) })
    }

    /// Runs a function once, in an instance of its own.
    pub(super) fn run(&self, function: &Loaded, bounds: Bounds, input: Vec<u8>) -> (Done, Vec<u8>) {
        let _running = self.ticker.run();
        let cold = !function.ran.swap(true, Ordering::Relaxed);
        let started = Instant::now();
        let mut logs = Logs::default();
        let ran = match &function.code {
            Code::Wasm(module) => module.run(bounds, input, &mut logs),
            Code::JavaScript(script) => script.run(bounds, &input, &mut logs),
        };
        let duration_us = micros(started);
        let (logs, logs_truncated) = logs.finish();
        let Ran { status, output, detail, memory_peak_bytes } = ran;
        let done = Done { status, detail, logs, logs_truncated, duration_us, cold, memory_peak_bytes };
        (done, if status == Status::Ok { output } else { Vec::new() })
    }

    fn functions(&self) -> MutexGuard<'_, HashMap<Name, Arc<Loaded>>> {
        self.functions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// A detail for people, cut to a sane length.
pub(super) fn cut(text: &str) -> String {
    const MAX_CHARS: usize = 1000;
    text.chars().take(MAX_CHARS).collect()
}
