//! Pods that the API server does not let a controller make: quota, admission, a missing account, a webhook.

use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, text};
use crate::symptom::Symptom;

use super::Cx;

/// The words between two marks.
fn between<'a>(words: &'a str, before: &str, after: &str) -> Option<&'a str> {
    words.split_once(before).and_then(|(_, rest)| rest.split_once(after)).map(|(found, _)| found)
}

/// What a `FailedCreate` of a controller means, rooted where it can be fixed.
pub(super) fn symptom(cx: &Cx<'_>, controller: &Object, message: &str) -> Symptom {
    let top = cx.objects.top(controller);
    let namespace = controller.namespace();
    let spec = |rest: &str| format!("spec.template.spec.{rest}");
    let of_workload =
        |rule: &'static str, field: String, claim: String| Symptom::new(rule, Severity::Error, &top, &field, claim);
    let found = if let Some(quota) = between(message, "exceeded quota: ", ",") {
        exceeded(cx, &Ref::new("ResourceQuota", namespace, quota), &top, message)
    } else if let Some(quota) = between(message, "failed quota: ", ":") {
        let rest = message
            .split("must specify ")
            .nth(1)
            .unwrap_or("requests and limits")
            .split([' ', ';'])
            .next()
            .unwrap_or_default();
        of_workload(
            "quota-needs-requests",
            spec("containers.resources"),
            format!("does not say {rest}, which quota {quota} demands"),
        )
        .remedy(Remedy::step(format!(
            "set {rest} on every container, or give the namespace a LimitRange with defaults"
        )))
    } else if message.contains("error looking up service account")
        || (message.contains("serviceaccount \"") && message.contains("not found"))
    {
        let name = between(message, "serviceaccount \"", "\"").unwrap_or_default();
        Symptom::new(
            "service-account-missing",
            Severity::Error,
            &Ref::new("ServiceAccount", namespace, name),
            "metadata.name",
            "does not exist",
        )
        .remedy(Remedy::step("create the ServiceAccount, or correct serviceAccountName in the pod template"))
    } else if message.contains("violates PodSecurity") {
        let level = between(message, "violates PodSecurity \"", "\"").unwrap_or_default();
        let why = message.split_once("\": ").map_or("", |(_, why)| why);
        of_workload("pod-security-refused", spec("securityContext"), format!("breaks the namespace's Pod Security level {level:?}"))
            .detail(why.to_owned())
            .remedy(Remedy::step("set the security context that the message asks for; lowering the namespace's level concerns everything in it"))
    } else if let Some(webhook) = between(message, "failed calling webhook \"", "\"") {
        webhook_fails(cx, &top, webhook)
    } else if let Some(webhook) = between(message, "admission webhook \"", "\" denied") {
        of_workload("admission-denied", spec(""), format!("is refused by the admission webhook {webhook:?}"))
            .detail(webhook.to_owned())
            .remedy(Remedy::step("change the workload as the webhook's message asks, or the policy behind it"))
    } else {
        by_cluster(controller, &top, message)
    };
    found.seen_on(&controller.at, "cannot make pods")
}

/// Refusals that name an object of the whole cluster or a bound, and the rest.
fn by_cluster(controller: &Object, top: &Ref, message: &str) -> Symptom {
    let spec = |rest: &str| format!("spec.template.spec.{rest}");
    let of_workload =
        |rule: &'static str, field: String, claim: String| Symptom::new(rule, Severity::Error, top, &field, claim);
    if message.contains("PriorityClass") {
        let name = between(message, "with name ", " was found")
            .or_else(|| between(message, "priorityclass \"", "\""))
            .unwrap_or_default();
        Symptom::new(
            "priority-class-missing",
            Severity::Error,
            &Ref::new("PriorityClass", "", name),
            "metadata.name",
            "does not exist",
        )
        .remedy(Remedy::step("create the PriorityClass, or correct priorityClassName in the pod template"))
    } else if message.contains("RuntimeClass \"") {
        let name = between(message, "RuntimeClass \"", "\"").unwrap_or_default();
        Symptom::new(
            "runtime-class-missing",
            Severity::Error,
            &Ref::new("RuntimeClass", "", name),
            "metadata.name",
            "does not exist",
        )
        .remedy(Remedy::step("create the RuntimeClass, or correct runtimeClassName in the pod template"))
    } else if message.contains("usage per Container is")
        || message.contains("usage per Pod is")
        || message.contains("limit to request ratio")
    {
        of_workload(
            "limit-range-refused",
            spec("containers.resources"),
            "asks for more or less than the namespace's LimitRange allows".to_owned(),
        )
        .remedy(Remedy::step("bring requests and limits within the LimitRange, or widen it"))
    } else {
        of_workload("create-refused", spec(""), "has pods that the API server does not let it make".to_owned())
            .remedy(Remedy::step("change what the message names").kubectl("describe", &controller.at, ""))
    }
}

