//! Opening files below a folder without ever leaving it.
//! It must never follow a symbolic link, whoever swaps one in and whenever.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::{Errno, Result};

/// Deepest nesting of folders that is snapshotted or restored; each level holds one open file.
pub(crate) const MAX_DEPTH: usize = 200;
/// Tries when the kernel says that a rename raced with the look-up.
const MAX_RACES: usize = 8;

/// Opens a folder by the path a caller gave; the last part must not be a link.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Opens `relative` below `root`; no part of it may be a link or lead outside.
pub(crate) fn open_below(root: impl AsFd, relative: &Path, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        match openat2(root.as_fd(), relative, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < MAX_RACES => tries += 1,
            result => return result,
        }
    }
}

/// Opens a folder below `root`.
pub(crate) fn open_folder(root: impl AsFd, relative: &Path) -> Result<OwnedFd> {
    open_below(root, relative, OFlags::RDONLY | OFlags::DIRECTORY)
}
