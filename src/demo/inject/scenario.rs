//! A scenario as data: what is done, in order, and the truth about it.
//! Must never do anything itself.

use crate::driver::lines::{Expect, Truth};
use crate::release::Release;
use crate::rng::Rng;
use crate::world::{World, releases};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One thing that somebody or the world does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Move {
    /// Lets time pass.
    Wait { ms: u64 },
    /// An action of a developer.
    Act { action: Value, reason: String },
    /// A developer ships a version.
    Ship { release: Box<Release>, reason: String },
    /// All processes of a workload stop running; for ever without a time.
    Freeze { workload: String, for_ms: Option<u64> },
    /// All processes of a workload get the processor only now and then; until they end without a time.
    Starve { workload: String, off_ms: u64, on_ms: u64, for_ms: Option<u64> },
    /// One process of a workload is killed.
    Kill { workload: String },
    /// A file of this size appears in the workload's data folder.
    Fill { workload: String, bytes: u64 },
    /// That file is removed.
    Sweep { workload: String },
    /// The external network changes its behaviour.
    External { command: String },
    /// The client changes its traffic.
    Client { command: String },
    /// Another system reports an alert.
    Alert { name: String, service: String, status: &'static str, severity: &'static str, summary: String },
    /// Strangers ask for pages that do not exist.
    Stray { count: u64 },
    /// From here on the cause is in place.
    Cause,
}

/// A scenario while it is written.
#[derive(Debug)]
pub(crate) struct Script<'w> {
    pub(crate) world: &'w World,
    pub(crate) rng: Rng,
    pub(crate) moves: Vec<Move>,
    pub(crate) truth: Truth,
    pace: f64,
    latest: BTreeMap<String, Release>,
}

impl<'w> Script<'w> {
    /// `pace` scales waits; below 1 everything comes sooner.
    pub(crate) fn new(world: &'w World, incident: &str, seed: u64, pace: f64) -> Self {
        let truth = Truth {
            incident: incident.to_owned(),
            variant: String::new(),
            expect: Expect::Repair,
            victim: String::new(),
            cause_kind: String::new(),
            right_actions: Vec::new(),
            tolerated_actions: Vec::new(),
            decoys: Vec::new(),
            cause_at_ms: 0,
        };
        let latest = world.releases.iter().map(|r| (r.service.clone(), r.clone())).collect();
        let rng = Rng::new(seed, incident);
        Self { world, rng, moves: Vec::new(), truth, pace, latest }
    }

    pub(crate) fn wait(&mut self, low_ms: u64, high_ms: u64) {
        let ms = self.rng.whole(low_ms, high_ms) as f64 * self.pace;
        self.moves.push(Move::Wait { ms: ms as u64 });
    }

    pub(crate) fn pace(&self) -> f64 {
        self.pace
    }

    /// Names the cause; call it with the move that puts it in place.
    pub(crate) fn blame(&mut self, victim: &str, kind: &str, variant: &str) {
        victim.clone_into(&mut self.truth.victim);
        kind.clone_into(&mut self.truth.cause_kind);
        variant.clone_into(&mut self.truth.variant);
    }

    pub(crate) fn cause(&mut self) {
        self.moves.push(Move::Cause);
    }

    pub(crate) fn right(&mut self, pattern: Value) {
        self.truth.right_actions.push(pattern);
    }

    pub(crate) fn tolerate(&mut self, pattern: Value) {
        self.truth.tolerated_actions.push(pattern);
    }

    pub(crate) fn right_rollback(&mut self, workload: &str) {
        self.right(json!({"kind": "rollback_workload", "workload": workload}));
        self.right(json!({"kind": "deploy_workload", "workload": workload}));
    }

    pub(crate) fn right_setting(&mut self, workload: &str, key: &str) {
        self.right(json!({"kind": "set_environment", "workload": workload, "set": {key: {"$any": true}}}));
        self.right(json!({"kind": "set_environment", "workload": workload, "unset": {"$has": key}}));
        self.right(json!({"kind": "rollback_workload", "workload": workload}));
    }

    pub(crate) fn right_restart(&mut self, workload: &str) {
        self.right(json!({"kind": "restart_workload", "workload": workload}));
    }

    pub(crate) fn right_scale(&mut self, workload: &str, at_least: u64) {
        self.right(json!({"kind": "scale_workload", "workload": workload, "replicas": {"$min": at_least}}));
    }

