//! Taking, listing and forgetting.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use opsward_snapshots::{CancelToken, Error, Passphrase, Source, Vault, Watch};

use crate::support::{Place, T0, noise, passphrase, picture};

#[test]
fn a_snapshot_says_what_it_holds() {
    let place = Place::new();
    place.awkward();
    let taken = place.take(T0);
    let record = &taken.snapshot;
    assert_eq!(record.taken_at_ms, T0);
    assert_eq!(
        (record.labels.as_slice(), record.tags.as_slice()),
        (&["orders".to_owned()][..], &["nightly".to_owned()][..])
    );
    let files = picture(&place.path("source")).values().filter(|(mode, ..)| mode & 0o170_000 != 0o040_000).count();
    assert_eq!(record.files, files as u64);
    assert!(record.bytes > 8 * 1024 * 1024, "{record:?}");
    assert!(record.added_bytes > 5 * 1024 * 1024 && record.added_bytes < record.bytes, "zeroes must pack: {record:?}");
    assert_eq!((taken.changed_total, taken.left_out_total), (0, 0), "{taken:?}");
    assert_eq!(place.vault.list().unwrap().snapshots, vec![record.clone()]);
}

#[test]
fn a_second_snapshot_adds_next_to_nothing() {
    let place = Place::new();
    const SIZE: usize = 12 * 1024 * 1024;
    let mut data = noise(SIZE, 7);
    place.write("big.bin", &data);
    let first = place.take(T0);
    let same = place.take(T0 + 1);
    assert_eq!(same.snapshot.added_bytes, 0, "{same:?}");
    place.write("copy.bin", &data);
    let copy = place.take(T0 + 2);
    assert!(copy.snapshot.added_bytes < 64 * 1024, "{copy:?}");
    // Only the piece with the changed byte is new; cuts are random per vault, but no piece exceeds 8 MiB.
    data[SIZE - 1] ^= 1;
    place.write("changed copy.bin", &data);
    let changed = place.take(T0 + 3);
    assert!(first.snapshot.added_bytes > 12 * 1024 * 1024);
    assert!(changed.snapshot.added_bytes < 9 * 1024 * 1024, "{changed:?}");
    assert_eq!(changed.snapshot.bytes, 36 * 1024 * 1024);
}

#[test]
fn nothing_readable_by_others_is_stored_in_the_clear() {
    let place = Place::new();
    let secret = b"very-recognisable-secret-text".repeat(100);
    place.write("secret-file-name.txt", &secret);
    place.take(T0);
    let dir_mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(place.vault_dir()).unwrap());
    assert_eq!(dir_mode & 0o777, 0o700);
    for file in crate::support::files_below(&place.vault_dir()) {
        let data = fs::read(&file).unwrap();
        for needle in [&b"very-recognisable"[..], b"secret-file-name", b"correct horse"] {
            assert!(!data.windows(needle.len()).any(|w| w == needle), "{}", file.display());
        }
    }
}

#[test]
fn forgetting_removes_the_bytes_and_keeps_what_others_need() {
    let place = Place::new();
    place.write("shared.bin", &noise(2 * 1024 * 1024, 1));
    place.write("doomed.bin", &noise(4 * 1024 * 1024, 2));
    let first = place.take(T0).snapshot.id;
    fs::remove_file(place.path("source/doomed.bin")).unwrap();
    let second = place.take(T0 + 1).snapshot.id;
    let before = place.bytes_stored();
    place.vault.forget(std::slice::from_ref(&first)).unwrap();
    assert!(place.bytes_stored() + 3 * 1024 * 1024 < before, "{before} -> {}", place.bytes_stored());
    assert!(place.vault.verify(&second, &Watch::default()).unwrap().is_whole());
    assert!(matches!(place.vault.verify(&first, &Watch::default()), Err(Error::UnknownSnapshot { .. })));
    assert!(matches!(place.vault.forget(&[first]), Err(Error::UnknownSnapshot { .. })));
    place.vault.forget(&[second]).unwrap();
    assert!(place.vault.list().unwrap().snapshots.is_empty());
    assert!(place.bytes_stored() < 64 * 1024, "{}", place.bytes_stored());
}

#[test]
fn one_unknown_id_deletes_nothing() {
    let place = Place::new();
    place.write("a", b"a");
    let id = place.take(T0).snapshot.id;
    let ids = [id.clone(), "0".repeat(64)];
    assert!(matches!(place.vault.forget(&ids), Err(Error::UnknownSnapshot { .. })));
    assert_eq!(place.vault.list().unwrap().snapshots.len(), 1);
    // A beginning of at least eight digits names it too; less does not.
    assert!(place.vault.verify(&id[..8], &Watch::default()).is_ok());
    assert!(matches!(place.vault.verify(&id[..7], &Watch::default()), Err(Error::UnknownSnapshot { .. })));
    assert!(matches!(place.vault.verify("../../config", &Watch::default()), Err(Error::UnknownSnapshot { .. })));
}

