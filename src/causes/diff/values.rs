//! Lines that differ in a value only: a limit lowered, a pool made smaller, an address changed, a version raised. The
//! words around the value say what it governs.

use super::{Effect, Line, Side};
use crate::mechanism::Mechanism as M;
use crate::signal::cut;

/// Most pairs of lines compared.
const PAIRS_MAX: usize = 200;

/// What a value governs, by words near it; the first that fits counts. Then what lowering and raising it bring about.
struct Governs {
    /// Parted by bars.
    words: &'static str,
    lower: &'static [(M, f64)],
    higher: &'static [(M, f64)],
}

const GOVERNS: [Governs; 12] = [
    Governs {
        words: "backoff|retrydelay|retry_delay|retryinterval|jitter",
        lower: &[(M::RetryStorm, 2.4), (M::RateLimited, 1.2)],
        higher: &[(M::Slow, 1.2), (M::Timeout, 0.8)],
    },
    Governs {
        words: "retr|attempt",
        lower: &[(M::Errors, 1.2), (M::Refused, 1.0)],
        higher: &[(M::RetryStorm, 2.4), (M::FanOut, 0.8), (M::RateLimited, 1.2)],
    },
    Governs {
        words: "ttl|expir|maxage|max_age",
        lower: &[(M::CacheLoss, 2.4), (M::FanOut, 0.8), (M::Slow, 0.8)],
        higher: &[(M::MemoryGrowth, 1.4), (M::BadData, 0.6)],
    },
    Governs {
        words: "timeout|deadline|time_limit",
        lower: &[(M::Timeout, 2.5), (M::Errors, 1.2), (M::Refused, 0.6)],
        higher: &[(M::PoolExhausted, 1.4), (M::Slow, 1.2), (M::Backlog, 1.0)],
    },
    Governs { words: "cache", lower: &[(M::CacheLoss, 2.4), (M::Slow, 1.0)], higher: &[(M::MemoryGrowth, 2.0)] },
    Governs {
        words: "memory|heap|xmx|ram",
        lower: &[(M::MemoryGrowth, 2.4)],
        higher: &[(M::NodeFault, 0.6), (M::Quota, 1.0)],
    },
    Governs {
        words: "cpu",
        lower: &[(M::CpuBurn, 2.2), (M::Slow, 1.8), (M::Timeout, 1.0)],
        higher: &[(M::Quota, 1.2)],
    },
    Governs {
        words: "rate|quota|throttl|rps|qps",
        lower: &[(M::RateLimited, 2.5), (M::Errors, 0.8)],
        higher: &[(M::CpuBurn, 1.0), (M::PoolExhausted, 1.0)],
    },
    Governs {
        words: "replica|instances|min_nodes|desired",
        lower: &[(M::PoolExhausted, 1.8), (M::CpuBurn, 1.8), (M::Slow, 1.6), (M::TrafficSurge, 0.8)],
        higher: &[(M::Quota, 1.2), (M::PoolExhausted, 0.8)],
    },
    Governs {
        words: "batch|chunk|page",
        lower: &[(M::FanOut, 1.6), (M::Slow, 1.0)],
        higher: &[(M::MemoryGrowth, 1.8), (M::Slow, 1.4), (M::Timeout, 1.2)],
    },
    Governs {
        words: "interval|period|every|cron",
        lower: &[(M::CpuBurn, 1.4), (M::FanOut, 1.4), (M::RateLimited, 1.0)],
        higher: &[(M::Backlog, 1.4), (M::BadData, 0.6)],
    },
    Governs {
        words: "pool|conn|max|worker|thread|concurren|parallel|size|limit|capacity|queue|buffer",
        lower: &[(M::PoolExhausted, 2.5), (M::Timeout, 1.4), (M::Slow, 1.4), (M::Backlog, 1.4)],
        higher: &[(M::MemoryGrowth, 1.4), (M::PoolExhausted, 1.0), (M::CpuBurn, 1.0)],
    },
];

/// Everything that pairs of lines say.
pub(super) fn effects(lines: &[Line]) -> Vec<Effect> {
    let removed: Vec<&Line> =
        lines.iter().filter(|line| line.side == Side::Removed && !line.moved).take(PAIRS_MAX).collect();
    let added: Vec<&Line> =
        lines.iter().filter(|line| line.side == Side::Added && !line.moved).take(PAIRS_MAX).collect();
    let mut found = Vec::new();
    for old in &removed {
        let frame = skeleton(&old.lower);
        let Some(new) = added.iter().find(|new| new.file == old.file && skeleton(&new.lower) == frame) else {
            continue;
        };
        if is_manifest(&old.file) {
            found.extend(version(old, new));
        } else {
            found.extend(number_changed(old, new));
            found.extend(text_changed(old, new));
            found.extend(test_turned(old, new));
        }
    }
    found
}

