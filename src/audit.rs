//! What can be read from a data folder whose server is stopped: its chain verified, a run recorded, all of it
//! exported; and an export verified without the folder. Changes nothing.

use std::path::Path;

use opsward_domain::fault::Fault;
use opsward_engine::parts::journal_fault;
use opsward_engine::transcript::{self, Transcript};
use opsward_ports::journal::{Journal, Verified, export};
use opsward_sqlite::{Options, SqliteJournal};

/// Verifies every entry.
pub async fn verify(dir: &Path) -> Result<Verified, Fault> {
    let journal = open(dir).await?;
    let verified = journal.verify(1).await.map_err(journal_fault)?;
    journal.close().await.map_err(journal_fault)?;
    Ok(verified)
}

/// Verifies an export with nothing but the export.
pub fn verify_export(file: &Path) -> Result<Verified, Fault> {
    let unreadable =
        |error: std::io::Error| Fault::invalid(format!("{} cannot be read", file.display())).detail(error.to_string());
    let reader = std::fs::File::open(file).map_err(unreadable)?;
    export::verify_export(std::io::BufReader::new(reader)).map_err(journal_fault)
}

/// Writes every entry as a line of JSON to a new file, damaged ones as they are; how many there are.
pub async fn export(dir: &Path, to: &Path) -> Result<u64, Fault> {
    let unwritable = |error: std::io::Error| {
        Fault::unavailable(format!("{} cannot be written", to.display()))
            .detail(error.to_string())
            .hint("name a file that does not exist yet, in a folder that can be written")
    };
    let journal = open(dir).await?;
    let mut file = tokio::fs::File::create_new(to).await.map_err(unwritable)?;
    journal.export(&mut file).await.map_err(journal_fault)?;
    file.sync_all().await.map_err(unwritable)?;
    let entries = *journal.head().borrow();
    journal.close().await.map_err(journal_fault)?;
    Ok(entries)
}

/// Records a run, named as `KIND/ID` or by its id alone.
pub async fn record(dir: &Path, run: &str) -> Result<Transcript, Fault> {
    let journal = open(dir).await?;
    let stream = transcript::find(&journal, run).await?;
    let recorded = transcript::record(&journal, &stream).await?;
    journal.close().await.map_err(journal_fault)?;
    Ok(recorded)
}

async fn open(dir: &Path) -> Result<SqliteJournal, Fault> {
    let path = dir.join(crate::recovery::JOURNAL);
    if !path.exists() {
        return Err(Fault::not_found(format!("there is no journal in {}", dir.display())));
    }
    SqliteJournal::open(&path, Options::default()).await.map_err(journal_fault)
}
