//! What is kept of a file besides its contents, and how it is written down.
//! It must never keep a name of a person: owners are numbers.

use std::ffi::OsStr;

use rustic_core::jiff::Timestamp;
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustix::fs::{FileType, Stat};

/// The archive format keeps the bits above the permissions where Go's `os.FileMode` has them.
const FORMAT_DIR: u32 = 1 << 31;
const FORMAT_SETUID: u32 = 1 << 23;
const FORMAT_SETGID: u32 = 1 << 22;
const FORMAT_STICKY: u32 = 1 << 20;
const FORMAT_FIFO: u32 = 1 << 25;
const FORMAT_SYMLINK: u32 = 1 << 27;

/// The entry for a file of this kind, or none for kinds that are left out.
pub(crate) fn node(name: &OsStr, stat: &Stat, link: Option<&std::path::Path>) -> Option<Node> {
    let kind = match (FileType::from_raw_mode(stat.st_mode), link) {
        (FileType::Directory, _) => NodeType::Dir,
        (FileType::RegularFile, _) => NodeType::File,
        (FileType::Fifo, _) => NodeType::Fifo,
        (FileType::Symlink, Some(target)) => NodeType::from_link(target),
        _ => return None,
    };
    Some(Node::new_node(name, kind, metadata(stat)))
}

fn metadata(stat: &Stat) -> Metadata {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let size = if kind == FileType::RegularFile { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
    Metadata {
        mode: Some(to_format(stat.st_mode)),
        mtime: timestamp(stat.st_mtime, stat.st_mtime_nsec),
        ctime: timestamp(stat.st_ctime, stat.st_ctime_nsec),
        uid: Some(stat.st_uid),
        gid: Some(stat.st_gid),
        inode: stat.st_ino,
        size,
        ..Metadata::default()
    }
}

fn timestamp(seconds: i64, nanos: u64) -> Option<Timestamp> {
    Timestamp::new(seconds, i32::try_from(nanos).ok()?).ok()
}

fn to_format(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => FORMAT_DIR,
        FileType::Symlink => FORMAT_SYMLINK,
        FileType::Fifo => FORMAT_FIFO,
        _ => 0,
    };
    let bits = [(0o4000, FORMAT_SETUID), (0o2000, FORMAT_SETGID), (0o1000, FORMAT_STICKY)];
    bits.iter().filter(|(bit, _)| mode & bit != 0).fold(mode & 0o777 | kind, |all, (_, format)| all | format)
}

/// The permission bits (`chmod`) that an archived mode stands for.
pub(crate) fn permissions(format: u32) -> u32 {
    let bits = [(0o4000, FORMAT_SETUID), (0o2000, FORMAT_SETGID), (0o1000, FORMAT_STICKY)];
    bits.iter().filter(|(_, bit)| format & bit != 0).fold(format & 0o777, |all, (mode, _)| all | mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permission_bits_survive_both_ways() {
        for mode in 0..0o10000 {
            assert_eq!(permissions(to_format(0o100_000 | mode)), mode);
            assert_eq!(permissions(to_format(0o040_000 | mode)), mode);
        }
    }
}