/// The line without its values: digits, quoted text, truth values and signs of comparison.
fn skeleton(lower: &str) -> String {
    let mut out = String::with_capacity(lower.len());
    let mut quoted: Option<char> = None;
    for c in lower.chars() {
        match quoted {
            Some(end) if c == end => quoted = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => {
                quoted = Some(c);
                out.push('"');
            }
            None if c.is_ascii_digit() => {
                if !out.ends_with('0') {
                    out.push('0');
                }
            }
            None if matches!(c, '<' | '>' | '=' | '!' | '.' | '_') => {}
            None => out.push(c),
        }
    }
    // A value without quotes after a colon, as in settings files, is a value as well.
    if let Some((key, value)) =
        lower.split_once(": ").filter(|(key, value)| !key.contains(' ') && !value.contains(['(', '{']))
    {
        let _ = value;
        return format!("{key}:");
    }
    for truth in ["true", "false", "&&", "||", "milli", "micro"] {
        out = out.replace(truth, "");
    }
    out.replace("seconds", "second")
        .replace("minutes", "minute")
        .replace(" ms", "")
        .replace("second", "")
        .replace("minute", "")
}

/// Numbers with their units, as plain values.
fn numbers(lower: &str) -> Vec<f64> {
    let mut found = Vec::new();
    let bytes = lower.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let starts = bytes[at].is_ascii_digit() && (at == 0 || !bytes[at - 1].is_ascii_alphanumeric());
        if !starts {
            at += 1;
            continue;
        }
        let from = at;
        while at < bytes.len() && (bytes[at].is_ascii_digit() || bytes[at] == b'.' || bytes[at] == b'_') {
            at += 1;
        }
        let value: f64 = lower[from..at].replace('_', "").trim_end_matches('.').parse().unwrap_or(0.0);
        let rest = &lower[at..];
        let unit = [
            ("milli", 1e-3),
            (" * time.milli", 1e-3),
            ("*time.milli", 1e-3),
            ("micro", 1e-6),
            (" * time.second", 1.0),
            (" * time.minute", 60.0),
            (" * time.hour", 3600.0),
            ("ms", 1e-3),
            ("mi", 1e6),
            ("gi", 1e9),
            ("ki", 1e3),
            ("mb", 1e6),
            ("gb", 1e9),
            ("kb", 1e3),
            ("s", 1.0),
            ("m", 60.0),
            ("h", 3600.0),
        ];
        let times = unit.iter().find(|(word, _)| rest.starts_with(word)).map_or(1.0, |(_, times)| *times);
        found.push(value * times);
    }
    found
}

fn number_changed(old: &Line, new: &Line) -> Vec<Effect> {
    let (before, after) = (numbers(&old.lower), numbers(&new.lower));
    let Some((from, to)) = before.iter().zip(&after).find(|(from, to)| from != to) else { return Vec::new() };
    if before.len() != after.len() {
        return Vec::new();
    }
    let Some(governs) = GOVERNS.iter().find(|governs| governs.words.split('|').any(|word| old.lower.contains(word)))
    else {
        return vec![
            said(M::BadConfig, 0.6, old, new, "a number changes"),
            said(M::Errors, 0.4, old, new, "a number changes"),
        ];
    };
    let (brings, why) =
        if to < from { (governs.lower, "a value is lowered") } else { (governs.higher, "a value is raised") };
    let (small, big) = if to < from { (*to, *from) } else { (*from, *to) };
    // A tenth less or more hardly matters.
    let far = if small <= 0.0 { 1.0 } else { ((big / small).log2() / 1.0).min(1.0) };
    brings.iter().map(|(mechanism, weight)| said(*mechanism, weight * far, old, new, why)).collect()
}

