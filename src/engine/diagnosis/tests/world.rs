//! A small generated platform: six workloads that call each other and one thing outside, second by
//! second, with noise. Must share nothing with the diagnosis but the types of its input.

use std::collections::BTreeMap;

use opsward_domain::alert::{Alert, Condition, Severity};
use opsward_domain::cause::Change;
use opsward_domain::label::{Integrity, Label, Labelled};
use opsward_domain::name::{Volume, Workload, Workspace};
use opsward_domain::resource::{Replica, ReplicaState, ResourceVersion, Revision, VolumeStatus, WorkloadStatus};
use opsward_domain::spec::{Limits, Objective, Restart, WorkloadSpec};
use opsward_domain::telemetry::{Level, ReplicaEvent, Series, TemplateCount};
use opsward_domain::time::{AtMs, Window};

use crate::diagnosis::picture::{Citations, Picture};

pub(super) const MIB: u64 = 1024 * 1024;
/// Roles by index; names differ from seed to seed.
pub(super) const GATEWAY: usize = 0;
pub(super) const CATALOG: usize = 1;
pub(super) const CHECKOUT: usize = 2;
pub(super) const PAYMENTS: usize = 3;
pub(super) const LEDGER: usize = 4;
pub(super) const CACHE: usize = 5;
const ROLES: usize = 6;
/// Caller, callee (`ROLES` means outside), calls a request.
const CALLS: [(usize, usize, f64); 7] = [
    (GATEWAY, CATALOG, 0.6),
    (GATEWAY, CHECKOUT, 0.4),
    (CATALOG, CACHE, 1.0),
    (CHECKOUT, PAYMENTS, 1.0),
    (CHECKOUT, LEDGER, 1.0),
    (PAYMENTS, ROLES, 1.0),
    (CATALOG, LEDGER, 0.1),
];
const NAMES: [[&str; 7]; 3] = [
    ["gateway", "catalog", "checkout", "payments", "ledger", "cache", "bank"],
    ["web", "search-api", "basket", "risk", "orders-db", "kv", "mailer"],
    ["n0", "n1", "n2", "n3", "n4", "n5", "partner.example"],
];
const BUCKETS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, f64::INFINITY];

/// A repeatable source of chance.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
    pub(super) fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }
    pub(super) fn int(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.next() % from.len() as u64) as usize]
    }
    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }
    /// About Poisson.
    fn count(&mut self, mean: f64) -> f64 {
        if mean <= 0.0 {
            return 0.0;
        }
        if mean < 20.0 {
            let (limit, mut product, mut n) = ((-mean).exp(), self.unit(), 0.0);
            while product > limit {
                n += 1.0;
                product *= self.unit();
            }
            return n;
        }
        let normal: f64 = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        (mean + normal * mean.sqrt()).round().max(0.0)
    }
}

/// How one workload fares in one second.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    /// Share of requests that fail inside.
    pub(super) errors: f64,
    /// Times the usual work.
    pub(super) slow: f64,
    /// Share of calls to it that get no answer, and how that looks.
    pub(super) dead: f64,
    pub(super) dead_code: &'static str,
    /// Times the usual calls for each request.
    pub(super) fan_out: f64,
    /// Times the usual questions from callers that try again.
    pub(super) retried: f64,
    /// Share of requests that fail in its own pool.
    pub(super) local: f64,
    pub(super) queue: f64,
    /// Share of its calls to one peer that fail on its own side, and how.
    pub(super) edge: Option<(usize, f64, &'static str)>,
    /// Its metrics cannot be read.
    pub(super) silent: bool,
    /// Memory as a share of the limit.
    pub(super) memory: f64,
    pub(super) open_files: f64,
    pub(super) busy: f64,
}

