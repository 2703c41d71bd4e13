//! A vault, a source folder full of awkward files, and a way to compare two folders.
//! It must never compare less than contents, kinds, modes and times.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use opsward_snapshots::{Passphrase, Source, Taken, Vault, Watch};
use tempfile::TempDir;

pub(crate) const T0: u64 = 1_772_000_000_000;

pub(crate) struct Place {
    pub(crate) temp: TempDir,
    pub(crate) vault: Vault,
}

pub(crate) fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery").unwrap()
}

impl Place {
    pub(crate) fn new() -> Self {
        let temp = TempDir::new().unwrap();
        let vault = Vault::create(&temp.path().join("vault"), &passphrase()).unwrap();
        fs::create_dir(temp.path().join("source")).unwrap();
        Self { temp, vault }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn vault_dir(&self) -> PathBuf {
        self.path("vault")
    }

    pub(crate) fn write(&self, name: &str, data: &[u8]) {
        let path = self.path("source").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }

    pub(crate) fn take(&self, at: u64) -> Taken {
        let sources = [Source::new("orders", self.path("source"))];
        self.vault.snapshot(&sources, &["nightly".to_owned()], at, &Watch::default()).unwrap()
    }

    pub(crate) fn packs(&self) -> Vec<PathBuf> {
        files_below(&self.vault_dir().join("data"))
    }

    pub(crate) fn bytes_stored(&self) -> u64 {
        self.packs().iter().map(|pack| fs::metadata(pack).unwrap().len()).sum()
    }

    /// A folder with everything that backups get wrong.
    pub(crate) fn awkward(&self) {
        self.write("empty", b"");
        self.write("plain.txt", b"hello");
        self.write("quoted \"name\"\\ and\nnew line", b"odd");
        self.write("ünïcode/ж", "привет".as_bytes());
        self.write(
            &format!("{}/bottom", "d".repeat(20).chars().map(String::from).collect::<Vec<_>>().join("/")),
            b"deep",
        );
        self.write("big.bin", &noise(5 * 1024 * 1024 + 17, 1));
        self.write("zeroes.bin", &vec![0; 3 * 1024 * 1024]);
        let source = self.path("source");
        fs::create_dir(source.join("empty folder")).unwrap();
        symlink("plain.txt", source.join("link")).unwrap();
        symlink("/etc/passwd", source.join("outside")).unwrap();
        symlink("nowhere at all", source.join("dangling")).unwrap();
        let invalid = std::os::unix::ffi::OsStrExt::from_bytes(b"bad\xff\xfename");
        fs::write(source.join(<&std::ffi::OsStr as Into<PathBuf>>::into(invalid)), b"not utf-8").unwrap();
        for (name, mode) in [("plain.txt", 0o640), ("empty", 0o444), ("big.bin", 0o4751), ("empty folder", 0o1777)] {
            fs::set_permissions(source.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let old = std::time::UNIX_EPOCH - std::time::Duration::from_millis(1_234_567);
        fs::File::open(source.join("plain.txt")).unwrap().set_modified(old).unwrap();
    }
}

/// Repeatable bytes that do not compress.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

/// Everything about a folder that a restore must bring back, by relative path.
pub(crate) fn picture(folder: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let contents = if meta.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if meta.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else if meta.is_file() {
            fs::read(&path).unwrap()
        } else {
            b"special".to_vec()
        };
        let relative = path.strip_prefix(folder).unwrap().to_owned();
        all.insert(relative, (meta.mode(), meta.mtime(), meta.mtime_nsec(), contents));
    }
    all
}
