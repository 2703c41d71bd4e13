//! `opsward audit verify --data DIR`: the chain of a data folder whose server is stopped. Changes nothing.

use std::path::Path;

use opsward_domain::fault::Fault;
use opsward_engine::parts::journal_fault;
use opsward_ports::journal::{Journal, Verified};
use opsward_sqlite::{Options, SqliteJournal};

/// Verifies every entry.
pub async fn verify(dir: &Path) -> Result<Verified, Fault> {
    let path = dir.join(crate::recovery::JOURNAL);
    if !path.exists() {
        return Err(Fault::not_found(format!("there is no journal in {}", dir.display())));
    }
    let journal = SqliteJournal::open(&path, Options::default()).await.map_err(journal_fault)?;
    let verified = journal.verify(1).await.map_err(journal_fault)?;
    journal.close().await.map_err(journal_fault)?;
    Ok(verified)
}
