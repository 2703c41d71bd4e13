//! The service's own daily backup. Looks often whether one is due, so that a restart neither skips nor doubles
//! one; a failed one is told of and tried again.

use std::path::PathBuf;
use std::sync::Arc;

use opsward_ports::clock::Clock;
use opsward_snapshots::{CancelToken, Watch};

use super::{Last, What, short, take};
use crate::config::Data;

/// Time between two looks.
const LOOK_EVERY_MS: u64 = 5 * 60 * 1000;
const HOUR_MS: i64 = 60 * 60 * 1000;

/// Backs up until the process ends, or `cancel` is pressed. Does nothing if backups are switched off.
pub async fn run(data: Data, clock: Arc<dyn Clock>, cancel: CancelToken) {
    while data.backup_hours > 0 && !cancel.is_cancelled() {
        look(&data, clock.now_ms(), &cancel).await;
        clock.sleep_ms(LOOK_EVERY_MS).await;
    }
}

/// Takes a backup if one is due.
async fn look(data: &Data, now_ms: i64, cancel: &CancelToken) {
    let last = Last::of(&data.dir);
    let noted = match due(last.as_ref(), now_ms, data.backup_hours) {
        Some(false) => return,
        // The first one comes a whole interval after the first start.
        None => Last { at_ms: now_ms, snapshot: None, bytes: 0, failed: None },
        Some(true) => {
            let what = What { telemetry: data.backup_telemetry, volumes: false };
            let (to, kept): (PathBuf, _) = (data.backup_dir(), data.backups_kept as usize);
            let watch = Watch { cancel: cancel.clone(), ..Watch::default() };
            match take(&data.dir, &to, what, kept, now_ms, watch).await {
                Ok(taken) => return tracing::info!(id = short(&taken.id), bytes = taken.bytes, "state backed up"),
                Err(_) if cancel.is_cancelled() => return,
                Err(fault) => {
                    tracing::error!(fault = %fault, hint = fault.hint, "the state could not be backed up");
                    let before = last.unwrap_or(Last { at_ms: now_ms, snapshot: None, bytes: 0, failed: None });
                    Last { failed: Some(fault.to_string()), ..before }
                }
            }
        }
    };
    if let Err(fault) = noted.keep(&data.dir) {
        tracing::warn!(fault = %fault, "the state's backup could not be noted");
    }
}

/// Is a backup due? `None` if nothing is known yet.
fn due(last: Option<&Last>, now_ms: i64, hours: u32) -> Option<bool> {
    last.map(|last| now_ms.saturating_sub(last.at_ms) >= i64::from(hours) * HOUR_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn world() -> (tempfile::TempDir, Data) {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join(super::super::JOURNAL);
        let journal = opsward_sqlite::SqliteJournal::open(&journal, Default::default()).await.unwrap();
        journal.close().await.unwrap();
        let data = Data { dir: dir.path().to_owned(), backup_hours: 24, backups_kept: 2, ..Data::default() };
        (dir, data)
    }

    #[tokio::test]
    async fn one_is_taken_each_interval_and_the_oldest_go() {
        let (_dir, data) = world().await;
        let cancel = CancelToken::default();
        let mut kept = Vec::new();
        for hour in [0, 1, 23, 24, 25, 47, 48, 72, 95] {
            look(&data, 1_800_000_000_000 + hour * HOUR_MS, &cancel).await;
            let last = Last::of(&data.dir).unwrap();
            kept.extend(last.snapshot.filter(|id| kept.last() != Some(id)));
        }
        assert_eq!(kept.len(), 3, "at 24, 48 and 72 hours");
        let left = super::super::list(&data.backup_dir(), &super::super::Opener::of(&data.dir)).unwrap();
        assert_eq!(left.iter().map(|record| record.id.clone()).collect::<Vec<_>>(), kept[1..]);
    }

    #[tokio::test]
    async fn a_failure_is_told_and_tried_again() {
        let (dir, data) = world().await;
        let cancel = CancelToken::default();
        look(&data, 0, &cancel).await;
        // A file where the vault should be.
        std::fs::write(data.backup_dir(), "mine").unwrap();
        look(&data, 24 * HOUR_MS, &cancel).await;
        let failed = Last::of(dir.path()).unwrap();
        assert!(failed.snapshot.is_none() && failed.failed.is_some(), "{failed:?}");
        std::fs::remove_file(data.backup_dir()).unwrap();
        look(&data, 24 * HOUR_MS + 1, &cancel).await;
        let taken = Last::of(dir.path()).unwrap();
        assert!(taken.snapshot.is_some() && taken.failed.is_none(), "{taken:?}");
    }
}
