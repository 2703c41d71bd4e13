//! One worker process: started with an empty environment and one socket, killed and reaped by its handle.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::Duration;

use opsward_wire::{Attestation, ExitReason, FromWorker, PROTOCOL_VERSION, Session, read_frame};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Time between two looks at a process that is about to end.
const EXIT_POLL: Duration = Duration::from_millis(1);

/// Looks at such a process before it counts as one that does not end.
const EXIT_LOOKS: u32 = 1_000;

/// How to start a worker.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// The executable.
    pub(crate) program: PathBuf,
    /// Arguments that select the worker role.
    pub(crate) role: Vec<String>,
}

impl Launch {
    /// Starts a process with the role's and these arguments. Returns this end of its socket.
    ///
    /// The kernel kills it when the calling *thread* ends, so call from one that lives long enough.
    pub(crate) fn start(&self, args: &[&str]) -> io::Result<(Child, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        // Handing the socket over as standard input needs no code between fork and exec.
        let child = Command::new(&self.program)
            .args(&self.role)
            .args(args)
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok((child, ours))
    }
}

/// A worker that is locked down and waits for its run. Killed when dropped, and reaped in the background.
pub(crate) struct Worker {
    /// This end of its socket; non-blocking.
    pub(crate) socket: UnixStream,
    /// The order of its frames, past `ready`.
    pub(crate) session: Session,
    handle: OwnedFd,
    child: Option<Child>,
    reaper: Sender<Child>,
}

impl Worker {
    /// Starts a worker and waits until it is ready, at most `timeout`.
    pub(crate) fn start(launch: &Launch, timeout: Duration, reaper: Sender<Child>) -> Result<Self, String> {
        let (mut child, socket) = launch.start(&[]).map_err(|error| format!("not started: {error}"))?;
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).map_err(|error| {
            let _killed = child.kill();
            let _reaped = child.wait();
            format!("no process handle: {error}")
        })?;
        let mut worker = Self { socket, session: Session::new(), handle, child: Some(child), reaper };
        worker.await_ready(timeout)?;
        Ok(worker)
    }

    fn await_ready(&mut self, timeout: Duration) -> Result<(), String> {
        let prepared = self.socket.set_read_timeout(Some(timeout));
        prepared.map_err(|error| format!("socket: {error}"))?;
        let frame = match read_frame::<FromWorker>(&mut self.socket) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Err(self.exit_soon().map_or_else(|| "not ready".to_owned(), describe)),
            Err(error) => return Err(format!("not ready: {error}")),
        };
        self.session.accept(&frame).map_err(|error| error.to_string())?;
        match frame {
            FromWorker::Ready { attestation: Attestation { protocol: PROTOCOL_VERSION, landlock_abi: 1.., .. } } => {}
            other => return Err(format!("another build: {other:?}")),
        }
        self.socket.set_nonblocking(true).map_err(|error| format!("socket: {error}"))
    }

    /// Whether the process still runs. A worker may be killed from outside while it waits.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The end of a process that has closed its socket, which is its last act; `None` when it does not end.
    pub(crate) async fn exit(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        for _ in 0..EXIT_LOOKS {
            match child.try_wait() {
                Ok(None) => tokio::time::sleep(EXIT_POLL).await,
                other => return other.ok().flatten(),
            }
        }
        None
    }

    /// As [`Worker::exit`], blocking, for the keeper's thread.
    fn exit_soon(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        for _ in 0..EXIT_LOOKS {
            match child.try_wait() {
                Ok(None) => std::thread::sleep(EXIT_POLL),
                other => return other.ok().flatten(),
            }
        }
        None
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _sent = pidfd_send_signal(&self.handle, Signal::KILL);
        if let Some(child) = self.child.take()
            && let Err(unsent) = self.reaper.send(child)
        {
            let mut child = unsent.0;
            let _reaped = child.wait();
        }
    }
}

/// What an end says, for people.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code().map(ExitReason::from_code), status.signal()) {
        (Some(Some(reason)), _) => format!("the worker left: {reason:?}"),
        (_, Some(signal)) => match Signal::from_named_raw(signal) {
            Some(Signal::SYS) => "killed by the system call filter, which is also how it ends out of memory".to_owned(),
            Some(Signal::SEGV | Signal::BUS) => "killed by a memory fault".to_owned(),
            _ => format!("killed by signal {signal}"),
        },
        _ => format!("the worker ended: {status}"),
    }
}
