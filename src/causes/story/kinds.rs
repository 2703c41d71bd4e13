//! From aspects and mechanisms to the kind of cause, and from that to what would help, in the platform's verbs.

use super::Parts;
use crate::blame::{Judged, Outcome};
use crate::case::ChangeKind;
use crate::diagnosis::{Kind, RemedyKind};
use crate::mechanism::{Mechanism, Seen};
use crate::signal::Signal;
use crate::suspects::Suspect;
use crate::words::Aspect;

/// Words that say something was thrown, not just answered.
const THROWN: [&str; 9] =
    ["exception", "panic", "fatal", "traceback", "throw", "segfault", "stack trace", "uncaught", "servlet.service()"];
/// A mechanism this plain names the kind.
const PLAIN: f64 = 1.3;

/// The kind of cause a suspect is.
pub(super) fn kind(
    parts: &Parts<'_, '_>,
    suspect: &Suspect,
    seen: &[&Seen],
    culprit: Option<&Judged>,
    outside: Option<&Seen>,
) -> Kind {
    if let Some(kind) = outside.and_then(|one| one.mechanism.kind()) {
        return kind;
    }
    if let Some(kind) = culprit
        .and_then(|culprit| culprit.mechanism)
        .filter(|mechanism| !mechanism.is_vague())
        .and_then(Mechanism::kind)
    {
        return kind;
    }
    if let Some(culprit) = culprit
        .filter(|culprit| matches!(culprit.kind, ChangeKind::Flag | ChangeKind::Config) && culprit.mechanism.is_none())
    {
        let _ = culprit;
        return Kind::Config;
    }
    let plain =
        seen.iter().find(|one| one.weight >= PLAIN && !one.mechanism.is_vague()).and_then(|one| one.mechanism.kind());
    if let Some(kind) = plain.filter(|kind| !matches!(kind, Kind::Capacity | Kind::Latency)) {
        return kind;
    }
    let strongest = leading(suspect);
    match strongest {
        Some(Aspect::Exception | Aspect::Behaviour | Aspect::Errors) if parts.traced.seen.0 => thrown(parts, suspect),
        Some(Aspect::Exception | Aspect::Errors | Aspect::Restart) => Kind::Exception,
        Some(Aspect::Behaviour) => Kind::Return,
        Some(Aspect::Wire) => Kind::NetworkDelay,
        Some(Aspect::OwnTime | Aspect::Latency | Aspect::Work | Aspect::Cache) => plain.unwrap_or(Kind::Latency),
        Some(Aspect::Cpu) => Kind::Cpu,
        Some(Aspect::Memory) => Kind::Memory,
        Some(Aspect::Disk) => Kind::Disk,
        Some(Aspect::Saturation) => Kind::Capacity,
        Some(Aspect::Certificate) => Kind::Certificate,
        Some(Aspect::Traffic) => Kind::Traffic,
        Some(Aspect::Network) => Kind::Network,
        _ => plain.unwrap_or(Kind::Unknown),
    }
}

/// The aspect that says most of the kind: short resources explain slow answers, never the other way round.
fn leading(suspect: &Suspect) -> Option<Aspect> {
    let most = suspect.aspects.values().copied().fold(0.0, f64::max);
    let resource = [Aspect::Certificate, Aspect::Cpu, Aspect::Disk];
    let short = resource
        .into_iter()
        .find(|aspect| suspect.aspects.get(aspect).is_some_and(|strength| *strength >= 0.5 * most && *strength >= 1.0));
    let worst =
        || suspect.aspects.iter().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(a.0))).map(|(aspect, _)| *aspect);
    short.or_else(worst)
}

/// Whether it threw, or answered something else: what says so, or stops without saying anything, threw.
fn thrown(parts: &Parts<'_, '_>, suspect: &Suspect) -> Kind {
    let telling = [Aspect::Exception, Aspect::Behaviour, Aspect::Errors];
    let of: Vec<&Signal> = suspect
        .signals
        .iter()
        .map(|index| &parts.signals[*index])
        .filter(|signal| telling.contains(&signal.aspect))
        .collect();
    let most = of.iter().map(|signal| signal.strength).fold(0.0, f64::max);
    let plain: Vec<&&Signal> = of.iter().filter(|signal| signal.strength >= 0.4 * most).collect();
    let says = |signal: &&&Signal| {
        let text = signal.text.to_lowercase();
        signal.aspect != Aspect::Behaviour && THROWN.iter().any(|word| text.contains(word))
    };
    let explains = plain.iter().any(|signal| signal.aspect == Aspect::Exception);
    if plain.iter().any(says) || !explains { Kind::Exception } else { Kind::Return }
}