#[test]
fn bad_arguments_are_refused_before_anything_is_read() {
    let place = Place::new();
    let source = place.path("source");
    let take = |sources: &[Source], tags: &[String], at| place.vault.snapshot(sources, tags, at, &Watch::default());
    for label in ["", ".", "..", "a/b", "../x", ".hidden", "with space", &"x".repeat(65)] {
        let result = take(&[Source::new(label, &source)], &[], T0);
        assert!(matches!(result, Err(Error::Invalid { field: "label", .. })), "{label:?}: {result:?}");
    }
    let twice = [Source::new("a", &source), Source::new("a", &source)];
    assert!(matches!(take(&twice, &[], T0), Err(Error::Invalid { field: "label", .. })));
    assert!(matches!(take(&[], &[], T0), Err(Error::Invalid { field: "sources", .. })));
    let one = [Source::new("a", &source)];
    assert!(matches!(take(&one, &["a,b".to_owned()], T0), Err(Error::Invalid { field: "tag", .. })));
    assert!(matches!(take(&one, &[], u64::MAX), Err(Error::Invalid { field: "taken_at_ms", .. })));
    assert!(matches!(take(&[Source::new("a", place.path("none"))], &[], T0), Err(Error::Unreadable { .. })));
    symlink(&source, place.path("alias")).unwrap();
    assert!(matches!(take(&[Source::new("a", place.path("alias"))], &[], T0), Err(Error::Unreadable { .. })));
    assert!(place.vault.list().unwrap().snapshots.is_empty());
}

#[test]
fn too_deep_a_folder_fails_the_snapshot_by_name() {
    let place = Place::new();
    let deep = vec!["d"; 230].join("/");
    fs::create_dir_all(place.path("source").join(deep)).unwrap();
    let result = place.vault.snapshot(&[Source::new("v", place.path("source"))], &[], T0, &Watch::default());
    assert!(matches!(&result, Err(Error::Unreadable { path, .. }) if path.starts_with("v/d/d")), "{result:?}");
    assert!(place.vault.list().unwrap().snapshots.is_empty());
}

#[test]
fn sockets_are_left_out_and_counted() {
    let place = Place::new();
    place.write("a", b"a");
    let _socket = std::os::unix::net::UnixListener::bind(place.path("source/socket")).unwrap();
    let taken = place.take(T0);
    assert_eq!(taken.left_out, ["orders/socket"]);
    assert_eq!(taken.snapshot.files, 1);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named() {
    let place = Place::new();
    place.write("grows.log", &noise(4 * 1024 * 1024, 3));
    let target = place.path("source/grows.log");
    let append = move |_| {
        use std::io::Write as _;
        fs::OpenOptions::new().append(true).open(&target).unwrap().write_all(b"more").unwrap();
    };
    let watch = Watch { progress: Some(Arc::new(append)), cancel: CancelToken::default() };
    let taken = place.vault.snapshot(&[Source::new("orders", place.path("source"))], &[], T0, &watch).unwrap();
    assert_eq!(taken.changed, ["orders/grows.log"]);
}

#[test]
fn cancelling_keeps_nothing_and_progress_is_reported() {
    let place = Place::new();
    for n in 0..8 {
        place.write(&format!("f{n}"), &noise(1024 * 1024 + 5, n + 1));
    }
    let cancel = CancelToken::default();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (stop, log) = (cancel.clone(), Arc::clone(&seen));
    let watch = Watch {
        progress: Some(Arc::new(move |progress| {
            log.lock().unwrap().push(progress);
            if progress.bytes_done > 2 * 1024 * 1024 {
                stop.cancel();
            }
        })),
        cancel,
    };
    let sources = [Source::new("orders", place.path("source"))];
    assert!(matches!(place.vault.snapshot(&sources, &[], T0, &watch), Err(Error::Cancelled)));
    assert!(place.vault.list().unwrap().snapshots.is_empty());
    assert!(!seen.lock().unwrap().is_empty());
    // What was stored meanwhile is no obstacle, and the next one is whole.
    let id = place.take(T0).snapshot.id;
    assert!(place.vault.verify(&id, &Watch::default()).unwrap().is_whole());
    let watch = Watch::default();
    watch.cancel.cancel();
    assert!(matches!(place.vault.verify(&id, &watch), Err(Error::Cancelled)));
    assert!(matches!(place.vault.restore(&id, "orders", &place.path("out"), &watch), Err(Error::Cancelled)));
    assert!(!place.path("out").exists());
}

#[test]
fn creating_needs_a_free_place_and_opening_needs_a_vault() {
    let place = Place::new();
    assert!(matches!(Vault::create(&place.vault_dir(), &passphrase()), Err(Error::Exists { .. })));
    place.write("a", b"a");
    assert!(matches!(Vault::create(&place.path("source"), &passphrase()), Err(Error::Exists { .. })));
    assert!(matches!(Vault::open(&place.path("nowhere"), &passphrase()), Err(Error::Missing { .. })));
    assert!(matches!(Vault::open(&place.path("source"), &passphrase()), Err(Error::Missing { .. })));
    let other = Passphrase::new("not the passphrase").unwrap();
    let error = Vault::open(&place.vault_dir(), &other).unwrap_err();
    assert!(matches!(error, Error::WrongPassphrase), "{error:?}");
    assert!(error.hint().contains("recovery kit"));
    let names: Vec<_> = fs::read_dir(place.temp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with(".making")), "{names:?}");
}
