//! The bag of objects that rules read: lookups by name, kind, owner, label and event, and what is known to
//! be missing. An absent object is evidence only where its kind was given for its namespace.

mod index;

pub(crate) use index::{SKEW_MAX_MS, median, renewals};

use std::collections::{BTreeMap, HashMap, HashSet};

use opsward_domain::time::AtMs;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::object::{Object, Ref, items, kind_word, text};

/// Kinds that belong to the whole cluster, among those that rules read.
const CLUSTER_KINDS: [&str; 17] = [
    "APIService",
    "CSIDriver",
    "CSINode",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "GatewayClass",
    "IngressClass",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "RuntimeClass",
    "StorageClass",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
];

/// Owners are followed at most this far up.
const OWNERS_MAX: usize = 8;

/// Something that could not be looked at, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gap {
    /// What: a kind, a file, a source.
    pub what: String,
    /// Why not.
    pub reason: String,
}

/// The end of one container's log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogTail {
    /// Its last lines, oldest first.
    pub lines: Vec<String>,
}

/// Objects while they are gathered. Turn it into [`Objects`] when everything is in.
#[derive(Debug, Clone, Default)]
pub struct Collection {
    list: Vec<Object>,
    places: HashMap<Ref, usize>,
    listed: HashSet<(String, Option<String>)>,
    logs: BTreeMap<(String, String, String), LogTail>,
    gaps: Vec<Gap>,
}

impl Collection {
    /// Adds a value: an object, or a list of them of any depth up to 4. Returns how many objects it held.
    /// A later object of the same name wins if its `resourceVersion` is not older.
    pub fn add(&mut self, value: Value) -> usize {
        self.add_nested(value, 4)
    }

    fn add_nested(&mut self, mut value: Value, depth: usize) -> usize {
        let kind = text(&value["kind"]).to_owned();
        if let Some(item_kind) = kind.strip_suffix("List")
            && value["items"].is_array()
        {
            let api_version = text(&value["apiVersion"]).to_owned();
            let Value::Array(list) = value["items"].take() else { return 0 };
            return if depth == 0 { 0 } else { self.add_items(list, item_kind, &api_version, depth) };
        }
        let Some(object) = Object::new(value) else { return 0 };
        self.add_object(object);
        1
    }

    fn add_items(&mut self, list: Vec<Value>, item_kind: &str, api_version: &str, depth: usize) -> usize {
        let mut namespaces: HashMap<String, HashSet<String>> = HashMap::new();
        let mut count = 0;
        for mut item in list {
            if !item_kind.is_empty() && item.is_object() && !item["kind"].is_string() {
                item["kind"] = Value::String(item_kind.to_owned());
                item["apiVersion"] = Value::String(api_version.to_owned());
            }
            if item["kind"].is_string() {
                let kind = kind_word(text(&item["apiVersion"]), text(&item["kind"]));
                namespaces.entry(kind).or_default().insert(text(&item["metadata"]["namespace"]).to_owned());
            }
            count += self.add_nested(item, depth - 1);
        }
        // A list that spans namespaces was asked for over all of them.
        for (kind, spaces) in namespaces {
            if spaces.len() > 1 {
                self.listed.insert((kind, None));
            }
        }
        count
    }

    fn add_object(&mut self, object: Object) {
        let version = |object: &Object| text(&object["metadata"]["resourceVersion"]).parse::<u64>().unwrap_or(0);
        match self.places.get(&object.at) {
            Some(&place) => {
                if version(&object) >= version(&self.list[place]) {
                    self.list[place] = object;
                }
            }
            None => {
                self.places.insert(object.at.clone(), self.list.len());
                self.list.push(object);
            }
        }
    }

    /// Notes that every object of a kind was given: in one namespace, or in all of them.
    pub fn note_listed(&mut self, kind: &str, namespace: Option<&str>) {
        self.listed.insert((kind.to_owned(), namespace.map(str::to_owned)));
    }

    /// Notes that something could not be looked at.
    pub fn note_gap(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        self.gaps.push(Gap { what: what.into(), reason: reason.into() });
    }

    /// Adds the end of a container's log.
    pub fn add_log(&mut self, namespace: &str, pod: &str, container: &str, tail: LogTail) {
        self.logs.insert((namespace.to_owned(), pod.to_owned(), container.to_owned()), tail);
    }

