//! How it fails, read from signals and from the words of its bad news: the bridge between what is seen and which
//! change could have done it. Words that any program would use; none of any particular system.

use std::collections::BTreeMap;

use crate::case::{ComponentId, TimeMs};
use crate::checked::{Checked, RECORDS_MAX};
use crate::diagnosis::Kind;
use crate::frame::Frame;
use crate::graph::Graph;
use crate::logs::Logged;
use crate::signal::{Signal, cut};
use crate::words::Aspect;

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Mechanism {
    NilAccess,
    IndexRange,
    Division,
    TypeMismatch,
    Panic,
    Race,
    Deadlock,
    MemoryGrowth,
    PoolExhausted,
    Timeout,
    CertificateEnded,
    Tls,
    Denied,
    FanOut,
    CpuBurn,
    Slow,
    CacheLoss,
    DiskFull,
    NameLookup,
    Refused,
    RateLimited,
    RetryStorm,
    BadData,
    Schema,
    BadConfig,
    TrafficSurge,
    Provider,
    NodeFault,
    Quota,
    Backlog,
    Errors,
}

use Mechanism as M;

impl Mechanism {
    /// True for what no change of ours brings about.
    pub(crate) fn is_external(self) -> bool {
        matches!(self, M::CertificateEnded | M::TrafficSurge | M::Provider | M::NodeFault | M::BadData)
    }

    /// True for what says little about how.
    pub(crate) fn is_vague(self) -> bool {
        matches!(self, M::Errors | M::Slow | M::Panic | M::CpuBurn | M::Timeout | M::Backlog | M::Refused)
    }

    /// The kind of cause it makes, if it makes one by itself.
    pub(crate) fn kind(self) -> Option<Kind> {
        Some(match self {
            M::NilAccess
            | M::IndexRange
            | M::Division
            | M::TypeMismatch
            | M::Panic
            | M::Race
            | M::Deadlock
            | M::Denied => Kind::Exception,
            M::MemoryGrowth => Kind::Memory,
            M::PoolExhausted | M::RateLimited | M::Quota | M::Backlog => Kind::Capacity,
            M::CertificateEnded | M::Tls => Kind::Certificate,
            M::CpuBurn => Kind::Cpu,
            M::DiskFull => Kind::Disk,
            M::NameLookup => Kind::Network,
            M::BadData | M::Schema => Kind::Data,
            M::BadConfig => Kind::Config,
            M::TrafficSurge => Kind::Traffic,
            M::Provider => Kind::Dependency,
            M::NodeFault => Kind::Node,
            M::FanOut | M::CacheLoss | M::RetryStorm | M::Slow | M::Timeout => Kind::Latency,
            M::Refused | M::Errors => return None,
        })
    }

    /// In words.
    pub(crate) fn say(self) -> &'static str {
        match self {
            M::NilAccess => "a value that is not there is used",
            M::IndexRange => "an index is out of range",
            M::Division => "a division by zero",
            M::TypeMismatch => "a value has another type than expected",
            M::Panic => "the program throws or panics",
            M::Race => "shared data is changed without a lock",
            M::Deadlock => "threads wait for each other",
            M::MemoryGrowth => "memory grows until it is used up",
            M::PoolExhausted => "a pool or queue is used up",
            M::Timeout => "calls run into their time limit",
            M::CertificateEnded => "a certificate has run out",
            M::Tls => "secure connections cannot be made",
            M::Denied => "access is denied",
            M::FanOut => "one request makes many calls",
            M::CpuBurn => "processor time is used up",
            M::Slow => "its work takes longer",
            M::CacheLoss => "a cache no longer helps",
            M::DiskFull => "a disk is full",
            M::NameLookup => "a name cannot be looked up",
            M::Refused => "connections are refused",
            M::RateLimited => "a rate limit is hit",
            M::RetryStorm => "retries multiply the load",
            M::BadData => "data arrives that cannot be handled",
            M::Schema => "data and code disagree about its shape",
            M::BadConfig => "a setting is missing or wrong",
            M::TrafficSurge => "more requests arrive than it was sized for",
            M::Provider => "an outside party fails",
            M::NodeFault => "the machine below fails",
            M::Quota => "a quota refuses more",
            M::Backlog => "work piles up",
            M::Errors => "requests fail",
        }
    }
}

/// A mechanism that was seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Which.
    pub mechanism: Mechanism,
    /// How plainly, 0 to about 3.
    pub weight: f64,
    /// Where.
    pub component: ComponentId,
    /// What said so.
    pub text: String,
    /// Where that was read.
    pub source: String,
    /// When.
    pub at_ms: TimeMs,
}

