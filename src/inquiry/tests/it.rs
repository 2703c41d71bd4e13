//! Inquiries over whole bundles: the answer, its published form, and that it does not depend on names, dates or the
//! order of anything.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "it/clusters.rs"]
mod clusters;
#[path = "it/form.rs"]
mod form;
#[path = "it/made.rs"]
mod made;
#[path = "it/same.rs"]
mod same;
#[path = "it/scores.rs"]
mod scores;

use opsward_inquiry::{Inquiry, Options};

/// The inquiry over files in memory.
fn ask(files: Vec<(String, Vec<u8>)>) -> Inquiry {
    opsward_inquiry::of_bundle(
        opsward_bundle::read_bytes(files, &opsward_bundle::Options::default()),
        &Options::default(),
    )
}

/// As [`ask`], for files of text.
fn ask_text(files: &[(&str, &str)]) -> Inquiry {
    ask(files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect())
}
