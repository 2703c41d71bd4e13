//! Everything that was read so far, on its way to a case: names become components, samples become series. Every
//! list has a bound, and what a bound or a fault cost is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use opsward_analyzers::objects::{Collection, Gap, LogTail};
use opsward_causes::case::{
    Alert, Call, Case, Change, Component, ComponentId, Event, LogLine, Pattern, Series, Span, TimeMs,
};
use serde::Serialize;

use crate::names;
use crate::time::Assume;

/// Longest name of a component, metric or change.
const NAME_CHARS_MAX: usize = 256;
/// Problems of one file that are told one by one.
const PROBLEMS_A_FILE_MAX: usize = 5;
/// Problems altogether.
const PROBLEMS_MAX: usize = 200;

/// Bounds of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Components.
    pub components_max: usize,
    /// Series.
    pub series_max: usize,
    /// Samples of all series together.
    pub points_max: usize,
    /// Log lines.
    pub lines_max: usize,
    /// Bytes of one message; the rest is cut.
    pub message_bytes_max: usize,
    /// Bytes of all messages together.
    pub messages_bytes_max: usize,
    /// Spans.
    pub spans_max: usize,
    /// Changes, events and patterns, each.
    pub records_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            components_max: 20_000,
            series_max: 200_000,
            points_max: 20_000_000,
            lines_max: 2_000_000,
            message_bytes_max: 4096,
            messages_bytes_max: 512 << 20,
            spans_max: 2_000_000,
            records_max: 100_000,
        }
    }
}

/// Something in a file that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 where the whole file is meant.
    pub line: u32,
    /// What is wrong, and what was expected.
    pub what: String,
}

/// A file that was looked at, and what it held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// The file.
    pub file: String,
    /// How many of what.
    pub held: BTreeMap<&'static str, u64>,
}

/// How a component is named by a record.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Named<'a> {
    pub(crate) service: Option<&'a str>,
    pub(crate) pod: Option<&'a str>,
    pub(crate) node: Option<&'a str>,
}

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    pub(crate) bounds: Bounds,
    pub(crate) case: Case,
    pub(crate) collection: Collection,
    pub(crate) files: Vec<String>,
    pub(crate) looked: Vec<Looked>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) rename: BTreeMap<String, String>,
    pub(crate) assume: Assume,
    /// Alerts in the order they were read; the case keeps the one that fires.
    pub(crate) alerts: Vec<(Alert, bool)>,
    /// States of monitors.
    pub(crate) monitors: Vec<crate::Monitor>,
    /// Containers of pods: by pod, namespace and names.
    pub(crate) containers: BTreeMap<String, (String, Vec<String>)>,
    /// Ends of containers' logs: namespace, pod, container.
    pub(crate) tails: Vec<(String, String, String, LogTail)>,
    /// Workloads that summaries name, with how many replicas they want and have: namespace, name.
    pub(crate) workloads: BTreeMap<(String, String), (i64, i64)>,
    /// Replica sets that were given as objects: namespace, name.
    pub(crate) sets: BTreeSet<(String, String)>,
    /// Kubernetes objects that events name: kind, namespace, name.
    pub(crate) mentioned: BTreeSet<(String, String, String)>,
    places: HashMap<String, ComponentId>,
    series: HashMap<(ComponentId, String, String), usize>,
    calls: BTreeSet<Call>,
    points: usize,
    message_bytes: usize,
    left_out: BTreeMap<&'static str, u64>,
    held: BTreeMap<&'static str, u64>,
    file: usize,
    problems_here: usize,
}

impl Gather {
    /// Nothing yet.
    pub(crate) fn new(bounds: Bounds, rename: BTreeMap<String, String>, assume: Assume) -> Self {
        Self { bounds, rename, assume, ..Self::default() }
    }

    /// Begins a file.
    pub(crate) fn begin(&mut self, path: &str) {
        self.file = self.files.len();
        self.files.push(path.to_owned());
        self.held.clear();
        self.problems_here = 0;
    }

    /// Ends a file; true if it held anything.
    pub(crate) fn end(&mut self) -> bool {
        let held = std::mem::take(&mut self.held);
        if self.problems_here > PROBLEMS_A_FILE_MAX {
            let more = self.problems_here - PROBLEMS_A_FILE_MAX;
            self.push_problem(0, format!("and {more} more like these"));
        }
        let some = !held.is_empty();
        if some {
            self.looked.push(Looked { file: self.path().to_owned(), held });
        }
        some
    }

    /// The file that is read.
    pub(crate) fn path(&self) -> &str {
        self.files.get(self.file).map_or("", String::as_str)
    }

