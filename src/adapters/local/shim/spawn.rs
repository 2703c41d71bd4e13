//! Starts one replica: expanded command, clean environment, own session, bounds, isolation. Never
//! passes anything of ours on.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use landlock::RulesetCreated;
use opsward_domain::name::Workload;
use opsward_domain::spec::WorkloadSpec;
use rustix::process::{Resource, Rlimit};

use super::jail;
use crate::expand::{Scope, expand};
use crate::folder::Folder;

/// Where programs without a path are looked for; also every replica's `PATH`.
pub(crate) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Names the workspace folder in every replica's environment, so that leftovers can be told.
pub(crate) const OWNER_VARIABLE: &str = "OPSWARD_OWNER";

/// A replica about to start.
pub(super) struct Start<'a> {
    pub(super) folder: &'a Folder,
    pub(super) workload: &'a Workload,
    pub(super) index: u32,
    pub(super) spec: &'a WorkloadSpec,
    pub(super) port: Option<u16>,
    pub(super) files: Option<PathBuf>,
    pub(super) addresses: &'a BTreeMap<Workload, u16>,
}

/// A replica that started.
pub(super) struct Spawned {
    pub(super) pid: u32,
    pub(super) pipes: Vec<OwnedFd>,
}

/// Starts it, or says why not.
pub(super) fn spawn(start: &Start<'_>) -> Result<Spawned, String> {
    let own = start.folder.replica(start.workload, start.index);
    fs::create_dir_all(own.join("tmp")).map_err(|error| format!("own folder: {error}"))?;
    let mounted = |volume: &opsward_domain::name::Volume| {
        start.spec.volumes.contains(volume).then(|| start.folder.volume(volume))
    };
    let scope = Scope {
        port: start.port,
        files: start.files.as_deref(),
        address: &|name| start.addresses.get(name).map(|port| format!("127.0.0.1:{port}")),
        volume: &|volume| mounted(volume).map(|path| path.display().to_string()),
    };
    let words: Vec<String> = start.spec.command.iter().map(|word| expand(word, &scope)).collect::<Result<_, _>>()?;
    let (program, arguments) = words.split_first().ok_or("the command is empty")?;
    let program = find_program(program)?;
    let volumes: Vec<PathBuf> = start.spec.volumes.iter().filter_map(mounted).collect();
    if let Some(missing) = volumes.iter().find(|path| !path.is_dir()) {
        return Err(format!("volume folder {} is missing", missing.display()));
    }
    let places = jail::Places { own: &own, volumes: &volumes, files: start.files.as_deref(), program: &program };
    let rules = jail::rules(&places)?;
    let mut command = Command::new(&program);
    command.args(arguments).arg0(&words[0]).current_dir(&own).env_clear();
    command.env("PATH", SEARCH_PATH).env("LANG", "C.UTF-8").env("HOME", &own).env("TMPDIR", own.join("tmp"));
    if let Some(port) = start.port {
        command.env("PORT", port.to_string());
    }
    for (key, value) in &start.spec.env {
        command.env(key, expand(value, &scope).map_err(|why| format!("{key}: {why}"))?);
    }
    command.env(OWNER_VARIABLE, start.folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    confine(&mut command, start.spec.limits.open_files, rules);
    let mut child = command.spawn().map_err(|error| match error.raw_os_error() {
        Some(libc::ENOEXEC) => format!("{} is not a program", program.display()),
        _ => format!("{}: {error}", program.display()),
    })?;
    let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    Ok(Spawned { pid: child.id(), pipes: pipes.into_iter().flatten().collect() })
}

/// What happens in the child between fork and exec.
#[allow(unsafe_code, reason = "only here can a child bind itself before it becomes the program")]
fn confine(command: &mut Command, open_files: u64, rules: RulesetCreated) {
    let mut rules = Some(rules);
    let shim = rustix::process::getpid();
    let prepare = move || {
        rustix::process::setsid()?;
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        if rustix::process::getppid() != Some(shim) {
            return Err(std::io::Error::other("the shim is gone"));
        }
        let bound = |value| Rlimit { current: Some(value), maximum: Some(value) };
        rustix::process::setrlimit(Resource::Nofile, bound(open_files))?;
        rustix::process::setrlimit(Resource::Core, bound(0))?;
        // SAFETY: ignoring a signal is async-signal-safe and touches no memory of ours.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        rustix::thread::set_no_new_privs(true)?;
        match rules.take() {
            Some(rules) => jail::confine(rules).map(drop).map_err(std::io::Error::other),
            None => Ok(()),
        }
    };
    // SAFETY: the shim has one thread, so after fork no lock is held by a thread that is not there,
    // and allocating in `prepare` cannot deadlock.
    unsafe { command.pre_exec(prepare) };
}

/// The file that `word` names: as it is with a slash, else on the search path.
pub(crate) fn find_program(word: &str) -> Result<PathBuf, String> {
    if word.contains('/') {
        let path = Path::new(word);
        if !path.is_absolute() {
            return Err(format!("{word} is not an absolute path"));
        }
        return check_program(path);
    }
    let candidates = SEARCH_PATH.split(':').map(|dir| Path::new(dir).join(word));
    let found = candidates.filter(|path| path.is_file()).map(|path| check_program(&path)).next();
    found.unwrap_or_else(|| Err(format!("there is no program {word} on {SEARCH_PATH}")))
}

fn check_program(path: &Path) -> Result<PathBuf, String> {
    let meta = fs::metadata(path).map_err(|_| format!("there is no program {}", path.display()))?;
    if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
        return Err(format!("{} is not executable", path.display()));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_or_refused_by_name() {
        assert!(find_program("sh").unwrap().is_absolute());
        for (bad, why) in [
            ("no-such-program-here", "there is no program"),
            ("/no/such/program", "there is no program"),
            ("./relative", "not an absolute path"),
            ("/etc/passwd", "not executable"),
            ("/usr", "not executable"),
        ] {
            assert!(find_program(bad).unwrap_err().contains(why), "{bad}");
        }
    }
}
