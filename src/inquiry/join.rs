//! Joins what signals say and what objects say into one report. The present state of a cluster outweighs reports of
//! what has passed; a change that explains the measurements outweighs both.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use opsward_analyzers::objects::{Gap, Objects};
use opsward_analyzers::{Report as Cluster, Severity, Verdict as State};
use opsward_bundle::{Bundle, shown_time};
use opsward_causes::case::{ComponentId, Level};
use opsward_causes::diagnosis::{Diagnosis, RemedyKind, Verdict};
use sha2::{Digest as _, Sha256};

use crate::report::{Alert, Cause, Evidence, Finding, Looked, Remediation, Report, Rule, RuledOut, SCHEMA, Window};
use crate::{Options, kinds, ruled};

/// Most pieces of evidence of a report.
const EVIDENCE_MAX: usize = 500;
/// Most entries of what was not looked at.
const GAPS_MAX: usize = 500;

/// True if there is anything but objects.
pub(crate) fn has_signals(bundle: &Bundle) -> bool {
    let case = &bundle.case;
    !(case.metrics.is_empty()
        && case.logs.is_empty()
        && case.spans.is_empty()
        && case.events.is_empty()
        && case.patterns.is_empty()
        && case.alert.is_none())
}

/// SHA-256 over the parts, as signals have it.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Evidence while it is gathered.
#[derive(Default)]
pub(crate) struct Book {
    kept: Vec<Evidence>,
}

impl Book {
    /// Keeps a piece that is at hand; none when there is no more room.
    pub(crate) fn cite(&mut self, source: &str, query: &str, window: Option<Window>, excerpt: &str) -> Option<String> {
        let same = |one: &&Evidence| {
            one.source == source && one.query == query && one.excerpt == excerpt && one.window == window
        };
        if let Some(known) = self.kept.iter().find(same) {
            return Some(known.id.clone());
        }
        if self.kept.len() >= EVIDENCE_MAX {
            return None;
        }
        let shown = window.map(|window| format!("{}..{}", window.from_ms, window.to_ms)).unwrap_or_default();
        let id = format!("e{}", self.kept.len() + 1);
        self.kept.push(Evidence {
            id: id.clone(),
            source: source.to_owned(),
            query: query.to_owned(),
            window,
            excerpt: excerpt.to_owned(),
            digest: digest(&[source, query, &shown, excerpt]),
        });
        Some(id)
    }
}

/// `log file 3 line 17` with the file's name.
fn named_source(source: &str, files: &[String]) -> String {
    let Some((number, line)) = source.strip_prefix("log file ").and_then(|rest| rest.split_once(" line ")) else {
        return source.to_owned();
    };
    match number.parse::<usize>().ok().and_then(|number| files.get(number)) {
        Some(file) => format!("{file}:{line}"),
        None => source.to_owned(),
    }
}

/// What signals say, with evidence under the report's ids.
struct Signals {
    verdict: Verdict,
    causes: Vec<Cause>,
    replicas: Vec<Cause>,
    findings: Vec<(String, Vec<String>)>,
    rest: Option<Diagnosis>,
}

fn signals(diagnosis: Option<Diagnosis>, files: &[String], book: &mut Book) -> Signals {
    let Some(diagnosis) = diagnosis else {
        return Signals {
            verdict: Verdict::Unknown,
            causes: Vec::new(),
            replicas: Vec::new(),
            findings: Vec::new(),
            rest: None,
        };
    };
    let mut ids: BTreeMap<&str, String> = BTreeMap::new();
    for one in &diagnosis.evidence {
        let window = Some(Window { from_ms: one.window.0, to_ms: one.window.1 });
        if let Some(id) = book.cite(&named_source(&one.source, files), &one.query, window, &one.excerpt) {
            ids.insert(&one.id, id);
        }
    }
    let cited = |list: &[String]| list.iter().filter_map(|id| ids.get(id.as_str()).cloned()).collect::<Vec<String>>();
    let cause = |one: &opsward_causes::diagnosis::Cause| Cause {
        id: String::new(),
        component: one.component.clone(),
        kind: one.kind,
        change: one.change.clone(),
        score: one.score,
        claim: one.claim.clone(),
        evidence: cited(&one.evidence),
        finding: None,
    };
    Signals {
        verdict: diagnosis.verdict,
        causes: diagnosis.causes.iter().map(cause).collect(),
        replicas: diagnosis.replicas.iter().map(cause).collect(),
        findings: diagnosis.findings.iter().map(|one| (one.text.clone(), cited(&one.evidence))).collect(),
        rest: Some(diagnosis),
    }
}

