//! Processes that nobody wants: of a shim that died, or that slipped out of their replica. Never kills
//! what does not provably belong to this workspace.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::core::Core;
use super::spawn::OWNER_VARIABLE;
use crate::disk;
use crate::folder::Folder;
use crate::procfs;

/// Looks before what is left is given up on.
const ROUNDS_MAX: usize = 40;
const ROUND_MS: u64 = 50;

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // Gone already is as good.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// Writes down which sessions are ours, for whoever comes after us.
pub(super) fn remember(core: &Core) {
    let sessions: Vec<u32> = core.replicas().filter_map(|replica| replica.pid).collect();
    if let Ok(bytes) = disk::encode(&sessions) {
        // Without it a later shim still finds leftovers by their environment.
        let _ = disk::write_whole(&core.folder.started(), &bytes);
    }
}

/// Kills what an earlier shim of this folder left behind; true if nothing is left.
pub(crate) fn reap(folder: &Folder) -> bool {
    let mark = format!("{OWNER_VARIABLE}={}", folder.path().display());
    let sessions: Vec<u32> = disk::read_json(&folder.started()).ok().flatten().unwrap_or_default();
    let sessions: BTreeSet<u32> = sessions.into_iter().collect();
    for _ in 0..ROUNDS_MAX {
        let left: Vec<u32> = procfs::all().into_iter().filter(|pid| belongs(*pid, &mark, &sessions, folder)).collect();
        if left.is_empty() {
            return true;
        }
        left.into_iter().for_each(kill);
        std::thread::sleep(Duration::from_millis(ROUND_MS));
    }
    false
}

fn belongs(pid: u32, mark: &str, sessions: &BTreeSet<u32>, folder: &Folder) -> bool {
    let Some(stat) = procfs::stat(pid).filter(|stat| !stat.zombie && pid != std::process::id()) else {
        return false;
    };
    let inside = || std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder.run()));
    procfs::has_variable(pid, mark) || (sessions.contains(&stat.session) && inside())
}

/// Kills children that were handed to us by a dead parent and left their replica's session.
pub(super) fn kill_escaped(core: &Core) {
    let alive: BTreeSet<u32> = core.replicas().filter_map(|replica| replica.pid).collect();
    for pid in procfs::children(std::process::id()) {
        let strays = procfs::stat(pid).is_some_and(|stat| !stat.zombie && !alive.contains(&stat.session));
        if strays && !alive.contains(&pid) {
            kill(pid);
        }
    }
}
