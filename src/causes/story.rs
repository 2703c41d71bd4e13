//! Writes the answer: who, how, since when, by which change, whom it hurts and what would help, each with what it
//! rests on. Says less where less is known.

mod kinds;

use std::collections::BTreeSet;

use crate::Options;
use crate::blame::{self, Judged, Outcome};
use crate::case::{ComponentId, TimeMs};
use crate::checked::Checked;
use crate::diagnosis::{Cause, Diagnosis, Finding, Remediation, RemedyKind, SCHEMA, Verdict};
use crate::evidence::Book;
use crate::frame::Frame;
use crate::graph::Graph;
use crate::logs::Logged;
use crate::mechanism::{self, Seen};
use crate::signal::{Signal, cut};
use crate::suspects::{Suspect, Suspects};
use crate::traces::Traced;
use crate::words::{Aspect, meaning};

/// Weight below which nobody is suspected when an alert asks.
const ASKED_MIN: f64 = 1.1;
/// The same when requests themselves were compared.
const SEEN_MIN: f64 = 0.8;
/// The same when the alert's own component shows nothing.
const UNCONFIRMED_MIN: f64 = 2.0;
/// Strength of a signal at the alert's component that confirms it.
const CONFIRMS_MIN: f64 = 0.25;
/// The same when nobody asked.
const UNASKED_MIN: f64 = 2.0;
/// Weight of a service that counts as hurt, next to the first suspect.
const HURT_SHARE: f64 = 0.05;
/// Pieces of evidence for one cause.
const PER_CAUSE: usize = 5;
/// Findings at most.
const FINDINGS_MAX: usize = 12;

/// Everything the story is made of.
pub(crate) struct Parts<'a, 'b> {
    pub clean: &'a Checked<'b>,
    pub frame: &'a Frame,
    pub graph: &'a Graph,
    pub signals: &'a [Signal],
    pub traced: &'a Traced,
    pub logged: &'a Logged,
    pub suspects: &'a Suspects,
    pub options: &'a Options,
}

/// Writes the answer.
pub(crate) fn tell(parts: &Parts<'_, '_>) -> Diagnosis {
    let mut book = Book::new(parts.options.evidence_max, parts.options.excerpt_max);
    let nothing = parts.clean.series.is_empty()
        && parts.clean.logs.is_empty()
        && parts.clean.spans.is_empty()
        && parts.clean.case.patterns.is_empty()
        && parts.clean.case.events.is_empty();
    let seen = mechanism::recognise(parts.clean, parts.frame, parts.graph, parts.signals, parts.logged);
    let bar = bar(parts);
    let top = parts.suspects.services.first().filter(|suspect| suspect.weight >= bar);
    let Some(top) = top.filter(|_| !nothing) else {
        return quiet(parts, book, nothing);
    };
    let onset_ms = onset(parts, top);
    let outcome = blame::judge(parts.clean, parts.graph, parts.suspects, &seen, parts.logged, onset_ms);
    let order = reorder(parts, &outcome);
    let mut causes: Vec<Cause> = Vec::new();
    for (rank, suspect) in order.iter().take(parts.options.causes_max).enumerate() {
        causes.push(cause(parts, &mut book, suspect, &seen, &outcome, rank == 0));
    }
    let replicas = parts.suspects.replicas.iter().take(parts.options.causes_max).map(|suspect| {
        let service = parts.clean.service(suspect.component);
        let first = order.first().is_some_and(|first| first.component == service);
        cause(parts, &mut book, suspect, &seen, &outcome, first)
    });
    let replicas: Vec<Cause> = replicas.collect();
    let first = order.first().map_or(top.component, |suspect| suspect.component);
    let failing = first_failing(parts, &order, first);
    let findings = findings(parts, &mut book, &outcome);
    let remediation = remedy(parts, &outcome, causes.first(), first);
    let (evidence, dropped) = book.close();
    Diagnosis {
        schema: SCHEMA,
        verdict: verdict(parts),
        onset_ms: Some(onset_ms),
        causes,
        replicas,
        first_failing_component: Some(parts.clean.name(failing).to_owned()),
        blast_radius: blast(parts, failing, first, top.weight),
        remediation,
        findings,
        evidence,
        not_looked_at: not_looked_at(parts, dropped),
    }
}

