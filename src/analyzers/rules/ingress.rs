//! Ingresses: class, backends and their ports, certificates.

use serde_json::Value;

use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, items, text};
use crate::symptom::Symptom;
use crate::{certificate, near, when};

use super::{Cx, DAY_MS, SETTLE_MS};

/// A certificate that ends this soon is worth a word.
const EXPIRY_MS: i64 = 7 * DAY_MS;

pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for ingress in cx.objects.of_kind("Ingress").filter(|ingress| ingress.deleted_ms().is_none()) {
        out.extend(class(cx, ingress));
        for (field, backend) in backends(ingress) {
            out.extend(served(cx, ingress, &field, &backend));
        }
        for (place, tls) in items(&ingress["spec"]["tls"]).iter().enumerate() {
            if let Some(name) = tls["secretName"].as_str().filter(|name| !name.is_empty()) {
                let secret = Ref::new("Secret", ingress.namespace(), name);
                out.extend(tls_secret(cx, ingress, &format!("spec.tls[{place}].secretName"), &secret));
            }
        }
    }
}

/// A Service and port that an Ingress sends to.
struct Backend<'a> {
    service: &'a str,
    port: &'a Value,
}

fn backends(ingress: &Object) -> Vec<(String, Backend<'_>)> {
    let rules = items(&ingress["spec"]["rules"]).iter().flat_map(|rule| {
        let host = text(&rule["host"]);
        items(&rule["http"]["paths"])
            .iter()
            .map(move |path| (format!("spec.rules[{host}{}].backend", text(&path["path"])), &path["backend"]))
    });
    let default = [&ingress["spec"]["defaultBackend"], &ingress["spec"]["backend"]]
        .map(|at| ("spec.defaultBackend".to_owned(), at));
    rules
        .chain(default)
        .filter_map(|(field, backend)| {
            let new = &backend["service"];
            let service = new["name"].as_str().or_else(|| backend["serviceName"].as_str())?;
            let port = [&new["port"]["number"], &new["port"]["name"], &backend["servicePort"]]
                .into_iter()
                .find(|port| !port.is_null());
            Some((field, Backend { service, port: port.unwrap_or(&Value::Null) }))
        })
        .collect()
}

/// The Ingress or route that sends traffic to a Service.
pub(super) fn routes_to(cx: &Cx<'_>, service: &Object) -> Option<Ref> {
    let ingress = cx
        .objects
        .in_space("Ingress", service.namespace())
        .find(|ingress| backends(ingress).iter().any(|(_, backend)| backend.service == service.name()));
    ingress.map(|ingress| ingress.at.clone()).or_else(|| super::route::routes_to(cx, service))
}

fn class(cx: &Cx<'_>, ingress: &Object) -> Option<Symptom> {
    let named = ingress["spec"]["ingressClassName"].as_str();
    if let Some(name) = named {
        let class = Ref::new("IngressClass", "", name);
        if !cx.objects.is_absent(&class) {
            return None;
        }
        let names: Vec<&str> = cx.objects.of_kind("IngressClass").map(Object::name).collect();
        let hint = near::nearest(name, names.iter().copied())
            .map_or_else(|| format!("; there is {}", names.join(", ")), |near| format!("; there is {near:?}"));
        return Some(
            Symptom::new(
                "ingress-class-missing",
                Severity::Critical,
                &ingress.at,
                "spec.ingressClassName",
                format!("asks for the class {name:?}, which does not exist, so no controller serves it{hint}"),
            )
            .quote(&ingress.at, "spec.ingressClassName", name)
            .since(ingress.created_ms())
            .remedy(
                Remedy::step("correct ingressClassName, or install the controller of that class").kubectl(
                    "edit",
                    &ingress.at,
                    "",
                ),
            ),
        );
    }
    let old = ingress.annotation("kubernetes.io/ingress.class").is_some();
    let default = |class: &Object| class.annotation("ingressclass.kubernetes.io/is-default-class") == Some("true");
    if old
        || !cx.objects.knows("IngressClass", "")
        || cx.objects.of_kind("IngressClass").any(default)
        || served_already(ingress)
    {
        return None;
    }
    Some(
        Symptom::new(
            "ingress-class-unset",
            Severity::Error,
            &ingress.at,
            "spec.ingressClassName",
            "names no class, and no class is the default one, so no controller serves it",
        )
        .since(ingress.created_ms())
        .quote(&ingress.at, "status.loadBalancer", &ingress["status"]["loadBalancer"].to_string())
        .remedy(Remedy::step("set ingressClassName, or make one class the default")),
    )
}

fn served_already(ingress: &Object) -> bool {
    !items(&ingress["status"]["loadBalancer"]["ingress"]).is_empty()
}