/// Phrases, in lower case and parted by bars, by what they tell.
const PHRASES: [(Mechanism, f64, &str); 27] = [
    (
        M::NilAccess,
        2.5,
        "nil pointer|nullpointer|null pointer|nonetype|undefined is not|of undefined|of null|null reference|unwrap()` on a `none`|object reference not set|segmentation fault|sigsegv",
    ),
    (M::IndexRange, 2.5, "index out of|out of range|outofbounds|out of bounds|slice bounds"),
    (M::Division, 2.5, "divide by zero|division by zero|/ by zero"),
    (
        M::TypeMismatch,
        2.0,
        "classcastexception|typeerror|type assertion|interface conversion|cannot cast|is not a function",
    ),
    (M::Race, 3.0, "concurrent map|data race|concurrentmodification|race detected|concurrent modification"),
    (M::Deadlock, 2.5, "deadlock|all goroutines are asleep|lock wait timeout|could not obtain lock"),
    (
        M::MemoryGrowth,
        2.5,
        "oomkill|out of memory|outofmemory|oom-kill|memory limit|heap growing|gc overhead|allocation failure|exit code 137|heap out of",
    ),
    (
        M::PoolExhausted,
        2.0,
        "pool exhausted|pool is exhausted|too many connections|connection pool|no available connection|remaining connection slots|too many open files|pool timeout|acquire connection|connections in use|pool saturated|too many clients|file descriptors|worker pool|thread pool",
    ),
    (M::Timeout, 1.0, "timeout|timed out|deadline exceeded|context deadline|time budget"),
    (
        M::CertificateEnded,
        3.0,
        "certificate has expired|certificate expired|cert expired|certificate is expired|notafter|certificate_expired|not yet valid",
    ),
    (
        M::Tls,
        1.5,
        "x509|tls handshake|ssl handshake|unknown authority|certificate verify failed|bad certificate|handshake failure|self signed|protocol version",
    ),
    (
        M::Denied,
        1.8,
        "permission denied|access denied|unauthorized|forbidden|invalid token|signature mismatch|accessdenied|invalid credentials|authentication failed|not authorized|jwt",
    ),
    (M::FanOut, 1.0, "calls_in_request|queries per request|n+1|query count"),
    (M::CacheLoss, 1.8, "cache miss|cache stampede|cache disabled|cache bypass|cache evict|miss ratio"),
    (M::DiskFull, 2.5, "no space left|disk full|disk quota|read-only file system|diskpressure"),
    (M::NameLookup, 2.2, "no such host|name resolution|unknownhost|nxdomain|dns|could not resolve|getaddrinfo"),
    (M::Refused, 1.0, "connection refused|connection reset|econnrefused|no route to host|broken pipe"),
    (M::RateLimited, 1.8, "rate limit|too many requests|429|throttl|quota exceeded for"),
    (M::RetryStorm, 1.6, "retry attempt|retrying|retries exhausted|retry storm|max retries"),
    (
        M::BadData,
        1.6,
        "malformed|corrupt|unexpected token|invalid utf|poison|parse error|failed to parse|cannot parse|invalid record|bad record|checksum mismatch|validation failed|schema violation|invalid payload",
    ),
    (
        M::Schema,
        1.8,
        "unknown column|does not exist|no such column|unknown field|cannot unmarshal|failed to deserialize|missing field|violates not-null|unrecognized field|no such table|undefined column|incompatible schema",
    ),
    (
        M::BadConfig,
        1.8,
        "missing environment|missing required|invalid config|configuration error|config key|not configured|env var|failed to load config|no such key|missing key|invalid value for",
    ),
    (
        M::Provider,
        1.6,
        "provider|third-party|third party|vendor|upstream region|availability zone|region outage|status page|degraded in",
    ),
    (
        M::NodeFault,
        1.8,
        "node not ready|nodenotready|kubelet stopped|node lost|kernel panic|hardware error|pressure on node",
    ),
    (M::Quota, 1.8, "exceeded quota|quota exceeded|resourcequota|insufficient cpu|insufficient memory"),
    (M::Backlog, 1.2, "consumer lag|backlog|queue full|queue is full|queue depth|request queued|lag growing"),
    (M::Panic, 1.2, "panic|fatal error|unhandled exception|uncaught|traceback|stack trace|exception"),
];
/// Words of load being turned away; they tell of a surge only when requests rose as well.
const SHEDDING: [&str; 5] = ["shedding load", "overloaded", "request volume", "saturated", "over capacity"];
/// Requests must multiply by this to be a surge.
const SURGE: f64 = 1.7;
/// Most characters of a text that are searched.
const TEXT_MAX: usize = 2_000;

