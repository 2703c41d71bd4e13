//! What backup actions make of the wanted state. Never reads or writes a volume.

use opsward_domain::action::{Action, CreateBackup, RestoreBackup};
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::Volume;
use opsward_domain::time::AtMs;

use crate::options::KINDS_MAX;
use crate::state::{KeptBackup, State, WantedVolume};

/// The name is taken at once, the content follows.
pub(super) fn create(state: &mut State, create: &CreateBackup, now_ms: AtMs) -> Result<(), Fault> {
    if state.backups.len() >= KINDS_MAX {
        return Err(Fault::new(Code::TooMany, format!("a workspace has at most {KINDS_MAX} backups")));
    }
    let sized = |volume: &Volume| {
        let wanted = state.volumes.get(volume).filter(|_| !is_restoring(state, volume));
        wanted
            .map(|wanted| (volume.clone(), wanted.size_bytes))
            .ok_or_else(|| Fault::not_found(format!("there is no volume {volume}")).hint("create the volume first"))
    };
    let volumes = create.volumes.iter().map(sized).collect::<Result<_, _>>()?;
    let kept = KeptBackup {
        version: state.generation,
        snapshot: None,
        taken_at_ms: now_ms,
        volumes,
        bytes: 0,
        verified_at_ms: None,
    };
    state.backups.insert(create.backup.clone(), kept);
    Ok(())
}

/// The new volume's name is taken at once, the content follows.
pub(super) fn restore(state: &mut State, restore: &RestoreBackup) -> Result<(), Fault> {
    if state.volumes.contains_key(&restore.into) {
        return Err(Fault::conflict(format!("volume {} exists already", restore.into)).hint("restore into a new name"));
    }
    let kept = state.backups.get(&restore.backup);
    let kept = kept.ok_or_else(|| Fault::not_found(format!("there is no backup {}", restore.backup)))?;
    if kept.snapshot.is_none() {
        return Err(Fault::conflict(format!("backup {} is still being taken", restore.backup)));
    }
    let size_bytes = kept.volumes.get(&restore.volume).copied().unwrap_or(0);
    let version = state.generation;
    state.volumes.insert(restore.into.clone(), WantedVolume { version, size_bytes });
    Ok(())
}

/// True while a restore into `volume` is not answered.
pub(super) fn is_restoring(state: &State, volume: &Volume) -> bool {
    state.intents.values().any(|intent| matches!(&intent.action, Action::RestoreBackup(it) if it.into == *volume))
}
