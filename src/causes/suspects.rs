//! Who it was: signals of each service are added up, what a callee explains is taken off its callers, and nearness to
//! the alert counts. Gives the same for replicas. Scores are shares of belief, not sums of strength.

use std::collections::{BTreeMap, BTreeSet};

use crate::case::{ComponentId, TimeMs};
use crate::checked::Checked;
use crate::frame::Frame;
use crate::graph::Graph;
use crate::signal::Signal;
use crate::words::{Aspect, meaning};

/// How much of a caller's symptoms a callee of the same strength explains.
const EXPLAINED: f64 = 0.8;
/// Later than this a callee's trouble cannot explain its caller's.
const LATER_MS: i64 = 5 * 60_000;
/// What is not below the alert in the call graph keeps this.
const ELSEWHERE: f64 = 0.45;
/// An address that others call keeps this: it is how callers see somebody, not somebody.
const ADDRESS: f64 = 0.6;
/// How much a second and a third aspect add.
const MORE: [f64; 4] = [1.0, 0.4, 0.2, 0.1];
/// A callee with at least this part of the trouble of a caller's view of somebody may be that somebody.
const VIEW_SHARE: f64 = 0.25;
/// What such a view keeps.
const VIEW_REST: f64 = 0.4;
/// Belief that goes to nobody.
const NOBODY: f64 = 1.5;

/// One suspected component.
#[derive(Debug, Clone)]
pub(crate) struct Suspect {
    /// Who.
    pub component: ComponentId,
    /// Doublings, weighed and added.
    pub weight: f64,
    /// Share of belief, 0 to 1.
    pub score: f64,
    /// Strongest strength of each aspect, after what callees explain.
    pub aspects: BTreeMap<Aspect, f64>,
    /// Its signals, the strongest first, as indexes.
    pub signals: Vec<usize>,
    /// Since when.
    pub onset_ms: TimeMs,
}

/// The suspects at both levels.
pub(crate) struct Suspects {
    /// By service.
    pub services: Vec<Suspect>,
    /// By replica; empty when none is known.
    pub replicas: Vec<Suspect>,
}

/// How much an aspect says of who it was.
pub(crate) fn weight_of(aspect: Aspect) -> f64 {
    match aspect {
        Aspect::Certificate => 1.4,
        Aspect::Restart | Aspect::Wire => 1.2,
        Aspect::Errors | Aspect::Exception | Aspect::Cpu => 1.1,
        Aspect::Latency | Aspect::Work => 1.0,
        Aspect::OwnTime => 0.5,
        Aspect::Behaviour => 0.9,
        Aspect::Memory | Aspect::Disk | Aspect::Saturation | Aspect::Cache => 0.8,
        Aspect::Other => 0.4,
        Aspect::Traffic | Aspect::Network => 0.3,
        Aspect::Setting => 0.2,
    }
}

/// Ranks everybody who has a signal.
pub(crate) fn rank(clean: &Checked<'_>, frame: &Frame, graph: &Graph, signals: &[Signal]) -> Suspects {
    let mut by_service: BTreeMap<ComponentId, Vec<usize>> = BTreeMap::new();
    let mut by_replica: BTreeMap<ComponentId, Vec<usize>> = BTreeMap::new();
    for (index, signal) in signals.iter().enumerate().filter(|(_, signal)| !signal.of_node) {
        by_service.entry(clean.service(signal.component)).or_default().push(index);
        by_replica.entry(signal.component).or_default().push(index);
    }
    let mut services: Vec<Suspect> = by_service.into_iter().map(|(id, of)| gather(id, of, signals)).collect();
    explain_callers(&mut services, graph);
    for suspect in &mut services {
        suspect.weight = total(&suspect.aspects) * nearness(clean, frame, graph, suspect);
    }
    see_through(&mut services, graph);
    settle(&mut services);
    let has_replicas = clean.case.components.iter().any(|component| component.service.is_some());
    let mut replicas = Vec::new();
    if has_replicas {
        for (id, of) in by_replica.into_iter().filter(|(id, _)| clean.service(*id) != *id) {
            let Some(service) = services.iter().find(|suspect| suspect.component == clean.service(id)) else {
                continue;
            };
            let mut suspect = gather(id, of, signals);
            let whole = total(&gather(id, service.signals.clone(), signals).aspects);
            suspect.weight = service.weight * (total(&suspect.aspects) / whole.max(1e-9)).min(1.0);
            suspect.aspects = service.aspects.clone();
            replicas.push(suspect);
        }
        settle(&mut replicas);
    }
    Suspects { services, replicas }
}