/// How much weight a first suspect needs.
fn bar(parts: &Parts<'_, '_>) -> f64 {
    if !parts.frame.told {
        return UNASKED_MIN;
    }
    let alerted = parts.clean.case.alert.as_ref().and_then(|alert| alert.component).map(|id| parts.clean.service(id));
    let confirms = |id: ComponentId| {
        parts.signals.iter().any(|signal| {
            parts.clean.service(signal.component) == id
                && signal.strength >= CONFIRMS_MIN
                && signal.aspect != Aspect::Traffic
        })
    };
    match alerted {
        Some(id) if !parts.clean.series.is_empty() && !confirms(id) => UNCONFIRMED_MIN,
        None if parts.traced.compared => SEEN_MIN,
        _ => ASKED_MIN,
    }
}

/// The answer when nobody is suspected.
fn quiet(parts: &Parts<'_, '_>, mut book: Book, nothing: bool) -> Diagnosis {
    let mut findings = Vec::new();
    for signal in strongest(parts.signals).take(5) {
        let evidence = book.cite_signal(signal).into_iter().collect();
        findings.push(Finding { text: format!("within what is usual: {}", cut(&signal.text, 300)), evidence });
    }
    let compared =
        parts.clean.series.iter().any(|(_, points)| points.len() >= 6) || parts.logged.has_quiet || parts.traced.seen.1;
    let (evidence, dropped) = book.close();
    Diagnosis {
        schema: SCHEMA,
        verdict: if nothing || !compared { Verdict::Unknown } else { Verdict::Healthy },
        onset_ms: None,
        causes: Vec::new(),
        replicas: Vec::new(),
        first_failing_component: None,
        blast_radius: Vec::new(),
        remediation: Remediation { kind: RemedyKind::None, action: String::new() },
        findings,
        evidence,
        not_looked_at: not_looked_at(parts, dropped),
    }
}

fn strongest(signals: &[Signal]) -> impl Iterator<Item = &Signal> {
    let mut order: Vec<&Signal> = signals.iter().collect();
    order.sort_by(|a, b| b.strength.total_cmp(&a.strength).then_with(|| a.text.cmp(&b.text)));
    order.into_iter()
}

/// When it began: the first plain signal of the first suspect or of what the alert names; of a slow rise, its start.
fn onset(parts: &Parts<'_, '_>, top: &Suspect) -> TimeMs {
    let alerted = parts.clean.case.alert.as_ref().and_then(|alert| alert.component).map(|id| parts.clean.service(id));
    let near = parts.frame.anchor.unwrap_or(top.onset_ms);
    let mine = parts
        .suspects
        .services
        .iter()
        .filter(|suspect| suspect.component == top.component || Some(suspect.component) == alerted);
    let most = parts.signals[top.signals[0]].strength;
    let times = mine.flat_map(|suspect| &suspect.signals).map(|index| &parts.signals[*index]);
    let plain = times.filter(|signal| {
        !signal.slow
            && signal.strength >= 0.4 * most
            && signal.aspect != Aspect::Traffic
            && signal.onset_ms <= near + parts.frame.window_ms
    });
    plain.map(|signal| signal.onset_ms).min().unwrap_or(top.onset_ms)
}

/// The component a change reached comes first when the change is believed to have done it.
fn reorder<'a>(parts: &'a Parts<'_, '_>, outcome: &Outcome) -> Vec<&'a Suspect> {
    let mut order: Vec<&Suspect> = parts.suspects.services.iter().collect();
    let place = outcome.culprit.as_ref().and_then(|culprit| culprit.component).map(|id| parts.clean.service(id));
    let surge = outcome
        .outside
        .as_ref()
        .filter(|one| one.mechanism == mechanism::Mechanism::TrafficSurge)
        .map(|one| parts.clean.service(one.component));
    if let Some(at) = place.or(surge).and_then(|place| order.iter().position(|suspect| suspect.component == place)) {
        let suspect = order.remove(at);
        order.insert(0, suspect);
    }
    order
}

