//! Doing a step once: look the key up, commit the change with its intent, bring it about, write the
//! answer down.
//!
//! The change and its intent become durable in one rename, so a crash leaves either neither, or an
//! intent that opening the provider completes. Nothing visible happens before that rename.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use opsward_domain::action::{Action, RestoreBackup};
use opsward_domain::event::Outcome;
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Tenant, Workload};
use opsward_domain::plan::Step;
use opsward_domain::resource::{Resource, ResourceState};
use opsward_ports::provider::memory::step_digest;

use crate::change::{Change, Machine, NewRevision, NewSource, change};
use crate::disk;
use crate::folder::Folder;
use crate::functions;
use crate::ledger::{Answer, Entry};
use crate::place::Place;
use crate::port;
use crate::provider::Inner;
use crate::state::{FORMAT, Intent, State};
use crate::wire::Ask;

/// Longest key.
const KEY_BYTES_MAX: usize = 200;

impl Inner {
    /// See the port's contract. Runs to its end even if nobody waits for it any more.
    pub(crate) async fn apply(&self, tenant: &Tenant, step: &Step, key: &str) -> Result<Outcome, Fault> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Fault::invalid("a key is 1 to 200 printable characters"));
        }
        step.action.validate()?;
        let _turn = self.keys.turn(tenant, key).await;
        let digest = step_digest(step);
        if let Some(entry) = self.recall(tenant, key)? {
            return match entry.answer {
                _ if entry.digest != digest => Err(Fault::conflict("this key was used for another step")),
                Answer::Done(outcome) => Ok(outcome),
                Answer::Failed(fault) => Err(fault),
            };
        }
        let (place, intent) = self.commit(tenant, step, key, digest).await?;
        match self.finish(&place, key, &intent).await? {
            Answer::Done(outcome) => Ok(outcome),
            Answer::Failed(fault) => Err(fault),
        }
    }

    /// What became of a key. One whose change was made but did not turn out as asked did take effect.
    pub(crate) async fn recall_outcome(&self, tenant: &Tenant, key: &str) -> Result<Option<Outcome>, Fault> {
        let _turn = self.keys.turn(tenant, key).await;
        Ok(self.recall(tenant, key)?.map(|entry| match entry.answer {
            Answer::Done(outcome) => outcome,
            Answer::Failed(fault) => Outcome {
                summary: format!("done, but {fault}"),
                result: serde_json::json!({ "fault": fault }),
                version: entry.left,
            },
        }))
    }

    fn recall(&self, tenant: &Tenant, key: &str) -> Result<Option<Entry>, Fault> {
        let ledger = self.ledger(tenant)?;
        let ledger = crate::place::lock(&ledger);
        ledger.get(key)
    }

    /// Brings a committed change about and writes its answer down.
    pub(crate) async fn finish(&self, place: &Arc<Place>, key: &str, intent: &Intent) -> Result<Answer, Fault> {
        let answer = match self.complete(place, key, intent).await {
            Ok(outcome) => Answer::Done(outcome),
            Err(fault) => Answer::Failed(fault),
        };
        self.answer(place, key, intent, answer.clone()).await?;
        if let (Action::DeleteWorkspace(_), Answer::Done(_)) = (&intent.action, &answer) {
            let trash = self.trash(place);
            // What is not removed now is removed when the provider opens next.
            tokio::task::spawn_blocking(move || disk::remove_tree(&trash));
        }
        Ok(answer)
    }

    /// Writes the answer of a committed change down.
    pub(crate) async fn answer(&self, place: &Place, key: &str, intent: &Intent, answer: Answer) -> Result<(), Fault> {
        // Nobody but this change has made this version, so that taking it back never runs over another's.
        let left = matches!(answer, Answer::Failed(_)).then(|| place.state().version_of(intent.generation));
        let (digest, at_ms) = (intent.digest.clone(), self.clock.now_ms());
        let entry = Entry { key: key.to_owned(), digest, at_ms, answer, left };
        let ledger = self.ledger(&place.tenant)?;
        let write = tokio::task::spawn_blocking(move || crate::place::lock(&ledger).append(&entry));
        write.await.map_err(|_| Fault::internal("the write died"))??;
        place.answered(key);
        Ok(())
    }

    async fn commit(
        &self,
        tenant: &Tenant,
        step: &Step,
        key: &str,
        digest: String,
    ) -> Result<(Arc<Place>, Intent), Fault> {
        if let Action::CreateWorkspace(_) = step.action {
            return self.create_workspace(tenant, step, key, digest).await;
        }
        let place = self.place(tenant, &step.workspace)?;
        let _turn = place.changing.lock().await;
        if let Action::ResizeVolume(_) = step.action {
            // Counts what is on the volumes now: a resize must not cut what was written a moment ago.
            place.link.ask(Ask::Reload).await?;
        }
        let before = self.look_at(tenant, &step.workspace, &step.resource()).await?;
        let predicted = check(step, &before)?;
        let (change, intent) = self.draft(&place, step, &predicted, key, digest)?;
        if let Some(new) = &change.source {
            self.keep_source(&place, &change.state, new).await?;
        }
        prepare(&place.folder, &change)?;
        place.commit(change.state).await?;
        place.prune_specs();
        Ok((place.clone(), intent))
    }

    /// Compiles a function's source in its jail, then writes it down.
    async fn keep_source(&self, place: &Place, state: &State, new: &NewSource) -> Result<(), Fault> {
        let Some(wanted) = state.functions.get(&new.function) else { return Ok(()) };
        functions::load_new(place, &self.options, &new.function, wanted, new.bytes.clone()).await?;
        let path = place.folder.source(&new.function, wanted.incarnation, wanted.active.unwrap_or_default());
        let written = fs::create_dir_all(place.folder.sources(&new.function))
            .and_then(|()| disk::write_durable(&path, &new.bytes));
        written.map_err(|error| disk::fault("the source cannot be written", &path, &error))
    }

    /// The changed state with its intent, nothing written yet.
    fn draft(
        &self,
        place: &Place,
        step: &Step,
        predicted: &ResourceState,
        key: &str,
        digest: String,
    ) -> Result<(Change, Intent), Fault> {
        let state = place.state();
        let promised = |name: &Workload, wanted: &crate::state::Wanted| {
            let spec = place.spec(name, wanted.incarnation, wanted.revision)?;
            Ok(spec.limits.memory_bytes.saturating_mul(u64::from(wanted.replicas)))
        };
        let taken = self.addresses();
        let salt = u64::try_from(self.clock.now_ms()).unwrap_or(0);
        let backup = |restore: &RestoreBackup| {
            let kept = self.source(place, restore)?.state().backups.get(&restore.backup).cloned();
            kept.ok_or_else(|| Fault::not_found(format!("there is no backup {}", restore.backup)))
        };
        let machine = Machine {
            now_ms: self.clock.now_ms(),
            backup: &backup,
            port: &|| port::free(port::ADDRESSES, salt, &taken),
            promised: &promised,
        };
        let mut change = change(&state, &step.action, predicted, &machine)?;
        let intent = Intent { digest, action: step.action.clone(), generation: change.state.generation };
        change.state.intents.insert(key.to_owned(), intent.clone());
        Ok((change, intent))
    }

    async fn create_workspace(
        &self,
        tenant: &Tenant,
        step: &Step,
        key: &str,
        digest: String,
    ) -> Result<(Arc<Place>, Intent), Fault> {
        let _turn = self.making.lock().await;
        let before = self.look_at(tenant, &step.workspace, &Resource::Workspace).await?;
        let ResourceState::Workspace(wanted) = check(step, &before)? else {
            return Err(Fault::internal("an action without a change"));
        };
        let intent = Intent { digest, action: step.action.clone(), generation: 1 };
        let state = State {
            format: FORMAT,
            tenant: tenant.clone(),
            workspace: step.workspace.clone(),
            created_at_ms: self.clock.now_ms(),
            generation: 1,
            memory_bytes_max: wanted.memory_bytes_max,
            version: 1,
            leaving: false,
            workloads: Default::default(),
            volumes: Default::default(),
            functions: Default::default(),
            backups: Default::default(),
            intents: [(key.to_owned(), intent.clone())].into(),
        };
        if self.is_known(tenant, &step.workspace) {
            return Err(Fault::conflict(format!("workspace {} is still being removed", step.workspace)));
        }
        let folder = self.folder(tenant, &step.workspace);
        let failed = |error: std::io::Error| disk::fault("the workspace cannot be made", folder.path(), &error);
        // Whatever lies there without a state file was never a workspace.
        disk::remove_tree(folder.path()).map_err(failed)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.path()).map_err(failed)?;
        let place = Arc::new(self.new_place(folder.clone(), state.clone())?);
        place.commit(state).await?;
        folder.path().parent().map_or(Ok(()), disk::sync_dir).map_err(failed)?;
        self.add(place.clone());
        Ok((place, intent))
    }
}

