//! The journal: append-only, per stream, hash-chained. And blobs: large bodies by digest.
//!
//! Contract: sequence numbers have no gaps; an append is all or nothing; a wrong `expected_seq` is how
//! a second driver learns that it lost; what was appended is never changed; a store that finds itself
//! damaged refuses writes and says which entry. A stream of another tenant does not exist for a caller.
//! Nobody, not even a System principal, appends for a tenant other than its own.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod entry;
pub mod export;
pub mod guarded;
pub mod memory;
pub mod upcast;

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::event::{Event, NewEvent, StreamKind, StreamName};
use opsward_domain::name::Tenant;
use opsward_domain::principal::Kind;
use tokio::sync::watch;

/// Most events of one append or one read.
pub const BATCH_EVENTS_MAX: usize = 1_000;
/// Most bytes of one event body or one blob.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most bytes of all bodies of one append, and about the most that one read returns.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most damaged places that one verification names.
pub const DAMAGE_MAX: usize = 100;

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
    /// Stored data is damaged; writes are refused from now on, unless it is only a blob.
    #[error("journal entry {seq} is damaged: {detail}")]
    Corrupt {
        /// First damaged entry; 0 if the damage is not in an entry.
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
    /// Damage found, first entry first, at most [`DAMAGE_MAX`]; empty means none. Entry 0 stands for
    /// what is not an entry: a blob, an index, the file itself.
    pub damage: Vec<(u64, String)>,
    /// Bodies that were erased on purpose.
    pub erased: u64,
}

/// True if `cx` may see what belongs to `tenant`: its own, or everything for a System principal.
pub fn may_read(cx: &CallContext, tenant: &Tenant) -> bool {
    cx.principal.kind == Kind::System || cx.tenant() == tenant
}

/// The append-only record.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends `events` to `stream` if its last sequence number is `expected_seq` (0 for a new stream).
    /// Returns after the strongest durability any of the events asks for. All bodies together are bounded
    /// by [`BATCH_BYTES_MAX`]. No events at all: only checks `expected_seq`. A caller that gives up waiting
    /// does not know whether the events were appended. [`Error::NotFound`] if the stream is another tenant's.
    async fn append(
        &self,
        cx: &CallContext,
        stream: &StreamName,
        expected_seq: u64,
        events: Vec<NewEvent>,
    ) -> Result<Appended, Error>;

    /// Events of one stream after `after_stream_seq`, in order, at most `limit` (bounded by
    /// [`BATCH_EVENTS_MAX`]). An unknown stream is empty. Stops early at [`BATCH_BYTES_MAX`], but never
    /// before the first event: only an empty answer means that there is no more. Damage ends the answer too;
    /// it is [`Error::Corrupt`] with its entry once nothing stands before it.
    async fn read(
        &self,
        cx: &CallContext,
        stream: &StreamName,
        after_stream_seq: u64,
        limit: usize,
    ) -> Result<Vec<Event>, Error>;

    /// Events of the caller's tenant after journal sequence `after_seq`, in order, at most `limit`.
    /// A System principal sees every tenant. Ends early as [`Journal::read`] does.
    async fn feed(&self, cx: &CallContext, after_seq: u64, limit: usize) -> Result<Vec<Event>, Error>;

    /// Names of the caller's streams of one kind with their last stream sequence, the last appended to
    /// first, at most `limit`. A System principal sees every tenant's.
    async fn streams(&self, cx: &CallContext, kind: StreamKind, limit: usize) -> Result<Vec<(StreamName, u64)>, Error>;

    /// Follows the journal's last sequence number; a change means there is something to read.
    fn head(&self) -> watch::Receiver<u64>;

    /// Why every append is refused for good, if it is: [`Error::Corrupt`] once damage was found.
    fn refusal(&self) -> Option<Error>;

    /// Checks entries from `from_seq` on against the chain; from 0 or 1, everything else that is stored as
    /// well. Never changes what is stored; damage that it finds, except in a blob, refuses writes from then on.
    async fn verify(&self, from_seq: u64) -> Result<Verified, Error>;

    /// Keeps `bytes` (bounded by [`BODY_BYTES_MAX`]) under their SHA-256, which is returned as hex.
    /// Keeping the same bytes again changes nothing.
    async fn put_blob(&self, cx: &CallContext, bytes: &[u8]) -> Result<String, Error>;

    /// The bytes kept under `digest` by this tenant.
    async fn get_blob(&self, cx: &CallContext, digest: &str) -> Result<Option<Vec<u8>>, Error>;
}
