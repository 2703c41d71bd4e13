//! Reading a snapshot's trees and chunks with every check made.
//! It must never hand out data whose hash is not the one it is named by.

use bytes::Bytes;
use rustic_core::repofile::{BlobType, Node, SnapshotFile, Tree};
use rustic_core::{BlobId, DataId, IndexedFullStatus, Repository, TreeId};

use crate::error::brief;
use crate::record::Damage;
use crate::store::hash;
use crate::{Error, Result};

/// Why a piece could not be handed out.
#[derive(Clone, Debug)]
pub(crate) struct Bad {
    pub(crate) chunk: Option<String>,
    pub(crate) pack: Option<String>,
    pub(crate) detail: String,
}

impl Bad {
    pub(crate) fn at(self, path: &str) -> Damage {
        Damage { path: path.to_owned(), chunk: self.chunk, pack: self.pack, detail: self.detail }
    }

    pub(crate) fn into_error(self, path: &str) -> Error {
        let place = self.chunk.map_or_else(String::new, |chunk| format!("chunk {chunk}: "));
        Error::damaged(path, format!("{place}{}", self.detail))
    }
}

type Checked<T> = std::result::Result<T, Bad>;

/// The vault opened for reading everything.
pub(crate) struct Reading {
    repo: Repository<IndexedFullStatus>,
}

impl Reading {
    pub(crate) fn new(repo: Repository<IndexedFullStatus>) -> Self {
        Self { repo }
    }

    /// The folder entries of a tree.
    pub(crate) fn tree(&self, id: TreeId) -> Checked<Vec<Node>> {
        let pack = self.repo.get_index_entry(&id).ok().map(|entry| entry.pack.to_hex().as_str().to_owned());
        self.blob(BlobId::from(id), BlobType::Tree, pack.clone())?;
        let bad = |detail: String| Bad { chunk: Some(id.to_hex().as_str().to_owned()), pack: pack.clone(), detail };
        let Tree { nodes } = self.repo.get_tree(&id).map_err(|error| bad(brief(&error)))?;
        Ok(nodes)
    }

    /// One chunk of a file.
    pub(crate) fn chunk(&self, id: &DataId) -> Checked<Bytes> {
        let pack = self.repo.get_index_entry(id).ok().map(|entry| entry.pack.to_hex().as_str().to_owned());
        self.blob(BlobId::from(*id), BlobType::Data, pack)
    }

    fn blob(&self, id: BlobId, kind: BlobType, pack: Option<String>) -> Checked<Bytes> {
        let bad = |detail: String| Bad { chunk: Some(id.to_hex().as_str().to_owned()), pack: pack.clone(), detail };
        let data = self.repo.get_blob_cached(&id, kind).map_err(|error| bad(brief(&error)))?;
        if hash(&data) == *id { Ok(data) } else { Err(bad("contents do not match the checksum".to_owned())) }
    }

    /// The folder that the snapshot keeps under `label`.
    pub(crate) fn label(&self, snapshot: &SnapshotFile, label: &str) -> Result<Node> {
        let roots = self.tree(snapshot.tree).map_err(|bad| bad.into_error(label))?;
        roots.into_iter().find(|node| node.is_dir() && node.name().as_encoded_bytes() == label.as_bytes()).ok_or_else(
            || Error::UnknownLabel { id: snapshot.id.to_hex().as_str().to_owned(), label: label.to_owned() },
        )
    }
}
