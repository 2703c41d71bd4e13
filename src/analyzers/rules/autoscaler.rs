//! HorizontalPodAutoscalers: do they see their target, its metrics, and room to grow.

use crate::finding::{Remedy, Severity};
use crate::near;
use crate::object::{Object, Ref, items, text};
use crate::symptom::Symptom;

use super::{Cx, MINUTE_MS};

/// At its maximum for this long is worth a word.
const LIMITED_MS: i64 = 15 * MINUTE_MS;
/// Metrics of new pods take this long.
const METRICS_MS: i64 = 5 * MINUTE_MS;

pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for scaler in cx.objects.of_kind("HorizontalPodAutoscaler").filter(|scaler| scaler.deleted_ms().is_none()) {
        let reference = &scaler["spec"]["scaleTargetRef"];
        let kind = crate::object::kind_word(text(&reference["apiVersion"]), text(&reference["kind"]));
        let target = Ref::new(kind, scaler.namespace(), text(&reference["name"]));
        if cx.objects.is_absent(&target) {
            out.push(no_target(cx, scaler, &target));
            continue;
        }
        if let Some(symptom) = no_requests(cx, scaler, &target) {
            out.push(symptom);
            continue;
        }
        out.extend(blind(cx, scaler, &target));
        out.extend(limited(cx, scaler, &target));
    }
}

fn no_target(cx: &Cx<'_>, scaler: &Object, target: &Ref) -> Symptom {
    let hint = near::hint(&target.name, cx.objects.in_space(&target.kind, &target.namespace).map(Object::name));
    Symptom::new(
        "autoscaler-target-missing",
        Severity::Error,
        &scaler.at,
        "spec.scaleTargetRef",
        format!("scales {target}, which does not exist{hint}"),
    )
    .since(scaler.condition("AbleToScale").filter(|c| c.is("False")).and_then(|c| c.since_ms))
    .quote(
        &scaler.at,
        "status.conditions[AbleToScale].message",
        scaler.condition("AbleToScale").map_or("", |c| c.message),
    )
    .quote(&scaler.at, "spec.scaleTargetRef.name", &target.name)
    .remedy(Remedy::step("correct scaleTargetRef, or remove the autoscaler"))
}

/// A share of a request needs the request.
fn no_requests(cx: &Cx<'_>, scaler: &Object, target: &Ref) -> Option<Symptom> {
    let workload = cx.objects.get(target)?;
    let template = workload.template()?;
    let mut wanted: Vec<(&str, Option<&str>)> = items(&scaler["spec"]["metrics"])
        .iter()
        .filter_map(|metric| {
            let (at, container) = match text(&metric["type"]) {
                "Resource" => (&metric["resource"], None),
                "ContainerResource" => {
                    (&metric["containerResource"], metric["containerResource"]["container"].as_str())
                }
                _ => return None,
            };
            (text(&at["target"]["type"]) == "Utilization").then(|| (text(&at["name"]), container))
        })
        .collect();
    if scaler["spec"]["targetCPUUtilizationPercentage"].is_number() {
        wanted.push(("cpu", None));
    }
    // A LimitRange with defaults fills in what the template leaves out.
    if cx.objects.in_space("LimitRange", scaler.namespace()).next().is_some() {
        return None;
    }
    wanted.into_iter().find_map(|(resource, only)| {
        let bare = items(&template["spec"]["containers"]).iter().find(|container| {
            let resources = &container["resources"];
            only.is_none_or(|only| text(&container["name"]) == only)
                && resources["requests"][resource].is_null()
                && resources["limits"][resource].is_null()
        })?;
        let name = text(&bare["name"]);
        let said = scaler.condition("ScalingActive").filter(|c| c.is("False"));
        let mut symptom = Symptom::new(
            "autoscaler-no-request",
            Severity::Error,
            target,
            &format!("spec.template.spec.containers[{name}].resources.requests.{resource}"),
            format!("its autoscaler wants a share of requested {resource}, and container {name} requests none"),
        )
        .seen_on(&scaler.at, format!("cannot compute {resource} utilization"))
        .since(said.and_then(|c| c.since_ms))
        .remedy(Remedy::step(format!("set resources.requests.{resource} on container {name}")));
        symptom = symptom.quote(&scaler.at, "status.conditions[ScalingActive].message", said.map_or("", |c| c.message));
        Some(symptom)
    })
}

