//! What a record is, by which meanings its fields have. Two records of different tools that say the same are the
//! same kind.

use crate::record::Record;
use crate::role::{self, Role};

/// Kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Log,
    Span,
    Metric,
    Commit,
    Deploy,
    Flag,
    Config,
    Scaling,
    Event,
    Pattern,
    Call,
    Alert,
    Monitor,
    Pod,
    Workload,
    Node,
    Container,
}

impl Kind {
    const NAMED: [(&'static str, Self); 12] = [
        ("logs", Self::Log),
        ("traces", Self::Span),
        ("metrics", Self::Metric),
        ("commits", Self::Commit),
        ("deploys", Self::Deploy),
        ("flags", Self::Flag),
        ("config", Self::Config),
        ("scaling", Self::Scaling),
        ("events", Self::Event),
        ("patterns", Self::Pattern),
        ("topology", Self::Call),
        ("alert", Self::Alert),
    ];

    /// The kind of this name in `bundle.toml`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// Every name, for people.
    pub(crate) fn names() -> String {
        let names: Vec<&str> = Self::NAMED.iter().map(|(name, _)| *name).collect();
        format!("{}, skip", names.join(", "))
    }

    /// The word for what was read.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Log => "log lines",
            Self::Span => "spans",
            Self::Metric => "metric samples",
            Self::Commit => "commits",
            Self::Deploy => "deploys",
            Self::Flag => "flag changes",
            Self::Config => "configuration changes",
            Self::Scaling => "scalings",
            Self::Event => "events",
            Self::Pattern => "log patterns",
            Self::Call => "calls",
            Self::Alert => "alerts",
            Self::Monitor => "monitors",
            Self::Pod => "pods",
            Self::Workload => "workloads",
            Self::Node => "nodes",
            Self::Container => "container logs",
        }
    }

    /// What `record` is. `place` is the name of the list or file that it is in; it decides only between kinds
    /// that the fields leave open.
    pub(crate) fn of(record: &Record<'_>, place: &str) -> Option<Self> {
        let has = |role| record.has(role);
        let timed = has(Role::Time) || has(Role::Start) || has(Role::First) || has(Role::Last);
        let place = role::plain(place);
        if spanlike(record) {
            return Some(Self::Span);
        }
        if has(Role::Lines) && (has(Role::Pod) || has(Role::Name)) && record.text(Role::Lines).is_some() {
            return Some(Self::Container);
        }
        if let Some(kind) = kubernetes(record) {
            return Some(kind);
        }
        if let Some(kind) = change(record, &place, timed) {
            return Some(kind);
        }
        if has(Role::Signature) && has(Role::Count) {
            return Some(Self::Pattern);
        }
        if has(Role::Metric) && has(Role::Value) && has(Role::Time) {
            return Some(Self::Metric);
        }
        if alert_score(record) >= 3 && !has(Role::Trace) {
            return Some(Self::Alert);
        }
        if !timed && !has(Role::Message) && calls(record) {
            return Some(Self::Call);
        }
        if has(Role::Message) && (timed || has(Role::Level) || has(Role::Service) || has(Role::Pod)) {
            return Some(Self::Log);
        }
        None
    }
}

fn spanlike(record: &Record<'_>) -> bool {
    let has = |role| record.has(role);
    let identified = has(Role::Trace) && (has(Role::Span) || has(Role::Id));
    let timed = has(Role::Start) || has(Role::Time);
    let long = has(Role::Duration) || (has(Role::Start) && has(Role::End));
    identified && timed && long && !has(Role::Message)
}

/// What tools print of a cluster, and its events.
fn kubernetes(record: &Record<'_>) -> Option<Kind> {
    let has = |role| record.has(role);
    if has(Role::Reason) && (has(Role::Involved) || (has(Role::Message) && (has(Role::Count) || has(Role::Type)))) {
        return Some(Kind::Event);
    }
    if has(Role::Name) && (has(Role::Phase) || record.json(Role::Containers).is_some_and(serde_json::Value::is_array)) {
        return Some(Kind::Pod);
    }
    if has(Role::Name) && has(Role::Ready) && has(Role::Pressure) {
        return Some(Kind::Node);
    }
    let counted = record.number(Role::Desired).is_some() && record.number(Role::Ready).is_some();
    if (has(Role::Name) || has(Role::Workload)) && counted {
        return Some(Kind::Workload);
    }
    (has(Role::Name) && has(Role::State) && has(Role::Query)).then_some(Kind::Monitor)
}

