//! What a replica may touch: the system to read, its own folder and volumes to write, nothing else of
//! the disk, no process outside. Never widened by anything in a spec.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _, Scope, path_beneath_rules,
};

/// The newest form of Landlock whose rights are understood here.
const FORM: ABI = ABI::V6;
/// Folders of the system that programs are started and read from.
const PROGRAMS: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/opt"];
/// Harmless facts about the machine.
const FACTS: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/version",
    "/proc/filesystems",
    "/proc/sys",
    "/sys/devices/system/cpu",
    "/sys/kernel/mm/transparent_hugepage",
];
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// Parts of `/etc` that hold secrets of the machine.
const SECRETS: [&str; 8] =
    ["ssh", "ssl", "sudoers.d", "kubernetes", "letsencrypt", "wireguard", "ppp", "NetworkManager"];
/// Parts of `/etc/ssl` that do not.
const CERTIFICATES: [&str; 3] = ["/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ssl/cert.pem"];

/// The places of one replica.
pub(crate) struct Places<'a> {
    /// Its own folder.
    pub(crate) own: &'a Path,
    /// Folders of the volumes it mounts.
    pub(crate) volumes: &'a [PathBuf],
    /// Its version's files.
    pub(crate) files: Option<&'a Path>,
    /// Its program.
    pub(crate) program: &'a Path,
}

/// The rules for a replica, ready to be put on in the child. On a kernel without Landlock they do
/// nothing, which `doctor` reports.
pub(crate) fn rules(places: &Places<'_>) -> Result<RulesetCreated, String> {
    let all = AccessFs::from_all(FORM);
    let run = AccessFs::Execute | AccessFs::ReadFile | AccessFs::ReadDir;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let writable = places.volumes.iter().map(PathBuf::as_path).chain([places.own]);
    let made = Ruleset::default()
        .handle_access(all)
        .and_then(|rules| rules.scope(Scope::Signal | Scope::AbstractUnixSocket))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(PROGRAMS, run)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(configuration(), read)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(FACTS, read)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(DEVICES, device)))
        .and_then(|rules| rules.add_rules(path_beneath_rules([places.program], run)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(places.files, run)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(writable, all)));
    made.map_err(|error| format!("isolation rules cannot be made: {error}"))
}

/// What everybody may read of `/etc`, less what some programs wrongly let everybody enter.
fn configuration() -> Vec<PathBuf> {
    let Ok(list) = fs::read_dir("/etc") else { return Vec::new() };
    let shared = list.flatten().filter(|entry| {
        let secret = entry.file_name().to_str().is_none_or(|name| SECRETS.contains(&name));
        !secret && fs::metadata(entry.path()).is_ok_and(|meta| meta.mode() & 0o004 != 0)
    });
    shared.map(|entry| entry.path()).chain(CERTIFICATES.map(PathBuf::from)).collect()
}

/// Puts the rules on the calling thread, for ever. It may also read about itself.
pub(crate) fn confine(rules: RulesetCreated) -> Result<LandlockStatus, String> {
    let own = PathFd::new("/proc/self").ok();
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let put_on = match own {
        Some(own) => rules.add_rule(PathBeneath::new(own, read)).and_then(RulesetCreated::restrict_self),
        None => rules.restrict_self(),
    };
    put_on.map(|status| status.landlock).map_err(|error| error.to_string())
}
