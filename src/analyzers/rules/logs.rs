//! Logs, where they were given: the last words of a container that fails, and programs that only complain.

use crate::finding::{Remedy, Severity};
use crate::object::{Object, Ref, text};
use crate::symptom::Symptom;

use super::Cx;
use super::pod::Container;

/// Lines from the end that are judged.
const LINES: usize = 100;
/// Complaints among them from which on a running program is worth a look.
const COMPLAINTS: usize = 20;

/// True for a line that tells of a failure.
fn complains(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let level = ["error", "fatal", "panic", "critical", "exception", "traceback"]
        .iter()
        .any(|word| lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == *word));
    let innocent = [
        "0 errors",
        "no error",
        "errors=0",
        "error=0",
        "error=nil",
        "error=null",
        "error\":null",
        "error\":\"\"",
        "without error",
    ];
    let told =
        ["permission denied", "connection refused", "no such host", "cannot open", "out of memory", "no such file"];
    (level && !innocent.iter().any(|part| lower.contains(part))) || told.iter().any(|part| lower.contains(part))
}

/// The last line that tells of a failure.
fn last_words(lines: &[String]) -> Option<&str> {
    let last = lines.iter().rev().take(LINES).find(|line| complains(line));
    last.or_else(|| lines.iter().rev().find(|line| !line.trim().is_empty())).map(String::as_str)
}

/// Services of the namespace that words name as a host.
pub(super) fn services_named(cx: &Cx<'_>, namespace: &str, lines: &[&str]) -> Vec<Ref> {
    let hosts: Vec<&str> = lines
        .iter()
        .flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':'))))
        .collect();
    let names = |service: &Object| {
        hosts.iter().any(|host| {
            let rest = host.strip_prefix(service.name());
            rest.is_some_and(|rest| {
                rest.is_empty()
                    || rest.starts_with(':')
                    || rest.strip_prefix('.').is_some_and(|rest| rest.starts_with(namespace) || rest.starts_with("svc"))
            })
        })
    };
    cx.objects
        .in_space("Service", namespace)
        .filter(|service| names(service))
        .map(|service| service.at.clone())
        .collect()
}

/// Adds what the log said last. A failed call to a Service of the namespace makes that Service an explanation.
pub(super) fn attach(cx: &Cx<'_>, container: &Container<'_>, symptom: Symptom) -> Symptom {
    let pod = container.pod;
    let Some(tail) = cx.objects.log(pod.namespace(), pod.name(), container.name) else { return symptom };
    let Some(words) = last_words(&tail.lines) else { return symptom };
    let calls = [
        "connection refused",
        "no such host",
        "timeout",
        "timed out",
        "unreachable",
        "name resolution",
        "econnrefused",
        "enotfound",
    ];
    let lower = words.to_ascii_lowercase();
    let because = if calls.iter().any(|part| lower.contains(part)) {
        services_named(cx, pod.namespace(), &[words])
    } else {
        Vec::new()
    };
    symptom.quote(&pod.at, format!("log of {}", container.shown()), words).because(because)
}

/// Programs that run but complain in most of their last lines.
pub(super) fn run(cx: &Cx<'_>, out: &mut Vec<Symptom>) {
    for ((namespace, pod_name, container), tail) in cx.objects.logs() {
        let Some(pod) = cx.objects.find("Pod", namespace, pod_name) else { continue };
        if text(&pod["status"]["phase"]) != "Running" {
            continue;
        }
        let lines: Vec<&String> = tail.lines.iter().rev().take(LINES).collect();
        let bad = lines.iter().filter(|line| complains(line)).count();
        if bad < COMPLAINTS || bad * 2 < lines.len() {
            continue;
        }
        let Some(words) = last_words(&tail.lines) else { continue };
        let top = cx.objects.top(pod);
        let claim = format!("container {container} complains in {bad} of its last {} log lines", lines.len());
        out.push(
            Symptom::new("log-errors", Severity::Warning, &top, "log", claim)
                .detail(container.clone())
                .seen_on(&pod.at, format!("container {container} logs errors"))
                .quote(&pod.at, format!("log of container {container}"), words)
                .because([pod.at.clone()])
                .because(services_named(cx, namespace, &[words]))
                .remedy(Remedy::step("read what it complains of")),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::complains;

    #[test]
    fn complaints_are_told_from_small_talk() {
        for bad in [
            "ERROR: x",
            "level=error msg=x",
            "panic: nil",
            "open /x: permission denied",
            "Traceback (most recent call last):",
        ] {
            assert!(complains(bad), "{bad}");
        }
        for good in ["started", "compiled with 0 errors", "level=info error=nil", "terror", "", "{\"error\":null}"] {
            assert!(!complains(good), "{good}");
        }
    }
}
