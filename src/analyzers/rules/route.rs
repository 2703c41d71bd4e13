//! Routes of the Gateway API: parents that accept them, backends that exist.

use crate::finding::{Remedy, Severity};
use crate::near;
use crate::object::{Object, Ref, condition_in, items, text};
use crate::symptom::Symptom;

use super::{Cx, SETTLE_MS};

const KINDS: [&str; 5] = ["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"];

pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for route in
        KINDS.into_iter().flat_map(|kind| cx.objects.of_kind(kind)).filter(|route| route.deleted_ms().is_none())
    {
        let before = out.len();
        out.extend(items(&route["spec"]["parentRefs"]).iter().filter_map(|parent| missing_parent(cx, route, parent)));
        for (field, backend) in backends(route) {
            out.extend(served(cx, route, &field, backend));
        }
        let found = out[before..].iter().any(|symptom| symptom.alone);
        if !found {
            out.extend(judged(cx, route));
        }
    }
}

fn backends(route: &Object) -> impl Iterator<Item = (String, &serde_json::Value)> {
    items(&route["spec"]["rules"]).iter().enumerate().flat_map(|(number, rule)| {
        items(&rule["backendRefs"])
            .iter()
            .map(move |backend| (format!("spec.rules[{number}].backendRefs[{}]", text(&backend["name"])), backend))
    })
}

fn target(route: &Object, reference: &serde_json::Value, kind: &str) -> Option<Ref> {
    if reference["kind"].as_str().unwrap_or(kind) != kind {
        return None;
    }
    let space = reference["namespace"].as_str().unwrap_or_else(|| route.namespace());
    Some(Ref::new(kind, space, text(&reference["name"])))
}

/// A route that sends traffic to a Service.
pub(super) fn routes_to(cx: &Cx<'_>, service: &Object) -> Option<Ref> {
    KINDS
        .into_iter()
        .flat_map(|kind| cx.objects.in_space(kind, service.namespace()))
        .find(|route| {
            backends(route).any(|(_, backend)| target(route, backend, "Service").as_ref() == Some(&service.at))
        })
        .map(|route| route.at.clone())
}

fn missing_parent(cx: &Cx<'_>, route: &Object, parent: &serde_json::Value) -> Option<Symptom> {
    let gateway = target(route, parent, "Gateway")?;
    let field = format!("spec.parentRefs[{}]", gateway.name);
    let Some(found) = cx.objects.get(&gateway) else {
        return cx.objects.is_absent(&gateway).then(|| {
            Symptom::new(
                "route-gateway-missing",
                Severity::Critical,
                &route.at,
                &field,
                format!("hangs on {gateway}, which does not exist"),
            )
            .quote(&route.at, field.clone(), &gateway.name)
            .remedy(Remedy::step("create the Gateway, or correct parentRefs"))
        });
    };
    let listener = parent["sectionName"].as_str()?;
    let names: Vec<&str> = items(&found["spec"]["listeners"]).iter().map(|listener| text(&listener["name"])).collect();
    if names.contains(&listener) {
        return None;
    }
    let claim = format!("hangs on the listener {listener:?} of {gateway}, which has {}", names.join(", "));
    Some(
        Symptom::new("route-listener-missing", Severity::Critical, &route.at, &format!("{field}.sectionName"), claim)
            .quote(&route.at, format!("{field}.sectionName"), listener)
            .remedy(Remedy::step("correct sectionName, or add the listener to the Gateway")),
    )
}

