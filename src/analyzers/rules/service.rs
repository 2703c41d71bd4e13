//! Services: does anything stand behind one, does it get ready, and is it listening where the Service sends.

use serde_json::Value;

use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, items, pairs, text};
use crate::symptom::Symptom;
use crate::{near, selector};

use super::{Cx, MINUTE_MS};

/// A load balancer gets this long for an address.
const BALANCER_MS: i64 = 10 * MINUTE_MS;

pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for service in cx.objects.of_kind("Service").filter(|service| service.deleted_ms().is_none()) {
        if text(&service["spec"]["type"]) == "ExternalName" {
            out.extend(external(cx, service));
            continue;
        }
        out.extend(balancer(cx, service));
        if pairs(&service["spec"]["selector"]).next().is_some() {
            selected(cx, service, out);
        } else {
            out.extend(by_hand(cx, service));
        }
    }
}

/// True if a pod counts: it is neither over nor going.
fn lives(pod: &&Object) -> bool {
    pod.deleted_ms().is_none() && !matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed")
}

fn is_ready(pod: &Object) -> bool {
    pod.condition("Ready").is_some_and(|ready| ready.is("True"))
}

fn selected(cx: &Cx<'_>, service: &Object, out: &mut Vec<Symptom>) {
    let wanted = &service["spec"]["selector"];
    let pods: Vec<&Object> = cx.objects.pods_with(service.namespace(), wanted).into_iter().filter(lives).collect();
    let templates: Vec<&Object> = cx
        .objects
        .workloads(service.namespace())
        .filter(|workload| {
            workload.template().is_some_and(|template| selector::map_matches(wanted, &template["metadata"]["labels"]))
        })
        .collect();
    if pods.is_empty() && templates.is_empty() {
        out.extend(matches_nothing(cx, service));
        return;
    }
    for port in items(&service["spec"]["ports"]) {
        out.extend(target_port(service, port, &pods, &templates));
    }
    if pods.iter().any(|pod| is_ready(pod))
        || service["spec"]["publishNotReadyAddresses"] == true
        || has_endpoints(cx, service)
    {
        return;
    }
    let empty_on_purpose = !templates.is_empty() && templates.iter().all(|workload| at_rest(workload));
    let fresh = !pods.is_empty() && pods.iter().all(|pod| cx.is_fresh(pod));
    if (pods.is_empty() && empty_on_purpose) || fresh || !service.is_live() {
        if pods.is_empty() && empty_on_purpose {
            out.push(without_endpoints(cx, service, &pods, &templates).only_if_explained());
        }
        return;
    }
    let known = !pods.is_empty() || cx.objects.knows("Pod", service.namespace());
    if known {
        out.push(without_endpoints(cx, service, &pods, &templates));
    }
}

/// A workload that has no pods because nobody wants any now.
fn at_rest(workload: &Object) -> bool {
    match workload.at.kind.as_str() {
        "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController" => workload.replicas() == 0,
        "Job" | "CronJob" => true,
        "DaemonSet" => workload["status"]["desiredNumberScheduled"].as_i64() == Some(0),
        _ => false,
    }
}

/// True if an EndpointSlice or an Endpoints object has a ready address.
fn has_endpoints(cx: &Cx<'_>, service: &Object) -> bool {
    let slices = cx.objects.in_space("EndpointSlice", service.namespace());
    let mut slices = slices.filter(|slice| slice.label("kubernetes.io/service-name") == Some(service.name()));
    let sliced = slices.any(|slice| {
        items(&slice["endpoints"]).iter().any(|endpoint| endpoint["conditions"]["ready"].as_bool().unwrap_or(true))
    });
    let listed = cx.objects.find("Endpoints", service.namespace(), service.name());
    sliced
        || listed.is_some_and(|listed| {
            items(&listed["subsets"]).iter().any(|subset| !items(&subset["addresses"]).is_empty())
        })
}

