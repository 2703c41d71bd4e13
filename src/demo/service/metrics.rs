//! The service's `/metrics` in the Prometheus text format.
//! Must never grow without bound: labels come only from routes, peers and status codes.

use super::{Service, lock};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Upper bounds of the duration buckets, in milliseconds.
const BUCKETS_MS: [u64; 10] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000];

#[derive(Debug, Default, Clone)]
struct Histogram {
    buckets: [u64; BUCKETS_MS.len()],
    count: u64,
    sum_s: f64,
}

impl Histogram {
    fn observe(&mut self, took: Duration) {
        let ms = took.as_millis() as u64;
        for (bucket, bound) in self.buckets.iter_mut().zip(BUCKETS_MS) {
            *bucket += u64::from(ms <= bound);
        }
        self.count += 1;
        self.sum_s += took.as_secs_f64();
    }

    fn render(&self, out: &mut String, name: &str, label: &str) {
        for (bucket, bound) in self.buckets.iter().zip(BUCKETS_MS) {
            let le = bound as f64 / 1000.0;
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name}_bucket{{{label},le=\"{le}\"}} {bucket}");
        }
        let _ = writeln!(out, "{name}_bucket{{{label},le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{name}_sum{{{label}}} {:.6}", self.sum_s);
        let _ = writeln!(out, "{name}_count{{{label}}} {}", self.count);
    }
}

#[derive(Debug, Default)]
struct Family {
    totals: BTreeMap<(String, String), u64>,
    durations: BTreeMap<String, Histogram>,
}

impl Family {
    fn observe(&mut self, what: &str, code: &str, took: Duration) {
        *self.totals.entry((what.to_owned(), code.to_owned())).or_default() += 1;
        self.durations.entry(what.to_owned()).or_default().observe(took);
    }

    fn render(&self, out: &mut String, prefix: &str, label: &str) {
        let _ = writeln!(out, "# TYPE {prefix}_requests_total counter");
        for ((what, code), count) in &self.totals {
            let _ = writeln!(out, "{prefix}_requests_total{{{label}=\"{what}\",code=\"{code}\"}} {count}");
        }
        let _ = writeln!(out, "# TYPE {prefix}_request_duration_seconds histogram");
        for (what, histogram) in &self.durations {
            let name = format!("{prefix}_request_duration_seconds");
            histogram.render(out, &name, &format!("{label}=\"{what}\""));
        }
    }
}

/// What the service counts.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    served: Mutex<Family>,
    called: Mutex<Family>,
    counters: Mutex<BTreeMap<&'static str, u64>>,
    /// Requests that are being worked on or wait.
    pub(super) inflight: AtomicI64,
}

impl Metrics {
    pub(super) fn served(&self, route: &str, status: u16, took: Duration) {
        lock(&self.served).observe(route, &status.to_string(), took);
    }

    pub(super) fn called(&self, peer: &str, code: &str, took: Duration) {
        lock(&self.called).observe(peer, code, took);
    }

    pub(super) fn count(&self, name: &'static str) {
        *lock(&self.counters).entry(name).or_default() += 1;
    }

    pub(super) fn render(&self, service: &Service) -> String {
        let mut out = String::with_capacity(8 * 1024);
        lock(&self.served).render(&mut out, "http", "route");
        lock(&self.called).render(&mut out, "upstream", "peer");
        for (name, value) in lock(&self.counters).iter() {
            let _ = writeln!(out, "# TYPE {name} counter\n{name} {value}");
        }
        let mut gauge = |name: &str, labels: &str, value: f64| {
            let _ = writeln!(out, "# TYPE {name} gauge\n{name}{labels} {value}");
        };
        gauge("inflight_requests", "", self.inflight.load(Ordering::Relaxed) as f64);
        let (busy, waiting, workers) = service.slots.load();
        gauge("queue_depth", "", waiting as f64);
        gauge("workers_busy", "", busy as f64);
        gauge("workers_total", "", workers as f64);
        for (peer, pool) in &service.pools {
            gauge("pool_in_use", &format!("{{peer=\"{peer}\"}}"), pool.in_use() as f64);
            gauge("pool_size", &format!("{{peer=\"{peer}\"}}"), pool.size() as f64);
        }
        if let Some(resident) = resident_bytes() {
            gauge("process_resident_memory_bytes", "", resident as f64);
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            gauge("process_open_fds", "", open.count() as f64);
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        if let Some(limit) = limit.current {
            gauge("process_max_fds", "", limit as f64);
        }
        if let Some(store) = &service.store {
            gauge("data_dir_bytes", "", store.used_bytes() as f64);
        }
        let retained = service.retained.bytes();
        gauge("session_cache_bytes", "", retained as f64);
        gauge("process_uptime_seconds", "", service.started.elapsed().as_secs_f64());
        gauge("release_info", &format!("{{version=\"{}\"}}", service.release.version), 1.0);
        out
    }
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let mut histogram = Histogram::default();
        for ms in [1, 30, 9000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let mut out = String::new();
        histogram.render(&mut out, "d", "route=\"/\"");
        assert!(out.contains("d_bucket{route=\"/\",le=\"0.005\"} 1"), "{out}");
        assert!(out.contains("d_bucket{route=\"/\",le=\"0.05\"} 2"));
        assert!(out.contains("d_bucket{route=\"/\",le=\"5\"} 2"));
        assert!(out.contains("d_bucket{route=\"/\",le=\"+Inf\"} 3"));
        assert!(out.contains("d_count{route=\"/\"} 3"));
    }

    #[test]
    fn own_memory_is_known() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
    }
}
