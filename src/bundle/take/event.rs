//! What a platform reported, in the shape of Kubernetes events or of any tool that prints them.

use opsward_causes::case::{Event, TimeMs};
use serde_json::{Value, json};

use super::Place;
use crate::gather::{Gather, Named};
use crate::record::Record;
use crate::role::Role;

/// Longest message that is kept.
const MESSAGE_BYTES_MAX: usize = 2048;

/// What an event is about.
struct About {
    kind: String,
    name: String,
    namespace: String,
}

fn about(record: &Record<'_>) -> Option<About> {
    let namespace = record.text(Role::Namespace).unwrap_or_default().into_owned();
    if let Some(object) = record.json(Role::Involved).filter(|value| value.is_object()) {
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let own = text("namespace");
        let namespace = if own.is_empty() { namespace } else { own };
        return Some(About { kind: text("kind"), name: text("name"), namespace });
    }
    if let Some(said) = record.text(Role::Involved) {
        let (kind, name) = said.split_once('/').unwrap_or(("", &said));
        return Some(About { kind: kind.to_owned(), name: name.to_owned(), namespace });
    }
    if let Some(pod) = record.text(Role::Pod) {
        return Some(About { kind: "Pod".to_owned(), name: pod.into_owned(), namespace });
    }
    let service = record.text(Role::Service).or_else(|| record.text(Role::Workload))?;
    Some(About { kind: String::new(), name: service.into_owned(), namespace })
}

/// Takes an event; one that names a Kubernetes object is shown to the analyzers as well.
pub(super) fn take(gather: &mut Gather, record: &Record<'_>, place: Place<'_>) -> bool {
    let assume = gather.assume;
    let last = record.time_of(&[Role::Last, Role::Time, Role::First], assume);
    let first = record.time_of(&[Role::First, Role::Time], assume).or(last);
    let (Some(last), Some(first)) = (last, first) else { return false };
    let text = |role| record.text(role).unwrap_or_default().into_owned();
    let mut message =
        record.text(Role::Message).or_else(|| record.text(Role::Description)).unwrap_or_default().into_owned();
    crate::clean::cut(&mut message, MESSAGE_BYTES_MAX);
    let warning = text(Role::Type).eq_ignore_ascii_case("warning")
        || record
            .text(Role::Level)
            .and_then(|word| super::level(&word))
            .is_some_and(|level| level >= opsward_causes::case::Level::Warning);
    let count = record.number(Role::Count).unwrap_or(1.0).clamp(1.0, 1e9) as u32;
    let about = about(record);
    let source = place.source(gather.path());
    if let Some(about) = about.as_ref().filter(|about| !about.kind.is_empty()) {
        gather.collection.add(json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": source, "namespace": about.namespace},
            "involvedObject": {"kind": about.kind, "name": about.name, "namespace": if about.kind == "Node" { "" } else { &about.namespace }},
            "reason": text(Role::Reason), "message": message, "type": if warning { "Warning" } else { "Normal" },
            "count": count, "firstTimestamp": iso(first), "lastTimestamp": iso(last),
        }));
        gather.mentioned.insert((about.kind.clone(), about.namespace.clone(), about.name.clone()));
    }
    let component = about.and_then(|about| component(gather, &about));
    gather.event(Event {
        at_ms: last,
        first_ms: first,
        component,
        reason: text(Role::Reason),
        message,
        count,
        warning,
        source,
    });
    true
}

fn component(gather: &mut Gather, about: &About) -> Option<opsward_causes::case::ComponentId> {
    let named = match about.kind.as_str() {
        "Pod" => Named { pod: Some(&about.name), ..Named::default() },
        "ReplicaSet" => Named { service: about.name.rsplit_once('-').map(|(owner, _)| owner), ..Named::default() },
        _ => Named { service: Some(&about.name), ..Named::default() },
    };
    gather.whose(named)
}

/// As the API server writes it.
pub(crate) fn iso(at_ms: TimeMs) -> String {
    crate::time::shown(at_ms).replacen(' ', "T", 1).replace(" UTC", "Z")
}

/// Takes an event object of a cluster.
pub(crate) fn object(gather: &mut Gather, value: &Value, place: Place<'_>) {
    let mut record = Record::of_json(value);
    // Metadata names the event, not what it is about.
    record.fields.retain(|field| field.role != Some(Role::Name));
    let seen = ["lastTimestamp", "eventTime", "firstTimestamp"].iter().find_map(|key| value[*key].as_str());
    let seen = seen
        .or_else(|| value["series"]["lastObservedTime"].as_str())
        .or_else(|| value["metadata"]["creationTimestamp"].as_str());
    let Some(last) = seen.and_then(|text| crate::time::parse(text, gather.assume)) else { return };
    let first =
        value["firstTimestamp"].as_str().and_then(|text| crate::time::parse(text, gather.assume)).unwrap_or(last);
    let involved = if value["involvedObject"].is_object() { &value["involvedObject"] } else { &value["regarding"] };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let about =
        About { kind: text(&involved["kind"]), name: text(&involved["name"]), namespace: text(&involved["namespace"]) };
    let mut message = value["message"].as_str().or_else(|| value["note"].as_str()).unwrap_or_default().to_owned();
    crate::clean::cut(&mut message, MESSAGE_BYTES_MAX);
    let component = if about.name.is_empty() { None } else { component(gather, &about) };
    let source = place.source(gather.path());
    gather.event(Event {
        at_ms: last.at_ms,
        first_ms: first.at_ms,
        component,
        reason: text(&value["reason"]),
        message,
        count: value["count"]
            .as_u64()
            .or_else(|| value["series"]["count"].as_u64())
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(1),
        warning: value["type"].as_str() == Some("Warning"),
        source,
    });
}
