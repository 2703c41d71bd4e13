//! The recovery kit: a second key of the vault on paper, safe against misreading.
//! It must never accept a key with a changed, missing or swapped character.
//!
//! The key is 34 random symbols of 5 bits (170 bits) and 6 check symbols (the BCH code of bech32m, which finds
//! any four wrong characters), in Crockford's alphabet, printed in groups of four.

use zeroize::Zeroizing;

use crate::passphrase::Passphrase;
use crate::{Error, Result};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const RANDOM_SYMBOLS: usize = 34;
const CHECK_SYMBOLS: usize = 6;
const SYMBOLS: usize = RANDOM_SYMBOLS + CHECK_SYMBOLS;
const GROUP: usize = 4;
const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
const BECH32M: u32 = 0x2bc8_30a3;

/// Why a recovery kit cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KitError {
    /// There is no line that starts with `Key:`.
    #[error("no key in the text")]
    NoKey,
    /// Characters are missing or there are too many.
    #[error("key has {found} characters instead of {SYMBOLS}")]
    Length {
        /// Characters found, dashes and spaces not counted.
        found: usize,
    },
    /// A character that no key has.
    #[error("character {position} of the key cannot be {found:?}")]
    Character {
        /// Counted from 1, dashes and spaces not counted.
        position: usize,
        /// What was read.
        found: char,
    },
    /// At least one character was misread or two were swapped.
    #[error("key was misread: its check characters do not fit")]
    Checksum,
}

/// A key of the vault that is kept on paper.
#[derive(Clone)]
pub struct RecoveryKit {
    vault_id: Option<String>,
    key: Zeroizing<String>,
}

impl RecoveryKit {
    pub(crate) fn generate(vault_id: &str) -> Result<Self> {
        let mut random = Zeroizing::new([0u8; RANDOM_SYMBOLS]);
        getrandom::fill(&mut *random).map_err(Error::storage)?;
        random.iter_mut().for_each(|symbol| *symbol &= 31);
        let mut key = Zeroizing::new(String::with_capacity(SYMBOLS));
        random.iter().chain(&check(&*random)).for_each(|symbol| key.push(letter(*symbol)));
        Ok(Self { vault_id: Some(vault_id.to_owned()), key })
    }

    /// Reads a kit back, from the whole document or from the key alone.
    /// Case, spaces and dashes do not matter; `O` reads as `0`, `I` and `L` as `1`.
    ///
    /// # Errors
    /// [`KitError`], naming what was misread.
    pub fn parse(text: &str) -> std::result::Result<Self, KitError> {
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(KitError::NoKey);
        }
        let written = match value_of(text, "key:") {
            Some(line) => line,
            None if text.trim().lines().count() == 1 => text,
            None => return Err(KitError::NoKey),
        };
        let mut symbols = Zeroizing::new(Vec::with_capacity(SYMBOLS));
        for found in written.chars().filter(|c| !c.is_whitespace() && *c != '-') {
            let symbol = symbol(found).ok_or(KitError::Character { position: symbols.len() + 1, found })?;
            symbols.push(symbol);
        }
        let Some((random, checks)) = symbols.split_at_checked(RANDOM_SYMBOLS).filter(|s| s.1.len() == CHECK_SYMBOLS)
        else {
            return Err(KitError::Length { found: symbols.len() });
        };
        if check(random) != checks {
            return Err(KitError::Checksum);
        }
        let key = Zeroizing::new(symbols.iter().map(|symbol| letter(*symbol)).collect());
        let vault_id = value_of(text, "vault id:").map(|line| line.trim().to_owned());
        Ok(Self { vault_id, key })
    }

    /// The document to print: `title` and `made_on` are shown as given.
    #[must_use]
    pub fn render(&self, title: &str, made_on: &str) -> Zeroizing<String> {
        let mut groups = Zeroizing::new(String::with_capacity(SYMBOLS + SYMBOLS / GROUP));
        for (at, letter) in self.key.chars().enumerate() {
            if at > 0 && at % GROUP == 0 {
                groups.push('-');
            }
            groups.push(letter);
        }
        let vault_id = self.vault_id.as_deref().unwrap_or("unknown");
        let mut text = Zeroizing::new(String::with_capacity(1024));
        for part in [
            "OPSWARD RECOVERY KIT\n\nFor:      ",
            title,
            "\nMade on:  ",
            made_on,
            "\nVault id: ",
            vault_id,
            "\nKey:      ",
            &groups,
            "\n\nThis key opens the backups of this vault without the passphrase.\n",
            "Print it, keep it away from the machine, and let nobody photograph it.\n",
            "It stays valid until it is removed from the vault's keys.\n",
            "If the passphrase and this page are both lost, the backups cannot be read by anyone.\n",
        ] {
            text.push_str(part);
        }
        text
    }

    /// The vault this kit was made for, when the text said so.
    #[must_use]
    pub fn vault_id(&self) -> Option<&str> {
        self.vault_id.as_deref()
    }

    pub(crate) fn passphrase(&self) -> Result<Passphrase> {
        Passphrase::new(self.key.as_str())
    }
}

