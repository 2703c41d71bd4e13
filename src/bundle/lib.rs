//! A support bundle in, a case out: logs, metrics, traces, changes, events and objects from files of whatever tool,
//! recognised by what their fields mean. It changes nothing, asks no clock and no network, and never looks at whose
//! data it reads; what it cannot read it tells.
//!
//! The road of a file: [`open`] finds it, [`unpack`] unpacks it, `shape` says by its form whether it is text, a table
//! or a document; `lines`, `table` and `json` find the records in it; [`kind`] says what a record is by the meaning
//! ([`role`]) of its fields; [`take`] keeps it in [`gather`].

mod clean;
mod csv;
mod gather;
mod json;
mod kind;
mod kubernetes;
mod lines;
mod names;
mod open;
mod record;
mod role;
mod settings;
mod shape;
mod skew;
mod table;
mod take;
mod time;
mod unpack;

use std::path::Path;

use opsward_analyzers::objects::{Collection, Gap};
use opsward_causes::case::{Alert, Case};
use serde::Serialize;

pub use gather::{Bounds, Looked, Problem};
pub use open::{Limits, OpenError};
pub use time::shown as shown_time;

/// The file that names and maps what does not explain itself.
pub const SETTINGS: &str = "bundle.toml";

/// Bounds of reading a bundle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Of its files.
    pub limits: Limits,
    /// Of what they hold.
    pub bounds: Bounds,
}

/// The state of a monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Monitor {
    /// Its name.
    pub name: String,
    /// Its word for it.
    pub state: String,
    /// Whether it alarms.
    pub alarms: bool,
    /// The file that says it.
    pub file: String,
}

/// What a bundle holds.
#[derive(Debug, Default)]
pub struct Bundle {
    /// Signals and changes.
    pub case: Case,
    /// Kubernetes objects.
    pub objects: Collection,
    /// Alerts that no longer fire.
    pub quiet_alerts: Vec<Alert>,
    /// States of monitors.
    pub monitors: Vec<Monitor>,
    /// Every file, in the order that log lines number them.
    pub files: Vec<String>,
    /// What each file held.
    pub looked_at: Vec<Looked>,
    /// What was not looked at, and why.
    pub not_looked_at: Vec<Gap>,
    /// What is not as it should be: file, line, what was expected.
    pub problems: Vec<Problem>,
}

/// Reads a folder, an archive, or a single file.
pub fn read(path: &Path, options: &Options) -> Result<Bundle, OpenError> {
    read_but(path, options, &|_| false)
}

/// As [`read`], without the files that `skip` names by their path in the bundle.
pub fn read_but(path: &Path, options: &Options, skip: &dyn Fn(&str) -> bool) -> Result<Bundle, OpenError> {
    let mut gaps = Vec::new();
    let entries = open::entries(path, &options.limits, &mut gaps)?;
    let entries = entries.into_iter().filter(|entry| !skip(&entry.name)).collect();
    Ok(shape::gather(entries, gaps, options))
}

/// Milliseconds of a time as people and programs write it; one without a zone is in UTC.
pub fn parse_time(text: &str) -> Option<i64> {
    time::parse(text, time::Assume::default()).map(|stamp| stamp.at_ms)
}

/// The bytes of one file of a bundle, unpacked; none if there is no such file or it cannot be read.
pub fn file(path: &Path, name: &str, options: &Options) -> Option<Vec<u8>> {
    let entries = open::entries(path, &options.limits, &mut Vec::new()).ok()?;
    let packed =
        |entry: &open::Entry| entry.name.strip_prefix(name).is_some_and(|end| matches!(end, "" | ".gz" | ".zst"));
    let entry = entries.into_iter().find(packed)?;
    open::bytes(entry, &options.limits, options.limits.total_bytes_max).ok().map(|(_, bytes)| bytes)
}

/// Reads files from memory: name in the bundle, and bytes.
pub fn read_bytes(files: Vec<(String, Vec<u8>)>, options: &Options) -> Bundle {
    let mut entries: Vec<open::Entry> =
        files.into_iter().map(|(name, bytes)| open::Entry { name, held: open::Held::Bytes(bytes) }).collect();
    entries.sort_by(|a, b| (a.name != SETTINGS, &a.name).cmp(&(b.name != SETTINGS, &b.name)));
    shape::gather(entries, Vec::new(), options)
}
