//! Spans of any tracer: ids, whose, when, how long, and whether they failed.

use std::collections::HashMap;

use opsward_causes::case::{Level, LogLine, Span};

use super::{Place, whose_or_else};
use crate::gather::Gather;
use crate::record::Record;
use crate::role::{self, Role};
use crate::time;

/// Ways to say that a span has no parent.
const ROOTS: [&str; 8] = ["", "root", "null", "none", "nil", "-1", "0", "-"];
/// Longest span that is believed: a week.
const DURATION_US_MAX: f64 = 7.0 * 86_400.0 * 1e6;

/// Takes a span.
pub(super) fn take(gather: &mut Gather, record: &Record<'_>, place: Place<'_>) -> bool {
    let (Some(trace), Some(id)) = (record.text(Role::Trace), record.text(Role::Span).or_else(|| record.text(Role::Id)))
    else {
        return false;
    };
    let started = if record.has(Role::Start) { Role::Start } else { Role::Time };
    let Some(start_ms) = record.time(started, gather.assume) else { return false };
    let Some(component) = whose_or_else(gather, record, place) else { return false };
    let Some(duration_us) = duration_us(record, started, gather, place) else { return false };
    let parent = record.text(Role::Parent).map(|parent| parent.trim().to_owned());
    let parent = parent
        .filter(|parent| !ROOTS.contains(&parent.to_ascii_lowercase().as_str()) && parent.bytes().any(|b| b != b'0'));
    let operation = record.text(Role::Name).or_else(|| record.text(Role::Operation)).unwrap_or_default();
    let failed = failed(record);
    let error = record.text(Role::Error).filter(|text| {
        failed && text.contains(|c: char| c.is_alphabetic()) && !matches!(text.as_ref(), "true" | "false")
    });
    if let Some(error) = error {
        gather.line(LogLine {
            at_ms: start_ms + i64::try_from(duration_us / 1000).unwrap_or(0),
            component,
            level: Level::Error,
            message: error.into_owned(),
            trace: Some(trace.to_string()),
            source: (gather.file_number(), place.line + u32::from(place.entry)),
        });
    }
    let mut operation = operation.into_owned();
    crate::clean::cut(&mut operation, 512);
    gather.span(Span {
        trace: trace.into_owned(),
        id: id.into_owned(),
        parent,
        component,
        operation,
        start_ms,
        duration_us,
        failed,
    });
    true
}

/// How long: from start and end where both are told, else by the unit in the field's name, else in the unit that
/// the start is counted in.
fn duration_us(record: &Record<'_>, started: Role, gather: &mut Gather, place: Place<'_>) -> Option<u64> {
    let exact = |role| -> Option<f64> {
        let field = record.field(role)?;
        let number = field.cell.number()?;
        Some(number * role::unit_us(field.name).or_else(|| time::epoch_unit_us(number))?)
    };
    let us = match (exact(started), exact(Role::End)) {
        (Some(start), Some(end)) => end - start,
        _ => match record.field(Role::Duration) {
            Some(field) => {
                let number = field.cell.number()?;
                let start = record.field(started).and_then(|start| start.cell.number());
                number * role::unit_us(field.name).or_else(|| start.and_then(time::epoch_unit_us)).unwrap_or(1e3)
            }
            None => {
                let start = record.time(started, gather.assume)?;
                (record.time(Role::End, gather.assume)? - start) as f64 * 1e3
            }
        },
    };
    if !(0.0..=DURATION_US_MAX).contains(&us) {
        gather.problem(place.line, format!("a span of {us} microseconds: expected 0 to a week; taken as 0"));
        return Some(0);
    }
    Some(us.round() as u64)
}

fn failed(record: &Record<'_>) -> bool {
    let word = record.text(Role::Status).unwrap_or_default().to_ascii_lowercase();
    let status = match word.as_str() {
        "error" | "failed" | "failure" | "status_code_error" | "internal" | "unavailable" | "deadline_exceeded"
        | "timeout" => true,
        "2" => record.field(Role::Status).is_some_and(|field| role::plain(field.name).ends_with("code")),
        "false" => record.field(Role::Status).is_some_and(|field| role::plain(field.name) == "success"),
        code => code.parse::<u32>().is_ok_and(|code| (500..600).contains(&code)),
    };
    let error =
        record.text(Role::Error).is_some_and(|text| !matches!(text.trim(), "" | "false" | "0" | "null" | "none"));
    let code = record.number(Role::StatusCode).is_some_and(|code| (500.0..600.0).contains(&code));
    status || error || code
}

/// Gives spans whose parent is in no span of their own trace the trace of the nearest earlier span of that id:
/// some exporters write a placeholder instead of repeating the trace. Spans are in the order of their file.
pub(crate) fn mend(spans: &mut [Span]) {
    let known: std::collections::HashSet<(String, String)> =
        spans.iter().map(|span| (span.trace.clone(), span.id.clone())).collect();
    let per_trace = spans.iter().fold(HashMap::<&str, usize>::new(), |mut count, span| {
        *count.entry(span.trace.as_str()).or_default() += 1;
        count
    });
    // A trace that no span is the root of is a placeholder; a real one misses its root rarely and alone.
    let rooted: std::collections::HashSet<String> =
        spans.iter().filter(|span| span.parent.is_none()).map(|span| span.trace.clone()).collect();
    let loose: Vec<bool> =
        spans.iter().map(|span| !rooted.contains(&span.trace) && per_trace[span.trace.as_str()] > 0).collect();
    let mut latest: HashMap<String, String> = HashMap::new();
    for (span, loose) in spans.iter_mut().zip(loose) {
        if let (true, Some(parent)) = (loose, &span.parent) {
            let absent = !known.contains(&(span.trace.clone(), parent.clone()));
            if let Some(trace) = latest.get(parent)
                && (absent || *trace != span.trace)
            {
                span.trace.clone_from(trace);
            }
        }
        latest.insert(span.id.clone(), span.trace.clone());
    }
}

#[cfg(test)]
mod tests {
    use opsward_causes::case::ComponentId;

    use super::*;

    fn span(trace: &str, id: &str, parent: Option<&str>) -> Span {
        Span {
            trace: trace.into(),
            id: id.into(),
            parent: parent.map(str::to_owned),
            component: ComponentId(0),
            operation: String::new(),
            start_ms: 0,
            duration_us: 0,
            failed: false,
        }
    }

    #[test]
    fn placeholders_get_the_trace_of_their_parent() {
        let mut spans = [
            span("t1", "a", None),
            span("same", "b", Some("a")),
            span("same", "c", Some("b")),
            span("t2", "a", None),
            span("same", "b", Some("a")),
            span("t3", "x", Some("gone")),
        ];
        mend(&mut spans);
        let traces: Vec<&str> = spans.iter().map(|span| span.trace.as_str()).collect();
        assert_eq!(traces, ["t1", "t1", "t1", "t2", "t2", "t3"]);
    }
}
