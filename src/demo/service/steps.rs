//! Runs what a request does, step by step, within its deadline.
//! Must never go on after a step failed: the first failure is the request's.

use super::metrics::Metrics;
use super::pool::{PeerError, Pool};
use super::{Service, cache, lock, tasks};
use crate::http::{self, Message};
use crate::release::Step;
use std::net::UdpSocket;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Share of requests whose wait has a long tail, in a thousand.
const TAIL_PER_MILLE: u64 = 8;
/// Pause before a failed call is tried again.
const BACKOFF_MS: u64 = 20;

/// One request on its way through.
pub(super) struct Flow<'a> {
    pub(super) service: &'a Service,
    pub(super) request_id: String,
    /// The segment of the path that names a thing.
    pub(super) id: String,
    pub(super) deadline: Instant,
    /// Body of the last upstream answer.
    pub(super) last: Vec<u8>,
}

/// Why a request failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: u16,
    pub(super) text: String,
    pub(super) trace: Vec<String>,
}

impl Failure {
    pub(super) fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), trace: Vec::new() }
    }
}

impl Flow<'_> {
    pub(super) fn run(&mut self, steps: &[Step]) -> Result<(), Failure> {
        for step in steps {
            if Instant::now() >= self.deadline {
                return Err(Failure::new(504, "request deadline exceeded"));
            }
            self.step(step)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), Failure> {
        let service = self.service;
        match step {
            Step::Work { busy_us, wait_ms } => {
                compute(Duration::from_micros(*busy_us));
                self.wait(*wait_ms);
            }
            Step::Depth { key, unit_ms } => {
                let depth = service.settings.number(key, 1).map_err(|text| Failure::new(500, text))?;
                self.wait(depth as f64 * unit_ms);
            }
            Step::Call { peer, method, path, attempts, times, field } => {
                for _ in 0..*times {
                    self.call(peer, method, path, *attempts, field.as_deref())?;
                }
            }
            Step::Lookup { peer, space, miss } => self.lookup(peer, space, miss)?,
            Step::Append { bytes } => self.append(*bytes)?,
            Step::Known { key, values, text, frames } => {
                let value = service.settings.text(key).unwrap_or_default();
                if !values.iter().any(|known| known == value) {
                    let text = text.replace("{value}", value);
                    return Err(Failure { status: 500, text, trace: frames.clone() });
                }
            }
            Step::Keep { bytes, cap_key } => self.keep(*bytes, cap_key.as_deref())?,
            Step::Hold { per_mille } => {
                if service.chance(*per_mille) {
                    let socket = UdpSocket::bind("127.0.0.1:0")
                        .map_err(|cause| Failure::new(500, format!("open socket: {cause}")))?;
                    lock(&service.sockets).push(socket);
                }
            }
            Step::Abort { per_mille, text, frames } => {
                if service.chance(*per_mille) {
                    tasks::abort(service, &text.replace("{id}", &self.id), frames);
                }
            }
            Step::Raise { per_mille, status, text, frames } => {
                if service.chance(*per_mille) {
                    let text = text.replace("{id}", &self.id);
                    return Err(Failure { status: *status, text, trace: frames.clone() });
                }
            }
        }
        Ok(())
    }

    /// Waits about `ms`, with spread and a rare long tail, never past the deadline.
    fn wait(&self, ms: f64) {
        let spread = lock(&self.service.rng).range(0.7, 1.3);
        let tail = if self.service.chance(TAIL_PER_MILLE) { 2.5 } else { 1.0 };
        let left = self.deadline.saturating_duration_since(Instant::now());
        sleep(Duration::from_secs_f64((ms * spread * tail / 1000.0).max(0.0)).min(left));
    }

    fn pool(&self, peer: &str) -> Result<&Pool, Failure> {
        self.service.pools.get(peer).ok_or_else(|| Failure::new(500, format!("no upstream {peer}")))
    }

    fn call(
        &mut self,
        peer: &str,
        method: &str,
        path: &str,
        attempts: u32,
        field: Option<&str>,
    ) -> Result<(), Failure> {
        let path = path.replace("{id}", &self.id);
        let mut failure = Failure::new(502, format!("upstream {peer}: not tried"));
        for attempt in 1..=attempts.max(1) {
            match self.attempt(peer, method, &path, field) {
                Ok(body) => {
                    self.last = body;
                    return Ok(());
                }
                Err(cause) => failure = cause,
            }
            if attempt < attempts {
                let fields = [
                    ("attempt", format!("{attempt}/{attempts}")),
                    ("cause", failure.text.clone()),
                    ("req_id", self.request_id.clone()),
                ];
                self.service.log.write("warn", &format!("retrying call to {peer}"), &fields, &[]);
                self.wait(BACKOFF_MS as f64);
            }
        }
        Err(failure)
    }

    fn attempt(&self, peer: &str, method: &str, path: &str, field: Option<&str>) -> Result<Vec<u8>, Failure> {
        let pool = self.pool(peer)?;
        let started = Instant::now();
        let outcome = pool.exchange(self.deadline, |connection, deadline| {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis().to_string();
            let headers = [("x-request-id", self.request_id.as_str()), ("x-request-timeout-ms", left.as_str())];
            connection.exchange(&http::request(method, path, pool.addr(), &headers, b""), deadline)
        });
        note(&self.service.metrics, peer, &outcome, started.elapsed());
        let answer = outcome.map_err(|cause| Failure::new(status_of(&cause), format!("upstream {peer}: {cause}")))?;
        let said = String::from_utf8_lossy(&answer.body);
        if answer.status() != 200 {
            let said: String = said.chars().take(160).collect();
            let text = format!("upstream {peer}: {method} {path} answered {}: {said}", answer.status());
            return Err(Failure::new(if answer.status() == 503 { 503 } else { 502 }, text));
        }
        if let Some(field) = field
            && !said.contains(&format!("\"{field}\""))
        {
            let text = format!("upstream {peer}: cannot decode answer of {path}: missing field `{field}`");
            return Err(Failure::new(502, text));
        }
        Ok(answer.body)
    }

    fn lookup(&mut self, peer: &str, space: &str, miss: &[Step]) -> Result<(), Failure> {
        let key = format!("{space}:{}", self.id);
        let pool = self.pool(peer)?;
        let started = Instant::now();
        let outcome = cache::get(pool, &key, self.deadline);
        let code = outcome.as_ref().map_or_else(PeerError::code, |_| "ok");
        self.service.metrics.called(peer, code, started.elapsed());
        let usable = match outcome {
            Ok(Some(_)) => {
                self.service.metrics.count("cache_hits_total");
                return Ok(());
            }
            Ok(None) => true,
            Err(cause) => {
                let fields = [("key", key.clone()), ("cause", cause.to_string())];
                self.service.log.write("warn", "cache read failed, going to origin", &fields, &[]);
                false
            }
        };
        self.service.metrics.count("cache_misses_total");
        self.run(miss)?;
        let pool = self.pool(peer)?;
        if usable && let Err(cause) = cache::put(self.service, pool, &key, self.deadline) {
            let fields = [("key", key), ("cause", cause.to_string())];
            self.service.log.write("warn", "cache write failed", &fields, &[]);
        }
        Ok(())
    }

    fn append(&self, bytes: usize) -> Result<(), Failure> {
        let Some(store) = &self.service.store else {
            return Err(Failure::new(500, "no data folder is open"));
        };
        let mut record = format!("{} {}\n", self.request_id, self.id).into_bytes();
        record.resize(bytes.max(record.len()), b'.');
        store.append(&record).map_err(|text| Failure::new(500, text))
    }

    fn keep(&self, bytes: usize, cap_key: Option<&str>) -> Result<(), Failure> {
        let service = self.service;
        let cap = match cap_key {
            None => usize::MAX,
            Some(key) => match service.settings.number(key, 200).map_err(|text| Failure::new(500, text))? {
                0 => usize::MAX,
                cap => cap as usize,
            },
        };
        service.retained.keep(bytes, cap);
        if let Some(pause) = service.retained.pause() {
            let mib = |bytes: u64| format!("{:.1}MiB", bytes as f64 / 1_048_576.0);
            let fields = [
                ("pause_ms", pause.as_millis().to_string()),
                ("heap", mib(service.retained.bytes() as u64)),
                ("heap_max", mib(service.retained.heap_bytes())),
            ];
            service.log.write("warn", "long gc pause", &fields, &[]);
            sleep(pause.min(self.deadline.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }
}

fn note(metrics: &Metrics, peer: &str, outcome: &Result<Message, PeerError>, took: Duration) {
    match outcome {
        Ok(answer) => metrics.called(peer, &answer.status().to_string(), took),
        Err(cause) => metrics.called(peer, cause.code(), took),
    }
}

fn status_of(cause: &PeerError) -> u16 {
    match cause.code() {
        "timeout" => 504,
        "pool_exhausted" => 503,
        _ => 502,
    }
}

/// Uses the processor for about this long.
fn compute(span: Duration) {
    let until = Instant::now() + span;
    let mut state = 1u64;
    while Instant::now() < until {
        for _ in 0..64 {
            state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

impl Service {
    /// Counts a request in and out.
    pub(super) fn flying(&self) -> Flying<'_> {
        self.metrics.inflight.fetch_add(1, Ordering::SeqCst);
        Flying(&self.metrics)
    }
}

/// A request that is being served.
pub(super) struct Flying<'a>(&'a Metrics);

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.0.inflight.fetch_sub(1, Ordering::SeqCst);
    }
}
