//! Walking the folders to be snapshotted.
//! It must never follow a link, leave a source folder, or hide a file it could not read.

mod node;
mod reader;
mod walk;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustic_core::{ReadSource, RusticResult};

pub(crate) use node::permissions;
pub(crate) use reader::OpenEntry;
use walk::Walk;

use crate::record::MAX_NOTES;
use crate::store::Veto;
use crate::watch::Meter;

/// An opened source folder.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) label: String,
    pub(crate) folder: Arc<OwnedFd>,
}

/// What the walk and the readers found out, shared by the engine's threads.
#[derive(Debug)]
pub(crate) struct Findings {
    notes: Mutex<Notes>,
    veto: Veto,
    pub(crate) meter: Meter,
}

/// What was unusual; lists are cut at `MAX_NOTES`.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) unreadable: Option<(String, String)>,
    pub(crate) changed: Vec<String>,
    pub(crate) changed_total: u64,
    pub(crate) left_out: Vec<String>,
    pub(crate) left_out_total: u64,
}

impl Findings {
    pub(crate) fn new(meter: Meter, veto: Veto) -> Self {
        Self { notes: Mutex::default(), veto, meter }
    }

    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The snapshot cannot be whole: refuse to record it.
    fn unreadable(&self, path: String, detail: String) {
        self.veto.store(true, std::sync::atomic::Ordering::SeqCst);
        self.notes().unreadable.get_or_insert((path, detail));
    }

    fn changed(&self, path: String) {
        let mut notes = self.notes();
        notes.changed_total += 1;
        if notes.changed.len() < MAX_NOTES {
            notes.changed.push(path);
        }
    }

    fn left_out(&self, path: String) {
        let mut notes = self.notes();
        notes.left_out_total += 1;
        if notes.left_out.len() < MAX_NOTES {
            notes.left_out.push(path);
        }
    }

    /// True once reading on is pointless; also makes sure that nothing is recorded.
    fn stopped(&self) -> bool {
        if self.meter.cancelled() {
            self.veto.store(true, std::sync::atomic::Ordering::SeqCst);
        }
        self.veto.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// All sources of one snapshot, in label order, as the engine wants them.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) roots: Vec<Root>,
    pub(crate) findings: Arc<Findings>,
}

impl ReadSource for Sources {
    type Open = OpenEntry;
    type Iter = Walk;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Walk {
        Walk::new(self.roots.clone(), Arc::clone(&self.findings))
    }
}

/// The path of an entry for people: label and path inside it.
fn shown(label: &str, inside: &std::path::Path) -> String {
    let mut path = PathBuf::from(label);
    path.push(inside);
    path.to_string_lossy().into_owned()
}
