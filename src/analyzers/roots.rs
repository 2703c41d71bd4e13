//! Folds symptoms into root findings: the same fault seen many times is one, and what follows from a fault
//! is a link of its chain, not a finding.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use opsward_domain::label::Integrity;

use crate::finding::{EXCERPT_CHARS_MAX, Evidence, Finding, Link, Severity};
use crate::object::Ref;
use crate::objects::Objects;
use crate::owner;
use crate::symptom::{Quote, Symptom};

/// Most links of one chain; what goes beyond is counted in the last.
const LINKS_MAX: usize = 12;
/// Most quotes of one finding.
const QUOTES_MAX: usize = 4;
/// How deep explanations are followed.
const DEPTH_MAX: usize = 16;

/// Which symptoms explain which.
struct Explanations<'a> {
    symptoms: &'a [Symptom],
    by_object: HashMap<&'a Ref, Vec<usize>>,
    known: HashMap<usize, BTreeSet<usize>>,
}

impl<'a> Explanations<'a> {
    fn new(symptoms: &'a [Symptom]) -> Self {
        let mut by_object: HashMap<&Ref, Vec<usize>> = HashMap::new();
        for (place, symptom) in symptoms.iter().enumerate() {
            by_object.entry(&symptom.root).or_default().push(place);
            if symptom.seen_on != symptom.root {
                by_object.entry(&symptom.seen_on).or_default().push(place);
            }
        }
        Self { symptoms, by_object, known: HashMap::new() }
    }

    /// The symptoms at the bottom of one: itself, if nothing explains it and it may stand alone.
    fn roots(&mut self, place: usize, path: &mut Vec<usize>) -> BTreeSet<usize> {
        if let Some(known) = self.known.get(&place) {
            return known.clone();
        }
        if path.contains(&place) || path.len() > DEPTH_MAX {
            return BTreeSet::new();
        }
        path.push(place);
        let symptom = &self.symptoms[place];
        let below: BTreeSet<usize> = symptom
            .because
            .iter()
            .filter_map(|at| self.by_object.get(at))
            .flatten()
            .copied()
            .filter(|other| *other != place && self.symptoms[*other].severity > Severity::Info)
            .collect();
        let mut roots = BTreeSet::new();
        for other in below {
            roots.extend(self.roots(other, path));
        }
        path.pop();
        if roots.is_empty() && symptom.alone {
            roots.insert(place);
        }
        if path.is_empty() {
            self.known.insert(place, roots.clone());
        }
        roots
    }
}

type Key<'a> = (&'a str, &'a Ref, &'a str, &'a str);

/// Folds symptoms. Findings come worst first, evidence in the order of findings.
pub(crate) fn fold(objects: &Objects, symptoms: &[Symptom], floor: Severity) -> (Vec<Finding>, Vec<Evidence>) {
    let mut explanations = Explanations::new(symptoms);
    let mut groups: BTreeMap<Key<'_>, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for place in 0..symptoms.len() {
        for root in explanations.roots(place, &mut Vec::new()) {
            let at = &symptoms[root];
            let (own, follows) = groups.entry((at.rule, &at.root, &at.field, &at.detail)).or_default();
            if root == place { own.push(place) } else { follows.push(place) }
        }
    }
    let mut evidence = Evidences::default();
    let mut findings: Vec<(Finding, Vec<&Symptom>)> = groups
        .values()
        .filter(|(own, _)| !own.is_empty())
        .map(|(own, follows)| {
            let pick = |places: &[usize]| places.iter().map(|&place| &symptoms[place]).collect::<Vec<_>>();
            let (own, follows) = (pick(own), pick(follows));
            (finding(objects, &own, &follows), own)
        })
        .filter(|(finding, _)| finding.severity >= floor)
        .collect();
    findings.sort_by(|(a, _), (b, _)| {
        b.severity
            .cmp(&a.severity)
            .then(b.cause_chain.len().cmp(&a.cause_chain.len()))
            .then_with(|| a.object.cmp(&b.object))
            .then_with(|| (a.rule, &a.field).cmp(&(b.rule, &b.field)))
    });
    for (number, (finding, own)) in findings.iter_mut().enumerate() {
        finding.id = format!("f{}", number + 1);
        finding.evidence = evidence.cite(objects, own);
    }
    (findings.into_iter().map(|(finding, _)| finding).collect(), evidence.list)
}

