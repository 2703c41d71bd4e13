//! A worker process and the broker's end of its socket. Every wait is bounded.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use opsward_wire::{
    Attestation, ExitReason, FailKind, FromWorker, Outcome, RunLimits, Session, ToWorker, WireError, read_frame,
    write_frame,
};
use serde_json::{Value, json};

/// First argument that makes this executable a worker.
pub(crate) const ROLE: &str = "__worker";

/// Longest wait for one frame; a script may burn all its processor time on a busy machine before it.
const FRAME_TIMEOUT: Duration = Duration::from_secs(60);

/// How a run ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Ending {
    Done(Value),
    Fail(FailKind, String, Option<u32>),
    Died(Death),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Death {
    Left(ExitReason),
    Signal(i32),
    Unknown(i32),
}

impl Death {
    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => ExitReason::from_code(code).map_or(Self::Unknown(code), Self::Left),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}

/// A worker and this end of its socket. Killed and reaped when dropped.
pub(crate) struct Worker {
    pub(crate) socket: UnixStream,
    child: Child,
}

impl Worker {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with(args, |_| {})
    }

    pub(crate) fn start_with(args: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(FRAME_TIMEOUT)).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(ROLE).args(args).env_clear();
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        change(&mut command);
        let child = command.spawn().unwrap();
        Self { socket, child }
    }

    pub(crate) fn ready() -> Self {
        let mut worker = Self::start(&[]);
        worker.expect_ready();
        worker
    }

    pub(crate) fn expect_ready(&mut self) -> Attestation {
        match self.receive() {
            Ok(Some(FromWorker::Ready { attestation })) => attestation,
            other => panic!("{other:?} instead of ready; the worker ended as {:?}", self.death()),
        }
    }

    pub(crate) fn receive(&mut self) -> Result<Option<FromWorker>, WireError> {
        read_frame(&mut self.socket)
    }

    pub(crate) fn send(&mut self, frame: &ToWorker) {
        write_frame(&mut self.socket, frame).unwrap();
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the process; the frame timeout has passed or the socket is closed by then.
    pub(crate) fn death(&mut self) -> Death {
        let _shut = self.socket.shutdown(std::net::Shutdown::Both);
        Death::of(self.child.wait().unwrap())
    }

    /// Waits for the end of a process that must end although its socket stays open.
    pub(crate) fn death_without_closing(&mut self) -> Death {
        let closed = self.receive();
        assert!(matches!(closed, Ok(None)), "{closed:?}");
        Death::of(self.child.wait().unwrap())
    }

    /// Serves a run to its end in the order that the broker enforces.
    pub(crate) fn serve(&mut self, run: &ToWorker, mut answer: impl FnMut(&str, Value) -> Outcome) -> Ending {
        let mut session = Session::new();
        let attestation = self.expect_ready();
        session.accept(&FromWorker::Ready { attestation }).unwrap();
        self.send(run);
        session.run(u32::MAX).unwrap();
        loop {
            let frame = match self.receive() {
                Ok(Some(frame)) => frame,
                Ok(None) | Err(WireError::Truncated) => return Ending::Died(self.death()),
                Err(error) => panic!("{error}; the worker ended as {:?}", self.death()),
            };
            session.accept(&frame).unwrap();
            match frame {
                FromWorker::Call { query, args, .. } => {
                    let outcome = answer(&query, args);
                    let seq = session.reply().unwrap();
                    self.send(&ToWorker::Reply { seq, outcome });
                }
                FromWorker::Done { value } => {
                    assert_eq!(self.death(), Death::Left(ExitReason::Finished));
                    return Ending::Done(value);
                }
                FromWorker::Fail { kind, message, line } => {
                    assert_eq!(self.death(), Death::Left(ExitReason::Finished));
                    return Ending::Fail(kind, message, line);
                }
                FromWorker::Ready { .. } => unreachable!("the session refuses a second ready"),
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A run with the functions that most tests use.
pub(crate) fn run_frame(source: &str, limits: RunLimits) -> ToWorker {
    ToWorker::Run {
        source: source.to_owned(),
        input: json!({"name": "web", "count": 3}),
        queries: vec!["logs".to_owned(), "workloads".to_owned()],
        steps: vec!["scale_workload".to_owned()],
        limits,
    }
}

/// Runs a script in a fresh worker; every call is answered with its own arguments.
pub(crate) fn run(source: &str) -> Ending {
    run_with(source, RunLimits::default())
}

pub(crate) fn run_with(source: &str, limits: RunLimits) -> Ending {
    Worker::start(&[])
        .serve(&run_frame(source, limits), |query, args| Outcome::Value(json!({"query": query, "args": args})))
}
