//! Containers that end when they should run: exit codes, memory, probes, commands, and what the log said last.

use serde_json::Value;

use crate::finding::{Remedy, Severity};
use crate::object::{Ref, items, text};
use crate::rules::logs;
use crate::symptom::Symptom;
use crate::{owner, quantity, when};

use super::{Container, Cx, HOUR_MS, MINUTE_MS, SETTLE_MS, create};

/// A container that restarted this often and keeps doing so flaps, even if it runs right now.
const FLAPPING: i64 = 5;
/// Restarts further apart than this on average are not flapping.
const FLAP_INTERVAL_MS: i64 = 30 * MINUTE_MS;

/// `CrashLoopBackOff`.
pub(super) fn looping(cx: &Cx<'_>, container: &Container<'_>) -> Option<Symptom> {
    let last = &container.status["lastState"]["terminated"];
    let restarts = container.status["restartCount"].as_i64().unwrap_or(0);
    let plain = matches!(last["exitCode"].as_i64(), Some(1 | 2)) && text(&last["reason"]) == "Error";
    if restarts <= 1 && plain && !cx.older(container.pod.created_ms(), SETTLE_MS) {
        // One early exit while its dependencies start is the usual course of things.
        return None;
    }
    let top = cx.objects.top(container.pod);
    explain(cx, container, last, &top, Severity::Error).map(|symptom| {
        let says = format!("{} ended {restarts} times: CrashLoopBackOff", container.shown());
        let pod = container.pod.at.clone();
        let quoted = text(&container.status["state"]["waiting"]["message"]);
        symptom.seen_on(&pod, says).quote(&pod, container.field("state.waiting.message"), quoted)
    })
}

/// Running or just ended, and restarted before: only what keeps happening is a finding.
pub(super) fn restarting(cx: &Cx<'_>, container: &Container<'_>) -> Option<Symptom> {
    let (pod, status) = (container.pod, container.status);
    let top = cx.objects.top(pod);
    let ended = &status["state"]["terminated"];
    if ended.is_object() {
        let code = ended["exitCode"].as_i64().unwrap_or(0);
        let retried = text(&pod["spec"]["restartPolicy"]) != "Never";
        if code == 0 || matches!(top.kind.as_str(), "Job" | "CronJob") && !container.init {
            return None;
        }
        let repeated =
            status["restartCount"].as_i64().unwrap_or(0) > 0 || text(&ended["reason"]) != "Error" || !retried;
        return if repeated { explain(cx, container, ended, &top, Severity::Error) } else { None };
    }
    let started = when::parse(&status["state"]["running"]["startedAt"])?;
    let last = &status["lastState"]["terminated"];
    let restarts = status["restartCount"].as_i64().unwrap_or(0);
    if restarts == 0 || !last.is_object() {
        return None;
    }
    let up_ms = cx.age_ms(Some(started));
    let interval_ms = cx.age_ms(pod.created_ms()) / restarts;
    let flaps = restarts >= FLAPPING && interval_ms <= FLAP_INTERVAL_MS && up_ms < interval_ms.saturating_mul(2);
    let memory = text(&last["reason"]) == "OOMKilled"
        && restarts >= 3
        && interval_ms <= 6 * HOUR_MS
        && up_ms < interval_ms.saturating_mul(2);
    if !flaps && !memory {
        return None;
    }
    explain(cx, container, last, &top, Severity::Warning).map(|symptom| {
        symptom.seen_on(
            &pod.at,
            format!("{} restarted {restarts} times, last {} ago", container.shown(), when::span(up_ms)),
        )
    })
}

