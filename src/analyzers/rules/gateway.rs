//! GatewayClasses and Gateways.

use crate::finding::{Remedy, Severity};
use crate::near;
use crate::object::{Object, Ref, condition_in, items, text};
use crate::symptom::Symptom;

use super::{Cx, MINUTE_MS, SETTLE_MS, ingress};

/// A controller gets this long to say that it has seen its object.
const UNSEEN_MS: i64 = 5 * MINUTE_MS;

pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for class in cx.objects.of_kind("GatewayClass").filter(|class| class.deleted_ms().is_none()) {
        out.extend(accepted(cx, class));
    }
    for gateway in cx.objects.of_kind("Gateway").filter(|gateway| gateway.deleted_ms().is_none()) {
        let class = gateway_class(cx, gateway);
        let unknown_class = class.as_ref().is_some_and(|symptom| symptom.alone);
        out.extend(class);
        if unknown_class {
            continue;
        }
        let before = out.len();
        for listener in items(&gateway["spec"]["listeners"]) {
            certificates(cx, gateway, listener, out);
        }
        for listener in items(&gateway["status"]["listeners"]) {
            out.extend(listens(cx, gateway, listener));
        }
        if out.len() == before {
            out.extend(programmed(cx, gateway));
        }
    }
}

fn accepted(cx: &Cx<'_>, class: &Object) -> Option<Symptom> {
    let said = class.condition("Accepted");
    if said.is_some_and(|c| c.is("True")) {
        return None;
    }
    let refused = said.is_some_and(|c| c.is("False"));
    if !refused && !cx.older(class.created_ms(), UNSEEN_MS) || !class.is_live() {
        return None;
    }
    let claim = if refused {
        "is refused by its controller".to_owned()
    } else {
        format!("is not taken up by any controller: {} does not run", text(&class["spec"]["controllerName"]))
    };
    Some(
        Symptom::new("gateway-class-not-accepted", Severity::Error, &class.at, "status.conditions[Accepted]", claim)
            .quote(&class.at, "status.conditions[Accepted].message", said.map_or("", |c| c.message))
            .since(said.and_then(|c| c.since_ms))
            .remedy(Remedy::step("install or repair the controller it names, and check parametersRef")),
    )
}

fn gateway_class(cx: &Cx<'_>, gateway: &Object) -> Option<Symptom> {
    let name = text(&gateway["spec"]["gatewayClassName"]);
    let class = Ref::new("GatewayClass", "", name);
    if cx.objects.is_absent(&class) {
        let hint = near::hint(name, cx.objects.of_kind("GatewayClass").map(Object::name));
        return Some(
            Symptom::new(
                "gateway-class-missing",
                Severity::Critical,
                &gateway.at,
                "spec.gatewayClassName",
                format!("asks for the class {name:?}, which does not exist{hint}"),
            )
            .quote(&gateway.at, "spec.gatewayClassName", name)
            .remedy(Remedy::step("correct gatewayClassName, or install the controller of that class")),
        );
    }
    Some(
        Symptom::new(
            "gateway-not-served",
            Severity::Critical,
            &gateway.at,
            "spec.gatewayClassName",
            "is served by nobody",
        )
        .because([class])
        .only_if_explained(),
    )
}

fn certificates(cx: &Cx<'_>, gateway: &Object, listener: &serde_json::Value, out: &mut Vec<Symptom>) {
    for reference in items(&listener["tls"]["certificateRefs"]) {
        if reference["kind"].as_str().unwrap_or("Secret") != "Secret" {
            continue;
        }
        let space = reference["namespace"].as_str().unwrap_or_else(|| gateway.namespace());
        let at = Ref::new("Secret", space, text(&reference["name"]));
        let field = format!("spec.listeners[{}].tls.certificateRefs", text(&listener["name"]));
        out.extend(ingress::tls_secret(cx, gateway, &field, &at));
    }
}

fn listens(cx: &Cx<'_>, gateway: &Object, listener: &serde_json::Value) -> Option<Symptom> {
    let name = text(&listener["name"]);
    let bad = [("ResolvedRefs", "False"), ("Accepted", "False"), ("Conflicted", "True"), ("Programmed", "False")];
    bad.into_iter().find_map(|(kind, status)| {
        let said = condition_in(&listener["conditions"], kind)
            .filter(|c| c.is(status) && c.reason != "Pending" && cx.older(c.since_ms, SETTLE_MS))?;
        let meaning = match said.reason {
            "InvalidCertificateRef" => "its certificate cannot be used",
            "RefNotPermitted" => "its certificate lies in a namespace that has not granted it",
            "PortUnavailable" => "its port cannot be used",
            "ProtocolConflict" | "HostnameConflict" => "it conflicts with another listener",
            "InvalidRouteKinds" => "it allows a kind of route that does not exist",
            _ => "it is refused",
        };
        Some(
            Symptom::new(
                "listener-not-served",
                Severity::Error,
                &gateway.at,
                &format!("status.listeners[{name}].conditions[{kind}]"),
                format!("does not serve its listener {name:?}: {meaning}"),
            )
            .detail(name)
            .since(said.since_ms)
            .quote(&gateway.at, format!("status.listeners[{name}].conditions[{kind}].message"), said.message)
            .remedy(Remedy::step("change the listener as the message says")),
        )
    })
}

fn programmed(cx: &Cx<'_>, gateway: &Object) -> Option<Symptom> {
    ["Accepted", "Programmed"].into_iter().find_map(|kind| {
        let said = gateway.condition(kind);
        let refused = said.is_some_and(|c| c.is("False") && cx.older(c.since_ms, UNSEEN_MS));
        let unseen =
            gateway.is_live() && cx.older(gateway.created_ms(), UNSEEN_MS) && said.is_none_or(|c| c.is("Unknown"));
        if !refused && !unseen {
            return None;
        }
        let claim = if refused {
            format!("is not {}: {}", kind.to_lowercase(), said.map_or("", |c| c.reason))
        } else {
            "is not taken up by any controller".to_owned()
        };
        let class = Ref::new("GatewayClass", "", text(&gateway["spec"]["gatewayClassName"]));
        Some(
            Symptom::new(
                "gateway-not-programmed",
                Severity::Critical,
                &gateway.at,
                &format!("status.conditions[{kind}]"),
                claim,
            )
            .quote(&gateway.at, format!("status.conditions[{kind}].message"), said.map_or("", |c| c.message))
            .since(said.and_then(|c| c.since_ms))
            .because([class])
            .remedy(Remedy::step("look at the controller of its class, and at the addresses and ports it asks for")),
        )
    })
}
