//! Pods that run but never become ready.

use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, items, text};
use crate::rules::logs;
use crate::symptom::Symptom;
use crate::when;

use super::{Container, Cx, MINUTE_MS, SETTLE_MS, containers, crash};

/// A program gets at least this long to become ready.
const WARM_MS: i64 = SETTLE_MS;

pub(super) fn run(cx: &Cx<'_>, pod: &Object) -> Option<Symptom> {
    let ready = pod.condition("Ready")?;
    if ready.is("True") || ready.reason == "PodCompleted" {
        return None;
    }
    if let Some(symptom) = hanging_init(cx, pod) {
        return Some(symptom);
    }
    let all = containers(pod);
    let unready = all.iter().find(|c| {
        let running = c.status["state"]["running"].is_object();
        let sidecar = !c.init || text(&c.spec["restartPolicy"]) == "Always";
        running && sidecar && c.status["ready"] == false
    });
    match unready {
        Some(container) => probe(cx, container),
        None => gates(cx, pod),
    }
}

/// How long a container may take before its probe counts as failing.
fn patience_ms(container: &Container<'_>) -> i64 {
    let of = |probe: &str| {
        let probe = &container.spec[probe];
        let number = |key: &str, default: i64| probe[key].as_i64().unwrap_or(default).clamp(0, 86_400);
        if probe.is_object() {
            (number("initialDelaySeconds", 0) + number("periodSeconds", 10) * number("failureThreshold", 3)) * 1000
        } else {
            0
        }
    };
    WARM_MS.max(of("readinessProbe") + of("startupProbe"))
}

fn probe(cx: &Cx<'_>, container: &Container<'_>) -> Option<Symptom> {
    let pod = container.pod;
    let started = when::parse(&container.status["state"]["running"]["startedAt"]);
    let changed = pod.condition("ContainersReady").or_else(|| pod.condition("Ready")).and_then(|c| c.since_ms);
    // It was ready before: only the time since it stopped being so counts.
    let since = started.max(changed);
    let was_ready = changed > started;
    let patience = if was_ready { MINUTE_MS } else { patience_ms(container) };
    if !cx.older(since, patience) {
        return None;
    }
    let top = cx.objects.top(pod);
    let starting = container.status["started"] == false && container.spec["startupProbe"].is_object();
    let (rule, field, word) = if starting {
        ("startup-probe-fails", "startupProbe", "startup")
    } else {
        ("readiness-probe-fails", "readinessProbe", "readiness")
    };
    let spec = &container.spec[field];
    let event = cx
        .objects
        .events(&pod.at)
        .rev()
        .find(|event| event.reason == "Unhealthy" && event.message.to_lowercase().contains(word));
    let claim = format!("{} runs but its {word} probe fails{}", container.shown(), crash::shown_probe(spec));
    let mut symptom = Symptom::new(rule, Severity::Error, &top, &container.spec_field(&top, field), claim)
        .seen_on(&pod.at, format!("{} is not ready", container.shown()))
        .since(since);
    if let Some(event) = event {
        symptom = symptom.quote(event.at, "message", event.message);
    }
    if let Some(hint) = port_hint(container, spec) {
        symptom = symptom.remedy(Remedy::step(hint));
    }
    if let Some((revision, action)) = crate::owner::rollback(cx.objects, pod) {
        symptom = symptom.remedy(
            Remedy::step(format!("if it began with the newest revision, roll back to revision {revision}"))
                .action(&top.namespace, action)
                .kubectl("rollout undo", &top, &format!(" --to-revision={revision}")),
        );
    }
    let remedy = Remedy::step(
        "ask the program on that port and path why it is not ready; correct the probe if it asks the wrong thing",
    );
    Some(logs::attach(cx, container, symptom.remedy(remedy)).quote(
        &pod.at,
        "status.conditions[Ready].message",
        pod.condition("Ready").map_or("", |c| c.message),
    ))
}

/// The probe asks a port that no container of the pod declares.
fn port_hint(container: &Container<'_>, probe: &serde_json::Value) -> Option<String> {
    let asked = [&probe["httpGet"]["port"], &probe["tcpSocket"]["port"]].into_iter().find(|port| !port.is_null())?;
    let ports: Vec<&serde_json::Value> = items(&container.spec["ports"]).iter().collect();
    let declared = ports.iter().any(|port| port["containerPort"] == *asked || port["name"] == *asked);
    let shown: Vec<String> = ports.iter().map(|port| port["containerPort"].to_string()).collect();
    (!declared && !ports.is_empty()).then(|| {
        format!("the probe asks port {asked}, the container declares {}: correct one of them", shown.join(", "))
    })
}

/// An init container that has run for long: whatever it waits for does not come.
fn hanging_init(cx: &Cx<'_>, pod: &Object) -> Option<Symptom> {
    let all = containers(pod);
    let hanging = all
        .iter()
        .find(|c| c.init && c.status["state"]["running"].is_object() && text(&c.spec["restartPolicy"]) != "Always")?;
    let started = when::parse(&hanging.status["state"]["running"]["startedAt"]);
    if !cx.older(started, 10 * MINUTE_MS) {
        return None;
    }
    let top = cx.objects.top(pod);
    let field = hanging.spec_field(&top, "command");
    let waited = waits_for(cx, hanging);
    let symptom = Symptom::new(
        "init-container-hangs",
        Severity::Error,
        &top,
        &field,
        format!("{} does not end", hanging.shown()),
    )
    .seen_on(&pod.at, format!("{} has run for {}", hanging.shown(), when::span(cx.age_ms(started))))
    .since(started)
    .remedy(Remedy::step("see what it waits for in its log and command, and bring that up"))
    .because(waited);
    Some(logs::attach(cx, hanging, symptom))
}

/// Services of the namespace that the container's command names.
fn waits_for(cx: &Cx<'_>, container: &Container<'_>) -> Vec<Ref> {
    let words: Vec<&str> =
        ["command", "args"].into_iter().flat_map(|part| items(&container.spec[part])).map(text).collect();
    logs::services_named(cx, container.pod.namespace(), &words)
}

/// Every container is ready, but a readiness gate is not.
fn gates(cx: &Cx<'_>, pod: &Object) -> Option<Symptom> {
    let closed = items(&pod["spec"]["readinessGates"])
        .iter()
        .map(|gate| text(&gate["conditionType"]))
        .find(|kind| pod.condition(kind).is_none_or(|c| !c.is("True")))?;
    let since = pod.condition("ContainersReady").filter(|c| c.is("True")).and_then(|c| c.since_ms)?;
    if !cx.older(since.into(), 5 * MINUTE_MS) {
        return None;
    }
    Some(
        Symptom::new(
            "readiness-gate-closed",
            Severity::Error,
            &pod.at,
            "spec.readinessGates",
            format!("its containers are ready, but the readiness gate {closed:?} is not"),
        )
        .since(Some(since))
        .quote(&pod.at, format!("status.conditions[{closed}].message"), pod.condition(closed).map_or("", |c| c.message))
        .remedy(Remedy::step("look at the controller that sets this condition, for example that of the load balancer")),
    )
}
