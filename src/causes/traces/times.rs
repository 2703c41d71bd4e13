//! How long instances take: their own time, the time lost on the wire between caller and callee, and how many calls
//! one request makes. Time on the wire is laid at the end whose other wires are slow as well.

use std::collections::BTreeMap;

use super::Requests;
use crate::case::{ComponentId, TimeMs};
use crate::checked::Checked;
use crate::logs::When;
use crate::signal::{Signal, cut, number};
use crate::stats::{doublings, median, quantile, sorted};
use crate::words::Aspect;

/// Fewest instances on either side.
const FEW: usize = 3;
/// The least excess that matters, in microseconds.
const LEAST_US: f64 = 2_000.0;
/// Part of a usual request's whole time that an excess must have to count in full.
const MATTERS: f64 = 0.25;
/// What the end that is less suspected keeps of a slow wire.
const OTHER_END: f64 = 0.4;
/// Whole times hold the times of others as well and count this much.
const WHOLE_PART: f64 = 0.6;
/// Calls per request must multiply by this.
const FAN_OUT: f64 = 2.5;

#[derive(Default)]
struct Sample {
    now: Vec<f64>,
    quiet: Vec<f64>,
    first_ms: Option<TimeMs>,
}

impl Sample {
    fn add(&mut self, when: When, value: f64) {
        match when {
            When::Now => self.now.push(value),
            When::Quiet => self.quiet.push(value),
            When::Apart => {}
        }
    }

    /// By how much the slower instances exceed what quiet ones reach: excess in units of that reach, usual and new value.
    fn excess(&self) -> Option<(f64, f64, f64)> {
        if self.now.len() < FEW || self.quiet.len() < FEW {
            return None;
        }
        let (now, quiet) = (sorted(self.now.iter().copied()), sorted(self.quiet.iter().copied()));
        let (high, usual) = (quantile(&now, 0.7), quantile(&quiet, 0.7));
        let reach = (quantile(&quiet, 0.95) - quantile(&quiet, 0.5)).max(0.5 * quantile(&quiet, 0.5)).max(LEAST_US);
        let doubt = 1.0 + 4.0 / self.quiet.len() as f64 + 2.0 / self.now.len() as f64;
        Some(((high - usual) / (reach * doubt), quantile(&quiet, 0.5), high))
    }
}

/// Components that are slow themselves, or to reach, or call too much.
pub(super) fn compare(clean: &Checked<'_>, requests: &Requests) -> Vec<Signal> {
    let mut own: BTreeMap<u32, Sample> = BTreeMap::new();
    let mut calls: BTreeMap<u32, Sample> = BTreeMap::new();
    let mut total: BTreeMap<u32, Sample> = BTreeMap::new();
    let mut wires: BTreeMap<(ComponentId, ComponentId), Sample> = BTreeMap::new();
    let mut whole = Vec::new();
    for instance in &requests.instances {
        let at = clean.spans[instance.span as usize].start_ms;
        for (map, value) in
            [(&mut own, instance.own_us), (&mut total, instance.total_us), (&mut calls, f64::from(instance.calls))]
        {
            let sample = map.entry(instance.group).or_default();
            sample.add(instance.when, value);
            if instance.when == When::Now {
                sample.first_ms.get_or_insert(at);
            }
        }
        if instance.caller.is_none() {
            whole.push(instance.total_us);
        }
        if let (Some(wire), Some(caller)) = (instance.wire_us, instance.caller) {
            let sample = wires.entry((requests.instances[caller as usize].component, instance.component)).or_default();
            sample.add(instance.when, wire);
            if instance.when == When::Now {
                sample.first_ms.get_or_insert(at);
            }
        }
    }
    let matters = (MATTERS * median(whole)).max(LEAST_US);
    let mut signals = Vec::new();
    for (samples, aspect) in [(&own, Aspect::OwnTime), (&total, Aspect::Latency)] {
        for (group, sample) in samples {
            let (component, operation) = &requests.groups[*group as usize];
            if let Some((excess, usual, now)) = sample.excess().filter(|(excess, ..)| *excess > 1.0) {
                let part = if aspect == Aspect::Latency { WHOLE_PART } else { 1.0 };
                let strength = part * doublings(excess) * ((now - usual) / matters).min(1.0);
                let what = if aspect == Aspect::OwnTime { "own time" } else { "whole time" };
                let text = format!(
                    "{} {}: {what} rose from {} to {} ms",
                    clean.name(*component),
                    cut(operation, 120),
                    ms(usual),
                    ms(now)
                );
                signals.push(signal(clean, *component, aspect, (strength, usual, now), sample, text));
            }
        }
    }
    signals.extend(fan_out(clean, requests, &calls));
    signals.extend(on_the_wire(clean, &wires, matters));
    signals
}

