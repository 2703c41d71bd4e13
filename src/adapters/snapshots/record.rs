//! The plain records that a vault gives out.
//! It must never hold a type of the archive engine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Most folders in one snapshot.
pub const MAX_SOURCES: usize = 64;
/// Most paths listed in a record; the counts are exact.
pub const MAX_NOTES: usize = 100;
/// Longest label or tag, in bytes.
const MAX_NAME: usize = 64;
const MAX_TAGS: usize = 32;

/// A folder to snapshot, and the name it has inside the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// 1 to 64 of `a-z A-Z 0-9 . _ -`, not starting with a dot; unique in its snapshot.
    pub label: String,
    /// An existing folder (not a link to one).
    pub path: PathBuf,
}

impl Source {
    /// A source from its two parts; checked when the snapshot is taken.
    pub fn new(label: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { label: label.into(), path: path.into() }
    }
}

/// One snapshot, as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Milliseconds since 1970.
    pub taken_at_ms: u64,
    /// Bytes of all files in it.
    pub bytes: u64,
    /// Number of regular files, links and pipes in it.
    pub files: u64,
    /// Bytes this snapshot added to the vault (packed); small when most was there already.
    pub added_bytes: u64,
    /// The labels it holds, sorted.
    pub labels: Vec<String>,
    /// The tags given when it was taken, sorted.
    pub tags: Vec<String>,
}

/// A snapshot just taken, with what was unusual about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The record.
    pub snapshot: SnapshotRecord,
    /// Files that changed while they were read (their copy may be mixed), first 100.
    pub changed: Vec<String>,
    /// How many changed in all.
    pub changed_total: u64,
    /// Sockets and device files left out, and files that vanished before they were read, first 100.
    pub left_out: Vec<String>,
    /// How many were left out in all.
    pub left_out_total: u64,
}

/// All snapshots, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Those whose record is whole.
    pub snapshots: Vec<SnapshotRecord>,
    /// Ids whose record cannot be read.
    pub damaged: Vec<String>,
}

/// One bad piece of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Label and path of the first file (or folder) that needs it.
    pub path: String,
    /// Id of the chunk, when it is known.
    pub chunk: Option<String>,
    /// File of the vault that should hold it, when it is known.
    pub pack: Option<String>,
    /// What was found.
    pub detail: String,
}

/// What a full read of one snapshot found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// The snapshot.
    pub id: String,
    /// Files looked at.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Different chunks read, decrypted and hashed.
    pub chunks: u64,
    /// What is damaged, first 100.
    pub damage: Vec<Damage>,
    /// How many pieces are damaged in all.
    pub damage_total: u64,
}

impl VerifyReport {
    /// Everything was read and matched.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damage_total == 0
    }
}

/// What a restore wrote; every file was read back and matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Regular files, links and pipes written.
    pub files: u64,
    /// Folders written, the target not counted.
    pub folders: u64,
    /// Bytes written and read back.
    pub bytes: u64,
    /// Files or folders whose owner could not be set (not running as root).
    pub owner_not_set: u64,
}

/// A key that opens the vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// 64 hexadecimal digits.
    pub id: String,
    /// It is the one this vault was opened with.
    pub in_use: bool,
    /// Its file matches its checksum.
    pub whole: bool,
}

/// Checks the folders of a snapshot before anything is read.
pub(crate) fn check_sources(sources: &[Source]) -> Result<()> {
    if sources.is_empty() || sources.len() > MAX_SOURCES {
        return Err(Error::invalid("sources", format!("must be 1 to {MAX_SOURCES}")));
    }
    for (at, source) in sources.iter().enumerate() {
        check_name("label", &source.label)?;
        if sources.iter().take(at).any(|other| other.label == source.label) {
            return Err(Error::invalid("label", format!("{} is there twice", source.label)));
        }
    }
    Ok(())
}

/// Checks the tags of a snapshot.
pub(crate) fn check_tags(tags: &[String]) -> Result<()> {
    if tags.len() > MAX_TAGS {
        return Err(Error::invalid("tags", format!("must be at most {MAX_TAGS}")));
    }
    tags.iter().try_for_each(|tag| check_name("tag", tag))
}

pub(crate) fn check_name(field: &'static str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '=');
    let label = |c: char| plain(c) && !matches!(c, ':' | '=');
    let fits = !name.is_empty()
        && name.len() <= MAX_NAME
        && !name.starts_with('.')
        && if field == "label" { name.chars().all(label) } else { name.chars().all(plain) };
    if fits {
        return Ok(());
    }
    Err(Error::invalid(field, format!("must be 1 to {MAX_NAME} of a-z A-Z 0-9 . _ - and not start with a dot")))
}
