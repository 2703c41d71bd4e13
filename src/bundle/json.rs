//! JSON documents: known envelopes are opened, and every list and object inside is looked at for records. What is
//! none is left, and counted.

use serde_json::{Map, Value, json};

use crate::gather::{Gather, Named};
use crate::kind::Kind;
use crate::record::Record;
use crate::role::{self, Role};
use crate::take::{self, Place};

/// Lists and objects inside each other that are opened.
const DEPTH_MAX: usize = 6;

/// Looks through a document. `place` is the file's name without its end.
pub(crate) fn document(gather: &mut Gather, value: &Value, list: &str, service: Option<&str>, kind: Option<Kind>) {
    let place = Place { list, line: 0, entry: true, service, pod: None };
    let unknown = walk(gather, value, place, kind, 0);
    if unknown > 0 && !value.is_object() {
        gather.problem(0, format!("{unknown} entries of no known shape"));
    }
}

/// Takes one object of a line; false if it is no record.
pub(crate) fn one(gather: &mut Gather, value: &Value, place: Place<'_>) -> bool {
    if envelope(gather, value, place) {
        return true;
    }
    let record = Record::of_json(value);
    Kind::of(&record, place.list).is_some_and(|kind| take::take(gather, &record, kind, place))
}

/// Returns how many objects were of no known shape.
fn walk(gather: &mut Gather, value: &Value, place: Place<'_>, kind: Option<Kind>, depth: usize) -> usize {
    if depth > DEPTH_MAX {
        return 1;
    }
    match value {
        Value::Array(list) => {
            let mut unknown = 0;
            for (number, entry) in list.iter().enumerate() {
                let line = u32::try_from(number).unwrap_or(u32::MAX);
                unknown += walk(gather, entry, Place { line, ..place }, kind, depth + 1);
            }
            unknown
        }
        Value::Object(object) => {
            if envelope(gather, value, place) || neighbours(gather, object, place.list) {
                return 0;
            }
            let record = Record::of_json(value);
            if let Some(kind) = kind.or_else(|| Kind::of(&record, place.list))
                && take::take(gather, &record, kind, place)
            {
                return 0;
            }
            if none_listed(gather, object) {
                return 0;
            }
            let inner = object.iter().filter(|(_, inner)| matches!(inner, Value::Array(_) | Value::Object(_)));
            let mut some = false;
            let mut unknown = 0;
            for (name, inner) in inner {
                some = true;
                unknown += walk(gather, inner, Place { list: name, ..place }, kind, depth + 1);
            }
            if some { unknown } else { 1 }
        }
        _ => 0,
    }
}

/// Opens what tools wrap around records; true if it was one of theirs.
fn envelope(gather: &mut Gather, value: &Value, place: Place<'_>) -> bool {
    let Value::Object(object) = value else { return false };
    let list = |names: &[&str]| names.iter().find_map(|name| object.get(*name).and_then(Value::as_array));
    if let Some(groups) = list(&["resourceSpans", "resource_spans", "batches"]) {
        telemetry(gather, groups, &["scopeSpans", "instrumentationLibrarySpans", "scope_spans"], &["spans"], place);
        return true;
    }
    if let Some(groups) = list(&["resourceLogs", "resource_logs"]) {
        telemetry(gather, groups, &["scopeLogs", "scope_logs"], &["logRecords", "log_records"], place);
        return true;
    }
    if let Some(groups) = list(&["resourceMetrics", "resource_metrics"]) {
        telemetry(gather, groups, &["scopeMetrics", "scope_metrics"], &["metrics"], place);
        return true;
    }
    if let Some(alerts) =
        list(&["alerts"]).filter(|_| object.contains_key("commonLabels") || object.contains_key("receiver"))
    {
        webhook(gather, object, alerts);
        return true;
    }
    if let (Some(spans), Some(processes)) =
        (list(&["spans"]), object.get("processes").filter(|value| value.is_object()))
    {
        jaeger(gather, spans, processes, place);
        return true;
    }
    if let Some(series) = list(&["result"]).filter(|series| {
        series
            .first()
            .is_none_or(|one| one["metric"].is_object() && (one["values"].is_array() || one["value"].is_array()))
    }) {
        prometheus(gather, series, place);
        return true;
    }
    if value["kind"].is_string() && (value["apiVersion"].is_string() || value["metadata"].is_object()) {
        crate::kubernetes::object(gather, value, place);
        return true;
    }
    if object.contains_key("dimensions") || !value["commonLabels"].is_object() && !value["labels"].is_object() {
        return false;
    }
    let record = Record::of_json(value);
    let alert = record.has(Role::Rule) || record.has(Role::Fired) || crate::kind::alert_score(&record) >= 3;
    alert && !record.has(Role::Trace) && !record.has(Role::Message) && take::alert::take(gather, &record)
}