/// A kind in words.
pub(super) fn say(kind: Kind) -> &'static str {
    match kind {
        Kind::Cpu => "processor time is short",
        Kind::Memory => "memory is short",
        Kind::Disk => "the disk is short or slow",
        Kind::NetworkDelay => "messages to or from it are delayed",
        Kind::Network => "it cannot be reached",
        Kind::Exception => "requests fail in it",
        Kind::Return => "it answers differently than before",
        Kind::Latency => "its own work takes longer",
        Kind::Dependency => "an outside party fails",
        Kind::Traffic => "more requests arrive than it was sized for",
        Kind::Certificate => "a certificate is not accepted",
        Kind::Capacity => "a pool, queue or limit is used up",
        Kind::Config => "a setting changed",
        Kind::Data => "data arrives that it cannot handle",
        Kind::Node => "the machine below it fails",
        Kind::Unknown => "it behaves differently than before",
    }
}

/// A change in words.
pub(super) fn change(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Commit => "commit",
        ChangeKind::Deploy => "deploy",
        ChangeKind::Flag => "flag",
        ChangeKind::Config => "configuration",
        ChangeKind::Scaling => "scaling",
    }
}

/// What would help.
pub(super) fn remedy(outcome: &Outcome, kind: Option<Kind>) -> RemedyKind {
    if let Some(culprit) = &outcome.culprit {
        return match culprit.kind {
            ChangeKind::Commit | ChangeKind::Deploy => RemedyKind::Rollback,
            ChangeKind::Flag => RemedyKind::FeatureFlagDisable,
            ChangeKind::Config => RemedyKind::ConfigRevert,
            ChangeKind::Scaling => RemedyKind::Scale,
        };
    }
    match outcome.outside.as_ref().map(|one| one.mechanism) {
        Some(Mechanism::CertificateEnded) => return RemedyKind::RotateCert,
        Some(Mechanism::TrafficSurge) => return RemedyKind::Scale,
        Some(Mechanism::Provider) => return RemedyKind::EscalateUpstream,
        Some(Mechanism::NodeFault) => return RemedyKind::Reschedule,
        Some(Mechanism::BadData) => return RemedyKind::PurgeBadData,
        _ => {}
    }
    match kind {
        Some(Kind::Cpu | Kind::Capacity | Kind::Traffic) => RemedyKind::Scale,
        Some(Kind::Memory | Kind::Exception | Kind::Latency) => RemedyKind::Restart,
        Some(Kind::NetworkDelay | Kind::Network | Kind::Node | Kind::Disk) => RemedyKind::Reschedule,
        Some(Kind::Certificate) => RemedyKind::RotateCert,
        Some(Kind::Dependency) => RemedyKind::EscalateUpstream,
        Some(Kind::Config) => RemedyKind::ConfigRevert,
        Some(Kind::Data) => RemedyKind::PurgeBadData,
        Some(Kind::Return | Kind::Unknown) | None => RemedyKind::None,
    }
}

/// The step, as the platform's verbs say it.
pub(super) fn action(kind: RemedyKind, component: &str, culprit: Option<&Judged>) -> String {
    let id = culprit.map_or("", |culprit| culprit.id.as_str());
    match kind {
        RemedyKind::Rollback => format!("workload.rollback {component:?} to before {id:?}"),
        RemedyKind::RollForward => format!("workload.deploy {component:?}"),
        RemedyKind::ConfigRevert => format!("workload.configure {component:?} revert {id:?}"),
        RemedyKind::FeatureFlagDisable => format!("flag.disable {id:?} for {component:?}"),
        RemedyKind::Scale => format!("workload.scale {component:?} up"),
        RemedyKind::Restart => format!("workload.restart {component:?}"),
        RemedyKind::Reschedule => format!("workload.reschedule {component:?} on another node"),
        RemedyKind::Failover => format!("workload.failover {component:?}"),
        RemedyKind::RotateCert => format!("certificate.rotate for what {component:?} talks to"),
        RemedyKind::PurgeBadData => format!("data.quarantine what {component:?} cannot handle"),
        RemedyKind::EscalateUpstream => format!("escalate to whoever runs what {component:?} depends on"),
        RemedyKind::None => String::new(),
    }
}
