//! Every kind of damage: done past the guards, found, named, and answered by refusing writes while what is
//! sound can still be read. Each case works on a copy of one sound journal.

use std::path::Path;

use opsward_domain::event::StreamKind;
use opsward_ports::journal::{Error, Journal as _, conformance};
use opsward_sqlite::{Options, SqliteJournal};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use crate::support::{Dice, block_on, caller, copy, fill, incident, open, path, tamper};

/// The cases of this file.
pub(crate) const CASES: &[crate::Case] = &[
    ("damage_is_found_and_named", damage_is_found_and_named),
    ("damage_at_the_end_is_found_by_opening", damage_at_the_end_is_found_by_opening),
    ("damage_behind_is_found_later", damage_behind_is_found_later),
    ("a_damaged_blob_is_no_reason_to_stop", a_damaged_blob_is_no_reason_to_stop),
    ("the_file_guards_itself", the_file_guards_itself),
    ("missing_guards_are_noticed", missing_guards_are_noticed),
    ("no_flipped_bit_goes_unseen", no_flipped_bit_goes_unseen),
];

/// Entries of the journal that gets damaged: two checkpoints and a tail.
const ENTRIES: u64 = 600;

/// SQLite's code for a row that a trigger refused.
const REFUSED_BY_TRIGGER: &str = "1811";

/// What is done to it, and the entry that has to be named.
const DAMAGE: [(&str, u64); 25] = [
    ("UPDATE body SET bytes = cast(replace(cast(bytes AS text), 'event', 'Event') AS blob) WHERE seq = 580", 580),
    ("UPDATE body SET salt = zeroblob(16) WHERE seq = 100", 100),
    ("UPDATE body SET (salt, bytes) = (SELECT salt, bytes FROM body WHERE seq = 101) WHERE seq = 100", 100),
    ("DELETE FROM body WHERE seq = 100", 100),
    ("UPDATE entry SET author = 'eve' WHERE seq = 100", 100),
    ("UPDATE entry SET at_ms = at_ms + 1 WHERE seq = 100", 100),
    ("UPDATE entry SET origin = 'cli' WHERE seq = 100", 100),
    ("UPDATE entry SET cause = 0 WHERE seq = 100", 100),
    ("UPDATE entry SET version = version + 1 WHERE seq = 100", 100),
    ("UPDATE entry SET version = -1 WHERE seq = 100", 100),
    ("UPDATE entry SET stream_seq = 1000 WHERE seq = 100", 100),
    ("UPDATE entry SET stream = 'zeta/incident/one' WHERE seq = 100", 100),
    ("UPDATE entry SET author = cast(x'ff' as text) WHERE seq = 100", 100),
    ("UPDATE entry SET commitment = zeroblob(32) WHERE seq = 100", 100),
    ("UPDATE entry SET hash = zeroblob(32) WHERE seq = 100", 100),
    ("DELETE FROM entry WHERE seq = 100", 100),
    ("UPDATE entry SET seq = 5000 WHERE seq = 100", 100),
    (
        "UPDATE entry SET seq = 0 WHERE seq = 100; UPDATE entry SET seq = 100 WHERE seq = 101; \
         UPDATE entry SET seq = 101 WHERE seq = 0",
        100,
    ),
    ("DELETE FROM entry WHERE seq > 500", 512),
    ("DELETE FROM entry WHERE seq > 590", 600),
    (
        "INSERT INTO entry (seq, stream, stream_seq, at_ms, author, origin, cause, version, commitment, hash) \
         SELECT 601, stream, 601, at_ms, author, origin, cause, version, commitment, hash FROM entry WHERE seq = 600",
        601,
    ),
    ("UPDATE checkpoint SET hash = zeroblob(32) WHERE seq = 256", 256),
    ("UPDATE stream SET last_seq = 599, last_stream_seq = 599", 600),
    ("UPDATE stream SET name = 'zeta/incident/one'", 1),
    ("DELETE FROM stream", 1),
];

/// A sound journal, left as a crash leaves it: with a tail that no checkpoint covers.
async fn sound() -> TempDir {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = open(dir.path()).await;
    fill(&journal, ENTRIES).await;
    copy(dir.path(), image.path());
    journal.close().await.unwrap();
    image
}

