//! Writing a tree below an open folder, one step down at a time.
//! It must never name a path of more than one part to the system, nor follow what it did not just create.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{DataId, TreeId};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, fchmod, fchown, futimens, mkdirat,
    mknodat, openat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::plain_name;
use crate::reading::Reading;
use crate::record::Restored;
use crate::rooted::open_folder;
use crate::source::permissions;
use crate::store::hash;
use crate::watch::Meter;
use crate::{Error, Result};

pub(super) struct Writer<'a> {
    reading: &'a Reading,
    meter: Meter,
    done: Restored,
}

impl<'a> Writer<'a> {
    pub(super) fn new(reading: &'a Reading, meter: Meter) -> Self {
        Self { reading, meter, done: Restored { files: 0, folders: 0, bytes: 0, owner_not_set: 0 } }
    }

    /// Restores the tree into `folder`, and then gives the folder what is recorded of `top`.
    pub(super) fn restore(mut self, folder: &OwnedFd, top: &Node, tree: TreeId, label: &str) -> Result<Restored> {
        let path = PathBuf::from(label);
        self.folder(folder, tree, &path)?;
        self.attributes(folder, &top.meta, &path)?;
        Ok(self.done)
    }

    /// Depth is bounded: the survey refused deeper trees.
    fn folder(&mut self, folder: &OwnedFd, tree: TreeId, path: &Path) -> Result<()> {
        let shown = path.to_string_lossy();
        for node in self.reading.tree(tree).map_err(|bad| bad.into_error(&shown))? {
            self.meter.go_on()?;
            let name = plain_name(&node, &shown)?;
            self.entry(folder, &node, &name, &path.join(&name))?;
        }
        Ok(())
    }

    fn entry(&mut self, folder: &OwnedFd, node: &Node, name: &OsStr, path: &Path) -> Result<()> {
        let failed = |errno: Errno| target(path, errno);
        match &node.node_type {
            NodeType::Dir => {
                let tree = node.subtree.ok_or_else(|| Error::damaged(path.to_string_lossy(), "folder has no tree"))?;
                mkdirat(folder, name, Mode::RWXU).map_err(failed)?;
                let inner = open_folder(folder, Path::new(name)).map_err(failed)?;
                self.folder(&inner, tree, path)?;
                self.attributes(&inner, &node.meta, path)?;
                self.done.folders += 1;
                return Ok(());
            }
            NodeType::File => self.file(folder, node, name, path)?,
            NodeType::Symlink { .. } => {
                symlinkat(node.node_type.to_link(), folder, name).map_err(failed)?;
                self.unopened_attributes(folder, name, &node.meta, path)?;
            }
            NodeType::Fifo => {
                let mode = Mode::from_raw_mode(permissions(node.meta.mode.unwrap_or(0o600)));
                mknodat(folder, name, FileType::Fifo, mode, 0).map_err(failed)?;
                self.unopened_attributes(folder, name, &node.meta, path)?;
            }
            NodeType::Dev { .. } | NodeType::Chardev { .. } | NodeType::Socket => {
                return Err(Error::damaged(path.to_string_lossy(), "entry is of a kind that is never restored"));
            }
        }
        self.done.files += 1;
        self.meter.add_file();
        Ok(())
    }

    fn file(&mut self, folder: &OwnedFd, node: &Node, name: &OsStr, path: &Path) -> Result<()> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(folder, name, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| target(path, errno))?;
        let mut file = File::from(opened);
        let mut written = Vec::new();
        for id in node.content.iter().flatten() {
            self.meter.go_on()?;
            let data = self.reading.chunk(id).map_err(|bad| bad.into_error(&path.to_string_lossy()))?;
            file.write_all(&data).map_err(|error| target(path, error))?;
            written.push((*id, data.len()));
            let bytes = u64::try_from(data.len()).unwrap_or(0);
            self.done.bytes += bytes;
            self.meter.add_bytes(bytes);
        }
        read_back(&mut file, &written).map_err(|error| target(path, error))?;
        self.attributes(&file, &node.meta, path)
    }

    /// Owner first (changing it clears special bits), then permissions, then time.
    fn attributes(&mut self, file: impl AsFd, meta: &Metadata, path: &Path) -> Result<()> {
        let owned = fchown(&file, meta.uid.map(Uid::from_raw), meta.gid.map(Gid::from_raw));
        self.owner(owned, path)?;
        if let Some(mode) = meta.mode {
            fchmod(&file, Mode::from_raw_mode(permissions(mode))).map_err(|errno| target(path, errno))?;
        }
        futimens(&file, &times(meta)).map_err(|errno| target(path, errno))
    }

    /// For links and pipes, which must not be opened.
    fn unopened_attributes(&mut self, folder: &OwnedFd, name: &OsStr, meta: &Metadata, path: &Path) -> Result<()> {
        let (uid, gid) = (meta.uid.map(Uid::from_raw), meta.gid.map(Gid::from_raw));
        let owned = chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
        self.owner(owned, path)?;
        utimensat(folder, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| target(path, errno))
    }

    fn owner(&mut self, result: rustix::io::Result<()>, path: &Path) -> Result<()> {
        match result {
            Err(Errno::PERM) => {
                self.done.owner_not_set += 1;
                Ok(())
            }
            other => other.map_err(|errno| target(path, errno)),
        }
    }
}

/// Reads the file again and compares each chunk's hash.
fn read_back(file: &mut File, written: &[(DataId, usize)]) -> std::io::Result<()> {
    let differs = || std::io::Error::other("what was written does not read back the same");
    file.rewind()?;
    let mut buffer = Vec::new();
    for (id, length) in written {
        buffer.resize(*length, 0);
        file.read_exact(&mut buffer)?;
        if hash(&buffer) != **id {
            return Err(differs());
        }
    }
    if file.read(&mut [0])? == 0 { Ok(()) } else { Err(differs()) }
}

fn times(meta: &Metadata) -> Timestamps {
    let time = meta.mtime.map_or(Timespec { tv_sec: 0, tv_nsec: 0 }, |time| {
        // Before 1970 the engine's time has a negative fraction; the system's never has.
        let nanos = i64::from(time.subsec_nanosecond());
        let borrow = i64::from(nanos < 0);
        Timespec { tv_sec: time.as_second() - borrow, tv_nsec: nanos + borrow * 1_000_000_000 }
    });
    Timestamps { last_access: time, last_modification: time }
}

fn target(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::Target { path: path.to_string_lossy().into_owned(), detail: error.to_string() }
}