/// Alertmanager: each alert with the labels that all share.
fn webhook(gather: &mut Gather, object: &Map<String, Value>, alerts: &[Value]) {
    for alert in alerts {
        let mut merged = alert.clone();
        for (common, own) in [("commonLabels", "labels"), ("commonAnnotations", "annotations")] {
            let shared = object.get(common).and_then(Value::as_object).into_iter().flatten();
            for (name, value) in shared {
                if !merged[own].is_object() {
                    merged[own] = json!({});
                }
                if merged[own][name].is_null() {
                    merged[own][name] = value.clone();
                }
            }
        }
        take::alert::take(gather, &Record::of_json(&merged));
    }
}

/// An object that only says that there are none: `{"events": []}`.
fn none_listed(gather: &mut Gather, object: &Map<String, Value>) -> bool {
    let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    if object.is_empty() || !object.values().all(empty) {
        return false;
    }
    for name in object.keys().map(|name| role::plain(name)) {
        for (word, kind) in [("events", "Event"), ("pods", "Pod"), ("nodes", "Node"), ("deployments", "Deployment")] {
            if name.ends_with(word) {
                gather.collection.note_listed(kind, None);
            }
        }
    }
    gather.count("empty lists", object.len());
    true
}

/// A map of names to lists of names, such as a graph is often written: `{"web": ["cart", "db"]}`.
fn neighbours(gather: &mut Gather, object: &Map<String, Value>, list: &str) -> bool {
    let place = role::plain(list);
    let graph = ["topology", "graph", "depend", "calls", "adjacency", "edges"].iter().any(|word| place.contains(word));
    let names = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    if !graph || object.is_empty() || !object.values().all(names) {
        return false;
    }
    for (caller, callees) in object {
        let Some(caller) = gather.component(caller) else { continue };
        for callee in callees.as_array().into_iter().flatten().filter_map(Value::as_str) {
            if let Some(callee) = gather.component(callee) {
                gather.call(caller, callee);
            }
        }
    }
    true
}

/// `[{"key": "service.name", "value": {"stringValue": "web"}}]` as a map.
fn attributes(list: &Value, into: &mut Map<String, Value>) {
    for attribute in list.as_array().into_iter().flatten() {
        let inner = attribute["value"].as_object().and_then(|value| value.values().next());
        if let (Some(name), Some(value)) = (attribute["key"].as_str(), inner) {
            into.entry(name.to_owned()).or_insert_with(|| value.clone());
        }
    }
}

/// OpenTelemetry: what a resource says holds for everything inside.
fn telemetry(gather: &mut Gather, groups: &[Value], scopes: &[&str], lists: &[&str], place: Place<'_>) {
    for group in groups {
        let mut resource = Map::new();
        attributes(&group["resource"]["attributes"], &mut resource);
        let scoped = scopes.iter().find_map(|name| group[*name].as_array()).into_iter().flatten();
        let records =
            scoped.flat_map(|scope| lists.iter().find_map(|name| scope[*name].as_array()).into_iter().flatten());
        for (number, record) in records.enumerate() {
            let place = Place { line: u32::try_from(number).unwrap_or(u32::MAX), ..place };
            if lists[0] == "metrics" {
                points(gather, record, &resource);
            } else {
                signal(gather, record, &resource, place);
            }
        }
    }
}

/// A span or a log record of OpenTelemetry.
fn signal(gather: &mut Gather, record: &Value, resource: &Map<String, Value>, place: Place<'_>) {
    let mut merged = record.as_object().cloned().unwrap_or_default();
    attributes(&record["attributes"], &mut merged);
    merged.remove("attributes");
    let events = merged.remove("events");
    if let Some(body) = record["body"].as_object().and_then(|body| body.values().next()) {
        merged.insert("body".to_owned(), body.clone());
    }
    if let Value::Object(status) = &record["status"] {
        let code = status.get("code").cloned().unwrap_or_default();
        merged.insert("status".to_owned(), Value::Null);
        merged.insert("statusCode".to_owned(), code);
        if let Some(message) = status.get("message") {
            merged.insert("statusMessage".to_owned(), message.clone());
        }
    }
    let thrown =
        events.as_ref().and_then(Value::as_array).into_iter().flatten().find(|event| event["name"] == "exception");
    if let Some(thrown) = thrown {
        attributes(&thrown["attributes"], &mut merged);
    }
    for (name, value) in resource {
        merged.entry(name.clone()).or_insert_with(|| value.clone());
    }
    if !one(gather, &Value::Object(merged), place) {
        gather.problem(place.line, "an OpenTelemetry record without a time or without service.name");
    }
}

