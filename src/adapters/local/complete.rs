//! Bringing a committed change about. Every branch may run twice: after a crash it is run again.

use std::fs;
use std::sync::Arc;

use opsward_domain::action::Action;
use opsward_domain::event::Outcome;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Function, Workload};
use opsward_domain::resource::ResourceVersion;
use serde_json::{Value, json};

use crate::disk;
use crate::functions;
use crate::place::Place;
use crate::provider::Inner;
use crate::settle::{settle, vanish};
use crate::state::Intent;
use crate::wire::Ask;

impl Inner {
    pub(crate) async fn complete(&self, place: &Arc<Place>, key: &str, intent: &Intent) -> Result<Outcome, Fault> {
        match &intent.action {
            Action::CreateWorkspace(_) => {
                place.link.ask(Ask::Reload).await?;
                // A vault that does not open is told, and does not stand in the way of a workspace.
                let result = match self.adopt_backups(place).await {
                    Ok(count) => json!({ "backups_found": count }),
                    Err(fault) => json!({ "backups_unavailable": fault }),
                };
                let version = place.state().version_of(place.state().version);
                Ok(outcome(format!("made workspace {}", place.workspace), result, Some(version)))
            }
            Action::DeleteWorkspace(_) => self.remove_workspace(place).await,
            Action::DeleteWorkload(delete) => {
                place.link.ask(Ask::Reload).await?;
                vanish(place, &delete.workload, &self.options).await?;
                forget_workload(place, &delete.workload)?;
                Ok(outcome(format!("stopped {} and forgot it", delete.workload), Value::Null, None))
            }
            Action::DeleteVolume(delete) => {
                place.link.ask(Ask::Reload).await?;
                if !place.state().volumes.contains_key(&delete.volume) {
                    let path = place.folder.volume(&delete.volume);
                    let removed = disk::remove_tree(&path);
                    removed.map_err(|error| disk::fault("the volume cannot be removed", &path, &error))?;
                }
                Ok(outcome(format!("removed volume {} with its content", delete.volume), Value::Null, None))
            }
            Action::CreateVolume(create) => {
                place.link.ask(Ask::Reload).await?;
                let summary = format!("made volume {} of {} bytes", create.volume, create.size_bytes);
                Ok(outcome(summary, Value::Null, Some(place.state().version_of(intent.generation))))
            }
            Action::ResizeVolume(resize) => {
                place.link.ask(Ask::Reload).await?;
                let summary = format!("volume {} may hold {} bytes", resize.volume, resize.size_bytes);
                let result = json!({ "size_bytes": resize.size_bytes });
                Ok(outcome(summary, result, Some(place.state().version_of(intent.generation))))
            }
            Action::DeployWorkload(it) => self.roll(place, &it.workload, intent).await,
            Action::SetEnvironment(it) => self.roll(place, &it.workload, intent).await,
            Action::ScaleWorkload(it) => self.roll(place, &it.workload, intent).await,
            Action::RestartWorkload(it) => self.roll(place, &it.workload, intent).await,
            Action::RollbackWorkload(it) => self.roll(place, &it.workload, intent).await,
            Action::SetLimits(it) => self.roll(place, &it.workload, intent).await,
            Action::SetImage(it) => self.roll(place, &it.workload, intent).await,
            Action::DeployFunction(it) => answering(place, &it.function, intent),
            Action::ActivateFunction(it) => answering(place, &it.function, intent),
            Action::InvokeFunction(call) => functions::invoke(place, &self.options, call, self.clock.now_ms()).await,
            Action::DeleteFunction(delete) => forget_function(place, &delete.function).await,
            Action::CreateBackup(create) => self.take_backup(place, key, create).await,
            Action::VerifyBackup(verify) => self.prove_backup(place, verify).await,
            Action::RestoreBackup(restore) => self.restore(place, restore).await,
            Action::DeleteBackup(delete) => self.drop_backup(place, delete).await,
        }
    }

    /// Lets the shim follow, and waits until the workload runs as wanted now.
    async fn roll(&self, place: &Place, name: &Workload, intent: &Intent) -> Result<Outcome, Fault> {
        let state = place.state();
        let wanted = state.workloads.get(name);
        let wanted = wanted.ok_or_else(|| Fault::conflict(format!("{name} was deleted before it was ready")))?;
        place.link.ask(Ask::Reload).await?;
        settle(place, name, wanted, &self.options).await?;
        let spec = place.spec(name, wanted.incarnation, wanted.revision)?;
        let summary = format!(
            "{name} runs revision {} ({}) on {} ready replicas",
            wanted.revision, spec.version, wanted.replicas
        );
        let address = wanted.port.map(|port| format!("127.0.0.1:{port}"));
        let result = json!({ "revision": wanted.revision, "ready": wanted.replicas, "address": address });
        Ok(outcome(summary, result, Some(state.version_of(intent.generation))))
    }

    async fn remove_workspace(&self, place: &Arc<Place>) -> Result<Outcome, Fault> {
        place.functions.stop().await;
        place.link.end().await?;
        let trash = self.trash(place);
        let path = place.folder.path();
        if path.exists() {
            let moved = fs::create_dir_all(self.options.root.join("trash"))
                .and_then(|()| fs::rename(path, &trash))
                .and_then(|()| path.parent().map_or(Ok(()), disk::sync_dir));
            moved.map_err(|error| disk::fault("the workspace cannot be removed", path, &error))?;
        }
        self.drop_place(place);
        Ok(outcome(format!("removed workspace {} with everything in it", place.workspace), Value::Null, None))
    }
}

fn outcome(summary: String, result: Value, version: Option<ResourceVersion>) -> Outcome {
    Outcome { summary, result, version }
}

fn answering(place: &Place, name: &Function, intent: &Intent) -> Result<Outcome, Fault> {
    let state = place.state();
    let wanted = state.functions.get(name);
    let wanted = wanted.ok_or_else(|| Fault::conflict(format!("{name} was deleted meanwhile")))?;
    let active = wanted.active.unwrap_or_default();
    let version = Some(state.version_of(intent.generation));
    Ok(outcome(format!("{name} answers with version {active}"), json!({ "active": active }), version))
}

/// Removes what is kept of a deleted function, unless one of that name exists again.
async fn forget_function(place: &Place, name: &Function) -> Result<Outcome, Fault> {
    if !place.state().functions.contains_key(name) {
        place.functions.forget(name).await;
        let path = place.folder.sources(name);
        disk::remove_tree(&path).map_err(|error| disk::fault("sources cannot be removed", &path, &error))?;
    }
    Ok(outcome(format!("removed function {name} with its versions"), Value::Null, None))
}

/// Removes what is kept of a deleted workload, unless one of that name exists again.
fn forget_workload(place: &Place, name: &Workload) -> Result<(), Fault> {
    if place.state().workloads.contains_key(name) {
        return Ok(());
    }
    for path in [place.folder.revisions(name), place.folder.all_files(name)] {
        disk::remove_tree(&path).map_err(|error| disk::fault("revisions cannot be removed", &path, &error))?;
    }
    Ok(())
}