/// Findings of rules with the causes that they are.
fn objects_say(cluster: &Cluster, bundle: &Bundle, book: &mut Book) -> (Vec<Finding>, Vec<(Cause, RemedyKind)>) {
    let mut findings = Vec::new();
    let mut causes = Vec::new();
    for finding in &cluster.findings {
        let cited = finding.evidence.iter().filter_map(|id| cluster.evidence.iter().find(|one| one.id == *id));
        let said = cited.clone().fold(finding.field.clone(), |said, one| said + " " + &one.excerpt);
        let evidence: Vec<String> =
            cited.filter_map(|one| book.cite(&one.source.to_string(), &one.field, None, &one.excerpt)).collect();
        let (kind, remedy) = kinds::of_rule(finding.rule);
        let kind = kinds::of_words(finding.rule, kind, &said);
        if finding.severity >= Severity::Warning {
            let owner = finding.owner.as_ref().unwrap_or(&finding.object);
            let component = service_of(bundle, &owner.name);
            let score = match finding.severity {
                Severity::Critical => 0.95,
                Severity::Error => 0.9,
                _ => 0.5,
            };
            let seen = finding.cause_chain.iter().skip(1).find(|link| link.object.kind == "Pod");
            let seen = seen.map(|link| format!("; {}: {}", link.object.name, link.says)).unwrap_or_default();
            let claim = format!("{} {}{seen}", finding.object, finding.claim);
            let cause = Cause {
                id: String::new(),
                component,
                kind,
                change: None,
                score,
                claim,
                evidence: evidence.clone(),
                finding: Some(finding.id.clone()),
            };
            causes.push((cause, remedy));
        }
        findings.push(Finding {
            id: finding.id.clone(),
            claim: format!("{} {}", finding.object, finding.claim),
            evidence,
            rule: Some(Rule {
                rule: finding.rule,
                severity: finding.severity,
                object: finding.object.clone(),
                field: finding.field.clone(),
                owner: finding.owner.clone(),
                since_ms: finding.since_ms,
                cause_chain: finding.cause_chain.clone(),
                remedies: finding.remedies.clone(),
                managed_by: finding.managed_by.clone(),
            }),
        });
    }
    (findings, causes)
}

/// The service that a workload, replica set or pod is known as.
fn service_of(bundle: &Bundle, name: &str) -> String {
    let case = &bundle.case;
    let known = case.components.iter().find(|component| component.name == name);
    let service = known.and_then(|component| component.service);
    let set =
        || name.rsplit_once('-').filter(|(owner, _)| case.components.iter().any(|component| component.name == *owner));
    match (known, service) {
        (_, Some(ComponentId(id))) => {
            case.components.get(id as usize).map_or(name, |component| component.name.as_str()).to_owned()
        }
        (None, None) => set().map_or(name, |(owner, _)| owner).to_owned(),
        _ => name.to_owned(),
    }
}

/// True if the objects show that all is well and nothing measured speaks against it. Errors in logs speak against it
/// where somebody was alarmed; without an alert a program that complains is only worth knowing.
fn is_over(bundle: &Bundle, cluster: &Cluster) -> bool {
    let case = &bundle.case;
    let healthy = matches!(cluster.verdict, State::Healthy | State::Degraded);
    let quiet = case.alert.is_none() || case.logs.iter().all(|line| line.level < Level::Error);
    healthy && quiet && case.metrics.is_empty() && case.spans.is_empty() && case.patterns.is_empty()
}

/// One list of causes: those that rules name are added to the suspects of the same component, or stand beside them.
fn merge(
    mut suspects: Vec<Cause>,
    named: Vec<(Cause, RemedyKind)>,
    measured: bool,
) -> (Vec<Cause>, Option<RemedyKind>) {
    let mut remedy = None;
    let blamed = suspects.first().is_some_and(|first| first.change.is_some());
    let mut first = Vec::new();
    for (cause, kind) in named {
        let same = suspects.iter_mut().find(|suspect| suspect.component == cause.component && suspect.change.is_some());
        if let Some(same) = same {
            same.evidence.extend(cause.evidence.iter().cloned());
            same.finding = same.finding.take().or(cause.finding);
            continue;
        }
        if first.is_empty() && !blamed {
            remedy = Some(kind);
        }
        first.push(cause);
    }
    if !measured && !first.is_empty() {
        // Without measurements a suspect is only an echo of what the objects say outright.
        suspects.retain(|suspect| suspect.change.is_some());
    }
    suspects
        .retain(|suspect| suspect.change.is_some() || !first.iter().any(|cause| cause.component == suspect.component));
    let place = if blamed { 1.min(suspects.len()) } else { 0 };
    suspects.splice(place..place, first);
    (suspects, remedy)
}

