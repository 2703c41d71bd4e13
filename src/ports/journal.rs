//! The journal: append-only, per stream, hash-chained. And blobs: large bodies by digest.
//!
//! Contract: sequence numbers have no gaps; an append is all or nothing; a wrong `expected_seq` is how
//! a second driver learns that it lost; what was appended is never changed; a store that finds itself
//! damaged refuses writes and says which entry. A stream of another tenant does not exist for a caller.

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::event::{Event, NewEvent, StreamKind, StreamName};
use tokio::sync::watch;

/// Most events of one append or one read.
pub const BATCH_EVENTS_MAX: usize = 1_000;
/// Most bytes of one event body or one blob.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream has moved on; read it again.
    #[error("stream {stream} is at {actual}, not at {expected}")]
    Conflict {
        /// Which stream.
        stream: String,
        /// What the caller believed.
        expected: u64,
        /// What is true.
        actual: u64,
    },
    /// The caller's tenant does not own the stream.
    #[error("stream does not exist")]
    NotFound,
    /// More than a bound allows.
    #[error("{0}")]
    TooLarge(String),
    /// Stored data is damaged; writes are refused from now on.
    #[error("journal entry {seq} is damaged: {detail}")]
    Corrupt {
        /// First damaged entry.
        seq: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// No room, no permission, locked, from a newer version, gone.
    #[error("journal is not available: {detail}")]
    Unavailable {
        /// What exactly.
        detail: String,
        /// What to do about it.
        hint: String,
    },
}

/// Where an append landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Journal sequence number of the last event appended.
    pub seq: u64,
    /// Stream sequence number of the last event appended.
    pub stream_seq: u64,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Entries checked.
    pub entries: u64,
    /// Hash of the last entry checked.
    pub head: String,
    /// Damage found, first entry first; empty means none.
    pub damage: Vec<(u64, String)>,
    /// Bodies that were erased on purpose.
    pub erased: u64,
}

/// The append-only record.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends `events` to `stream` if its last sequence number is `expected_seq` (0 for a new stream).
    /// Returns after the strongest durability any of the events asks for.
    async fn append(
        &self,
        cx: &CallContext,
        stream: &StreamName,
        expected_seq: u64,
        events: Vec<NewEvent>,
    ) -> Result<Appended, Error>;

    /// Events of one stream after `after_stream_seq`, in order, at most `limit` (bounded by
    /// [`BATCH_EVENTS_MAX`]). An unknown stream is empty.
    async fn read(
        &self,
        cx: &CallContext,
        stream: &StreamName,
        after_stream_seq: u64,
        limit: usize,
    ) -> Result<Vec<Event>, Error>;

    /// Events of the caller's tenant after journal sequence `after_seq`, in order, at most `limit`.
    /// A System principal sees every tenant.
    async fn feed(&self, cx: &CallContext, after_seq: u64, limit: usize) -> Result<Vec<Event>, Error>;

    /// Names of the caller's streams of one kind with their last stream sequence, newest first, at most `limit`.
    async fn streams(&self, cx: &CallContext, kind: StreamKind, limit: usize) -> Result<Vec<(StreamName, u64)>, Error>;

    /// Follows the journal's last sequence number; a change means there is something to read.
    fn head(&self) -> watch::Receiver<u64>;

    /// Checks entries from `from_seq` on against the chain. Offline-safe; never changes anything.
    async fn verify(&self, from_seq: u64) -> Result<Verified, Error>;

    /// Keeps `bytes` (bounded by [`BODY_BYTES_MAX`]) under their SHA-256, which is returned as hex.
    /// Keeping the same bytes again changes nothing.
    async fn put_blob(&self, cx: &CallContext, bytes: &[u8]) -> Result<String, Error>;

    /// The bytes kept under `digest` by this tenant.
    async fn get_blob(&self, cx: &CallContext, digest: &str) -> Result<Option<Vec<u8>>, Error>;
}