fn without_endpoints(cx: &Cx<'_>, service: &Object, pods: &[&Object], templates: &[&Object]) -> Symptom {
    let mut causes: Vec<Ref> = pods.iter().map(|pod| pod.at.clone()).collect();
    for workload in templates {
        causes.extend(cx.pods_as_cause(&workload.at));
    }
    for pod in pods {
        causes.extend(cx.objects.owners(pod));
    }
    causes.sort();
    causes.dedup();
    let behind = if pods.is_empty() {
        "its workload has no pods".to_owned()
    } else {
        format!("none of its {} pods is ready", pods.len())
    };
    let since = pods.iter().filter_map(|pod| pod.condition("Ready").and_then(|ready| ready.since_ms)).max();
    Symptom::new(
        "service-without-endpoints",
        Severity::Critical,
        &service.at,
        "spec.selector",
        format!("has no ready endpoint: {behind}"),
    )
    .since(since)
    .because(causes)
    .remedy(Remedy::step("look at the pods behind it").kubectl("describe", &service.at, ""))
}

fn matches_nothing(cx: &Cx<'_>, service: &Object) -> Option<Symptom> {
    let space = service.namespace();
    if !cx.objects.knows("Pod", space) && cx.objects.workloads(space).next().is_none() || has_endpoints(cx, service) {
        return None;
    }
    let wanted = &service["spec"]["selector"];
    let (hint, severity) = match closest(cx, service) {
        Some((workload, key, have)) => (
            format!("; {workload} would fit if its pods had {key}={} (they have {have})", text(&wanted[key.as_str()])),
            Severity::Critical,
        ),
        None => (String::new(), Severity::Error),
    };
    Some(
        Symptom::new(
            "selector-matches-nothing",
            severity,
            &service.at,
            "spec.selector",
            format!("selects {:?}, and no pod has these labels{hint}", selector::shown(wanted)),
        )
        .quote(&service.at, "spec.selector", &selector::shown(wanted))
        .since(service.created_ms())
        .remedy(
            Remedy::step(
                "make the selector and the labels of the pods the same, or remove the Service if nothing needs it",
            )
            .kubectl("edit", &service.at, ""),
        ),
    )
}

/// A workload that differs from the selector in one label: the workload, the label, what it has.
fn closest(cx: &Cx<'_>, service: &Object) -> Option<(Ref, String, String)> {
    let wanted: Vec<(&str, &str)> = pairs(&service["spec"]["selector"]).collect();
    let mut candidates: Vec<(usize, Ref, String, String)> = Vec::new();
    for workload in cx.objects.workloads(service.namespace()) {
        let Some(template) = workload.template() else { continue };
        let labels = &template["metadata"]["labels"];
        let wrong: Vec<&(&str, &str)> =
            wanted.iter().filter(|(key, value)| labels[*key].as_str() != Some(value)).collect();
        if let [(key, value)] = wrong[..] {
            let have = labels[*key].as_str();
            let similar = have.is_some_and(|have| near::nearest(value, std::iter::once(have)).is_some())
                || workload.name() == service.name();
            if wanted.len() > 1 || similar {
                let have = have.map_or_else(|| "no such label".to_owned(), |have| format!("{key}={have}"));
                candidates.push((usize::from(!similar), workload.at.clone(), (*key).to_owned(), have));
            }
        }
    }
    candidates.sort();
    candidates.into_iter().next().map(|(_, workload, key, have)| (workload, key, have))
}

/// What the containers of a template or pod declare: number, name, protocol.
fn declared(template: &Value) -> Vec<(&Value, &str, &str)> {
    ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| items(&template["spec"][list]))
        .flat_map(|container| items(&container["ports"]))
        .map(|port| (&port["containerPort"], text(&port["name"]), port["protocol"].as_str().unwrap_or("TCP")))
        .collect()
}

