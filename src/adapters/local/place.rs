//! One workspace in memory: its wanted state, its specs, its shim. Never changes the state except by
//! writing it down first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opsward_domain::fault::Fault;
use opsward_domain::name::{Tenant, Workload, Workspace};
use opsward_domain::spec::WorkloadSpec;

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::folder::Folder;
use crate::functions::{Functions, load_tallies};
use crate::link::Link;
use crate::spool::Position;
use crate::state::State;
use crate::vaults::Vaults;

/// Takes a lock whatever became of its last holder: every guarded value is replaced whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names one spec for good.
type SpecKey = (Workload, u64, u64);

/// How far each of a workspace's spools has been acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub(crate) logs: Position,
    pub(crate) calls: Position,
}

/// A workspace.
pub(crate) struct Place {
    pub(crate) tenant: Tenant,
    pub(crate) workspace: Workspace,
    pub(crate) folder: Folder,
    pub(crate) link: Link,
    /// Held while a change is made, so that changes come one after the other.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// How far its output has been acknowledged.
    pub(crate) cursor: Mutex<Cursor>,
    pub(crate) functions: Functions,
    pub(crate) vaults: Arc<Vaults>,
    state: Mutex<Arc<State>>,
    specs: Mutex<BTreeMap<SpecKey, Arc<WorkloadSpec>>>,
}

impl Place {
    pub(crate) fn new(folder: Folder, state: State, link: Link, vaults: Vaults) -> Result<Self, Fault> {
        let cursor = disk::read_json(&folder.cursor())?.unwrap_or_default();
        let functions = Functions::new(load_tallies(&folder.tallies()));
        Ok(Self {
            tenant: state.tenant.clone(),
            workspace: state.workspace.clone(),
            folder,
            link,
            changing: tokio::sync::Mutex::new(()),
            cursor: Mutex::new(cursor),
            functions,
            vaults: Arc::new(vaults),
            state: Mutex::new(Arc::new(state)),
            specs: Mutex::default(),
        })
    }

    /// The wanted state now.
    pub(crate) fn state(&self) -> Arc<State> {
        lock(&self.state).clone()
    }

    /// Makes `state` the wanted one, durably first.
    pub(crate) async fn commit(&self, state: State) -> Result<(), Fault> {
        let path = self.folder.state();
        let failed = {
            let path = path.clone();
            move |error: &std::io::Error| disk::fault("the wanted state cannot be written", &path, error)
        };
        let bytes = disk::encode(&state).map_err(|error| failed(&error))?;
        let write = tokio::task::spawn_blocking(move || disk::write_durable(&path, &bytes));
        write.await.map_err(|_| Fault::internal("the write died"))?.map_err(|error| failed(&error))?;
        *lock(&self.state) = Arc::new(state);
        Ok(())
    }

    /// Notes what turned out, in turn with other changes.
    pub(crate) async fn amend(&self, edit: impl FnOnce(&mut State)) -> Result<(), Fault> {
        let _turn = self.changing.lock().await;
        let mut state = self.state().as_ref().clone();
        edit(&mut state);
        state.bump();
        self.commit(state).await
    }

    /// Drops an answered intent; the next commit writes that down, and opening tolerates it until then.
    pub(crate) fn answered(&self, key: &str) {
        let mut state = lock(&self.state);
        if state.intents.contains_key(key) {
            Arc::make_mut(&mut state).intents.remove(key);
        }
    }

    /// The spec of one revision.
    pub(crate) fn spec(&self, name: &Workload, incarnation: u64, revision: u64) -> Result<Arc<WorkloadSpec>, Fault> {
        let key = (name.clone(), incarnation, revision);
        if let Some(spec) = lock(&self.specs).get(&key) {
            return Ok(spec.clone());
        }
        let path = self.folder.revision(name, incarnation, revision);
        let spec: WorkloadSpec = disk::read_json(&path)?
            .ok_or_else(|| Fault::internal("a revision is missing").detail(path.display().to_string()))?;
        let spec = Arc::new(spec);
        lock(&self.specs).insert(key, spec.clone());
        Ok(spec)
    }

    /// Forgets specs that are no longer kept.
    pub(crate) fn prune_specs(&self) {
        let state = self.state();
        lock(&self.specs).retain(|(name, incarnation, revision), _| {
            let kept = |wanted: &crate::state::Wanted| {
                wanted.incarnation == *incarnation && wanted.revisions.iter().any(|kept| kept.revision == *revision)
            };
            state.workloads.get(name).is_some_and(kept)
        });
    }
}
