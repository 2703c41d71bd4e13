//! Two at once: what must wait does, what need not does not.

use std::sync::{Arc, Mutex};

use opsward_snapshots::{CancelToken, Error, Source, Vault, Watch};

use crate::support::{Place, T0, noise, passphrase};

#[test]
fn deleting_waits_for_a_running_snapshot_and_reading_does_not() {
    let place = Place::new();
    place.write("a", &noise(100_000, 1));
    let first = place.take(T0).snapshot.id;
    place.write("b", &noise(100_000, 2));
    let other = Vault::open(&place.vault_dir(), &passphrase()).unwrap().with_lock_wait_ms(60);
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let (log, id) = (Arc::clone(&outcomes), first.clone());
    let during = move |_| {
        let mut log = log.lock().unwrap();
        if log.is_empty() {
            log.push(other.forget(std::slice::from_ref(&id)));
            log.push(other.verify(&id, &Watch::default()).map(|report| assert!(report.is_whole())));
        }
    };
    let watch = Watch { progress: Some(Arc::new(during)), cancel: CancelToken::default() };
    let sources = [Source::new("orders", place.path("source"))];
    let second = place.vault.snapshot(&sources, &[], T0 + 1, &watch).unwrap().snapshot.id;
    let outcomes = std::mem::take(&mut *outcomes.lock().unwrap());
    assert!(matches!(outcomes[0], Err(Error::Busy { waited_ms: 60 })), "{outcomes:?}");
    assert!(outcomes[1].is_ok(), "{outcomes:?}");
    place.vault.forget(&[first]).unwrap();
    assert!(place.vault.verify(&second, &Watch::default()).unwrap().is_whole());
}

#[test]
fn two_snapshots_at_once_are_both_whole() {
    let place = Place::new();
    for n in 0..6 {
        place.write(&format!("f{n}"), &noise(300_000, n + 1));
    }
    let other = Vault::open(&place.vault_dir(), &passphrase()).unwrap();
    let source = place.path("source");
    let take = |vault: &Vault, label: &str| {
        vault.snapshot(&[Source::new(label, &source)], &[], T0, &Watch::default()).unwrap().snapshot.id
    };
    let ids: Vec<String> = std::thread::scope(|scope| {
        let two = scope.spawn(|| take(&other, "two"));
        vec![take(&place.vault, "one"), two.join().unwrap()]
    });
    for id in &ids {
        assert!(place.vault.verify(id, &Watch::default()).unwrap().is_whole());
    }
    assert_eq!(place.vault.list().unwrap().snapshots.len(), 2);
}
