//! Containers that cannot be made or started: missing configuration, a user that is not allowed, a command
//! that is not there.

use crate::finding::{Remedy, Severity};
use crate::object::Ref;
use crate::owner;
use crate::symptom::Symptom;

use super::{Container, Cx, reference};

/// `CreateContainerConfigError`: what the kubelet needs before it can make the container.
pub(super) fn config(cx: &Cx<'_>, container: &Container<'_>, message: &str) -> Option<Symptom> {
    let pod = container.pod;
    let since = pod.condition("PodScheduled").and_then(|c| c.since_ms).or_else(|| pod.created_ms());
    let field = container.field("state.waiting.message");
    let waits = format!("{} waits: CreateContainerConfigError", container.shown());
    if message.contains("timed out waiting for the condition") {
        // The kubelet's cache was late; it tries again.
        return None;
    }
    if let Some((kind, name, key)) = reference::missing_in(message) {
        let symptom = reference::symptom(cx.objects, pod.namespace(), kind, &name, key.as_deref(), Severity::Error);
        return Some(symptom.seen_on(&pod.at, waits).since(since).quote(&pod.at, field, message));
    }
    let top = cx.objects.top(pod);
    let (rule, claim, at, remedy) = if message.contains("runAsNonRoot") {
        let claim = format!("{} may not run as root, and its image would", container.shown());
        let remedy = "set securityContext.runAsUser to a number other than 0 that the image supports, or build the image with a numeric USER";
        ("run-as-root-refused", claim, container.spec_field(&top, "securityContext.runAsUser"), remedy)
    } else if message.contains("subPath") {
        let claim = format!("{} mounts a subPath that cannot be prepared", container.shown());
        (
            "subpath-failed",
            claim,
            container.spec_field(&top, "volumeMounts"),
            "correct the subPath, or make the path inside the volume",
        )
    } else {
        let claim = format!("{} cannot be configured", container.shown());
        ("container-config", claim, container.spec_field(&top, "env"), "correct what the kubelet names")
    };
    Some(
        Symptom::new(rule, Severity::Error, &top, &at, claim)
            .seen_on(&pod.at, waits)
            .since(since)
            .quote(&pod.at, field, message)
            .remedy(Remedy::step(remedy)),
    )
}

/// What the runtime's words say of why a process cannot be started: rule, claim, remedy.
pub(super) fn start_class(words: &str) -> Option<(&'static str, &'static str, &'static str)> {
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if says(&["exec format error"]) {
        Some((
            "image-platform",
            "its program is built for another processor",
            "build the image for the node's platform, or select nodes that fit",
        ))
    } else if says(&["executable file not found", "no such file or directory: unknown", "stat ", "not found in $PATH"])
        && !says(&["error mounting"])
    {
        Some(("command-not-found", "its command does not exist in the image", "correct command and args, or the image"))
    } else if says(&["permission denied"]) && !says(&["error mounting"]) {
        Some((
            "command-not-executable",
            "its command may not be executed",
            "make the file executable in the image, or correct the command",
        ))
    } else if says(&[
        "error mounting",
        "not a directory: unknown",
        "mount through procfd",
        "are you trying to mount a directory onto a file",
    ]) {
        Some((
            "mount-path-invalid",
            "one of its mounts does not fit the image",
            "correct mountPath and subPath: a file cannot be mounted over a folder",
        ))
    } else {
        None
    }
}

/// The runtime could not make or start the container.
pub(super) fn runtime(cx: &Cx<'_>, container: &Container<'_>, message: &str) -> Symptom {
    let pod = container.pod;
    let top = cx.objects.top(pod);
    let reason = container.status["state"]["waiting"]["reason"].as_str().unwrap_or_default();
    let (rule, why, remedy) = start_class(message).unwrap_or((
        "container-create-failed",
        "the container runtime refuses it",
        "read the runtime's words and correct what they name; restart the pod if a former container is in the way",
    ));
    start_symptom(cx, container, &top, Severity::Error, rule, why, remedy)
        .seen_on(&pod.at, format!("{} waits: {reason}", container.shown()))
        .since(pod.condition("PodScheduled").and_then(|c| c.since_ms).or_else(|| pod.created_ms()))
        .quote(&pod.at, container.field("state.waiting.message"), message)
}

/// A symptom of a command that cannot run, with the way back if there is one.
pub(super) fn start_symptom(
    cx: &Cx<'_>,
    container: &Container<'_>,
    top: &Ref,
    severity: Severity,
    rule: &'static str,
    why: &str,
    remedy: &str,
) -> Symptom {
    let at = if rule == "image-platform" { "image" } else { "command" };
    let mut symptom = Symptom::new(
        rule,
        severity,
        top,
        &container.spec_field(top, at),
        format!("{} cannot start: {why}", container.shown()),
    );
    if let Some((revision, action)) = owner::rollback(cx.objects, container.pod) {
        symptom = symptom.remedy(
            Remedy::step(format!("roll back to revision {revision}, which ran with another template"))
                .action(&top.namespace, action)
                .kubectl("rollout undo", top, &format!(" --to-revision={revision}")),
        );
    }
    symptom.remedy(Remedy::step(remedy))
}
