//! One look at one workspace with everything derived from it: what the explanations are made from.

use std::collections::BTreeMap;

use opsward_domain::name::Workload;
use opsward_domain::time::AtMs;

use super::changes::{self, Changed};
use super::graph::{self, Blame, Place};
use super::logs::{self, Fresh};
use super::picture::Picture;
use super::shift::Shift;
use super::signals::{Signals, Vital};
use super::symptoms::{self, Symptoms};

pub(super) struct Case<'a> {
    pub(super) picture: &'a Picture,
    pub(super) signals: Signals<'a>,
    pub(super) symptoms: BTreeMap<Workload, Symptoms>,
    pub(super) blame: Blame,
    pub(super) fresh: BTreeMap<Workload, Vec<Fresh<'a>>>,
    pub(super) changes: Vec<Changed<'a>>,
}

impl<'a> Case<'a> {
    pub(super) fn new(picture: &'a Picture) -> Self {
        let signals = Signals::new(picture);
        let symptoms = symptoms::find(picture, &signals);
        let blame = graph::blame(picture, &signals, &symptoms);
        Self { picture, signals, symptoms, blame, fresh: logs::fresh(picture), changes: changes::read(picture) }
    }
    pub(super) fn vital(&self, name: &Workload) -> Option<&Vital<'_>> {
        self.signals.of.get(name)
    }
    pub(super) fn fresh_of(&self, name: &Workload) -> &[Fresh<'a>] {
        self.fresh.get(name).map_or(&[], Vec::as_slice)
    }
    /// Fresh complaints of a workload that go with trouble that began at `onset_ms`.
    pub(super) fn complaints_of<'b>(
        &'b self,
        name: &Workload,
        onset_ms: AtMs,
    ) -> impl Iterator<Item = &'b Fresh<'a>> + use<'b, 'a> {
        self.fresh_of(name).iter().filter(move |one| one.goes_with(onset_ms, self.picture.now_ms))
    }
    /// What callers see of a place: caller, their name for it, rise of failures, rise of time.
    pub(super) fn seen_by_callers<'b>(
        &'b self,
        place: &Place,
    ) -> impl Iterator<Item = (&'b Workload, &'b str, Option<Shift>, Option<Shift>)> + use<'b, 'a> {
        let callers = self.blame.callers.get(place).map_or(&[][..], Vec::as_slice);
        callers.iter().filter_map(|(caller, peer)| {
            let found = self.symptoms.get(caller)?;
            let (errors, latency) = (found.peer_errors.get(peer).copied(), found.peer_latency.get(peer).copied());
            (errors.is_some() || latency.is_some()).then_some((caller, peer.as_str(), errors, latency))
        })
    }
    /// The earliest sign of trouble of a place, its own or as its callers see it.
    pub(super) fn onset_of(&self, place: &Place) -> Option<AtMs> {
        let own = match place {
            Place::Ours(name) => self.symptoms.get(name).and_then(Symptoms::onset_ms),
            Place::Outside(_) => None,
        };
        let seen = self.seen_by_callers(place).flat_map(|(_, _, errors, latency)| [errors, latency]);
        own.into_iter().chain(seen.flatten().map(|shift| shift.onset_ms)).min()
    }
    /// The earliest sign of trouble anywhere.
    pub(super) fn onset(&self) -> Option<AtMs> {
        self.symptoms.values().filter_map(Symptoms::onset_ms).min()
    }
    /// How failed calls to a place ended, by code, over all callers.
    pub(super) fn codes_towards(&self, place: &Place) -> BTreeMap<String, f64> {
        let mut all: BTreeMap<String, f64> = BTreeMap::new();
        for (caller, peer) in self.blame.callers.get(place).into_iter().flatten() {
            let codes = self.vital(caller).and_then(|vital| vital.peers.get(peer)).map(|found| &found.codes);
            for (code, count) in codes.into_iter().flatten() {
                *all.entry(code.clone()).or_default() += count;
            }
        }
        all.retain(|_, count| *count >= 0.5);
        all
    }
}
