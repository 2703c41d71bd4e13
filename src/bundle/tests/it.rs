//! Whole bundles, from files to a case: every shape that is read, and every bad day.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "it/bad.rs"]
mod bad;
#[path = "it/packed.rs"]
mod packed;
#[path = "it/shapes.rs"]
mod shapes;

use opsward_bundle::{Bundle, Options};
use opsward_causes::case::{Case, ComponentId};

/// A bundle of files in memory.
fn bundle(files: &[(&str, &str)]) -> Bundle {
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    opsward_bundle::read_bytes(files, &Options::default())
}

/// The name of a component.
fn name(case: &Case, id: ComponentId) -> &str {
    &case.components[id.0 as usize].name
}

/// Names of all components, sorted.
fn names(case: &Case) -> Vec<&str> {
    let mut names: Vec<&str> = case.components.iter().map(|component| component.name.as_str()).collect();
    names.sort_unstable();
    names
}
