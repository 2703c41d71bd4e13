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
    let shared = [
        ("LOG_LEVEL", "info"),
        ("REGION", "eu-central"),
        ("MALLOC_ARENA_MAX", "2"),
    ];
    shared
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
        .chain(
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str()))),
        )
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

fn with(pairs: &[(&str, String)], upstreams: &[[(String, String); 3]]) -> Map<String, Value> {
    let mut all = env(pairs);
    for (key, value) in upstreams.iter().flatten() {
        all.insert(key.clone(), value.as_str().into());
    }
    all
}

fn inside(peer: &str) -> String {
    format!("${{addr:{peer}}}")
}

pub(super) fn part(workload: &str, knobs: &Knobs, external: &str) -> Part {
    let base = Part {
        env: env(&[]),
        replicas: 2,
        memory_mb: 128,
        open_files: 256,
        health: http_health(),
        depends_on: vec![],
        volumes: vec![],
        objective: None,
    };
    let inner = |p95_ms: u64| {
        knobs
            .objectives_inside
            .then(|| json!({"error_ratio_max": 0.08, "latency_p95_ms_max": p95_ms}))
    };
    let s = |number: u64| number.to_string();
    match workload {
        CACHE => Part {
            replicas: 1,
            memory_mb: 64,
            health: tcp_health(),
            ..base
        },
        "ledger" => Part {
            env: env(&[
                ("WORKERS", s(8)),
                ("QUEUE_LIMIT", s(32)),
                ("REQUEST_TIMEOUT_MS", s(1500)),
                ("DATA_DIR", format!("${{volume:{VOLUME}}}")),
                ("RETENTION_KB", s(knobs.retention_kb)),
                ("SEGMENT_KB", s(192)),
            ]),
            replicas: 1,
            health: tcp_health(),
            volumes: vec![VOLUME],
            ..base
        },
        "payments" => Part {
            env: with(
                &[
                    ("WORKERS", s(knobs.payments_workers)),
                    ("QUEUE_LIMIT", s(24)),
                    ("REQUEST_TIMEOUT_MS", s(1500)),
                    ("MERCHANT_REGION", "eu-1".to_owned()),
                    ("FRAUD_DEPTH", s(3)),
                    ("KEY_REFRESH_S", s(300)),
                ],
                &[upstream("cardnet", external, 700, 16)],
            ),
            health: if knobs.payments_tcp_health {
                tcp_health()
            } else {
                http_health()
            },
            objective: inner(500),
            ..base
        },
        "catalog" => Part {
            env: with(
                &[
                    ("WORKERS", s(knobs.catalog_workers)),
                    ("QUEUE_LIMIT", s(32)),
                    ("REQUEST_TIMEOUT_MS", s(1500)),
                    ("PRICE_LIST", "2026-q4".to_owned()),
                    ("PRICE_REFRESH_S", s(600)),
                    ("CACHE_TTL_S", s(knobs.cache_ttl_s)),
                    ("SEARCH_DEPTH", s(3)),
                ],
                &[upstream("cache", &inside("cache"), 200, 12)],
            ),
            depends_on: vec![CACHE],
            objective: inner(400),
            ..base
        },
        "checkout" => Part {
            env: with(
                &[
                    ("WORKERS", s(10)),
                    ("QUEUE_LIMIT", s(48)),
                    ("REQUEST_TIMEOUT_MS", s(1800)),
                    ("CURRENCY", "EUR".to_owned()),
                    ("SESSION_CACHE_MAX", s(200)),
                    ("HEAP_MB", s(96)),
                ],
                &[
                    upstream("payments", &inside("payments"), 800, 12),
                    upstream("ledger", &inside("ledger"), 600, 8),
                ],
            ),
            depends_on: vec!["payments", "ledger"],
            objective: inner(700),
            ..base
        },
        _ => Part {
            env: with(
                &[
                    ("WORKERS", s(48)),
                    ("QUEUE_LIMIT", s(96)),
                    ("REQUEST_TIMEOUT_MS", s(2200)),
                    ("ROUTES_REFRESH_S", s(300)),
                    ("HEAP_MB", s(96)),
                ],
                &[
                    upstream("catalog", &inside("catalog"), 1200, 32),
                    upstream("checkout", &inside("checkout"), 1900, 32),
                ],
            ),
            open_files: 512,
            depends_on: vec!["catalog", "checkout"],
            objective: Some(json!({"error_ratio_max": 0.05, "latency_p95_ms_max": 450})),
            ..base
        },
    }
}
