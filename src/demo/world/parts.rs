//! Settings of each workload: environment, limits, health, dependencies, objectives.
//! Must never contain a value that only a scenario needs.

use super::{CACHE, Knobs, VOLUME};
use serde_json::{Map, Value, json};

/// Configuration of a real Redis server used as a cache.
pub(super) const REDIS_CONF: &str = "\
bind 127.0.0.1
daemonize no
save \"\"
appendonly no
maxclients 200
maxmemory 24mb
maxmemory-policy allkeys-lru
loglevel notice
";

/// What is not code.
pub(super) struct Part {
    pub(super) env: Map<String, Value>,
    pub(super) replicas: u64,
    pub(super) memory_mb: u64,
    pub(super) open_files: u64,
    pub(super) health: Value,
    pub(super) depends_on: Vec<&'static str>,
    pub(super) volumes: Vec<&'static str>,
    pub(super) objective: Option<Value>,
}

fn http_health() -> Value {
    json!({"http_path": "/healthz", "interval_ms": 500, "timeout_ms": 400, "failures": 3})
}

fn tcp_health() -> Value {
    json!({"interval_ms": 500, "timeout_ms": 400, "failures": 3})
}

fn env(pairs: &[(&str, String)]) -> Map<String, Value> {
    let shared = [("LOG_LEVEL", "info"), ("REGION", "eu-central"), ("MALLOC_ARENA_MAX", "2")];
    shared
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
        .chain(pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str()))))
        .collect()
}

/// An upstream with its timeout and pool.
fn upstream(peer: &str, addr: &str, timeout_ms: u64, pool: u64) -> [(String, String); 3] {
    let name = peer.to_ascii_uppercase();
    [
        (format!("UPSTREAM_{name}"), addr.to_owned()),
        (format!("{name}_TIMEOUT_MS"), timeout_ms.to_string()),
        (format!("{name}_POOL_SIZE"), pool.to_string()),
    ]
}

fn inside(peer: &str) -> String {
    format!("${{addr:{peer}}}")
}

pub(super) fn part(workload: &str, knobs: &Knobs, external: &str) -> Part {
    match workload {
        CACHE => Part { replicas: 1, memory_mb: 64, health: tcp_health(), ..base() },
        "ledger" => ledger(knobs),
        "payments" => payments(knobs, external),
        "catalog" => catalog(knobs),
        "checkout" => checkout(knobs),
        _ => gateway(),
    }
}

fn base() -> Part {
    Part {
        env: env(&[]),
        replicas: 2,
        memory_mb: 128,
        open_files: 256,
        health: http_health(),
        depends_on: vec![],
        volumes: vec![],
        objective: None,
    }
}

/// Not every team has an objective of its own.
fn objective(knobs: &Knobs, p95_ms: u64) -> Option<Value> {
    knobs.objectives_inside.then(|| json!({"error_ratio_max": 0.08, "latency_p95_ms_max": p95_ms}))
}

/// Concurrency, queue and time limit of a service.
fn sized(workers: u64, queue: u64, timeout_ms: u64) -> [(&'static str, String); 3] {
    [
        ("WORKERS", workers.to_string()),
        ("QUEUE_LIMIT", queue.to_string()),
        ("REQUEST_TIMEOUT_MS", timeout_ms.to_string()),
    ]
}

fn with(
    size: [(&'static str, String); 3],
    more: &[(&'static str, &str)],
    upstreams: &[[(String, String); 3]],
) -> Map<String, Value> {
    let mut all = env(&size);
    let more = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    for (key, value) in more.chain(upstreams.iter().flatten().cloned()) {
        all.insert(key, value.into());
    }
    all
}

fn ledger(knobs: &Knobs) -> Part {
    let (folder, retention) = (format!("${{volume:{VOLUME}}}"), knobs.retention_kb.to_string());
    let more = [("DATA_DIR", folder.as_str()), ("RETENTION_KB", retention.as_str()), ("SEGMENT_KB", "64")];
    Part {
        env: with(sized(8, 32, 1500), &more, &[]),
        replicas: 1,
        health: tcp_health(),
        volumes: vec![VOLUME],
        ..base()
    }
}

fn payments(knobs: &Knobs, external: &str) -> Part {
    let more = [("MERCHANT_REGION", "eu-1"), ("FRAUD_DEPTH", "3"), ("KEY_REFRESH_S", "300")];
    let cardnet = upstream("cardnet", external, 700, 16);
    Part {
        env: with(sized(knobs.payments_workers, 24, 1500), &more, &[cardnet]),
        health: if knobs.payments_tcp_health { tcp_health() } else { http_health() },
        objective: objective(knobs, 500),
        ..base()
    }
}

fn catalog(knobs: &Knobs) -> Part {
    let ttl = knobs.cache_ttl_s.to_string();
    let more =
        [("PRICE_LIST", "2026-q4"), ("PRICE_REFRESH_S", "600"), ("CACHE_TTL_S", ttl.as_str()), ("SEARCH_DEPTH", "3")];
    let cache = upstream(CACHE, &inside(CACHE), 200, 12);
    Part {
        env: with(sized(knobs.catalog_workers, 32, 1500), &more, &[cache]),
        depends_on: vec![CACHE],
        objective: objective(knobs, 400),
        ..base()
    }
}

fn checkout(knobs: &Knobs) -> Part {
    let more = [("CURRENCY", "EUR"), ("SESSION_CACHE_MAX", "200"), ("HEAP_MB", "96")];
    let payments = upstream("payments", &inside("payments"), 800, 12);
    let ledger = upstream("ledger", &inside("ledger"), 600, 8);
    Part {
        env: with(sized(10, 48, 1800), &more, &[payments, ledger]),
        depends_on: vec!["payments", "ledger"],
        objective: objective(knobs, 700),
        ..base()
    }
}

fn gateway() -> Part {
    let more = [("ROUTES_REFRESH_S", "300"), ("HEAP_MB", "96")];
    let catalog = upstream("catalog", &inside("catalog"), 1200, 32);
    let checkout = upstream("checkout", &inside("checkout"), 1900, 32);
    Part {
        env: with(sized(48, 96, 2200), &more, &[catalog, checkout]),
        open_files: 512,
        depends_on: vec!["catalog", "checkout"],
        objective: Some(json!({"error_ratio_max": 0.05, "latency_p95_ms_max": 450})),
        ..base()
    }
}
