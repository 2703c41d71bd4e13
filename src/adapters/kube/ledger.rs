//! What became of each key of a tenant: appended and synced before and after each write, answerable after
//! any crash. The mark on the object itself tells what this file cannot know.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opsward_domain::event::Outcome;
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Tenant, Workspace};
use opsward_domain::resource::{Resource, ResourceVersion};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Newest keys of a tenant that are kept.
const ENTRIES_MAX: usize = 10_000;

/// How a write left an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Left {
    pub(crate) version: ResourceVersion,
    /// Digest of what its pods are made from: tells another's change of the number from one of the content.
    pub(crate) template: String,
}

impl Left {
    pub(crate) fn new(version: ResourceVersion, object: &Value) -> Self {
        Self { version, template: template_digest(object.pointer("/spec/template").unwrap_or(&Value::Null)) }
    }
}

/// The digest in [`Left`] of a pod template.
pub(crate) fn template_digest(template: &Value) -> String {
    opsward_domain::canonical::digest("opsward-kube-template-1", template)
}

/// How far a key has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// About to be written; the object tells whether it was. Holds the identity of what is to be removed.
    Intended { removes: Option<String> },
    /// Written, and left like this; it may not have come about yet.
    Written { left: Option<Left> },
    /// Done.
    Done(Outcome),
    /// Written, and did not come about.
    Failed { fault: Fault, version: Option<ResourceVersion> },
    /// Refused by the cluster: nothing was written.
    Refused,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) digest: String,
    pub(crate) workspace: Workspace,
    pub(crate) resource: Resource,
    pub(crate) summary: String,
    pub(crate) stage: Stage,
}

/// The keys of one tenant.
#[derive(Debug)]
struct Book {
    path: PathBuf,
    file: File,
    entries: BTreeMap<String, Entry>,
    order: VecDeque<String>,
    lines: usize,
    end: u64,
}

fn failed(path: &Path, error: &std::io::Error) -> Fault {
    Fault::unavailable("the record of what was done cannot be used").detail(format!("{}: {error}", path.display()))
}

impl Book {
    fn open(path: &Path) -> Result<Self, Fault> {
        let file = File::options().create(true).read(true).append(true).open(path);
        let file = file.map_err(|error| failed(path, &error))?;
        let text = std::fs::read(path).map_err(|error| failed(path, &error))?;
        let mut book =
            Self { path: path.to_owned(), file, entries: BTreeMap::new(), order: VecDeque::new(), lines: 0, end: 0 };
        // What follows the last line end was being written when the power went.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in text[..whole].split_inclusive(|byte| *byte == b'\n') {
            let entry: Entry = serde_json::from_slice(line).map_err(|error| {
                Fault::new(Code::Corrupt, "the record of what was done is damaged")
                    .detail(format!("{}, line {}: {error}", path.display(), book.lines + 1))
                    .hint("restore the data folder from a backup; nothing is changed until then")
            })?;
            book.lines += 1;
            book.keep(entry);
        }
        book.end = u64::try_from(whole).unwrap_or(u64::MAX);
        book.file.set_len(book.end).map_err(|error| failed(path, &error))?;
        Ok(book)
    }

    fn keep(&mut self, entry: Entry) {
        if self.entries.insert(entry.key.clone(), entry.clone()).is_none() {
            self.order.push_back(entry.key);
        }
        while self.order.len() > ENTRIES_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
    }

    fn append(&mut self, entry: Entry) -> Result<(), Fault> {
        if self.lines > ENTRIES_MAX * 8 {
            self.compact()?;
        }
        let mut line = serde_json::to_vec(&entry).map_err(|error| Fault::internal(error.to_string()))?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line).and_then(|()| self.file.sync_data()) {
            // Half a line must not stand before the next one.
            let _ = self.file.set_len(self.end);
            return Err(failed(&self.path, &error));
        }
        self.end += u64::try_from(line.len()).unwrap_or(0);
        self.lines += 1;
        self.keep(entry);
        Ok(())
    }

    /// Writes the newest stage of each kept key into a file that replaces this one.
    fn compact(&mut self) -> Result<(), Fault> {
        let mut text = Vec::new();
        for entry in self.order.iter().filter_map(|key| self.entries.get(key)) {
            serde_json::to_writer(&mut text, entry).map_err(|error| Fault::internal(error.to_string()))?;
            text.push(b'\n');
        }
        let next = self.path.with_extension("next");
        let written = File::create(&next)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&next, &self.path))
            .and_then(|()| File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all());
        written.map_err(|error| failed(&self.path, &error))?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

