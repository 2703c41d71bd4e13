//! A copy of a store's files, whether or not a process writes to them meanwhile. Never touches the original.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use opsward_domain::fault::Fault;

use crate::db::numbers;
use crate::segment::{self, failed};

/// Copies the store in `dir` to `into`, which is made. What is being written is copied up to where it is:
/// opening cuts a torn end off. Segments that give way meanwhile are left out. Blocks.
pub fn copy(dir: &Path, into: &Path) -> Result<(), Fault> {
    fs::create_dir_all(into).map_err(|error| failed("make", into, &error))?;
    for number in numbers(dir)? {
        let path = segment::path(dir, number);
        match fs::copy(&path, segment::path(into, number)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("copy", &path, &error)),
            _ => {}
        }
    }
    Ok(())
}
