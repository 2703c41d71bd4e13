//! The walk over all source folders, depth first, names in byte order (the archive format needs it sorted).
//! It must never hold more than `MAX_DEPTH` folders open.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustic_core::{ReadSourceEntry, RusticResult};
use rustix::fs::{AtFlags, Dir, FileType, Stat, fstat, readlinkat, statat};
use rustix::io::Errno;

use super::node::node;
use super::reader::Seen;
use super::{Findings, OpenEntry, Root, shown};
use crate::rooted::{MAX_DEPTH, open_folder};

/// One open folder and the names in it that are still to come, last first.
#[derive(Debug)]
struct Level {
    folder: Arc<OwnedFd>,
    inside: PathBuf,
    names: Vec<OsString>,
}

/// Yields every entry of every source.
#[derive(Debug)]
pub(crate) struct Walk {
    roots: std::vec::IntoIter<Root>,
    current: Option<Root>,
    levels: Vec<Level>,
    findings: Arc<Findings>,
}

type Entry = RusticResult<ReadSourceEntry<OpenEntry>>;

impl Walk {
    pub(super) fn new(mut roots: Vec<Root>, findings: Arc<Findings>) -> Self {
        roots.sort_by(|a, b| a.label.cmp(&b.label));
        Self { roots: roots.into_iter(), current: None, levels: Vec::new(), findings }
    }

    /// Starts the next source with the entry of the folder itself.
    fn next_root(&mut self) -> Option<Entry> {
        let root = self.roots.next()?;
        self.current = Some(root.clone());
        let entered =
            fstat(&root.folder).and_then(|stat| self.enter(Arc::clone(&root.folder), PathBuf::new()).map(|()| stat));
        match entered {
            Ok(stat) => {
                let node = node(OsStr::new(&root.label), &stat, None)?;
                Some(Ok(ReadSourceEntry { path: PathBuf::from(&root.label), node, open: None }))
            }
            Err(errno) => {
                self.findings.unreadable(root.label, errno.to_string());
                None
            }
        }
    }

    fn enter(&mut self, folder: Arc<OwnedFd>, inside: PathBuf) -> rustix::io::Result<()> {
        if self.levels.len() >= MAX_DEPTH {
            return Err(Errno::NAMETOOLONG);
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        self.levels.push(Level { folder, inside, names });
        Ok(())
    }

    /// The entry for `name`, none when it vanished or is of a kind that is left out.
    fn entry(
        &mut self,
        root: &Root,
        folder: &OwnedFd,
        inside: PathBuf,
        name: &OsStr,
    ) -> rustix::io::Result<Option<Entry>> {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let link = (kind == FileType::Symlink).then(|| readlinkat(folder, name, Vec::new())).transpose()?;
        let link = link.as_ref().map(|target| Path::new(OsStr::from_bytes(target.as_bytes())));
        let Some(node) = node(name, &stat, link) else {
            self.findings.left_out(shown(&root.label, &inside));
            return Ok(None);
        };
        if kind == FileType::Directory {
            let opened = Arc::new(open_folder(&root.folder, &inside)?);
            self.enter(opened, inside.clone())?;
        }
        let path = Path::new(&root.label).join(&inside);
        let open = (kind == FileType::RegularFile).then(|| self.opener(root, inside, &stat));
        if kind != FileType::Directory {
            self.findings.meter.add_file();
        }
        Ok(Some(Ok(ReadSourceEntry { path, node, open })))
    }

    fn opener(&self, root: &Root, inside: PathBuf, stat: &Stat) -> OpenEntry {
        OpenEntry { root: root.clone(), inside, seen: Seen::of(stat), findings: Arc::clone(&self.findings) }
    }
}

impl Iterator for Walk {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if self.findings.stopped() {
                return None;
            }
            let Some(level) = self.levels.last_mut() else {
                return self.next_root();
            };
            let Some(name) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let (folder, inside) = (Arc::clone(&level.folder), level.inside.join(&name));
            let root = self.current.clone()?;
            let shown = shown(&root.label, &inside);
            match self.entry(&root, &folder, inside, &name) {
                Ok(Some(entry)) => return Some(entry),
                Ok(None) => {}
                // Deleted or replaced between the listing and the look.
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV | Errno::INVAL) => {
                    self.findings.left_out(shown)
                }
                Err(errno) => {
                    self.findings.unreadable(shown, errno.to_string());
                    return None;
                }
            }
        }
    }
}
