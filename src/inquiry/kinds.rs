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
}
