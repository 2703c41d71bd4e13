//! Who calls whom, and where the trouble comes from: blame flows from those who suffer to those they
//! wait for, and stays where nothing deeper explains it. Never looks at changes or logs.

use std::collections::{BTreeMap, BTreeSet};

use opsward_domain::name::Workload;
use opsward_domain::resource::WorkloadStatus;

use super::picture::Picture;
use super::signals::{Signals, Vital, per_second};
use super::symptoms::Symptoms;

/// Deepest chain of calls that is followed.
const DEPTH_MAX: usize = 8;
/// Bins before the onset that are left out of the normal level.
const MARGIN_BINS: usize = 2;
/// Growth of calls for each request that counts as amplification.
const AMPLIFIED_TIMES: f64 = 1.3;
/// Blame that a healthy-looking callee takes of an edge that fails.
const HEALTHY_CALLEE_SHARE: f64 = 0.4;
/// The same when the callee does not even count what it is asked, and its callers wait in vain.
const UNHEARD_CALLEE_SHARE: f64 = 0.9;
/// Share of its usual part of the questions below which a callee does not hear them, and fewest questions.
const UNHEARD_BELOW: f64 = 0.6;
const UNHEARD_CALLS_MIN: f64 = 10.0;
/// Weight of sufferers that the alert does not name.
const UNNAMED_WEIGHT: f64 = 0.25;

/// Somewhere blame can stay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A workload of the workspace, now or until it was deleted.
    Ours(Workload),
    /// Something that is called and is not ours.
    Outside(String),
}

/// Where blame stayed, and who calls whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Blame {
    /// Shares that sum to one, or nothing if nobody suffers.
    pub(super) share: BTreeMap<Place, f64>,
    /// Callers of each place with the name they use for it.
    pub(super) callers: BTreeMap<Place, Vec<(Workload, String)>>,
    /// Calls that grew though the caller's own traffic did not: callee to caller.
    pub(super) amplified: BTreeMap<Workload, Workload>,
}

impl Blame {
    pub(super) fn of(&self, place: &Place) -> f64 {
        self.share.get(place).copied().unwrap_or(0.0)
    }
    pub(super) fn ours(&self, workload: &Workload) -> f64 {
        self.of(&Place::Ours(workload.clone()))
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn points_at<'a>(value: &str, workloads: &'a [WorkloadStatus]) -> Option<&'a Workload> {
    let at = |status: &&WorkloadStatus| {
        let template = format!("${{addr:{}}}", status.name);
        value.contains(&template) || status.address.as_ref().is_some_and(|address| value.contains(address.as_str()))
    };
    workloads.iter().find(at).map(|status| &status.name)
}

/// Which place `caller` means by `peer`: a workload's name or address, an alias of its environment, a
/// workload that was deleted, or something outside.
pub(super) fn resolve(picture: &Picture, caller: &WorkloadStatus, peer: &str) -> Place {
    if let Some(status) = picture.workloads.iter().find(|status| status.name.as_str() == peer) {
        return Place::Ours(status.name.clone());
    }
    if let Some(name) = points_at(peer, &picture.workloads) {
        return Place::Ours(name.clone());
    }
    let alias = plain(peer);
    let mentions = |(key, _): &(&String, &String)| !alias.is_empty() && plain(key).contains(&alias);
    if let Some(name) =
        caller.spec.env.iter().filter(mentions).find_map(|(_, value)| points_at(value, &picture.workloads))
    {
        return Place::Ours(name.clone());
    }
    let deleted = picture.changes.iter().filter_map(|change| change.workload.as_ref());
    match deleted.into_iter().find(|name| name.as_str() == peer) {
        Some(name) => Place::Ours(name.clone()),
        None => Place::Outside(peer.to_owned()),
    }
}

/// Extra counts per second after bin `onset` compared with before.
fn excess(signals: &Signals<'_>, vital: &Vital<'_>, counts: &[f64], onset: usize) -> f64 {
    let grid = &signals.grid;
    let before = per_second(grid, counts, vital.since, onset.saturating_sub(MARGIN_BINS));
    (per_second(grid, counts, onset, grid.len) - before).max(0.0)
}

