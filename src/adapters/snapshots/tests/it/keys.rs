//! Keys: adding, rotating, removing, and the recovery kit.

use std::fs;

use opsward_snapshots::{Error, KitError, Passphrase, RecoveryKit, Vault, Watch};

use crate::support::{Place, T0, files_below, passphrase};

#[test]
fn the_printed_kit_opens_the_vault() {
    let place = Place::new();
    place.write("a", b"precious");
    let id = place.take(T0).snapshot.id;
    let (kit, key) = place.vault.add_recovery_kit().unwrap();
    let page = kit.render("backups of acme", "2026-03-01");
    let read = RecoveryKit::parse(&page.replace('-', " ").to_lowercase()).unwrap();
    let vault = Vault::open_with_kit(&place.vault_dir(), &read).unwrap();
    vault.restore(&id, "orders", &place.path("out"), &Watch::default()).unwrap();
    assert_eq!(fs::read(place.path("out/a")).unwrap(), b"precious");
    // Typed from the page alone, with one letter wrong.
    let line = page.lines().find(|line| line.starts_with("Key:")).unwrap();
    let wrong = line.replacen(|c: char| c.is_ascii_digit(), "Z", 1);
    assert!(wrong == line || RecoveryKit::parse(&wrong).unwrap_err() == KitError::Checksum);
    // Removed, it opens nothing any more.
    place.vault.remove_key(&key).unwrap();
    assert!(matches!(Vault::open_with_kit(&place.vault_dir(), &read), Err(Error::WrongPassphrase)));
}

#[test]
fn a_kit_of_another_vault_says_so() {
    let (one, two) = (Place::new(), Place::new());
    let (kit, _) = one.vault.add_recovery_kit().unwrap();
    assert!(matches!(Vault::open_with_kit(&two.vault_dir(), &kit), Err(Error::WrongPassphrase)));
    let page = kit.render("x", "y").replace(one.vault.id(), two.vault.id());
    let forged = RecoveryKit::parse(&page).unwrap();
    assert!(matches!(Vault::open_with_kit(&one.vault_dir(), &forged), Err(Error::OtherVault { .. })));
}

#[test]
fn rotating_replaces_the_key_and_never_the_last_one() {
    let place = Place::new();
    let mut vault = Vault::open(&place.vault_dir(), &passphrase()).unwrap();
    let old = vault.keys().unwrap().remove(0);
    assert!(old.in_use && old.whole);
    assert!(matches!(vault.remove_key(&old.id), Err(Error::Invalid { field: "key", .. })));
    let new = Passphrase::new("brand new passphrase").unwrap();
    vault.rotate(&new).unwrap();
    assert!(matches!(Vault::open(&place.vault_dir(), &passphrase()), Err(Error::WrongPassphrase)));
    let reopened = Vault::open(&place.vault_dir(), &new).unwrap();
    assert_eq!(reopened.id(), place.vault.id());
    let keys = vault.keys().unwrap();
    assert!(keys.len() == 1 && keys[0].in_use && keys[0].id != old.id, "{keys:?}");
    // Still open from before: data access works, and an unknown key is not removed.
    place.write("a", b"a");
    place.take(T0);
    assert!(matches!(vault.remove_key(&old.id), Err(Error::Invalid { .. })));
}

#[test]
fn a_planted_key_is_ignored() {
    let place = Place::new();
    let keys = place.vault_dir().join("keys");
    let good = files_below(&keys).remove(0);
    // A copy that demands absurd memory, under a name that is not its hash, and rubbish.
    let text = fs::read_to_string(&good).unwrap().replace("\"N\":131072", "\"N\":1073741824");
    assert!(text.contains("1073741824"));
    fs::write(keys.join("0".repeat(64)), &text).unwrap();
    fs::write(keys.join("1".repeat(64)), b"{}").unwrap();
    let vault = Vault::open(&place.vault_dir(), &passphrase()).unwrap();
    assert_eq!(vault.keys().unwrap().iter().filter(|key| key.whole).count(), 1);
    let wrong = Passphrase::new("something else").unwrap();
    assert!(matches!(Vault::open(&place.vault_dir(), &wrong), Err(Error::Damaged { .. })));
}
