//! A passphrase in memory: wiped when dropped.
//! It must never be printed, logged or compared in the clear.

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
