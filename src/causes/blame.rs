//! Which change did it: asked of each one is whether what it changes can bring about what is seen, whether it reached
//! a suspected component, and whether it was there in time. The nearest in time is no answer to any of these.

use std::collections::{BTreeMap, BTreeSet};

use crate::case::{Change, ChangeKind, ComponentId, TimeMs};
use crate::checked::{Checked, RECORDS_MAX};
use crate::diff::{self, Reading};
use crate::graph::Graph;
use crate::logs::Logged;
use crate::mechanism::{Mechanism, Seen, phrases, summary};
use crate::suspects::Suspects;
use crate::words::words;

/// Clocks and sampling may put an onset this much before the change that caused it.
const SLACK_MS: i64 = 90_000;
/// Belief from which a change is named.
const CONVICT_MIN: f64 = 0.33;
/// Plainness of an outside cause from which only a plain fit of a change counts.
const OUTSIDE_MIN: f64 = 1.3;
/// Such a fit.
const PLAIN_FIT: f64 = 0.75;
/// How fast the suspicion against a change that cannot be read fades.
const UNREAD_FADES_MS: f64 = 8.0 * 60_000.0;
/// Most differences that are read.
const DIFFS_MAX: usize = 1_000;

/// A change, judged.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    /// Its place in the case.
    pub index: usize,
    /// The id to name: the commit of a deploy, where known.
    pub id: String,
    /// What kind of change it is.
    pub kind: ChangeKind,
    /// The component it reached.
    pub component: Option<ComponentId>,
    /// How it would have failed.
    pub mechanism: Option<Mechanism>,
    /// When it was there.
    pub at_ms: TimeMs,
    /// Belief, 0 to 1.
    pub score: f64,
    /// The line that did it, or why it cannot have been.
    pub reason: String,
}

/// What became of the question.
pub(crate) struct Outcome {
    /// The change that did it.
    pub culprit: Option<Judged>,
    /// All that were looked at, the likeliest first.
    pub judged: Vec<Judged>,
    /// The plainest sign that no change of ours did it.
    pub outside: Option<Seen>,
}

/// Where a change arrived, and when.
struct Arrival {
    component: Option<ComponentId>,
    at_ms: TimeMs,
    share: f64,
}

/// What the judgement of every change shares.
struct Bench<'a, 'b> {
    clean: &'a Checked<'b>,
    belief: BTreeMap<ComponentId, f64>,
    mechanisms: BTreeMap<Mechanism, f64>,
    onset_ms: TimeMs,
    bad_text: String,
    /// Words of bad news that few changes share.
    rare: BTreeSet<String>,
    deploys: Vec<&'a Change>,
}

/// Judges all changes.
pub(crate) fn judge(
    clean: &Checked<'_>,
    graph: &Graph,
    suspects: &Suspects,
    seen: &[Seen],
    logged: &Logged,
    onset_ms: TimeMs,
) -> Outcome {
    let belief = belief(graph, suspects);
    let mechanisms = summary(clean, seen, &belief);
    let outside = seen
        .iter()
        .filter(|one| one.mechanism.is_external())
        .map(|one| (one, one.weight * belief.get(&clean.service(one.component)).copied().unwrap_or(0.2)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, weight)| *weight >= OUTSIDE_MIN);
    let changes: Vec<&Change> = clean.case.changes.iter().take(RECORDS_MAX).collect();
    let readings: Vec<Option<Reading>> = changes
        .iter()
        .enumerate()
        .map(|(index, change)| {
            (index < DIFFS_MAX
                && (change.kind == ChangeKind::Commit || !change.diff.is_empty() || !change.files.is_empty()))
            .then(|| diff::read(&change.diff, &change.files, &change.summary))
        })
        .collect();
    let bench = Bench {
        clean,
        belief,
        mechanisms,
        onset_ms,
        bad_text: logged
            .changed
            .iter()
            .filter(|counted| counted.bad && counted.now > counted.before)
            .take(200)
            .map(|counted| counted.sample.clone())
            .collect::<Vec<_>>()
            .join("\n"),
        rare: BTreeSet::new(),
        deploys: changes.iter().copied().filter(|change| change.kind == ChangeKind::Deploy).collect(),
    };
    let bench = Bench { rare: bench.rare_words(&readings), ..bench };
    let commits: BTreeSet<&str> =
        changes.iter().filter(|change| change.kind == ChangeKind::Commit).map(|change| change.id.as_str()).collect();
    let mut judged: Vec<Judged> = changes
        .iter()
        .enumerate()
        .filter(|(_, change)| {
            !(change.kind == ChangeKind::Deploy
                && change.commit.as_deref().is_some_and(|commit| commits.contains(commit)))
        })
        .map(|(index, change)| match &readings[index] {
            Some(reading) if reading.has_lines || reading.inert => bench.read(index, change, reading),
            _ => bench.unread(index, change),
        })
        .collect();
    judged.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.at_ms.cmp(&a.at_ms)).then_with(|| a.id.cmp(&b.id)));
    let culprit =
        judged.first().filter(|best| best.score >= if outside.is_some() { PLAIN_FIT } else { CONVICT_MIN }).cloned();
    let outside = outside.map(|(one, _)| one.clone()).filter(|_| culprit.is_none());
    Outcome { culprit, judged, outside }
}

