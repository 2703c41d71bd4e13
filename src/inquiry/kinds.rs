//! What the rules over Kubernetes objects mean in the words of causes, and what class a cause is of.

use opsward_causes::diagnosis::{Kind, RemedyKind};

/// Rules by the beginning of their name, with kind and remedy. The first that fits counts.
const RULES: &[(&str, Kind, RemedyKind)] = &[
    ("oom-killed", Kind::Memory, RemedyKind::Scale),
    ("pod-evicted", Kind::Memory, RemedyKind::Scale),
    ("quota", Kind::Capacity, RemedyKind::Scale),
    ("request-too-large", Kind::Capacity, RemedyKind::Scale),
    ("pod-addresses-exhausted", Kind::Capacity, RemedyKind::Scale),
    ("autoscaler-at-maximum", Kind::Capacity, RemedyKind::Scale),
    ("host-port-taken", Kind::Capacity, RemedyKind::Reschedule),
    ("unschedulable", Kind::Capacity, RemedyKind::Scale),
    ("too-many-", Kind::Capacity, RemedyKind::Scale),
    ("nodes-", Kind::Node, RemedyKind::Reschedule),
    ("insufficient", Kind::Capacity, RemedyKind::Scale),
    ("pod-preempted", Kind::Capacity, RemedyKind::Scale),
    ("limit-range", Kind::Capacity, RemedyKind::ConfigRevert),
    ("liveness-probe", Kind::Config, RemedyKind::ConfigRevert),
    ("startup-probe", Kind::Config, RemedyKind::ConfigRevert),
    ("readiness-probe", Kind::Exception, RemedyKind::Rollback),
    ("crash-loop", Kind::Exception, RemedyKind::Rollback),
    ("log-errors", Kind::Exception, RemedyKind::None),
    ("job-", Kind::Exception, RemedyKind::Restart),
    ("exits-with-success", Kind::Config, RemedyKind::ConfigRevert),
    ("image-registry-unreachable", Kind::Dependency, RemedyKind::EscalateUpstream),
    ("image", Kind::Config, RemedyKind::Rollback),
    ("node-clock", Kind::Node, RemedyKind::Reschedule),
    ("node-selector", Kind::Config, RemedyKind::ConfigRevert),
    ("node-affinity", Kind::Config, RemedyKind::ConfigRevert),
    ("node-", Kind::Node, RemedyKind::Reschedule),
    ("pod-on-lost-node", Kind::Node, RemedyKind::Reschedule),
    ("pod-node-shutdown", Kind::Node, RemedyKind::Reschedule),
    ("pod-network-failed", Kind::Network, RemedyKind::Reschedule),
    ("certificate", Kind::Certificate, RemedyKind::RotateCert),
    ("claim", Kind::Disk, RemedyKind::None),
    ("volume", Kind::Disk, RemedyKind::None),
    ("provision", Kind::Disk, RemedyKind::None),
    ("scaled-to-zero", Kind::Config, RemedyKind::Scale),
    ("replicas-unavailable", Kind::Unknown, RemedyKind::None),
    ("rollout-stuck", Kind::Unknown, RemedyKind::Rollback),
    ("webhook", Kind::Dependency, RemedyKind::Restart),
    ("api-unavailable", Kind::Dependency, RemedyKind::Restart),
];

/// The kind of cause that a rule names. What no other rule claims is a wish that was written wrongly.
pub(crate) fn of_rule(rule: &str) -> (Kind, RemedyKind) {
    let found = RULES.iter().find(|(start, _, _)| rule.starts_with(start));
    found.map_or((Kind::Config, RemedyKind::ConfigRevert), |(_, kind, remedy)| (*kind, *remedy))
}

/// Words of a program or a platform that tell what a failure that is known only by its effect comes from.
const WORDS: &[(Kind, &[&str])] = &[
    (Kind::Memory, &["oomkilled", "out of memory", "outofmemory", "cannot allocate memory", "memorypressure"]),
    (Kind::Disk, &["no space left", "disk full", "diskpressure", "read-only file system"]),
    (
        Kind::Capacity,
        &["exceeded quota", "too many open files", "pidpressure", "pool exhausted", "too many connections"],
    ),
    (Kind::Certificate, &["x509", "certificate has expired", "certificate verify failed"]),
    (
        Kind::Config,
        &[
            "environment variable",
            "missing required",
            "invalid configuration",
            "config error",
            "permission denied",
            "no such file",
            "couldn't find key",
            "access denied",
            "authentication failed",
            "unauthorized",
        ],
    ),
    (Kind::Exception, &["panic:", "nullpointer", "segmentation fault", "traceback", "undefined method", "assertion"]),
    (
        Kind::Dependency,
        &[
            "connection refused",
            "econnrefused",
            "no such host",
            "enotfound",
            "name resolution",
            "could not connect",
            "connection timed out",
            "connection reset",
            "upstream",
            "503 service unavailable",
        ],
    ),
];

/// The kind of a failure that a rule knows only by its effect, by what was said about it.
pub(crate) fn of_words(rule: &str, kind: Kind, said: &str) -> Kind {
    // What a kubelet is told by a probe is the symptom, unless the program says more.
    let by_effect = ["crash-loop", "readiness-probe", "log-errors", "job-", "node-condition", "replicas-unavailable"];
    if !by_effect.iter().any(|start| rule.starts_with(start)) {
        return kind;
    }
    let said = said.to_lowercase();
    WORDS.iter().find(|(_, words)| words.iter().any(|word| said.contains(word))).map_or(kind, |(kind, _)| *kind)
}

/// The class that a kind is of.
pub(crate) fn category(kind: Kind) -> &'static str {
    match kind {
        Kind::Cpu | Kind::Memory | Kind::Disk | Kind::Capacity | Kind::Traffic => "resource_exhaustion",
        Kind::Config | Kind::Certificate => "configuration_error",
        Kind::NetworkDelay | Kind::Network | Kind::Node => "infrastructure",
        Kind::Exception | Kind::Return | Kind::Latency => "code_defect",
        Kind::Dependency => "dependency_failure",
        Kind::Data => "data_quality",
        Kind::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_word_comes_before_the_shorter() {
        for (place, (start, ..)) in RULES.iter().enumerate() {
            let hidden = RULES[..place].iter().find(|(earlier, ..)| start.starts_with(earlier));
            assert!(hidden.is_none(), "{start} is never reached");
        }
        assert_eq!(of_rule("node-not-ready").0, Kind::Node);
        assert_eq!(of_rule("node-selector-unmet").0, Kind::Config);
        assert_eq!(of_rule("anything-else").0, Kind::Config);
    }

    #[test]
    fn effects_are_of_the_kind_that_words_tell() {
        let kind = |rule, said| of_words(rule, Kind::Exception, said);
        assert_eq!(kind("crash-loop", "dial tcp db:5432: connect: Connection refused"), Kind::Dependency);
        assert_eq!(kind("crash-loop", "missing required environment variable DB_URL"), Kind::Config);
        assert_eq!(kind("crash-loop", "panic: boom"), Kind::Exception);
        assert_eq!(kind("node-condition", "status.conditions[DiskPressure]"), Kind::Disk);
        assert_eq!(kind("image-unauthorized", "connection refused"), Kind::Exception);
    }
}
