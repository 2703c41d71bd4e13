//! NetworkPolicies that select nothing, or that shut out what a Service lets in. A default deny is no fault.

use serde_json::Value;

use crate::finding::{Remedy, Severity};
use crate::object::{Object, items, pairs, text};
use crate::selector;
use crate::symptom::Symptom;

use super::Cx;

/// DNS.
const DNS_PORT: i64 = 53;

pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    let mut spaces: Vec<&str> = Vec::new();
    for policy in cx.objects.of_kind("NetworkPolicy").filter(|policy| policy.deleted_ms().is_none()) {
        if !spaces.contains(&policy.namespace()) {
            spaces.push(policy.namespace());
        }
        out.extend(selects_nothing(cx, policy));
        out.extend(no_names(policy));
    }
    for space in spaces {
        for service in cx.objects.in_space("Service", space) {
            out.extend(shut_out(cx, service));
        }
    }
}

fn directions(policy: &Object) -> (bool, bool) {
    let kinds: Vec<&str> = items(&policy["spec"]["policyTypes"]).iter().map(text).collect();
    if kinds.is_empty() {
        return (true, !items(&policy["spec"]["egress"]).is_empty());
    }
    (kinds.contains(&"Ingress"), kinds.contains(&"Egress"))
}

fn selects_nothing(cx: &Cx<'_>, policy: &Object) -> Option<Symptom> {
    let wanted = &policy["spec"]["podSelector"];
    if !cx.selects_nothing(policy.namespace(), wanted) {
        return None;
    }
    let shown = selector::shown_full(wanted);
    Some(
        Symptom::new(
            "network-policy-selects-nothing",
            Severity::Warning,
            &policy.at,
            "spec.podSelector",
            format!("selects {shown:?}, and no pod has these labels: it protects nothing"),
        )
        .quote(&policy.at, "spec.podSelector", &shown)
        .remedy(Remedy::step("correct podSelector, or remove the policy")),
    )
}

/// Egress that is meant to reach services by name, but not the names.
fn no_names(policy: &Object) -> Option<Symptom> {
    let (_, egress) = directions(policy);
    let rules = items(&policy["spec"]["egress"]);
    let by_name = |rule: &Value| {
        items(&rule["to"]).iter().any(|to| to["podSelector"].is_object() || to["namespaceSelector"].is_object())
    };
    if !egress || !rules.iter().any(by_name) || rules.iter().any(|rule| port_allowed(rule, DNS_PORT, "", "UDP")) {
        return None;
    }
    Some(
        Symptom::new(
            "network-policy-blocks-dns",
            Severity::Warning,
            &policy.at,
            "spec.egress",
            "lets its pods call other pods, but not ask DNS for their names",
        )
        .quote(&policy.at, "spec.egress", &policy["spec"]["egress"].to_string())
        .remedy(Remedy::step("allow egress to the cluster's DNS on port 53, UDP and TCP, unless another policy does")),
    )
}

/// True if a rule lets a port pass.
fn port_allowed(rule: &Value, number: i64, name: &str, protocol: &str) -> bool {
    let ports = items(&rule["ports"]);
    ports.is_empty()
        || ports.iter().any(|port| {
            let spoken = port["protocol"].as_str().unwrap_or("TCP");
            let last = port["endPort"].as_i64();
            let at = &port["port"];
            let within =
                at.as_i64().is_some_and(|from| last.map_or(from == number, |last| (from..=last).contains(&number)));
            spoken == protocol && (at.is_null() || within || (!name.is_empty() && at.as_str() == Some(name)))
        })
}

/// A Service whose port no policy lets in, while policies do isolate its pods.
fn shut_out(cx: &Cx<'_>, service: &Object) -> Option<Symptom> {
    pairs(&service["spec"]["selector"]).next()?;
    let pods = cx.objects.pods_with(service.namespace(), &service["spec"]["selector"]);
    let pod = pods.iter().find(|pod| pod.condition("Ready").is_some_and(|ready| ready.is("True")))?;
    let policies: Vec<&Object> = cx
        .objects
        .in_space("NetworkPolicy", service.namespace())
        .filter(|policy| {
            directions(policy).0 && selector::matches(&policy["spec"]["podSelector"], &pod["metadata"]["labels"])
        })
        .collect();
    if policies.is_empty() {
        return None;
    }
    let ports = items(&service["spec"]["ports"]);
    let open = ports.iter().any(|port| {
        let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
        let (number, name) = target_of(pod, target);
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        policies.iter().flat_map(|policy| items(&policy["spec"]["ingress"])).any(|rule| {
            port_allowed(rule, number, &name, protocol)
                && (items(&rule["from"]).is_empty()
                    || items(&rule["from"]).iter().any(|from| anyone(cx, service.namespace(), from)))
        })
    });
    if open || ports.is_empty() {
        return None;
    }
    // Rules that let something in, only not this, are the likelier slip than the deny beside them.
    let policy = policies.iter().find(|policy| !items(&policy["spec"]["ingress"]).is_empty()).unwrap_or(&policies[0]);
    let shown: Vec<String> = ports
        .iter()
        .map(
            |port| if port["targetPort"].is_null() { port["port"].to_string() } else { port["targetPort"].to_string() },
        )
        .collect();
    let claim = format!("lets nobody reach the pods of {} on port {}", service.at, shown.join(", "));
    Some(
        Symptom::new("network-policy-blocks-service", Severity::Error, &policy.at, "spec.ingress", claim)
            .detail(service.name())
            .seen_on(&service.at, "its pods are ready, and no policy lets anybody in")
            .since(policy.created_ms())
            .quote(&policy.at, "spec.ingress", &policy["spec"]["ingress"].to_string())
            .remedy(Remedy::step("allow the callers on the pods' port (the container's, not the Service's)")),
    )
}

/// Number and name of the container port that a Service's target means.
fn target_of(pod: &Object, target: &Value) -> (i64, String) {
    let ports = items(&pod["spec"]["containers"]).iter().flat_map(|container| items(&container["ports"]));
    let mut same = ports.filter(|port| port["containerPort"] == *target || port["name"] == *target);
    match same.next() {
        Some(port) => (port["containerPort"].as_i64().unwrap_or(-1), text(&port["name"]).to_owned()),
        None => (target.as_i64().unwrap_or(-1), text(target).to_owned()),
    }
}

/// True unless a peer is known to be nobody.
fn anyone(cx: &Cx<'_>, space: &str, from: &Value) -> bool {
    let pods = &from["podSelector"];
    if from["ipBlock"].is_object() || from["namespaceSelector"].is_object() || selector::is_empty(pods) {
        return true;
    }
    let template = |workload: &Object| {
        workload.template().is_some_and(|template| selector::matches(pods, &template["metadata"]["labels"]))
    };
    !cx.objects.pods_selected(space, pods).is_empty() || cx.objects.workloads(space).any(template)
}
