//! The provider's memory twin: every action by its own prediction, faults on request, an apply ledger
//! that tests can read. Never touches the machine.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use opsward_domain::action::{Action, FunctionSource};
use opsward_domain::context::CallContext;
use opsward_domain::event::Outcome;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Tenant, Volume, Workload, Workspace};
use opsward_domain::plan::Step;
use opsward_domain::resource::{
    FunctionVersion, Replica, ReplicaState, Resource, ResourceState, ResourceVersion, Revision, VolumeStatus,
    WorkloadStatus,
};
use opsward_domain::seal::Authorized;
use opsward_domain::time::AtMs;
use serde_json::{Value, json};

use super::{Layer, Observation, PlatformFacts, Provider, Query};
use crate::clock::Clock;

/// Most revisions or versions kept of one resource.
const KEPT_MAX: usize = 20;

/// A fault that the next `apply` meets.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// The effect happens and is durable, the caller hears nothing of it.
    ReplyLost,
    /// The effect happens after a wait on the clock.
    Delay {
        /// How long.
        duration_ms: u64,
    },
    /// Nothing happens; the caller gets this.
    Refuse(Fault),
}

/// What the twin remembers of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Digest of the step, see [`step_digest`].
    pub digest: String,
    /// How often its effect happened; anything but 1 is a broken promise.
    pub count: u32,
    /// What the first call returned.
    pub outcome: Outcome,
}

/// The digest that tells two steps under one key apart.
pub fn step_digest(step: &Step) -> String {
    opsward_domain::canonical::digest("opsward-step-1", step)
}

type World = BTreeMap<Resource, ResourceState>;

#[derive(Default)]
struct State {
    worlds: BTreeMap<(Tenant, Workspace), World>,
    ledger: BTreeMap<(Tenant, String), Applied>,
    troubles: VecDeque<Trouble>,
    versions: u64,
}

/// A provider whose world is a map.
pub struct MemoryProvider {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

impl MemoryProvider {
    /// An empty world; times come from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// The next `apply` that has none yet meets `trouble`; several queue up.
    pub fn inject(&self, trouble: Trouble) {
        self.lock().troubles.push_back(trouble);
    }

    /// Every key of `tenant` that took effect.
    pub fn ledger(&self, tenant: &Tenant) -> BTreeMap<String, Applied> {
        let state = self.lock();
        let own = state.ledger.iter().filter(|((owner, _), _)| owner == tenant);
        own.map(|((_, key), applied)| (key.clone(), applied.clone())).collect()
    }

    /// Changes a resource behind everybody's back, as the real world does: usage, replica states.
    /// False if there is no such resource.
    pub fn edit(
        &self,
        tenant: &Tenant,
        workspace: &Workspace,
        resource: &Resource,
        edit: impl FnOnce(&mut ResourceState),
    ) -> bool {
        let mut state = self.lock();
        let world = state.worlds.get_mut(&(tenant.clone(), workspace.clone()));
        match world.and_then(|world| world.get_mut(resource)) {
            Some(found) => {
                edit(found);
                true
            }
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, cx: &CallContext, step: &Step, key: &str) -> Result<Outcome, Fault> {
        let now_ms = self.clock.now_ms();
        let mut state = self.lock();
        let digest = step_digest(step);
        let ledger_key = (cx.tenant().clone(), key.to_owned());
        if let Some(applied) = state.ledger.get(&ledger_key) {
            if applied.digest != digest {
                return Err(Fault::conflict("this key was used for another step"));
            }
            return Ok(applied.outcome.clone());
        }
        let outcome = state.act(cx.tenant(), step, now_ms)?;
        state.ledger.insert(ledger_key, Applied { digest, count: 1, outcome: outcome.clone() });
        Ok(outcome)
    }
}

#[async_trait]
impl Provider for MemoryProvider {
    async fn observe(&self, cx: &CallContext, query: &Query) -> Result<Observation, Fault> {
        self.lock().observe(cx.tenant(), query)
    }

    async fn apply(&self, cx: &CallContext, step: &Authorized<Step>, key: &str) -> Result<Outcome, Fault> {
        let trouble = self.lock().troubles.pop_front();
        match trouble {
            Some(Trouble::Refuse(fault)) => Err(fault),
            Some(Trouble::ReplyLost) => {
                self.commit(cx, step.get(), key)?;
                Err(Fault::unavailable("the reply was lost"))
            }
            Some(Trouble::Delay { duration_ms }) => {
                self.clock.sleep_ms(duration_ms).await;
                self.commit(cx, step.get(), key)
            }
            None => self.commit(cx, step.get(), key),
        }
    }

