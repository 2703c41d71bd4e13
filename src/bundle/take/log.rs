//! Log records: the message without what stands around it, how bad it says it is, and what else it says that a
//! person would read.

use opsward_causes::case::{Level, LogLine};
use serde_json::Value;

use super::{Place, level, whose_or_else};
use crate::gather::{Gather, Named};
use crate::lines;
use crate::record::{Cell, Record};
use crate::role::{self, Role};

/// Longest further field that is kept with a message.
const MORE_BYTES_MAX: usize = 1024;
/// Parts of the names of fields that say why something failed.
const TELLING: [&str; 10] =
    ["stack", "error", "exception", "statement", "cause", "query", "backtrace", "peer", "panic", "detail"];

/// Takes a log record.
pub(super) fn take(gather: &mut Gather, record: &Record<'_>, place: Place<'_>) -> bool {
    let Some(text) = record.text(Role::Message) else { return false };
    let inner = lines::inner(&text, gather.assume);
    let said = record.time_of(&[Role::Time, Role::Start, Role::Last, Role::First], gather.assume);
    let Some(at_ms) = said.or(inner.at_ms) else { return false };
    let Some(component) = whose_or_else(gather, record, place)
        .or_else(|| gather.whose(Named { service: inner.service.as_deref(), ..Named::default() }))
    else {
        return false;
    };
    let own = record.text(Role::Level).or_else(|| record.text(Role::Status)).and_then(|word| level(&word));
    let mut message = inner.message;
    more(record, &mut message);
    gather.line(LogLine {
        at_ms,
        component,
        level: own.or(inner.level).unwrap_or_default(),
        message,
        trace: record.text(Role::Trace).map(|id| id.into_owned()).filter(|id| !id.is_empty()),
        source: (gather.file_number(), place.line + u32::from(place.entry)),
    });
    true
}

/// Adds fields that tell of a failure.
fn more(record: &Record<'_>, message: &mut String) {
    for field in &record.fields {
        let name = role::plain(field.name);
        let tells = TELLING.iter().any(|part| name.contains(part));
        let status = field.role == Some(Role::StatusCode) && field.cell.number().is_some_and(|code| code >= 500.0);
        if !(tells || status) || matches!(field.cell, Cell::Json(Value::Bool(_) | Value::Object(_) | Value::Array(_))) {
            continue;
        }
        let Some(text) = field.cell.text().filter(|text| !text.is_empty() && !message.contains(text.as_ref())) else {
            continue;
        };
        let mut text = text.into_owned();
        crate::clean::cut(&mut text, MORE_BYTES_MAX);
        message.push_str(&format!(" {}={text}", field.name));
    }
}

/// Takes the text of a container's log inside a record.
pub(super) fn container(gather: &mut Gather, record: &Record<'_>, place: Place<'_>) -> bool {
    let Some(text) = record.text(Role::Lines) else { return false };
    let pod = record.text(Role::Pod).or_else(|| record.text(Role::Name));
    let space = record.text(Role::Namespace);
    let container = record.text(Role::Container);
    let whose = lines::Whose {
        pod: pod.map(|pod| pod.into_owned()),
        namespace: space.map(|space| space.into_owned()),
        container: container.map(|container| container.into_owned()),
        service: record.text(Role::Service).map(|service| service.into_owned()).or(place.service.map(str::to_owned)),
    };
    lines::read(gather, text.as_bytes(), &whose);
    true
}

/// The severity of a text that says it in its first words, as crashes do.
pub(crate) fn spoken_level(message: &str) -> Option<Level> {
    let start: String = message.chars().take(24).collect::<String>().to_ascii_lowercase();
    if start.starts_with("panic:") || start.starts_with("fatal") {
        return Some(Level::Fatal);
    }
    (start.starts_with("traceback (most") || start.starts_with("exception in") || start.starts_with("error:"))
        .then_some(Level::Error)
}
