//! A copy of a store's files, whether or not a process writes to them meanwhile. Never touches the original.
//!
//! What a tenant's manifest names stands still as long as the manifest does. So a tenant is copied again if
//! its manifest changed meanwhile. What is not in partitions yet is in the spool, whose torn end was never
//! acknowledged; the catalog comes last, because it knows a number before any line has it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use opsward_domain::fault::{Code, Fault};

use crate::tenant::{MANIFEST, named};
use crate::wire::failed;

/// Times that a tenant is copied anew before it is given up.
const TRIES_MAX: usize = 20;
/// Wait before it is copied anew.
const PAUSE: Duration = Duration::from_millis(50);

/// Copies the store in `dir` to `into`, which is made. Partitions are linked where the disk allows it. Blocks.
pub fn copy(dir: &Path, into: &Path) -> Result<(), Fault> {
    let tenants = into.join("tenants");
    fs::create_dir_all(&tenants).map_err(|error| failed("make", &tenants, &error))?;
    take(&dir.join("format"), &into.join("format")).map_err(|error| failed("copy", dir, &error))?;
    let from = dir.join("tenants");
    for entry in fs::read_dir(&from).map_err(|error| failed("read", &from, &error))? {
        let entry = entry.map_err(|error| failed("read", &from, &error))?;
        copy_tenant(&entry.path(), &tenants.join(entry.file_name()))?;
    }
    Ok(())
}

fn copy_tenant(dir: &Path, into: &Path) -> Result<(), Fault> {
    let manifest = || match fs::read(dir.join(MANIFEST)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    };
    let fail = |error: io::Error| failed("copy", dir, &error);
    for _ in 0..TRIES_MAX {
        let before = manifest().map_err(fail)?;
        let partitions = before.as_deref().map_or(Ok(Vec::new()), |bytes| named(dir, bytes))?;
        match copy_files(dir, into, &partitions, before.as_deref()) {
            Ok(()) if manifest().map_err(fail)? == before => return Ok(()),
            // What vanished was replaced, and the manifest says by what.
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(fail(error)),
            _ => fs::remove_dir_all(into).map_err(fail)?,
        }
        std::thread::sleep(PAUSE);
    }
    Err(Fault::new(Code::Timeout, "the log store changes too fast to be copied").hint("try again in a quieter moment"))
}

fn copy_files(dir: &Path, into: &Path, partitions: &[PathBuf], manifest: Option<&[u8]>) -> io::Result<()> {
    fs::create_dir_all(into)?;
    for partition in partitions {
        link_folder(partition, &into.join(partition.file_name().unwrap_or_default()))?;
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "spool") {
            take(&path, &into.join(path.file_name().unwrap_or_default()))?;
        }
    }
    take(&dir.join("catalog"), &into.join("catalog"))?;
    manifest.map_or(Ok(()), |bytes| fs::write(into.join(MANIFEST), bytes))
}

/// A named partition never changes, so its files may be shared.
fn link_folder(dir: &Path, into: &Path) -> io::Result<()> {
    fs::create_dir_all(into)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let to = into.join(entry.file_name());
        if fs::hard_link(entry.path(), &to).is_err() {
            take(&entry.path(), &to)?;
        }
    }
    Ok(())
}

fn take(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to).map(drop)
}