/// Extra seconds for each request after bin `onset` compared with before.
fn excess_per(counts: &[f64], of: &[f64], onset: usize) -> f64 {
    let mean = |from: usize, to: usize| {
        let (n, d): (f64, f64) = (counts[from..to].iter().sum(), of[from..to].iter().sum());
        if d > 0.0 { n / d } else { 0.0 }
    };
    let margin = onset.saturating_sub(MARGIN_BINS);
    (mean(onset, counts.len()) - mean(0, margin)).max(0.0)
}

struct Flow<'a> {
    picture: &'a Picture,
    signals: &'a Signals<'a>,
    symptoms: &'a BTreeMap<Workload, Symptoms>,
    callers: &'a BTreeMap<Place, Vec<(Workload, String)>>,
    sinks: BTreeMap<Place, f64>,
}

/// How much of a workload's trouble is its own, and how much comes from each peer; sums to one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shares {
    pub(super) own: f64,
    pub(super) peers: BTreeMap<String, f64>,
}

impl Shares {
    fn new(extra: f64, by_peer: BTreeMap<String, f64>) -> Self {
        let from_peers: f64 = by_peer.values().sum();
        if extra <= 0.0 || from_peers <= 0.0 {
            return Self { own: 1.0, peers: BTreeMap::new() };
        }
        let own = ((extra - from_peers) / extra).clamp(0.0, 1.0);
        // A tenth is within the error of such differences.
        let own = if own < 0.1 { 0.0 } else { own };
        let peers = by_peer.into_iter().map(|(peer, part)| (peer, (1.0 - own) * part / from_peers));
        Self { own, peers: peers.filter(|(_, part)| *part > 0.01).collect() }
    }
}

impl Shares {
    /// Failures of its own in a workload that loses its time in calls are deadlines it missed there, as
    /// far as the lost time is.
    fn with_deadlines(mut self, time: &Self) -> Self {
        let missed = self.own;
        self.own = missed * time.own;
        for (peer, part) in &time.peers {
            *self.peers.entry(peer.clone()).or_default() += missed * part;
        }
        self
    }
}

fn error_shares(signals: &Signals<'_>, vital: &Vital<'_>, onset: usize) -> Shares {
    let extra = excess(signals, vital, &vital.errors, onset);
    let by_peer = vital.peers.iter().map(|(name, peer)| (name.clone(), excess(signals, vital, &peer.failed, onset)));
    // Failures of a fraction of the trouble are its noise, not its source.
    Shares::new(extra, by_peer.filter(|(_, part)| *part > 0.05 * extra).collect())
}

fn latency_shares(vital: &Vital<'_>, onset: usize) -> Shares {
    let extra = excess_per(&vital.seconds, &vital.timed, onset);
    let timed = vital.peers.iter().filter(|(_, peer)| !peer.seconds.is_empty());
    let by_peer = timed.map(|(name, peer)| (name.clone(), excess_per(&peer.seconds, &vital.timed, onset)));
    Shares::new(extra, by_peer.filter(|(_, part)| *part > 0.05 * extra).collect())
}

/// Splits the trouble of one workload.
pub(super) fn shares(signals: &Signals<'_>, symptoms: &Symptoms, name: &Workload) -> Shares {
    let all_own = Shares { own: 1.0, peers: BTreeMap::new() };
    let Some(vital) = signals.of.get(name).filter(|vital| vital.counted) else { return all_own };
    let mut found = match (symptoms.errors, symptoms.latency) {
        (Some(errors), Some(late)) => {
            error_shares(signals, vital, errors.onset_bin).with_deadlines(&latency_shares(vital, late.onset_bin))
        }
        (Some(shift), None) => error_shares(signals, vital, shift.onset_bin),
        (None, Some(shift)) => latency_shares(vital, shift.onset_bin),
        (None, None) => all_own,
    };
    // Replicas that are down are their own trouble whatever else goes wrong around them.
    let least = if symptoms.broken() { symptoms.down_share.max(0.6) } else { 0.0 };
    if found.own < least {
        let left = 1.0 - found.own;
        found.peers.values_mut().for_each(|part| *part *= (1.0 - least) / left);
        found.own = least;
    }
    found
}

