//! Taking a snapshot.
//! It must never leave a recorded snapshot behind that misses a file it could not read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use rustic_core::jiff::{Timestamp, tz::TimeZone};
use rustic_core::repofile::{SnapshotFile, SnapshotSummary};
use rustic_core::{BackupOptions, Progress, ProgressBars, ProgressType, RusticProgress, SnapshotOptions, StringList};

use crate::record::{SnapshotRecord, Source, Taken, check_sources, check_tags};
use crate::rooted::open_root;
use crate::source::{Findings, Root, Sources};
use crate::store::Veto;
use crate::watch::{Meter, Watch};
use crate::{Error, Result, Vault};

/// Shown as the host and the command in the archive: the real ones are nobody's business.
const TAKEN_BY: &str = "opsward";

impl Vault {
    /// Takes a snapshot of the folders, each under its label. `taken_at_ms` is the caller's clock (since 1970).
    ///
    /// Files that changed or vanished while they were read are listed in the answer. Only files that changed
    /// since the last snapshot of the same labels are read again.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when a file cannot be read and [`Error::Cancelled`]; nothing is recorded then.
    /// [`Error::Invalid`] for bad labels, tags or time; [`Error::Busy`]; [`Error::Storage`].
    pub fn snapshot(&self, sources: &[Source], tags: &[String], taken_at_ms: u64, watch: &Watch) -> Result<Taken> {
        check_sources(sources)?;
        check_tags(tags)?;
        let _lock = self.hold_shared()?;
        let veto = Veto::default();
        let findings = Arc::new(Findings::new(Meter::new(watch, None), Arc::clone(&veto)));
        let sources = Sources { roots: open_roots(sources)?, findings: Arc::clone(&findings) };
        let labels: Vec<PathBuf> = sources.roots.iter().map(|root| PathBuf::from(&root.label)).collect();
        let template = template(tags, taken_at_ms)?;
        let repo = self.repository(veto, BytesTo(Arc::clone(&findings)))?.to_indexed_ids()?;
        let mut options = BackupOptions::default();
        options.no_scan = true;
        let archived = catch_unwind(AssertUnwindSafe(|| repo.archive(&options, &sources, template, &labels)));
        let mut notes = std::mem::take(&mut *findings.notes());
        if let Some((path, detail)) = notes.unreadable.take() {
            return Err(Error::Unreadable { path, detail });
        }
        findings.meter.go_on()?;
        let snapshot = archived.map_err(|_| Error::storage("the archive engine stopped unexpectedly"))??;
        Ok(Taken {
            snapshot: record(&snapshot),
            changed: notes.changed,
            changed_total: notes.changed_total,
            left_out: notes.left_out,
            left_out_total: notes.left_out_total,
        })
    }
}

fn open_roots(sources: &[Source]) -> Result<Vec<Root>> {
    sources
        .iter()
        .map(|source| match open_root(&source.path) {
            Ok(folder) => Ok(Root { label: source.label.clone(), folder: Arc::new(folder) }),
            Err(errno) => Err(Error::Unreadable { path: source.label.clone(), detail: errno.to_string() }),
        })
        .collect()
}

fn template(tags: &[String], taken_at_ms: u64) -> Result<SnapshotFile> {
    let out_of_range = || Error::invalid("taken_at_ms", "is out of range");
    let ms = i64::try_from(taken_at_ms).map_err(|_| out_of_range())?;
    let time = Timestamp::from_millisecond(ms).map_err(|_| out_of_range())?;
    let mut options = SnapshotOptions::default();
    options.time = Some(time.to_zoned(TimeZone::UTC));
    options.host = Some(TAKEN_BY.to_owned());
    options.command = Some(TAKEN_BY.to_owned());
    let mut snapshot = options.to_snapshot()?;
    let mut list = StringList::default();
    tags.iter().for_each(|tag| list.add(tag.clone()));
    snapshot.tags = list;
    Ok(snapshot)
}

/// The plain record of an archived snapshot.
pub(crate) fn record(snapshot: &SnapshotFile) -> SnapshotRecord {
    let summary: Option<&SnapshotSummary> = snapshot.summary.as_ref();
    SnapshotRecord {
        id: snapshot.id.to_hex().as_str().to_owned(),
        taken_at_ms: u64::try_from(snapshot.time.timestamp().as_millisecond()).unwrap_or(0),
        bytes: summary.map_or(0, |s| s.total_bytes_processed),
        files: summary.map_or(0, |s| s.total_files_processed),
        added_bytes: summary.map_or(0, |s| s.data_added_packed),
        labels: snapshot.paths.iter().cloned().collect(),
        tags: snapshot.tags.iter().filter(|tag| !tag.is_empty()).cloned().collect(),
    }
}

/// Passes the engine's byte counts on; it counts unchanged files too, which nobody reads.
#[derive(Clone, Debug)]
struct BytesTo(Arc<Findings>);

impl ProgressBars for BytesTo {
    fn progress(&self, progress_type: ProgressType, _prefix: &str) -> Progress {
        match progress_type {
            ProgressType::Bytes => Progress::new(self.clone()),
            ProgressType::Spinner | ProgressType::Counter => Progress::hidden(),
        }
    }
}

impl RusticProgress for BytesTo {
    fn is_hidden(&self) -> bool {
        false
    }
    fn set_length(&self, _len: u64) {}
    fn set_title(&self, _title: &str) {}
    fn inc(&self, inc: u64) {
        self.0.meter.add_bytes(inc);
    }
    fn finish(&self) {}
}
