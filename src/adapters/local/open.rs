//! Opening: take the root, read every workspace, adopt or start its shim, complete what was begun, reap
//! what nobody wants. Never starts on a state that it does not understand.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use opsward_domain::action::Action;
use opsward_domain::event::Outcome;
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Tenant, Workspace};
use opsward_ports::clock::{Clock, Entropy};

use crate::disk;
use crate::folder::Folder;
use crate::keep::interrupted;
use crate::ledger::{Answer, Entry};
use crate::options::Options;
use crate::place::{Place, lock};
use crate::provider::{Inner, LocalProvider, take_root};
use crate::sampler;
use crate::shim::leftovers;
use crate::state::{FORMAT, State};
use crate::wire::Ask;

impl LocalProvider {
    /// Opens `options.root`, adopting whatever still runs there. Returns when every workspace is known;
    /// shims that must be started and changes that must be completed follow behind.
    ///
    /// Errors: `Conflict` if another process has the root, `Corrupt` for damaged state, `Unavailable`
    /// for a folder that cannot be written. Needs a tokio runtime.
    pub async fn open(mut options: Options, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Self, Fault> {
        let root_lock = take_root(&options)?;
        options.root = fs::canonicalize(&options.root)
            .map_err(|error| disk::fault("the data folder cannot be used", &options.root, &error))?;
        let inner = Arc::new(Inner::new(options, clock, entropy, root_lock));
        for folder in workspace_folders(&inner.options.root)? {
            load(&inner, folder)?;
        }
        empty_trash(&inner)?;
        for place in inner.places_and_leaving() {
            resume(&inner, &place)?;
        }
        inner.keep(tokio::spawn(sampler::run(Arc::downgrade(&inner))).abort_handle());
        Ok(Self { inner })
    }
}

pub(crate) fn names_in(dir: &Path) -> Result<Vec<PathBuf>, Fault> {
    let failed = |error: std::io::Error| disk::fault("a folder cannot be read", dir, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn workspace_folders(root: &Path) -> Result<Vec<Folder>, Fault> {
    let mut found = Vec::new();
    for tenant in names_in(&root.join("tenants"))? {
        found.extend(names_in(&tenant)?.into_iter().map(Folder::new));
    }
    Ok(found)
}

fn load(inner: &Inner, folder: Folder) -> Result<(), Fault> {
    let Some(state) = disk::read_json::<State>(&folder.state())? else {
        // Never became a workspace, or is what was left of one.
        leftovers::reap(&folder);
        let removed = disk::remove_tree(folder.path());
        return removed.map_err(|error| disk::fault("a leftover folder cannot be removed", folder.path(), &error));
    };
    if state.format != FORMAT {
        return Err(Fault::new(Code::Corrupt, "a workspace was written by another version")
            .detail(format!("{}: form {}, this version reads {FORMAT}", folder.path().display(), state.format))
            .hint("use the version that wrote it, or a newer one"));
    }
    let expected = inner.folder(&state.tenant, &state.workspace);
    if expected.path() != folder.path() {
        return Err(Fault::new(Code::Corrupt, "a workspace lies in another's folder").detail(format!(
            "{} says it is {}",
            folder.path().display(),
            expected.path().display()
        )));
    }
    inner.add(Arc::new(inner.new_place(folder, state)?));
    Ok(())
}

/// Answers removals that were interrupted after the workspace was gone, then removes what is left.
fn empty_trash(inner: &Inner) -> Result<(), Fault> {
    let trash = inner.options.root.join("trash");
    if !trash.exists() {
        return Ok(());
    }
    for path in names_in(&trash)? {
        let folder = Folder::new(path);
        if let Some(state) = disk::read_json::<State>(&folder.state())? {
            answer_removal(inner, &state.tenant, &state.workspace, &state)?;
        }
        let removed = disk::remove_tree(folder.path());
        removed.map_err(|error| disk::fault("trash cannot be removed", folder.path(), &error))?;
    }
    Ok(())
}

fn answer_removal(inner: &Inner, tenant: &Tenant, workspace: &Workspace, state: &State) -> Result<(), Fault> {
    let ledger = inner.ledger(tenant)?;
    for (key, intent) in &state.intents {
        let answer = match intent.action {
            Action::DeleteWorkspace(_) => Answer::Done(Outcome {
                summary: format!("removed workspace {workspace} with everything in it"),
                result: serde_json::Value::Null,
                version: None,
            }),
            _ => Answer::Failed(Fault::conflict("the workspace was removed before this was done")),
        };
        let (digest, at_ms) = (intent.digest.clone(), inner.clock.now_ms());
        let entry = Entry { key: key.clone(), digest, at_ms, answer, left: None };
        lock(&ledger).append(&entry)?;
    }
    Ok(())
}

/// Completes what was begun, each under its key, and makes sure that there is a shim.
fn resume(inner: &Arc<Inner>, place: &Arc<Place>) -> Result<(), Fault> {
    let ledger = inner.ledger(&place.tenant)?;
    let mut open = Vec::new();
    for (key, intent) in &place.state().intents {
        if lock(&ledger).get(key)?.is_some() {
            place.answered(key);
        } else {
            open.push((key.clone(), intent.clone()));
        }
    }
    // The keys are taken before anybody can ask, so that a lookup waits for its answer.
    let open: Vec<_> =
        open.into_iter().map(|(key, intent)| (inner.keys.first_turn(&place.tenant, &key), key, intent)).collect();
    let (inner_weak, place) = (Arc::downgrade(inner), place.clone());
    let task = tokio::spawn(async move {
        if open.is_empty() {
            if let Err(fault) = place.link.ask(Ask::Reload).await {
                tracing::warn!(workspace = %place.workspace, %fault, "the workspace's shim cannot be had");
            }
            return;
        }
        for (turn, key, intent) in open {
            let Some(inner) = inner_weak.upgrade() else { return };
            let finished = match intent.action {
                // A call is never made twice.
                Action::InvokeFunction(_) => inner.answer(&place, &key, &intent, Answer::Done(interrupted())).await,
                _ => inner.finish(&place, &key, &intent).await.map(drop),
            };
            if let Err(fault) = finished {
                tracing::error!(%key, %fault, "an interrupted step cannot be answered");
            }
            drop(turn);
        }
    });
    inner.keep(task.abort_handle());
    Ok(())
}
