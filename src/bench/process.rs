//! What the kernel says about a tree of processes. Reads only; what has ended counts nothing.

use std::collections::BTreeMap;
use std::fs;

/// Most processes of a tree that are looked at.
const TREE_MAX: usize = 1_000;
const KIB_PER_MIB: f64 = 1024.0;

/// A process of the tree.
pub(super) struct Process {
    /// Its role: the first argument after the program.
    pub(super) role: String,
    /// Its proportional share of memory, in MiB.
    pub(super) pss_mib: f64,
}

/// Processor time, in milliseconds.
pub(super) struct Cpu {
    /// Of the process itself.
    pub(super) own_ms: f64,
    /// Of its children that have ended and were waited for.
    pub(super) reaped_ms: f64,
}

/// `root` and everything below it.
pub(super) fn tree(root: u32) -> Vec<Process> {
    let mut below: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        if let Some(parent) = fields(pid).and_then(|fields| fields.get(1)?.parse().ok()) {
            below.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(pid) = found.get(at).copied().filter(|_| at < TREE_MAX) {
        found.extend(below.get(&pid).into_iter().flatten());
        at += 1;
    }
    found.into_iter().filter_map(process).collect()
}

fn process(pid: u32) -> Option<Process> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let role = arguments.split('\0').nth(1).filter(|role| !role.is_empty()).unwrap_or("-").to_owned();
    Some(Process { role, pss_mib: kib / KIB_PER_MIB })
}

/// Processor time so far.
pub(super) fn cpu(pid: u32) -> Cpu {
    let fields = fields(pid).unwrap_or_default();
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    let ms = |user: usize| {
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(user) + ticks(user + 1)) * 1000.0 / per_second
    };
    Cpu { own_ms: ms(11), reaped_ms: ms(13) }
}

/// The fields of `/proc/PID/stat` after the command's name: state first, then the parent.
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let tree = tree(std::process::id());
        assert!(tree.first().is_some_and(|own| own.pss_mib > 0.1));
        assert!(cpu(std::process::id()).own_ms >= 0.0);
        assert!(super::tree(u32::MAX).is_empty());
    }
}
