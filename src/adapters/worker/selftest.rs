//! The self-test: every probe in the jail, and its control outside. A probe that cannot be tried has not held.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use opsward_ports::runner::{Attestation, Probe};
use opsward_wire::{Control, ExitReason, NO_JAIL_FLAG, PROBE_FLAG, PROBES};
use rustix::process::Signal;

use crate::process::{Launch, describe};

/// Probes tried at the same time.
const THREADS: usize = 2;

/// Longest wait for one probe process.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between two looks at a probe process that has not ended; they take a few milliseconds.
const POLL: Duration = Duration::from_micros(500);

/// Tries every probe. Blocks for some hundred milliseconds.
pub(crate) fn attest(launch: &Launch) -> Attestation {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(PROBES.len()));
    scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                while let Some((name, control)) = PROBES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = probe(launch, name, *control);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
                }
            });
        }
    });
    let mut probes = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    probes.sort_by_key(|probe| PROBES.iter().position(|(name, _)| *name == probe.name));
    Attestation { probes }
}

fn probe(launch: &Launch, name: &str, control: Control) -> Probe {
    let jailed = attempt(launch, &[PROBE_FLAG, name]);
    let (held, mut detail) = match &jailed {
        Ok(status) if is_killed_by_filter(*status) => (true, "stopped by the system call filter".to_owned()),
        Ok(status) if left(*status, ExitReason::Refused) => (true, "refused by the kernel".to_owned()),
        Ok(status) if left(*status, ExitReason::Finished) => (false, "it got through".to_owned()),
        Ok(status) => (false, describe(*status)),
        Err(error) => (false, format!("not tried: {error}")),
    };
    let outside = attempt(launch, &[PROBE_FLAG, name, NO_JAIL_FLAG]);
    let works_outside = matches!(outside, Ok(status) if left(status, ExitReason::Finished));
    if !works_outside {
        detail.push_str("; this host refuses it outside the jail as well");
    }
    Probe { name: name.to_owned(), held: held && (works_outside || control == Control::HostMayRefuse), detail }
}

fn is_killed_by_filter(status: ExitStatus) -> bool {
    status.signal().and_then(Signal::from_named_raw) == Some(Signal::SYS)
}

fn left(status: ExitStatus, reason: ExitReason) -> bool {
    status.code() == Some(reason.code())
}

fn attempt(launch: &Launch, args: &[&str]) -> io::Result<ExitStatus> {
    let (mut child, socket) = launch.start(args)?;
    // A probe does not talk; and what is no worker at all ends when its input does.
    drop(socket);
    let status = bounded_wait(&mut child);
    if status.is_err() {
        let _killed = child.kill();
        let _reaped = child.wait();
    }
    status
}

fn bounded_wait(child: &mut Child) -> io::Result<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < PROBE_TIMEOUT {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(POLL);
    }
    Err(io::ErrorKind::TimedOut.into())
}