fn number(causes: &mut [Cause], letter: char) {
    for (place, cause) in causes.iter_mut().enumerate() {
        cause.id = format!("{letter}{}", place + 1);
    }
}

/// The whole report.
pub(crate) fn join(
    bundle: &Bundle,
    objects: &Objects,
    cluster: &Cluster,
    diagnosis: Option<Diagnosis>,
    options: &Options,
) -> Report {
    let case = &bundle.case;
    let mut book = Book::default();
    let measured = !case.metrics.is_empty() || !case.spans.is_empty() || !case.patterns.is_empty();
    let mut said = signals(diagnosis, &bundle.files, &mut book);
    let (mut findings, named) = objects_say(cluster, bundle, &mut book);
    let over = is_over(bundle, cluster);
    if over {
        said.causes.clear();
        said.replicas.clear();
    }
    let broken = cluster.verdict == State::Incident;
    let (mut causes, remedy) = merge(said.causes, named, measured);
    number(&mut causes, 'c');
    number(&mut said.replicas, 'r');
    let verdict = verdict(over, cluster.verdict, said.verdict);
    let ruled_out = ruled::out(bundle, objects, cluster, &mut book);
    for (claim, evidence) in std::mem::take(&mut said.findings) {
        findings.push(Finding { id: format!("f{}", findings.len() + 1), claim, evidence, rule: None });
    }
    let by_rule = causes.first().is_some_and(|cause| cause.finding.is_some() && cause.change.is_none());
    let rest = said.rest.as_ref().filter(|_| !over);
    let onset_ms = match rest.and_then(|rest| rest.onset_ms) {
        Some(onset) if !by_rule => Some(onset),
        onset => cluster.onset_ms.filter(|_| broken).or(onset),
    };
    let first_failing =
        if by_rule { first_broken(cluster) } else { rest.and_then(|rest| rest.first_failing_component.clone()) };
    let blast_radius = blast(cluster, rest, by_rule, first_failing.as_deref());
    let remediation = remediation(cluster, rest, &causes, remedy.filter(|_| by_rule));
    let category = match verdict {
        Verdict::Healthy => "healthy",
        _ => causes.first().map_or("unknown", |cause| kinds::category(cause.kind)),
    };
    Report {
        schema: SCHEMA,
        verdict,
        category,
        summary: summary(verdict, &causes, bundle, &ruled_out),
        alert: alert(bundle),
        at_ms: options.at_ms.or(case.alert.as_ref().and_then(|alert| alert.fired_ms)).or(cluster.at_ms),
        onset_ms,
        onset: onset_ms.map(shown_time),
        causes,
        replicas: said.replicas,
        first_failing_component: first_failing,
        blast_radius,
        remediation,
        findings,
        ruled_out,
        evidence: book.kept,
        looked_at: bundle
            .looked_at
            .iter()
            .map(|one| Looked { file: one.file.clone(), held: one.held.clone() })
            .collect(),
        rules: cluster.looked_at.clone(),
        objects: cluster.objects,
        namespaces: cluster.namespaces,
        problems: bundle.problems.clone(),
        not_looked_at: gaps(bundle, cluster, said.rest.as_ref()),
    }
}

/// The worse of what signals and objects say; the present state wins over reports of the past.
fn verdict(over: bool, state: State, signals: Verdict) -> Verdict {
    let of_state = match state {
        State::Healthy => Verdict::Healthy,
        State::Degraded => Verdict::Degraded,
        State::Incident => Verdict::Incident,
        State::Unknown => Verdict::Unknown,
    };
    if over {
        return of_state;
    }
    let rank = |verdict: Verdict| match verdict {
        Verdict::Unknown => 0,
        Verdict::Healthy => 1,
        Verdict::Degraded => 2,
        Verdict::Incident => 3,
    };
    if rank(of_state) > rank(signals) { of_state } else { signals }
}