/// Every mechanism seen, with where.
pub(crate) fn recognise(
    clean: &Checked<'_>,
    frame: &Frame,
    graph: &Graph,
    signals: &[Signal],
    logged: &Logged,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    for counted in logged.changed.iter().filter(|counted| counted.bad && counted.now > counted.before).take(RECORDS_MAX)
    {
        let text = cut(&counted.sample, TEXT_MAX).to_lowercase();
        let sure = 0.5 + 0.5 * (counted.strength / 2.0).min(1.0);
        for (mechanism, weight) in phrases(&text) {
            seen.push(Seen {
                mechanism,
                weight: weight * sure,
                component: counted.component,
                text: cut(&counted.sample, 300),
                source: counted.source.clone(),
                at_ms: counted.first_ms,
            });
        }
    }
    for signal in signals {
        for (mechanism, weight) in of_signal(signal) {
            let sure = (signal.strength / 2.0).min(1.0);
            seen.push(Seen {
                mechanism,
                weight: weight * sure,
                component: signal.component,
                text: signal.text.clone(),
                source: signal.source.clone(),
                at_ms: signal.onset_ms,
            });
        }
    }
    of_traffic(clean, graph, signals, logged, &mut seen);
    of_events(clean, frame, &mut seen);
    of_alert(clean, &mut seen);
    seen.retain(|one| one.weight > 0.0);
    seen.sort_by(|a, b| {
        b.weight.total_cmp(&a.weight).then(a.mechanism.cmp(&b.mechanism)).then(a.component.cmp(&b.component))
    });
    seen
}

/// The strongest weight of each mechanism, weighed by how much each component is suspected.
pub(crate) fn summary(
    clean: &Checked<'_>,
    seen: &[Seen],
    belief: &BTreeMap<ComponentId, f64>,
) -> BTreeMap<Mechanism, f64> {
    let mut found: BTreeMap<Mechanism, f64> = BTreeMap::new();
    for one in seen {
        let share = belief.get(&clean.service(one.component)).copied().unwrap_or(0.0);
        let weight = found.entry(one.mechanism).or_default();
        *weight = weight.max(one.weight * share);
    }
    found
}

/// The mechanisms a text in lower case speaks of.
pub(crate) fn phrases(text: &str) -> Vec<(Mechanism, f64)> {
    PHRASES
        .iter()
        .filter(|(.., phrases)| phrases.split('|').any(|phrase| text.contains(phrase)))
        .map(|(mechanism, weight, _)| (*mechanism, *weight))
        .collect()
}

fn of_signal(signal: &Signal) -> Vec<(Mechanism, f64)> {
    let text = signal.text.to_lowercase();
    match signal.aspect {
        Aspect::Memory if signal.slow => vec![(M::MemoryGrowth, 2.2)],
        Aspect::Memory => vec![(M::MemoryGrowth, 1.0)],
        Aspect::Restart if text.contains("oom") => vec![(M::MemoryGrowth, 1.8)],
        Aspect::Restart if text.contains("panic") => vec![(M::Panic, 1.5)],
        Aspect::Work => vec![(M::FanOut, 2.5)],
        Aspect::Cpu => vec![(M::CpuBurn, 1.2)],
        Aspect::Saturation if text.contains("retr") => vec![(M::RetryStorm, 1.5)],
        Aspect::Saturation if text.contains("lag") || text.contains("backlog") => vec![(M::Backlog, 1.5)],
        Aspect::Saturation => vec![(M::PoolExhausted, 1.2)],
        Aspect::Cache => vec![(M::CacheLoss, 2.0)],
        Aspect::Certificate => vec![(M::CertificateEnded, 3.0)],
        Aspect::Disk => vec![(M::DiskFull, 1.2)],
        Aspect::OwnTime | Aspect::Latency => vec![(M::Slow, 0.6)],
        Aspect::Errors if text.contains("timeout") => vec![(M::Timeout, 1.0)],
        Aspect::Errors => vec![(M::Errors, 0.4)],
        _ => Vec::new(),
    }
}

