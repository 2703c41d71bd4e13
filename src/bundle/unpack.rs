//! Archives: tar, packed or not, and zip. Everything is unpacked into memory within bounds; a name that would leave
//! the bundle, a link and a device are left out and told.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use opsward_analyzers::objects::Gap;

use crate::open::{self, Entry, Held, Limits};

/// Largest window of a zstd frame, as a power of two: what `zstd --long=27` needs.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// A reader of zstd frames.
pub(crate) fn zstd<'a>(reader: Box<dyn io::Read + 'a>) -> Result<Box<dyn io::Read + 'a>, String> {
    let mut decoder = zstd::stream::read::Decoder::new(reader).map_err(|error| error.to_string())?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| error.to_string())?;
    Ok(Box::new(decoder))
}

/// The files of an archive; none if it is no archive by name or first bytes.
pub(crate) fn archive(
    name: &str,
    mut file: File,
    length: u64,
    limits: &Limits,
    gaps: &mut Vec<Gap>,
) -> Option<Result<Vec<Entry>, String>> {
    let lower = name.to_ascii_lowercase();
    let mut head = [0; 4];
    let got = file.read(&mut head).ok()?;
    file.rewind().ok()?;
    let ends = |list: &[&str]| list.iter().any(|end| lower.ends_with(end));
    if ends(&[".zip"]) || head[..got].starts_with(b"PK\x03\x04") {
        return Some(zipped(file, limits, gaps));
    }
    if ends(&[".tar.gz", ".tgz"]) {
        return Some(tarred(Box::new(flate2::read::MultiGzDecoder::new(file)), Some(length), limits, gaps));
    }
    if ends(&[".tar.zst", ".tzst"]) {
        return Some(zstd(Box::new(file)).and_then(|reader| tarred(reader, Some(length), limits, gaps)));
    }
    if ends(&[".tar"]) {
        return Some(tarred(Box::new(file), None, limits, gaps));
    }
    None
}

/// A name inside the bundle, or none for one that points anywhere else.
fn inside(name: &str) -> Option<String> {
    let name = name.replace('\\', "/");
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let strays =
        name.starts_with('/') || parts.iter().any(|part| *part == ".." || part.contains(':') || part.contains('\0'));
    (!strays && !parts.is_empty()).then(|| parts.join("/"))
}

/// What was unpacked so far.
struct Unpacked<'a> {
    entries: Vec<Entry>,
    left: u64,
    limits: &'a Limits,
    gaps: &'a mut Vec<Gap>,
}

impl Unpacked<'_> {
    fn gap(&mut self, what: &str, reason: impl Into<String>) {
        self.gaps.push(Gap { what: what.chars().take(200).collect(), reason: reason.into() });
    }

    /// Takes a file in; false when no more fits.
    fn take(&mut self, name: &str, packed: Option<u64>, reader: &mut dyn io::Read) -> bool {
        let Some(inner) = inside(name) else {
            self.gap(name, "a name that leads out of the bundle: left out");
            return true;
        };
        if inner.split('/').any(|part| part.starts_with('.')) {
            return true;
        }
        if self.entries.len() >= self.limits.files_max {
            self.gap(&inner, format!("more than {} files: this and what follows was left out", self.limits.files_max));
            return false;
        }
        match open::bounded(reader, packed, self.limits, self.left) {
            Ok(bytes) => {
                self.left -= bytes.len() as u64;
                self.entries.push(Entry { name: inner, held: Held::Bytes(bytes) });
                true
            }
            Err(reason) => {
                self.gap(&inner, reason);
                // Behind a file that is too large nothing can be trusted to fit.
                packed.is_some()
            }
        }
    }

    /// Drops a single folder that holds everything.
    fn finish(mut self) -> Vec<Entry> {
        let top = self.entries.first().and_then(|entry| Some(format!("{}/", entry.name.split_once('/')?.0)));
        if let Some(top) = top.filter(|top| self.entries.iter().all(|entry| entry.name.starts_with(top.as_str()))) {
            for entry in &mut self.entries {
                entry.name.drain(..top.len());
            }
        }
        self.entries
    }
}

fn tarred(
    reader: Box<dyn io::Read>,
    packed: Option<u64>,
    limits: &Limits,
    gaps: &mut Vec<Gap>,
) -> Result<Vec<Entry>, String> {
    let growth = packed.map_or(u64::MAX, |packed| packed.saturating_mul(limits.growth_max).max(64 << 20));
    let whole = limits.archive_bytes_max.saturating_mul(2).min(growth);
    let mut archive = tar::Archive::new(reader.take(whole));
    let mut unpacked = Unpacked {
        entries: Vec::new(),
        left: limits.archive_bytes_max.min(limits.total_bytes_max).min(growth),
        limits,
        gaps,
    };
    let list = archive.entries().map_err(|error| format!("not a tar archive: {error}"))?;
    for entry in list {
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let reason = format!("the archive is damaged or cut here: {error}");
                if unpacked.entries.is_empty() {
                    return Err(reason);
                }
                unpacked.gap("the rest of the archive", reason);
                break;
            }
        };
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match entry.header().entry_type() {
            kind if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() => {
                let more = unpacked.take(&name, None, &mut entry);
                if !more {
                    unpacked.gap("the rest of the archive", "left out");
                    break;
                }
            }
            tar::EntryType::Directory | tar::EntryType::XGlobalHeader => {}
            _ => unpacked.gap(&name, "a link or device: left out"),
        }
    }
    Ok(unpacked.finish())
}

fn zipped(file: File, limits: &Limits, gaps: &mut Vec<Gap>) -> Result<Vec<Entry>, String> {
    let mut archive = zip::ZipArchive::new(file).map_err(|error| format!("not a zip archive: {error}"))?;
    let mut unpacked =
        Unpacked { entries: Vec::new(), left: limits.archive_bytes_max.min(limits.total_bytes_max), limits, gaps };
    for number in 0..archive.len().min(limits.files_max.saturating_add(1)) {
        let mut file = match archive.by_index(number) {
            Ok(file) => file,
            Err(error) => {
                unpacked.gap(&format!("file {number} of the archive"), format!("cannot be unpacked: {error}"));
                continue;
            }
        };
        if file.is_dir() {
            continue;
        }
        let name = file.name().to_owned();
        if file.is_symlink() {
            unpacked.gap(&name, "a link: left out");
            continue;
        }
        let packed = file.compressed_size();
        if !unpacked.take(&name, Some(packed), &mut file) {
            break;
        }
    }
    Ok(unpacked.finish())
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn names_that_lead_out_are_refused() {
        for bad in ["../x", "/etc/passwd", "a/../../x", "c:\\x", "..\\x", "", ".", "a/\0"] {
            assert_eq!(inside(bad), None, "{bad:?}");
        }
        assert_eq!(inside("./a//b.log").as_deref(), Some("a/b.log"));
    }
}
