//! Log lines: which patterns are new, gone, or more frequent than in quiet, by component, and whom a component's bad
//! news mention. Lines that belong to a traced request are judged there, not here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use opsward_templates::{Limits, Miner};

use crate::case::{ComponentId, Level, TimeMs};
use crate::checked::Checked;
use crate::frame::Frame;
use crate::signal::{Signal, cut};
use crate::stats::{doublings, rate_ratio};
use crate::words::{Aspect, is_bad_news};

/// Most bytes of a line that are mined.
const LINE_MAX: usize = 2_048;
/// Most characters of a sample.
const SAMPLE_MAX: usize = 2_000;
/// Most templates of a case.
const TEMPLATES_MAX: usize = 5_000;
/// Likelihood ratio that counts as one doubling's worth of surprise.
const SURPRISE: f64 = 8.0;
/// Most components whose names are looked for in bad news.
const NAMES_MAX: usize = 500;
/// Shortest name that is looked for.
const NAME_MIN: usize = 4;

/// A pattern of lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Template {
    /// With its parameters marked.
    pub text: String,
    /// One line of it, as it was.
    pub sample: String,
    /// It tells of something going wrong.
    pub bad: bool,
    /// The worst level seen.
    pub level: Level,
}

/// Every line with its pattern.
pub(crate) struct Mined {
    /// Pattern of each line of [`Checked::logs`].
    pub of_line: Vec<u32>,
    /// The patterns.
    pub templates: Vec<Template>,
}

/// A pattern of one component, counted in the incident and in quiet.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    /// Whose.
    pub component: ComponentId,
    /// Which, in [`Mined::templates`] or, for counted ones, in the case.
    pub text: String,
    /// A line of it.
    pub sample: String,
    /// Tells of something going wrong.
    pub bad: bool,
    /// Lines in the incident.
    pub now: f64,
    /// Lines in quiet.
    pub before: f64,
    /// How surprising.
    pub strength: f64,
    /// First line in the incident.
    pub first_ms: TimeMs,
    /// File and line.
    pub source: String,
}

/// What the logs say.
pub(crate) struct Logged {
    /// Patterns with a new rate.
    pub signals: Vec<Signal>,
    /// Every pattern that changed, the most surprising first.
    pub changed: Vec<Counted>,
    /// Who mentions whom in bad news.
    pub mentions: BTreeSet<(ComponentId, ComponentId)>,
    /// Whether there were any lines in quiet to compare with.
    pub has_quiet: bool,
}

/// Finds the pattern of every line.
pub(crate) fn mine(clean: &Checked<'_>) -> Mined {
    let limits = Limits { templates_max: TEMPLATES_MAX, ..Limits::default() };
    let mut miner = Miner::new(limits);
    let numbers: Vec<u64> = clean.logs.iter().map(|line| miner.mine(short(&line.message)).template).collect();
    let mut places: HashMap<u64, u32> = HashMap::new();
    let mut templates: Vec<Template> = Vec::new();
    let mut of_line = Vec::with_capacity(numbers.len());
    for (line, number) in clean.logs.iter().zip(numbers) {
        let number = miner.resolve(number);
        let place = *places.entry(number).or_insert_with(|| {
            let text = miner.template(number).map(|cluster| cluster.text()).unwrap_or_default();
            let bad = is_bad_news(&text);
            templates.push(Template { text, sample: cut(&line.message, SAMPLE_MAX), bad, level: line.level });
            templates.len() as u32 - 1
        });
        let template = &mut templates[place as usize];
        template.level = template.level.max(line.level);
        template.bad |= line.level >= Level::Warning;
        of_line.push(place);
    }
    Mined { of_line, templates }
}

