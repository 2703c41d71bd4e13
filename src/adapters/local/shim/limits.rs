//! Memory and volume bounds by looking often: a replica over its memory is killed and it is said why;
//! one whose volume is full gets write errors until there is room. Never touches a volume's content.

use std::fs;
use std::path::Path;

use opsward_domain::name::Volume;
use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::core::Core;
use super::replica::Phase;
use crate::procfs;

/// Most entries of one volume that are counted; a volume with more counts as full.
const ENTRIES_MAX: usize = 200_000;
/// Deepest folder of a volume that is counted.
const DEPTH_MAX: usize = 64;

/// How full a volume is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) size_bytes: u64,
    pub(super) used_bytes: u64,
    largest_bytes: u64,
}

impl Room {
    /// The largest file that may exist: what the largest one may grow to; nothing when full.
    fn file_bytes_max(self) -> u64 {
        match self.size_bytes.saturating_sub(self.used_bytes) {
            0 => 0,
            free => self.largest_bytes.saturating_add(free),
        }
    }
}

/// Samples resident memory and kills what is over its limit.
pub(super) fn watch_memory(core: &mut Core) {
    for replica in core.workloads.values_mut().flat_map(|supervised| &mut supervised.replicas) {
        let Some(pid) = replica.pid else { continue };
        let parts = procfs::family(pid).into_iter().filter_map(|one| procfs::resident_bytes(one, one != pid));
        replica.memory_bytes = parts.sum();
        let over = replica.memory_bytes > replica.target.spec.limits.memory_bytes;
        if over && replica.phase != Phase::Killed && replica.cause.is_none() {
            replica.cause = Some("memory_limit");
            replica.signal(Signal::KILL);
        }
    }
}

/// Counts what is on the volumes and sets file bounds accordingly.
pub(super) fn watch_volumes(core: &mut Core) {
    for (name, room) in &mut core.volumes {
        let mut seen = Seen::default();
        count(&core.folder.volume(name), 0, &mut seen);
        room.largest_bytes = seen.largest;
        room.used_bytes = if seen.entries > ENTRIES_MAX { room.size_bytes.max(seen.bytes) } else { seen.bytes };
    }
    bound_files(core);
}

/// Puts the file bound that its volumes ask for on every replica where it differs.
pub(super) fn bound_files(core: &mut Core) {
    let rooms = &core.volumes;
    for replica in core.workloads.values_mut().flat_map(|supervised| &mut supervised.replicas) {
        let Some(pid) = replica.pid else { continue };
        let room = |volume: &Volume| rooms.get(volume).map(|room| room.file_bytes_max());
        let wanted = replica.target.spec.volumes.iter().filter_map(room).min();
        if wanted == replica.file_bytes_max {
            continue;
        }
        for one in procfs::family(pid) {
            let pid = i32::try_from(one).ok().and_then(Pid::from_raw);
            // Soft only: growing the volume must be able to lift it again. A process that is just
            // ending may be gone already.
            let _ = rustix::process::prlimit(pid, Resource::Fsize, Rlimit { current: wanted, maximum: None });
        }
        replica.file_bytes_max = wanted;
    }
}

#[derive(Default)]
struct Seen {
    bytes: u64,
    largest: u64,
    entries: usize,
}

fn count(dir: &Path, depth: usize, seen: &mut Seen) {
    let Ok(list) = fs::read_dir(dir) else { return };
    for entry in list.flatten() {
        seen.entries += 1;
        if seen.entries > ENTRIES_MAX || depth > DEPTH_MAX {
            seen.entries = ENTRIES_MAX + 1;
            return;
        }
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            count(&entry.path(), depth + 1, seen);
        } else if meta.is_file() {
            seen.bytes = seen.bytes.saturating_add(meta.len());
            seen.largest = seen.largest.max(meta.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_files_and_leaves_what_is_free_to_the_largest() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("a"), [0; 100]).unwrap();
        fs::write(dir.path().join("sub/b"), [0; 300]).unwrap();
        std::os::unix::fs::symlink("/usr/bin/env", dir.path().join("link")).unwrap();
        let mut seen = Seen::default();
        count(dir.path(), 0, &mut seen);
        assert_eq!((seen.bytes, seen.largest, seen.entries), (400, 300, 4));
        let room = |size_bytes| Room { size_bytes, used_bytes: 400, largest_bytes: 300 }.file_bytes_max();
        assert_eq!((room(400), room(399), room(450)), (0, 0, 350));
    }
}
