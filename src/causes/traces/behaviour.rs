//! What instances of an operation do: bad news that appear, and what nearly all of them did and no longer do. New
//! good deeds are no news. An instance whose callee misbehaves as well is explained by it.

use std::collections::{BTreeMap, HashMap};

use super::{DEPTH_MAX, Deed, Requests};
use crate::case::ComponentId;
use crate::checked::Checked;
use crate::logs::{Mined, When};
use crate::signal::{Signal, cut};
use crate::stats::{doublings, share_ratio};
use crate::words::{Aspect, is_bad_news};

/// Share of the quiet instances that must have done what is said to have vanished.
const USUAL_SHARE: f64 = 0.95;
/// Fewest quiet instances for that.
const USUAL_MIN: f64 = 4.0;
/// Likelihood ratio that counts as the first doubling.
const SURPRISE: f64 = 6.0;
/// What remains of a signal whose instances are all explained by a callee.
const EXPLAINED_REST: f64 = 0.15;

/// A deed of a group whose share changed.
struct Turn {
    group: u32,
    deed: u32,
    appeared: bool,
    strength: f64,
    now: (f64, f64),
    before: (f64, f64),
}

/// Every component whose instances behave worse.
pub(super) fn compare(clean: &Checked<'_>, mined: &Mined, requests: &Requests) -> Vec<Signal> {
    let bad: Vec<bool> = requests.deeds.iter().map(|deed| is_bad(deed, mined)).collect();
    let turns = turns(requests, &bad);
    let mut by_group: HashMap<u32, Vec<usize>> = HashMap::new();
    for (index, turn) in turns.iter().enumerate() {
        by_group.entry(turn.group).or_default().push(index);
    }
    let hit =
        |instance: &super::Instance, turn: &Turn| instance.events.binary_search(&turn.deed).is_ok() == turn.appeared;
    let affected: Vec<bool> = requests
        .instances
        .iter()
        .map(|instance| {
            instance.when == When::Now
                && by_group.get(&instance.group).is_some_and(|of| of.iter().any(|turn| hit(instance, &turns[*turn])))
        })
        .collect();
    let blamed = below(requests, &affected);
    let mut signals = Vec::new();
    for turn in &turns {
        let (mut all, mut explained, mut first) = (0.0, 0.0, None);
        for (place, instance) in requests.instances.iter().enumerate() {
            if instance.group == turn.group && instance.when == When::Now && hit(instance, turn) {
                all += 1.0;
                explained += f64::from(u8::from(blamed[place]));
                first.get_or_insert(clean.spans[instance.span as usize].start_ms);
            }
        }
        let (Some(first), true) = (first, all > 0.0) else { continue };
        let rest = 1.0 - (1.0 - EXPLAINED_REST) * (explained / all);
        signals.push(tell(clean, mined, requests, turn, rest, first));
    }
    signals
}

fn is_bad(deed: &Deed, mined: &Mined) -> bool {
    match deed {
        Deed::Failed => true,
        Deed::Span(name) | Deed::Begins(name) => is_bad_news(name),
        Deed::Call(..) => false,
        Deed::Line(template) => mined.templates[*template as usize].bad,
    }
}

