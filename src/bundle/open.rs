//! The files of a bundle: of a folder, of an archive, or one alone. Follows no link, leaves no folder, unpacks
//! within bounds, and writes nothing.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use opsward_analyzers::objects::Gap;

/// Bounds of reading files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files.
    pub files_max: usize,
    /// Folders inside one another.
    pub depth_max: usize,
    /// Bytes of one file, unpacked.
    pub file_bytes_max: u64,
    /// Bytes of all files together, unpacked.
    pub total_bytes_max: u64,
    /// Bytes of all files of an archive together: they are unpacked into memory.
    pub archive_bytes_max: u64,
    /// Times a packed file may grow.
    pub growth_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files_max: 100_000,
            depth_max: 16,
            file_bytes_max: 512 << 20,
            total_bytes_max: 4 << 30,
            archive_bytes_max: 1 << 30,
            growth_max: 1000,
        }
    }
}

/// Why nothing could be read at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such file or folder.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// It is there but cannot be opened.
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, String),
}

/// A file of a bundle: its name in it, and where its bytes are.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) held: Held,
}

/// Where the bytes of a file are.
#[derive(Debug)]
pub(crate) enum Held {
    Path(PathBuf),
    Bytes(Vec<u8>),
}

/// A growth below this many bytes is never a bomb.
const GROWTH_FREE_BYTES: u64 = 16 << 20;

/// The files of a bundle in the order of their names, `bundle.toml` first.
pub(crate) fn entries(root: &Path, limits: &Limits, gaps: &mut Vec<Gap>) -> Result<Vec<Entry>, OpenError> {
    let unreadable = |error: &io::Error| OpenError::Unreadable(root.to_owned(), error.kind().to_string());
    let facts = fs::metadata(root).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::Missing(root.to_owned()),
        _ => unreadable(&error),
    })?;
    let mut entries = Vec::new();
    if facts.is_dir() {
        fs::read_dir(root).map_err(|error| unreadable(&error))?;
        walk(root, root, 0, limits, &mut entries, gaps);
    } else {
        let file = File::open(root).map_err(|error| unreadable(&error))?;
        let name = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match crate::unpack::archive(&name, file, facts.len(), limits, gaps) {
            Some(Ok(found)) => entries = found,
            Some(Err(reason)) => return Err(OpenError::Unreadable(root.to_owned(), reason)),
            None => entries.push(Entry { name, held: Held::Path(root.to_owned()) }),
        }
    }
    entries.sort_by(|a, b| (a.name != "bundle.toml", &a.name).cmp(&(b.name != "bundle.toml", &b.name)));
    Ok(entries)
}

fn walk(root: &Path, folder: &Path, depth: usize, limits: &Limits, entries: &mut Vec<Entry>, gaps: &mut Vec<Gap>) {
    let shown = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
    let mut gap = |path: &Path, reason: String| gaps.push(Gap { what: shown(path), reason });
    if depth > limits.depth_max {
        gap(folder, format!("folders are more than {} deep", limits.depth_max));
        return;
    }
    let paths: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(list) => list
            .take(limits.files_max.saturating_add(1))
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .collect(),
        Err(error) => {
            gap(folder, error.kind().to_string());
            return;
        }
    };
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        match fs::symlink_metadata(&path) {
            Ok(_) if hidden => {}
            Ok(facts) if facts.file_type().is_symlink() => {
                gaps.push(Gap { what: shown(&path), reason: "a link; links are not followed".to_owned() })
            }
            Ok(facts) if facts.is_dir() => walk(root, &path, depth + 1, limits, entries, gaps),
            Ok(facts) if facts.is_file() && entries.len() >= limits.files_max => {
                gaps.push(Gap {
                    what: shown(&path),
                    reason: format!("more than {} files: left out", limits.files_max),
                });
                return;
            }
            Ok(facts) if facts.is_file() => entries.push(Entry { name: shown(&path), held: Held::Path(path) }),
            Ok(_) => gaps.push(Gap { what: shown(&path), reason: "not a regular file".to_owned() }),
            Err(error) => gaps.push(Gap { what: shown(&path), reason: error.kind().to_string() }),
        }
    }
}

/// Reads to the end within bounds; `packed` is how many bytes went in, where they were packed.
pub(crate) fn bounded(
    reader: &mut dyn io::Read,
    packed: Option<u64>,
    limits: &Limits,
    left: u64,
) -> Result<Vec<u8>, String> {
    let growth = packed.map_or(u64::MAX, |packed| packed.saturating_mul(limits.growth_max).max(GROWTH_FREE_BYTES));
    let most = limits.file_bytes_max.min(left).min(growth);
    let mut bytes = Vec::new();
    reader.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    match bytes.len() as u64 {
        length if length <= most => Ok(bytes),
        _ if most == growth => Err(format!("grows more than {} times when unpacked: refused", limits.growth_max)),
        _ if most == left => Err(format!("more than {} bytes altogether: left out", limits.total_bytes_max)),
        _ => Err(format!("larger than {} bytes: left out", limits.file_bytes_max)),
    }
}

/// The bytes of a file, unpacked if its name says that it is packed.
pub(crate) fn bytes(entry: Entry, limits: &Limits, left: u64) -> Result<(String, Vec<u8>), String> {
    let Entry { name, held } = entry;
    let (length, mut reader): (u64, Box<dyn io::Read>) = match held {
        Held::Path(path) => {
            let file = File::open(path).map_err(|error| error.kind().to_string())?;
            (file.metadata().map(|facts| facts.len()).unwrap_or(0), Box::new(file))
        }
        Held::Bytes(bytes) => (bytes.len() as u64, Box::new(io::Cursor::new(bytes))),
    };
    let (stem, packed, mut reader) = match name.rsplit_once('.') {
        Some((stem, "gz")) => {
            (stem.to_owned(), Some(length), Box::new(flate2::read::MultiGzDecoder::new(reader)) as Box<dyn io::Read>)
        }
        Some((stem, "zst")) => (stem.to_owned(), Some(length), crate::unpack::zstd(reader)?),
        _ => {
            let bytes = bounded(&mut reader, None, limits, left)?;
            return Ok((name, bytes));
        }
    };
    bounded(&mut reader, packed, limits, left)
        .map(|bytes| (stem, bytes))
        .map_err(|reason| format!("cannot be unpacked: {reason}"))
}