fn text_changed(old: &Line, new: &Line) -> Vec<Effect> {
    let truth = |lower: &str| lower.contains("true") || lower.contains("enabled") || lower.contains(": on");
    if truth(&old.lower) != truth(&new.lower) || (old.lower.contains("true") && new.lower.contains("false")) {
        let cache = old.lower.contains("cache");
        let tls = ["tls", "ssl", "verify", "secure"].iter().any(|word| old.lower.contains(word));
        let first = if cache {
            (M::CacheLoss, 2.4)
        } else if tls {
            (M::Tls, 2.0)
        } else {
            (M::BadConfig, 1.2)
        };
        return vec![
            said(first.0, first.1, old, new, "a switch is turned"),
            said(M::Errors, 0.8, old, new, "a switch is turned"),
            said(M::Slow, 0.6, old, new, "a switch is turned"),
        ];
    }
    if numbers(&old.lower) != numbers(&new.lower) {
        return Vec::new();
    }
    let place = ["url", "host", "endpoint", "addr", "dsn", "port", "server", "broker", "uri", "upstream"]
        .iter()
        .any(|word| old.lower.contains(word));
    let shape = ["json:", "jsonproperty", "serde(rename", "column(", "field(", "protobuf:", "@column", "fieldname"]
        .iter()
        .any(|word| old.lower.contains(word));
    let brings: &[(M, f64)] = if shape {
        &[(M::Schema, 2.3), (M::BadData, 1.4), (M::NilAccess, 1.0), (M::Errors, 0.8)]
    } else if place {
        &[(M::NameLookup, 2.2), (M::Refused, 2.0), (M::BadConfig, 1.6), (M::Timeout, 1.0), (M::Errors, 1.0)]
    } else {
        &[(M::BadConfig, 1.2), (M::Errors, 0.5), (M::Denied, 0.6), (M::Schema, 0.6)]
    };
    brings.iter().map(|(mechanism, weight)| said(*mechanism, *weight, old, new, "a text value changes")).collect()
}

/// A comparison that now says the opposite or includes its end.
fn test_turned(old: &Line, new: &Line) -> Vec<Effect> {
    let signs =
        |lower: &str| lower.chars().filter(|c| matches!(c, '<' | '>' | '=' | '!' | '&' | '|')).collect::<String>();
    if signs(&old.lower) == signs(&new.lower)
        || !(old.lower.contains("if")
            || old.lower.contains("for")
            || old.lower.contains("while")
            || old.lower.contains("return"))
    {
        return Vec::new();
    }
    let why = "a comparison changes";
    vec![
        said(M::IndexRange, 1.8, old, new, why),
        said(M::Errors, 1.2, old, new, why),
        said(M::Denied, 1.0, old, new, why),
        said(M::BadData, 0.8, old, new, why),
        said(M::CpuBurn, 0.8, old, new, why),
    ]
}

fn said(mechanism: M, weight: f64, old: &Line, new: &Line, why: &'static str) -> Effect {
    Effect { mechanism, weight, line: format!("- {} + {}", cut(old.text.trim(), 100), cut(new.text.trim(), 100)), why }
}

fn is_manifest(file: &str) -> bool {
    let base = file.rsplit('/').next().unwrap_or("");
    [
        "go.mod",
        "go.sum",
        "package.json",
        "package-lock.json",
        "yarn.lock",
        "requirements.txt",
        "cargo.toml",
        "cargo.lock",
        "pom.xml",
        "build.gradle",
        "gemfile",
        "gemfile.lock",
        "poetry.lock",
        "pyproject.toml",
    ]
    .contains(&base.to_ascii_lowercase().as_str())
}

/// A dependency's version: the more of it changes, the more may break.
fn version(old: &Line, new: &Line) -> Vec<Effect> {
    let parts = |lower: &str| -> Vec<u64> {
        let at = lower.rfind(|c: char| !(c.is_ascii_digit() || c == '.')).map_or(0, |at| at + 1);
        let tail = lower.trim_end_matches(['"', ',', '\'']);
        let at = tail.rfind(|c: char| !(c.is_ascii_digit() || c == '.')).map_or(at, |at| at + 1);
        tail.get(at..).unwrap_or("").split('.').filter_map(|part| part.parse().ok()).collect()
    };
    let (before, after) = (parts(&old.lower), parts(&new.lower));
    let weight = match before.iter().zip(&after).position(|(old, new)| old != new) {
        Some(0) => 1.0,
        Some(1) if before.first() == Some(&0) => 0.7,
        Some(1) => 0.4,
        Some(_) => 0.15,
        None => 0.0,
    };
    let all = [M::Errors, M::Panic, M::Slow, M::Timeout, M::MemoryGrowth, M::NilAccess, M::Schema, M::PoolExhausted];
    all.iter()
        .filter(|_| weight > 0.0)
        .map(|mechanism| said(*mechanism, weight, old, new, "a dependency's version changes"))
        .collect()
}
