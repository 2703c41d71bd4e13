//! What an action makes of the wanted state. Pure but for the ports it is handed; never acts.

mod backup;
mod function;

use opsward_domain::action::{Action, RestoreBackup};
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Function, Volume, Workload};
use opsward_domain::resource::{ResourceState, WorkloadStatus};
use opsward_domain::spec::{MACHINE_REPLICAS_MAX, WorkloadSpec};
use opsward_domain::time::AtMs;

use crate::expand::{Scope, expand};
use crate::options::{KEPT_MAX, VOLUMES_MAX, WORKLOADS_MAX};
use crate::shim::spawn::find_program;
use crate::state::{Kept, KeptBackup, State, Wanted, WantedVolume};

/// A changed state, and the revision that must be on disk before it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) state: State,
    pub(crate) revision: Option<NewRevision>,
    /// A volume whose folder must be there before it.
    pub(crate) volume: Option<Volume>,
    /// A function's source that must be on disk before it.
    pub(crate) source: Option<NewSource>,
}

/// A function's source to compile and write down.
#[derive(Debug)]
pub(crate) struct NewSource {
    pub(crate) function: Function,
    pub(crate) bytes: Vec<u8>,
}

/// A revision to write down.
#[derive(Debug)]
pub(crate) struct NewRevision {
    pub(crate) workload: Workload,
    pub(crate) incarnation: u64,
    pub(crate) revision: u64,
    pub(crate) spec: WorkloadSpec,
}

/// What the change needs to know of the machine.
pub(crate) struct Machine<'a> {
    pub(crate) now_ms: AtMs,
    /// A fresh stable port.
    pub(crate) port: &'a dyn Fn() -> Option<u16>,
    /// The backup that a restore reads.
    pub(crate) backup: &'a dyn Fn(&RestoreBackup) -> Result<KeptBackup, Fault>,
    /// Memory promised to each workload now.
    pub(crate) promised: &'a dyn Fn(&Workload, &Wanted) -> Result<u64, Fault>,
}

/// The state after `action`, whose own rules `predicted` already follows.
pub(crate) fn change(
    before: &State,
    action: &Action,
    predicted: &ResourceState,
    machine: &Machine<'_>,
) -> Result<Change, Fault> {
    let mut change = Change { state: before.clone(), revision: None, volume: None, source: None };
    let generation = change.state.bump();
    match (action, predicted) {
        (Action::DeleteWorkspace(_), _) => change.state.leaving = true,
        (Action::DeleteWorkload(delete), _) => {
            change.state.workloads.remove(&delete.workload);
        }
        (Action::DeleteVolume(delete), _) => {
            change.state.volumes.remove(&delete.volume);
        }
        (Action::CreateVolume(create), _) => {
            if before.volumes.len() >= VOLUMES_MAX {
                return Err(Fault::new(Code::TooMany, format!("a workspace has at most {VOLUMES_MAX} volumes")));
            }
            change.volume = Some(create.volume.clone());
            let wanted = WantedVolume { version: generation, size_bytes: create.size_bytes };
            change.state.volumes.insert(create.volume.clone(), wanted);
        }
        (Action::ResizeVolume(resize), _) => {
            let wanted = WantedVolume { version: generation, size_bytes: resize.size_bytes };
            change.state.volumes.insert(resize.volume.clone(), wanted);
        }
        (_, ResourceState::Workload(status)) => workload(&mut change, action, status, machine)?,
        (Action::DeployFunction(deploy), ResourceState::Function(status)) => {
            function::deploy(&mut change, deploy, status, machine.now_ms)?;
        }
        (Action::ActivateFunction(activate), ResourceState::Function(status)) => {
            if let Some(wanted) = change.state.functions.get_mut(&activate.function) {
                wanted.active = status.active;
                wanted.version = generation;
            }
        }
        (Action::DeleteFunction(delete), _) => {
            change.state.functions.remove(&delete.function);
        }
        (Action::CreateBackup(create), _) => backup::create(&mut change.state, create, machine.now_ms)?,
        (Action::RestoreBackup(restore), _) => {
            backup::restore(&mut change.state, restore, &(machine.backup)(restore)?)?
        }
        (Action::DeleteBackup(delete), _) => {
            change.state.backups.remove(&delete.backup);
        }
        // These only need their intent.
        (Action::InvokeFunction(_) | Action::VerifyBackup(_), _) => {}
        _ => return Err(Fault::internal("an action without a change")),
    }
    Ok(change)
}