    /// Its number.
    pub(crate) fn file_number(&self) -> u32 {
        u32::try_from(self.file).unwrap_or(u32::MAX)
    }

    /// Counts what a file held.
    pub(crate) fn count(&mut self, word: &'static str, number: usize) {
        *self.held.entry(word).or_default() += number as u64;
    }

    /// Tells of something wrong in the file that is read.
    pub(crate) fn problem(&mut self, line: u32, what: impl Into<String>) {
        self.problems_here += 1;
        if self.problems_here <= PROBLEMS_A_FILE_MAX {
            self.push_problem(line, what.into());
        }
    }

    fn push_problem(&mut self, line: u32, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { file: self.path().to_owned(), line, what });
        }
    }

    /// Tells of something that was not looked at.
    pub(crate) fn gap(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        self.gaps.push(Gap { what: what.into(), reason: reason.into() });
    }

    fn leave_out(&mut self, word: &'static str) {
        *self.left_out.entry(word).or_default() += 1;
    }

    /// The component of this name, new or known.
    pub(crate) fn component(&mut self, name: &str) -> Option<ComponentId> {
        let name = name.trim();
        if name.is_empty() {
            return None;
        }
        let name = self.rename.get(name).map_or(name, String::as_str);
        if let Some(id) = self.places.get(name) {
            return Some(*id);
        }
        let name: String = name.chars().take(NAME_CHARS_MAX).collect();
        if let Some(id) = self.places.get(&name) {
            return Some(*id);
        }
        if self.case.components.len() >= self.bounds.components_max {
            self.leave_out("components");
            return None;
        }
        let id = ComponentId(u32::try_from(self.case.components.len()).unwrap_or(u32::MAX));
        self.case.components.push(Component { name: name.clone(), service: None, node: None });
        self.places.insert(name, id);
        Some(id)
    }

    /// The component that a record names: the replica if it says one, else the service.
    pub(crate) fn whose(&mut self, named: Named<'_>) -> Option<ComponentId> {
        let said = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let (pod, service) = (said(named.pod), said(named.service));
        let Some(pod) = pod else {
            let id = self.component(&service?)?;
            self.place_on(id, named.node);
            return Some(id);
        };
        let id = self.component(&pod)?;
        let known = self.case.components[id.0 as usize].service.is_some();
        let owner =
            service.filter(|service| *service != pod).or_else(|| names::workload_of_pod(&pod).map(str::to_owned));
        if let (false, Some(owner)) = (known, owner) {
            let owner = self.component(&owner);
            self.belong(id, owner);
        }
        self.place_on(id, named.node);
        Some(id)
    }

    /// Notes that a replica belongs to a service.
    pub(crate) fn belong(&mut self, id: ComponentId, owner: Option<ComponentId>) {
        let owned = owner.filter(|owner| *owner != id && self.case.components[owner.0 as usize].service.is_none());
        let component = &mut self.case.components[id.0 as usize];
        component.service = component.service.or(owned);
    }

    /// Notes the machine of a component.
    pub(crate) fn place_on(&mut self, id: ComponentId, node: Option<&str>) {
        let component = &mut self.case.components[id.0 as usize];
        if let (None, Some(node)) = (&component.node, node.map(str::trim).filter(|node| !node.is_empty())) {
            component.node = Some(node.chars().take(NAME_CHARS_MAX).collect());
        }
    }

    /// Adds a sample.
    pub(crate) fn sample(&mut self, component: ComponentId, name: &str, unit: &str, at_ms: TimeMs, value: f64) {
        let Some(place) = self.series(component, name, unit) else { return };
        self.point(place, at_ms, value);
    }

    /// The place of a series, new or known.
    pub(crate) fn series(&mut self, component: ComponentId, name: &str, unit: &str) -> Option<usize> {
        let name: String = name.trim().chars().take(NAME_CHARS_MAX).collect();
        let key = (component, name, unit.trim().to_owned());
        if let Some(place) = self.series.get(&key) {
            return Some(*place);
        }
        if self.case.metrics.len() >= self.bounds.series_max || key.1.is_empty() {
            self.leave_out("series");
            return None;
        }
        let place = self.case.metrics.len();
        let owner = &self.case.components[component.0 as usize].name;
        let source = format!("{}: {owner} {}", self.path(), key.1);
        let (name, unit) = (key.1.clone(), key.2.clone());
        self.case.metrics.push(Series { source, component, name, unit, points: Vec::new() });
        self.series.insert(key, place);
        Some(place)
    }

    /// Adds a sample to a series; a value that is no number is a gap.
    pub(crate) fn point(&mut self, place: usize, at_ms: TimeMs, value: f64) {
        if !value.is_finite() {
            self.count("gaps in metrics", 1);
            return;
        }
        if self.points >= self.bounds.points_max {
            self.leave_out("metric samples");
            return;
        }
        self.points += 1;
        self.case.metrics[place].points.push((at_ms, value));
        self.count("metric samples", 1);
    }

    /// Adds a log line; the message is made fit to be read.
    pub(crate) fn line(&mut self, mut line: LogLine) {
        crate::clean::cut(&mut line.message, self.bounds.message_bytes_max);
        if self.case.logs.len() >= self.bounds.lines_max || self.message_bytes >= self.bounds.messages_bytes_max {
            self.leave_out("log lines");
            return;
        }
        self.message_bytes += line.message.len();
        self.case.logs.push(line);
        self.count("log lines", 1);
    }

    /// Adds to the last line of the same file what continues it.
    pub(crate) fn continue_line(&mut self, text: &str) -> bool {
        let file = self.file_number();
        let most = self.bounds.message_bytes_max;
        let Some(last) = self.case.logs.last_mut().filter(|last| last.source.0 == file) else { return false };
        if last.message.len() + text.len() < most {
            last.message.push('\n');
            last.message.push_str(text);
            self.message_bytes += text.len() + 1;
        }
        true
    }

    /// Adds a span.
    pub(crate) fn span(&mut self, span: Span) {
        if self.case.spans.len() >= self.bounds.spans_max {
            self.leave_out("spans");
            return;
        }
        self.case.spans.push(span);
        self.count("spans", 1);
    }

    /// Adds a call.
    pub(crate) fn call(&mut self, caller: ComponentId, callee: ComponentId) {
        if caller != callee && self.calls.len() < self.bounds.records_max {
            self.calls.insert(Call { caller, callee });
            self.count("calls", 1);
        }
    }

    /// Adds a change.
    pub(crate) fn change(&mut self, change: Change, word: &'static str) {
        if self.case.changes.len() >= self.bounds.records_max {
            self.leave_out("changes");
            return;
        }
        self.case.changes.push(change);
        self.count(word, 1);
    }

    /// Adds an event.
    pub(crate) fn event(&mut self, event: Event) {
        if self.case.events.len() >= self.bounds.records_max {
            self.leave_out("events");
            return;
        }
        self.case.events.push(event);
        self.count("events", 1);
    }

    /// Adds a pattern.
    pub(crate) fn pattern(&mut self, pattern: Pattern) {
        if self.case.patterns.len() >= self.bounds.records_max {
            self.leave_out("patterns");
            return;
        }
        self.case.patterns.push(pattern);
        self.count("log patterns", 1);
    }

    /// Sorts everything, and says what the bounds cost.
    pub(crate) fn finish(&mut self) {
        for (word, number) in std::mem::take(&mut self.left_out) {
            self.gap(format!("{number} {word}"), "more than the bound of this kind");
        }
        let replicas: Vec<(usize, String)> = self
            .case
            .components
            .iter()
            .enumerate()
            .filter(|(_, component)| component.service.is_none())
            .filter_map(|(place, component)| Some((place, names::workload_of_pod(&component.name)?.to_owned())))
            .collect();
        for (place, owner) in replicas {
            // A name that only looks like a replica's counts as one where its service is known by itself.
            if let Some(owner) = self.places.get(&owner).copied() {
                self.belong(ComponentId(u32::try_from(place).unwrap_or(u32::MAX)), Some(owner));
            }
        }
        for series in &mut self.case.metrics {
            series.points.sort_by_key(|(at_ms, _)| *at_ms);
            series.points.dedup_by_key(|(at_ms, _)| *at_ms);
        }
        self.case.metrics.retain(|series| !series.points.is_empty());
        self.case.logs.sort_by_key(|line| (line.at_ms, line.source));
        self.case.spans.sort_by(|a, b| (a.start_ms, &a.trace, &a.id).cmp(&(b.start_ms, &b.trace, &b.id)));
        self.case.changes.sort_by(|a, b| (a.at_ms, a.kind, &a.id).cmp(&(b.at_ms, b.kind, &b.id)));
        self.case.events.sort_by(|a, b| (a.at_ms, &a.reason).cmp(&(b.at_ms, &b.reason)));
        self.case.calls = self.calls.iter().copied().collect();
        let alerts = std::mem::take(&mut self.alerts);
        let firing = alerts.iter().position(|(_, firing)| *firing);
        self.case.alert = firing
            .or(if alerts.is_empty() { None } else { Some(0) })
            .and_then(|place| alerts.into_iter().nth(place))
            .map(|(alert, _)| alert);
    }
}
