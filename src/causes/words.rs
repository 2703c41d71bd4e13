//! What operators' words mean: which aspect of a component a metric speaks of, which way is bad, and whether a line
//! of text is bad news. Words only; no name of any component or data set.

use serde::Serialize;

/// What a signal speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aspect {
    /// How long answers take.
    Latency,
    /// Failed requests, or the share of good ones.
    Errors,
    /// How much is asked of it.
    Traffic,
    /// Processor.
    Cpu,
    /// Memory.
    Memory,
    /// Disk.
    Disk,
    /// Queues, pools, threads, connections.
    Saturation,
    /// Bytes and packets.
    Network,
    /// Time until a certificate ends.
    Certificate,
    /// Restarts, kills, panics.
    Restart,
    /// Work done for one request: queries, calls.
    Work,
    /// Cache hits.
    Cache,
    /// Time lost between a caller and its callee.
    Wire,
    /// Its own time inside a request.
    OwnTime,
    /// An exception or error it reports itself.
    Exception,
    /// What it usually does and no longer does.
    Behaviour,
    /// A limit or a setting.
    Setting,
    /// A number nobody explained.
    Other,
}

impl Aspect {
    /// True for what callers feel as well: such a signal may come from a callee.
    pub(crate) fn spreads(self) -> bool {
        matches!(
            self,
            Self::Latency | Self::Errors | Self::Saturation | Self::Exception | Self::Behaviour | Self::Other
        )
    }

    /// In words.
    pub(crate) fn say(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Errors => "errors",
            Self::Traffic => "traffic",
            Self::Cpu => "processor use",
            Self::Memory => "memory use",
            Self::Disk => "disk use",
            Self::Saturation => "saturation",
            Self::Network => "network traffic",
            Self::Certificate => "certificate lifetime",
            Self::Restart => "restarts",
            Self::Work => "work per request",
            Self::Cache => "cache hits",
            Self::Wire => "time on the wire",
            Self::OwnTime => "own time",
            Self::Exception => "reported errors",
            Self::Behaviour => "behaviour",
            Self::Setting => "a setting",
            Self::Other => "an unexplained metric",
        }
    }
}

/// Which way is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Rising.
    Up,
    /// Falling.
    Down,
    /// Any change is worth a look, neither is bad as such.
    Either,
    /// Nothing can be said.
    Never,
}

/// The meaning of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// What it speaks of.
    pub aspect: Aspect,
    /// Which way is bad.
    pub bad: Bad,
    /// It speaks of the machine, not of the component.
    pub of_node: bool,
    /// It may be a count that only ever rises.
    pub counter: bool,
    /// A share of what there is, not an amount.
    pub share: bool,
}

