//! Everything the shim knows, and the one place where replicas start, change and end. Never waits:
//! waiting is for the tasks around it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use opsward_domain::name::{Volume, Workload};
use opsward_domain::resource::ReplicaExit;
use opsward_domain::spec::WorkloadSpec;
use opsward_domain::telemetry::Lifecycle;
use opsward_domain::time::AtMs;
use tokio::sync::Notify;

use super::balance::Gate;
use super::replica::{ALIVE_MS, Phase, Replica, Target};
use super::rollout::{Move, View, decide};
use super::spawn::{Start, spawn};
use super::{health, leftovers, limits, output};
use crate::disk::read_json;
use crate::folder::Folder;
use crate::options::ShimOptions;
use crate::port;
use crate::spool::{Record, Spool};
use crate::state::{State, Wanted};
use crate::wire::{Report, Running};

/// Now, as records carry it.
pub(super) fn now_ms() -> AtMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    AtMs::try_from(since.as_millis()).unwrap_or(AtMs::MAX)
}

/// A workload with everything that runs of it.
#[derive(Default)]
pub(super) struct Supervised {
    /// Absent once it was deleted.
    pub(super) wanted: Option<Rc<Target>>,
    pub(super) replicas: Vec<Replica>,
    pub(super) gate: Option<Gate>,
    /// Counts connections, for taking turns.
    pub(super) turn: usize,
}

/// The shim's whole knowledge.
pub(super) struct Core {
    pub(super) folder: Folder,
    pub(super) bounds: ShimOptions,
    pub(super) spool: Spool,
    pub(super) generation: u64,
    pub(super) workloads: BTreeMap<Workload, Supervised>,
    pub(super) volumes: BTreeMap<Volume, limits::Room>,
    pub(super) wake: Rc<Notify>,
    pub(super) stopping: bool,
    serial: u64,
    me: Weak<RefCell<Core>>,
}

impl Core {
    pub(super) fn new(folder: Folder, bounds: ShimOptions, spool: Spool) -> Rc<RefCell<Self>> {
        Rc::new_cyclic(|me| {
            RefCell::new(Self {
                folder,
                bounds,
                spool,
                generation: 0,
                workloads: BTreeMap::new(),
                volumes: BTreeMap::new(),
                wake: Rc::default(),
                stopping: false,
                serial: 0,
                me: me.clone(),
            })
        })
    }

    /// Reads the wanted state again. On a fault nothing changes.
    pub(super) fn reload(&mut self) -> Result<(), String> {
        let state: State = match read_json(&self.folder.state()) {
            Ok(Some(state)) => state,
            Ok(None) => return Err("there is no state file".into()),
            Err(fault) => return Err(fault.to_string()),
        };
        let mut targets = BTreeMap::new();
        for (name, wanted) in state.workloads.iter().filter(|_| !state.leaving) {
            targets.insert(name.clone(), Rc::new(self.target(name, wanted)?));
        }
        for (name, supervised) in &mut self.workloads {
            supervised.wanted = targets.remove(name);
        }
        for (name, target) in targets {
            self.workloads.insert(name, Supervised { wanted: Some(target), ..Supervised::default() });
        }
        self.volumes.retain(|name, _| state.volumes.contains_key(name));
        for (name, wanted) in &state.volumes {
            self.volumes.entry(name.clone()).or_default().size_bytes = wanted.size_bytes;
        }
        self.generation = state.generation;
        limits::watch_volumes(self);
        self.wake.notify_one();
        Ok(())
    }

    fn target(&self, name: &Workload, wanted: &Wanted) -> Result<Target, String> {
        let path = self.folder.revision(name, wanted.incarnation, wanted.revision);
        let spec: Option<WorkloadSpec> = read_json(&path).map_err(|fault| fault.to_string())?;
        let mut spec = spec.ok_or_else(|| format!("{} is missing", path.display()))?;
        let files = (!spec.files.is_empty()).then(|| self.folder.files(name, wanted.incarnation, wanted.revision));
        spec.files.clear();
        Ok(Target {
            incarnation: wanted.incarnation,
            revision: wanted.revision,
            epoch: wanted.epoch,
            count: usize::try_from(wanted.replicas).unwrap_or(0),
            port: wanted.port,
            spec,
            files,
        })
    }

