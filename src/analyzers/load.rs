//! Objects and logs from files: a `kubectl cluster-info dump`, or any tree of YAML and JSON. Follows no link
//! inside the folder, reads within bounds, and reports what it cannot read instead of failing.

mod documents;
mod dump;

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::objects::{Collection, LogTail};

/// Bounds of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most files.
    pub files_max: usize,
    /// Most folders inside one another.
    pub depth_max: usize,
    /// Most bytes of one file, unpacked.
    pub file_bytes_max: u64,
    /// Most bytes of all files together, unpacked.
    pub total_bytes_max: u64,
    /// Most objects.
    pub objects_max: usize,
    /// Lines kept of the end of one log.
    pub log_lines_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files_max: 100_000,
            depth_max: 16,
            file_bytes_max: 512 * 1024 * 1024,
            total_bytes_max: 2 * 1024 * 1024 * 1024,
            objects_max: 500_000,
            log_lines_max: 200,
        }
    }
}

/// Why nothing could be read at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such file or folder.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// It is there but cannot be opened.
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, String),
}

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Yaml,
    Json,
    Log,
    Other,
}

fn shape(path: &Path) -> (Shape, bool) {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let (stem, packed) = match name.strip_suffix(".gz") {
        Some(stem) => (stem, true),
        None => (name.as_str(), false),
    };
    let shape = match stem.rsplit_once('.').map(|(_, end)| end) {
        Some("yaml" | "yml") => Shape::Yaml,
        Some("json") => Shape::Json,
        Some("log") => Shape::Log,
        Some("txt") if stem == "logs.txt" => Shape::Log,
        _ => Shape::Other,
    };
    (shape, packed)
}

/// The documents of a YAML text, and what is said of those that are broken.
pub fn values(text: &str) -> (Vec<serde_json::Value>, Vec<String>) {
    let read = documents::yaml(text);
    (read.values, read.broken)
}

/// A container's log inside a dump: namespace, pod, container.
pub type Place = (String, String, String);

/// Takes container logs between markers out of a dump: what is left, and at most `lines_max` lines of each log.
pub fn split_dump(text: &str, lines_max: usize) -> (std::borrow::Cow<'_, str>, Vec<(Place, LogTail)>) {
    dump::split(text, lines_max)
}

/// Notes that a typed list, such as a PodList, holds every object of its kind; `folder` is the namespace of an empty
/// one.
pub fn note_listed(collection: &mut Collection, value: &serde_json::Value, folder: Option<&str>) {
    dump::note_listed(collection, value, folder);
}

/// Reads a folder, or a single file.
pub fn folder(root: &Path, limits: &Limits) -> Result<Collection, LoadError> {
    let unreadable = |error: &std::io::Error| LoadError::Unreadable(root.to_owned(), error.kind().to_string());
    let facts = fs::metadata(root).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => LoadError::Missing(root.to_owned()),
        _ => unreadable(&error),
    })?;
    let mut loader =
        Loader { root, limits, collection: Collection::default(), files: 0, bytes: 0, others: 0, full: false };
    if facts.is_dir() {
        fs::read_dir(root).map_err(|error| unreadable(&error))?;
        loader.walk(root, 0);
    } else {
        File::open(root).map_err(|error| unreadable(&error))?;
        loader.file(root);
    }
    Ok(loader.finish())
}

struct Loader<'a> {
    root: &'a Path,
    limits: &'a Limits,
    collection: Collection,
    files: usize,
    bytes: u64,
    others: usize,
    full: bool,
}