impl Flow<'_> {
    fn sink(&mut self, place: Place, mass: f64) {
        *self.sinks.entry(place).or_default() += mass;
    }

    fn from(&mut self, status: &WorkloadStatus, mass: f64, path: &mut BTreeSet<Workload>) {
        let name = &status.name;
        let here = Place::Ours(name.clone());
        let Some(symptoms) = self.symptoms.get(name) else { return self.sink(here, mass) };
        let split = shares(self.signals, symptoms, name);
        self.sink(here.clone(), mass * split.own);
        path.insert(name.clone());
        for (peer, part) in &split.peers {
            let part = mass * part;
            match resolve(self.picture, status, peer) {
                Place::Ours(callee) if callee == *name => self.sink(here.clone(), part),
                Place::Ours(callee) => self.descend(&here, callee, part, path),
                outside => self.sink(outside, part),
            }
        }
        path.remove(name);
    }

    /// True if a callee counts much less of what it is asked than it used to while its callers run out of
    /// time: it is there and does not get to them. Refused connections never reached it, which is another story.
    fn unheard(&self, callee: &Workload) -> bool {
        let Some(answering) = self.signals.of.get(callee) else { return false };
        let callers = self.callers.get(&Place::Ours(callee.clone())).map_or(&[][..], Vec::as_slice);
        let seen = callers.iter().filter_map(|(caller, peer)| {
            let failing = self.symptoms.get(caller)?.peer_errors.get(peer)?.onset_bin;
            Some((self.signals.of.get(caller)?.peers.get(peer)?, failing))
        });
        let Some(onset) = seen.clone().map(|(_, onset)| onset).min() else { return false };
        let codes = seen.flat_map(|(peer, _)| &peer.codes);
        let (late, all) = codes.fold((0.0, 0.0), |(late, all), (code, count)| {
            (late + if code.to_ascii_lowercase().contains("time") { *count } else { 0.0 }, all + count)
        });
        let asked = |from: usize, to: usize| -> f64 {
            let all = callers.iter().filter_map(|(caller, peer)| self.signals.of.get(caller)?.peers.get(peer));
            all.map(|peer| peer.calls[from..to].iter().sum::<f64>()).sum()
        };
        let counted = |from: usize, to: usize| answering.requests.sum[from..to].iter().sum::<f64>();
        let (early, end) = (onset.saturating_sub(MARGIN_BINS), self.signals.grid.len);
        let before = counted(0, early) / asked(0, early).max(1.0);
        let after = counted(onset, end) / asked(onset, end).max(1.0);
        late > 0.5 * all && asked(onset, end) >= UNHEARD_CALLS_MIN && after < UNHEARD_BELOW * before
    }

    fn descend(&mut self, here: &Place, callee: Workload, mass: f64, path: &mut BTreeSet<Workload>) {
        let picture = self.picture;
        let suffers = self.symptoms.get(&callee).is_some_and(Symptoms::any);
        let speaks = self.signals.of.get(&callee).is_some_and(|vital| vital.counted);
        match picture.workload(&callee) {
            Some(status) if suffers && path.len() < DEPTH_MAX && !path.contains(&callee) => {
                self.from(status, mass, path);
            }
            // By its own account all is well: the way to it, or how it is used, is more likely.
            Some(_) if speaks && !suffers => {
                let share = if self.unheard(&callee) { UNHEARD_CALLEE_SHARE } else { HEALTHY_CALLEE_SHARE };
                self.sink(Place::Ours(callee), mass * share);
                self.sink(here.clone(), mass * (1.0 - share));
            }
            _ => self.sink(Place::Ours(callee), mass),
        }
    }
}

fn callers(picture: &Picture, signals: &Signals<'_>) -> BTreeMap<Place, Vec<(Workload, String)>> {
    let mut found: BTreeMap<Place, Vec<(Workload, String)>> = BTreeMap::new();
    for status in &picture.workloads {
        let mut seen = BTreeSet::new();
        for peer in signals.of.get(&status.name).map(|vital| vital.peers.keys()).into_iter().flatten() {
            let place = resolve(picture, status, peer);
            seen.insert(place.clone());
            found.entry(place).or_default().push((status.name.clone(), peer.clone()));
        }
        for callee in &status.spec.depends_on {
            let place = Place::Ours(callee.clone());
            if seen.insert(place.clone()) {
                found.entry(place).or_default().push((status.name.clone(), callee.as_str().to_owned()));
            }
        }
    }
    found
}