    /// Ships the next version of a workload after `change`.
    pub(crate) fn ship(&mut self, workload: &str, change: impl FnOnce(&mut Release, &mut Rng)) {
        let Some(release) = self.latest.get_mut(workload) else {
            return;
        };
        let mut parts: Vec<u64> = release.version.split('.').filter_map(|part| part.parse().ok()).collect();
        let place = if self.rng.chance(0.4) { 1 } else { 2 };
        if let Some(number) = parts.get_mut(place) {
            *number += 1;
        }
        if place == 1
            && let Some(patch) = parts.get_mut(2)
        {
            *patch = 0;
        }
        release.version = parts.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
        release.commit = releases::commit(&mut self.rng);
        change(release, &mut self.rng);
        let reason = format!("release {} {}", release.service, release.version);
        let release = Box::new(release.clone());
        self.moves.push(Move::Ship { release, reason });
    }

    pub(crate) fn set(&mut self, workload: &str, key: &str, value: &str, reason: &str) {
        let action = json!({"kind": "set_environment", "workload": workload, "set": {key: value}});
        self.act(action, reason);
    }

    pub(crate) fn act(&mut self, action: Value, reason: &str) {
        self.moves.push(Move::Act { action, reason: reason.to_owned() });
    }

    /// An ordinary change that harms nobody, on a workload other than `spare`.
    pub(crate) fn harmless(&mut self, spare: &[&str]) {
        let all = ["gateway", "catalog", "checkout", "payments", "ledger"];
        let free: Vec<_> = all.iter().filter(|name| !spare.contains(name)).copied().collect();
        let Some(workload) = self.rng.choose(&free) else {
            return;
        };
        match self.rng.below(4) {
            0 | 1 => self.ship_harmless(workload),
            2 => self.tune(workload),
            _ => {
                self.act(
                    json!({"kind": "set_environment", "workload": workload, "set": {"REGION": "eu-central-1"}}),
                    "use the long region name in log fields",
                );
            }
        }
        self.truth.decoys.push(workload.to_owned());
    }

    /// A version that behaves like the one before, with one more line in the log.
    pub(crate) fn ship_harmless(&mut self, workload: &str) {
        self.ship(workload, |release, rng| {
            let text = rng.pick(&[
                "tls session cache resized to 4096",
                "feature flag snapshot is 14 minutes old",
                "config: key http.legacyHeaders is deprecated, ignored",
                "event queue flush took 131ms",
            ]);
            let level = rng.pick(&["info", "warn"]);
            let job = crate::release::Job::Say { level: (*level).to_owned(), text: (*text).to_owned() };
            let task = crate::release::Task { first_ms: 2_000, every_ms: rng.whole(9_000, 25_000), job };
            release.tasks.push(task);
            release.warmup_ms = (release.warmup_ms + rng.whole(0, 60)).min(800);
        });
    }

    /// A change of configuration within what is healthy.
    pub(crate) fn tune(&mut self, workload: &str) {
        let (key, value, reason) = match workload {
            "gateway" => ("CATALOG_POOL_SIZE", "28", "gateway uses fewer connections than it reserves"),
            "catalog" => ("CACHE_POOL_SIZE", "16", "a little more room for the cache pool"),
            "checkout" => ("SESSION_CACHE_MAX", "180", "sessions are smaller now"),
            "payments" => ("CARDNET_TIMEOUT_MS", "750", "acquirer asks for a bit more patience"),
            _ => ("SEGMENT_KB", "48", "smaller segments for faster retention passes"),
        };
        self.set(workload, key, value, reason);
    }

    /// Between none and `most` harmless changes, with time between them.
    pub(crate) fn noise(&mut self, most: u64, spare: &[&str]) {
        for _ in 0..self.rng.whole(0, most) {
            self.harmless(spare);
            self.wait(1_500, 6_000);
        }
    }
}

#[cfg(test)]
impl Script<'_> {
    /// The changes that anybody sees, in order, as the simple rule wants them.
    pub(crate) fn changes(&self) -> Vec<crate::driver::rule::Change> {
        let mut changes = Vec::new();
        for (at, next) in self.moves.iter().enumerate() {
            let (workload, kind, before) = match next {
                Move::Ship { release, .. } => (release.service.clone(), "deploy_workload", 1),
                Move::Act { action, .. } => {
                    let text = |key: &str| action[key].as_str().unwrap_or_default().to_owned();
                    let kind = if text("kind") == "scale_workload" { "scale_workload" } else { "set_environment" };
                    (text("workload"), kind, if kind == "scale_workload" { 2 } else { 1 })
                }
                _ => continue,
            };
            let at_ms = u64::from(u32::MAX) - 1000 + at as u64;
            changes.push(crate::driver::rule::Change { workload, kind: kind.to_owned(), at_ms, before });
        }
        changes
    }
}
