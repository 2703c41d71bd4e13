//! What became of each key of a tenant: appended and synced, answerable after any crash. Never changes
//! an answer once given.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use opsward_domain::event::Outcome;
use opsward_domain::fault::{Code, Fault};
use opsward_domain::resource::ResourceVersion;
use opsward_domain::time::AtMs;
use serde::{Deserialize, Serialize};

use crate::disk;
use crate::options::LEDGER_ENTRIES_MAX;

/// How a committed change ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// It is as asked.
    Done(Outcome),
    /// It was made, and did not turn out as asked.
    Failed(Fault),
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) digest: String,
    pub(crate) at_ms: AtMs,
    pub(crate) answer: Answer,
    /// Version in which a change that did not turn out as asked left its resource all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) left: Option<ResourceVersion>,
}

/// The ledger of one tenant. Answers stay on disk; memory holds where they are.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    index: BTreeMap<String, (u64, usize)>,
    order: VecDeque<String>,
    end: u64,
}

impl Ledger {
    /// Opens or makes it. A torn last line is cut away: its change is still told by the intent.
    pub(crate) fn open(path: &Path) -> Result<Self, Fault> {
        let broken = |error: &std::io::Error| disk::fault("the ledger cannot be opened", path, error);
        let file = File::options().create(true).read(true).append(true).open(path).map_err(|error| broken(&error))?;
        let mut ledger = Self { path: path.to_owned(), file, index: BTreeMap::new(), order: VecDeque::new(), end: 0 };
        ledger.scan()?;
        ledger.file.set_len(ledger.end).map_err(|error| broken(&error))?;
        if ledger.order.len() > LEDGER_ENTRIES_MAX {
            ledger.compact()?;
        }
        Ok(ledger)
    }

    fn scan(&mut self) -> Result<(), Fault> {
        let mut reader = BufReader::new(&self.file);
        let mut line = Vec::new();
        let mut number = 0_u64;
        let mut found = Vec::new();
        loop {
            line.clear();
            let count = reader
                .read_until(b'\n', &mut line)
                .map_err(|error| disk::fault("the ledger cannot be read", &self.path, &error))?;
            if line.last() != Some(&b'\n') {
                break;
            }
            number += 1;
            let entry: Entry = serde_json::from_slice(&line).map_err(|error| {
                Fault::new(Code::Corrupt, "the ledger is damaged")
                    .detail(format!("{}, line {number}: {error}", self.path.display()))
                    .hint("restore the data folder from a backup; nothing is changed until then")
            })?;
            found.push((entry.key, self.end, count));
            self.end += u64::try_from(count).unwrap_or(0);
        }
        for (key, offset, count) in found {
            self.index.insert(key.clone(), (offset, count));
            self.order.push_back(key);
        }
        Ok(())
    }

    /// The entry of `key`, if it has one.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Entry>, Fault> {
        let Some((offset, count)) = self.index.get(key) else { return Ok(None) };
        let mut bytes = vec![0; *count];
        self.file
            .read_exact_at(&mut bytes, *offset)
            .map_err(|error| disk::fault("the ledger cannot be read", &self.path, &error))?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Fault::new(Code::Corrupt, "the ledger is damaged").detail(format!("key {key}: {error}")))
    }

    /// Adds an entry for good. A key that has one keeps it.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<(), Fault> {
        if self.index.contains_key(&entry.key) {
            return Ok(());
        }
        let broken = |error: &std::io::Error| disk::fault("the ledger cannot be written", &self.path, error);
        let mut bytes = disk::encode(entry).map_err(|error| broken(&error))?;
        bytes.push(b'\n');
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line must not stand before the next one.
            let _ = self.file.set_len(self.end);
            return Err(broken(&error));
        }
        self.index.insert(entry.key.clone(), (self.end, bytes.len()));
        self.order.push_back(entry.key.clone());
        self.end += u64::try_from(bytes.len()).unwrap_or(0);
        if self.order.len() > 2 * LEDGER_ENTRIES_MAX { self.compact() } else { Ok(()) }
    }

    /// Forgets the oldest keys beyond the bound.
    fn compact(&mut self) -> Result<(), Fault> {
        let broken = |error: &std::io::Error| disk::fault("the ledger cannot be compacted", &self.path, error);
        let excess = self.order.len().saturating_sub(LEDGER_ENTRIES_MAX);
        let from = self.order.get(excess).and_then(|key| self.index.get(key)).map_or(self.end, |(offset, _)| *offset);
        let mut kept = Vec::new();
        self.file.seek(SeekFrom::Start(from)).map_err(|error| broken(&error))?;
        (&self.file).take(self.end - from).read_to_end(&mut kept).map_err(|error| broken(&error))?;
        disk::write_durable(&self.path, &kept).map_err(|error| broken(&error))?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str) -> Entry {
        let answer = Answer::Failed(Fault::conflict(format!("about {key}")));
        Entry { key: key.into(), digest: "d".into(), at_ms: 1, answer, left: None }
    }

    #[test]
    fn survives_a_torn_line_and_refuses_a_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.append(&entry("a")).unwrap();
        ledger.append(&Entry { digest: "other".into(), ..entry("a") }).unwrap();
        assert_eq!(ledger.get("a").unwrap(), Some(entry("a")), "the first answer stays");
        drop(ledger);
        File::options().append(true).open(&path).unwrap().write_all(b"{\"key\":\"b").unwrap();
        let mut ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.get("b").unwrap(), None);
        ledger.append(&entry("c")).unwrap();
        drop(ledger);
        assert_eq!(Ledger::open(&path).unwrap().get("c").unwrap(), Some(entry("c")));
        let damaged = std::fs::read_to_string(&path).unwrap().replacen("key", "kex", 1);
        std::fs::write(&path, damaged).unwrap();
        let fault = Ledger::open(&path).unwrap_err();
        assert_eq!(fault.code, Code::Corrupt);
        assert!(fault.detail.contains("line 1"), "{fault}");
    }

    #[test]
    fn keeps_the_newest_within_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let mut all = Vec::new();
        for i in 0..LEDGER_ENTRIES_MAX + 10 {
            all.extend(disk::encode(&entry(&i.to_string())).unwrap());
            all.push(b'\n');
        }
        std::fs::write(&path, all).unwrap();
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.get("9").unwrap(), None);
        assert_eq!(ledger.get("10").unwrap(), Some(entry("10")));
        assert_eq!(ledger.order.len(), LEDGER_ENTRIES_MAX);
    }
}