/// Requests that multiplied: a surge where nobody above explains it, somebody's fan-out where the caller got no more.
fn of_traffic(clean: &Checked<'_>, graph: &Graph, signals: &[Signal], logged: &Logged, seen: &mut Vec<Seen>) {
    let rose: BTreeMap<ComponentId, &Signal> = signals
        .iter()
        .filter(|signal| {
            signal.aspect == Aspect::Traffic && signal.up && signal.ratio() >= SURGE && signal.strength > 0.5
        })
        .map(|signal| (clean.service(signal.component), signal))
        .collect();
    let fans: Vec<ComponentId> = seen
        .iter()
        .filter(|one| one.mechanism == M::FanOut && one.weight > 0.5)
        .map(|one| clean.service(one.component))
        .collect();
    let measured = |id: ComponentId| {
        clean.series.iter().any(|(series, _)| {
            clean.service(series.component) == id
                && crate::words::meaning(&series.name, &series.unit).aspect == Aspect::Traffic
        })
    };
    for (id, signal) in &rose {
        let mut above = graph.callers(*id).filter(|caller| caller != id);
        let amplified = above.find(|caller| !rose.contains_key(caller) && (measured(*caller) || fans.contains(caller)));
        if let Some(caller) =
            amplified.or_else(|| (rose.len() == 1).then(|| fans.iter().copied().find(|fan| fan != id)).flatten())
        {
            seen.push(Seen {
                mechanism: M::FanOut,
                weight: 1.5,
                component: caller,
                text: signal.text.clone(),
                source: signal.source.clone(),
                at_ms: signal.onset_ms,
            });
            continue;
        }
        if graph.callers(*id).any(|caller| caller != *id && rose.contains_key(&caller)) {
            // Its callers got more as well: they pass it on.
            continue;
        }
        let strained = signals.iter().any(|other| {
            clean.service(other.component) == *id
                && matches!(other.aspect, Aspect::Cpu | Aspect::Saturation)
                && other.strength > 0.5
        });
        let sheds = logged.changed.iter().any(|counted| {
            counted.bad
                && clean.service(counted.component) == *id
                && SHEDDING.iter().any(|word| counted.text.to_lowercase().contains(word))
        });
        let everywhere = (rose.len() as f64 / 3.0).min(1.0);
        let weight = 0.6 + 0.9 * f64::from(u8::from(strained)) + 0.9 * f64::from(u8::from(sheds)) + 0.6 * everywhere;
        seen.push(Seen {
            mechanism: M::TrafficSurge,
            weight,
            component: *id,
            text: signal.text.clone(),
            source: signal.source.clone(),
            at_ms: signal.onset_ms,
        });
    }
}

/// What the platform reported around the moment.
fn of_events(clean: &Checked<'_>, frame: &Frame, seen: &mut Vec<Seen>) {
    let anchor = frame.anchor.unwrap_or(TimeMs::MAX / 2);
    let near =
        |at: TimeMs| at <= anchor.saturating_add(frame.window_ms) && at >= anchor.saturating_sub(5 * frame.window_ms);
    for event in clean.case.events.iter().take(RECORDS_MAX).filter(|event| frame.anchor.is_none() || near(event.at_ms))
    {
        let Some(component) = event.component else { continue };
        let text = format!("{} {}", event.reason, event.message).to_lowercase();
        for (mechanism, weight) in phrases(&text) {
            seen.push(Seen {
                mechanism,
                weight,
                component,
                text: cut(&format!("{}: {}", event.reason, event.message), 300),
                source: event.source.clone(),
                at_ms: event.at_ms,
            });
        }
    }
}

/// The alert's own words, which may name what no other signal shows.
fn of_alert(clean: &Checked<'_>, seen: &mut Vec<Seen>) {
    let Some(alert) = &clean.case.alert else { return };
    let Some(component) = alert.component else { return };
    for (mechanism, weight) in phrases(&cut(&alert.summary, TEXT_MAX).to_lowercase()) {
        let text = format!("the alert says: {}", cut(&alert.summary, 300));
        seen.push(Seen {
            mechanism,
            weight: 0.7 * weight,
            component,
            text,
            source: "alert".to_owned(),
            at_ms: alert.fired_ms.unwrap_or_default(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_their_mechanism() {
        for (text, mechanism) in [
            ("panic: invalid memory address or nil pointer dereference", M::NilAccess),
            ("fatal error: concurrent map writes", M::Race),
            ("x509: certificate has expired or is not yet valid", M::CertificateEnded),
            ("oomkilled: container exceeded memory limit 512mi", M::MemoryGrowth),
            ("write /data: no space left on device", M::DiskFull),
            ("dial tcp: lookup db: no such host", M::NameLookup),
        ] {
            assert!(phrases(text).iter().any(|(found, _)| *found == mechanism), "{text}");
        }
        assert!(phrases("handled request in 3 ms").is_empty());
    }
}
