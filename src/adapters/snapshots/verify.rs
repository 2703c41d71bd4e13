//! Verifying a snapshot by reading all of it.
//! It must never call a snapshot whole while a chunk of it has not been read, decrypted and hashed in this call.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rustic_core::repofile::Node;
use rustic_core::{DataId, TreeId};

use crate::reading::{Bad, Reading};
use crate::record::{MAX_NOTES, VerifyReport};
use crate::rooted::MAX_DEPTH;
use crate::watch::{Meter, Watch};
use crate::{Error, Result, Vault};

impl Vault {
    /// Reads every chunk of the snapshot, and says which files are damaged.
    ///
    /// # Errors
    /// [`Error::UnknownSnapshot`]; [`Error::Damaged`] when the snapshot's record or the vault's index itself
    /// cannot be read; [`Error::Busy`]; [`Error::Cancelled`]. Damage found inside is in the report, not an error.
    pub fn verify(&self, id: &str, watch: &Watch) -> Result<VerifyReport> {
        let _lock = self.hold_shared()?;
        let snapshot = self.find(id)?;
        let record = crate::take::record(&snapshot);
        let mut check = Check {
            reading: self.reading()?,
            meter: Meter::new(watch, Some(record.bytes)),
            seen: HashMap::new(),
            report: VerifyReport { id: record.id, files: 0, bytes: 0, chunks: 0, damage: Vec::new(), damage_total: 0 },
        };
        let mut pending = vec![(PathBuf::new(), snapshot.tree, 0)];
        while let Some((path, tree, depth)) = pending.pop() {
            check.meter.go_on()?;
            for (path, tree) in check.folder(&path, tree, depth)? {
                pending.push((path, tree, depth + 1));
            }
        }
        Ok(check.report)
    }
}

struct Check {
    reading: Reading,
    meter: Meter,
    /// Chunks read so far: their length, or what is wrong with them.
    seen: HashMap<DataId, std::result::Result<u64, Bad>>,
    report: VerifyReport,
}

impl Check {
    fn bad(&mut self, path: &Path, bad: Bad) {
        self.report.damage_total += 1;
        if self.report.damage.len() < MAX_NOTES {
            self.report.damage.push(bad.at(&path.to_string_lossy()));
        }
    }

    /// Checks the files of one folder; the folders in it come back.
    fn folder(&mut self, path: &Path, tree: TreeId, depth: usize) -> Result<Vec<(PathBuf, TreeId)>> {
        let nodes = match self.reading.tree(tree) {
            Ok(nodes) => nodes,
            Err(bad) => {
                self.bad(path, bad);
                return Ok(Vec::new());
            }
        };
        let mut folders = Vec::new();
        for node in &nodes {
            let path = path.join(&*node.name());
            match node.subtree {
                // The labels are one level above what a walk counts.
                Some(_) if depth > MAX_DEPTH => self.bad(&path, loose("folders are nested too deep")),
                Some(subtree) => folders.push((path, subtree)),
                None if node.is_dir() => self.bad(&path, loose("folder has no tree")),
                None => self.file(&path, node)?,
            }
        }
        Ok(folders)
    }

    fn file(&mut self, path: &Path, node: &Node) -> Result<()> {
        let mut bytes = 0;
        for id in node.content.iter().flatten() {
            self.meter.go_on()?;
            if !self.seen.contains_key(id) {
                let read = self.reading.chunk(id).map(|data| u64::try_from(data.len()).unwrap_or(u64::MAX));
                self.seen.insert(*id, read);
                self.report.chunks += 1;
            }
            match self.seen.get(id).cloned() {
                Some(Ok(length)) => bytes += length,
                Some(Err(bad)) => self.bad(path, bad),
                None => return Err(Error::storage("a chunk was not looked at")),
            }
        }
        self.report.files += 1;
        self.report.bytes += bytes;
        self.meter.add_bytes(bytes);
        self.meter.add_file();
        Ok(())
    }
}

fn loose(detail: &str) -> Bad {
    Bad { chunk: None, pack: None, detail: detail.to_owned() }
}
