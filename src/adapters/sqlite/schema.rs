//! The schema and its versions: each migration runs once, in one transaction, oldest first. Never opens a
//! file that something else made, or that a newer version has changed.

use std::collections::BTreeSet;
use std::path::Path;

use opsward_ports::journal::Error;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, raw_sql};

use crate::failure;

/// Entry `n` brings version `n` to `n + 1`.
const MIGRATIONS: [&str; 1] = [include_str!("schema/1.sql")];

/// "opsw": tells our file from any other SQLite file.
const APPLICATION_ID: i64 = 0x6f70_7377;

/// Brings the database at `path` to the newest version.
pub(crate) async fn migrate(conn: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    migrate_with(&MIGRATIONS, conn, path).await
}

async fn migrate_with(migrations: &[&'static str], conn: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let failed = |error: sqlx::Error| failure::open(path, &error);
    let number = async |conn: &mut SqliteConnection, sql: &'static str| -> Result<i64, Error> {
        sqlx::query_scalar(sql).fetch_one(conn).await.map_err(failed)
    };
    let application = number(conn, "PRAGMA application_id").await?;
    let version = number(conn, "PRAGMA user_version").await?;
    let tables = number(conn, "SELECT count(*) FROM sqlite_schema").await?;
    if application != APPLICATION_ID && (tables, version, application) != (0, 0, 0) {
        return Err(Error::Unavailable {
            detail: format!("{} is a database of another program", path.display()),
            hint: "choose another data directory".into(),
        });
    }
    let newest = migrations.len();
    let Some(missing) = usize::try_from(version).ok().and_then(|version| migrations.get(version..)) else {
        return Err(Error::Unavailable {
            detail: format!("{} has version {version}; this program knows {newest}", path.display()),
            hint: "use the newer opsward that made it, or restore the backup from before the upgrade".into(),
        });
    };
    // Why after the checks: a file that is not ours must stay as it was, and this writes to it.
    raw_sql("PRAGMA journal_mode = WAL").execute(&mut *conn).await.map_err(failed)?;
    if missing.is_empty() {
        return Ok(());
    }
    let script = missing.concat();
    let script = format!(
        "BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {newest}; COMMIT"
    );
    // Why this is safe to assert: the parts are constants of this file.
    raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut *conn).await.map_err(failed)?;
    Ok(())
}

/// What the database at `path` has besides, or lacks of, the newest schema. Its guards are part of the
/// schema, so a journal without them must be noticed before it is written.
pub(crate) async fn difference(conn: &mut SqliteConnection, path: &Path) -> Result<Option<String>, Error> {
    let failed = |error: sqlx::Error| failure::open(path, &error);
    let mut fresh = SqliteConnectOptions::new().in_memory(true).connect().await.map_err(failed)?;
    for migration in MIGRATIONS {
        raw_sql(migration).execute(&mut fresh).await.map_err(failed)?;
    }
    let expected = objects(&mut fresh).await.map_err(failed)?;
    let actual = objects(conn).await.map_err(failed)?;
    fresh.close().await.map_err(failed)?;
    Ok(expected.symmetric_difference(&actual).next().map(|(name, _)| name.clone()))
}

/// Name and definition of everything in a schema.
async fn objects(conn: &mut SqliteConnection) -> Result<BTreeSet<(String, Option<String>)>, sqlx::Error> {
    // Why not the names that begin so: SQLite makes those by itself when it likes.
    let sql = "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'";
    Ok(sqlx::query_as(sql).fetch_all(conn).await?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(path: &Path) -> SqliteConnection {
        SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
    }

    #[tokio::test]
    async fn every_step_runs_once_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j.db");
        let mut conn = open(&path).await;
        let steps = ["CREATE TABLE a (x);", "INSERT INTO a VALUES (2);", "UPDATE a SET x = x + 1;"];
        migrate_with(&steps[..1], &mut conn, &path).await.unwrap();
        migrate_with(&steps, &mut conn, &path).await.unwrap();
        migrate_with(&steps, &mut conn, &path).await.unwrap();
        let x: i64 = sqlx::query_scalar("SELECT x FROM a").fetch_one(&mut conn).await.unwrap();
        assert_eq!(x, 3);
        let older = migrate_with(&steps[..2], &mut conn, &path).await.unwrap_err();
        assert!(matches!(&older, Error::Unavailable { detail, hint }
            if detail.contains("version 3; this program knows 2") && hint.contains("newer opsward")));
    }

    #[tokio::test]
    async fn a_failing_step_leaves_the_old_version() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j.db");
        let mut conn = open(&path).await;
        migrate_with(&["CREATE TABLE a (x);"], &mut conn, &path).await.unwrap();
        assert!(migrate_with(&["", "CREATE TABLE b (x); nonsense"], &mut conn, &path).await.is_err());
        conn.close().await.unwrap();
        let mut conn = open(&path).await;
        migrate_with(&["", "CREATE TABLE b (x)"], &mut conn, &path).await.unwrap();
    }

    #[tokio::test]
    async fn the_file_of_another_program_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.db");
        let mut conn = open(&path).await;
        raw_sql("CREATE TABLE theirs (x)").execute(&mut conn).await.unwrap();
        let before = std::fs::read(&path).unwrap();
        let refused = migrate(&mut conn, &path).await.unwrap_err();
        assert!(refused.to_string().contains("another program"));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
