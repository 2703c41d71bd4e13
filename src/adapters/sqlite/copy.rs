//! A copy of a journal as of one moment, whether or not another process writes to it meanwhile. Never
//! touches the original, and holds nothing that was erased from it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use opsward_ports::journal::Error;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::failure;
use crate::files::Files;
use crate::open::connect_options;

/// Writes the journal at `path` as it is now to `into`, which must not exist. Needs as much room as the
/// journal takes. [`Error::Unavailable`], with a hint, if either file cannot be used; nothing is left then.
pub async fn copy(path: &Path, into: &Path) -> Result<(), Error> {
    let (from, to) = (Files::at(path)?, Files::at(into)?);
    let name = to.database().to_str().ok_or_else(|| Error::Unavailable {
        detail: format!("{} is not a name that SQLite takes", into.display()),
        hint: "choose a folder whose name is plain text".into(),
    })?;
    if to.database().exists() {
        let taken = std::io::ErrorKind::AlreadyExists.into();
        return Err(failure::file(to.database(), &taken));
    }
    let failed = |error: sqlx::Error| failure::open(from.database(), &error);
    let mut conn = connect_options(&from).read_only(true).connect().await.map_err(failed)?;
    let copied = sqlx::query("VACUUM INTO ?").bind(name.to_owned()).execute(&mut conn).await;
    let closed = conn.close().await;
    let finished = copied.map_err(failed).and_then(|_| {
        closed.map_err(failed)?;
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(into, private).map_err(|error| failure::file(into, &error))
    });
    if finished.is_err() {
        let _ = std::fs::remove_file(into);
    }
    finished
}
