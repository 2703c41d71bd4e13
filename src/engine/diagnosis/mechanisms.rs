//! Faults that leave a trace of their own: crash loops, leaks, full volumes, overload, exhaustion,
//! hangs, absence. Each says how strongly its trace is seen; none compares itself with the others.

mod load;
mod memory;
mod process;

use opsward_domain::action::Action;
use opsward_domain::cause::{CauseKind, Claim};
use opsward_domain::resource::WorkloadStatus;
use opsward_domain::time::AtMs;

use super::case::Case;
use super::picture::Topic;
use super::remedies;
use super::symptoms::VOLUME_NEARLY_FULL;
use super::words::{bytes, claim, percent};

/// A trace that was found.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    pub(super) kind: CauseKind,
    /// 0 to 1.
    pub(super) strength: f64,
    /// When it began, for comparing with changes.
    pub(super) since_ms: Option<AtMs>,
    pub(super) claims: Vec<Claim>,
    /// What would help if no change did it.
    pub(super) remedies: Vec<Action>,
    /// True if a change may be what set it off, so that taking it back helps too.
    pub(super) takes_change: bool,
}

/// Share of a volume from which writes fail as good as certainly.
const VOLUME_FULL: f64 = 0.97;

fn volume_full(case: &Case<'_>, status: &WorkloadStatus) -> Option<Trace> {
    let picture = case.picture;
    let mounts = |volume: &&opsward_domain::resource::VolumeStatus| {
        volume.mounted_by.contains(&status.name) || status.spec.volumes.contains(&volume.name)
    };
    let share =
        |volume: &opsward_domain::resource::VolumeStatus| volume.used_bytes as f64 / (volume.size_bytes.max(1)) as f64;
    let fullest = picture.volumes.iter().filter(mounts).max_by(|a, b| share(a).total_cmp(&share(b)))?;
    let used = share(fullest);
    if used < VOLUME_NEARLY_FULL {
        return None;
    }
    let points = picture.volume_used.get(&fullest.name).map_or(&[][..], Vec::as_slice);
    let full_from = points.iter().find(|(_, v)| *v >= VOLUME_FULL * fullest.size_bytes as f64).map(|(at, _)| *at);
    let text = format!(
        "volume {} holds {} of {} ({}), and {} writes to it",
        fullest.name,
        bytes(fullest.used_bytes as f64),
        bytes(fullest.size_bytes as f64),
        percent(used),
        status.name
    );
    Some(Trace {
        kind: CauseKind::VolumeFull,
        strength: if used >= VOLUME_FULL { 1.0 } else { 0.4 },
        since_ms: full_from,
        claims: vec![claim(&picture.citations, text, &[Topic::Volumes])],
        remedies: vec![remedies::resize(fullest, points)],
        takes_change: false,
    })
}

/// Every trace found on one workload.
pub(super) fn traces(case: &Case<'_>, status: &WorkloadStatus) -> Vec<Trace> {
    [
        volume_full(case, status),
        memory::leak(case, status),
        process::crash_loop(case, status),
        process::hung(case, status),
        process::absent(case, status),
        load::overload(case, status),
        load::exhaustion(case, status),
        load::slow(case, status),
    ]
    .into_iter()
    .flatten()
    .collect()
}