/// How much each service is suspected, next to the one suspected most; neighbours in the graph get a part.
fn belief(graph: &Graph, suspects: &Suspects) -> BTreeMap<ComponentId, f64> {
    let most = suspects.services.first().map_or(1.0, |suspect| suspect.weight).max(1e-9);
    let mut belief: BTreeMap<ComponentId, f64> = BTreeMap::new();
    for suspect in suspects.services.iter().take(50) {
        let share = suspect.weight / most;
        let raise = |belief: &mut BTreeMap<ComponentId, f64>, id: ComponentId, share: f64| {
            let known = belief.entry(id).or_default();
            *known = known.max(share);
        };
        raise(&mut belief, suspect.component, share);
        graph.callees(suspect.component).for_each(|callee| raise(&mut belief, callee, 0.6 * share));
        graph.callers(suspect.component).for_each(|caller| raise(&mut belief, caller, 0.4 * share));
    }
    belief
}

impl Bench<'_, '_> {
    /// Words of bad news that stand in at most two changes.
    fn rare_words(&self, readings: &[Option<Reading>]) -> BTreeSet<String> {
        let mut spread: BTreeMap<&str, u32> = BTreeMap::new();
        for reading in readings.iter().flatten() {
            reading.names.iter().for_each(|name| *spread.entry(name).or_default() += 1);
        }
        let said: BTreeSet<&str> = self.bad_text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        spread
            .into_iter()
            .filter(|(name, count)| *count <= 2 && said.contains(name))
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// Everywhere a change arrived before the onset.
    fn arrivals(&self, change: &Change) -> Vec<Arrival> {
        let share = |id: ComponentId| self.belief.get(&self.clean.service(id)).copied().unwrap_or(0.05);
        let mut found: Vec<Arrival> = self
            .deploys
            .iter()
            .filter(|deploy| deploy.commit.as_deref().is_some_and(|commit| same_commit(commit, &change.id)))
            .map(|deploy| Arrival {
                component: deploy.component,
                at_ms: deploy.at_ms,
                share: deploy.component.map_or(0.5, share),
            })
            .collect();
        if !found.is_empty() {
            return found;
        }
        if let Some(component) = change.component {
            return vec![Arrival { component: Some(component), at_ms: change.at_ms, share: share(component) }];
        }
        let named = self.named_by_path(&change.files);
        if !named.is_empty() {
            let first_after = |id: ComponentId| {
                self.deploys
                    .iter()
                    .filter(|deploy| deploy.component == Some(id) && deploy.at_ms >= change.at_ms)
                    .map(|deploy| deploy.at_ms)
                    .min()
            };
            let arrive = |id: ComponentId| match first_after(id) {
                Some(at_ms) => Arrival { component: Some(id), at_ms, share: share(id) },
                // Never rolled out as far as we know: a weak suspicion stays, if others were.
                None => Arrival {
                    component: Some(id),
                    at_ms: change.at_ms,
                    share: if self.deploys.is_empty() { 1.0 } else { 0.4 } * share(id),
                },
            };
            return named.into_iter().map(arrive).collect();
        }
        // A shared library reaches a service by the service's next deploy.
        for deploy in self.deploys.iter().filter(|deploy| deploy.at_ms >= change.at_ms && deploy.component.is_some()) {
            let known = found.iter().any(|arrival| arrival.component == deploy.component);
            if !known && let Some(component) = deploy.component {
                found.push(Arrival { component: Some(component), at_ms: deploy.at_ms, share: 0.8 * share(component) });
            }
        }
        if found.is_empty() {
            found.push(Arrival {
                component: None,
                at_ms: change.at_ms,
                share: if self.deploys.is_empty() { 0.6 } else { 0.25 },
            });
        }
        found
    }

    /// Services whose name stands in a touched path, by words.
    fn named_by_path(&self, files: &[String]) -> Vec<ComponentId> {
        let segments: BTreeSet<String> = files
            .iter()
            .take(200)
            .flat_map(|file| file.split('/').rev().skip(1).map(str::to_lowercase).collect::<Vec<_>>())
            .collect();
        let plain = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
        let common = [
            "service", "services", "svc", "api", "app", "server", "src", "pkg", "internal", "cmd", "lib", "common",
            "main",
        ];
        let mut found: BTreeSet<ComponentId> = BTreeSet::new();
        for (index, component) in self.clean.case.components.iter().enumerate().take(2_000) {
            let name = plain(&component.name);
            let stem = name.trim_end_matches("service").trim_end_matches("svc");
            let hit = segments
                .iter()
                .map(|segment| plain(segment))
                .filter(|segment| segment.len() >= 2 && !common.contains(&segment.as_str()))
                .any(|segment| {
                    segment == name
                        || segment == stem
                        || (segment.len() >= 4 && stem.starts_with(&segment))
                        || (stem.len() >= 4 && segment.starts_with(stem))
                });
            if hit {
                found.insert(self.clean.service(ComponentId(index as u32)));
            }
        }
        found.into_iter().collect()
    }

    /// The arrival that weighs most: there in time, at a suspected component.
    fn arrival(&self, change: &Change) -> (Option<Arrival>, bool) {
        let arrivals = self.arrivals(change);
        let any = !arrivals.is_empty();
        let in_time = arrivals.into_iter().filter(|arrival| arrival.at_ms <= self.onset_ms.saturating_add(SLACK_MS));
        (in_time.max_by(|a, b| a.share.total_cmp(&b.share).then(b.at_ms.cmp(&a.at_ms))), any)
    }

    /// A change whose lines can be read.
    fn read(&self, index: usize, change: &Change, reading: &Reading) -> Judged {
        let (arrival, _) = self.arrival(change);
        let Some(arrival) = arrival else {
            return self.verdict(index, change, None, None, 0.0, "it came after the onset".to_owned());
        };
        if reading.inert {
            return self.verdict(index, change, Some(&arrival), None, 0.0, "nothing it touches runs".to_owned());
        }
        let echo = self.echo(reading);
        let best = reading
            .effects
            .values()
            .map(|effect| {
                let seen = self.mechanisms.get(&effect.mechanism).copied().unwrap_or(0.0);
                (effect, 1.0 - (-(seen * effect.weight) * (1.0 + echo) / 2.5).exp())
            })
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.mechanism.cmp(&a.0.mechanism)));
        let Some((effect, fit)) = best.filter(|(_, fit)| *fit > 0.05) else {
            let fit = if echo >= 1.0 { 0.4 } else { 0.0 };
            let reason = if fit > 0.0 {
                "the stack trace names what it touches"
            } else {
                "its lines cannot bring about what is seen"
            };
            return self.verdict(index, change, Some(&arrival), None, fit, reason.to_owned());
        };
        let reason = format!("{}: {}", effect.why, effect.line);
        self.verdict(index, change, Some(&arrival), Some(effect.mechanism), fit, reason)
    }

    /// How much bad news name what a change touches: 1 for a touched file, a part for each rare word.
    fn echo(&self, reading: &Reading) -> f64 {
        let file = reading.files.iter().any(|file| self.bad_text.contains(file.as_str()));
        let rare = reading.names.iter().filter(|name| self.rare.contains(*name)).count() as f64;
        f64::from(u8::from(file)) + (0.25 * rare).min(0.5)
    }

    /// A change nobody can read: only its time and place speak against it.
    fn unread(&self, index: usize, change: &Change) -> Judged {
        let (arrival, _) = self.arrival(change);
        let Some(arrival) = arrival else {
            return self.verdict(index, change, None, None, 0.0, "it came after the onset".to_owned());
        };
        let age = (self.onset_ms - arrival.at_ms).max(0) as f64;
        let near = (-age / UNREAD_FADES_MS).exp();
        let named = change.id.len() >= 5 && self.bad_text.contains(&change.id);
        let told = phrases(&change.summary.to_lowercase())
            .iter()
            .any(|(mechanism, _)| self.mechanisms.get(mechanism).copied().unwrap_or(0.0) > 0.5);
        let base = match change.kind {
            ChangeKind::Commit => 0.1,
            ChangeKind::Deploy | ChangeKind::Config => 0.55,
            ChangeKind::Flag | ChangeKind::Scaling => 0.5,
        };
        let shared = words(&change.id)
            .iter()
            .filter(|word| word.len() >= 5 && self.bad_text.to_lowercase().contains(word.as_str()))
            .count();
        let fit = (base * near
            + 0.45 * f64::from(u8::from(named))
            + 0.15 * f64::from(u8::from(told))
            + 0.04 * shared.min(3) as f64)
            .min(0.9);
        let reason = if named {
            "bad news name it".to_owned()
        } else {
            format!("it came {} s before the onset and cannot be read", (age / 1_000.0) as i64)
        };
        self.verdict(index, change, Some(&arrival), None, fit, reason)
    }

    fn verdict(
        &self,
        index: usize,
        change: &Change,
        arrival: Option<&Arrival>,
        mechanism: Option<Mechanism>,
        fit: f64,
        reason: String,
    ) -> Judged {
        let age_h = arrival.map_or(0.0, |arrival| (self.onset_ms - arrival.at_ms).max(0) as f64 / 3_600_000.0);
        let score = arrival.map_or(0.0, |arrival| fit * arrival.share.sqrt() * (1.0 + age_h / 4.0).powf(-0.15));
        let id = match (&change.kind, &change.commit) {
            (ChangeKind::Deploy, Some(commit)) if !commit.is_empty() => commit.clone(),
            _ => change.id.clone(),
        };
        Judged {
            index,
            id,
            kind: change.kind,
            component: arrival.and_then(|arrival| arrival.component).or(change.component),
            mechanism,
            at_ms: arrival.map_or(change.at_ms, |arrival| arrival.at_ms),
            score,
            reason,
        }
    }
}

/// Commits are often named by their beginning.
fn same_commit(a: &str, b: &str) -> bool {
    a == b || (a.len().min(b.len()) >= 7 && (a.starts_with(b) || b.starts_with(a)))
}
