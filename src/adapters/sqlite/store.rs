//! Entries as rows: the statements and what they mean. Never decides anything.

use opsward_domain::chain::Link;
use opsward_ports::journal::Error;
use opsward_ports::journal::entry::{Entry, Kept};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

/// A query for whole entries; what is given says which.
macro_rules! entries {
    ($which:literal) => {
        concat!(
            "SELECT e.seq, e.stream, e.stream_seq, e.at_ms, e.author, e.origin, e.cause, e.version, \
             e.commitment, e.hash, b.salt, b.bytes, x.reason, c.hash \
             FROM entry e LEFT JOIN body b ON b.seq = e.seq LEFT JOIN erasure x ON x.seq = e.seq \
             LEFT JOIN checkpoint c ON c.seq = e.seq ",
            $which
        )
    };
}
pub(crate) use entries;

/// Inserts entries and then their bodies, in one trip to the connection's thread.
macro_rules! insert {
    ($entries:expr, $bodies:expr) => {
        concat!(
            "INSERT INTO entry (seq, stream, stream_seq, at_ms, author, origin, cause, version, commitment, hash) \
             VALUES ",
            $entries,
            "; INSERT INTO body (seq, salt, bytes) VALUES ",
            $bodies
        )
    };
}
macro_rules! four {
    ($row:expr) => {
        concat!($row, ",", $row, ",", $row, ",", $row)
    };
}

/// Statements by how many entries each inserts, the most first. Why these: a trip costs about as much as
/// inserting an entry, so a batch should take few, of a kind that can be kept prepared.
const INSERTS: [(usize, &str); 3] = [
    (16, insert!(four!(four!("(?,?,?,?,?,?,?,?,?,?)")), four!(four!("(?,?,?)")))),
    (4, insert!(four!("(?,?,?,?,?,?,?,?,?,?)"), four!("(?,?,?)"))),
    (1, insert!("(?,?,?,?,?,?,?,?,?,?)", "(?,?,?)")),
];

/// A sequence number as SQLite keeps it. What is beyond cannot be stored, so it compares as the largest.
pub(crate) fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// A sequence number as we keep it. A negative one was never written, so it reads as none.
pub(crate) fn seq(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Keeps new entries with their bodies. Where their streams end is kept by a trigger.
pub(crate) async fn insert(conn: &mut SqliteConnection, mut entries: Vec<Entry>) -> Result<(), sqlx::Error> {
    for (rows, sql) in INSERTS {
        while entries.len() >= rows {
            let rest = entries.split_off(rows);
            insert_rows(conn, sql, std::mem::replace(&mut entries, rest)).await?;
        }
    }
    Ok(())
}

async fn insert_rows(conn: &mut SqliteConnection, sql: &'static str, entries: Vec<Entry>) -> Result<(), sqlx::Error> {
    let mut query = sqlx::query(sql);
    let mut bodies = Vec::with_capacity(entries.len());
    for Entry { link, hash, kept } in entries {
        query = query
            .bind(number(link.seq))
            .bind(link.stream)
            .bind(number(link.stream_seq))
            .bind(link.at_ms)
            .bind(link.by)
            .bind(link.origin)
            .bind(number(link.cause))
            .bind(i64::from(link.version))
            .bind(hex::decode(link.commitment).unwrap_or_default())
            .bind(hex::decode(hash).unwrap_or_default());
        if let Kept::Body { salt, bytes } = kept {
            bodies.push((link.seq, salt, bytes));
        }
    }
    for (seq, salt, bytes) in bodies {
        query = query.bind(number(seq)).bind(salt).bind(bytes);
    }
    query.execute(conn).await.map(|_| ())
}

/// Where a stream ends; 0 for one that does not exist.
pub(crate) async fn last_stream_seq(conn: &mut SqliteConnection, name: &str) -> Result<u64, sqlx::Error> {
    let found: Option<i64> = sqlx::query_scalar("SELECT last_stream_seq FROM stream WHERE name = ?")
        .bind(name.to_owned())
        .fetch_optional(conn)
        .await?;
    Ok(found.map_or(0, seq))
}

/// Sequence and hash of the last row of a table that has both.
pub(crate) async fn last(conn: &mut SqliteConnection, sql: &'static str) -> Result<Option<(u64, String)>, sqlx::Error> {
    let found: Option<(i64, Vec<u8>)> = sqlx::query_as(sql).fetch_optional(conn).await?;
    Ok(found.map(|(number, hash)| (seq(number), hex::encode(hash))))
}

/// The last entry, for [`last`].
pub(crate) const LAST_ENTRY: &str = "SELECT seq, hash FROM entry ORDER BY seq DESC LIMIT 1";
/// The last checkpoint, for [`last`].
pub(crate) const LAST_CHECKPOINT: &str = "SELECT seq, hash FROM checkpoint ORDER BY seq DESC LIMIT 1";

/// Hash of entry `at`.
pub(crate) async fn hash_at(conn: &mut SqliteConnection, at: u64) -> Result<Option<String>, sqlx::Error> {
    let found: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT hash FROM entry WHERE seq = ?").bind(number(at)).fetch_optional(conn).await?;
    Ok(found.map(hex::encode))
}

/// Puts a checkpoint at the last entry, `at`.
pub(crate) async fn set_checkpoint(conn: &mut SqliteConnection, at: u64) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO checkpoint (seq, hash, at_ms) SELECT seq, hash, at_ms FROM entry WHERE seq = ?")
        .bind(number(at))
        .execute(conn)
        .await?;
    Ok(())
}

/// Sequence number of a row from [`entries!`].
pub(crate) fn row_seq(row: &SqliteRow) -> u64 {
    row.try_get(0).map_or(0, seq)
}

/// Hash that a checkpoint says the entry of this row has.
pub(crate) fn row_checkpoint(row: &SqliteRow) -> Option<String> {
    row.try_get::<Option<Vec<u8>>, _>(13).ok().flatten().map(hex::encode)
}

/// The entry of a row from [`entries!`]. A row that is none is damaged.
pub(crate) fn row_entry(row: &SqliteRow) -> Result<Entry, Error> {
    let damaged =
        |error: sqlx::Error| Error::Corrupt { seq: row_seq(row), detail: format!("its row cannot be read: {error}") };
    let link = || -> Result<Link, sqlx::Error> {
        Ok(Link {
            seq: row_seq(row),
            stream: row.try_get(1)?,
            stream_seq: seq(row.try_get(2)?),
            at_ms: row.try_get(3)?,
            by: row.try_get(4)?,
            origin: row.try_get(5)?,
            cause: seq(row.try_get(6)?),
            version: u16::try_from(row.try_get::<i64, _>(7)?).unwrap_or(0),
            commitment: hex::encode(row.try_get::<Vec<u8>, _>(8)?),
        })
    };
    let kept = || -> Result<Kept, sqlx::Error> {
        let (salt, bytes): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.try_get(10)?, row.try_get(11)?);
        let erased: Option<String> = row.try_get(12)?;
        Ok(match (salt, bytes, erased) {
            (Some(salt), Some(bytes), _) => Kept::Body { salt, bytes },
            (_, _, Some(reason)) => Kept::Erased { reason },
            _ => Kept::Missing,
        })
    };
    let hash = row.try_get::<Vec<u8>, _>(9).map_err(damaged)?;
    Ok(Entry { link: link().map_err(damaged)?, hash: hex::encode(hash), kept: kept().map_err(damaged)? })
}
