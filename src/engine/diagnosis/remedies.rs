//! Sizes and counts of the actions that would help. Proposes only; never decides or acts.

use opsward_domain::action::{Action, ResizeVolume, RestartWorkload, ScaleWorkload, SetLimits};
use opsward_domain::resource::{VolumeStatus, WorkloadStatus};
use opsward_domain::spec::MACHINE_REPLICAS_MAX;
use opsward_domain::time::AtMs;

/// Utilisation that a scaled workload should have.
const UTILISATION: f64 = 0.7;
/// Most times the present replicas that one remedy asks for.
const SCALE_TIMES_MAX: u32 = 4;
/// How much growth a resized volume should hold.
const GROWTH_S: f64 = 3_600.0;
/// Most times the present size that one remedy asks for.
const SIZE_TIMES_MAX: f64 = 8.0;
const MIB: u64 = 1024 * 1024;

pub(super) fn restart(status: &WorkloadStatus) -> Action {
    Action::RestartWorkload(RestartWorkload { workload: status.name.clone() })
}

pub(super) fn scale(status: &WorkloadStatus, replicas: u32) -> Action {
    Action::ScaleWorkload(ScaleWorkload { workload: status.name.clone(), replicas: replicas.min(MACHINE_REPLICAS_MAX) })
}

/// Replicas for `demand` requests a second when all present ones together do `served`; at least one more.
pub(super) fn replicas_for(present: u32, demand: f64, served: f64) -> u32 {
    let present = present.max(1);
    let each = (served / f64::from(present)).max(1e-6);
    let needed = (demand / (each * UTILISATION)).ceil().clamp(1.0, f64::from(MACHINE_REPLICAS_MAX));
    let most = present.saturating_mul(SCALE_TIMES_MAX).min(MACHINE_REPLICAS_MAX);
    // The clamp above keeps the conversion exact.
    (needed as u32).clamp(present.saturating_add(1).min(MACHINE_REPLICAS_MAX), most.max(1))
}

/// A size with room for what is there and for an hour of growth.
pub(super) fn resize(volume: &VolumeStatus, used: &[(AtMs, f64)]) -> Action {
    let (size, content) = (volume.size_bytes as f64, volume.used_bytes as f64);
    let growth = match (used.first(), used.last()) {
        (Some(first), Some(last)) if last.0 > first.0 => (last.1 - first.1) / ((last.0 - first.0) as f64 / 1_000.0),
        _ => 0.0,
    };
    let wanted = (content * 1.5 + growth.max(0.0) * GROWTH_S).clamp(size * 2.0, size * SIZE_TIMES_MAX);
    let unit = if wanted >= MIB as f64 { MIB } else { 64 * 1024 };
    let size_bytes = (wanted as u64).div_ceil(unit).saturating_mul(unit);
    Action::ResizeVolume(ResizeVolume { volume: volume.name.clone(), size_bytes })
}

/// Half as much memory again, or twice the open files.
pub(super) fn more_memory(status: &WorkloadStatus) -> Action {
    let mut limits = status.spec.limits.clone();
    limits.memory_bytes = (limits.memory_bytes / 2).saturating_mul(3).div_ceil(MIB).saturating_mul(MIB);
    Action::SetLimits(SetLimits { workload: status.name.clone(), limits })
}

pub(super) fn more_files(status: &WorkloadStatus) -> Action {
    let mut limits = status.spec.limits.clone();
    limits.open_files = limits.open_files.saturating_mul(2);
    Action::SetLimits(SetLimits { workload: status.name.clone(), limits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_demand_and_stay_bounded() {
        assert_eq!(replicas_for(1, 60.0, 30.0), 3);
        assert_eq!(replicas_for(2, 40.0, 40.0), 3);
        assert_eq!(replicas_for(2, 1e9, 0.0), 8);
        assert_eq!(replicas_for(0, 0.0, 0.0), 2);
        assert_eq!(replicas_for(32, 1e9, 1.0), 32);
    }
}