fn ms(us: f64) -> String {
    number(us / 1_000.0)
}

fn signal(
    clean: &Checked<'_>,
    component: ComponentId,
    aspect: Aspect,
    values: (f64, f64, f64),
    sample: &Sample,
    text: String,
) -> Signal {
    let (strength, before, after) = values;
    let onset_ms = sample.first_ms.unwrap_or_default();
    let query = format!("spans component={:?} {}", clean.name(component), aspect.say());
    Signal {
        component,
        aspect,
        strength,
        onset_ms,
        up: true,
        before,
        after,
        slow: false,
        of_node: false,
        share: false,
        text,
        source: "spans".to_owned(),
        query,
        window: (onset_ms, onset_ms),
    }
}

/// Groups that call others many times more often per request.
fn fan_out(clean: &Checked<'_>, requests: &Requests, calls: &BTreeMap<u32, Sample>) -> Vec<Signal> {
    let mut signals = Vec::new();
    for (group, sample) in calls {
        if sample.now.is_empty() || sample.quiet.is_empty() {
            continue;
        }
        let (now, quiet) = (median(sample.now.iter().copied()), median(sample.quiet.iter().copied()));
        if quiet >= 1.0 && now >= FAN_OUT * quiet && now >= quiet + 3.0 {
            let (component, operation) = &requests.groups[*group as usize];
            let text = format!(
                "{} {}: makes {} calls per request, usually {}",
                clean.name(*component),
                cut(operation, 120),
                number(now),
                number(quiet)
            );
            let sure = (sample.now.len().min(sample.quiet.len()) as f64 / 5.0).min(1.0);
            signals.push(signal(
                clean,
                *component,
                Aspect::Work,
                (doublings(now / quiet) * (0.5 + sure), quiet, now),
                sample,
                text,
            ));
        }
    }
    signals
}

/// Slow wires, laid at the end whose other wires are slow as well.
fn on_the_wire(clean: &Checked<'_>, wires: &BTreeMap<(ComponentId, ComponentId), Sample>, matters: f64) -> Vec<Signal> {
    let mut slow = BTreeMap::new();
    let (mut outs, mut ins): (BTreeMap<ComponentId, Ends>, BTreeMap<ComponentId, Ends>) =
        (BTreeMap::new(), BTreeMap::new());
    for ((caller, callee), sample) in wires {
        let Some((excess, usual, now)) = sample.excess() else { continue };
        let strength = if excess > 1.0 { doublings(excess) * ((now - usual) / matters).min(1.0) } else { 0.0 };
        outs.entry(*caller).or_default().add(strength);
        ins.entry(*callee).or_default().add(strength);
        if strength > 0.0 {
            slow.insert((*caller, *callee), (strength, usual, now));
        }
    }
    let mut signals = Vec::new();
    for ((caller, callee), (strength, usual, now)) in &slow {
        let (out, inside) = (outs[caller].share(), ins[callee].share());
        let (callers, callees) = if out > inside || (out == inside && outs[caller].of > ins[callee].of) {
            (1.0, OTHER_END)
        } else {
            (OTHER_END, 1.0)
        };
        let text = format!(
            "{} waits {} ms longer for {} than {} works (usually {})",
            clean.name(*caller),
            ms(*now),
            clean.name(*callee),
            clean.name(*callee),
            ms(*usual)
        );
        for (component, part) in [(*caller, callers), (*callee, callees)] {
            signals.push(signal(
                clean,
                component,
                Aspect::Wire,
                (strength * part, *usual, *now),
                &wires[&(*caller, *callee)],
                text.clone(),
            ));
        }
    }
    signals
}

/// The wires of one component in one direction.
#[derive(Default)]
struct Ends {
    slow: f64,
    of: f64,
}

impl Ends {
    fn add(&mut self, strength: f64) {
        self.slow += f64::from(u8::from(strength > 0.0));
        self.of += 1.0;
    }

    fn share(&self) -> f64 {
        self.slow / self.of.max(1.0)
    }
}