/// The pod that shows the first finding, else its object.
fn first_broken(cluster: &Cluster) -> Option<String> {
    let finding = cluster.findings.first()?;
    let pod = finding.cause_chain.iter().find(|link| link.object.kind == "Pod");
    Some(pod.map_or(&finding.object, |link| &link.object).name.clone())
}

fn blast(cluster: &Cluster, rest: Option<&Diagnosis>, by_rule: bool, first: Option<&str>) -> Vec<String> {
    let mut names: Vec<String> = rest.map(|rest| rest.blast_radius.clone()).unwrap_or_default();
    if by_rule {
        let links = cluster.findings.first().into_iter().flat_map(|finding| finding.cause_chain.iter().skip(1));
        names.extend(links.map(|link| link.object.name.clone()));
    }
    names.retain(|name| Some(name.as_str()) != first);
    names.sort();
    names.dedup();
    names
}

fn remediation(
    cluster: &Cluster,
    rest: Option<&Diagnosis>,
    causes: &[Cause],
    by_rule: Option<RemedyKind>,
) -> Remediation {
    let none = || Remediation { kind: RemedyKind::None, action: String::new() };
    if causes.is_empty() {
        return none();
    }
    if let Some(kind) = by_rule {
        let finding =
            causes[0].finding.as_ref().and_then(|id| cluster.findings.iter().find(|finding| finding.id == *id));
        let best = finding.and_then(|finding| finding.remedies.first());
        let action = best.map(|remedy| match (&remedy.action, &remedy.command) {
            (Some(action), _) => format!("{} in {}", action.kind().facts().name, remedy.namespace),
            (None, Some(command)) => format!("{} ({command})", remedy.does),
            (None, None) => remedy.does.clone(),
        });
        return Remediation { kind, action: action.unwrap_or_default() };
    }
    rest.map_or_else(none, |rest| Remediation { kind: rest.remediation.kind, action: rest.remediation.action.clone() })
}

fn summary(verdict: Verdict, causes: &[Cause], bundle: &Bundle, ruled_out: &[RuledOut]) -> String {
    let first = || causes.first().map(|cause| cause.claim.clone());
    match verdict {
        Verdict::Healthy => {
            let mut text = "No failure found: what was looked at is normal.".to_owned();
            if let Some(one) = ruled_out.first() {
                let _ = write!(text, " {}: {}.", one.what, one.why);
            }
            text
        }
        Verdict::Incident | Verdict::Degraded => {
            first().unwrap_or_else(|| "Something suffers; no cause stands out.".to_owned())
        }
        Verdict::Unknown if has_signals(bundle) => {
            first().unwrap_or_else(|| "Too little was given to say what is wrong, or that nothing is.".to_owned())
        }
        Verdict::Unknown => "Nothing was given that could be looked at.".to_owned(),
    }
}

fn alert(bundle: &Bundle) -> Option<Alert> {
    let firing = bundle.case.alert.as_ref();
    let alert = firing.or(bundle.quiet_alerts.first())?;
    let component = alert.component.and_then(|id| bundle.case.components.get(id.0 as usize));
    Some(Alert {
        component: component.map(|component| component.name.clone()),
        metric: alert.metric.clone(),
        fired_ms: alert.fired_ms,
        summary: alert.summary.clone(),
        fires: firing.is_some(),
    })
}

/// What was not looked at: files first, then what rules miss, then what signals miss.
fn gaps(bundle: &Bundle, cluster: &Cluster, rest: Option<&Diagnosis>) -> Vec<Gap> {
    let mut gaps = bundle.not_looked_at.clone();
    if cluster.objects > 0 {
        gaps.extend(cluster.not_looked_at.iter().cloned());
    }
    for text in rest.map(|rest| rest.not_looked_at.as_slice()).unwrap_or_default() {
        let (what, reason) = text.split_once(": ").unwrap_or((text, "left out"));
        gaps.push(Gap { what: what.to_owned(), reason: reason.to_owned() });
    }
    if gaps.len() > GAPS_MAX {
        let more = gaps.len() - GAPS_MAX;
        gaps.truncate(GAPS_MAX);
        gaps.push(Gap { what: format!("{more} more"), reason: "not listed".to_owned() });
    }
    gaps
}