fn cause(
    parts: &Parts<'_, '_>,
    book: &mut Book,
    suspect: &Suspect,
    seen: &[Seen],
    outcome: &Outcome,
    first: bool,
) -> Cause {
    let clean = parts.clean;
    let service = clean.service(suspect.component);
    let culprit = outcome.culprit.as_ref().filter(|_| first);
    let outside = outcome.outside.as_ref().filter(|_| first);
    let mine: Vec<&Seen> = seen.iter().filter(|one| clean.service(one.component) == service).collect();
    let kind = kinds::kind(parts, suspect, &mine, culprit, outside);
    let mut evidence: BTreeSet<(usize, String)> = BTreeSet::new();
    let mut cite = |id: Option<String>| evidence.extend(id.map(|id| (id[1..].parse().unwrap_or(usize::MAX), id)));
    let mut claim = format!("{}: {}", clean.name(suspect.component), kinds::say(kind));
    if let Some(signal) = suspect.signals.first().map(|index| &parts.signals[*index]) {
        claim.push_str("; ");
        claim.push_str(&cut(&signal.text, 220));
    }
    for index in suspect.signals.iter().take(PER_CAUSE) {
        cite(book.cite_signal(&parts.signals[*index]));
    }
    if let Some(one) = outside.or_else(|| mine.first().copied().filter(|_| first)) {
        cite(book.cite(
            &one.source,
            &format!("text component={:?} about {:?}", clean.name(one.component), one.mechanism.say()),
            (one.at_ms, one.at_ms),
            &one.text,
        ));
    }
    if let Some(culprit) = culprit {
        claim = format!(
            "{}: {} since {} {} ({})",
            clean.name(suspect.component),
            culprit.mechanism.map_or(kinds::say(kind), |m| m.say()),
            kinds::change(culprit.kind),
            culprit.id,
            culprit.reason
        );
        cite(cite_change(clean, book, culprit));
    } else if let Some(outside) = outside {
        claim = format!(
            "{}: {}, and no change of ours explains it; {}",
            clean.name(suspect.component),
            outside.mechanism.say(),
            cut(&outside.text, 220)
        );
    }
    let score = culprit.map_or(suspect.score, |culprit| suspect.score.max(culprit.score)).clamp(0.0, 1.0);
    Cause {
        component: clean.name(suspect.component).to_owned(),
        kind,
        change: culprit.map(|culprit| culprit.id.clone()),
        score: (score * 1_000.0).round() / 1_000.0,
        claim: cut(&claim, 500),
        evidence: evidence.into_iter().map(|(_, id)| id).collect(),
    }
}

fn cite_change(clean: &Checked<'_>, book: &mut Book, judged: &Judged) -> Option<String> {
    let change = &clean.case.changes[judged.index];
    let query = format!("change id={:?}", judged.id);
    book.cite(
        &change.source,
        &query,
        (change.at_ms, judged.at_ms.max(change.at_ms)),
        &format!("{} | {}", cut(&change.summary, 120), judged.reason),
    )
}

/// What suffered first: the first suspect whose requests suffer; a cause without symptoms of its own (a certificate
/// that ran out) lets its callers suffer.
fn first_failing(parts: &Parts<'_, '_>, order: &[&Suspect], first: ComponentId) -> ComponentId {
    let suffers = |suspect: &&&Suspect| {
        suspect.aspects.iter().any(|(aspect, strength)| {
            *strength >= 0.3
                && (aspect.spreads()
                    || !matches!(aspect, Aspect::Certificate | Aspect::Traffic | Aspect::Network | Aspect::Setting))
        })
    };
    let near = parts.graph.above(first);
    order
        .iter()
        .filter(|suspect| near.contains_key(&suspect.component))
        .find(suffers)
        .map_or(first, |suspect| suspect.component)
}

/// Services with trouble of their own, apart from the first.
fn blast(parts: &Parts<'_, '_>, failing: ComponentId, first: ComponentId, most: f64) -> Vec<String> {
    let above = parts.graph.above(first);
    let hurts = |suspect: &&Suspect| {
        let felt = suspect.aspects.keys().any(|aspect| aspect.spreads() || *aspect == Aspect::Restart);
        suspect.component != failing
            && suspect.component != first
            && felt
            && (above.contains_key(&suspect.component) || suspect.weight >= HURT_SHARE * most)
    };
    let mut names: Vec<String> = parts
        .suspects
        .services
        .iter()
        .filter(hurts)
        .map(|suspect| parts.clean.name(suspect.component).to_owned())
        .collect();
    names.truncate(50);
    names.sort();
    names
}