/// The caller whose calls for each of its own requests grew most, if they did, for a callee in trouble. Failed
/// calls are left out: their retries follow from the trouble and do not make it.
fn amplifier(signals: &Signals<'_>, callers: &[(Workload, String)], onset: usize) -> Option<Workload> {
    let grid = &signals.grid;
    let early = onset.saturating_sub(MARGIN_BINS);
    let growth = |caller: &Workload, peer: &String| {
        let vital = signals.of.get(caller)?;
        let peer = vital.peers.get(peer)?;
        let answered: Vec<f64> = peer.calls.iter().zip(&peer.failed).map(|(all, failed)| all - failed).collect();
        let per = |from, to| per_second(grid, &answered, from, to) / vital.rate(grid, from, to).max(1e-9);
        let (before, after) = (per(vital.since, early), per(onset, grid.len));
        (before > 0.0 && after >= AMPLIFIED_TIMES * before).then_some(after / before)
    };
    let grown = callers.iter().filter_map(|(caller, peer)| Some((caller, growth(caller, peer)?)));
    grown.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(caller, _)| caller.clone())
}

/// Moves the blame of a callee that drowns in extra calls to what made its caller ask more: another
/// peer of the caller that fails, or a change of the caller.
fn unload(picture: &Picture, signals: &Signals<'_>, symptoms: &BTreeMap<Workload, Symptoms>, blame: &mut Blame) {
    let drowning: Vec<Workload> = symptoms
        .iter()
        .filter(|(name, found)| found.any() && found.traffic.is_some() && blame.ours(name) > 0.0)
        .map(|(name, _)| name.clone())
        .collect();
    for name in drowning {
        let place = Place::Ours(name.clone());
        let onset = symptoms[&name].traffic.map_or(0, |shift| shift.onset_bin);
        let Some(caller) = blame.callers.get(&place).and_then(|list| amplifier(signals, list, onset)) else { continue };
        let Some(status) = picture.workload(&caller) else { continue };
        let peers = symptoms.get(&caller).map(|found| &found.peer_errors).into_iter().flatten();
        let culprit = peers.map(|(peer, _)| resolve(picture, status, peer)).find(|other| *other != place);
        let began = signals.grid.at(onset);
        let changed = picture.changes.iter().any(|c| c.workload.as_ref() == Some(&caller) && c.at_ms <= began + 5_000);
        let to = culprit.or_else(|| changed.then(|| Place::Ours(caller.clone())));
        if let Some(to) = to {
            let moved = blame.share.get(&place).copied().unwrap_or(0.0) * 0.8;
            *blame.share.entry(place).or_default() -= moved;
            *blame.share.entry(to).or_default() += moved;
            blame.amplified.insert(name, caller);
        }
    }
}

/// Where the trouble comes from.
pub(super) fn blame(picture: &Picture, signals: &Signals<'_>, symptoms: &BTreeMap<Workload, Symptoms>) -> Blame {
    let mut found = Blame { callers: callers(picture, signals), ..Blame::default() };
    let mut flow = Flow { picture, signals, symptoms, callers: &found.callers, sinks: BTreeMap::new() };
    let suffers = |name: &Workload| symptoms.get(name).is_some_and(Symptoms::any);
    let named = picture.alerted().filter(|name| suffers(name));
    for status in picture.workloads.iter().filter(|status| suffers(&status.name)) {
        let has_suffering_caller = found
            .callers
            .get(&Place::Ours(status.name.clone()))
            .is_some_and(|list| list.iter().any(|(caller, _)| suffers(caller)));
        let weight = match named {
            Some(name) if *name == status.name => 1.0,
            Some(_) => UNNAMED_WEIGHT,
            None if has_suffering_caller => UNNAMED_WEIGHT,
            None => 1.0,
        };
        flow.from(status, weight, &mut BTreeSet::new());
    }
    let all: f64 = flow.sinks.values().sum();
    if all > 0.0 {
        found.share = flow.sinks.into_iter().map(|(place, mass)| (place, mass / all)).collect();
    }
    unload(picture, signals, symptoms, &mut found);
    found
}
