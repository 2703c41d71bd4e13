//! What the kernel says about a process. Never trusts a process id without its start time.

use std::fs;

/// Clock ticks of a second in `/proc`, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Most processes of one replica that are looked at.
const FAMILY_MAX: usize = 64;

/// A line of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stat {
    pub(crate) zombie: bool,
    pub(crate) session: u32,
    /// Own time and that of children waited for.
    pub(crate) cpu_seconds: f64,
    /// Ticks since boot.
    pub(crate) started: u64,
}

/// Reads `/proc/PID/stat`.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(text: &str) -> Option<Stat> {
    // The name may hold spaces and parentheses; fields are counted from the last one.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split(' ').collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.trim().parse::<u64>().ok());
    let ticks = number(11)? + number(12)? + number(13)? + number(14)?;
    #[allow(clippy::cast_precision_loss, reason = "seconds, not ticks, are what is read")]
    Some(Stat {
        zombie: matches!(fields.first(), Some(&"Z" | &"X")),
        session: u32::try_from(number(3)?).ok()?,
        cpu_seconds: ticks as f64 / TICKS_PER_SECOND,
        started: number(19)?,
    })
}

/// True if `pid` is alive and started at `started`.
pub(crate) fn is_same(pid: u32, started: u64) -> bool {
    stat(pid).is_some_and(|stat| stat.started == started && !stat.zombie)
}

/// A process and its descendants, bounded.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        for child in children(parent) {
            if found.len() < FAMILY_MAX && !found.contains(&child) {
                found.push(child);
            }
        }
    }
    found
}

/// Direct children of every thread of `pid`.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// Resident bytes of a process: everything, or only what it shares with nobody.
pub(crate) fn resident_bytes(pid: u32, anonymous_only: bool) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = if anonymous_only { "RssAnon:" } else { "VmRSS:" };
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Open descriptors of a process.
pub(crate) fn open_files(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |list| u64::try_from(list.count()).unwrap_or(0))
}

/// Every process id there is.
pub(crate) fn all() -> Vec<u32> {
    let Ok(list) = fs::read_dir("/proc") else { return Vec::new() };
    list.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// True if `pid` was started with `variable` (as `NAME=value`) in its environment.
pub(crate) fn has_variable(pid: u32, variable: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_is_read_and_odd_names_do_not_confuse() {
        let own = std::process::id();
        let now = stat(own).unwrap();
        assert!(is_same(own, now.started) && !is_same(own, now.started + 1));
        assert!(resident_bytes(own, false).unwrap() > resident_bytes(own, true).unwrap());
        assert!(open_files(own) > 2 && all().contains(&own) && family(own).contains(&own));
        let odd = "7 (a) b (c) Z 1 2 3 0 -1 0 0 0 0 0 100 50 25 25 20 0 1 0 4242 0";
        assert_eq!(parse(odd), Some(Stat { zombie: true, session: 3, cpu_seconds: 2.0, started: 4242 }));
        assert_eq!(parse("nonsense"), None);
    }
}