    /// How many objects are in.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True if nothing is in.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Builds the lookups. `namespace` keeps only its objects and those of the whole cluster.
    pub fn index(mut self, namespace: Option<&str>) -> Objects {
        if let Some(namespace) = namespace {
            self.list.retain(|object| object.namespace().is_empty() || object.namespace() == namespace);
            self.logs.retain(|(space, _, _), _| space == namespace);
        }
        self.list.sort_by(|a, b| a.at.cmp(&b.at));
        self.gaps.sort();
        self.gaps.dedup();
        index::build(self.list, self.listed, self.logs, self.gaps)
    }
}

/// The bag, ready to be read.
#[derive(Debug)]
pub struct Objects {
    list: Vec<Object>,
    by_name: HashMap<Ref, usize>,
    by_kind: BTreeMap<String, Vec<usize>>,
    by_space: HashMap<(String, String), Vec<usize>>,
    children: HashMap<Ref, Vec<usize>>,
    pods_by_label: HashMap<(String, String, String), Vec<usize>>,
    events: HashMap<Ref, Vec<usize>>,
    listed: HashSet<(String, Option<String>)>,
    logs: BTreeMap<(String, String, String), LogTail>,
    gaps: Vec<Gap>,
    latest_ms: Option<AtMs>,
}

impl Objects {
    /// Everything, sorted by kind, namespace and name.
    pub fn all(&self) -> &[Object] {
        &self.list
    }

    /// What could not be looked at.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// How many objects of each kind there are.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.by_kind.iter().map(|(kind, list)| (kind.clone(), list.len())).collect()
    }

    /// The latest point in time that a server wrote into any object.
    pub fn latest_ms(&self) -> Option<AtMs> {
        self.latest_ms
    }

    pub(crate) fn get(&self, at: &Ref) -> Option<&Object> {
        self.by_name.get(at).map(|&place| &self.list[place])
    }

    pub(crate) fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&Object> {
        self.get(&Ref::new(kind, namespace, name))
    }

    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Object> {
        self.by_kind.get(kind).into_iter().flatten().map(|&place| &self.list[place])
    }

    pub(crate) fn in_space(&self, kind: &str, namespace: &str) -> impl Iterator<Item = &Object> {
        let key = (kind.to_owned(), namespace.to_owned());
        self.by_space.get(&key).into_iter().flatten().map(|&place| &self.list[place])
    }

    /// True if an object of this kind that is not here is known not to exist.
    pub(crate) fn knows(&self, kind: &str, namespace: &str) -> bool {
        if CLUSTER_KINDS.contains(&kind) {
            return self.by_kind.contains_key(kind) || self.listed.iter().any(|(listed, _)| listed == kind);
        }
        self.by_space.contains_key(&(kind.to_owned(), namespace.to_owned()))
            || self.listed.contains(&(kind.to_owned(), None))
            || self.listed.contains(&(kind.to_owned(), Some(namespace.to_owned())))
    }

    /// True if the object is known not to exist.
    pub(crate) fn is_absent(&self, at: &Ref) -> bool {
        self.knows(&at.kind, &at.namespace) && self.get(at).is_none()
    }

    /// Objects that say this one manages them.
    pub(crate) fn children(&self, owner: &Ref) -> impl Iterator<Item = &Object> {
        self.children.get(owner).into_iter().flatten().map(|&place| &self.list[place])
    }

    /// The chain of managers, nearest first; the last may be known by name only.
    pub(crate) fn owners(&self, object: &Object) -> Vec<Ref> {
        let mut chain = Vec::new();
        let mut next = object.controller();
        while let Some(owner) = next {
            if chain.len() == OWNERS_MAX || chain.contains(&owner) {
                break;
            }
            next = self.get(&owner).and_then(Object::controller);
            chain.push(owner);
        }
        chain
    }

    /// Who manages it in the end; itself if nobody does.
    pub(crate) fn top(&self, object: &Object) -> Ref {
        self.owners(object).pop().filter(|owner| owner.kind != "Node").unwrap_or_else(|| object.at.clone())
    }

    /// Pods that a workload manages, directly or through its children.
    pub(crate) fn pods_under(&self, owner: &Ref) -> Vec<&Object> {
        let mut pods = Vec::new();
        let mut open = vec![(owner.clone(), 0)];
        while let Some((at, depth)) = open.pop() {
            for child in self.children(&at) {
                match child.at.kind.as_str() {
                    "Pod" => pods.push(child),
                    _ if depth < OWNERS_MAX => open.push((child.at.clone(), depth + 1)),
                    _ => {}
                }
            }
        }
        pods.sort_by(|a, b| a.at.cmp(&b.at));
        pods
    }

    /// Pods of a namespace whose labels have every pair of a plain map.
    pub(crate) fn pods_with(&self, namespace: &str, labels: &Value) -> Vec<&Object> {
        let lists = crate::object::pairs(labels).map(|(key, value)| {
            self.pods_by_label
                .get(&(namespace.to_owned(), key.to_owned(), value.to_owned()))
                .map_or(&[][..], Vec::as_slice)
        });
        let Some(shortest) = lists.min_by_key(|list| list.len()) else {
            return self.in_space("Pod", namespace).collect();
        };
        shortest
            .iter()
            .map(|&place| &self.list[place])
            .filter(|pod| crate::selector::map_matches(labels, &pod["metadata"]["labels"]))
            .collect()
    }

    /// Pods that a LabelSelector matches.
    pub(crate) fn pods_selected(&self, namespace: &str, selector: &Value) -> Vec<&Object> {
        let mut pods = self.pods_with(namespace, &selector["matchLabels"]);
        pods.retain(|pod| crate::selector::matches(selector, &pod["metadata"]["labels"]));
        pods
    }

    /// Workloads of a namespace that make pods and are nobody's child.
    pub(crate) fn workloads(&self, namespace: &str) -> impl Iterator<Item = &Object> {
        ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "ReplicationController"]
            .into_iter()
            .flat_map(|kind| self.in_space(kind, namespace).collect::<Vec<_>>())
            .filter(|workload| workload.controller().is_none())
    }

    /// Events about an object, oldest first.
    pub(crate) fn events(&self, at: &Ref) -> impl DoubleEndedIterator<Item = Happening<'_>> {
        self.events.get(at).into_iter().flatten().map(|&place| Happening::of(&self.list[place]))
    }

    /// The end of a container's log, if it was given.
    pub(crate) fn log(&self, namespace: &str, pod: &str, container: &str) -> Option<&LogTail> {
        self.logs.get(&(namespace.to_owned(), pod.to_owned(), container.to_owned()))
    }

    /// Every log that was given, with namespace, pod and container.
    pub(crate) fn logs(&self) -> impl Iterator<Item = (&(String, String, String), &LogTail)> {
        self.logs.iter()
    }
}

