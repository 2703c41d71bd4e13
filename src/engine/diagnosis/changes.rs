//! What was changed, and what each change could have done. Never decides whether it did.

use std::collections::BTreeMap;

use opsward_domain::action::{Action, ActionKind, SetEnvironment};
use opsward_domain::cause::Change;
use opsward_domain::effect::Effect;
use opsward_domain::name::Workload;
use opsward_domain::resource::{Resource, Revision, WorkloadStatus};
use opsward_domain::spec::WorkloadSpec;
use opsward_domain::time::AtMs;

use super::picture::Picture;

/// How far apart a change and the revision it made may be recorded.
const REVISION_NEAR_MS: i64 = 10_000;
/// How much earlier than its change an effect may seem to begin: clocks, bins and detection.
pub(super) const EARLY_MS: i64 = 10_000;
/// Up to here that is no argument against the change; at the end of it, fits this much.
const EARLY_FREE_MS: i64 = 3_000;
const EARLY_FIT: f64 = 0.3;
/// Lag up to which a change fits fully.
const LAG_FULL_MS: f64 = 30_000.0;
/// Further lag at which it fits half.
const LAG_HALF_MS: f64 = 240_000.0;
/// The same for the first version of a workload: once it has worked, only its birth speaks against it.
const BIRTH_FULL_MS: f64 = 5_000.0;
const BIRTH_HALF_MS: f64 = 10_000.0;

/// How long a change must have been in effect without harm before a later one is the likelier cause.
const OVERTAKEN_MS: i64 = 8_000;

/// What a change touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// Program, arguments, files or version.
    Release,
    /// Environment only.
    Configuration,
    /// Limits only.
    Limits,
    /// Number of replicas.
    Scaled { from: u32, to: u32 },
    /// The workload is gone.
    Removed,
    /// Nothing that could do harm by itself.
    Harmless,
}

/// Old and new value of each variable that differs.
pub(super) type EnvironmentDiff = BTreeMap<String, (Option<String>, Option<String>)>;

/// A change with what is known of both sides.
#[derive(Debug, Clone)]
pub(super) struct Changed<'a> {
    pub(super) change: &'a Change,
    pub(super) sort: Sort,
    pub(super) env: EnvironmentDiff,
    before: Option<&'a Revision>,
    after: Option<&'a Revision>,
    status: Option<&'a WorkloadStatus>,
    /// True if it made the workload.
    pub(super) first: bool,
}

fn env_diff(before: &WorkloadSpec, after: &WorkloadSpec) -> EnvironmentDiff {
    let keys = before.env.keys().chain(after.env.keys());
    let pair = |key: &String| (before.env.get(key).cloned(), after.env.get(key).cloned());
    keys.map(|key| (key.clone(), pair(key))).filter(|(_, (old, new))| old != new).collect()
}

fn sides<'a>(change: &Change, status: &'a WorkloadStatus) -> (Option<&'a Revision>, Option<&'a Revision>) {
    if let Some(Action::RollbackWorkload(back)) = &change.undo {
        let before = status.revisions.iter().find(|kept| kept.revision == back.revision);
        let after = status.revisions.iter().find(|kept| kept.revision > back.revision);
        return (before, after);
    }
    let near = |kept: &&Revision| (kept.at_ms - change.at_ms).abs() <= REVISION_NEAR_MS;
    let after = status.revisions.iter().filter(near).min_by_key(|kept| (kept.at_ms - change.at_ms).abs());
    let before = after.and_then(|made| status.revisions.iter().rfind(|kept| kept.revision < made.revision));
    (before, after)
}

fn sort(change: &Change, before: Option<&Revision>, after: Option<&Revision>, env: &EnvironmentDiff) -> Sort {
    let Ok(kind) = ActionKind::parse(&change.action) else { return Sort::Harmless };
    match kind {
        ActionKind::DeployWorkload | ActionKind::RollbackWorkload | ActionKind::SetImage => match (before, after) {
            (Some(old), Some(new)) => compare(&old.spec, &new.spec, env),
            _ => Sort::Release,
        },
        ActionKind::SetEnvironment => Sort::Configuration,
        ActionKind::SetLimits => Sort::Limits,
        ActionKind::ScaleWorkload => match &change.undo {
            Some(Action::ScaleWorkload(back)) => Sort::Scaled { from: back.replicas, to: u32::MAX },
            _ => Sort::Harmless,
        },
        ActionKind::DeleteWorkload => Sort::Removed,
        _ => Sort::Harmless,
    }
}

fn compare(old: &WorkloadSpec, new: &WorkloadSpec, env: &EnvironmentDiff) -> Sort {
    if old.command != new.command || old.files != new.files || old.image != new.image {
        Sort::Release
    } else if !env.is_empty() {
        Sort::Configuration
    } else if old.limits != new.limits {
        Sort::Limits
    } else if old.replicas != new.replicas {
        Sort::Scaled { from: old.replicas, to: new.replicas }
    } else {
        // The same program under another label still restarts; treat it as a release.
        Sort::Release
    }
}