fn workload(change: &mut Change, action: &Action, status: &WorkloadStatus, machine: &Machine<'_>) -> Result<(), Fault> {
    let state = &mut change.state;
    let generation = state.generation;
    let before = state.workloads.get(&status.name).cloned();
    if before.is_none() && state.workloads.len() >= WORKLOADS_MAX {
        return Err(Fault::new(Code::TooMany, format!("a workspace has at most {WORKLOADS_MAX} workloads")));
    }
    let mut wanted = before.unwrap_or(Wanted {
        version: generation,
        incarnation: generation,
        revision: 0,
        epoch: 0,
        replicas: 0,
        port: None,
        revisions: Vec::new(),
    });
    wanted.version = generation;
    wanted.replicas = status.spec.replicas;
    wanted.epoch += u64::from(matches!(action, Action::RestartWorkload(_)));
    wanted.port = match (status.spec.port, wanted.port) {
        (false, _) => None,
        (true, Some(port)) => Some(port),
        (true, None) => Some((machine.port)().ok_or_else(|| Fault::unavailable("no port is free"))?),
    };
    let fresh = status.revision != wanted.revision;
    wanted.revision = status.revision;
    if fresh {
        wanted.revisions.push(Kept { revision: status.revision, at_ms: machine.now_ms });
        let excess = wanted.revisions.len().saturating_sub(KEPT_MAX);
        wanted.revisions.drain(..excess);
    }
    if wanted.replicas > MACHINE_REPLICAS_MAX {
        return Err(Fault::invalid(format!("more than {MACHINE_REPLICAS_MAX} replicas"))
            .hint(format!("the largest number on one machine is {MACHINE_REPLICAS_MAX}")));
    }
    let incarnation = wanted.incarnation;
    state.workloads.insert(status.name.clone(), wanted);
    check_memory(state, status, machine)?;
    if fresh {
        check_spec(state, status)?;
        change.revision = Some(NewRevision {
            workload: status.name.clone(),
            incarnation,
            revision: status.revision,
            spec: status.spec.clone(),
        });
    }
    Ok(())
}

/// The promises of all workloads together must fit the workspace.
fn check_memory(state: &State, status: &WorkloadStatus, machine: &Machine<'_>) -> Result<(), Fault> {
    let mut total = status.spec.limits.memory_bytes.saturating_mul(u64::from(status.spec.replicas));
    for (name, wanted) in state.workloads.iter().filter(|(name, _)| **name != status.name) {
        total = total.saturating_add((machine.promised)(name, wanted)?);
    }
    if total > state.memory_bytes_max {
        return Err(Fault::new(Code::TooMany, "the workspace's memory does not suffice")
            .detail(format!("{total} bytes would be promised of {}", state.memory_bytes_max))
            .hint("use fewer replicas, smaller limits, or a larger workspace"));
    }
    Ok(())
}

/// What can be said of a spec on this machine before anything starts.
fn check_spec(state: &State, status: &WorkloadStatus) -> Result<(), Fault> {
    let spec = &status.spec;
    if let Some(image) = &spec.image {
        return Err(Fault::invalid("a workload of this machine is a program, not a container image")
            .detail(image.clone())
            .hint("give a command and no image, or use a workspace in a Kubernetes cluster"));
    }
    if let Some(missing) = spec.volumes.iter().find(|volume| !state.volumes.contains_key(volume)) {
        return Err(Fault::not_found(format!("there is no volume {missing}")).hint("create the volume first"));
    }
    if let Some(volume) = spec.volumes.iter().find(|volume| backup::is_restoring(state, volume)) {
        return Err(Fault::conflict(format!("volume {volume} is still being restored")).hint("wait for the restore"));
    }
    let scope = Scope {
        port: spec.port.then_some(1),
        files: (!spec.files.is_empty()).then(|| std::path::Path::new("/files")),
        address: &|name| state.workloads.get(name)?.port.map(|port| format!("127.0.0.1:{port}")),
        volume: &|name| spec.volumes.contains(name).then(|| "/volume".to_owned()),
    };
    let wrong = |what: &str, why: String| {
        Fault::invalid(format!("{what} cannot be expanded")).detail(why).hint("deploy what it refers to first")
    };
    for word in &spec.command {
        expand(word, &scope).map_err(|why| wrong("the command", why))?;
    }
    for (key, value) in &spec.env {
        expand(value, &scope).map_err(|why| wrong(&format!("variable {key}"), why))?;
    }
    match spec.command.first() {
        Some(program) if !program.contains("${") => find_program(program).map(drop).map_err(|why| {
            Fault::invalid("the command cannot be run").detail(why).hint("give the full path of an installed program")
        }),
        _ => Ok(()),
    }
}
