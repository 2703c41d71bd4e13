//! Requests as they went: spans of one component under one incoming call are an *instance*; its log lines belong to it.
//! What instances of one operation do and how long they take is compared with the same operation in quiet, so that a
//! different mix of requests is no news, and whoever merely waits for another is told from whoever is late itself.

mod behaviour;
mod times;

use std::collections::{BTreeMap, HashMap};

use crate::case::{ComponentId, Span, TimeMs};
use crate::checked::Checked;
use crate::frame::Frame;
use crate::logs::{Mined, When, part};
use crate::signal::Signal;
use crate::words::Aspect;

/// Deepest nesting that is followed.
const DEPTH_MAX: usize = 128;
/// Words without digits that a line's beginning has.
const HEAD_WORDS: usize = 5;
/// Fewest instances on either side for requests to outrank metrics.
const COMPARED_MIN: usize = 100;
/// A parent named without its trace must have begun this close to its child.
const KIN_MS: i64 = 60_000;

/// One incoming call of one component, with all it did for it.
pub(crate) struct Instance {
    /// Component and operation, as one number.
    pub group: u32,
    /// Whose.
    pub component: ComponentId,
    /// In the incident, in quiet, or neither.
    pub when: When,
    /// Its first span, in [`Checked::spans`].
    pub span: u32,
    /// The instance that called.
    pub caller: Option<u32>,
    /// How long, in microseconds.
    pub total_us: f64,
    /// Without what it waited for others.
    pub own_us: f64,
    /// How much longer the caller waited than this worked.
    pub wire_us: Option<f64>,
    /// What happened in it, each once, sorted.
    pub events: Vec<u32>,
    /// How often it called other components.
    pub calls: u32,
}

/// Something an instance can do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Deed {
    /// A span of its own.
    Span(String),
    /// A call to a component's operation.
    Call(ComponentId, String),
    /// A log pattern.
    Line(u32),
    /// A log line that begins like this, whatever lists and values it goes on with.
    Begins(String),
    /// The span says that it failed.
    Failed,
}

/// All instances, and what they do.
pub(crate) struct Requests {
    /// In order of their first span.
    pub instances: Vec<Instance>,
    /// Component and operation of each group.
    pub groups: Vec<(ComponentId, String)>,
    /// What the events mean.
    pub deeds: Vec<Deed>,
}

/// What the traces say.
pub(crate) struct Traced {
    /// In the common currency.
    pub signals: Vec<Signal>,
    /// Who calls whom, and how often.
    pub calls: BTreeMap<(ComponentId, ComponentId), u32>,
    /// Lines that an instance accounts for.
    pub judged: Vec<bool>,
    /// Whether there were spans in the incident, and in quiet.
    pub seen: (bool, bool),
    /// Whether there were enough of both to compare operations.
    pub compared: bool,
}

/// What metrics say of answers counts this much where requests themselves were seen.
const BESIDE_REQUESTS: f64 = 0.04;

/// Requests that were seen outrank metrics that sum them up, which mislead where requests are few.
pub(crate) fn outrank(traced: &Traced, signals: &mut [Signal]) {
    if traced.seen != (true, true) {
        return;
    }
    let summed = [Aspect::Latency, Aspect::Errors, Aspect::Saturation, Aspect::Network, Aspect::Traffic, Aspect::Other];
    for signal in signals.iter_mut().filter(|signal| traced.compared && summed.contains(&signal.aspect)) {
        signal.strength *= BESIDE_REQUESTS;
    }
}

/// Compares the incident's requests with those of quiet.
pub(crate) fn compare(clean: &Checked<'_>, frame: &Frame, mined: &Mined) -> Traced {
    if clean.spans.is_empty() {
        return Traced {
            signals: Vec::new(),
            calls: BTreeMap::new(),
            judged: vec![false; clean.logs.len()],
            seen: (false, false),
            compared: false,
        };
    }
    let starts: Vec<TimeMs> = clean.spans.iter().map(|span| span.start_ms).collect();
    let (whens, ..) = part(&starts, frame);
    let parents = parents(&clean.spans);
    let entries = entries(&clean.spans, &parents);
    let mut requests = gather(clean, &whens, &parents, &entries);
    let judged = attach_lines(clean, mined, &mut requests, &entries);
    let mut calls = BTreeMap::new();
    for instance in &requests.instances {
        if let Some(caller) = instance.caller {
            *calls.entry((requests.instances[caller as usize].component, instance.component)).or_insert(0) += 1;
        }
    }
    let mut signals = behaviour::compare(clean, mined, &requests);
    signals.extend(times::compare(clean, &requests));
    let seen = (whens.contains(&When::Now), whens.contains(&When::Quiet));
    let count = |when: When| requests.instances.iter().filter(|instance| instance.when == when).count();
    let compared = count(When::Now).min(count(When::Quiet)) >= COMPARED_MIN;
    Traced { signals, calls, judged, seen, compared }
}