/// True for what was done about this incident: it came after the complaint, to a thing that was treated.
fn attempt(picture: &Picture, change: &Change) -> bool {
    let Some(alert) = &picture.alert else { return false };
    let treated = |name: &Workload| {
        let resource = Resource::Workload(name.clone());
        picture.tried.iter().any(|(action, _)| action.resource() == resource)
    };
    change.at_ms >= alert.started_at_ms && change.workload.as_ref().is_some_and(treated)
}

/// Every change of a workload, with its sides; attempts at a remedy are not causes.
pub(super) fn read(picture: &Picture) -> Vec<Changed<'_>> {
    let mut all: Vec<Changed<'_>> = Vec::new();
    for change in picture.changes.iter().filter(|change| !attempt(picture, change)) {
        let status = change.workload.as_ref().and_then(|name| picture.workload(name));
        let (before, after) = status.map_or((None, None), |status| sides(change, status));
        let env = match (before, after) {
            (Some(old), Some(new)) => env_diff(&old.spec, &new.spec),
            _ => EnvironmentDiff::new(),
        };
        let mut sort = sort(change, before, after, &env);
        if let Sort::Scaled { from, to: u32::MAX } = sort {
            sort = Sort::Scaled { from, to: status.map_or(from, |status| status.spec.replicas) };
        }
        let deployed = ActionKind::parse(&change.action).is_ok_and(|kind| kind == ActionKind::DeployWorkload);
        let back = matches!(change.undo, Some(Action::RollbackWorkload(_)));
        let first = deployed && !back && before.is_none() && after.is_some();
        all.push(Changed { change, sort, env, before, after, status, first });
    }
    all
}

impl Changed<'_> {
    /// True if it could be the reason for something that began at `onset_ms`.
    pub(super) fn precedes(&self, onset_ms: AtMs) -> bool {
        self.change.at_ms <= onset_ms.saturating_add(EARLY_MS)
    }
    /// How well its time fits an effect that began at `onset_ms`, 0 to 1.
    pub(super) fn fit(&self, onset_ms: AtMs) -> f64 {
        if !self.precedes(onset_ms) {
            return 0.0;
        }
        let late = self.change.at_ms.saturating_sub(onset_ms).saturating_sub(EARLY_FREE_MS);
        if late > 0 {
            return 1.0 - (1.0 - EARLY_FIT) * late as f64 / (EARLY_MS - EARLY_FREE_MS) as f64;
        }
        let lag = onset_ms.saturating_sub(self.change.at_ms).max(0) as f64;
        let (full, half) = if self.first { (BIRTH_FULL_MS, BIRTH_HALF_MS) } else { (LAG_FULL_MS, LAG_HALF_MS) };
        1.0 / (1.0 + (lag - full).max(0.0) / half)
    }
    /// True if `later` changed the same workload nearer to what began at `onset_ms`, with some time of
    /// work as before in between.
    pub(super) fn overtaken_by(&self, later: &Self, onset_ms: AtMs) -> bool {
        let apart = later.change.at_ms.saturating_sub(self.change.at_ms);
        let quiet = onset_ms.saturating_sub(self.change.at_ms);
        later.change.workload == self.change.workload
            && matches!(later.sort, Sort::Release | Sort::Configuration | Sort::Limits)
            && later.precedes(onset_ms)
            && apart >= OVERTAKEN_MS
            && quiet >= OVERTAKEN_MS
    }
    /// Its parts for a person: the variables it touched, or nothing.
    pub(super) fn variables(&self) -> Vec<&str> {
        self.env.keys().map(String::as_str).collect()
    }
    /// True if something changed the same workload again after it.
    fn superseded(&self) -> bool {
        let (Some(status), Some(after)) = (self.status, self.after) else { return false };
        let mut same = after.spec.clone();
        same.replicas = status.spec.replicas;
        same != status.spec
    }
    /// The action that takes just this change back. A destroying one is never proposed.
    pub(super) fn take_back(&self) -> Option<Action> {
        if self.superseded() && self.sort == Sort::Configuration && !self.env.is_empty() {
            return self.restore_environment();
        }
        let recorded = self.change.undo.clone().filter(|undo| undo.kind().facts().effect < Effect::Destroy);
        recorded.or_else(|| {
            let (status, before) = (self.status?, self.before?);
            let back =
                opsward_domain::action::RollbackWorkload { workload: status.name.clone(), revision: before.revision };
            Some(Action::RollbackWorkload(back))
        })
    }
    fn restore_environment(&self) -> Option<Action> {
        let mut back = SetEnvironment {
            workload: self.status?.name.clone(),
            set: BTreeMap::new(),
            unset: std::collections::BTreeSet::new(),
        };
        for (key, (old, _)) in &self.env {
            match old {
                Some(value) => {
                    back.set.insert(key.clone(), value.clone());
                }
                None => {
                    back.unset.insert(key.clone());
                }
            }
        }
        Some(Action::SetEnvironment(back))
    }
}