/// Why a container ended, from its exit and what surrounds it.
pub(crate) fn explain(
    cx: &Cx<'_>,
    container: &Container<'_>,
    ended: &Value,
    top: &Ref,
    severity: Severity,
) -> Option<Symptom> {
    let pod = container.pod;
    let code = ended["exitCode"].as_i64();
    let words = text(&ended["message"]);
    let state = if container.status["state"]["terminated"].is_object() { "state" } else { "lastState" };
    let field = container.field(&format!("{state}.terminated"));
    let says = format!(
        "{} ended{}",
        container.shown(),
        code.map(|code| format!(" with exit code {code}")).unwrap_or_default()
    );
    let symptom = if text(&ended["reason"]) == "OOMKilled" {
        memory(cx, container, top, severity)
    } else if let Some((rule, why, remedy)) = start(container, ended, words) {
        create::start_symptom(cx, container, top, severity, rule, why, remedy)
    } else if let Some(event) = liveness(cx, container, code) {
        probe(container, top, severity, event)
    } else {
        exit(cx, container, top, severity, code)
    };
    let symptom = logs::attach(cx, container, symptom);
    let facts = format!(
        "reason {}, exit code {}",
        text(&ended["reason"]),
        code.map_or("unknown".to_owned(), |code| code.to_string())
    );
    let since = first_failure(cx, container, ended);
    Some(
        symptom
            .seen_on(&pod.at, says)
            .since(since)
            .quote(&pod.at, format!("{field}.message"), words)
            .quote(&pod.at, field, &facts),
    )
}

/// When it began to fail, as far as the pod tells: back-offs begin with the pod, or with its first event.
fn first_failure(cx: &Cx<'_>, container: &Container<'_>, ended: &Value) -> Option<i64> {
    let event = cx
        .objects
        .events(&container.pod.at)
        .filter(|event| matches!(event.reason, "BackOff" | "Unhealthy" | "Failed"))
        .filter_map(|event| event.first_ms)
        .min();
    event.or_else(|| when::parse(&ended["finishedAt"]))
}

fn start(container: &Container<'_>, ended: &Value, words: &str) -> Option<(&'static str, &'static str, &'static str)> {
    if let Some(found) = matches!(
        text(&ended["reason"]),
        "StartError" | "ContainerCannotRun" | "ContainerStartError" | "RunContainerError"
    )
    .then(|| create::start_class(words))
    .flatten()
    {
        return Some(found);
    }
    match ended["exitCode"].as_i64() {
        Some(127) => Some((
            "command-not-found",
            "its command, or one that its script calls, does not exist in the image",
            "correct command and args, or the image",
        )),
        Some(126) => Some((
            "command-not-executable",
            "its command may not be executed",
            "make the file executable in the image, or correct the command",
        )),
        Some(_) if words.contains("exec format error") => create::start_class("exec format error"),
        _ if text(&ended["reason"]) == "StartError" && container.spec.is_object() => Some((
            "container-create-failed",
            "the container runtime cannot start it",
            "read the runtime's words and correct what they name",
        )),
        _ => None,
    }
}

fn memory(cx: &Cx<'_>, container: &Container<'_>, top: &Ref, severity: Severity) -> Symptom {
    let limit = quantity::of(&container.spec["resources"]["limits"]["memory"]);
    let shown = limit.map(quantity::bytes);
    let claim = match &shown {
        Some(limit) => format!("{} is killed for memory: it reaches its limit of {limit}", container.shown()),
        None => format!("{} is killed for memory: it has no limit of its own and the node ran out", container.shown()),
    };
    let field = container.spec_field(top, "resources.limits.memory");
    let mut symptom = Symptom::new("oom-killed", severity, top, &field, claim);
    if let (Some(bytes), Some(shown)) = (limit, shown) {
        let doubled = bytes * 2.0;
        // A pod of several containers needs a person to say which of them gets the memory.
        let single = items(&container.pod["spec"]["containers"]).len() == 1;
        let action = if single && doubled < 1e15 { owner::limit(cx.objects, top, doubled as u64) } else { None };
        symptom = symptom.remedy(
            Remedy::step(format!(
                "if this is what it needs, raise the limit from {shown}, for example to {}",
                quantity::bytes(doubled)
            ))
            .action(&top.namespace, action),
        );
    }
    if let Some((revision, action)) = owner::rollback(cx.objects, container.pod) {
        symptom = symptom.remedy(
            Remedy::step(format!("if it began with the latest revision, roll back to revision {revision}"))
                .action(&top.namespace, action)
                .kubectl("rollout undo", top, &format!(" --to-revision={revision}")),
        );
    }
    symptom
        .remedy(Remedy::step("if its memory only ever grows, find the leak: a higher limit buys time and nothing else"))
}

