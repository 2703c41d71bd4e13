//! What looks like a cause and is none now: restarts that are over, pods on their way out, nodes that came back,
//! monitors and alerts that are content. Says only what the present state shows.

use opsward_analyzers::objects::Objects;
use opsward_analyzers::{Object, Report as Cluster};
use opsward_bundle::{Bundle, shown_time};
use opsward_causes::case::Event;
use serde_json::Value;

use crate::join::Book;
use crate::report::{RuledOut, Window};

/// Most that is listed.
const LISTED_MAX: usize = 30;

/// Text of a value.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn condition<'a>(object: &'a Object, kind: &str) -> Option<&'a str> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|one| text(&one["type"]) == kind)
        .map(|one| text(&one["status"]))
}

fn is_ready(object: &Object) -> bool {
    condition(object, "Ready") == Some("True")
}

/// Everything that is none now.
pub(crate) fn out(bundle: &Bundle, objects: &Objects, cluster: &Cluster, book: &mut Book) -> Vec<RuledOut> {
    let mut list = Vec::new();
    let blamed = |name: &str| {
        cluster.findings.iter().any(|finding| finding.cause_chain.iter().any(|link| link.object.name == name))
    };
    for pod in objects.all().iter().filter(|object| object.at.kind == "Pod" && !blamed(&object.at.name)) {
        list.extend(pod_over(bundle, pod, book));
    }
    for node in objects.all().iter().filter(|object| object.at.kind == "Node" && is_ready(object)) {
        list.extend(node_back(bundle, node, book));
    }
    list.extend(siblings(objects, cluster));
    for monitor in bundle.monitors.iter().filter(|monitor| !monitor.alarms) {
        let cited = book.cite(&monitor.file, &format!("monitor {:?}", monitor.name), None, &monitor.state);
        let what = format!("monitor {}", monitor.name);
        list.push(RuledOut { what, why: format!("it says {}", monitor.state), evidence: cited.into_iter().collect() });
    }
    if bundle.case.alert.is_none() {
        for alert in &bundle.quiet_alerts {
            list.push(RuledOut {
                what: format!("alert {}", alert.metric),
                why: "it does not fire".to_owned(),
                evidence: Vec::new(),
            });
        }
    }
    list.truncate(LISTED_MAX);
    list
}

/// Warnings about an object of this name, the latest last.
fn warnings<'a>(bundle: &'a Bundle, name: &str) -> Vec<&'a Event> {
    let case = &bundle.case;
    let about = |event: &&Event| {
        let component = event.component.and_then(|id| case.components.get(id.0 as usize));
        event.warning && (component.is_some_and(|component| component.name == name) || event.message.contains(name))
    };
    case.events.iter().filter(about).collect()
}

fn cite(book: &mut Book, event: &Event) -> Option<String> {
    let window = Some(Window { from_ms: event.first_ms, to_ms: event.at_ms });
    book.cite(&event.source, &format!("event {}", event.reason), window, &event.message)
}

/// A pod that had trouble and has none now, or that is being removed.
fn pod_over(bundle: &Bundle, pod: &Object, book: &mut Book) -> Option<RuledOut> {
    let name = &pod.at.name;
    let told = warnings(bundle, name);
    let restarts: i64 = pod["status"]["containerStatuses"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["restartCount"].as_i64())
        .sum();
    if told.is_empty() && restarts == 0 {
        return None;
    }
    let mut evidence: Vec<String> = told.last().and_then(|event| cite(book, event)).into_iter().collect();
    let deleted = text(&pod["metadata"]["deletionTimestamp"]);
    let (what, why) = if !deleted.is_empty() {
        evidence.extend(book.cite(&pod.at.to_string(), "metadata.deletionTimestamp", None, deleted));
        let owner = pod["metadata"]["ownerReferences"][0]["name"].as_str();
        let owner = owner.map(|set| format!(" of ReplicaSet {set}")).unwrap_or_default();
        (
            format!("trouble of pod {name}{owner}"),
            "it is terminating on purpose, as in a rollout or a scale-down: not a current failure".to_owned(),
        )
    } else if is_ready(pod) {
        let since = started(pod);
        let again = if restarts == 1 { "1 restart".to_owned() } else { format!("{restarts} restarts") };
        let what = if restarts > 0 { format!("{again} of pod {name}") } else { format!("warnings about pod {name}") };
        (what, format!("it has recovered: it is running and ready{since}"))
    } else {
        return None;
    };
    Some(RuledOut { what, why, evidence })
}

fn started(pod: &Object) -> String {
    let times = pod["status"]["containerStatuses"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| text(&one["state"]["running"]["startedAt"]));
    times.max().filter(|time| !time.is_empty()).map(|time| format!(" since {time}")).unwrap_or_default()
}

/// A node that was reported and is ready now.
fn node_back(bundle: &Bundle, node: &Object, book: &mut Book) -> Option<RuledOut> {
    let told = warnings(bundle, &node.at.name);
    let last = told.last()?;
    let evidence = cite(book, last).into_iter().collect();
    let what = format!("{} of node {} at {}", last.reason, node.at.name, shown_time(last.at_ms));
    Some(RuledOut { what, why: "a flap: the node has recovered and is ready now".to_owned(), evidence })
}

/// Replicas beside the broken one that are well: the fault is not in what they share.
fn siblings(objects: &Objects, cluster: &Cluster) -> Option<RuledOut> {
    let chain = &cluster.findings.first()?.cause_chain;
    let broken = chain.iter().find(|link| link.object.kind == "Pod")?;
    let pods =
        objects.all().iter().filter(|object| object.at.kind == "Pod" && object.at.namespace == broken.object.namespace);
    let owner = |name: &str| name.rsplit_once('-').map(|(set, _)| set.to_owned());
    let well: Vec<&str> = pods
        .filter(|pod| {
            pod.at.name != broken.object.name && owner(&pod.at.name) == owner(&broken.object.name) && is_ready(pod)
        })
        .map(|pod| pod.at.name.as_str())
        .collect();
    (!well.is_empty()).then(|| RuledOut {
        what: "a fault that every replica shares".to_owned(),
        why: format!("sibling pods are ready: {}", well.join(", ")),
        evidence: Vec::new(),
    })
}