fn exceeded(cx: &Cx<'_>, quota: &Ref, top: &Ref, message: &str) -> Symptom {
    let limited = message.split_once("limited: ").map_or("", |(_, rest)| rest);
    let requested = between(message, "requested: ", ", used:").unwrap_or_default();
    let mut used = between(message, "used: ", ", limited:").unwrap_or_default().to_owned();
    if used.is_empty() {
        used = "all of it".to_owned();
    }
    let what = requested.split('=').next().unwrap_or_default();
    let claim = format!("is used up: {top} asks for {requested}, {used} of {limited} is used");
    let field = if what.is_empty() { "spec.hard".to_owned() } else { format!("spec.hard.{what}") };
    let free = format!("raise the quota, or free {what}: scale down what is not needed");
    let biggest = cx.objects.get(quota).map_or("", |quota| text(&quota["status"]["used"][what]));
    let note = if biggest.is_empty() { free } else { format!("{free} ({biggest} is used now)") };
    Symptom::new("quota-exceeded", Severity::Error, quota, &field, claim)
        .remedy(Remedy::step(note).kubectl("describe", quota, ""))
}

/// The webhook configuration that declares a webhook of this name.
fn webhook_fails(cx: &Cx<'_>, top: &Ref, webhook: &str) -> Symptom {
    let declared = ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"]
        .into_iter()
        .flat_map(|kind| cx.objects.of_kind(kind))
        .find(|config| crate::object::items(&config["webhooks"]).iter().any(|hook| text(&hook["name"]) == webhook));
    let claim = format!("its webhook {webhook:?} does not answer, so nothing that it guards can be made");
    let (root, field) = match declared {
        Some(config) => (config.at.clone(), format!("webhooks[{webhook}]")),
        None => (top.clone(), String::new()),
    };
    let symptom = Symptom::new("webhook-fails", Severity::Critical, &root, &field, claim)
        .detail(webhook.to_owned())
        .remedy(Remedy::step(
            "bring the service behind the webhook back; until then failurePolicy Ignore lets requests pass unchecked",
        ));
    if declared.is_some() { symptom.because([root]) } else { symptom }
}

/// The newest refusal that a controller was told of: its condition, else its latest event.
pub(super) fn told<'a>(cx: &Cx<'a>, controller: &'a Object) -> Option<(&'a Ref, String, &'a str, Option<i64>)> {
    if let Some(failure) = controller.condition("ReplicaFailure").filter(|c| c.is("True")) {
        return Some((
            &controller.at,
            "status.conditions[ReplicaFailure].message".to_owned(),
            failure.message,
            failure.since_ms,
        ));
    }
    let event = cx.objects.events(&controller.at).rev().find(|event| event.reason == "FailedCreate")?;
    Some((event.at, "message".to_owned(), event.message, event.first_ms))
}

/// A symptom of a controller that is short of pods, if it was told why.
pub(super) fn run(cx: &Cx<'_>, controller: &Object) -> Option<Symptom> {
    let (source, field, message, since) = told(cx, controller)?;
    Some(symptom(cx, controller, message).since(since).quote(source, field, message))
}
