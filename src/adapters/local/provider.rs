//! The provider itself: every workspace, every ledger, and the tasks that watch them. Never shares its
//! root folder with another provider.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::event::Outcome;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Tenant, Workspace};
use opsward_domain::plan::Step;
use opsward_domain::seal::Authorized;
use opsward_ports::clock::{Clock, Entropy};
use opsward_ports::provider::{Observation, Provider, Query};
use tokio::task::AbortHandle;

use crate::disk;
use crate::folder::Folder;
use crate::keys::Keys;
use crate::ledger::Ledger;
use crate::link::Link;
use crate::options::Options;
use crate::place::{Place, lock};
use crate::state::State;
use crate::telemetry::Outbox;
use crate::vaults::Vaults;

type Places = BTreeMap<(Tenant, Workspace), Arc<Place>>;

/// The platform on one machine. Cheap to clone; the last clone's end leaves workloads running.
#[derive(Clone)]
pub struct LocalProvider {
    pub(crate) inner: Arc<Inner>,
}

/// What all clones share.
pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) keys: Keys,
    /// Held while a workspace is made.
    pub(crate) making: tokio::sync::Mutex<()>,
    pub(crate) outbox: Outbox,
    places: Mutex<Places>,
    ledgers: Mutex<BTreeMap<Tenant, Arc<Mutex<Ledger>>>>,
    tasks: Mutex<Vec<AbortHandle>>,
    root_lock: Mutex<Option<File>>,
}

impl Inner {
    pub(crate) fn new(options: Options, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, root_lock: File) -> Self {
        let outbox = Outbox::new(options.samples_max);
        Self {
            options,
            clock,
            entropy,
            keys: Keys::default(),
            making: tokio::sync::Mutex::new(()),
            outbox,
            places: Mutex::default(),
            ledgers: Mutex::default(),
            tasks: Mutex::default(),
            root_lock: Mutex::new(Some(root_lock)),
        }
    }

    /// Every workspace that is not on its way out.
    pub(crate) fn places(&self) -> Vec<Arc<Place>> {
        lock(&self.places).values().filter(|place| !place.state().leaving).cloned().collect()
    }

    /// Every workspace.
    pub(crate) fn places_and_leaving(&self) -> Vec<Arc<Place>> {
        lock(&self.places).values().cloned().collect()
    }

    /// One workspace of a tenant; another tenant's does not exist.
    pub(crate) fn place(&self, tenant: &Tenant, workspace: &Workspace) -> Result<Arc<Place>, Fault> {
        let found = lock(&self.places).get(&(tenant.clone(), workspace.clone())).cloned();
        found
            .filter(|place| !place.state().leaving)
            .ok_or_else(|| Fault::not_found(format!("there is no workspace {workspace}")))
    }

    /// True also for a workspace on its way out.
    pub(crate) fn is_known(&self, tenant: &Tenant, workspace: &Workspace) -> bool {
        lock(&self.places).contains_key(&(tenant.clone(), workspace.clone()))
    }

    pub(crate) fn add(&self, place: Arc<Place>) {
        lock(&self.places).insert((place.tenant.clone(), place.workspace.clone()), place);
    }

    pub(crate) fn drop_place(&self, place: &Place) {
        lock(&self.places).remove(&(place.tenant.clone(), place.workspace.clone()));
    }

    pub(crate) fn new_place(&self, folder: Folder, state: State) -> Result<Place, Fault> {
        let link = Link::new(folder.clone(), &self.options, self.clock.clone(), self.entropy.clone());
        let dir = self.options.root.join("vaults").join(state.tenant.as_str()).join(state.workspace.as_str());
        let vaults = Vaults::new(dir, self.options.root.join("keys").join("backups"));
        Place::new(folder, state, link, vaults)
    }

    pub(crate) fn folder(&self, tenant: &Tenant, workspace: &Workspace) -> Folder {
        Folder::new(self.options.root.join("tenants").join(tenant.as_str()).join(workspace.as_str()))
    }

    /// Where a removed workspace lies until it is gone. No name holds a dot, so these never collide.
    pub(crate) fn trash(&self, place: &Place) -> PathBuf {
        let made_ms = place.state().created_at_ms;
        self.options.root.join("trash").join(format!("{}.{}.{made_ms}", place.tenant, place.workspace))
    }

