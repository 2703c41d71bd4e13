//! What the integration tests share: the real binary, golden files, a running service.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The real binary, for re-execution as worker and shim.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_opsward"))
}

/// A client for one call.
pub(crate) fn http() -> reqwest::Client {
    opsward_tls::client().build().unwrap()
}

/// Compares with a kept text; `OPSWARD_BLESS=1` writes it anew.
pub(crate) fn golden(path: &Path, text: &str) {
    if std::env::var_os("OPSWARD_BLESS").is_some() {
        std::fs::write(path, format!("{text}\n")).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept.trim_end() == text.trim_end(),
        "{} has drifted: run the test with OPSWARD_BLESS=1 and look at the difference",
        path.display()
    );
}

/// Processes that have this folder among their arguments: a server on it, and the shims that outlive it by design.
pub(crate) fn processes_of(folder: &Path) -> Vec<Pid> {
    let folder = folder.as_os_str().as_encoded_bytes();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            line.windows(folder.len()).any(|part| part == folder).then_some(pid)
        })
        .collect()
}

/// Ends them: asked first, because a shim that is told to end ends its replicas before itself.
pub(crate) fn end_processes_of(folder: &Path) {
    for (signal, wait) in [(Signal::TERM, 15), (Signal::KILL, 5)] {
        for process in processes_of(folder) {
            let _ = kill_process(process, signal);
        }
        let until = Instant::now() + Duration::from_secs(wait);
        while !processes_of(folder).is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
