//! Alerts in whatever shape a monitor sends them, and the state of monitors.

use std::borrow::Cow;

use opsward_causes::case::{Alert, Event};

use crate::gather::{Gather, Named};
use crate::record::Record;
use crate::role::Role;

/// Longest text of an alert that is kept.
const TEXT_BYTES_MAX: usize = 4096;
/// Words of an alert that no longer asks for anything.
const QUIET: [&str; 9] = ["ok", "normal", "resolved", "inactive", "recovered", "closed", "green", "no data", "muted"];

/// True for the word of a monitor that is content.
fn is_quiet(word: &str) -> bool {
    QUIET.contains(&word.trim().to_ascii_lowercase().as_str())
}

/// Everything an alert says in sentences, each once.
fn words(record: &Record<'_>) -> String {
    let mut all = String::new();
    let told = [Role::Summary, Role::Message, Role::Description];
    let fields = told.iter().flat_map(|role| record.fields.iter().filter(move |field| field.role == Some(*role)));
    for text in fields.filter_map(|field| field.cell.text()) {
        let text = text.trim();
        if !text.is_empty() && !all.contains(text) {
            if !all.is_empty() {
                all.push_str(if all.ends_with(['.', '!', '?']) { " " } else { ". " });
            }
            all.push_str(text);
        }
    }
    all
}

/// Takes an alert. One that is over is kept beside those that fire.
pub(crate) fn take(gather: &mut Gather, record: &Record<'_>) -> bool {
    let text = |role| record.text(role).map(Cow::into_owned);
    let service = text(Role::Service).or_else(|| text(Role::Workload));
    let (pod, node) = (text(Role::Pod), text(Role::Node));
    let named = service.or(pod).or_else(|| text(Role::Container)).or(node).or_else(|| text(Role::Job));
    let component = named.and_then(|name| gather.whose(Named { service: Some(&name), ..Named::default() }));
    let mut summary = words(record);
    crate::clean::cut(&mut summary, TEXT_BYTES_MAX);
    let quiet =
        [Role::State, Role::Status].into_iter().filter_map(|role| record.text(role)).any(|word| is_quiet(&word));
    let fired_ms = record.time_of(&[Role::Fired, Role::Time, Role::Start, Role::Last], gather.assume);
    let metric = text(Role::Metric).or_else(|| text(Role::Rule)).or_else(|| text(Role::Name)).unwrap_or_default();
    let threshold = record.number(Role::Threshold);
    let observed = record.number(Role::Observed).or_else(|| record.number(Role::Value));
    gather.alerts.push((Alert { component, metric, fired_ms, threshold, observed, summary }, !quiet));
    gather.count("alerts", 1);
    true
}

/// Takes the state of a monitor; one that alarms is an event.
pub(super) fn monitor(gather: &mut Gather, record: &Record<'_>) -> bool {
    let (Some(name), Some(state)) = (record.text(Role::Name), record.text(Role::State)) else { return false };
    gather.count("monitors", 1);
    let (name, state) = (name.into_owned(), state.into_owned());
    let alarms = !is_quiet(&state);
    let message = record.text(Role::Message).unwrap_or_default().into_owned();
    if let (true, Some(at_ms)) = (alarms, record.time_of(&[Role::Fired, Role::Last, Role::Time], gather.assume)) {
        let named = record.text(Role::Service).or_else(|| record.text(Role::Pod)).map(Cow::into_owned);
        let component = named.and_then(|name| gather.component(&name));
        let source = gather.path().to_owned();
        gather.event(Event {
            at_ms,
            first_ms: at_ms,
            component,
            reason: "MonitorAlarms".to_owned(),
            message: format!("{name}: {message}"),
            count: 1,
            warning: true,
            source,
        });
    }
    gather.monitors.push(crate::Monitor { name, state, alarms, file: gather.path().to_owned() });
    true
}