/// What people did.
fn change(record: &Record<'_>, place: &str, timed: bool) -> Option<Kind> {
    let has = |role| record.has(role);
    if !timed {
        return None;
    }
    let moved = has(Role::Change) || has(Role::To) || has(Role::From);
    let whose = has(Role::Service) || has(Role::Workload) || has(Role::Pod) || has(Role::Name);
    let named = |words: &[&str]| words.iter().any(|word| place.contains(word));
    if has(Role::Flag) && (moved || has(Role::State) || has(Role::Value)) {
        return Some(Kind::Flag);
    }
    if has(Role::Sha) && has(Role::Message) && !named(&["deploy", "release", "rollout"]) {
        let written = has(Role::Files) || has(Role::Diff) || has(Role::Author);
        if written && !has(Role::Level) {
            return Some(Kind::Commit);
        }
    }
    let released = has(Role::Sha) || has(Role::Version);
    if released
        && whose
        && !has(Role::Level)
        && !has(Role::Metric)
        && (!has(Role::Message) || named(&["deploy", "release", "rollout"]))
    {
        return Some(Kind::Deploy);
    }
    if named(&["scal"]) && whose && moved {
        return Some(Kind::Scaling);
    }
    if has(Role::Key) && (moved || has(Role::Value)) && !has(Role::Metric) && !has(Role::Level) {
        return Some(Kind::Config);
    }
    None
}

/// Who calls whom.
fn calls(record: &Record<'_>) -> bool {
    let has = |role| record.has(role);
    (has(Role::Caller) && (has(Role::Callee) || has(Role::Job) || has(Role::To)))
        || (has(Role::From) && has(Role::To))
        || (has(Role::Parent) && record.fields.iter().any(|field| role::plain(field.name) == "child"))
        || (has(Role::Service) && has(Role::Callee))
}

/// How many different things of an alert it says.
pub(crate) fn alert_score(record: &Record<'_>) -> usize {
    let roles = [
        Role::Rule,
        Role::Metric,
        Role::Threshold,
        Role::Observed,
        Role::Level,
        Role::Summary,
        Role::Fired,
        Role::State,
        Role::Description,
    ];
    roles.iter().filter(|role| record.has(**role)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kind(value: serde_json::Value, place: &str) -> Option<Kind> {
        Kind::of(&Record::of_json(&value), place)
    }

    #[test]
    fn records_are_what_their_fields_say() {
        let t = "2026-06-18T15:06:00Z";
        for (value, place, expected) in [
            (json!({"timestamp": t, "service": "a", "msg": "x", "trace_id": "1"}), "x", Some(Kind::Log)),
            (
                json!({"TimeUnixNano": "1", "PodName": "a", "TraceID": "t", "SpanID": "s", "Log": "x", "Timestamp": t}),
                "x",
                Some(Kind::Log),
            ),
            (json!({"trace_id": "t", "span_id": "s", "start": t, "duration_ms": 4}), "x", Some(Kind::Span)),
            (json!({"traceId": "t", "id": "s", "timestamp": 1, "duration": 4, "name": "get"}), "x", Some(Kind::Span)),
            (json!({"sha": "1", "author": "b", "timestamp": t, "message": "fix"}), "x", Some(Kind::Commit)),
            (json!({"timestamp": t, "service": "a", "commit_sha": "1", "version": "v"}), "x", Some(Kind::Deploy)),
            (json!({"deployed_at": t, "app": "a", "image": "a:2"}), "x", Some(Kind::Deploy)),
            (json!({"timestamp": t, "flag": "f", "change": "off->on"}), "x", Some(Kind::Flag)),
            (json!({"time": t, "key": "pool.size", "old": "5", "new": "50"}), "x", Some(Kind::Config)),
            (json!({"time": t, "service": "a", "from": 3, "to": 5}), "scaling", Some(Kind::Scaling)),
            (json!({"signature": "x <N>", "service": "a", "count": 3}), "x", Some(Kind::Pattern)),
            (json!({"reason": "BackOff", "message": "m", "type": "Warning", "count": 2}), "x", Some(Kind::Event)),
            (json!({"name": "a-1", "phase": "Running"}), "x", Some(Kind::Pod)),
            (json!({"name": "a", "desired": 3, "ready": 3}), "x", Some(Kind::Workload)),
            (json!({"name": "n", "ready": "True", "memory_pressure": "False"}), "x", Some(Kind::Node)),
            (json!({"pod_name": "a-1", "logs": "x\ny"}), "x", Some(Kind::Container)),
            (json!({"timestamp": t, "metric": "cpu", "value": 1, "service": "a"}), "x", Some(Kind::Metric)),
            (json!({"caller": "a", "callee": "b"}), "x", Some(Kind::Call)),
            (
                json!({"service": "a", "metric": "m", "threshold": 1, "severity": "critical", "fired_at": t}),
                "x",
                Some(Kind::Alert),
            ),
            (
                json!({"name": "m", "query": "avg(x) > 1", "overall_state": "OK", "message": "m"}),
                "x",
                Some(Kind::Monitor),
            ),
            (json!({"answer": "a", "because": "b"}), "x", None),
            (json!({}), "logs", None),
        ] {
            assert_eq!(kind(value.clone(), place), expected, "{value}");
        }
    }
}