    async fn lookup(&self, cx: &CallContext, key: &str) -> Result<Option<Outcome>, Fault> {
        let state = self.lock();
        Ok(state.ledger.get(&(cx.tenant().clone(), key.to_owned())).map(|applied| applied.outcome.clone()))
    }
}

fn no_workspace(workspace: &Workspace) -> Fault {
    Fault::not_found(format!("there is no workspace {workspace}"))
}

impl State {
    fn observe(&self, tenant: &Tenant, query: &Query) -> Result<Observation, Fault> {
        macro_rules! all {
            ($workspace:expr, $variant:ident, $take:expr) => {{
                let world = self.world(tenant, $workspace)?;
                let shown = world.keys().map(|resource| shown(world, resource));
                let take = $take;
                Observation::$variant(shown.filter_map(|state| take(state)).collect())
            }};
        }
        Ok(match query {
            Query::Workspaces => {
                let own = self.worlds.iter().filter(|((owner, _), _)| owner == tenant);
                let status = own.filter_map(|(_, world)| match world.get(&Resource::Workspace) {
                    Some(ResourceState::Workspace(status)) => Some(status.clone()),
                    _ => None,
                });
                Observation::Workspaces(status.collect())
            }
            Query::Resource { workspace, resource: Resource::Workspace } => {
                let world = self.worlds.get(&(tenant.clone(), workspace.clone()));
                Observation::Resource(world.map_or(ResourceState::Absent, |world| shown(world, &Resource::Workspace)))
            }
            Query::Resource { workspace, resource } => {
                Observation::Resource(shown(self.world(tenant, workspace)?, resource))
            }
            Query::Workloads { workspace } => all!(workspace, Workloads, |state| match state {
                ResourceState::Workload(status) => Some(*status),
                _ => None,
            }),
            Query::Volumes { workspace } => all!(workspace, Volumes, |state| match state {
                ResourceState::Volume(status) => Some(status),
                _ => None,
            }),
            Query::Functions { workspace } => all!(workspace, Functions, |state| match state {
                ResourceState::Function(status) => Some(status),
                _ => None,
            }),
            Query::Backups { workspace } => all!(workspace, Backups, |state| match state {
                ResourceState::Backup(status) => Some(status),
                _ => None,
            }),
            Query::Objects { .. } | Query::Events { .. } | Query::Output { .. } => {
                return Err(Fault::invalid(
                    "this platform has no objects, events or output of its own to read in place",
                )
                .hint("what replicas say and what happens to them is in the logs"));
            }
            Query::Platform => Observation::Platform(PlatformFacts {
                backend: "memory".into(),
                disk_free_bytes: 1 << 40,
                disk_total_bytes: 1 << 40,
                isolation: vec![Layer {
                    name: "memory".into(),
                    holds: true,
                    detail: "nothing runs here, so nothing can escape".into(),
                }],
            }),
        })
    }

    fn world(&self, tenant: &Tenant, workspace: &Workspace) -> Result<&World, Fault> {
        self.worlds.get(&(tenant.clone(), workspace.clone())).ok_or_else(|| no_workspace(workspace))
    }