fn blind(cx: &Cx<'_>, scaler: &Object, target: &Ref) -> Option<Symptom> {
    if let Some(said) = scaler
        .condition("AbleToScale")
        .filter(|c| c.is("False") && c.reason != "BackoffBoth" && !c.reason.starts_with("Backoff"))
    {
        return Some(
            Symptom::new(
                "autoscaler-cannot-scale",
                Severity::Error,
                &scaler.at,
                "spec.scaleTargetRef",
                format!("cannot scale {target}"),
            )
            .since(said.since_ms)
            .quote(&scaler.at, "status.conditions[AbleToScale].message", said.message)
            .remedy(Remedy::step("check scaleTargetRef: kind, name and apiVersion")),
        );
    }
    let said = scaler.condition("ScalingActive").filter(|c| c.is("False") && c.reason != "ScalingDisabled")?;
    if !cx.older(said.since_ms, METRICS_MS) {
        return None;
    }
    let (api, what) = if said.reason.contains("External") {
        ("external.metrics.k8s.io", "external metrics")
    } else if said.reason.contains("Pods") || said.reason.contains("Object") {
        ("custom.metrics.k8s.io", "custom metrics")
    } else {
        ("metrics.k8s.io", "resource metrics")
    };
    let services: Vec<Ref> = cx
        .objects
        .of_kind("APIService")
        .filter(|api_service| api_service.name().ends_with(&format!(".{api}")))
        .map(|s| s.at.clone())
        .collect();
    let absent = cx.objects.knows("APIService", "")
        && !cx.objects.of_kind("APIService").any(|s| {
            let name = s.name();
            name.split_once('.').is_some_and(|(_, group)| group == api)
        });
    let claim = if absent {
        format!("sees no {what}: nothing in the cluster serves {api}")
    } else {
        format!("sees no {what} of {target}")
    };
    let remedy = if absent {
        format!("install what serves {api}, such as metrics-server or an adapter")
    } else {
        format!("check what serves {api}, and that the metric exists")
    };
    let mut causes = services;
    causes.extend(cx.pods_as_cause(target));
    Some(
        Symptom::new("autoscaler-no-metrics", Severity::Error, &scaler.at, "spec.metrics", claim)
            .since(said.since_ms)
            .quote(&scaler.at, "status.conditions[ScalingActive].message", said.message)
            .because(causes)
            .remedy(Remedy::step(remedy)),
    )
}

/// It wants more than it may.
fn limited(cx: &Cx<'_>, scaler: &Object, target: &Ref) -> Option<Symptom> {
    let said = scaler.condition("ScalingLimited").filter(|c| c.is("True") && c.reason == "TooManyReplicas")?;
    let (now, max) = (scaler["status"]["currentReplicas"].as_i64()?, scaler["spec"]["maxReplicas"].as_i64()?);
    if now < max || !cx.older(said.since_ms, LIMITED_MS) {
        return None;
    }
    Some(
        Symptom::new(
            "autoscaler-at-maximum",
            Severity::Warning,
            &scaler.at,
            "spec.maxReplicas",
            format!("wants more than the {max} replicas of {target} that it may have"),
        )
        .since(said.since_ms)
        .quote(&scaler.at, "status.conditions[ScalingLimited].message", said.message)
        .because(cx.pods_as_cause(target))
        .remedy(Remedy::step("raise maxReplicas if the cluster has room; otherwise find out what the load is")),
    )
}