fn served(cx: &Cx<'_>, ingress: &Object, field: &str, backend: &Backend<'_>) -> Option<Symptom> {
    let at = Ref::new("Service", ingress.namespace(), backend.service);
    let Some(service) = cx.objects.get(&at) else {
        if !cx.objects.is_absent(&at) {
            return None;
        }
        let hint = near::hint(backend.service, cx.objects.in_space("Service", ingress.namespace()).map(Object::name));
        return Some(
            Symptom::new(
                "ingress-backend-missing",
                Severity::Critical,
                &ingress.at,
                &format!("{field}.service.name"),
                format!("sends to the Service {:?}, which does not exist{hint}", backend.service),
            )
            .quote(&ingress.at, format!("{field}.service.name"), backend.service)
            .remedy(Remedy::step("create the Service, or correct the backend").kubectl(
                "edit",
                &ingress.at,
                "",
            )),
        );
    };
    let ports = items(&service["spec"]["ports"]);
    let name = |port: &Value| port.as_str().map(str::to_owned);
    let fits =
        |port: &Value| port["port"] == *backend.port || (name(backend.port).is_some() && port["name"] == *backend.port);
    if !backend.port.is_null() && !ports.iter().any(fits) && text(&service["spec"]["type"]) != "ExternalName" {
        let shown: Vec<String> = ports.iter().map(|port| port["port"].to_string()).collect();
        return Some(
            Symptom::new(
                "ingress-backend-port",
                Severity::Critical,
                &ingress.at,
                &format!("{field}.service.port"),
                format!("sends to port {} of {at}, which has {}", backend.port, shown.join(", ")),
            )
            .quote(&ingress.at, format!("{field}.service.port"), &backend.port.to_string())
            .remedy(
                Remedy::step("correct the backend's port: it is the Service's port, not the container's").kubectl(
                    "edit",
                    &ingress.at,
                    "",
                ),
            ),
        );
    }
    Some(
        Symptom::new(
            "ingress-backend-down",
            Severity::Critical,
            &ingress.at,
            field,
            format!("has nothing behind {}", field.trim_start_matches("spec.").trim_end_matches(".backend")),
        )
        .because([at])
        .only_if_explained(),
    )
}

/// A Secret that should hold a certificate: is it there, and is the certificate valid now.
pub(super) fn tls_secret(cx: &Cx<'_>, user: &Object, field: &str, at: &Ref) -> Option<Symptom> {
    let Some(secret) = cx.objects.get(at) else {
        let issued = user["metadata"]["annotations"]
            .as_object()
            .is_some_and(|all| all.keys().any(|key| key.starts_with("cert-manager.io/")));
        if !cx.objects.is_absent(at) || (issued && !cx.older(user.created_ms(), SETTLE_MS * 5)) {
            return None;
        }
        let order = cx
            .objects
            .in_space("Certificate.cert-manager.io", &at.namespace)
            .find(|order| text(&order["spec"]["secretName"]) == at.name);
        let mut symptom = Symptom::new(
            "tls-secret-missing",
            Severity::Error,
            at,
            "metadata.name",
            "does not exist, so there is no certificate",
        )
        .seen_on(&user.at, format!("{field} names it"))
        .quote(&user.at, field, &at.name);
        if let Some(ready) = order.and_then(|order| order.condition("Ready")).filter(|c| !c.is("True")) {
            symptom = symptom.quote(
                &Ref::new("Certificate.cert-manager.io", at.namespace.clone(), order.map_or("", |order| order.name())),
                "status.conditions[Ready].message",
                ready.message,
            );
        }
        return Some(symptom.remedy(Remedy::step("create the TLS Secret, or see why whoever issues it does not")));
    };
    let kind = text(&secret["type"]);
    if !kind.is_empty()
        && kind != "kubernetes.io/tls"
        && secret["data"].is_object()
        && secret["data"]["tls.crt"].is_null()
    {
        return Some(
            Symptom::new(
                "tls-secret-kind",
                Severity::Error,
                at,
                "type",
                format!("is of type {kind} and holds no tls.crt"),
            )
            .seen_on(&user.at, format!("{field} names it"))
            .remedy(Remedy::step("put certificate and key into it as tls.crt and tls.key")),
        );
    }
    expiry(cx, at, "data[tls.crt]", certificate::validity_of_secret(text(&secret["data"]["tls.crt"]))?)
        .map(|symptom| symptom.seen_on(&user.at, format!("{field} uses it")))
}

/// A certificate that is over, not begun, or nearly over.
pub(super) fn expiry(cx: &Cx<'_>, root: &Ref, field: &str, (from, to): (i64, i64)) -> Option<Symptom> {
    let now = cx.now_ms?;
    let (rule, severity, claim) = if to <= now {
        (
            "certificate-expired",
            Severity::Critical,
            format!("holds a certificate that ended on {} ({} ago)", when::iso(to), when::span(now - to)),
        )
    } else if from > now {
        (
            "certificate-not-yet-valid",
            Severity::Error,
            format!("holds a certificate that begins on {}", when::iso(from)),
        )
    } else if to - now < EXPIRY_MS {
        (
            "certificate-expires-soon",
            Severity::Warning,
            format!("holds a certificate that ends on {} (in {})", when::iso(to), when::span(to - now)),
        )
    } else {
        return None;
    };
    Some(
        Symptom::new(rule, severity, root, field, claim)
            .since((to <= now).then_some(to))
            .quote(root, field, &format!("valid from {} to {}", when::iso(from), when::iso(to)))
            .remedy(Remedy::step("renew the certificate; if something renews it by itself, see why it did not")),
    )
}
