//! Verification of what is stored: the chain, page by page and never holding a connection for long, and
//! whatever follows from it. Never repairs.

use futures::TryStreamExt as _;
use opsward_domain::chain::GENESIS;
use opsward_ports::journal::entry::{Check, blob_digest};
use opsward_ports::journal::{DAMAGE_MAX, Error, Verified};
use sqlx::{Row as _, SqlitePool};

use crate::failure;
use crate::store::{self, entries, number, seq};

/// Entries read at a time.
const PAGE_ENTRIES: i64 = 512;
/// Blobs read at a time.
const PAGE_BLOBS: i64 = 8;

const PAGE: &str = entries!("WHERE e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT ?");

/// Each finds rows that contradict the entries, as `(seq, what)`.
const CONTRADICTIONS: [&str; 4] = [
    "SELECT seq, 'a checkpoint is at this entry, which does not exist' FROM checkpoint c \
     WHERE NOT EXISTS (SELECT 1 FROM entry e WHERE e.seq = c.seq) LIMIT ?",
    "SELECT max(last_seq, coalesce((SELECT max(seq) FROM entry e WHERE e.stream = s.name), 0)), \
       'stream ' || name || ' does not end as it is listed' FROM stream s \
     WHERE NOT EXISTS (SELECT 1 FROM entry e WHERE e.seq = s.last_seq AND e.stream = s.name \
       AND e.stream_seq = s.last_stream_seq) \
     OR EXISTS (SELECT 1 FROM entry e WHERE e.stream = s.name AND e.stream_seq > s.last_stream_seq) LIMIT ?",
    "SELECT seq, 'its stream is not listed' FROM entry e \
     WHERE e.stream_seq = 1 AND NOT EXISTS (SELECT 1 FROM stream s WHERE s.name = e.stream) LIMIT ?",
    "SELECT max(seq), 'its stream has gaps' FROM entry GROUP BY stream HAVING count(*) <> max(stream_seq) LIMIT ?",
];

/// Checks entries after `after` up to `to`.
pub(crate) async fn chain(pool: &SqlitePool, after: u64, to: u64) -> Result<Check, Error> {
    let failed = |error: sqlx::Error| failure::statement(&error);
    let mut check = match after {
        0 => Check::from_start(),
        _ => {
            let mut conn = pool.acquire().await.map_err(failed)?;
            match store::hash_at(&mut conn, after).await.map_err(failed)? {
                Some(hash) => Check::after(after, hash),
                None => {
                    let mut check = Check::after(after, GENESIS.to_owned());
                    check.damage(after, "it is missing".into());
                    check
                }
            }
        }
    };
    while check.next_seq() <= to {
        let before = check.next_seq();
        page(pool, &mut check, to).await.map_err(failed)?;
        if check.next_seq() == before {
            check.damage(before, format!("entries {before} to {to} are missing"));
            break;
        }
    }
    Ok(check)
}

/// Checks entries after `after` up to `to`, and that no stream is listed as going on after them.
pub(crate) async fn tail(pool: &SqlitePool, after: u64, to: u64) -> Result<Verified, Error> {
    let mut check = chain(pool, after, to).await?;
    let last: i64 = sqlx::query_scalar("SELECT coalesce(max(last_seq), 0) FROM stream")
        .fetch_one(pool)
        .await
        .map_err(|error| failure::statement(&error))?;
    if seq(last) != to {
        check.damage(seq(last).max(to), format!("the last entry is {to}; as streams are listed it is {last}"));
    }
    Ok(check.finish())
}

async fn page(pool: &SqlitePool, check: &mut Check, to: u64) -> Result<(), sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let after = number(check.next_seq() - 1);
    let mut rows = sqlx::query(PAGE).bind(after).bind(number(to)).bind(PAGE_ENTRIES).fetch(&mut *conn);
    while let Some(row) = rows.try_next().await? {
        match store::row_entry(&row) {
            Ok(entry) => {
                check.entry(&entry);
                if store::row_checkpoint(&row).is_some_and(|hash| hash != entry.hash) {
                    check.damage(entry.link.seq, "its checkpoint has another hash".into());
                }
            }
            Err(error) => check.unreadable(store::row_seq(&row), error.to_string()),
        }
    }
    Ok(())
}

/// Adds what contradicts the entries, and what SQLite itself finds wrong with its file.
pub(crate) async fn rest(pool: &SqlitePool, check: &mut Check) -> Result<(), Error> {
    let failed = |error: sqlx::Error| failure::statement(&error);
    let mut conn = pool.acquire().await.map_err(failed)?;
    for sql in CONTRADICTIONS {
        let query = sqlx::query_as::<_, (i64, String)>(sql).bind(i64::try_from(DAMAGE_MAX).unwrap_or(i64::MAX));
        for (at, what) in query.fetch_all(&mut *conn).await.map_err(failed)? {
            check.damage(seq(at), what);
        }
    }
    let found: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check(10)").fetch_all(&mut *conn).await.map_err(failed)?;
    for what in found.into_iter().filter(|what| what != "ok") {
        check.damage(0, what);
    }
    Ok(())
}

/// Adds the blobs that are not what they are kept under.
pub(crate) async fn blobs(pool: &SqlitePool, found: &mut Verified) -> Result<(), Error> {
    let failed = |error: sqlx::Error| failure::statement(&error);
    let mut after = 0_i64;
    loop {
        let mut conn = pool.acquire().await.map_err(failed)?;
        let query = "SELECT rowid, digest, bytes FROM blob WHERE rowid > ? ORDER BY rowid LIMIT ?";
        let mut rows = sqlx::query(query).bind(after).bind(PAGE_BLOBS).fetch(&mut *conn);
        let mut seen = 0;
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            after = row.try_get(0).map_err(failed)?;
            seen += 1;
            let digest: String = row.try_get(1).unwrap_or_default();
            let bytes: Vec<u8> = row.try_get(2).unwrap_or_default();
            if blob_digest(&bytes).ok().as_ref() != Some(&digest) && found.damage.len() < DAMAGE_MAX {
                found.damage.push((0, format!("blob {digest} is not what it was")));
            }
        }
        if seen < PAGE_BLOBS {
            return Ok(());
        }
    }
}
