//! The functions of one workspace: their host, their counters, their log. Never runs a function in this
//! process, never calls one twice for one key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use opsward_domain::action::{FunctionSource, InvokeFunction};
use opsward_domain::event::Outcome;
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Function, Workload};
use opsward_domain::resource::FunctionStatus;
use opsward_functions::{Error, FunctionHost, Invocation, InvocationOutcome, Source, Status};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::disk;
use crate::options::Options;
use crate::place::{Place, lock};
use crate::spool::{Record, Spool};
use crate::state::{State, WantedFunction};

/// Argument that makes our program a function host.
const ROLE: &str = "__functions";

/// What a function has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) invocations: u64,
    pub(crate) failures: u64,
    pub(crate) busy_us: u64,
}

/// Everything of a workspace's functions that is not wanted state.
pub(crate) struct Functions {
    /// Started by the first use.
    host: tokio::sync::Mutex<Option<FunctionHost>>,
    /// Names by which the host knows what is loaded.
    loaded: Mutex<BTreeMap<Function, BTreeSet<(String, String)>>>,
    tallies: Mutex<BTreeMap<Function, Tally>>,
    log: Mutex<Option<Spool>>,
}

impl Functions {
    pub(crate) fn new(tallies: BTreeMap<Function, Tally>) -> Self {
        Self {
            host: tokio::sync::Mutex::default(),
            loaded: Mutex::default(),
            tallies: Mutex::new(tallies),
            log: Mutex::default(),
        }
    }

    pub(crate) fn tallies(&self) -> BTreeMap<Function, Tally> {
        lock(&self.tallies).clone()
    }

    async fn host(&self, options: &Options) -> Result<FunctionHost, Fault> {
        let mut held = self.host.lock().await;
        if let Some(host) = held.as_ref() {
            return Ok(host.clone());
        }
        let host = FunctionHost::spawn(&options.exe, &[ROLE.to_owned()], options.functions.clone()).await;
        let host = host.map_err(|error| fault(&error))?;
        *held = Some(host.clone());
        Ok(host)
    }

    /// Ends the host; functions in it fail.
    pub(crate) async fn stop(&self) {
        if let Some(host) = self.host.lock().await.take() {
            host.stop().await;
        }
    }

    /// Forgets a function that was removed.
    pub(crate) async fn forget(&self, name: &Function) {
        lock(&self.tallies).remove(name);
        let loaded = std::mem::take(lock(&self.loaded).entry(name.clone()).or_default());
        if let Some(host) = self.host.lock().await.as_ref() {
            for (key, version) in loaded {
                // One that the host does not know is as good as unloaded.
                let _ = host.unload(&key, &version).await;
            }
        }
    }

    async fn load(
        &self,
        host: &FunctionHost,
        name: &Function,
        at: (String, String),
        source: Source,
    ) -> Result<(), Fault> {
        host.load(&at.0, &at.1, source).await.map_err(|error| fault(&error))?;
        lock(&self.loaded).entry(name.clone()).or_default().insert(at);
        Ok(())
    }

    fn count(&self, place: &Place, name: &Function, outcome: Option<&InvocationOutcome>) {
        let mut tallies = lock(&self.tallies);
        let tally = tallies.entry(name.clone()).or_default();
        tally.invocations += 1;
        tally.failures += u64::from(outcome.is_none_or(|outcome| outcome.status != Status::Ok));
        tally.busy_us += outcome.map_or(0, |outcome| outcome.duration_us);
        // A count lost in a crash is a count lost; the call itself is in the ledger.
        let _ = disk::encode(&*tallies).and_then(|bytes| disk::write_whole(&place.folder.tallies(), &bytes));
    }

    fn write_log(&self, place: &Place, options: &Options, name: &Function, lines: &[String], at_ms: i64) {
        let Ok(workload) = Workload::parse(name.as_str()) else { return };
        let mut log = lock(&self.log);
        if log.is_none() {
            *log = Spool::open(&place.folder.calls(), options.shim.segment_bytes, options.shim.segments_max).ok();
        }
        let Some(spool) = log.as_mut() else { return };
        for line in lines {
            let line = crate::shim::plain(line.as_bytes());
            spool.push(&Record { workload: workload.clone(), replica: 0, at_ms, line: Some(line), event: None });
        }
        spool.flush();
    }
}

/// The host's name of a function: never the same for two of one name, one after the other.
fn key(name: &Function, incarnation: u64) -> String {
    format!("{name}.{incarnation}")
}

/// The code of a source, and its runtime's word.
pub(crate) fn code(source: &FunctionSource) -> Result<(&'static str, Vec<u8>), Fault> {
    match source {
        FunctionSource::Javascript { text } => Ok(("javascript", text.clone().into_bytes())),
        FunctionSource::Wasm { module } => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(module);
            let refuse =
                |error: base64::DecodeError| Fault::invalid("the module is not base64").detail(error.to_string());
            bytes.map(|bytes| ("wasm", bytes)).map_err(refuse)
        }
    }
}