async fn copy_of(image: &Path) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(image, dir.path());
    dir
}

/// That writes are refused, and because of which entry.
async fn refused(journal: &SqliteJournal) -> Option<u64> {
    let other = conformance::stream("acme", StreamKind::Conversation, "other");
    match journal.append(&caller(), &other, 0, vec![conformance::power("x")]).await {
        Err(Error::Corrupt { seq, .. }) => Some(seq),
        Ok(_) => None,
        Err(other) => panic!("expected corruption, got {other}"),
    }
}

fn damage_is_found_and_named() {
    block_on(async {
        let image = sound().await;
        for (sql, named) in DAMAGE {
            let dir = copy_of(image.path()).await;
            tamper(dir.path(), sql).await;
            let journal = open(dir.path()).await;
            let found = journal.verify(1).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            let seqs: Vec<u64> = found.damage.iter().map(|(seq, _)| *seq).collect();
            assert_eq!(seqs.first(), Some(&named), "{sql}: {:?}", found.damage);
            assert!(refused(&journal).await.is_some(), "{sql}");
            let readable = journal.read(&caller(), &incident(), 300, 10).await.unwrap();
            assert_eq!(readable.len(), 10, "{sql}");
            journal.close().await.unwrap();
        }
    });
}

fn damage_at_the_end_is_found_by_opening() {
    block_on(async {
        let image = sound().await;
        let at_the_end = DAMAGE.into_iter().filter(|(sql, named)| *named >= 512 && !sql.contains("stream SET"));
        for (sql, named) in at_the_end.chain([("UPDATE stream SET last_seq = 599", 600), ("DELETE FROM stream", 600)]) {
            let dir = copy_of(image.path()).await;
            tamper(dir.path(), sql).await;
            let journal = open(dir.path()).await;
            assert_eq!(refused(&journal).await, Some(named), "{sql}");
            journal.close().await.unwrap();
        }
    });
}

fn damage_behind_is_found_later() {
    block_on(async {
        let image = sound().await;
        tamper(
            image.path(),
            "UPDATE body SET bytes = x'7b7d' WHERE seq = 100; UPDATE entry SET cause = 9 WHERE seq = 7",
        )
        .await;
        let dir = copy_of(image.path()).await;
        let journal = open(dir.path()).await;
        assert_eq!(refused(&journal).await, None, "opening only checks the tail");
        let found = journal.verify_behind().await.unwrap();
        assert_eq!(found.entries, 512);
        assert_eq!(found.damage.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [7, 100]);
        assert_eq!(refused(&journal).await, Some(7));
        journal.close().await.unwrap();

        let dir = copy_of(image.path()).await;
        let journal = open(dir.path()).await;
        assert_eq!(journal.read(&caller(), &incident(), 90, 50).await.unwrap().len(), 9, "up to the damage");
        let read = journal.read(&caller(), &incident(), 99, 50).await;
        assert!(matches!(read, Err(Error::Corrupt { seq: 100, .. })), "{read:?}");
        assert_eq!(journal.read(&caller(), &incident(), 100, 50).await.unwrap().len(), 50, "after the damage");
        assert_eq!(refused(&journal).await, Some(100), "a reader that meets damage stops the writer");
        journal.close().await.unwrap();
    });
}

fn a_damaged_blob_is_no_reason_to_stop() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path()).await;
        let sound = journal.put_blob(&caller(), b"sound").await.unwrap();
        let digest = journal.put_blob(&caller(), b"evidence").await.unwrap();
        journal.close().await.unwrap();
        tamper(dir.path(), "UPDATE blob SET bytes = x'00' WHERE length(bytes) = 8").await;
        let journal = open(dir.path()).await;
        let read = journal.get_blob(&caller(), &digest).await;
        assert!(matches!(read, Err(Error::Corrupt { seq: 0, .. })), "{read:?}");
        assert!(journal.get_blob(&caller(), &sound).await.unwrap().is_some());
        let found = journal.verify(1).await.unwrap();
        assert_eq!(found.damage.len(), 1);
        assert!(found.damage[0].1.contains(&digest), "{:?}", found.damage);
        assert_eq!(refused(&journal).await, None);
        journal.close().await.unwrap();
    });
}