fn target_port(service: &Object, port: &Value, pods: &[&Object], templates: &[&Object]) -> Option<Symptom> {
    let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    let behind: Vec<&Value> = if pods.is_empty() {
        templates.iter().filter_map(|workload| workload.template()).collect()
    } else {
        pods.iter().map(|pod| &pod.value).collect()
    };
    let all: Vec<(&Value, &str, &str)> = behind.iter().flat_map(|template| declared(template)).collect();
    let fits = |(number, name, spoken): &&(&Value, &str, &str)| {
        *spoken == protocol && (*number == target || target.as_str() == Some(name))
    };
    if all.iter().any(|port| fits(&port)) {
        return None;
    }
    let shown: std::collections::BTreeSet<String> = all
        .iter()
        .map(
            |(number, name, spoken)| {
                if name.is_empty() { format!("{number}/{spoken}") } else { format!("{name} ({number}/{spoken})") }
            },
        )
        .collect();
    let shown = shown.into_iter().collect::<Vec<_>>().join(", ");
    let field = format!(
        "spec.ports[{}].targetPort",
        port["name"].as_str().map_or_else(|| port["port"].to_string(), str::to_owned)
    );
    if let Some(name) = target.as_str() {
        if behind.is_empty() {
            return None;
        }
        let has = if shown.is_empty() { "they name no port".to_owned() } else { format!("they have {shown}") };
        let claim =
            format!("sends port {} to the port named {name:?}, which its pods do not have; {has}", port["port"]);
        return Some(
            Symptom::new("service-port-name-missing", Severity::Critical, &service.at, &field, claim)
                .quote(&service.at, field.clone(), name)
                .remedy(Remedy::step("name the port in the pod template, or correct targetPort").kubectl(
                    "edit",
                    &service.at,
                    "",
                )),
        );
    }
    // Ports need not be declared. Where a pod declares some, one that is not among them is rarely meant.
    if all.is_empty() {
        return None;
    }
    let claim = format!(
        "sends port {} to port {target}/{protocol}, which its pods do not declare; they declare {shown}",
        port["port"]
    );
    Some(
        Symptom::new("service-target-port", Severity::Error, &service.at, &field, claim)
            .quote(&service.at, field.clone(), &target.to_string())
            .remedy(
                Remedy::step("send to the port the program listens on, or declare that port in the pod template")
                    .kubectl("edit", &service.at, ""),
            ),
    )
}

fn external(cx: &Cx<'_>, service: &Object) -> Option<Symptom> {
    let host = text(&service["spec"]["externalName"]);
    let inner: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    let problem = if host.is_empty() {
        Some("names no host".to_owned())
    } else if host.parse::<std::net::IpAddr>().is_ok() {
        Some(format!("names the address {host}; DNS serves an externalName as a host name, never as an address"))
    } else if let [name, space, "svc", ..] = inner[..] {
        let target = Ref::new("Service", space, name);
        cx.objects.is_absent(&target).then(|| format!("points to {target}, which does not exist"))
    } else {
        None
    };
    problem.map(|problem| {
        Symptom::new("external-name-bad", Severity::Error, &service.at, "spec.externalName", problem)
            .quote(&service.at, "spec.externalName", host)
            .remedy(Remedy::step("give it a host name that resolves; for an address, use a Service without selector and an EndpointSlice"))
    })
}

/// A Service without selector lives from endpoints that somebody writes.
fn by_hand(cx: &Cx<'_>, service: &Object) -> Option<Symptom> {
    let system = service.label("provider") == Some("kubernetes") && service.label("component") == Some("apiserver");
    if system
        || !cx.objects.knows("EndpointSlice", service.namespace())
        || !service.is_live()
        || has_endpoints(cx, service)
    {
        return None;
    }
    let knows_both = cx.objects.knows("Endpoints", service.namespace())
        || cx.objects.in_space("EndpointSlice", service.namespace()).next().is_some();
    if !knows_both || !cx.older(service.created_ms(), BALANCER_MS) {
        return None;
    }
    Some(
        Symptom::new(
            "service-without-endpoints",
            Severity::Warning,
            &service.at,
            "spec.selector",
            "has no selector, and nobody has written endpoints for it",
        )
        .remedy(Remedy::step("give it a selector, or write an EndpointSlice for it")),
    )
}

fn balancer(cx: &Cx<'_>, service: &Object) -> Option<Symptom> {
    if text(&service["spec"]["type"]) != "LoadBalancer"
        || !service["status"].is_object()
        || !items(&service["status"]["loadBalancer"]["ingress"]).is_empty()
    {
        return None;
    }
    let event = cx.objects.events(&service.at).rev().find(|event| {
        matches!(event.reason, "SyncLoadBalancerFailed" | "CreatingLoadBalancerFailed" | "AllocationFailed")
    });
    if !cx.older(service.created_ms(), if event.is_some() { MINUTE_MS } else { BALANCER_MS }) {
        return None;
    }
    let symptom = Symptom::new("load-balancer-pending", Severity::Error, &service.at, "status.loadBalancer", "waits for an address that its load balancer does not get")
        .since(service.created_ms())
        .remedy(Remedy::step("look at the events and at the controller that makes load balancers; a cluster without one needs NodePort or an Ingress"));
    Some(match event {
        Some(event) => symptom.quote(event.at, "message", event.message),
        None => symptom.quote(&service.at, "status.loadBalancer", &service["status"]["loadBalancer"].to_string()),
    })
}