    /// Stable ports in use by any workspace.
    pub(crate) fn addresses(&self) -> Vec<u16> {
        let places = lock(&self.places);
        let states = places.values().map(|place| place.state());
        states.flat_map(|state| state.workloads.values().filter_map(|it| it.port).collect::<Vec<_>>()).collect()
    }

    /// The ledger of a tenant.
    pub(crate) fn ledger(&self, tenant: &Tenant) -> Result<Arc<Mutex<Ledger>>, Fault> {
        let mut ledgers = lock(&self.ledgers);
        if let Some(ledger) = ledgers.get(tenant) {
            return Ok(ledger.clone());
        }
        let dir = self.options.root.join("tenants").join(tenant.as_str());
        std::fs::create_dir_all(&dir).map_err(|error| disk::fault("the ledger cannot be opened", &dir, &error))?;
        let ledger = Arc::new(Mutex::new(Ledger::open(&dir.join("ledger.jsonl"))?));
        ledgers.insert(tenant.clone(), ledger.clone());
        Ok(ledger)
    }

    /// Keeps a background task's handle, to end it with the provider.
    pub(crate) fn keep(&self, task: AbortHandle) {
        lock(&self.tasks).push(task);
    }

    fn end_tasks(&self) {
        lock(&self.tasks).drain(..).for_each(|task| task.abort());
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end_tasks();
    }
}

/// Takes the root folder for this process alone.
pub(crate) fn take_root(options: &Options) -> Result<File, Fault> {
    let root = &options.root;
    let failed = |error: &std::io::Error| disk::fault("the data folder cannot be used", root, error);
    std::fs::create_dir_all(root.join("tenants")).map_err(|error| failed(&error))?;
    let path = root.join("lock");
    let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = file.map_err(|error| failed(&error))?;
    if file.try_lock().is_err() {
        let mut holder = String::new();
        let _ = file.read_to_string(&mut holder);
        return Err(Fault::conflict("another opsward uses this data folder")
            .detail(format!("{}: process {}", path.display(), holder.trim()))
            .hint("stop it, or use another data folder"));
    }
    let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(|error| failed(&error))?;
    Ok(file)
}

impl LocalProvider {
    /// Ends the provider. With `keep_workloads` everything goes on running until the next open;
    /// without, every shim stops its replicas first.
    pub async fn shutdown(&self, keep_workloads: bool) -> Result<(), Fault> {
        self.inner.end_tasks();
        let mut first = Ok(());
        for place in self.inner.places() {
            place.functions.stop().await;
        }
        if !keep_workloads {
            let ends = self.inner.places().into_iter().map(|place| async move { place.link.end().await });
            for end in ends.map(tokio::spawn).collect::<Vec<_>>() {
                let end = end.await.map_err(|_| Fault::internal("the task died")).flatten();
                first = first.and(end);
            }
        }
        if let Some(file) = lock(&self.inner.root_lock).take() {
            // Said aloud, because a child between its fork and its exec still shares the descriptor.
            first = first.and(
                file.unlock()
                    .map_err(|error| disk::fault("the lock cannot be given back", &self.inner.options.root, &error)),
            );
        }
        first
    }
}

#[async_trait]
impl Provider for LocalProvider {
    async fn observe(&self, cx: &CallContext, query: &Query) -> Result<Observation, Fault> {
        self.inner.look(cx.tenant(), query).await
    }

    async fn apply(&self, cx: &CallContext, step: &Authorized<Step>, key: &str) -> Result<Outcome, Fault> {
        let (inner, tenant, step, key) = (self.inner.clone(), cx.tenant().clone(), step.get().clone(), key.to_owned());
        // A task of its own: a caller that goes away must not leave a change half done.
        let task = tokio::spawn(async move { inner.apply(&tenant, &step, &key).await });
        task.await.map_err(|error| Fault::internal("the step died").detail(error.to_string()))?
    }

    async fn lookup(&self, cx: &CallContext, key: &str) -> Result<Option<Outcome>, Fault> {
        self.inner.recall_outcome(cx.tenant(), key).await
    }
}