impl Weather {
    pub(super) fn fair() -> Self {
        Self {
            errors: 0.003,
            slow: 1.0,
            dead: 0.0,
            dead_code: "timeout",
            fan_out: 1.0,
            retried: 1.0,
            local: 0.0,
            queue: 0.2,
            edge: None,
            silent: false,
            memory: 0.3,
            open_files: 60.0,
            busy: 1.0,
        }
    }
}

type Sky = Box<dyn Fn(usize, i64, &mut Weather)>;

/// One generated stretch of time; seconds count from the start, `length` is now.
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) base_ms: AtMs,
    pub(super) length: i64,
    pub(super) names: [&'static str; 7],
    pub(super) statuses: Vec<WorkloadStatus>,
    pub(super) volumes: Vec<VolumeStatus>,
    pub(super) volume_used: BTreeMap<Volume, Vec<(AtMs, f64)>>,
    pub(super) changes: Vec<Change>,
    pub(super) events: Vec<ReplicaEvent>,
    pub(super) templates: Vec<TemplateCount>,
    pub(super) sky: Vec<Sky>,
    /// Second to (share failing, times slower, code) of the thing outside.
    pub(super) outside: Box<dyn Fn(i64) -> (f64, f64, &'static str)>,
    pub(super) traffic: Box<dyn Fn(i64) -> f64>,
    /// Who keeps working when what it calls fails.
    pub(super) alert: Option<(usize, Condition)>,
    pub(super) onset: i64,
    /// Requests a second that arrive, if not left to chance, and seconds between two samples.
    pub(super) rate: Option<f64>,
    pub(super) scrape: i64,
}

fn spec(name: usize, names: &[&str; 7], replicas: u32) -> WorkloadSpec {
    let callees: Vec<usize> = CALLS.iter().filter(|c| c.0 == name && c.1 < ROLES).map(|c| c.1).collect();
    let mut env: BTreeMap<String, String> = callees
        .iter()
        .map(|c| {
            (format!("UPSTREAM_{}", names[*c].to_uppercase().replace('-', "_")), format!("${{addr:{}}}", names[*c]))
        })
        .collect();
    env.insert("LOG_LEVEL".into(), "info".into());
    WorkloadSpec {
        version: "1.0.0".into(),
        command: vec!["/bin/service".into()],
        env,
        files: BTreeMap::from([("release.bin".into(), "AAAA".into())]),
        replicas,
        limits: Limits { memory_bytes: 128 * MIB, open_files: 1024 },
        port: true,
        health: None,
        metrics_path: Some("/metrics".into()),
        volumes: if name == LEDGER { vec![Volume::parse("journal").unwrap()] } else { vec![] },
        depends_on: callees.iter().map(|c| Workload::parse(names[*c]).unwrap()).collect(),
        restart: Restart::Always,
        objective: (name == GATEWAY)
            .then_some(Objective { error_ratio_max: Some(0.05), latency_p95_ms_max: Some(400.0) }),
        image: None,
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self::named(seed, (seed % 3) as usize, 0)
    }
    /// The same world under other names and at another time.
    pub(super) fn named(seed: u64, names: usize, shift_ms: i64) -> Self {
        let mut rng = Rng::new(seed + 1);
        let names = NAMES[names];
        let length = rng.int(150, 800);
        let base_ms = 1_790_000_000_000 + rng.int(0, 86_400) * 1_000 + shift_ms;
        let status = |role: usize| {
            let replicas = if role == CACHE || role == LEDGER { 1 } else { 2 };
            let spec = spec(role, &names, replicas);
            let replica = |index| Replica {
                index,
                pid: Some(1000 + index),
                state: ReplicaState::Ready,
                port: Some(4000),
                revision: 3,
                restarts: 0,
                started_at_ms: base_ms - 600_000,
                memory_bytes: 40 * MIB,
                last_exit: None,
                instance: None,
            };
            let revision = |revision: u64| Revision { revision, at_ms: base_ms - 700_000, spec: spec.clone() };
            WorkloadStatus {
                name: Workload::parse(names[role]).unwrap(),
                revision: 3,
                revisions: vec![revision(2), revision(3)],
                resource_version: ResourceVersion("r3".into()),
                address: Some(format!("127.0.0.1:{}", 41_000 + role)),
                replicas: (0..replicas).map(replica).collect(),
                spec,
            }
        };
        let statuses = (0..ROLES).map(status).collect();
        let volume = VolumeStatus {
            name: Volume::parse("journal").unwrap(),
            size_bytes: 64 * MIB,
            used_bytes: 20 * MIB,
            mounted_by: vec![Workload::parse(names[LEDGER]).unwrap()],
            resource_version: ResourceVersion("v1".into()),
        };
        let onset = length - rng.int(12, 60);
        Self {
            rng,
            base_ms,
            length,
            names,
            statuses,
            volumes: vec![volume],
            volume_used: BTreeMap::new(),
            changes: vec![],
            events: vec![],
            templates: vec![],
            sky: vec![],
            outside: Box::new(|_| (0.002, 1.0, "503")),
            traffic: Box::new(|_| 1.0),
            alert: Some((GATEWAY, Condition::ErrorRatio { above: 0.05 })),
            onset,
            rate: None,
            scrape: 1,
        }
    }
    pub(super) fn name(&self, role: usize) -> Workload {
        Workload::parse(self.names[role]).unwrap()
    }
    pub(super) fn at(&self, second: i64) -> AtMs {
        self.base_ms + second * 1_000
    }
    pub(super) fn weather(&mut self, change: impl Fn(usize, i64, &mut Weather) + 'static) {
        self.sky.push(Box::new(change));
    }
    /// Notes a fresh complaint since the onset.
    pub(super) fn says(&mut self, role: usize, text: &str, level: Level) {
        self.said(role, text, level, (self.onset, self.length), 40);
    }
    /// Notes a fresh complaint between two seconds.
    pub(super) fn said(&mut self, role: usize, text: &str, level: Level, between: (i64, i64), count: u64) {
        let (first_ms, last_ms) = (self.at(between.0), self.at(between.1));
        let template = 100 + self.templates.len() as u64;
        let workload = self.name(role);
        let (text, sample) = (text.to_owned(), text.to_owned());
        self.templates.push(TemplateCount {
            template,
            text,
            workload,
            level: Some(level),
            count,
            first_ms,
            last_ms,
            sample,
        });
    }

    fn series(&mut self) -> BTreeMap<Workload, BTreeMap<String, Vec<Series>>> {
        let mut tape = Tape::default();
        let usual: Vec<f64> = (0..ROLES).map(|_| self.rng.range(4.0, 15.0)).collect();
        let rate = self.rng.range(30.0, 80.0);
        let rate = self.rate.unwrap_or(rate);
        let wave = self.rng.range(60.0, 400.0);
        for second in 0..self.length {
            let diurnal = 1.0 + 0.12 * (second as f64 / wave * std::f64::consts::TAU).sin();
            let arriving = rate * diurnal * (self.traffic)(second);
            self.second(second, arriving, &usual, &mut tape);
        }
        tape.finish(&self.names, self.scrape)
    }

    fn second(&mut self, second: i64, arriving: f64, usual: &[f64], tape: &mut Tape) {
        let at = self.at(second);
        let mut sky: Vec<Weather> = (0..ROLES).map(|_| Weather::fair()).collect();
        for change in &self.sky {
            sky.iter_mut().enumerate().for_each(|(role, weather)| change(role, second, weather));
        }
        let mut rates = [0.0; ROLES + 1];
        rates[GATEWAY] = arriving;
        for (caller, callee, n) in CALLS {
            let lost = sky[caller].edge.filter(|(peer, _, code)| *peer == callee && *code == "connect_error");
            let arrives = 1.0 - lost.map_or(0.0, |(_, share, _)| share);
            rates[callee] += rates[caller] * (1.0 - sky[caller].dead) * n * sky[caller].fan_out * arrives;
        }
        let (bad, slow, outside_code) = (self.outside)(second);
        let mut fails = [bad; ROLES + 1];
        let mut takes = [0.020 * slow; ROLES + 1];
        let mut codes = [outside_code; ROLES + 1];
        for role in (0..ROLES).rev() {
            let w = sky[role].clone();
            let calls: Vec<(usize, f64)> =
                CALLS.iter().filter(|c| c.0 == role).map(|c| (c.1, c.2 * w.fan_out)).collect();
            if let Some((peer, share, code)) = w.edge {
                fails[peer] = share + (1.0 - share) * fails[peer];
                codes[peer] = code;
            }
            let from_peers: f64 = calls.iter().map(|(p, n)| n.min(1.0) * fails[*p]).sum::<f64>().min(1.0);
            let own = 1.0 - (1.0 - w.errors) * (1.0 - w.local);
            let failing = 1.0 - (1.0 - own) * (1.0 - from_peers);
            let jitter = self.rng.range(0.85, 1.15) * if self.rng.chance(0.01) { 1.8 } else { 1.0 };
            let work = usual[role] / 1_000.0 * w.slow * jitter + w.queue / 200.0;
            let seconds = work + calls.iter().map(|(p, n)| n * takes[*p]).sum::<f64>();
            let served = self.rng.count(rates[role] * (1.0 - w.dead) * w.retried);
            if !w.silent {
                tape.process(role, at, &w, served, self.rng.range(0.97, 1.03));
            }
            if role != CACHE && !w.silent {
                let failed = self.rng.count(served * failing).min(served);
                tape.served(role, at, served, failed, seconds);
                for (peer, n) in &calls {
                    let tries = sky.get(*peer).map_or(1.0, |asked| asked.retried);
                    let made = self.rng.count(served * n * tries);
                    let bad = self.rng.count(made * fails[*peer]).min(made);
                    let refused = self.rng.count(made * w.local).min(made - bad);
                    tape.called(role, *peer, at, (made, bad, refused), codes[*peer], takes[*peer]);
                }
            }
            let lost = if w.dead_code == "timeout" { 0.8 } else { 0.002 };
            fails[role] = w.dead + (1.0 - w.dead) * failing;
            takes[role] = w.dead * lost + (1.0 - w.dead) * seconds;
            codes[role] = if w.dead > 0.5 * fails[role] { w.dead_code } else { "500" };
        }
    }

    /// What a gatherer would bring.
    pub(super) fn picture(mut self) -> Picture {
        let series = self.series();
        let now_ms = self.at(self.length);
        let split = (self.at(self.onset) - 20_000).max(self.base_ms);
        let alert = self.alert.clone().map(|(role, condition)| Alert {
            fingerprint: "f".into(),
            name: condition.alert_name().into(),
            workspace: Workspace::parse("shop").unwrap(),
            workload: Some(self.name(role)),
            condition,
            severity: Severity::Critical,
            started_at_ms: self.at(self.onset + 6),
            text: Labelled::new("", Label::of(Integrity::Untrusted)),
            labels: BTreeMap::new(),
        });
        self.changes.sort_by_key(|change| change.at_ms);
        self.events.sort_by_key(|event| event.at_ms);
        Picture {
            workspace: Workspace::parse("shop").unwrap(),
            now_ms,
            window: Window { from_ms: self.base_ms, to_ms: now_ms },
            alert,
            workloads: self.statuses,
            volumes: self.volumes,
            series,
            volume_used: self.volume_used,
            baseline: Window { from_ms: self.base_ms, to_ms: split },
            incident: Window { from_ms: split, to_ms: now_ms },
            templates_before: vec![],
            templates_now: self.templates,
            events: self.events,
            changes: self.changes,
            tried: vec![],
            citations: Citations::default(),
            blind_spots: vec![],
        }
    }
}

/// Workload, metric, labels.
type Key = (usize, &'static str, Vec<(&'static str, String)>);

