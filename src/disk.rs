//! The data folder's disk and the stores on it: one budget that every door to ingest asks. Looks only;
//! never removes anything to make room.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use opsward_domain::fault::Fault;
use opsward_ports::disk::{Disk, Room};

use crate::config::Data;

/// Tells bytes free and bytes in all of the disk below a path.
pub type Probe = fn(&Path) -> io::Result<(u64, u64)>;

type Size = Box<dyn Fn() -> u64 + Send + Sync>;

/// The disk of a data folder.
pub struct DataDisk {
    dir: PathBuf,
    budget_bytes: u64,
    full_percent: u64,
    stores: Vec<(&'static str, Size)>,
    probe: Probe,
}

impl DataDisk {
    /// The disk of the configured folder, without stores yet.
    pub fn new(data: &Data) -> Self {
        Self {
            dir: data.dir.clone(),
            budget_bytes: data.disk_bytes_max,
            full_percent: u64::from(data.full_percent),
            stores: Vec::new(),
            probe: free_and_total,
        }
    }

    /// The same with its stores measured from outside, file by file; `dir` is what exists of the folder.
    pub fn at_rest(data: &Data, dir: &Path) -> Self {
        let stores = [("journal", "journal.sqlite"), ("logs", "logs"), ("metrics", "metrics")];
        let disk = stores.into_iter().fold(Self::new(data), |disk, (name, path)| {
            let folder = data.dir.clone();
            disk.store(name, move || tree_bytes(&folder, path))
        });
        Self { dir: dir.to_owned(), ..disk }
    }

    /// Adds a store that takes `size` bytes.
    #[must_use]
    pub fn store(mut self, name: &'static str, size: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.stores.push((name, Box::new(size)));
        self
    }

    /// Asks `probe` instead of the system.
    #[must_use]
    pub fn probed_by(mut self, probe: Probe) -> Self {
        self.probe = probe;
        self
    }
}

impl Disk for DataDisk {
    fn room(&self) -> Result<Room, Fault> {
        let (disk_free_bytes, disk_total_bytes) = (self.probe)(&self.dir).map_err(|error| {
            Fault::unavailable("the disk of the data folder cannot be measured")
                .detail(format!("{}: {error}", self.dir.display()))
                .hint("check that the folder and its disk are there")
        })?;
        Ok(Room {
            stores: self.stores.iter().map(|(name, size)| (*name, size())).collect(),
            budget_bytes: self.budget_bytes,
            disk_free_bytes,
            disk_total_bytes,
            full_percent: self.full_percent,
        })
    }
}

fn free_and_total(path: &Path) -> io::Result<(u64, u64)> {
    let disk = rustix::fs::statvfs(path)?;
    Ok((disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize)))
}

/// Bytes of the files in `folder` whose names begin with `name`, and of everything in folders of that name.
fn tree_bytes(folder: &Path, name: &str) -> u64 {
    let mut bytes = 0;
    let mut open = vec![(folder.to_owned(), Some(name))];
    while let Some((dir, prefix)) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let wanted =
                prefix.is_none_or(|prefix| entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()));
            match entry.metadata() {
                Ok(meta) if wanted && meta.is_dir() => open.push((entry.path(), None)),
                Ok(meta) if wanted => bytes += meta.len(),
                _ => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_decides_and_a_broken_one_refuses() {
        let data = Data { disk_bytes_max: 1_000, ..Data::default() };
        let disk = |probe: Probe| DataDisk::new(&data).store("logs", || 900).probed_by(probe);
        assert_eq!(disk(|_| Ok((50, 1_000))).room().unwrap().refusal(), None);
        assert!(disk(|_| Ok((49, 1_000))).room().unwrap().refusal().is_some());
        let gone = disk(|_| Err(io::ErrorKind::NotFound.into())).room().unwrap_err();
        assert!(gone.message.contains("cannot be measured") && !gone.hint.is_empty(), "{gone}");
        let full = disk(|_| Ok((1_000, 1_000))).store("journal", || 50).room().unwrap();
        assert!(full.refusal().unwrap().message.contains("budget"), "{full:?}");
    }

    #[test]
    fn stores_at_rest_are_measured_by_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let data = Data { dir: dir.path().to_owned(), ..Data::default() };
        fs::create_dir_all(dir.path().join("logs/tenants/acme")).unwrap();
        for (file, bytes) in
            [("journal.sqlite", 10), ("journal.sqlite-wal", 5), ("logs/tenants/acme/x", 7), ("other", 99)]
        {
            fs::write(dir.path().join(file), vec![0; bytes]).unwrap();
        }
        let room = DataDisk::at_rest(&data, dir.path()).room().unwrap();
        assert_eq!(room.stores, [("journal", 15), ("logs", 7), ("metrics", 0)]);
        assert!(room.disk_total_bytes > 0);
    }
}