fn gather(component: ComponentId, mut of: Vec<usize>, signals: &[Signal]) -> Suspect {
    of.sort_by(|a, b| signals[*b].strength.total_cmp(&signals[*a].strength).then(a.cmp(b)));
    let mut aspects: BTreeMap<Aspect, f64> = BTreeMap::new();
    for index in &of {
        let strength = aspects.entry(signals[*index].aspect).or_default();
        *strength = strength.max(signals[*index].strength);
    }
    let most = of.first().map_or(0.0, |index| signals[*index].strength);
    let early = of.iter().filter(|index| signals[**index].strength >= 0.5 * most && !signals[**index].slow);
    let onset_ms = early.map(|index| signals[*index].onset_ms).min();
    let onset_ms = onset_ms.or_else(|| of.iter().map(|index| signals[*index].onset_ms).min()).unwrap_or_default();
    Suspect { component, weight: 0.0, score: 0.0, aspects, signals: of, onset_ms }
}

/// The strongest aspect, and a part of the next ones.
fn total(aspects: &BTreeMap<Aspect, f64>) -> f64 {
    let mut weighed: Vec<f64> = aspects.iter().map(|(aspect, strength)| weight_of(*aspect) * strength).collect();
    weighed.sort_by(|a, b| b.total_cmp(a));
    weighed.iter().zip(MORE).map(|(strength, part)| strength * part).sum()
}

/// Takes off callers what their callees explain.
fn explain_callers(services: &mut [Suspect], graph: &Graph) {
    let felt = |suspect: &Suspect| {
        let parts: BTreeMap<Aspect, f64> = suspect
            .aspects
            .iter()
            .filter(|(aspect, _)| !matches!(aspect, Aspect::Traffic | Aspect::Network))
            .map(|(a, s)| (*a, *s))
            .collect();
        total(&parts)
    };
    let known: BTreeMap<ComponentId, (f64, TimeMs)> =
        services.iter().map(|suspect| (suspect.component, (felt(suspect), suspect.onset_ms))).collect();
    for suspect in services.iter_mut() {
        let Some((mine, onset)) = known.get(&suspect.component).copied().filter(|(mine, _)| *mine > 0.0) else {
            continue;
        };
        let below = graph
            .callees(suspect.component)
            .filter_map(|callee| known.get(&callee))
            .filter(|(_, at)| *at <= onset + LATER_MS);
        let theirs = below.map(|(strength, _)| *strength).fold(0.0, f64::max);
        let rest = 1.0 - EXPLAINED * (theirs / mine).min(1.0);
        for (aspect, strength) in suspect.aspects.iter_mut().filter(|(aspect, _)| aspect.spreads()) {
            // What traces say of an instance was explained there already.
            *strength *= if matches!(aspect, Aspect::Exception | Aspect::Behaviour) { rest.max(0.6) } else { rest };
        }
    }
}