/// The keys of every tenant.
#[derive(Debug)]
pub(crate) struct Ledger {
    dir: PathBuf,
    books: Mutex<BTreeMap<Tenant, Arc<Mutex<Book>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// Keeps its files in `dir`, which is made for its owner only when there is something to keep.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), books: Mutex::default() }
    }

    fn path(&self, tenant: &Tenant) -> PathBuf {
        self.dir.join(format!("{tenant}.jsonl"))
    }

    fn book(&self, tenant: &Tenant) -> Result<Arc<Mutex<Book>>, Fault> {
        let mut books = lock(&self.books);
        if let Some(book) = books.get(tenant) {
            return Ok(book.clone());
        }
        use std::os::unix::fs::DirBuilderExt as _;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|error| failed(&self.dir, &error))?;
        let book = Arc::new(Mutex::new(Book::open(&self.path(tenant))?));
        books.insert(tenant.clone(), book.clone());
        Ok(book)
    }

    /// What is known of `key`. Blocks for a moment.
    pub(crate) fn get(&self, tenant: &Tenant, key: &str) -> Result<Option<Entry>, Fault> {
        if !self.path(tenant).exists() {
            return Ok(None);
        }
        Ok(lock(&*self.book(tenant)?).entries.get(key).cloned())
    }

    /// Writes how far a key has come. Blocks until it is durable.
    pub(crate) fn put(&self, tenant: &Tenant, entry: Entry) -> Result<(), Fault> {
        lock(&*self.book(tenant)?).append(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, stage: Stage) -> Entry {
        let workspace = Workspace::parse("shop").unwrap();
        Entry {
            key: key.into(),
            digest: "d".into(),
            workspace,
            resource: Resource::Workspace,
            summary: "s".into(),
            stage,
        }
    }

    #[test]
    fn the_newest_stage_survives_a_torn_line_and_damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let tenant = Tenant::parse("acme").unwrap();
        let other = Tenant::parse("globex").unwrap();
        let ledger = Ledger::new(dir.path());
        ledger.put(&tenant, entry("a", Stage::Intended { removes: None })).unwrap();
        ledger.put(&tenant, entry("a", Stage::Refused)).unwrap();
        assert_eq!(ledger.get(&other, "a").unwrap(), None, "keys belong to a tenant");
        let path = dir.path().join("acme.jsonl");
        File::options().append(true).open(&path).unwrap().write_all(b"{\"key\":\"b").unwrap();
        let ledger = Ledger::new(dir.path());
        assert_eq!(ledger.get(&tenant, "a").unwrap(), Some(entry("a", Stage::Refused)));
        assert_eq!(ledger.get(&tenant, "b").unwrap(), None);
        ledger.put(&tenant, entry("c", Stage::Refused)).unwrap();
        assert!(Ledger::new(dir.path()).get(&tenant, "c").unwrap().is_some());
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap().replacen("key", "kex", 1)).unwrap();
        let fault = Ledger::new(dir.path()).get(&tenant, "a").unwrap_err();
        assert_eq!(fault.code, Code::Corrupt);
        assert!(fault.detail.contains("line 1"), "{fault}");
    }

    #[test]
    fn compacting_keeps_the_newest_stage_of_the_newest_keys() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = Book::open(&dir.path().join("a.jsonl")).unwrap();
        for number in 0..ENTRIES_MAX + 5 {
            book.keep(entry(&number.to_string(), Stage::Refused));
        }
        book.compact().unwrap();
        assert_eq!((book.entries.len(), book.lines), (ENTRIES_MAX, ENTRIES_MAX));
        assert!(!book.entries.contains_key("4") && book.entries.contains_key("5"));
    }
}
