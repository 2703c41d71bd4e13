//! Builds the lookups of the bag, and finds out when the picture was taken.

use std::collections::{BTreeMap, HashMap, HashSet};

use opsward_domain::time::AtMs;

use super::{Gap, LogTail, Objects, about, labels_of, stamps};
use crate::object::{Object, Ref, items, text};
use crate::when;

/// A node's clock may be this far from the others before its stamps stop counting.
pub(crate) const SKEW_MAX_MS: i64 = 120_000;

pub(super) fn build(
    list: Vec<Object>,
    listed: HashSet<(String, Option<String>)>,
    logs: BTreeMap<(String, String, String), LogTail>,
    gaps: Vec<Gap>,
) -> Objects {
    let mut by_name = HashMap::with_capacity(list.len());
    let mut by_kind: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut by_space: HashMap<(String, String), Vec<usize>> = HashMap::new();
    let mut children: HashMap<Ref, Vec<usize>> = HashMap::new();
    let mut pods_by_label: HashMap<(String, String, String), Vec<usize>> = HashMap::new();
    let mut events: HashMap<Ref, Vec<usize>> = HashMap::new();
    for (place, object) in list.iter().enumerate() {
        by_name.insert(object.at.clone(), place);
        by_kind.entry(object.at.kind.clone()).or_default().push(place);
        by_space.entry((object.at.kind.clone(), object.at.namespace.clone())).or_default().push(place);
        if let Some(owner) = object.controller() {
            children.entry(owner).or_default().push(place);
        }
        if object.at.kind == "Pod" {
            for (key, value) in labels_of(object) {
                let key = (object.at.namespace.clone(), key.to_owned(), value.to_owned());
                pods_by_label.entry(key).or_default().push(place);
            }
        }
        if object.at.kind == "Event"
            && let Some(about) = about(object)
        {
            events.entry(about).or_default().push(place);
        }
    }
    for places in events.values_mut() {
        places.sort_by_key(|&place| last_seen(&list[place]));
    }
    let latest_ms = latest(&list);
    Objects { list, by_name, by_kind, by_space, children, pods_by_label, events, listed, logs, gaps, latest_ms }
}

pub(super) fn first_seen(event: &Object) -> Option<AtMs> {
    when::parse(&event["firstTimestamp"])
        .or_else(|| when::parse(&event["deprecatedFirstTimestamp"]))
        .or_else(|| when::parse(&event["eventTime"]))
        .or_else(|| event.created_ms())
}

pub(super) fn last_seen(event: &Object) -> Option<AtMs> {
    when::parse(&event["series"]["lastObservedTime"])
        .or_else(|| when::parse(&event["lastTimestamp"]))
        .or_else(|| when::parse(&event["deprecatedLastTimestamp"]))
        .or_else(|| first_seen(event))
}

/// When a node last said that it lives.
fn heartbeat(node: &Object) -> Option<AtMs> {
    items(&node["status"]["conditions"])
        .iter()
        .filter(|condition| text(&condition["type"]) == "Ready")
        .find_map(|condition| when::parse(&condition["lastHeartbeatTime"]))
}

/// When each node last renewed its lease, by node.
pub(crate) fn renewals<'a>(leases: impl Iterator<Item = &'a Object>) -> BTreeMap<String, AtMs> {
    leases
        .filter(|lease| lease.namespace() == "kube-node-lease")
        .filter_map(|lease| Some((lease.name().to_owned(), when::parse(&lease["spec"]["renewTime"])?)))
        .collect()
}

/// The middle of the given points.
pub(crate) fn median(mut points: Vec<AtMs>) -> Option<AtMs> {
    points.sort_unstable();
    points.get(points.len() / 2).copied()
}

/// The latest stamp of any object, leaving out what a node with a clock of its own wrote.
fn latest(list: &[Object]) -> Option<AtMs> {
    let leases = renewals(list.iter().filter(|object| object.at.kind == "Lease"));
    let middle = median(leases.values().copied().collect());
    let skewed: HashSet<&str> = leases
        .iter()
        .filter(|(_, at)| middle.is_some_and(|middle| **at - middle > SKEW_MAX_MS))
        .map(|(node, _)| node.as_str())
        .collect();
    let counts = |object: &&Object| {
        let node = if object.at.kind == "Node" { object.name() } else { text(&object["spec"]["nodeName"]) };
        !skewed.contains(node)
    };
    let written = list.iter().filter(|o| o.at.kind != "Lease").filter(counts).flat_map(stamps);
    let lived = list.iter().filter(|o| o.at.kind == "Node").filter(counts).filter_map(heartbeat);
    written.chain(lived).chain(middle).max()
}