impl std::fmt::Debug for RecoveryKit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecoveryKit").field("vault_id", &self.vault_id).field("key", &"hidden").finish()
    }
}

fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().map(str::trim).find_map(|line| {
        let head = line.get(..name.len())?;
        head.eq_ignore_ascii_case(name).then(|| line.get(name.len()..).unwrap_or(""))
    })
}

fn letter(symbol: u8) -> char {
    ALPHABET.get(usize::from(symbol)).map_or('0', |byte| char::from(*byte))
}

fn symbol(found: char) -> Option<u8> {
    let plain = match found.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let at = ALPHABET.iter().position(|byte| char::from(*byte) == plain)?;
    u8::try_from(at).ok()
}

fn check(random: &[u8]) -> [u8; CHECK_SYMBOLS] {
    let zeroes = [0u8; CHECK_SYMBOLS];
    let sum = random.iter().chain(&zeroes).fold(1u32, |sum, symbol| step(sum, *symbol)) ^ BECH32M;
    std::array::from_fn(|at| {
        let shift = 5 * (CHECK_SYMBOLS - 1 - at);
        (sum >> shift & 31) as u8
    })
}

fn step(sum: u32, symbol: u8) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let top = sum >> 25;
    let next = (sum & 0x01ff_ffff) << 5 ^ u32::from(symbol);
    GENERATOR.iter().enumerate().filter(|(bit, _)| top >> bit & 1 == 1).fold(next, |next, (_, g)| next ^ g)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kit() -> RecoveryKit {
        RecoveryKit::generate("abcd1234").unwrap()
    }

    #[test]
    fn reads_back_what_it_prints() {
        let kit = kit();
        let text = kit.render("vault of acme", "2026-03-01");
        let back = RecoveryKit::parse(&text).unwrap();
        assert_eq!(*back.key, *kit.key);
        assert_eq!(back.vault_id(), Some("abcd1234"));
        let sloppy = text.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
        assert_eq!(*RecoveryKit::parse(&sloppy).unwrap().key, *kit.key);
        assert_eq!(*RecoveryKit::parse(&kit.key).unwrap().key, *kit.key);
        assert!(!format!("{kit:?}").contains(kit.key.as_str()));
    }

    #[test]
    fn every_single_misreading_and_swap_is_found() {
        let kit = kit();
        let good: Vec<char> = kit.key.chars().collect();
        for at in 0..good.len() {
            for wrong in ALPHABET.iter().map(|b| char::from(*b)).filter(|c| *c != good[at]) {
                let mut bad = good.clone();
                bad[at] = wrong;
                let bad: String = bad.into_iter().collect();
                assert_eq!(RecoveryKit::parse(&bad).unwrap_err(), KitError::Checksum);
            }
            if at > 0 && good[at] != good[at - 1] {
                let mut bad = good.clone();
                bad.swap(at, at - 1);
                let bad: String = bad.into_iter().collect();
                assert_eq!(RecoveryKit::parse(&bad).unwrap_err(), KitError::Checksum);
            }
        }
    }

    #[test]
    fn names_what_is_wrong() {
        let kit = kit();
        assert_eq!(RecoveryKit::parse("hello\nworld").unwrap_err(), KitError::NoKey);
        assert_eq!(RecoveryKit::parse("Key: ABC").unwrap_err(), KitError::Length { found: 3 });
        assert_eq!(RecoveryKit::parse("").unwrap_err(), KitError::NoKey);
        assert_eq!(RecoveryKit::parse("Key: AB!C").unwrap_err(), KitError::Character { position: 3, found: '!' });
        let long = format!("Key: {}0", *kit.key);
        assert_eq!(RecoveryKit::parse(&long).unwrap_err(), KitError::Length { found: 41 });
    }
}