/// The place of each span's parent.
fn parents(spans: &[&Span]) -> Vec<Option<u32>> {
    let mut exact: HashMap<(&str, &str), u32> = HashMap::with_capacity(spans.len());
    let mut loose: HashMap<&str, u32> = HashMap::with_capacity(spans.len());
    for (index, span) in spans.iter().enumerate() {
        exact.entry((&span.trace, &span.id)).or_insert(index as u32);
        loose.insert(&span.id, index as u32);
    }
    let near =
        |index: usize, found: u32| spans[found as usize].start_ms.abs_diff(spans[index].start_ms) as i64 <= KIN_MS;
    spans
        .iter()
        .enumerate()
        .map(|(index, span)| {
            let parent = span.parent.as_deref().filter(|parent| !parent.is_empty())?;
            let found = exact
                .get(&(span.trace.as_str(), parent))
                .or_else(|| loose.get(parent).filter(|found| near(index, **found)));
            found.copied().filter(|found| *found as usize != index)
        })
        .collect()
}

/// The first span of the instance each span belongs to.
fn entries(spans: &[&Span], parents: &[Option<u32>]) -> Vec<u32> {
    (0..spans.len())
        .map(|index| {
            let mut now = index;
            for _ in 0..DEPTH_MAX {
                match parents[now] {
                    Some(parent) if spans[parent as usize].component == spans[index].component => now = parent as usize,
                    _ => break,
                }
            }
            now as u32
        })
        .collect()
}

/// Makes instances of spans.
fn gather(clean: &Checked<'_>, whens: &[When], parents: &[Option<u32>], entries: &[u32]) -> Requests {
    let spans = &clean.spans;
    let mut requests = Requests { instances: Vec::new(), groups: Vec::new(), deeds: Vec::new() };
    let mut group_of: HashMap<(ComponentId, &str), u32> = HashMap::new();
    let mut deed_of: HashMap<Deed, u32> = HashMap::new();
    let mut place: Vec<u32> = vec![u32::MAX; spans.len()];
    for (index, span) in spans.iter().enumerate().filter(|(index, _)| entries[*index] as usize == *index) {
        let group = *group_of.entry((span.component, span.operation.as_str())).or_insert_with(|| {
            requests.groups.push((span.component, span.operation.clone()));
            requests.groups.len() as u32 - 1
        });
        place[index] = requests.instances.len() as u32;
        requests.instances.push(Instance {
            group,
            component: span.component,
            when: whens[index],
            span: index as u32,
            caller: None,
            total_us: span.duration_us as f64,
            own_us: span.duration_us as f64,
            wire_us: None,
            events: Vec::new(),
            calls: 0,
        });
    }
    let mut outs: Vec<Vec<(f64, f64)>> = vec![Vec::new(); requests.instances.len()];
    for (index, span) in spans.iter().enumerate() {
        let mine = place[entries[index] as usize] as usize;
        let deeds = &mut requests.deeds;
        let mut note = |instance: &mut Instance, deed: Deed| {
            let number = *deed_of.entry(deed).or_insert_with_key(|deed| {
                deeds.push(deed.clone());
                deeds.len() as u32 - 1
            });
            instance.events.push(number);
        };
        if entries[index] as usize != index {
            note(&mut requests.instances[mine], Deed::Span(span.operation.clone()));
        }
        if span.failed {
            note(&mut requests.instances[mine], Deed::Failed);
        }
        let Some(parent) = parents[index].filter(|_| entries[index] as usize == index) else { continue };
        let caller = place[entries[parent as usize] as usize];
        note(&mut requests.instances[caller as usize], Deed::Call(span.component, span.operation.clone()));
        requests.instances[caller as usize].calls += 1;
        let outer = spans[parent as usize];
        let instance = &mut requests.instances[mine];
        instance.caller = Some(caller);
        // A parent that spans several callees does not tell how long it waited for each: the shortest wait is kept.
        instance.wire_us =
            (entries[parent as usize] != parent).then(|| (outer.duration_us as f64 - span.duration_us as f64).max(0.0));
        let began = outer.start_ms as f64 * 1_000.0;
        outs[caller as usize].push((began, began + outer.duration_us.max(span.duration_us) as f64));
    }
    for (instance, out) in requests.instances.iter_mut().zip(outs) {
        let start = spans[instance.span as usize].start_ms as f64 * 1_000.0;
        instance.own_us = (instance.total_us - covered(out, start, start + instance.total_us)).max(0.0);
        instance.events.sort_unstable();
        instance.events.dedup();
    }
    requests
}

