//! Images that cannot be had: wrong name or tag, no right to it, a registry that does not answer, a policy
//! that forbids pulling, a platform without a build.

use crate::finding::{Remedy, Severity};
use crate::object::{items, text};
use crate::owner;
use crate::symptom::Symptom;

use super::{Container, Cx, event_text};

const REASONS: [&str; 8] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "ImageInspectError",
    "SignatureValidationFailed",
    "ErrRegistryUnavailable",
];

pub(super) fn is_reason(reason: &str) -> bool {
    REASONS.contains(&reason)
}

/// What kind of refusal the runtime's words tell of.
fn class(reason: &str, words: &str) -> (&'static str, &'static str) {
    let words = words.to_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    match reason {
        "InvalidImageName" => return ("image-name-invalid", "the name is not a valid image name"),
        "ErrImageNeverPull" => return ("image-never-pulled", "it is not on the node and imagePullPolicy is Never"),
        "SignatureValidationFailed" => return ("image-signature", "its signature is not accepted"),
        _ => {}
    }
    if says(&["no match for platform", "no matching manifest", "does not match the specified platform"]) {
        ("image-platform", "there is no build of it for the node's platform")
    } else if says(&["toomanyrequests", "too many requests", "429", "rate limit"]) {
        ("image-rate-limited", "the registry limits how often it may be pulled")
    } else if says(&[
        "manifest unknown",
        "not found",
        "manifest_unknown",
        "does not exist or no pull access",
        "name unknown",
    ]) && !says(&["authorization failed", "no basic auth", "unauthorized: authentication"])
    {
        ("image-not-found", "there is no such image or tag")
    } else if says(&[
        "unauthorized",
        "denied",
        "forbidden",
        "authentication required",
        "no basic auth",
        "401",
        "403",
        "authorization failed",
    ]) {
        ("image-unauthorized", "the registry refuses the credentials, or none were given")
    } else if says(&[
        "no such host",
        "i/o timeout",
        "connection refused",
        "dial tcp",
        "tls",
        "x509",
        "deadline exceeded",
        "server misbehaving",
        "500",
        "502",
        "503",
    ]) {
        ("image-registry-unreachable", "the registry does not answer")
    } else if says(&["no space left"]) {
        ("image-no-space", "the node has no room for it")
    } else {
        ("image-pull-failed", "it cannot be pulled")
    }
}

pub(super) fn run(cx: &Cx<'_>, container: &Container<'_>, reason: &str, message: &str) -> Option<Symptom> {
    let pod = container.pod;
    let image = text(&container.status["image"]);
    let image = if image.is_empty() { text(&container.spec["image"]) } else { image };
    // "Back-off pulling image" says nothing of the reason; the event before it does.
    let told = cx
        .objects
        .events(&pod.at)
        .rev()
        .find(|event| event.message.contains("Failed to pull image") && event.message.contains(image));
    let words = if message.contains("Back-off") && !message.contains("ErrImagePull:") {
        told.map_or(message, |event| event.message)
    } else {
        message
    };
    let (rule, why) = class(reason, words);
    let top = cx.objects.top(pod);
    let first = told.and_then(|event| event.first_ms).or_else(|| pod.condition("Initialized").and_then(|c| c.since_ms));
    let mut symptom = Symptom::new(
        rule,
        Severity::Error,
        &top,
        &container.spec_field(&top, "image"),
        format!("{} cannot start: image {image:?}: {why}", container.shown()),
    )
    .detail(image)
    .seen_on(&pod.at, format!("{} waits: {reason}", container.shown()))
    .since(first.or_else(|| pod.created_ms()))
    .quote(&pod.at, container.field("state.waiting.message"), message);
    if let Some(event) = told.or_else(|| event_text(cx, pod, &["Failed"])) {
        symptom = symptom.quote(event.at, "message", event.message);
    }
    Some(remedies(cx, container, rule, symptom))
}

fn remedies(cx: &Cx<'_>, container: &Container<'_>, rule: &str, mut symptom: Symptom) -> Symptom {
    let pod = container.pod;
    let root = symptom.root.clone();
    if let Some((revision, action)) = owner::rollback(cx.objects, pod) {
        symptom = symptom.remedy(
            Remedy::step(format!("roll back to revision {revision}, which ran with another template"))
                .action(&root.namespace, action)
                .kubectl("rollout undo", &root, &format!(" --to-revision={revision}")),
        );
    }
    let secrets: Vec<&str> =
        items(&pod["spec"]["imagePullSecrets"]).iter().map(|secret| text(&secret["name"])).collect();
    symptom.remedy(match rule {
        "image-unauthorized" if secrets.is_empty() => Remedy::step(
            "give the pod, or its service account, an imagePullSecrets entry for this registry; it has none",
        ),
        "image-unauthorized" => Remedy::step(format!("renew the credentials in pull secret {}", secrets.join(", "))),
        "image-never-pulled" => Remedy::step("set imagePullPolicy to IfNotPresent, or load the image onto the node"),
        "image-platform" => Remedy::step("build the image for the node's platform, or select nodes that fit"),
        "image-rate-limited" => Remedy::step("pull with an account or through a mirror"),
        "image-registry-unreachable" => {
            Remedy::step("check DNS, proxy and firewall between node and registry, then the registry itself")
        }
        "image-no-space" => Remedy::step("make room on the node: unused images, logs, or a larger disk"),
        "image-signature" => Remedy::step("sign the image with a key that the cluster trusts"),
        _ => Remedy::step("correct the image's name or tag, or push the missing one"),
    })
}

#[cfg(test)]
mod tests {
    use super::class;

    #[test]
    fn words_of_several_runtimes_are_told_apart() {
        for (reason, words, want) in [
            ("ErrImagePull", "failed to resolve reference \"a/b:c\": a/b:c: not found", "image-not-found"),
            ("ErrImagePull", "manifest for a:b not found: manifest unknown: manifest unknown", "image-not-found"),
            (
                "ErrImagePull",
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                "image-unauthorized",
            ),
            (
                "ErrImagePull",
                "failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized",
                "image-unauthorized",
            ),
            (
                "ErrImagePull",
                "dial tcp: lookup registry.local on 10.0.0.1:53: no such host",
                "image-registry-unreachable",
            ),
            ("ErrImagePull", "toomanyrequests: You have reached your pull rate limit", "image-rate-limited"),
            ("ErrImagePull", "no match for platform in manifest: not found", "image-platform"),
            ("InvalidImageName", "couldn't parse image name", "image-name-invalid"),
            (
                "ErrImageNeverPull",
                "Container image \"a\" is not present with pull policy of Never",
                "image-never-pulled",
            ),
        ] {
            assert_eq!(class(reason, words).0, want, "{words}");
        }
    }
}