/// An event in the shape that both event APIs share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Happening<'a> {
    pub(crate) at: &'a Ref,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
    pub(crate) field: &'a str,
    pub(crate) first_ms: Option<AtMs>,
    pub(crate) last_ms: Option<AtMs>,
}

impl<'a> Happening<'a> {
    fn of(event: &'a Object) -> Self {
        let message = event["message"].as_str().or_else(|| event["note"].as_str()).unwrap_or_default();
        let about = if event["involvedObject"].is_object() { &event["involvedObject"] } else { &event["regarding"] };
        Self {
            at: &event.at,
            reason: text(&event["reason"]),
            message,
            field: text(&about["fieldPath"]),
            first_ms: index::first_seen(event),
            last_ms: index::last_seen(event),
        }
    }
}

/// What an event is about.
fn about(event: &Object) -> Option<Ref> {
    let about = if event["involvedObject"].is_object() { &event["involvedObject"] } else { &event["regarding"] };
    let name = about["name"].as_str()?;
    Some(Ref::new(kind_word(text(&about["apiVersion"]), text(&about["kind"])), text(&about["namespace"]), name))
}

fn labels_of(object: &Object) -> impl Iterator<Item = (&str, &str)> {
    crate::object::pairs(&object["metadata"]["labels"])
}

/// Every timestamp of an object that tells how late it is. Deadlines and expiries lie ahead and are left out.
fn stamps(object: &Object) -> impl Iterator<Item = AtMs> + '_ {
    let status = ["startTime", "completionTime", "lastScheduleTime", "lastSuccessfulTime", "lastScaleTime"]
        .into_iter()
        .map(|key| &object["status"][key]);
    let own = ["lastTimestamp", "firstTimestamp", "eventTime"].into_iter().map(|key| &object[key]);
    let nested = [
        &object["metadata"]["managedFields"],
        &object["status"]["conditions"],
        &object["status"]["containerStatuses"],
        &object["status"]["initContainerStatuses"],
    ];
    let nested = nested.into_iter().flat_map(items).flat_map(|entry| {
        let ended = ["state", "lastState"]
            .into_iter()
            .flat_map(|state| [&entry[state]["running"]["startedAt"], &entry[state]["terminated"]["finishedAt"]]);
        ["time", "lastTransitionTime", "lastUpdateTime"].into_iter().map(|key| &entry[key]).chain(ended)
    });
    let fixed = [&object["metadata"]["creationTimestamp"], &object["series"]["lastObservedTime"]];
    status.chain(own).chain(nested).chain(fixed).filter_map(crate::when::parse)
}