/// Deeds whose share changed for the worse, by group.
fn turns(requests: &Requests, bad: &[bool]) -> Vec<Turn> {
    let mut sizes: HashMap<u32, (f64, f64)> = HashMap::new();
    let mut quiet_of: HashMap<ComponentId, f64> = HashMap::new();
    let mut counts: BTreeMap<(u32, u32), (f64, f64)> = BTreeMap::new();
    let mut said: HashMap<(ComponentId, u32), f64> = HashMap::new();
    for instance in &requests.instances {
        let size = sizes.entry(instance.group).or_default();
        match instance.when {
            When::Now => size.0 += 1.0,
            When::Quiet => {
                size.1 += 1.0;
                *quiet_of.entry(instance.component).or_default() += 1.0;
            }
            When::Apart => continue,
        }
        for deed in &instance.events {
            let count = counts.entry((instance.group, *deed)).or_default();
            if instance.when == When::Now {
                count.0 += 1.0;
            } else {
                count.1 += 1.0;
                *said.entry((instance.component, *deed)).or_default() += 1.0;
            }
        }
    }
    let mut turns = Vec::new();
    for ((group, deed), (now, before)) in counts {
        let (of, of_before) = sizes.get(&group).copied().unwrap_or_default();
        if of < 1.0 {
            continue;
        }
        let (share, share_before) = (now / of, if of_before > 0.0 { before / of_before } else { 0.0 });
        let component = requests.groups[group as usize].0;
        let (appeared, ratio) = if bad[deed as usize] && share > share_before {
            // What this component never said in any of its requests is news even for a new operation.
            let pool = quiet_of.get(&component).copied().unwrap_or(0.0).max(1.0);
            let pooled = share_ratio(now, of, said.get(&(component, deed)).copied().unwrap_or(0.0), pool);
            (true, share_ratio(now, of, before, of_before).max(if of_before < USUAL_MIN { pooled } else { 0.0 }))
        } else if !bad[deed as usize] && share_before >= USUAL_SHARE && of_before >= USUAL_MIN && share < share_before {
            (false, share_ratio(now, of, before, of_before))
        } else {
            continue;
        };
        let strength = (doublings(1.0 + ratio / SURPRISE) - 0.5).max(0.0);
        if strength > 0.1 {
            turns.push(Turn { group, deed, appeared, strength, now: (now, of), before: (before, of_before) });
        }
    }
    turns
}

/// Instances below which another component's instance is affected.
fn below(requests: &Requests, affected: &[bool]) -> Vec<bool> {
    let mut blamed = vec![false; affected.len()];
    for (place, _) in affected.iter().enumerate().filter(|(_, affected)| **affected) {
        let mut now = requests.instances[place].caller;
        for _ in 0..DEPTH_MAX {
            let Some(caller) = now.map(|caller| caller as usize).filter(|caller| !blamed[*caller]) else { break };
            blamed[caller] = requests.instances[caller].component != requests.instances[place].component;
            now = requests.instances[caller].caller;
        }
    }
    blamed
}

fn tell(clean: &Checked<'_>, mined: &Mined, requests: &Requests, turn: &Turn, rest: f64, first_ms: i64) -> Signal {
    let (component, operation) = &requests.groups[turn.group as usize];
    let name = clean.name(*component);
    let (what, source) = match &requests.deeds[turn.deed as usize] {
        Deed::Span(span) => (format!("span {}", cut(span, 120)), "spans"),
        Deed::Call(callee, span) => (format!("call to {} {}", clean.name(*callee), cut(span, 100)), "spans"),
        Deed::Line(template) => {
            (format!("log {}", cut(&mined.templates[*template as usize].text, 200)), "logs and spans")
        }
        Deed::Begins(text) => (format!("log {}", cut(text, 200)), "logs and spans"),
        Deed::Failed => ("a failed span".to_owned(), "spans"),
    };
    let how = if turn.appeared { "has" } else { "has lost" };
    Signal {
        component: *component,
        aspect: if turn.appeared { Aspect::Exception } else { Aspect::Behaviour },
        strength: turn.strength * rest,
        onset_ms: first_ms,
        up: turn.appeared,
        before: turn.before.0 / turn.before.1.max(1.0),
        after: turn.now.0 / turn.now.1.max(1.0),
        slow: false,
        of_node: false,
        share: false,
        text: format!(
            "{name} {}: {how} {what} ({} of {} requests, in quiet {} of {})",
            cut(operation, 120),
            turn.now.0,
            turn.now.1,
            turn.before.0,
            turn.before.1
        ),
        source: source.to_owned(),
        query: format!(
            "requests component={name:?} operation={:?} {} {what:?}",
            cut(operation, 120),
            if turn.appeared { "with" } else { "without" }
        ),
        window: (first_ms, last_of(clean, requests, turn.group).max(first_ms)),
    }
}

/// When the group's last instance in the incident began.
fn last_of(clean: &Checked<'_>, requests: &Requests, group: u32) -> i64 {
    let mine = requests.instances.iter().rev().find(|instance| instance.group == group && instance.when == When::Now);
    mine.map_or(i64::MIN, |instance| clean.spans[instance.span as usize].start_ms)
}
