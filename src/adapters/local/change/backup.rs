//! What backup actions make of the wanted state. Never reads or writes a volume.

use opsward_domain::action::{Action, CreateBackup, RestoreBackup};
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::Volume;
use opsward_domain::time::AtMs;

use crate::options::{KINDS_MAX, VOLUMES_MAX};
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

/// The new volume's name is taken at once, the content follows. `kept` is the backup, maybe of another workspace.
pub(super) fn restore(state: &mut State, restore: &RestoreBackup, kept: &KeptBackup) -> Result<(), Fault> {
    if state.volumes.len() >= VOLUMES_MAX {
        return Err(Fault::new(Code::TooMany, format!("a workspace has at most {VOLUMES_MAX} volumes")));
    }
    if kept.snapshot.is_none() {
        return Err(Fault::conflict(format!("backup {} is still being taken", restore.backup)));
    }
    let held = kept.volumes.get(&restore.volume);
    let size_bytes = *held.ok_or_else(|| {
        Fault::not_found(format!("backup {} does not hold volume {}", restore.backup, restore.volume))
    })?;
    let version = state.generation;
    state.volumes.insert(restore.into.clone(), WantedVolume { version, size_bytes });
    Ok(())
}

/// True while a restore into `volume` is not answered.
pub(super) fn is_restoring(state: &State, volume: &Volume) -> bool {
    state.intents.values().any(|intent| matches!(&intent.action, Action::RestoreBackup(it) if it.into == *volume))
}
