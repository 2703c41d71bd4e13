//! What can be read from a data folder whose server is stopped: its chain verified, a run recorded. Changes
//! nothing.

use std::path::Path;

use opsward_domain::fault::Fault;
use opsward_engine::parts::journal_fault;
use opsward_engine::transcript::{self, Transcript};
use opsward_ports::journal::{Journal, Verified};
use opsward_sqlite::{Options, SqliteJournal};

/// Verifies every entry.
pub async fn verify(dir: &Path) -> Result<Verified, Fault> {
    let journal = open(dir).await?;
    let verified = journal.verify(1).await.map_err(journal_fault)?;
    journal.close().await.map_err(journal_fault)?;
    Ok(verified)
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