fn the_file_guards_itself() {
    block_on(async {
        let image = sound().await;
        let mut conn = SqliteConnectOptions::new().filename(path(image.path())).connect().await.unwrap();
        for sql in [
            "UPDATE entry SET author = 'eve' WHERE seq = 100",
            "DELETE FROM entry WHERE seq = 600",
            "INSERT OR REPLACE INTO entry (seq, stream, stream_seq, at_ms, author, origin, cause, version, commitment, \
             hash) SELECT seq, stream, stream_seq, 0, author, origin, cause, version, commitment, hash FROM entry \
             WHERE seq = 600",
            "UPDATE body SET bytes = x'' WHERE seq = 1",
            "DELETE FROM body WHERE seq = 1",
            "INSERT OR REPLACE INTO body VALUES (600, x'', x'')",
            "UPDATE checkpoint SET hash = x''",
            "DELETE FROM checkpoint",
            "INSERT OR REPLACE INTO checkpoint VALUES (256, x'', 0)",
            "UPDATE stream SET last_seq = 1",
            "DELETE FROM stream",
        ] {
            let error = sqlx::raw_sql(sql).execute(&mut conn).await.expect_err(sql);
            let code = error.as_database_error().and_then(|error| error.code().map(String::from));
            assert_eq!(code.as_deref(), Some(REFUSED_BY_TRIGGER), "{sql}: {error}");
        }
        conn.close().await.unwrap();
    });
}

fn missing_guards_are_noticed() {
    block_on(async {
        let image = sound().await;
        for sql in [
            "DROP TRIGGER body_update",
            "DROP INDEX entry_tenant",
            "CREATE TRIGGER more AFTER INSERT ON entry BEGIN DELETE FROM blob; END",
        ] {
            let dir = copy_of(image.path()).await;
            let mut conn = SqliteConnectOptions::new().filename(path(dir.path())).connect().await.unwrap();
            sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
            let journal = open(dir.path()).await;
            assert_eq!(refused(&journal).await, Some(0), "{sql}");
            assert_eq!(journal.read(&caller(), &incident(), 0, 10).await.unwrap().len(), 10, "{sql}");
            journal.close().await.unwrap();
        }
    });
}

/// Flips bits of the closed file, one at a time: either it is refused or found damaged, or everything that
/// can be read of it is as it was.
fn no_flipped_bit_goes_unseen() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path()).await;
        fill(&journal, 40).await;
        journal.put_blob(&caller(), &[7; 9_000]).await.unwrap();
        let whole = journal.feed(&caller(), 0, 1_000).await.unwrap();
        journal.close().await.unwrap();
        let bytes = std::fs::read(path(dir.path())).unwrap();
        let mut dice = Dice::new(11);
        let (mut refused, mut found, mut harmless) = (0, 0, 0);
        for _ in 0..400 {
            let at = usize::try_from(dice.below(bytes.len() as u64)).unwrap();
            let mut copy = bytes.clone();
            copy[at] ^= 1 << dice.below(8);
            std::fs::write(path(dir.path()), &copy).unwrap();
            for suffix in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(path(dir.path()).with_file_name(format!("journal.db{suffix}")));
            }
            let Ok(journal) = SqliteJournal::open(&path(dir.path()), Options::default()).await else {
                refused += 1;
                continue;
            };
            match journal.verify(1).await {
                Ok(verified) if verified.damage.is_empty() => {
                    let read = journal.feed(&caller(), 0, 1_000).await.unwrap();
                    assert_eq!(read, whole, "a flip of byte {at} changed what is read, unseen");
                    let by_stream = journal.read(&caller(), &incident(), 0, 1_000).await.unwrap();
                    assert_eq!(by_stream, whole, "a flip of byte {at} changed what is read, unseen");
                    harmless += 1;
                }
                _ => found += 1,
            }
            let _ = journal.close().await;
        }
        println!("400 flipped bits: {refused} refused by opening, {found} found, {harmless} in unused places");
        assert!(refused > 0 && found > 0 && harmless > 0);
    });
}