/// Counters as they are exposed: the value now, and all samples.
#[derive(Default)]
struct Tape {
    counters: BTreeMap<Key, (f64, Vec<(AtMs, f64)>)>,
}

impl Tape {
    fn add(&mut self, role: usize, metric: &'static str, labels: &[(&'static str, String)], at: AtMs, by: f64) {
        let entry = self.counters.entry((role, metric, labels.to_vec())).or_default();
        entry.0 += by;
        entry.1.push((at, entry.0));
    }
    fn set(&mut self, role: usize, metric: &'static str, at: AtMs, value: f64) {
        self.counters.entry((role, metric, vec![])).or_default().1.push((at, value));
    }
    fn served(&mut self, role: usize, at: AtMs, served: f64, failed: f64, seconds: f64) {
        let code = |code: &str| [("code", code.to_owned()), ("route", "GET /".to_owned())];
        self.add(role, "http_requests_total", &code("200"), at, served - failed);
        if failed > 0.0 || self.counters.contains_key(&(role, "http_requests_total", code("500").to_vec())) {
            self.add(role, "http_requests_total", &code("500"), at, failed);
        }
        self.add(role, "http_request_duration_seconds_sum", &[], at, served * seconds);
        self.add(role, "http_request_duration_seconds_count", &[], at, served);
        for bound in BUCKETS {
            let share = 1.0 - (-bound / seconds.max(1e-6)).exp();
            let le = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
            self.add(role, "http_request_duration_seconds_bucket", &[("le", le)], at, (served * share).round());
        }
    }
    fn called(&mut self, role: usize, peer: usize, at: AtMs, n: (f64, f64, f64), code: &str, seconds: f64) {
        let (made, bad, refused) = n;
        // The peer's index stands for its name until the end.
        let label = |code: &str| [("code", code.to_owned()), ("peer", peer.to_string())];
        self.add(role, "upstream_requests_total", &label("200"), at, made - bad - refused);
        if bad > 0.0 {
            self.add(role, "upstream_requests_total", &label(code), at, bad);
        }
        if refused > 0.0 {
            self.add(role, "upstream_requests_total", &label("pool_exhausted"), at, refused);
        }
        let peer = [("peer", peer.to_string())];
        self.add(role, "upstream_request_duration_seconds_sum", &peer, at, made * seconds);
        self.add(role, "upstream_request_duration_seconds_count", &peer, at, made);
    }
    fn process(&mut self, role: usize, at: AtMs, w: &Weather, served: f64, jitter: f64) {
        self.add(role, "process_cpu_seconds_total", &[], at, (0.01 + served * 0.002) * w.busy);
        self.set(role, "process_resident_memory_bytes", at, w.memory * 128.0 * MIB as f64 * jitter);
        self.set(role, "replica_open_files", at, w.open_files);
        if role != CACHE {
            self.set(role, "queue_depth", at, (w.queue * jitter).round());
            self.set(role, "inflight_requests", at, (served * 0.05 + w.queue).round());
        }
    }
    fn finish(self, names: &[&'static str; 7], scrape: i64) -> BTreeMap<Workload, BTreeMap<String, Vec<Series>>> {
        let mut out: BTreeMap<Workload, BTreeMap<String, Vec<Series>>> = BTreeMap::new();
        for ((role, metric, labels), (_, mut points)) in self.counters {
            points.retain(|point| point.0 / 1_000 % scrape == 0);
            let workload = Workload::parse(names[role]).unwrap();
            let named = |(key, value): (&'static str, String)| match key {
                "peer" => (key.to_owned(), names[value.parse::<usize>().unwrap()].to_owned()),
                _ => (key.to_owned(), value),
            };
            let labels = labels.into_iter().map(named).collect();
            let series = Series { workload: Some(workload.clone()), replica: Some(0), labels, points };
            out.entry(workload).or_default().entry(metric.to_owned()).or_default().push(series);
        }
        out
    }
}
