//! The keys that open a vault: adding, rotating, removing.
//! It must never remove the last key that is whole.

use rustic_core::NoProgressBars;
use rustic_core::repofile::KeyId;

use super::{Vault, key_options};
use crate::record::KeyRecord;
use crate::store::{Veto, key_files};
use crate::{Error, Passphrase, RecoveryKit, Result};

impl Vault {
    /// The keys of the vault.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn keys(&self) -> Result<Vec<KeyRecord>> {
        let record = |(id, whole): (rustic_core::Id, bool)| {
            let id = id.to_hex().as_str().to_owned();
            KeyRecord { in_use: self.key_id.as_ref() == Some(&id), id, whole }
        };
        let mut keys: Vec<_> = key_files(&self.dir)?.into_iter().map(record).collect();
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(keys)
    }

    /// Adds a passphrase next to the present ones; the key's id comes back.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Storage`].
    pub fn add_passphrase(&self, passphrase: &Passphrase) -> Result<String> {
        let _lock = self.hold_alone()?;
        self.add(passphrase)
    }

    /// Adds a recovery key; print what it renders and show it once. The key's id comes back too.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Storage`].
    pub fn add_recovery_kit(&self) -> Result<(RecoveryKit, String)> {
        let kit = RecoveryKit::generate(&self.id)?;
        let id = self.add_passphrase(&kit.passphrase()?)?;
        Ok((kit, id))
    }

    /// Replaces the key this vault was opened with: the new passphrase opens it before the old one stops to.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Storage`]. When removing the old key fails, both open the vault.
    pub fn rotate(&mut self, new: &Passphrase) -> Result<()> {
        let _lock = self.hold_alone()?;
        let added = self.add(new)?;
        let old = self.key_id.replace(added);
        match old {
            Some(old) => self.remove(&old),
            None => Ok(()),
        }
    }

    /// Removes a key. The one in use stays: rotate it instead.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is in use, unknown, or the last whole one; [`Error::Busy`]; [`Error::Storage`].
    pub fn remove_key(&self, id: &str) -> Result<()> {
        let _lock = self.hold_alone()?;
        if self.key_id.as_deref() == Some(id) {
            return Err(Error::invalid("key", "is in use; rotate it instead"));
        }
        self.remove(id)
    }

    fn add(&self, passphrase: &Passphrase) -> Result<String> {
        let repo = self.repository(Veto::default(), NoProgressBars)?;
        let id = repo.add_key(passphrase.reveal(), &key_options())?;
        Ok(id.to_hex().as_str().to_owned())
    }

    fn remove(&self, id: &str) -> Result<()> {
        let keys = self.keys()?;
        if !keys.iter().any(|key| key.id == id) {
            return Err(Error::invalid("key", "is not a key of this vault"));
        }
        if !keys.iter().any(|key| key.whole && key.id != id) {
            return Err(Error::invalid("key", "is the last one"));
        }
        let id: KeyId = id.parse().map_err(|_| Error::invalid("key", "is not a key of this vault"))?;
        self.repository(Veto::default(), NoProgressBars)?.delete_key(&id)?;
        Ok(())
    }
}
