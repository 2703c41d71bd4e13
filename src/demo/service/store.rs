//! The ledger's data folder: records in segments, made durable one by one, old segments dropped
//! beyond the configured retention. Must never acknowledge a record that is not on disk.

use super::lock;
use super::settings::Settings;
use crate::clock;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

#[derive(Debug, Default)]
struct Open {
    file: Option<File>,
    written: u64,
    serial: u32,
}

/// An append-only store of segments.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    segment_bytes: u64,
    retention_bytes: Option<u64>,
    open: Mutex<Open>,
}

impl Store {
    /// `DATA_DIR`, `SEGMENT_KB`, and `RETENTION_KB`, a number or `off`.
    pub(super) fn open(settings: &Settings) -> Result<Self, String> {
        let folder = settings.text("DATA_DIR").ok_or("missing required variable DATA_DIR")?;
        let retention = match settings.text("RETENTION_KB") {
            Some("off") => None,
            _ => Some(settings.number("RETENTION_KB", 2048)? * 1024),
        };
        let found = fs::metadata(folder).map_err(|cause| format!("data folder {folder}: {cause}"))?;
        if !found.is_dir() {
            return Err(format!("data folder {folder}: not a directory"));
        }
        Ok(Self {
            folder: PathBuf::from(folder),
            segment_bytes: settings.number("SEGMENT_KB", 256)?.max(1) * 1024,
            retention_bytes: retention,
            open: Mutex::default(),
        })
    }

    /// Segments by age (their names sort), with sizes.
    fn segments(&self) -> Vec<(PathBuf, u64)> {
        let Ok(found) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let mut segments: Vec<_> = found
            .flatten()
            .map(|entry| (entry.path(), entry.metadata().map_or(0, |meta| meta.len())))
            .filter(|(path, _)| path.extension().is_some_and(|ext| ext == "seg"))
            .collect();
        segments.sort();
        segments
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let Ok(found) = fs::read_dir(&self.folder) else {
            return 0;
        };
        found.flatten().map(|entry| entry.metadata().map_or(0, |meta| meta.len())).sum()
    }

    /// Drops the oldest segments beyond the retention; gives how many. Needs no free space.
    pub(super) fn compact(&self) -> usize {
        let Some(keep) = self.retention_bytes else {
            return 0;
        };
        let segments = self.segments();
        let mut total: u64 = segments.iter().map(|(_, size)| size).sum();
        let mut dropped = 0;
        // The newest segment may be the open one.
        for (path, size) in segments.iter().take(segments.len().saturating_sub(1)) {
            if total <= keep {
                break;
            }
            if fs::remove_file(path).is_ok() {
                total -= size;
                dropped += 1;
            }
        }
        dropped
    }

    /// Appends one record and waits until it is durable.
    pub(super) fn append(&self, record: &[u8]) -> Result<(), String> {
        let mut open = lock(&self.open);
        if open.written >= self.segment_bytes {
            open.file = None;
        }
        if open.file.is_none() {
            open.serial += 1;
            open.written = 0;
            let name = format!("orders-{}-{:04}.seg", clock::now_ms(), open.serial);
            let path = self.folder.join(name);
            let created = OpenOptions::new().create_new(true).append(true).open(&path);
            open.file = Some(created.map_err(|cause| format!("create {}: {cause}", path.display()))?);
        }
        let Some(file) = open.file.as_mut() else {
            return Err("no open segment".to_owned());
        };
        let written = file.write_all(record).and_then(|()| file.sync_data());
        written.map_err(|cause| format!("append to segment in {}: {cause}", self.folder.display()))?;
        open.written += record.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_segments_go_and_new_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let with = |retention| {
            let pairs = [("DATA_DIR", path), ("SEGMENT_KB", "1"), ("RETENTION_KB", retention)];
            Store::open(&Settings::of(&pairs)).unwrap()
        };
        let store = with("off");
        for _ in 0..10 {
            store.append(&[b'x'; 1024]).unwrap();
        }
        assert_eq!(store.used_bytes(), 10 * 1024);
        assert_eq!(store.compact(), 0);
        assert_eq!(with("3").compact(), 7);
        assert_eq!(store.used_bytes(), 3 * 1024);
        assert!(Store::open(&Settings::of(&[("DATA_DIR", "/nowhere")])).is_err());
        assert!(Store::open(&Settings::default()).is_err());
    }
}