fn finding(objects: &Objects, own: &[&Symptom], follows: &[&Symptom]) -> Finding {
    let first = own[0];
    let mut severity = own.iter().map(|symptom| symptom.severity).max().unwrap_or(first.severity);
    if severity > Severity::Info {
        severity = follows.iter().map(|symptom| symptom.severity).fold(severity, Severity::max);
    }
    let owner = own.iter().find_map(|symptom| {
        let seen = objects.get(&symptom.seen_on)?;
        let top = objects.top(seen);
        (top != first.root && owner::is_workload(&top.kind)).then_some(top)
    });
    let manager = owner.as_ref().or(Some(&first.root)).and_then(|at| objects.get(at)).and_then(owner::manager);
    Finding {
        id: String::new(),
        rule: first.rule,
        severity,
        object: first.root.clone(),
        field: first.field.clone(),
        owner,
        claim: first.claim.clone(),
        since_ms: own.iter().filter_map(|symptom| symptom.since_ms).min(),
        cause_chain: chain(objects, own, follows),
        evidence: Vec::new(),
        remedies: first.remedies.clone(),
        managed_by: manager,
    }
}

/// Root, where it shows, the owners of that, and what follows.
fn chain(objects: &Objects, own: &[&Symptom], follows: &[&Symptom]) -> Vec<Link> {
    let root = &own[0].root;
    let mut links = Links::default();
    links.push(root, &own[0].claim);
    for symptom in own.iter().filter(|symptom| symptom.seen_on != *root) {
        links.push(&symptom.seen_on, &symptom.says);
    }
    for symptom in own.iter().chain(follows) {
        for owner in objects.get(&symptom.seen_on).map(|seen| objects.owners(seen)).unwrap_or_default() {
            if owner::is_workload(&owner.kind) && owner != *root {
                links.once(&owner, || owner::standing(objects, &owner));
            }
        }
    }
    for symptom in follows {
        links.push(&symptom.seen_on, &symptom.says);
    }
    links.finish()
}

#[derive(Default)]
struct Links {
    list: Vec<Link>,
    seen: BTreeSet<(Ref, String)>,
}

impl Links {
    fn push(&mut self, at: &Ref, says: &str) {
        if !self.seen.insert((at.clone(), says.to_owned())) {
            return;
        }
        let same = |link: &&mut Link| {
            link.object.kind == at.kind
                && link.object.namespace == at.namespace
                && link.says == says
                && link.object != *at
        };
        if let Some(link) = self.list.iter_mut().skip(1).find(same) {
            link.more += 1;
            return;
        }
        // Words of the object itself replace what its replica counts said.
        if let Some(link) = self.list.iter_mut().skip(1).find(|link| link.object == *at) {
            if !link.says.contains(says) {
                link.says = if link.says.is_empty() { says.to_owned() } else { format!("{}; {says}", link.says) };
            }
            return;
        }
        self.list.push(Link { object: at.clone(), more: 0, says: says.to_owned() });
    }

    fn once(&mut self, at: &Ref, says: impl FnOnce() -> String) {
        if !self.list.iter().any(|link| link.object == *at) {
            self.list.push(Link { object: at.clone(), more: 0, says: says() });
        }
    }

    fn finish(mut self) -> Vec<Link> {
        if self.list.len() > LINKS_MAX {
            let more = self.list.len() - LINKS_MAX;
            self.list.truncate(LINKS_MAX);
            if let Some(last) = self.list.last_mut() {
                last.says.push_str(&format!(" (and {more} more objects suffer)"));
            }
        }
        self.list
    }
}

#[derive(Default)]
struct Evidences {
    list: Vec<Evidence>,
    known: HashMap<(Ref, String, String), String>,
}

impl Evidences {
    fn cite(&mut self, objects: &Objects, own: &[&Symptom]) -> Vec<String> {
        let shown =
            if own.iter().all(|symptom| symptom.quotes.is_empty()) { Self::show_field(objects, own) } else { None };
        let mut ids = Vec::new();
        let mut said: BTreeSet<&str> = BTreeSet::new();
        for quote in own.iter().flat_map(|symptom| &symptom.quotes).chain(&shown) {
            if ids.len() == QUOTES_MAX {
                break;
            }
            if !said.insert(&quote.excerpt) {
                continue;
            }
            let key = (quote.source.clone(), quote.field.clone(), quote.excerpt.clone());
            let next = format!("e{}", self.list.len() + 1);
            let id = self.known.entry(key).or_insert_with(|| {
                self.list.push(Evidence {
                    id: next.clone(),
                    source: quote.source.clone(),
                    field: quote.field.clone(),
                    excerpt: excerpt(&quote.excerpt),
                    integrity: Integrity::Untrusted,
                });
                next
            });
            ids.push(id.clone());
        }
        ids
    }

    /// Where no rule quoted anything, the field itself is shown.
    fn show_field(objects: &Objects, own: &[&Symptom]) -> Option<Quote> {
        let (at, field) = (&own[0].root, &own[0].field);
        let value = field.split('.').try_fold(&objects.get(at)?.value, |value, key| value.get(key))?;
        let excerpt = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(Quote { source: at.clone(), field: field.clone(), excerpt })
    }
}

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
