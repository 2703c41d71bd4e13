//! Reading, on connections that cannot write. Never returns an entry whose body is not the one committed to.

use futures::TryStreamExt as _;
use opsward_domain::chain::GENESIS;
use opsward_domain::context::CallContext;
use opsward_domain::event::{Event, StreamKind, StreamName};
use opsward_domain::name::Tenant;
use opsward_domain::principal::Kind;
use opsward_ports::journal::entry::{Entry, blob_digest, stream_name};
use opsward_ports::journal::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Error};
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, SqlitePool};

use crate::failure;
use crate::store::{self, entries, number, seq};

const STREAM: &str = entries!("WHERE e.stream = ? AND e.stream_seq > ? ORDER BY e.stream_seq LIMIT ?");
const FEED: &str = entries!("WHERE e.seq > ? ORDER BY e.seq LIMIT ?");
const FEED_TENANT: &str = entries!("WHERE e.tenant = ? AND e.seq > ? ORDER BY e.seq LIMIT ?");
const PAGE: &str = entries!("WHERE e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT ?");
/// Entries of one page of an export.
const PAGE_ENTRIES: i64 = 256;
const STREAMS: &str = "SELECT name, last_stream_seq FROM stream WHERE kind = ? ORDER BY last_seq DESC LIMIT ?";
const STREAMS_TENANT: &str =
    "SELECT name, last_stream_seq FROM stream WHERE tenant = ? AND kind = ? ORDER BY last_seq DESC LIMIT ?";

/// The bound of one answer.
fn rows(limit: usize) -> i64 {
    i64::try_from(limit.min(BATCH_EVENTS_MAX)).unwrap_or(i64::MAX)
}

/// Events of one stream.
pub(crate) async fn stream(
    pool: &SqlitePool,
    stream: &StreamName,
    after_stream_seq: u64,
    limit: usize,
) -> Result<Vec<Event>, Error> {
    events(pool, sqlx::query(STREAM).bind(stream.to_string()).bind(number(after_stream_seq)).bind(rows(limit))).await
}

/// Events of every stream that the caller may see.
pub(crate) async fn feed(
    pool: &SqlitePool,
    cx: &CallContext,
    after_seq: u64,
    limit: usize,
) -> Result<Vec<Event>, Error> {
    let query = match cx.principal.kind {
        Kind::System => sqlx::query(FEED),
        _ => sqlx::query(FEED_TENANT).bind(cx.tenant().to_string()),
    };
    events(pool, query.bind(number(after_seq)).bind(rows(limit))).await
}

/// Runs a query of [`entries!`]. Damage ends the answer; it is an error once nothing stands before it.
async fn events(pool: &SqlitePool, query: Query<'_, Sqlite, SqliteArguments>) -> Result<Vec<Event>, Error> {
    let failed = |error: sqlx::Error| failure::statement(&error);
    let mut conn = pool.acquire().await.map_err(failed)?;
    let mut found = query.fetch(&mut *conn);
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.try_next().await.map_err(failed)? {
        let entry = store::row_entry(&row);
        bytes += entry.as_ref().map_or(0, Entry::bytes);
        if bytes > BATCH_BYTES_MAX && !events.is_empty() {
            break;
        }
        match entry.and_then(Entry::event) {
            Ok(event) => events.push(event),
            Err(error) if events.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(events)
}

/// Streams of one kind that the caller may see.
pub(crate) async fn streams(
    pool: &SqlitePool,
    cx: &CallContext,
    kind: StreamKind,
    limit: usize,
) -> Result<Vec<(StreamName, u64)>, Error> {
    let query = match cx.principal.kind {
        Kind::System => sqlx::query_as(STREAMS),
        _ => sqlx::query_as(STREAMS_TENANT).bind(cx.tenant().to_string()),
    };
    let found: Vec<(String, i64)> =
        query.bind(kind.word()).bind(rows(limit)).fetch_all(pool).await.map_err(|error| failure::statement(&error))?;
    let named = |(name, last): (String, i64)| match stream_name(&name) {
        Some(stream) => Ok((stream, seq(last))),
        None => Err(Error::Corrupt { seq: 0, detail: "a listed stream has no valid name".into() }),
    };
    found.into_iter().map(named).collect()
}

/// A blob of `tenant`.
pub(crate) async fn blob(pool: &SqlitePool, tenant: &Tenant, digest: &str) -> Result<Option<Vec<u8>>, Error> {
    let found: Option<Vec<u8>> = sqlx::query_scalar("SELECT bytes FROM blob WHERE tenant = ? AND digest = ?")
        .bind(tenant.to_string())
        .bind(digest.to_owned())
        .fetch_optional(pool)
        .await
        .map_err(|error| failure::statement(&error))?;
    match found {
        Some(bytes) if blob_digest(&bytes).ok().as_deref() != Some(digest) => {
            Err(Error::Corrupt { seq: 0, detail: format!("blob {digest} is not what it was") })
        }
        found => Ok(found),
    }
}

/// Hash of entry `at`, or of nothing if there is no entry yet.
pub(crate) async fn hash(pool: &SqlitePool, at: u64) -> Result<String, Error> {
    let failed = |error: sqlx::Error| failure::statement(&error);
    let mut conn = pool.acquire().await.map_err(failed)?;
    let hash = store::hash_at(&mut conn, at).await.map_err(failed)?;
    Ok(hash.unwrap_or_else(|| GENESIS.to_owned()))
}

/// Whole entries after `after` up to `to`, as stored. Empty only if there are none.
pub(crate) async fn page(pool: &SqlitePool, after: u64, to: u64) -> Result<Vec<Entry>, Error> {
    let failed = |error: sqlx::Error| failure::statement(&error);
    let mut conn = pool.acquire().await.map_err(failed)?;
    let mut found = sqlx::query(PAGE).bind(number(after)).bind(number(to)).bind(PAGE_ENTRIES).fetch(&mut *conn);
    let (mut page, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES_MAX
        && let Some(row) = found.try_next().await.map_err(failed)?
    {
        let entry = store::row_entry(&row)?;
        bytes += entry.bytes();
        page.push(entry);
    }
    Ok(page)
}