    fn act(&mut self, tenant: &Tenant, step: &Step, now_ms: AtMs) -> Result<Outcome, Fault> {
        step.action.validate()?;
        let place = (tenant.clone(), step.workspace.clone());
        let resource = step.resource();
        let empty = World::new();
        let world = match self.worlds.get(&place) {
            Some(world) => world,
            None if resource == Resource::Workspace => &empty,
            None => return Err(no_workspace(&step.workspace)),
        };
        let before = shown(world, &resource);
        let predicted = step.action.predict(&before);
        if before.version() != step.expects.as_ref() {
            return Err(match (predicted, &before) {
                (Err(fault), ResourceState::Absent) => fault,
                _ => Fault::conflict(format!("{resource} has changed since the plan was made"))
                    .hint("observe it again and make a new plan"),
            });
        }
        let predicted = predicted?;
        refuse_dangling(&step.action, &predicted, world)?;
        if let Some((other, resource)) = step.action.source() {
            let there = match other {
                Some(other) => self.world(tenant, other)?,
                None => world,
            };
            step.action.check_source(&shown(there, &resource))?;
        }
        self.versions += 1;
        let version = ResourceVersion(self.versions.to_string());
        let after = settled(step, &before, predicted, version.clone(), now_ms);
        if let (Resource::Workspace, ResourceState::Absent) = (&resource, &after) {
            self.worlds.remove(&place);
            return Ok(outcome(step, &after));
        }
        let world = self.worlds.entry(place).or_default();
        match &after {
            ResourceState::Absent => world.remove(&resource),
            state => world.insert(resource, state.clone()),
        };
        Ok(outcome(step, &after))
    }
}

/// Size of every restored volume.
const RESTORED_BYTES: u64 = 1 << 20;

fn mounts<'a>(world: &'a World, volume: &'a Volume) -> impl Iterator<Item = Workload> + 'a {
    world.values().filter_map(move |state| match state {
        ResourceState::Workload(status) if status.spec.volumes.contains(volume) => Some(status.name.clone()),
        _ => None,
    })
}

fn shown(world: &World, resource: &Resource) -> ResourceState {
    match world.get(resource) {
        Some(ResourceState::Volume(status)) => {
            ResourceState::Volume(VolumeStatus { mounted_by: mounts(world, &status.name).collect(), ..status.clone() })
        }
        Some(state) => state.clone(),
        None => ResourceState::Absent,
    }
}

/// What an action needs of other resources than its own.
fn refuse_dangling(action: &Action, predicted: &ResourceState, world: &World) -> Result<(), Fault> {
    let volumes: &[Volume] = match (action, predicted) {
        (Action::CreateBackup(create), _) => &create.volumes,
        (_, ResourceState::Workload(status)) => &status.spec.volumes,
        _ => &[],
    };
    if let Some(missing) = volumes.iter().find(|name| !world.contains_key(&Resource::Volume((*name).clone()))) {
        return Err(Fault::not_found(format!("there is no volume {missing}")).hint("create the volume first"));
    }
    Ok(())
}

fn settled(
    step: &Step,
    before: &ResourceState,
    mut after: ResourceState,
    version: ResourceVersion,
    now_ms: AtMs,
) -> ResourceState {
    match &mut after {
        ResourceState::Absent => {}
        ResourceState::Workspace(status) => {
            status.name = step.workspace.clone();
            status.resource_version = version;
        }
        ResourceState::Volume(status) => {
            if let Action::RestoreBackup(_) = step.action {
                status.size_bytes = RESTORED_BYTES;
            }
            status.resource_version = version;
        }
        ResourceState::Backup(status) => {
            if let Action::CreateBackup(_) = step.action {
                status.taken_at_ms = now_ms;
            }
            if matches!(step.action, Action::CreateBackup(_) | Action::VerifyBackup(_)) {
                status.verified_at_ms = Some(now_ms);
            }
            status.resource_version = version;
        }
        ResourceState::Function(status) => {
            if let Action::DeployFunction(deploy) = &step.action {
                let (runtime, body) = match &deploy.source {
                    FunctionSource::Wasm { module } => ("wasm", module),
                    FunctionSource::Javascript { text } => ("javascript", text),
                };
                status.versions.push(FunctionVersion {
                    version: status.active.unwrap_or(1),
                    runtime: runtime.into(),
                    digest: opsward_domain::canonical::digest_bytes(body.as_bytes()),
                    at_ms: now_ms,
                });
                let excess = status.versions.len().saturating_sub(KEPT_MAX);
                status.versions.drain(..excess);
            }
            if let Action::InvokeFunction(_) = step.action {
                status.invocations += 1;
            } else {
                status.resource_version = version;
            }
        }
        ResourceState::Workload(status) => {
            let restarted = matches!(step.action, Action::RestartWorkload(_));
            let same = matches!(before, ResourceState::Workload(old) if old.revision == status.revision);
            if !same {
                let spec = status.spec.clone();
                status.revisions.push(Revision { revision: status.revision, at_ms: now_ms, spec });
                let excess = status.revisions.len().saturating_sub(KEPT_MAX);
                status.revisions.drain(..excess);
            }
            let keep = same && !restarted;
            run(status, keep, now_ms);
            status.resource_version = version;
        }
    }
    after
}

fn run(status: &mut WorkloadStatus, keep: bool, now_ms: AtMs) {
    let old = std::mem::take(&mut status.replicas);
    status.address = status.spec.port.then(|| "127.0.0.1:1".to_owned());
    status.replicas = (0..status.spec.replicas)
        .map(|index| match old.iter().find(|replica| replica.index == index) {
            Some(replica) if keep => replica.clone(),
            _ => Replica {
                index,
                pid: Some(index + 1),
                state: ReplicaState::Ready,
                port: status.spec.port.then_some(2),
                revision: status.revision,
                restarts: 0,
                started_at_ms: now_ms,
                memory_bytes: 0,
                last_exit: None,
                instance: None,
            },
        })
        .collect();
}

fn outcome(step: &Step, after: &ResourceState) -> Outcome {
    let result = match (&step.action, after) {
        (Action::InvokeFunction(call), _) => json!({ "status": "ok", "output": call.input }),
        (_, ResourceState::Workload(status)) => json!({ "revision": status.revision, "ready": status.ready() }),
        (_, ResourceState::Function(status)) => json!({ "active": status.active }),
        _ => Value::Null,
    };
    let facts = step.action.kind().facts();
    Outcome { summary: format!("{}: {}", facts.name, step.resource()), result, version: after.version().cloned() }
}