    /// Does whatever is due. True while something moves and wants looking at soon.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let names: Vec<Workload> = self.workloads.keys().cloned().collect();
        for name in &names {
            self.reconcile(name, now);
        }
        self.workloads.retain(|_, supervised| supervised.wanted.is_some() || !supervised.replicas.is_empty());
        self.spool.flush();
        self.replicas().any(|replica| !matches!(replica.phase, Phase::Ready | Phase::Unhealthy | Phase::Stopped))
    }

    pub(super) fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.workloads.values().flat_map(|supervised| &supervised.replicas)
    }

    fn reconcile(&mut self, name: &Workload, now: Instant) {
        let (grace_ms, drain_ms) = (self.bounds.stop_grace_ms, self.bounds.drain_ms);
        let Some(supervised) = self.workloads.get_mut(name) else { return };
        let wanted = supervised.wanted.clone().filter(|_| !self.stopping);
        for replica in &mut supervised.replicas {
            replica.advance_end(grace_ms, now);
        }
        let current = |replica: &Replica| wanted.as_ref().is_some_and(|target| target.key() == replica.target.key());
        let views = supervised.replicas.iter().map(|replica| View {
            index: replica.index,
            current: current(replica),
            ready: replica.phase == Phase::Ready,
            retiring: replica.phase.retiring(),
        });
        let views = views.collect::<Vec<_>>();
        let count = wanted.as_ref().map_or(0, |target| target.count);
        let in_place = wanted.as_ref().is_some_and(|target| !target.spec.volumes.is_empty());
        let mut gone = Vec::new();
        for step in decide(&views, count, in_place) {
            match (step, &wanted) {
                (Move::Start(index), Some(target)) => {
                    supervised.replicas.push(Replica::new(index, target.clone(), now));
                }
                (Move::Retire(at), _) => {
                    if supervised.replicas[at].retire(drain_ms, now) {
                        gone.push(supervised.replicas[at].index);
                    }
                }
                (Move::Start(_), None) => {}
            }
        }
        for index in gone {
            self.remove(name, index);
        }
        self.start_due(name, now);
        self.open_gate(name, wanted.as_deref());
    }

    fn remove(&mut self, name: &Workload, index: u32) {
        if let Some(supervised) = self.workloads.get_mut(name) {
            supervised.replicas.retain(|replica| replica.index != index);
        }
        // Its own folder goes with it; what cannot be removed goes when the shim starts next.
        let _ = crate::disk::remove_tree(&self.folder.replica(name, index));
        self.wake.notify_one();
    }

    fn open_gate(&mut self, name: &Workload, wanted: Option<&Target>) {
        let port = wanted.and_then(|target| target.port);
        let connections_max = self.bounds.connections_max;
        let Some(supervised) = self.workloads.get_mut(name) else { return };
        if supervised.gate.as_ref().map(Gate::port) != port {
            let core = self.me.clone();
            supervised.gate = port.map(|port| Gate::open(core, name.clone(), port, connections_max));
        }
    }

    /// Starts what waits to be started, and takes a portless replica that lives for ready.
    fn start_due(&mut self, name: &Workload, now: Instant) {
        let Some(supervised) = self.workloads.get(name) else { return };
        let due = supervised.replicas.iter().filter_map(|replica| match replica.phase {
            Phase::Backoff { until } if until <= now => Some(replica.index),
            _ => None,
        });
        let due = due.collect::<Vec<_>>();
        for index in due {
            self.start(name, index, now);
        }
        let alive = std::time::Duration::from_millis(ALIVE_MS);
        let Some(supervised) = self.workloads.get_mut(name) else { return };
        let mut ready = Vec::new();
        for replica in &mut supervised.replicas {
            let lives = replica.phase == Phase::Starting && now.duration_since(replica.started) >= alive;
            if lives && replica.port.is_none() {
                replica.phase = Phase::Ready;
                ready.push(replica.index);
            }
        }
        for index in ready {
            self.tell(name, index, Lifecycle::Ready);
        }
    }

    fn start(&mut self, name: &Workload, index: u32, now: Instant) {
        let addresses =
            self.workloads.iter().filter_map(|(name, other)| Some((name.clone(), other.wanted.as_ref()?.port?)));
        let addresses: BTreeMap<Workload, u16> = addresses.collect();
        self.serial += 1;
        let serial = self.serial;
        let Some(supervised) = self.workloads.get_mut(name) else { return };
        let Some(replica) = supervised.replicas.iter_mut().find(|replica| replica.index == index) else { return };
        let target = replica.target.clone();
        replica.reserved = target.spec.port.then(|| port::reserve(port::REPLICAS, serial)).flatten();
        replica.port = replica.reserved.as_ref().map(|reserved| reserved.port);
        let result = if target.spec.port && replica.port.is_none() {
            Err("no free port".to_owned())
        } else {
            spawn(&Start {
                folder: &self.folder,
                workload: name,
                index,
                spec: &target.spec,
                port: replica.port,
                files: target.files.clone(),
                addresses: &addresses,
            })
        };
        replica.serial = serial;
        replica.restarts += u32::from(replica.started_at_ms != 0);
        replica.started = now;
        replica.started_at_ms = now_ms();
        let (spawned, core) = match (result, self.me.upgrade()) {
            (Ok(spawned), Some(core)) => (spawned, core),
            (Ok(_), None) => return,
            (Err(why), _) => {
                replica.cannot_start = true;
                let exit =
                    ReplicaExit { at_ms: now_ms(), code: None, signal: None, reason: format!("start_failed: {why}") };
                replica.ended(exit.clone(), &self.bounds, now);
                self.tell(name, index, Lifecycle::Exited { exit });
                return;
            }
        };
        replica.cannot_start = false;
        replica.pid = Some(spawned.pid);
        replica.phase = Phase::Starting;
        if let Some(port) = replica.port {
            let watch = health::watch(self.me.clone(), name.clone(), serial, port, target.spec.health.clone());
            replica.health = Some(tokio::task::spawn_local(watch));
        }
        for pipe in spawned.pipes {
            tokio::task::spawn_local(output::follow(core.clone(), pipe, name.clone(), index));
        }
        leftovers::remember(self);
        limits::bound_files(self);
        self.tell(name, index, Lifecycle::Started);
    }

    /// Takes note that a child ended; children that are not replicas are orphans of theirs.
    pub(super) fn reaped(&mut self, pid: u32, code: Option<i32>, signal: Option<i32>) {
        let found = self.workloads.iter_mut().find_map(|(name, supervised)| {
            let replica = supervised.replicas.iter_mut().find(|replica| replica.pid == Some(pid))?;
            Some((name.clone(), replica))
        });
        let Some((name, replica)) = found else { return };
        // Whoever is left of its group must not live on without it.
        replica.signal(rustix::process::Signal::KILL);
        let reason = replica.cause.unwrap_or("exited").to_owned();
        let exit = ReplicaExit { at_ms: now_ms(), code, signal, reason };
        replica.ended(exit.clone(), &self.bounds, Instant::now());
        let (index, gone) = (replica.index, replica.phase.retiring());
        self.tell(&name, index, Lifecycle::Exited { exit });
        if gone {
            self.remove(&name, index);
        }
        self.wake.notify_one();
    }

    /// Takes a health check's result; a late one of an earlier start is dropped. False ends the checks.
    pub(super) fn checked(&mut self, name: &Workload, serial: u64, result: Result<(), String>, bad: bool) -> bool {
        let Some(supervised) = self.workloads.get_mut(name) else { return false };
        let Some(replica) = supervised.replicas.iter_mut().find(|replica| replica.serial == serial) else {
            return false;
        };
        let (index, before) = (replica.index, replica.phase);
        let told = match (result, before) {
            (Ok(()), Phase::Starting | Phase::Unhealthy) => {
                replica.phase = Phase::Ready;
                replica.sick = None;
                Some(Lifecycle::Ready)
            }
            (Ok(()), Phase::Ready) => {
                replica.sick = None;
                None
            }
            (Err(reason), Phase::Ready) if bad => {
                replica.phase = Phase::Unhealthy;
                replica.sick = Some(reason.clone());
                Some(Lifecycle::Unhealthy { reason })
            }
            (Err(reason), Phase::Starting | Phase::Ready | Phase::Unhealthy) => {
                replica.sick = Some(reason);
                None
            }
            _ => return false,
        };
        if let Some(what) = told {
            self.tell(name, index, what);
            self.wake.notify_one();
        }
        true
    }

    fn tell(&mut self, name: &Workload, replica: u32, event: Lifecycle) {
        let record = Record { workload: name.clone(), replica, at_ms: now_ms(), line: None, event: Some(event) };
        self.spool.push(&record);
        self.spool.flush();
    }

    /// What is running.
    pub(super) fn report(&self) -> Report {
        let now = Instant::now();
        let running = |supervised: &Supervised| Running {
            replicas: supervised.replicas.iter().map(|replica| replica.show(&self.bounds, now)).collect(),
            deaf: supervised.gate.as_ref().and_then(Gate::deaf),
        };
        Report {
            generation: self.generation,
            workloads: self.workloads.iter().map(|(name, it)| (name.clone(), running(it))).collect(),
            volumes: self.volumes.iter().map(|(name, room)| (name.clone(), room.used_bytes)).collect(),
        }
    }
}
