//! A passphrase in memory: wiped when dropped.
//! It must never be printed, logged or compared in the clear.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::{Error, Result};

const MIN_BYTES: usize = 8;
const MAX_BYTES: usize = 1024;
const GENERATED_BYTES: usize = 20;

/// What opens a vault: 8 to 1024 bytes of text without control characters.
///
/// Our copies are wiped when dropped; the archive engine makes short-lived copies that are not.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a passphrase chosen by a person or kept by the platform.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is too short, too long or has control characters.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = Zeroizing::new(text.into());
        if !(MIN_BYTES..=MAX_BYTES).contains(&text.len()) {
            return Err(Error::invalid("passphrase", format!("must have {MIN_BYTES} to {MAX_BYTES} bytes")));
        }
        if text.chars().any(char::is_control) {
            return Err(Error::invalid("passphrase", "must not contain control characters"));
        }
        Ok(Self(text))
    }

    /// A fresh random one (160 bits, printed as hexadecimal).
    ///
    /// # Errors
    /// [`Error::Storage`] when the system has no randomness to give.
    pub fn generate() -> Result<Self> {
        let mut bytes = Zeroizing::new([0u8; GENERATED_BYTES]);
        getrandom::fill(&mut *bytes).map_err(Error::storage)?;
        let mut text = Zeroizing::new(String::with_capacity(GENERATED_BYTES * 2));
        for byte in bytes.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        Ok(Self(text))
    }

    /// The one kept in the file at `path`, readable by its owner only; made there when it is first needed.
    ///
    /// # Errors
    /// [`Error::Storage`] when the file cannot be read or kept, [`Error::Invalid`] when it holds no passphrase.
    pub fn kept_in(path: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| Error::storage(format!("key {}: {error}", path.display()));
        match std::fs::read_to_string(path) {
            Ok(text) => return Self::new(text.trim()),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            Err(_) => {}
        }
        let made = Self::generate()?;
        let parent = path.parent().unwrap_or(path);
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
        let fresh = path.with_extension("new");
        let written = File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh);
        let synced = written.and_then(|mut file| {
            file.write_all(made.reveal().as_bytes())?;
            file.sync_all()
        });
        // Never over a key that is there: a link fails where a rename would replace it.
        let linked = synced.and_then(|()| std::fs::hard_link(&fresh, path));
        let _ = std::fs::remove_file(&fresh);
        match linked {
            Ok(()) => File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed).map(|()| made),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::kept_in(path),
            Err(error) => Err(failed(error)),
        }
    }

    /// The text itself, for storing it in a protected file. Do not print it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_one_is_made_once_and_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/state");
        let made = Passphrase::kept_in(&path).unwrap();
        assert_eq!(Passphrase::kept_in(&path).unwrap().reveal(), made.reveal());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!path.with_extension("new").exists());
        std::fs::write(&path, "short").unwrap();
        assert!(Passphrase::kept_in(&path).is_err(), "never replaced");
    }

    #[test]
    fn bounds_and_silence() {
        assert!(Passphrase::new("short").is_err());
        assert!(Passphrase::new("x".repeat(1025)).is_err());
        assert!(Passphrase::new("with a\nnew line").is_err());
        let ok = Passphrase::new("correct horse").unwrap();
        assert_eq!(ok.reveal(), "correct horse");
        assert_eq!(format!("{ok:?}"), "Passphrase(hidden)");
        let (a, b) = (Passphrase::generate().unwrap(), Passphrase::generate().unwrap());
        assert_eq!(a.reveal().len(), 40);
        assert_ne!(a.reveal(), b.reveal());
    }
}