impl Loader<'_> {
    fn shown(&self, path: &Path) -> String {
        let inner = path.strip_prefix(self.root).unwrap_or(path);
        let inner = if inner.as_os_str().is_empty() { path } else { inner };
        inner.display().to_string()
    }

    fn gap(&mut self, path: &Path, reason: impl Into<String>) {
        let what = self.shown(path);
        self.collection.note_gap(what, reason);
    }

    fn walk(&mut self, folder: &Path, depth: usize) {
        if depth > self.limits.depth_max {
            self.gap(folder, format!("folders are more than {} deep", self.limits.depth_max));
            return;
        }
        let mut entries: Vec<PathBuf> = match fs::read_dir(folder) {
            Ok(entries) => entries
                .take(self.limits.files_max.saturating_add(1))
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .collect(),
            Err(error) => {
                self.gap(folder, error.kind().to_string());
                return;
            }
        };
        entries.sort();
        for path in entries {
            if self.full {
                return;
            }
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            match fs::symlink_metadata(&path) {
                Ok(_) if hidden => {}
                Ok(facts) if facts.file_type().is_symlink() => self.gap(&path, "a link; links are not followed"),
                Ok(facts) if facts.is_dir() => self.walk(&path, depth + 1),
                Ok(facts) if facts.is_file() => self.file(&path),
                Ok(_) => self.gap(&path, "not a regular file"),
                Err(error) => self.gap(&path, error.kind().to_string()),
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let (shape, packed) = shape(path);
        if shape == Shape::Other {
            self.others += 1;
            return;
        }
        if self.files == self.limits.files_max {
            self.full = true;
            self.gap(path, format!("more than {} files: this and what follows was left out", self.limits.files_max));
            return;
        }
        self.files += 1;
        let bytes = match self.read(path, packed) {
            Ok(bytes) => bytes,
            Err(reason) => {
                self.gap(path, reason);
                return;
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        match shape {
            Shape::Log => self.log(path, &text),
            Shape::Json | Shape::Yaml => self.objects(path, &text, shape == Shape::Json),
            Shape::Other => {}
        }
    }

    /// The bytes of a file within both bounds; what is too large is left out whole, except a log, of which
    /// the caller keeps the end only.
    fn read(&mut self, path: &Path, packed: bool) -> Result<Vec<u8>, String> {
        let left = self.limits.total_bytes_max.saturating_sub(self.bytes);
        let most = self.limits.file_bytes_max.min(left);
        let file = File::open(path).map_err(|error| error.kind().to_string())?;
        let mut bytes = Vec::new();
        let mut reader: Box<dyn std::io::Read> =
            if packed { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
        reader.by_ref().take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| match packed {
            true => format!("cannot be unpacked: {error}"),
            false => error.kind().to_string(),
        })?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length > most {
            if most == left {
                self.full = true;
                return Err(format!(
                    "more than {} bytes altogether: this and what follows was left out",
                    self.limits.total_bytes_max
                ));
            }
            return Err(format!("larger than {} bytes", self.limits.file_bytes_max));
        }
        self.bytes += length;
        Ok(bytes)
    }

    fn objects(&mut self, path: &Path, text: &str, json: bool) {
        let (rest, logs) = dump::split(text, self.limits.log_lines_max);
        for ((namespace, pod, container), tail) in logs {
            self.collection.add_log(&namespace, &pod, &container, tail);
        }
        let read = if json { documents::json(&rest) } else { documents::yaml(&rest) };
        let folder = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let mut count = 0;
        let some = !read.values.is_empty();
        for value in read.values {
            if self.collection.len() >= self.limits.objects_max {
                self.full = true;
                self.gap(
                    path,
                    format!("more than {} objects: this and what follows was left out", self.limits.objects_max),
                );
                return;
            }
            dump::note_listed(&mut self.collection, &value, folder.as_deref());
            let listed_none = value["items"].as_array().is_some_and(Vec::is_empty);
            count += self.collection.add(value) + usize::from(listed_none);
        }
        for broken in read.broken {
            self.gap(path, broken);
        }
        if some && count == 0 {
            self.others += 1;
        }
    }

    fn log(&mut self, path: &Path, text: &str) {
        let (rest, logs) = dump::split(text, self.limits.log_lines_max);
        if !logs.is_empty() {
            for ((namespace, pod, container), tail) in logs {
                self.collection.add_log(&namespace, &pod, &container, tail);
            }
            return;
        }
        // NAMESPACE/POD/CONTAINER.log, with anything above it.
        let name = |path: Option<&Path>| path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let file = name(Some(path)).unwrap_or_default();
        let container = file.trim_end_matches(".gz").trim_end_matches(".log");
        let (pod, space) = (name(path.parent()), name(path.parent().and_then(Path::parent)));
        match (pod, space) {
            (Some(pod), Some(space))
                if path.strip_prefix(self.root).is_ok_and(|inner| inner.components().count() >= 3) =>
            {
                let tail = LogTail { lines: dump::tail(rest.lines(), self.limits.log_lines_max) };
                self.collection.add_log(&space, &pod, container, tail);
            }
            _ => self.others += 1,
        }
    }

    fn finish(mut self) -> Collection {
        if self.others > 0 {
            let reason =
                "not Kubernetes objects (.yaml, .yml, .json, also .gz) and not logs/NAMESPACE/POD/CONTAINER.log"
                    .to_owned();
            self.collection
                .note_gap(format!("{} other {}", self.others, if self.others == 1 { "file" } else { "files" }), reason);
        }
        self.collection
    }
}
