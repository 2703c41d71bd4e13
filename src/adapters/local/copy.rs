//! A copy of the wanted state of every workspace, whether or not a provider has it open: what should be, its
//! specs, sources and keys, and what became of each step. Never a running replica's folder, output, or a
//! volume's content; never touches the original.
//!
//! A workspace's state names files that stand still as long as it does, so it is copied again if it changed
//! meanwhile. The ledger comes last: an answer may be there before its intent is gone, never after.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use opsward_domain::fault::{Code, Fault};
use opsward_snapshots::Still;

use crate::disk;
use crate::folder::Folder;
use crate::open::names_in;
use crate::state::State;

/// Times that a workspace is copied anew before it is given up.
const TRIES_MAX: usize = 20;
/// Wait before it is copied anew.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for a vault that is being changed.
const VAULT_WAIT_MS: u64 = 60_000;
/// Deepest folder of files and sources.
const DEPTH_MAX: usize = 16;

/// What is too large to be copied and is read where it is.
#[derive(Debug)]
pub struct Bulk {
    /// A name for it, unique and plain.
    pub label: String,
    /// Where it is.
    pub path: PathBuf,
    /// Where it belongs, below the provider's root.
    pub place: PathBuf,
    _still: Option<Still>,
}

/// Copies what is in the provider's `root` to `into`, which is made. Blocks.
pub fn copy(root: &Path, into: &Path) -> Result<(), Fault> {
    let failed = |error: io::Error| disk::fault("the platform's state cannot be copied", root, &error);
    fs::create_dir_all(into.join("tenants")).map_err(failed)?;
    if root.join("keys").exists() {
        take_tree(&root.join("keys"), &into.join("keys"), DEPTH_MAX).map_err(failed)?;
    }
    for tenant in tenants(root)? {
        let to = into.join("tenants").join(tenant.file_name().unwrap_or_default());
        for workspace in names_in(&tenant)? {
            let name = workspace.file_name().unwrap_or_default().to_owned();
            copy_workspace(&Folder::new(workspace), &Folder::new(to.join(name)))?;
        }
        let ledger = "ledger.jsonl";
        if tenant.join(ledger).exists() {
            fs::create_dir_all(&to).and_then(|()| take(&tenant.join(ledger), &to.join(ledger))).map_err(failed)?;
        }
    }
    Ok(())
}

/// Volumes and backups of every workspace. Backups stand still while this lives; volumes do not.
pub fn bulk(root: &Path) -> Result<Vec<Bulk>, Fault> {
    let mut found = Vec::new();
    let add = |found: &mut Vec<Bulk>, kind: &str, path: PathBuf, still| {
        let place = path.strip_prefix(root).unwrap_or(&path).to_owned();
        found.push(Bulk { label: format!("{kind}-{}", found.len()), path, place, _still: still });
    };
    for tenant in tenants(root)? {
        for workspace in names_in(&tenant)? {
            let volumes = workspace.join("volumes");
            if volumes.is_dir() {
                add(&mut found, "volumes", volumes, None);
            }
        }
    }
    let vaults = root.join("vaults");
    for tenant in if vaults.exists() { names_in(&vaults)? } else { Vec::new() } {
        for vault in names_in(&tenant)? {
            let still = Still::hold(&vault, VAULT_WAIT_MS)
                .map_err(|error| Fault::unavailable(error.to_string()).hint(error.hint()))?;
            add(&mut found, "backups", vault, Some(still));
        }
    }
    Ok(found)
}

/// Makes the folders of volumes that a copy lacks; returns which, as `tenant/workspace/volume`.
pub fn fill_in(root: &Path) -> Result<Vec<String>, Fault> {
    let mut made = Vec::new();
    for tenant in tenants(root)? {
        for folder in names_in(&tenant)?.into_iter().map(Folder::new) {
            let Some(state) = disk::read_json::<State>(&folder.state())? else { continue };
            for volume in state.volumes.keys().filter(|volume| !folder.volume(volume).exists()) {
                let path = folder.volume(volume);
                fs::create_dir_all(&path).map_err(|error| disk::fault("a volume cannot be made", &path, &error))?;
                made.push(format!("{}/{}/{volume}", state.tenant, state.workspace));
            }
        }
    }
    Ok(made)
}

fn tenants(root: &Path) -> Result<Vec<PathBuf>, Fault> {
    let tenants = root.join("tenants");
    if tenants.exists() { names_in(&tenants) } else { Ok(Vec::new()) }
}

fn copy_workspace(from: &Folder, to: &Folder) -> Result<(), Fault> {
    let failed = |error: io::Error| disk::fault("a workspace cannot be copied", from.path(), &error);
    for _ in 0..TRIES_MAX {
        let before = match fs::read(from.state()) {
            // Not a workspace yet, or no longer one.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        match copy_files(from, to, &before) {
            Ok(()) if fs::read(from.state()).is_ok_and(|after| after == before) => return Ok(()),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => disk::remove_tree(to.path()).map_err(failed)?,
        }
        std::thread::sleep(PAUSE);
    }
    Err(Fault::new(Code::Timeout, "a workspace changes too fast to be copied")
        .detail(from.path().display().to_string())
        .hint("try again in a quieter moment"))
}

fn copy_files(from: &Folder, to: &Folder, state: &[u8]) -> io::Result<()> {
    fs::create_dir_all(to.path())?;
    for name in ["revisions", "files", "functions", "tallies.json"] {
        let (path, into) = (from.path().join(name), to.path().join(name));
        if path.is_dir() {
            take_tree(&path, &into, DEPTH_MAX)?;
        } else if path.exists() {
            take(&path, &into)?;
        }
    }
    fs::write(to.state(), state)
}

fn take_tree(from: &Path, to: &Path, depth: usize) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("folders are nested too deep"));
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let into = to.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() => take_tree(&entry.path(), &into, depth - 1)?,
            kind if kind.is_file() => take(&entry.path(), &into)?,
            _ => {}
        }
    }
    fs::set_permissions(to, fs::metadata(from)?.permissions())
}

/// The file with its permissions.
fn take(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to).map(drop)
}