/// Splits a name into lowercase words: at signs, at digits' ends and at humps.
pub(crate) fn words(name: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut word = String::new();
    let chars: Vec<char> = name.chars().take(512).collect();
    for (index, c) in chars.iter().enumerate() {
        let before = index.checked_sub(1).map(|place| chars[place]);
        let after = chars.get(index + 1);
        let hump = c.is_uppercase()
            && before
                .is_some_and(|b| b.is_lowercase() || (b.is_uppercase() && after.is_some_and(|a| a.is_lowercase())));
        if (!c.is_alphanumeric() || hump) && !word.is_empty() {
            found.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
    }
    if !word.is_empty() {
        found.push(word);
    }
    found
}

fn any(words: &[String], of: &[&str]) -> bool {
    words.iter().any(|word| of.contains(&word.as_str()))
}

/// What a metric's name and unit mean.
pub(crate) fn meaning(name: &str, unit: &str) -> Meaning {
    let mut parts = words(name);
    let share = name.contains('%')
        || unit.contains('%')
        || any(&parts, &["ratio", "percent", "percentage", "pct", "utilization", "utilisation", "saturation", "share"]);
    let of_node = any(&parts, &["node", "host", "machine", "instance"]) && !any(&parts, &["count", "nodes"]);
    let counter =
        any(&parts, &["total", "count", "sum", "counter", "bucket"]) || parts.last().is_some_and(|w| w == "restarts");
    let (aspect, bad) = aspect_of(&parts).unwrap_or_else(|| {
        parts.extend(words(unit));
        if any(&parts, &["ms", "seconds", "sec", "us", "s"]) {
            (Aspect::Latency, Bad::Up)
        } else {
            (Aspect::Other, Bad::Either)
        }
    });
    Meaning { aspect, bad, of_node, counter, share }
}

/// Readings of a name, from the telling words to the general ones; the first that fits counts. Words parted by bars;
/// one with a star may go on. Of each group at least one word must be there.
const READINGS: [(&[&str], Aspect, Bad); 22] = [
    (&["cert*|tls|x509", "expir*|valid*|remain*|until|days"], Aspect::Certificate, Bad::Down),
    (&["notafter"], Aspect::Certificate, Bad::Down),
    (&["limit|limits|quota|desired|configured|threshold"], Aspect::Setting, Bad::Never),
    (&["oom*|restart*|killed|evict*|crash*|panic*"], Aspect::Restart, Bad::Up),
    (&["unavail*|unready|unhealthy"], Aspect::Errors, Bad::Up),
    (&["availab*|success*|uptime|ready|healthy|up"], Aspect::Errors, Bad::Down),
    (
        &[
            "error*|fail*|fault*|exception*|reject*|abort*|timeout*|drop*|5xx|4xx|shed*|denied|dead*|err|errs|500|502|503|504|429",
        ],
        Aspect::Errors,
        Bad::Up,
    ),
    (&["hit*", "cache*|ratio|rate|hits"], Aspect::Cache, Bad::Down),
    (&["miss*"], Aspect::Cache, Bad::Up),
    (&["per", "quer*|call*|op*|fetch*", "request|call|transaction|operation"], Aspect::Work, Bad::Up),
    (
        &[
            "queue*|pending|saturat*|pool*|inflight|backlog|lag*|thread*|connection*|conns|wait*|throttl*|goroutine*|worker*|semaphore*|lock*|fd*",
        ],
        Aspect::Saturation,
        Bad::Up,
    ),
    (&["in", "flight"], Aspect::Saturation, Bad::Up),
    (&["cpu*|processor|load|load1|load5"], Aspect::Cpu, Bad::Up),
    (&["mem*|heap*|rss|workingset|swap|gc"], Aspect::Memory, Bad::Up),
    (&["working", "set"], Aspect::Memory, Bad::Up),
    (&["latenc*|duration*|delay*|elapsed|rtt|ttfb"], Aspect::Latency, Bad::Up),
    (&["respon*|process*", "time"], Aspect::Latency, Bad::Up),
    (&["disk*|volume*|filesystem*|inode*|iops|storage|fs"], Aspect::Disk, Bad::Up),
    (&["network*|packet*|retrans*|socket*|rx|tx|receive|transmit"], Aspect::Network, Bad::Either),
    (
        &["request*|traffic|throughput|workload|visits|invocation*|messages|rate|rps|qps|ops|tps|calls"],
        Aspect::Traffic,
        Bad::Either,
    ),
    (&["replica*|pods"], Aspect::Setting, Bad::Either),
    (&["p50|p90|p95|p99|time|seconds|ms"], Aspect::Latency, Bad::Up),
];

/// The first reading that fits.
fn aspect_of(parts: &[String]) -> Option<(Aspect, Bad)> {
    let fits = |pattern: &str| {
        parts.iter().any(|word| pattern.strip_suffix('*').map_or(word == pattern, |start| word.starts_with(start)))
    };
    let all = |groups: &[&str]| groups.iter().all(|group| group.split('|').any(fits));
    let (_, aspect, bad) = READINGS.iter().find(|(groups, ..)| all(groups))?;
    let left = ["free", "avail*", "idle", "remain*"].iter().any(|word| fits(word));
    let turned = left && matches!(aspect, Aspect::Saturation | Aspect::Cpu | Aspect::Memory | Aspect::Disk);
    Some((*aspect, if turned { Bad::Down } else { *bad }))
}

/// Words of bad news; matched at the beginning of a word.
const BAD_NEWS: [&str; 38] = [
    "error",
    "exception",
    "fail",
    "fatal",
    "panic",
    "timeout",
    "refus",
    "denied",
    "unavailable",
    "abort",
    "crash",
    "killed",
    "oom",
    "reject",
    "overload",
    "exhaust",
    "saturat",
    "deadlock",
    "corrupt",
    "expired",
    "invalid",
    "unable",
    "cannot",
    "unreachable",
    "throttl",
    "slow",
    "exceed",
    "evict",
    "backoff",
    "unhealthy",
    "segfault",
    "stacktrace",
    "traceback",
    "leak",
    "degraded",
    "shed",
    "dropped",
    "nullpointer",
];

/// True when a text tells of something going wrong. Negations ("0 errors", "no failures") do not count.
pub(crate) fn is_bad_news(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut previous: (usize, usize) = (0, 0);
    let mut start = 0;
    while start < bytes.len() {
        if !bytes[start].is_ascii_alphanumeric() {
            start += 1;
            continue;
        }
        let mut end = start;
        while end < bytes.len() && bytes[end].is_ascii_alphanumeric() {
            end += 1;
        }
        let word = &bytes[start..end];
        let before = &bytes[previous.0..previous.1];
        let negated = before.eq_ignore_ascii_case(b"no")
            || before == b"0"
            || before.eq_ignore_ascii_case(b"without")
            || before.eq_ignore_ascii_case(b"not");
        if !negated && tells(word) {
            return true;
        }
        previous = (start, end);
        start = end;
    }
    false
}

/// True when a word, or a hump of it, begins with a word of bad news.
fn tells(word: &[u8]) -> bool {
    let begins = |part: &[u8]| {
        BAD_NEWS.iter().any(|bad| part.len() >= bad.len() && part[..bad.len()].eq_ignore_ascii_case(bad.as_bytes()))
    };
    begins(word)
        || word.windows(2).enumerate().any(|(place, pair)| {
            pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase() && begins(&word[place + 1..])
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(name: &str, unit: &str) -> (Aspect, Bad) {
        let meaning = meaning(name, unit);
        (meaning.aspect, meaning.bad)
    }

    #[test]
    fn names_of_metrics_are_read_as_operators_mean_them() {
        for (name, unit, aspect, bad) in [
            ("http_server_duration_p99_ms", "", Aspect::Latency, Bad::Up),
            ("latency", "Average", Aspect::Latency, Bad::Up),
            ("availability", "Average", Aspect::Errors, Bad::Down),
            ("PodSuccessRate(%)", "", Aspect::Errors, Bad::Down),
            ("error_rate_5xx_ratio", "", Aspect::Errors, Bad::Up),
            ("CpuUsageRate(%)", "", Aspect::Cpu, Bad::Up),
            ("container_memory_rss_mb", "", Aspect::Memory, Bad::Up),
            ("container_memory_limit_mb", "", Aspect::Setting, Bad::Never),
            ("container_oom_killed_total", "", Aspect::Restart, Bad::Up),
            ("requests_per_sec", "", Aspect::Traffic, Bad::Either),
            ("requests", "Sum", Aspect::Traffic, Bad::Either),
            ("db_query_count_per_request", "", Aspect::Work, Bad::Up),
            ("request_queue_depth", "", Aspect::Saturation, Bad::Up),
            ("tls_cert_seconds_until_expiry", "", Aspect::Certificate, Bad::Down),
            ("cache_hit_ratio", "", Aspect::Cache, Bad::Down),
            ("PodServerLatencyP95(s)", "", Aspect::Latency, Bad::Up),
            ("disk_free_bytes", "", Aspect::Disk, Bad::Down),
            ("NetworkReceiveBytes", "", Aspect::Network, Bad::Either),
            ("db_pool_idle_connections", "", Aspect::Saturation, Bad::Down),
            ("blorp", "", Aspect::Other, Bad::Either),
            ("blorp", "ms", Aspect::Latency, Bad::Up),
        ] {
            assert_eq!(reads(name, unit), (aspect, bad), "{name}");
        }
        assert!(meaning("NodeCpuUsageRate(%)", "").of_node);
        assert!(meaning("panic_count", "").counter);
    }

    #[test]
    fn bad_news_is_told_from_good() {
        for text in [
            "connection refused",
            "java.lang.NullPointerException at",
            "request failed with status 500",
            "OOMKilled: x",
        ] {
            assert!(is_bad_news(text), "{text}");
        }
        for text in ["handled request", "scan ended with 0 errors", "no failures seen", "terrorize", ""] {
            assert!(!is_bad_news(text), "{text}");
        }
    }
}