/// Somebody who calls nobody and is known only from its caller may be that caller's view of another callee: an address,
/// a load balancer. Where a callee that is known to do something is in the same trouble at the same time, it is that one.
fn see_through(services: &mut [Suspect], graph: &Graph) {
    let calls = |id: ComponentId| graph.callees(id).next().is_some();
    let views: Vec<(usize, usize)> = (0..services.len())
        .filter(|view| {
            !calls(services[*view].component)
                && services[*view]
                    .aspects
                    .keys()
                    .all(|aspect| aspect.spreads() || matches!(aspect, Aspect::Traffic | Aspect::Network))
        })
        .filter_map(|view| {
            let siblings: BTreeSet<ComponentId> =
                graph.callers(services[view].component).flat_map(|caller| graph.callees(caller)).collect();
            let same = |other: &&usize| {
                let (seen, real) = (&services[view], &services[**other]);
                siblings.contains(&real.component)
                    && calls(real.component)
                    && real.weight >= VIEW_SHARE * seen.weight
                    && real.onset_ms.abs_diff(seen.onset_ms) <= LATER_MS as u64 + 60_000
                    && main_aspect(seen)
                        .is_some_and(|main| real.aspects.get(&main).is_some_and(|strength| *strength > 0.1))
            };
            let places: Vec<usize> = (0..services.len()).filter(|other| *other != view).collect();
            places
                .iter()
                .filter(same)
                .max_by(|a, b| services[**a].weight.total_cmp(&services[**b].weight))
                .map(|real| (view, *real))
        })
        .collect();
    for (view, real) in views {
        services[real].weight = services[real].weight.max(0.9 * services[view].weight);
        services[view].weight *= VIEW_REST;
    }
}

/// The symptom that is strongest.
fn main_aspect(suspect: &Suspect) -> Option<Aspect> {
    let felt = suspect.aspects.iter().filter(|(aspect, _)| aspect.spreads());
    felt.max_by(|a, b| a.1.total_cmp(b.1)).map(|(aspect, _)| *aspect)
}

/// How near a suspect is to what the alert speaks of.
fn nearness(clean: &Checked<'_>, _frame: &Frame, graph: &Graph, suspect: &Suspect) -> f64 {
    let name = clean.name(suspect.component);
    let calls_nobody = graph.callees(suspect.component).next().is_none();
    let address = if calls_nobody && is_address(name) && graph.callers(suspect.component).next().is_some() {
        ADDRESS
    } else {
        1.0
    };
    let Some(alert) = &clean.case.alert else { return address };
    let Some(hurt) = alert.component.filter(|id| !clean.name(*id).is_empty()).map(|id| clean.service(id)) else {
        return address;
    };
    let about = meaning(&alert.metric, "").aspect;
    let local =
        suspect.aspects.keys().any(|aspect| !aspect.spreads() && !matches!(aspect, Aspect::Traffic | Aspect::Network));
    let same = suspect.aspects.get(&about).is_some_and(|strength| *strength > 0.3) || local || !about.spreads();
    let kind = if same { 1.0 } else { 0.7 };
    if graph.is_alone(hurt) || hurt == suspect.component {
        return address * kind;
    }
    let place = if graph.below(hurt).contains_key(&suspect.component) { 1.0 } else { ELSEWHERE };
    address * kind * place
}

/// Names like `10.0.0.7` or `orders.eu-west.example.com`, with or without a port or a suffix.
fn is_address(name: &str) -> bool {
    let head = name.split(['/', ':', '_', '@']).find(|part| part.matches('.').count() >= 2);
    head.is_some_and(|head| {
        head.split('.').all(|label| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
    })
}

/// Sorts, and turns weights into shares of belief.
fn settle(suspects: &mut Vec<Suspect>) {
    suspects.retain(|suspect| suspect.weight > 0.0);
    suspects.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.component.cmp(&b.component)));
    let sum: f64 = suspects.iter().map(|suspect| suspect.weight.powi(2)).sum::<f64>() + NOBODY;
    suspects.iter_mut().for_each(|suspect| suspect.score = suspect.weight.powi(2) / sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_names() {
        for name in
            ["10.0.0.7", "orders.eu-west.example.com", "https://q.eu.example.com/jobs", "lb-7.zone.example.com_remote"]
        {
            assert!(is_address(name), "{name}");
        }
        for name in ["orders", "orders-api", "team.orders", "Orders_AWS::ECS"] {
            assert!(!is_address(name), "{name}");
        }
    }
}