fn short(message: &str) -> &str {
    let mut end = message.len().min(LINE_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

/// How a line relates to the incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// In it.
    Now,
    /// In quiet.
    Quiet,
    /// In neither.
    Apart,
}

/// Parts rising times into quiet and incident; gives how long each lasted as well.
pub(crate) fn part(times: &[TimeMs], frame: &Frame) -> (Vec<When>, f64, f64) {
    let Some(anchor) = frame.anchor else { return (vec![When::Quiet; times.len()], 0.0, 1.0) };
    let stretch = frame.stretch(times);
    let outside = times.len() - (stretch.end - stretch.start);
    let apart = outside * 20 >= times.len() && outside > 0;
    let until = anchor + frame.window_ms;
    let inside = &times[stretch.start..stretch.end];
    let known = |at: TimeMs| inside.partition_point(|time| *time < at);
    // Too little before a moment that is only guessed: everything before the moment that was named is quiet then.
    let split = if known(frame.split_ms) * 3 < known(anchor) { anchor } else { frame.split_ms };
    let of = |index: usize, at: TimeMs| {
        if !(stretch.start..stretch.end).contains(&index) {
            return When::Quiet;
        }
        let early = match (frame.begins, apart) {
            (true, _) => anchor,
            (false, true) => anchor - frame.window_ms,
            (false, false) => split,
        };
        match (at < early, at <= until) {
            (true, _) => When::Quiet,
            (false, true) => When::Now,
            (false, false) => When::Apart,
        }
    };
    let whens: Vec<When> = times.iter().enumerate().map(|(index, at)| of(index, *at)).collect();
    let long = |which: When| {
        let steps = times.windows(2).zip(&whens).filter(|(_, when)| **when == which);
        let hole = stretch.step_ms.saturating_mul(20).max(30_000);
        steps.map(|(pair, _)| (pair[1] - pair[0]).min(hole) as f64).sum::<f64>() + 1.0
    };
    let (now, quiet) = (long(When::Now), long(When::Quiet));
    (whens, now, quiet)
}

/// Compares the incident's lines with those of quiet. `judged` marks lines that a traced request accounts for.
pub(crate) fn compare(clean: &Checked<'_>, frame: &Frame, mined: &Mined, judged: &[bool]) -> Logged {
    let times: Vec<TimeMs> = clean.logs.iter().map(|line| line.at_ms).collect();
    let (whens, now_ms, quiet_ms) = part(&times, frame);
    let mut counts: BTreeMap<(ComponentId, u32), Count> = BTreeMap::new();
    for (index, line) in clean.logs.iter().enumerate() {
        let count = counts.entry((line.component, mined.of_line[index])).or_default();
        match whens[index] {
            When::Now => {
                count.now += 1.0;
                count.judged += f64::from(u8::from(judged.get(index).copied().unwrap_or(false)));
                count.first.get_or_insert(index);
            }
            When::Quiet => count.before += 1.0,
            When::Apart => {}
        }
    }
    let has_quiet = whens.contains(&When::Quiet);
    let mut changed = Vec::new();
    let mut signals = Vec::new();
    for ((component, place), count) in &counts {
        let template = &mined.templates[*place as usize];
        let ratio = rate_ratio(count.now, now_ms, count.before, quiet_ms);
        let more = count.now / now_ms > count.before / quiet_ms;
        let strength = doublings(ratio / SURPRISE);
        if strength <= 0.0 && !(template.bad && count.now > 0.0 && count.before == 0.0) {
            continue;
        }
        let Some(first) = count.first else { continue };
        let line = clean.logs[first];
        let counted = Counted {
            component: *component,
            text: template.text.clone(),
            sample: template.sample.clone(),
            bad: template.bad,
            now: count.now,
            before: count.before,
            strength,
            first_ms: line.at_ms,
            source: format!("log file {} line {}", line.source.0, line.source.1),
        };
        if template.bad && more && count.judged * 2.0 < count.now {
            signals.push(signal_of(clean, &counted, template.level, line.at_ms, until(frame)));
        }
        changed.push(counted);
    }
    add_patterns(clean, frame, &mut changed, &mut signals);
    changed.sort_by(|a, b| {
        b.strength.total_cmp(&a.strength).then(a.first_ms.cmp(&b.first_ms)).then_with(|| a.text.cmp(&b.text))
    });
    let mentions = mentions(clean, &changed);
    Logged { signals, changed, mentions, has_quiet }
}

#[derive(Default)]
struct Count {
    now: f64,
    before: f64,
    judged: f64,
    first: Option<usize>,
}

fn until(frame: &Frame) -> TimeMs {
    frame.anchor.unwrap_or(frame.split_ms).saturating_add(frame.window_ms)
}

fn signal_of(clean: &Checked<'_>, counted: &Counted, level: Level, onset_ms: TimeMs, until_ms: TimeMs) -> Signal {
    let name = clean.name(counted.component);
    let new = if counted.before == 0.0 { "new" } else { "more frequent" };
    let weight = if level >= Level::Error { 1.0 } else { 0.6 };
    Signal {
        component: counted.component,
        aspect: Aspect::Exception,
        // A single new error is news already, if only a little.
        strength: weight * counted.strength.max(0.4),
        onset_ms,
        up: true,
        before: counted.before,
        after: counted.now,
        slow: false,
        of_node: false,
        share: false,
        text: format!("{name} logs a {new} pattern {} times: {}", counted.now, cut(&counted.text, 160)),
        source: counted.source.clone(),
        query: format!("logs component={name:?} template={:?}", cut(&counted.text, 200)),
        window: (onset_ms, until_ms.max(onset_ms)),
    }
}

/// Patterns that were counted before they came here.
fn add_patterns(clean: &Checked<'_>, frame: &Frame, changed: &mut Vec<Counted>, signals: &mut Vec<Signal>) {
    let Some(anchor) = frame.anchor else { return };
    for pattern in clean.case.patterns.iter().take(crate::checked::RECORDS_MAX) {
        if clean.name(pattern.component).is_empty() {
            continue;
        }
        let now = pattern.count as f64;
        let before = pattern.more.map_or(0.0, |more| (now - more as f64).max(0.0));
        let bad = pattern.negative || is_bad_news(&pattern.text);
        let strength = doublings(rate_ratio(now, 1.0, before, 1.0) / SURPRISE).min(4.0);
        let counted = Counted {
            component: pattern.component,
            text: pattern.text.clone(),
            sample: pattern.text.clone(),
            bad,
            now,
            before,
            strength,
            first_ms: anchor,
            source: pattern.source.clone(),
        };
        if bad && pattern.more.is_some_and(|more| more > 0) {
            signals.push(signal_of(clean, &counted, Level::Error, anchor, until(frame)));
        }
        changed.push(counted);
    }
}

/// Which components are named in another's bad news: it waits for them.
fn mentions(clean: &Checked<'_>, changed: &[Counted]) -> BTreeSet<(ComponentId, ComponentId)> {
    let names: Vec<(ComponentId, String)> = clean
        .case
        .components
        .iter()
        .take(NAMES_MAX)
        .enumerate()
        .filter(|(_, component)| component.name.len() >= NAME_MIN)
        .map(|(index, component)| (ComponentId(index as u32), component.name.to_lowercase()))
        .collect();
    let mut found = BTreeSet::new();
    for counted in changed.iter().filter(|counted| counted.bad && counted.now > counted.before).take(NAMES_MAX) {
        let text = counted.sample.to_lowercase();
        for (id, name) in &names {
            if *id != counted.component
                && clean.service(*id) != clean.service(counted.component)
                && has_word(&text, name)
            {
                found.insert((counted.component, *id));
            }
        }
    }
    found
}

/// True if `name` stands in `text` with nothing of a word on either side.
fn has_word(text: &str, name: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(name)
        .take(16)
        .any(|(at, found)| edge(text[..at].chars().next_back()) && edge(text[at + found.len()..].chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_as_a_word_only() {
        assert!(has_word("upstream orders-api returned 502", "orders-api"));
        assert!(!has_word("preorders-api", "orders-api"));
        assert!(has_word("https://pay.svc:8443/", "pay"));
    }

    #[test]
    fn times_are_parted_at_the_hole_or_at_the_split() {
        let frame = Frame { anchor: Some(1_000_000), told: true, window_ms: 100_000, split_ms: 990_000, begins: false };
        let times: Vec<TimeMs> = (0..50).map(|i| i * 1_000).chain((0..50).map(|i| 980_000 + i * 1_000)).collect();
        let (whens, now, quiet) = part(&times, &frame);
        assert_eq!(whens.iter().filter(|w| **w == When::Quiet).count(), 50);
        assert!((now - 49_001.0).abs() < 1_100.0 && quiet > 49_000.0);
        let (whens, ..) = part(&times[50..], &frame);
        assert_eq!(whens.iter().filter(|w| **w == When::Quiet).count(), 10);
    }
}