fn served(cx: &Cx<'_>, route: &Object, field: &str, backend: &serde_json::Value) -> Option<Symptom> {
    let at = target(route, backend, "Service")?;
    let Some(service) = cx.objects.get(&at) else {
        if !cx.objects.is_absent(&at) {
            return None;
        }
        let hint = near::hint(&at.name, cx.objects.in_space("Service", &at.namespace).map(Object::name));
        return Some(
            Symptom::new(
                "route-backend-missing",
                Severity::Critical,
                &route.at,
                field,
                format!("sends to {at}, which does not exist{hint}"),
            )
            .quote(&route.at, field, &at.name)
            .remedy(Remedy::step("create the Service, or correct the backend")),
        );
    };
    let port = &backend["port"];
    let ports = items(&service["spec"]["ports"]);
    if !port.is_null() && !ports.iter().any(|have| have["port"] == *port) {
        let shown: Vec<String> = ports.iter().map(|port| port["port"].to_string()).collect();
        return Some(
            Symptom::new(
                "route-backend-port",
                Severity::Critical,
                &route.at,
                field,
                format!("sends to port {port} of {at}, which has {}", shown.join(", ")),
            )
            .quote(&route.at, format!("{field}.port"), &port.to_string())
            .remedy(Remedy::step("correct the port: it is the Service's port, not the container's")),
        );
    }
    if at.namespace != route.namespace()
        && cx.objects.knows("ReferenceGrant", &at.namespace)
        && !granted(cx, route, &at)
    {
        return Some(
            Symptom::new(
                "route-not-granted",
                Severity::Critical,
                &route.at,
                field,
                format!("sends to {at} in another namespace, which has not granted that"),
            )
            .remedy(Remedy::step("add a ReferenceGrant in that namespace for this kind of route")),
        );
    }
    Some(
        Symptom::new("route-backend-down", Severity::Critical, &route.at, field, format!("has nothing behind {field}"))
            .because([at])
            .only_if_explained(),
    )
}

fn granted(cx: &Cx<'_>, route: &Object, service: &Ref) -> bool {
    cx.objects.in_space("ReferenceGrant", &service.namespace).any(|grant| {
        let from = items(&grant["spec"]["from"])
            .iter()
            .any(|from| text(&from["kind"]) == route.at.kind && text(&from["namespace"]) == route.namespace());
        let to = items(&grant["spec"]["to"])
            .iter()
            .any(|to| text(&to["kind"]) == service.kind && to["name"].as_str().is_none_or(|name| name == service.name));
        from && to
    })
}

/// What the Gateway's controller says of the route.
fn judged(cx: &Cx<'_>, route: &Object) -> Option<Symptom> {
    items(&route["status"]["parents"]).iter().find_map(|parent| {
        ["Accepted", "ResolvedRefs"].into_iter().find_map(|kind| {
            let said = condition_in(&parent["conditions"], kind)
                .filter(|c| c.is("False") && cx.older(c.since_ms, SETTLE_MS))?;
            let gateway = text(&parent["parentRef"]["name"]);
            let meaning = match said.reason {
                "NotAllowedByListeners" => "none of its listeners allows this route's kind or namespace",
                "NoMatchingListenerHostname" => "no listener has a host name that fits",
                "NoMatchingParent" => "no listener fits the port or section it names",
                "BackendNotFound" => "a backend does not exist",
                "RefNotPermitted" => "a reference into another namespace is not granted",
                "InvalidKind" => "a reference has a kind it cannot use",
                "UnsupportedValue" => "it asks for something this Gateway cannot do",
                _ => "it is refused",
            };
            let space = parent["parentRef"]["namespace"].as_str().unwrap_or_else(|| route.namespace());
            Some(
                Symptom::new(
                    "route-not-accepted",
                    Severity::Critical,
                    &route.at,
                    &format!("status.parents[{gateway}].conditions[{kind}]"),
                    format!("is not served by Gateway {gateway}: {meaning}"),
                )
                .detail(said.reason)
                .since(said.since_ms)
                .quote(&route.at, format!("status.parents[{gateway}].conditions[{kind}].message"), said.message)
                .because([Ref::new("Gateway", space, gateway)])
                .remedy(Remedy::step("change the route, or what its Gateway allows, as the message says")),
            )
        })
    })
}