/// A metric of OpenTelemetry.
fn points(gather: &mut Gather, metric: &Value, resource: &Map<String, Value>) {
    let owner = Value::Object(resource.clone());
    let record = Record::of_json(&owner);
    let place = Place { list: "", line: 0, entry: true, service: None, pod: None };
    let Some(component) = take::whose_or_else(gather, &record, place) else { return };
    let name = metric["name"].as_str().unwrap_or_default();
    let unit = metric["unit"].as_str().unwrap_or_default();
    for kind in ["gauge", "sum"] {
        for point in metric[kind]["dataPoints"].as_array().into_iter().flatten() {
            let value = point["asDouble"].as_f64().or_else(|| point["asInt"].as_f64());
            let value = value.or_else(|| point["asInt"].as_str().and_then(|text| text.parse().ok()));
            let record = Record::of_json(point);
            if let (Some(value), Some(at_ms)) = (value, record.time(Role::Time, gather.assume)) {
                gather.sample(component, name, unit, at_ms, value);
            }
        }
    }
}

/// Jaeger: spans name a process, processes are listed beside them.
fn jaeger(gather: &mut Gather, spans: &[Value], processes: &Value, place: Place<'_>) {
    for (number, span) in spans.iter().enumerate() {
        let mut merged = span.as_object().cloned().unwrap_or_default();
        let process = span["processID"].as_str().map_or(&Value::Null, |id| &processes[id]);
        merged.insert("serviceName".to_owned(), process["serviceName"].clone());
        let parent = span["references"].as_array().into_iter().flatten().find(|to| to["refType"] != "FOLLOWS_FROM");
        if let Some(parent) = parent {
            merged.insert("parentSpanId".to_owned(), parent["spanID"].clone());
        }
        for tag in span["tags"].as_array().into_iter().flatten() {
            if let (Some("error" | "http.status_code" | "otel.status_code"), false) =
                (tag["key"].as_str(), tag["value"].is_null())
            {
                merged.insert(tag["key"].as_str().unwrap_or_default().to_owned(), tag["value"].clone());
            }
        }
        for name in ["references", "tags", "logs", "process", "flags", "warnings"] {
            merged.remove(name);
        }
        let place = Place { line: u32::try_from(number).unwrap_or(u32::MAX), ..place };
        if !one(gather, &Value::Object(merged), place) {
            gather.problem(place.line, "a span without trace, span id, start or service");
        }
    }
}

/// A range or instant query of Prometheus.
fn prometheus(gather: &mut Gather, series: &[Value], place: Place<'_>) {
    for one in series {
        let record = Record::of_json(&one["metric"]);
        let Some(component) = take::whose_or_else(gather, &record, place)
            .or_else(|| gather.whose(Named { service: place.service, ..Named::default() }))
        else {
            gather.problem(0, "a series whose labels name no pod, service, job or instance");
            continue;
        };
        let name = one["metric"]["__name__"].as_str().unwrap_or(place.list);
        let told = |field: &&crate::record::Field<'_>| {
            !matches!(
                field.role,
                Some(
                    Role::Service
                        | Role::Pod
                        | Role::Workload
                        | Role::Namespace
                        | Role::Node
                        | Role::Job
                        | Role::Container
                )
            ) && field.name != "__name__"
        };
        let labels: Vec<String> = record
            .fields
            .iter()
            .filter(told)
            .filter_map(|field| Some(format!("{}={}", field.name, field.cell.text()?)))
            .collect();
        let Some(place) = gather.series(component, name, &labels.join(",")) else { continue };
        let single = one["value"].as_array().map(|_| &one["value"]);
        for point in one["values"].as_array().into_iter().flatten().chain(single) {
            let at_ms = point[0].as_f64().and_then(crate::time::epoch);
            let value = point[1].as_str().and_then(|text| text.parse().ok()).or_else(|| point[1].as_f64());
            match (at_ms, value) {
                (Some(at_ms), Some(value)) => gather.point(place, at_ms, value),
                _ => gather.problem(0, "a sample that is not [time, \"value\"]"),
            }
        }
    }
}