/// An incident hurts requests; anything else only degrades.
fn verdict(parts: &Parts<'_, '_>) -> Verdict {
    let hurt = parts.signals.iter().any(|signal| {
        signal.strength >= 0.8
            && matches!(
                signal.aspect,
                Aspect::Errors | Aspect::Latency | Aspect::Exception | Aspect::Wire | Aspect::Restart
            )
    });
    let alerted = parts.clean.case.alert.as_ref().is_some_and(|alert| meaning(&alert.metric, "").aspect.spreads());
    if hurt || (alerted && parts.frame.told) { Verdict::Incident } else { Verdict::Degraded }
}

/// Changes that look guilty and are not, and patterns that are new.
fn findings(parts: &Parts<'_, '_>, book: &mut Book, outcome: &Outcome) -> Vec<Finding> {
    let mut found = Vec::new();
    let guilty = outcome.culprit.as_ref().map(|culprit| culprit.index);
    let mut near: Vec<&Judged> =
        outcome.judged.iter().filter(|judged| Some(judged.index) != guilty && judged.component.is_some()).collect();
    near.sort_by(|a, b| b.at_ms.cmp(&a.at_ms).then_with(|| a.id.cmp(&b.id)));
    for judged in near.into_iter().take(FINDINGS_MAX / 3) {
        let evidence = cite_change(parts.clean, book, judged).into_iter().collect();
        found.push(Finding {
            text: cut(
                &format!("{} {} is not taken for the cause: {}", kinds::change(judged.kind), judged.id, judged.reason),
                300,
            ),
            evidence,
        });
    }
    for counted in parts.logged.changed.iter().take(FINDINGS_MAX / 2) {
        let name = parts.clean.name(counted.component);
        let text = format!(
            "{name} logged a pattern {} times in the incident and {} times in quiet: {}",
            counted.now,
            counted.before,
            cut(&counted.text, 160)
        );
        let query = format!("logs component={name:?} template={:?}", cut(&counted.text, 200));
        let evidence = book
            .cite(&counted.source, &query, (counted.first_ms, counted.first_ms), &counted.sample)
            .into_iter()
            .collect();
        found.push(Finding { text, evidence });
    }
    found.truncate(FINDINGS_MAX);
    found
}

fn remedy(parts: &Parts<'_, '_>, outcome: &Outcome, cause: Option<&Cause>, first: ComponentId) -> Remediation {
    let name = parts.clean.name(first);
    let kind = kinds::remedy(outcome, cause.map(|cause| cause.kind));
    Remediation { kind, action: kinds::action(kind, name, outcome.culprit.as_ref()) }
}

/// What could not be looked at.
fn not_looked_at(parts: &Parts<'_, '_>, dropped: usize) -> Vec<String> {
    let clean = parts.clean;
    let mut list = clean.left_out.clone();
    let mut missing = |absent: bool, what: &str| {
        if absent {
            list.push(format!("{what}: none were given"));
        }
    };
    missing(clean.series.is_empty(), "metrics");
    missing(clean.logs.is_empty(), "log lines");
    missing(clean.spans.is_empty(), "spans");
    missing(clean.case.changes.is_empty(), "changes");
    missing(clean.case.events.is_empty(), "platform events");
    if !clean.logs.is_empty() && !parts.logged.has_quiet {
        list.push("log lines of a quiet time: none to compare with".to_owned());
    }
    if parts.traced.seen.0 && !parts.traced.seen.1 {
        list.push("spans of a quiet time: none to compare with".to_owned());
    }
    let unread = clean
        .case
        .changes
        .iter()
        .filter(|change| change.kind == crate::case::ChangeKind::Commit && change.diff.is_empty())
        .count();
    if unread > 0 {
        list.push(format!("what {unread} commits changed: no difference was given"));
    }
    if dropped > 0 {
        list.push(format!("{dropped} pieces of evidence found no room"));
    }
    list
}
