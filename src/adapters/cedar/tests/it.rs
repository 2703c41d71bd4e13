//! The built-in policy set, tested from outside. Nothing here may pass because a set failed to load.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "it/differential.rs"]
mod differential;
#[path = "it/loading.rs"]
mod loading;
#[path = "it/matrix.rs"]
mod matrix;
#[path = "it/mutation.rs"]
mod mutation;

use std::path::PathBuf;

/// Compares a derived file with what is in the repository, or writes it again if asked to.
fn same_as_file(name: &str, derived: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../policies").join(name);
    if std::env::var_os("OPSWARD_REGENERATE").is_some() {
        std::fs::write(&path, derived).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some((nth, (old, new))) = written.lines().zip(derived.lines()).enumerate().find(|(_, (a, b))| a != b) {
        panic!("policies/{name}:{}: written {old:?}, derived {new:?}; regenerate with OPSWARD_REGENERATE=1", nth + 1);
    }
    assert!(written == derived, "policies/{name} has another length; regenerate with OPSWARD_REGENERATE=1");
}
