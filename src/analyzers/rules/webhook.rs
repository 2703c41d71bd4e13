//! Admission webhooks and aggregated APIs whose backend does not answer.

use serde_json::Value;

use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, items, text};
use crate::symptom::Symptom;
use crate::{certificate, near};

use super::{Cx, SETTLE_MS, ingress};

pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        for config in cx.objects.of_kind(kind).filter(|config| config.deleted_ms().is_none()) {
            for hook in items(&config["webhooks"]) {
                one(cx, config, hook, out);
            }
        }
    }
    for api in cx.objects.of_kind("APIService") {
        out.extend(unavailable(cx, api));
    }
}

fn one(cx: &Cx<'_>, config: &Object, hook: &Value, out: &mut Vec<Symptom>) {
    let name = text(&hook["name"]);
    let fails = hook["failurePolicy"].as_str().unwrap_or("Fail") == "Fail";
    let severity = if fails { Severity::Critical } else { Severity::Warning };
    let so = if fails {
        "so what it guards is refused (failurePolicy Fail)"
    } else {
        "so what it guards passes unchecked (failurePolicy Ignore)"
    };
    let client = &hook["clientConfig"];
    if let Some(service) = client["service"]["name"].as_str() {
        let at = Ref::new("Service", text(&client["service"]["namespace"]), service);
        let field = format!("webhooks[{name}].clientConfig.service");
        out.extend(backend(cx, config, name, &at, &field, client, severity, so));
    }
    let bundle = text(&client["caBundle"]);
    if let Some(validity) = certificate::validity_of_secret(bundle) {
        let field = format!("webhooks[{name}].clientConfig.caBundle");
        out.extend(ingress::expiry(cx, &config.at, &field, validity));
    }
}

#[allow(clippy::too_many_arguments, reason = "one call, and every part is said once")]
fn backend(
    cx: &Cx<'_>,
    config: &Object,
    name: &str,
    at: &Ref,
    field: &str,
    client: &Value,
    severity: Severity,
    so: &str,
) -> Option<Symptom> {
    let Some(service) = cx.objects.get(at) else {
        if !cx.objects.is_absent(at) {
            return None;
        }
        let hint = near::hint(&at.name, cx.objects.in_space("Service", &at.namespace).map(Object::name));
        return Some(
            Symptom::new(
                "webhook-service-missing",
                severity,
                &config.at,
                field,
                format!("its webhook {name:?} calls {at}, which does not exist{hint}, {so}"),
            )
            .quote(&config.at, field, &client["service"].to_string())
            .remedy(
                Remedy::step("install what the webhook belongs to, or remove the configuration that was left behind")
                    .kubectl("delete", &config.at, ""),
            ),
        );
    };
    let port = client["service"]["port"].as_i64().unwrap_or(443);
    let ports = items(&service["spec"]["ports"]);
    if !ports.iter().any(|have| have["port"].as_i64() == Some(port)) {
        let shown: Vec<String> = ports.iter().map(|port| port["port"].to_string()).collect();
        return Some(
            Symptom::new(
                "webhook-port",
                severity,
                &config.at,
                &format!("{field}.port"),
                format!("its webhook {name:?} calls port {port} of {at}, which has {}, {so}", shown.join(", ")),
            )
            .quote(&config.at, format!("{field}.port"), &port.to_string())
            .remedy(Remedy::step("correct the port in the configuration")),
        );
    }
    Some(
        Symptom::new(
            "webhook-down",
            severity,
            &config.at,
            field,
            format!("its webhook {name:?} has nobody behind {at}, {so}"),
        )
        .because([at.clone()])
        .only_if_explained(),
    )
}

fn unavailable(cx: &Cx<'_>, api: &Object) -> Option<Symptom> {
    let said = api.condition("Available").filter(|c| c.is("False") && cx.older(c.since_ms, SETTLE_MS))?;
    let service = &api["spec"]["service"];
    let at = Ref::new("Service", text(&service["namespace"]), text(&service["name"]));
    Some(
        Symptom::new(
            "api-unavailable",
            Severity::Error,
            &api.at,
            "status.conditions[Available]",
            format!("is not available: {} does not answer; deleting namespaces hangs while it is so", at),
        )
        .since(said.since_ms)
        .quote(&api.at, "status.conditions[Available].message", said.message)
        .because([at])
        .remedy(
            Remedy::step("bring its Service back, or delete the APIService if nothing serves it any more")
                .kubectl("describe", &api.at, ""),
        ),
    )
}
