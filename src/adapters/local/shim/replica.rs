//! One replica's life: starting, ready, sick, waiting, going. Never decides how many there should be.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use opsward_domain::resource::{Replica as Shown, ReplicaExit, ReplicaState};
use opsward_domain::spec::{Restart, WorkloadSpec};
use opsward_domain::time::AtMs;
use rustix::process::{Pid, Signal};
use tokio::task::JoinHandle;

use crate::options::{CRASH_EXITS, ShimOptions};
use crate::port::Reserved;
use crate::procfs;
use crate::wire::RunningReplica;

/// A replica without a port counts as ready after it has lived this long.
pub(super) const ALIVE_MS: u64 = 300;

/// What a replica was started to be.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) incarnation: u64,
    pub(super) revision: u64,
    pub(super) epoch: u64,
    pub(super) count: usize,
    pub(super) port: Option<u16>,
    pub(super) spec: WorkloadSpec,
    pub(super) files: Option<PathBuf>,
}

impl Target {
    /// Equal keys need no new process.
    pub(super) fn key(&self) -> (u64, u64, u64) {
        (self.incarnation, self.revision, self.epoch)
    }
}

/// Where it is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Ready,
    Unhealthy,
    Backoff {
        until: Instant,
    },
    /// Ended, and stays so.
    Stopped,
    /// Gets no new connections, may finish the old ones.
    Draining {
        until: Instant,
    },
    /// Was asked to end.
    Ending {
        kill_at: Instant,
    },
    /// Was killed; its exit status is on the way.
    Killed,
}

impl Phase {
    pub(super) fn retiring(self) -> bool {
        matches!(self, Self::Draining { .. } | Self::Ending { .. } | Self::Killed)
    }
}

/// One slot of a workload.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) index: u32,
    pub(super) target: Rc<Target>,
    /// Differs for every start; tells a late health check that it is late.
    pub(super) serial: u64,
    pub(super) phase: Phase,
    pub(super) pid: Option<u32>,
    pub(super) port: Option<u16>,
    /// Keeps other shims from giving the port out.
    pub(super) reserved: Option<Reserved>,
    pub(super) restarts: u32,
    pub(super) started: Instant,
    pub(super) started_at_ms: AtMs,
    pub(super) exits: Vec<Instant>,
    pub(super) cannot_start: bool,
    pub(super) last_exit: Option<ReplicaExit>,
    pub(super) memory_bytes: u64,
    pub(super) sick: Option<String>,
    /// Why we killed it, if we did.
    pub(super) cause: Option<&'static str>,
    /// Soft file size bound that is in force.
    pub(super) file_bytes_max: Option<u64>,
    pub(super) connections: Rc<Cell<usize>>,
    pub(super) health: Option<JoinHandle<()>>,
}

impl Replica {
    pub(super) fn new(index: u32, target: Rc<Target>, now: Instant) -> Self {
        Self {
            index,
            target,
            serial: 0,
            phase: Phase::Backoff { until: now },
            pid: None,
            port: None,
            reserved: None,
            restarts: 0,
            started: now,
            started_at_ms: 0,
            exits: Vec::new(),
            cannot_start: false,
            last_exit: None,
            memory_bytes: 0,
            sick: None,
            cause: None,
            file_bytes_max: None,
            connections: Rc::default(),
            health: None,
        }
    }

    /// Signals its whole process group; nothing if it is not alive.
    pub(super) fn signal(&self, signal: Signal) {
        let group = self.pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            // It can only fail because everybody in the group is gone already.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    /// Begins its end. True if there is nothing to wait for.
    pub(super) fn retire(&mut self, drain_ms: u64, now: Instant) -> bool {
        if let Some(health) = self.health.take() {
            health.abort();
        }
        if !self.phase.retiring() {
            self.phase = Phase::Draining { until: now + Duration::from_millis(drain_ms) };
        }
        self.pid.is_none()
    }

    /// Goes on with an end that has begun.
    pub(super) fn advance_end(&mut self, grace_ms: u64, now: Instant) {
        match self.phase {
            Phase::Draining { until } if now >= until || self.connections.get() == 0 => {
                self.cause = Some("stopped");
                self.signal(Signal::TERM);
                // A stopped process hears nothing until it goes on.
                self.signal(Signal::CONT);
                self.phase = Phase::Ending { kill_at: now + Duration::from_millis(grace_ms) };
            }
            Phase::Ending { kill_at } if now >= kill_at => {
                self.signal(Signal::KILL);
                self.phase = Phase::Killed;
            }
            _ => {}
        }
    }

    /// Takes note that it ended, and decides whether and when it starts again.
    pub(super) fn ended(&mut self, exit: ReplicaExit, bounds: &ShimOptions, now: Instant) {
        if let Some(health) = self.health.take() {
            health.abort();
        }
        let failed = exit.code != Some(0);
        self.pid = None;
        self.memory_bytes = 0;
        self.file_bytes_max = None;
        self.sick = None;
        self.cause = None;
        self.last_exit = Some(exit);
        if self.phase.retiring() {
            return;
        }
        let again = match self.target.spec.restart {
            Restart::Always => true,
            Restart::OnFailure => failed,
            Restart::Never => false,
        };
        let window = Duration::from_millis(bounds.crash_window_ms);
        self.exits.retain(|at| now.duration_since(*at) < window);
        self.exits.push(now);
        self.phase = if again {
            let doublings = u32::try_from(self.exits.len() - 1).unwrap_or(u32::MAX).min(16);
            let wait_ms = bounds.backoff_min_ms.saturating_mul(1 << doublings).min(bounds.backoff_max_ms);
            Phase::Backoff { until: now + Duration::from_millis(wait_ms) }
        } else {
            Phase::Stopped
        };
    }

    /// True if it cannot start or ends again and again.
    pub(super) fn failing(&self, bounds: &ShimOptions, now: Instant) -> bool {
        let window = Duration::from_millis(bounds.crash_window_ms);
        let recent = self.exits.iter().filter(|at| now.duration_since(**at) < window).count();
        let over = self.phase == Phase::Stopped && self.last_exit.as_ref().is_some_and(|exit| exit.code != Some(0));
        self.cannot_start || recent >= CRASH_EXITS || over
    }

    /// How it looks from outside.
    pub(super) fn show(&self, bounds: &ShimOptions, now: Instant) -> RunningReplica {
        let state = match self.phase {
            Phase::Starting => ReplicaState::Starting,
            Phase::Ready => ReplicaState::Ready,
            Phase::Unhealthy => ReplicaState::Unhealthy,
            Phase::Backoff { .. } => ReplicaState::Backoff,
            Phase::Stopped | Phase::Draining { .. } | Phase::Ending { .. } | Phase::Killed => ReplicaState::Stopped,
        };
        let family = self.pid.map(procfs::family).unwrap_or_default();
        RunningReplica {
            replica: Shown {
                index: self.index,
                pid: self.pid,
                state,
                port: self.port,
                revision: self.target.revision,
                restarts: self.restarts,
                started_at_ms: self.started_at_ms,
                memory_bytes: self.memory_bytes,
                last_exit: self.last_exit.clone(),
                instance: None,
            },
            incarnation: self.target.incarnation,
            epoch: self.target.epoch,
            retiring: self.phase.retiring(),
            failing: self.failing(bounds, now),
            sick: self.sick.clone(),
            cpu_seconds: family.iter().filter_map(|pid| procfs::stat(*pid)).map(|stat| stat.cpu_seconds).sum(),
            open_files: self.pid.map(procfs::open_files).unwrap_or_default(),
        }
    }
}
