//! Small ways to a report.

use std::path::Path;

use opsward_analyzers::load::{self, Limits};
use opsward_analyzers::{Options, Report, analyze};

/// Writes the text as one file of a folder of its own and looks at it.
pub(crate) fn report_of(text: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("objects.yaml"), text).unwrap();
    report_in(folder.path())
}

pub(crate) fn report_in(folder: &Path) -> Report {
    let collection = load::folder(folder, &Limits::default()).unwrap();
    analyze(&collection.index(None), &Options::default())
}
