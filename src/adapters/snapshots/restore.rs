//! Restoring one label of a snapshot into a folder.
//! It must never write outside that folder, over anything, or leave a half restored folder that looks whole.

mod target;
mod writer;

use std::path::{Path, PathBuf};

use rustic_core::TreeId;
use rustic_core::repofile::Node;

use crate::reading::Reading;
use crate::record::Restored;
use crate::rooted::MAX_DEPTH;
use crate::watch::{Meter, Watch};
use crate::{Error, Result, Vault};
use target::Target;
use writer::Writer;

impl Vault {
    /// Restores what the snapshot holds under `label` into `into`, a folder that is empty or does not exist yet
    /// (its parent must). Every file is read back and matched; then everything is synced to disk.
    /// When it fails or is cancelled, the folder is as it was before.
    ///
    /// # Errors
    /// [`Error::Target`], [`Error::NoSpace`], [`Error::Damaged`] naming file and chunk,
    /// [`Error::UnknownSnapshot`], [`Error::UnknownLabel`], [`Error::Cancelled`], [`Error::Busy`].
    pub fn restore(&self, id: &str, label: &str, into: &Path, watch: &Watch) -> Result<Restored> {
        let _lock = self.hold_shared()?;
        let snapshot = self.find(id)?;
        let reading = self.reading()?;
        let top = reading.label(&snapshot, label)?;
        let tree = top.subtree.ok_or_else(|| Error::damaged(label, "folder has no tree"))?;
        let needed_bytes = survey(&reading, label, tree)?;
        let target = Target::prepare(into)?;
        let free_bytes = target.free_bytes()?;
        if needed_bytes > free_bytes {
            target.clear();
            return Err(Error::NoSpace { needed_bytes, free_bytes });
        }
        let writer = Writer::new(&reading, Meter::new(watch, Some(needed_bytes)));
        let written = writer.restore(&target.folder, &top, tree, label).and_then(|restored| {
            target.sync()?;
            Ok(restored)
        });
        if written.is_err() {
            target.clear();
        }
        written
    }
}

/// Reads all trees before anything is written: they must be whole, have plain names and not nest too deep.
fn survey(reading: &Reading, label: &str, tree: TreeId) -> Result<u64> {
    let mut bytes: u64 = 0;
    let mut pending = vec![(PathBuf::from(label), tree, 1)];
    while let Some((path, tree, depth)) = pending.pop() {
        let shown = path.to_string_lossy();
        if depth > MAX_DEPTH {
            return Err(Error::damaged(shown, "folders are nested too deep"));
        }
        for node in reading.tree(tree).map_err(|bad| bad.into_error(&shown))? {
            let name = plain_name(&node, &shown)?;
            bytes = bytes.saturating_add(node.meta.size);
            if let Some(subtree) = node.subtree {
                pending.push((path.join(name), subtree, depth + 1));
            }
        }
    }
    Ok(bytes)
}

/// The name of an entry, which must be exactly one step down.
fn plain_name(node: &Node, shown: &str) -> Result<std::ffi::OsString> {
    let name = node.name().into_owned();
    let bytes = name.as_encoded_bytes();
    let plain = !matches!(bytes, b"" | b"." | b"..") && !bytes.iter().any(|byte| matches!(byte, b'/' | 0));
    if plain { Ok(name) } else { Err(Error::damaged(shown, "an entry's name would lead outside its folder")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustic_core::repofile::{Metadata, NodeType};

    #[test]
    fn names_that_lead_outside_are_refused() {
        let named = |name: &str| {
            let mut node = Node::new_node("x".as_ref(), NodeType::File, Metadata::default());
            name.clone_into(&mut node.name);
            plain_name(&node, "v")
        };
        for bad in ["", ".", "..", "a/b", "/etc/passwd", "../x", "a\\x00b", "\\x2fetc"] {
            assert!(named(bad).is_err(), "{bad:?}");
        }
        assert_eq!(named("...").unwrap(), "...");
        assert_eq!(named("a\\\\b").unwrap(), "a\\b");
    }
}