/// How much of a stretch the others cover.
fn covered(mut others: Vec<(f64, f64)>, start: f64, end: f64) -> f64 {
    others.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut sum, mut reached) = (0.0, start);
    for (from, to) in others {
        let (from, to) = (from.max(reached), to.min(end));
        if to > from {
            sum += to - from;
            reached = to;
        }
    }
    sum
}

/// Gives each line to the instance of its trace and component that was open when it was written.
fn attach_lines(clean: &Checked<'_>, mined: &Mined, requests: &mut Requests, entries: &[u32]) -> Vec<bool> {
    let mut open: HashMap<(&str, ComponentId), Vec<u32>> = HashMap::new();
    for (place, instance) in requests.instances.iter().enumerate() {
        let span = clean.spans[instance.span as usize];
        debug_assert_eq!(entries[instance.span as usize], instance.span);
        open.entry((&span.trace, instance.component)).or_default().push(place as u32);
    }
    let mut deed_of: HashMap<u32, u32> = HashMap::new();
    let begins = beginnings(mined, &mut requests.deeds);
    let mut judged = vec![false; clean.logs.len()];
    for (index, line) in clean.logs.iter().enumerate() {
        let Some(places) = line.trace.as_deref().and_then(|trace| open.get(&(trace, line.component))) else { continue };
        let holds = |place: &&u32| {
            let span = clean.spans[requests.instances[**place as usize].span as usize];
            span.start_ms <= line.at_ms && line.at_ms <= span.start_ms + (span.duration_us / 1_000) as i64 + 1
        };
        let away = |place: &&u32| {
            clean.spans[requests.instances[**place as usize].span as usize].start_ms.abs_diff(line.at_ms)
        };
        let Some(place) = places.iter().rev().find(holds).or_else(|| places.iter().min_by_key(away)) else { continue };
        let template = mined.of_line[index];
        let deed = *deed_of.entry(template).or_insert_with(|| {
            requests.deeds.push(Deed::Line(template));
            requests.deeds.len() as u32 - 1
        });
        let mut deeds = vec![deed];
        if !mined.templates[template as usize].bad {
            deeds.extend(begins.get(&template).copied());
        }
        let events = &mut requests.instances[*place as usize].events;
        for deed in deeds {
            if let Err(at) = events.binary_search(&deed) {
                events.insert(at, deed);
            }
        }
        judged[index] = true;
    }
    judged
}

/// The beginning of each pattern as a deed; patterns that begin alike share one.
fn beginnings(mined: &Mined, deeds: &mut Vec<Deed>) -> HashMap<u32, u32> {
    let mut known: HashMap<String, u32> = HashMap::new();
    let mut of = HashMap::new();
    for (place, template) in mined.templates.iter().enumerate() {
        let plain = |word: &&str| !word.chars().any(|c| c.is_ascii_digit());
        let head: Vec<&str> =
            template.sample.split_whitespace().take(2 * HEAD_WORDS).filter(plain).take(HEAD_WORDS).collect();
        let head = head.join(" ");
        let number = *known.entry(head).or_insert_with_key(|head| {
            deeds.push(Deed::Begins(head.clone()));
            deeds.len() as u32 - 1
        });
        of.insert(place as u32, number);
    }
    of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_waits_count_once() {
        assert_eq!(covered(vec![(0.0, 10.0), (5.0, 15.0), (20.0, 40.0)], 2.0, 30.0), 23.0);
        assert_eq!(covered(Vec::new(), 0.0, 5.0), 0.0);
    }
}