/// The event that says a liveness or startup probe ended this container.
fn liveness<'a>(
    cx: &Cx<'a>,
    container: &Container<'_>,
    code: Option<i64>,
) -> Option<(crate::objects::Happening<'a>, &'static str)> {
    if !matches!(code, Some(137 | 143 | 0 | 1 | 2)) {
        return None;
    }
    let mine = |event: &crate::objects::Happening<'_>| {
        event.message.contains(&format!("Container {} failed", container.name))
            || event.field.is_empty()
            || event.field.contains(&format!("{{{}}}", container.name))
    };
    let events: Vec<_> = cx.objects.events(&container.pod.at).filter(mine).collect();
    for (word, probe) in [("iveness probe failed", "livenessProbe"), ("tartup probe failed", "startupProbe")] {
        if let Some(event) =
            events.iter().rev().find(|event| event.reason == "Unhealthy" && event.message.contains(word))
        {
            return Some((*event, probe));
        }
    }
    let killed = events
        .iter()
        .rev()
        .find(|event| event.reason == "Killing" && event.message.contains("probe, will be restarted"))?;
    Some((*killed, if killed.message.contains("startup") { "startupProbe" } else { "livenessProbe" }))
}

fn probe(
    container: &Container<'_>,
    top: &Ref,
    severity: Severity,
    (event, probe): (crate::objects::Happening<'_>, &str),
) -> Symptom {
    let (rule, word) =
        if probe == "startupProbe" { ("startup-probe-kills", "startup") } else { ("liveness-probe-kills", "liveness") };
    let spec = &container.spec[probe];
    let target = shown_probe(spec);
    Symptom::new(
        rule,
        severity,
        top,
        &container.spec_field(top, probe),
        format!("{} is killed by its {word} probe{target}", container.shown()),
    )
    .quote(event.at, "message", event.message)
    .remedy(Remedy::step(format!(
        "compare port, path and timing of the probe with what the program does; a slow start needs a startupProbe, a busy program a longer timeoutSeconds (now {})",
        spec["timeoutSeconds"].as_i64().unwrap_or(1)
    )))
}

/// ` (GET :8080/healthz)`.
pub(super) fn shown_probe(probe: &Value) -> String {
    let port = |at: &Value| at["port"].as_str().map_or_else(|| at["port"].to_string(), str::to_owned);
    if probe["httpGet"].is_object() {
        format!(" (GET :{}{})", port(&probe["httpGet"]), text(&probe["httpGet"]["path"]))
    } else if probe["tcpSocket"].is_object() {
        format!(" (connect to :{})", port(&probe["tcpSocket"]))
    } else if probe["grpc"].is_object() {
        format!(" (gRPC :{})", port(&probe["grpc"]))
    } else if probe["exec"].is_object() {
        " (a command)".to_owned()
    } else {
        String::new()
    }
}

fn exit(cx: &Cx<'_>, container: &Container<'_>, top: &Ref, severity: Severity, code: Option<i64>) -> Symptom {
    let meaning = match code {
        Some(0) => "it ends with success although it should keep running",
        Some(137) => "it is killed by SIGKILL from outside",
        Some(143) => "it is ended by SIGTERM from outside",
        Some(139) => "it crashes with a segmentation fault",
        Some(134) => "it aborts (SIGABRT)",
        Some(135) => "it crashes with a bus error",
        Some(_) => "its program ends with an error",
        None => "it ends and does not say why",
    };
    let shown = code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
    let rule = if code == Some(0) { "exits-with-success" } else { "crash-loop" };
    let mut symptom = Symptom::new(
        rule,
        severity,
        top,
        &container.spec_field(top, if code == Some(0) { "command" } else { "image" }),
        format!("{} does not stay up: {meaning}{shown}", container.shown()),
    );
    if let Some((revision, action)) = owner::rollback(cx.objects, container.pod) {
        symptom = symptom.remedy(
            Remedy::step(format!("it fails on the newest revision: roll back to revision {revision}"))
                .action(&top.namespace, action)
                .kubectl("rollout undo", top, &format!(" --to-revision={revision}")),
        );
    }
    let rest = format!(" -c {} --previous --tail=50", container.name);
    let plain = container.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let read = Remedy::step(if code == Some(0) {
        "give it a command that keeps running, or make it a Job"
    } else {
        "read what it said before it ended"
    });
    symptom.remedy(if plain { read.kubectl("logs", &container.pod.at, &rest) } else { read })
}