fn source(runtime: &str, bytes: Vec<u8>) -> Result<Source, Fault> {
    if runtime == "wasm" {
        return Ok(Source::Wasm(bytes.into()));
    }
    let text = String::from_utf8(bytes).map_err(|error| Fault::invalid("not text").detail(error.to_string()))?;
    Ok(Source::JavaScript(text.into()))
}

/// Compiles a new version in the jail; a source that cannot be a function is refused before anything changes.
pub(crate) async fn load_new(
    place: &Place,
    options: &Options,
    name: &Function,
    wanted: &WantedFunction,
    bytes: Vec<u8>,
) -> Result<(), Fault> {
    let Some(newest) = wanted.versions.last() else { return Ok(()) };
    if newest.memory_bytes_max > options.functions.memory_max_bytes {
        return Err(Fault::invalid("the function wants more memory than one call may have")
            .detail(format!("at most {} bytes", options.functions.memory_max_bytes)));
    }
    let host = place.functions.host(options).await?;
    let at = (key(name, wanted.incarnation), newest.version.to_string());
    place.functions.load(&host, name, at, source(&newest.runtime, bytes)?).await
}

/// Calls the active version once.
pub(crate) async fn invoke(
    place: &Arc<Place>,
    options: &Options,
    call: &InvokeFunction,
    at_ms: i64,
) -> Result<Outcome, Fault> {
    let state = place.state();
    let wanted = state.functions.get(&call.function);
    let wanted = wanted.ok_or_else(|| Fault::not_found(format!("there is no function {}", call.function)))?;
    let kept = wanted.versions.iter().find(|kept| Some(kept.version) == wanted.active);
    let kept = kept.ok_or_else(|| Fault::conflict(format!("{} has no active version", call.function)))?;
    let input = serde_json::to_vec(&call.input).map_err(|error| Fault::invalid(error.to_string()))?;
    let invocation = Invocation { input, timeout_ms: kept.timeout_ms, memory_max_bytes: kept.memory_bytes_max };
    let host = place.functions.host(options).await?;
    let (key, version) = (key(&call.function, wanted.incarnation), kept.version.to_string());
    let mut result = host.invoke(&key, &version, invocation.clone()).await;
    if let Err(Error::Unknown { .. }) = result {
        let path = place.folder.source(&call.function, wanted.incarnation, kept.version);
        let bytes = std::fs::read(&path).map_err(|error| disk::fault("the source cannot be read", &path, &error))?;
        let at = (key.clone(), version.clone());
        place.functions.load(&host, &call.function, at, source(&kept.runtime, bytes)?).await?;
        result = host.invoke(&key, &version, invocation).await;
    }
    place.functions.count(place, &call.function, result.as_ref().ok());
    let outcome = result.map_err(|error| fault(&error))?;
    place.functions.write_log(place, options, &call.function, &outcome.logs, at_ms);
    let summary =
        format!("{} version {version} ended {} in {} µs", call.function, word(outcome.status), outcome.duration_us);
    Ok(Outcome { summary, result: shown(&outcome, kept.version), version: Some(state.version_of(wanted.version)) })
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Trapped => "trapped",
        Status::TimedOut => "timed_out",
        Status::OutOfMemory => "out_of_memory",
        Status::Failed => "failed",
    }
}

fn shown(outcome: &InvocationOutcome, version: u64) -> Value {
    let text = || Value::String(String::from_utf8_lossy(&outcome.output).into_owned());
    json!({
        "status": word(outcome.status),
        "output": serde_json::from_slice(&outcome.output).unwrap_or_else(|_| text()),
        "detail": outcome.detail,
        "version": version,
        "logs": outcome.logs,
        "logs_truncated": outcome.logs_truncated,
        "duration_us": outcome.duration_us,
        "cold": outcome.cold,
        "memory_peak_bytes": outcome.memory_peak_bytes,
    })
}

/// What people see of a function.
pub(crate) fn status(place: &Place, state: &State, name: &Function, wanted: &WantedFunction) -> FunctionStatus {
    let tally = lock(&place.functions.tallies).get(name).copied().unwrap_or_default();
    FunctionStatus {
        name: name.clone(),
        active: wanted.active,
        versions: wanted.versions.iter().map(crate::state::KeptFunction::show).collect(),
        invocations: tally.invocations,
        failures: tally.failures,
        resource_version: state.version_of(wanted.version),
    }
}

/// Reads the counters that an earlier provider left.
pub(crate) fn load_tallies(path: &Path) -> BTreeMap<Function, Tally> {
    disk::read_json(path).ok().flatten().unwrap_or_default()
}

fn fault(error: &Error) -> Fault {
    let code = match error {
        Error::Source(_) | Error::Invalid { .. } | Error::LoadTimedOut { .. } => Code::InvalidInput,
        Error::Unknown { .. } => Code::NotFound,
        Error::Overloaded { .. } | Error::Full { .. } => Code::TooMany,
        _ => Code::Unavailable,
    };
    Fault::new(code, error.to_string()).hint(error.hint())
}