/// The predicted state, if the step still fits what is there.
fn check(step: &Step, before: &ResourceState) -> Result<ResourceState, Fault> {
    let predicted = step.action.predict(before);
    if before.version() == step.expects.as_ref() {
        return predicted;
    }
    Err(match (predicted, before) {
        (Err(fault), ResourceState::Absent) => fault,
        _ => Fault::conflict(format!("{} has changed since the plan was made", step.resource()))
            .hint("observe it again and make a new plan"),
    })
}

/// Writes what must be on disk before the change is.
fn prepare(folder: &Folder, change: &Change) -> Result<(), Fault> {
    if let Some(volume) = &change.volume {
        let path = folder.volume(volume);
        let made = disk::remove_tree(&path)
            .and_then(|()| fs::create_dir_all(&path))
            .and_then(|()| path.parent().map_or(Ok(()), disk::sync_dir));
        made.map_err(|error| disk::fault("the volume cannot be made", &path, &error))?;
    }
    let Some(new) = &change.revision else { return Ok(()) };
    let path = folder.revision(&new.workload, new.incarnation, new.revision);
    let written = fs::create_dir_all(folder.revisions(&new.workload))
        .and_then(|()| disk::encode(&new.spec))
        .and_then(|bytes| disk::write_durable(&path, &bytes));
    written.map_err(|error| disk::fault("the revision cannot be written", &path, &error))?;
    materialise(folder, new)
}

/// Lays the files of a revision out, read-only.
fn materialise(folder: &Folder, new: &NewRevision) -> Result<(), Fault> {
    let dir = folder.files(&new.workload, new.incarnation, new.revision);
    if new.spec.files.is_empty() {
        return Ok(());
    }
    let failed = |error: std::io::Error| disk::fault("the files cannot be written", &dir, &error);
    disk::remove_tree(&dir).and_then(|()| fs::create_dir_all(&dir)).map_err(failed)?;
    for (name, body) in &new.spec.files {
        let bytes = base64::engine::general_purpose::STANDARD.decode(body).map_err(|error| {
            Fault::new(Code::InvalidInput, format!("file {name} is not base64")).detail(error.to_string())
        })?;
        let path: &Path = &dir.join(name);
        let written = fs::write(path, bytes).and_then(|()| fs::File::open(path)?.sync_all());
        written.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o555))).map_err(failed)?;
    }
    disk::sync_dir(&dir).map_err(failed)
}
