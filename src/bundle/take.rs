//! From a record to what a case keeps. One file a kind; nothing here decides what a record is.

pub(crate) mod alert;
pub(crate) mod change;
pub(crate) mod event;
pub(crate) mod log;
pub(crate) mod span;

use opsward_causes::case::{ComponentId, Level};

use crate::gather::{Gather, Named};
use crate::kind::Kind;
use crate::kubernetes;
use crate::names;
use crate::record::Record;
use crate::role::Role;

/// Where a record stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Name of the list or file it is in.
    pub(crate) list: &'a str,
    /// Its line from 1, or its number in the list from 0.
    pub(crate) line: u32,
    /// True if it is an entry of a list rather than a line.
    pub(crate) entry: bool,
    /// Whose it is if it does not say.
    pub(crate) service: Option<&'a str>,
    /// The replica whose it is if it does not say.
    pub(crate) pod: Option<&'a str>,
}

impl Place<'_> {
    /// `deploys.json[3]` or `logs.csv:17`.
    pub(crate) fn source(&self, path: &str) -> String {
        if self.entry { format!("{path}[{}]", self.line) } else { format!("{path}:{}", self.line) }
    }
}

/// Takes a record for what it is; false if something that it needs is missing.
pub(crate) fn take(gather: &mut Gather, record: &Record<'_>, kind: Kind, place: Place<'_>) -> bool {
    match kind {
        Kind::Log => log::take(gather, record, place),
        Kind::Span => span::take(gather, record, place),
        Kind::Metric => metric(gather, record, place),
        Kind::Commit | Kind::Deploy | Kind::Flag | Kind::Config | Kind::Scaling => {
            change::take(gather, record, kind, place)
        }
        Kind::Event => event::take(gather, record, place),
        Kind::Pattern => pattern(gather, record, place),
        Kind::Call => call(gather, record),
        Kind::Alert => alert::take(gather, record),
        Kind::Monitor => alert::monitor(gather, record),
        Kind::Pod | Kind::Workload | Kind::Node => kubernetes::summary(gather, record, kind),
        Kind::Container => log::container(gather, record, place),
    }
}

/// The component that a record names.
pub(crate) fn whose(gather: &mut Gather, record: &Record<'_>, place: Place<'_>) -> Option<ComponentId> {
    let service = record.text(Role::Service).or_else(|| record.text(Role::Workload));
    let pod = record.text(Role::Pod);
    let node = record.text(Role::Node);
    let (service, pod) = match (&service, &pod) {
        (None, None) => (place.service, place.pod),
        // In a pod the host's name is that of the pod.
        (Some(service), None) => {
            let host = node.as_deref().filter(|host| names::workload_of_pod(host) == Some(service));
            if let Some(host) = host {
                return gather.whose(Named { service: Some(service), pod: Some(host), node: None });
            }
            (Some(service.as_ref()), None)
        }
        (service, pod) => (service.as_deref(), pod.as_deref()),
    };
    gather.whose(Named { service, pod, node: node.as_deref() })
}

/// As [`whose`], or whatever else could have spoken.
pub(crate) fn whose_or_else(gather: &mut Gather, record: &Record<'_>, place: Place<'_>) -> Option<ComponentId> {
    whose(gather, record, place).or_else(|| {
        let other = [Role::Container, Role::Job, Role::Node].into_iter().find_map(|role| record.text(role))?;
        gather.component(&other)
    })
}

/// The severity that a word or number names.
pub(crate) fn level(word: &str) -> Option<Level> {
    let word = word.trim().trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
    Some(match word.as_str() {
        "trace" | "debug" | "verbose" | "fine" | "finer" | "finest" | "d" | "dbg" | "v" => Level::Debug,
        "info" | "information" | "informational" | "notice" | "i" | "inf" | "normal" | "ok" | "config" => Level::Info,
        "warn" | "warning" | "w" | "wrn" => Level::Warning,
        "error" | "err" | "e" | "severe" | "failure" | "eror" => Level::Error,
        "fatal" | "critical" | "crit" | "panic" | "alert" | "emerg" | "emergency" | "f" | "dpanic" => Level::Fatal,
        // Bunyan and pino count in tens, OpenTelemetry from 1 to 24, syslog down from 7.
        "10" | "20" => Level::Debug,
        "30" => Level::Info,
        "40" => Level::Warning,
        "50" => Level::Error,
        "60" => Level::Fatal,
        _ => return None,
    })
}

fn metric(gather: &mut Gather, record: &Record<'_>, place: Place<'_>) -> bool {
    let (Some(at_ms), Some(name)) = (record.time(Role::Time, gather.assume), record.text(Role::Metric)) else {
        return false;
    };
    let Some(text) = record.text(Role::Value) else {
        gather.count("gaps in metrics", 1);
        return true;
    };
    let Some(component) = whose_or_else(gather, record, place) else { return false };
    let unit = record.text(Role::Statistic).unwrap_or_default();
    match text.trim().parse::<f64>() {
        Ok(value) => gather.sample(component, &name, &unit, at_ms, value),
        Err(_) => return false,
    }
    true
}

fn pattern(gather: &mut Gather, record: &Record<'_>, place: Place<'_>) -> bool {
    let (Some(text), Some(count)) = (record.text(Role::Signature), record.number(Role::Count)) else { return false };
    let Some(component) = whose_or_else(gather, record, place) else { return false };
    let more = record.text(Role::Delta).and_then(|delta| delta.trim().trim_start_matches('+').parse::<f64>().ok());
    let mood = record.text(Role::Sentiment).unwrap_or_default().to_ascii_lowercase();
    let bad = record.text(Role::Level).and_then(|word| level(&word)).is_some_and(|level| level >= Level::Warning);
    let source = place.source(gather.path());
    let mut text = text.into_owned();
    crate::clean::cut(&mut text, gather.bounds.message_bytes_max);
    gather.pattern(opsward_causes::case::Pattern {
        text,
        component,
        count: count.max(0.0) as u64,
        more: more.map(|more| more as i64),
        negative: bad || ["neg", "bad", "err"].iter().any(|word| mood.starts_with(word)),
        source,
    });
    true
}

fn call(gather: &mut Gather, record: &Record<'_>) -> bool {
    let first = |roles: &[Role]| roles.iter().find_map(|role| record.text(*role));
    let child = || record.fields.iter().find(|field| crate::role::plain(field.name) == "child")?.cell.text();
    let caller = first(&[Role::Caller, Role::From, Role::Parent, Role::Service]);
    let callee = first(&[Role::Callee, Role::To, Role::Job]).or_else(child);
    let (Some(caller), Some(callee)) = (caller, callee) else { return false };
    let (Some(caller), Some(callee)) = (gather.component(&caller), gather.component(&callee)) else { return false };
    gather.call(caller, callee);
    true
}
