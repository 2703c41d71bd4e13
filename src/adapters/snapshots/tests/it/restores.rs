//! Restoring: the same bytes, only there, or nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use opsward_snapshots::{Error, Source, Watch};

use crate::support::{Place, T0, picture};

#[test]
fn everything_comes_back_the_same() {
    let place = Place::new();
    place.awkward();
    rustix::fs::mknodat(rustix::fs::CWD, place.path("source/pipe"), rustix::fs::FileType::Fifo, 0o620.into(), 0)
        .unwrap();
    let id = place.take(T0).snapshot.id;
    let restored = place.vault.restore(&id, "orders", &place.path("new"), &Watch::default()).unwrap();
    let (before, after) = (picture(&place.path("source")), picture(&place.path("new")));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (path, was) in &before {
        assert!(was == &after[path], "{} differs", path.display());
    }
    assert!(restored.bytes > 8 * 1024 * 1024);
    fs::create_dir(place.path("empty")).unwrap();
    place.vault.restore(&id, "orders", &place.path("empty"), &Watch::default()).unwrap();
    assert_eq!(picture(&place.path("empty")).len(), before.len());
}

#[test]
fn labels_are_kept_apart() {
    let place = Place::new();
    for name in ["one", "two"] {
        fs::create_dir(place.path(name)).unwrap();
        fs::write(place.path(name).join("f"), name).unwrap();
    }
    let sources = [Source::new("b", place.path("two")), Source::new("a", place.path("one"))];
    let taken = place.vault.snapshot(&sources, &[], T0, &Watch::default()).unwrap().snapshot;
    assert_eq!(taken.labels, ["a", "b"]);
    for (label, contents) in [("a", "one"), ("b", "two")] {
        let out = place.path(&format!("out-{label}"));
        place.vault.restore(&taken.id, label, &out, &Watch::default()).unwrap();
        assert_eq!(fs::read_to_string(out.join("f")).unwrap(), contents);
    }
    let none = place.vault.restore(&taken.id, "c", &place.path("out-c"), &Watch::default());
    assert!(matches!(none, Err(Error::UnknownLabel { .. })), "{none:?}");
    assert!(!place.path("out-c").exists());
}

#[test]
fn a_target_in_use_is_not_touched() {
    let place = Place::new();
    place.write("a", b"new");
    let id = place.take(T0).snapshot.id;
    let restore = |into: &str| place.vault.restore(&id, "orders", &place.path(into), &Watch::default());
    fs::create_dir(place.path("used")).unwrap();
    fs::write(place.path("used/a"), b"old").unwrap();
    assert!(matches!(restore("used"), Err(Error::Target { .. })));
    assert_eq!(fs::read(place.path("used/a")).unwrap(), b"old");
    fs::write(place.path("file"), b"x").unwrap();
    assert!(matches!(restore("file"), Err(Error::Target { .. })));
    fs::create_dir(place.path("elsewhere")).unwrap();
    symlink(place.path("elsewhere"), place.path("link")).unwrap();
    assert!(matches!(restore("link"), Err(Error::Target { .. })));
    assert_eq!(fs::read_dir(place.path("elsewhere")).unwrap().count(), 0);
    assert!(matches!(restore("no/parent"), Err(Error::Target { .. })));
    assert!(matches!(restore(".."), Err(Error::Target { .. })));
}

#[test]
fn links_are_restored_but_never_followed() {
    let place = Place::new();
    let outside = place.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), b"keep out").unwrap();
    // First a folder with a file in it, then a link of the same name in a later snapshot.
    place.write("way/secret", b"inside");
    let folder = place.take(T0).snapshot.id;
    fs::remove_dir_all(place.path("source/way")).unwrap();
    symlink(&outside, place.path("source/way")).unwrap();
    let link = place.take(T0 + 1);
    assert_eq!((link.snapshot.files, link.snapshot.bytes), (1, 0), "the link's target must not be read");
    place.vault.restore(&link.snapshot.id, "orders", &place.path("as-link"), &Watch::default()).unwrap();
    assert_eq!(fs::read_link(place.path("as-link/way")).unwrap(), outside);
    place.vault.restore(&folder, "orders", &place.path("as-folder"), &Watch::default()).unwrap();
    assert_eq!(fs::read(place.path("as-folder/way/secret")).unwrap(), b"inside");
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"keep out");
}

#[test]
fn owners_come_back_when_root_restores() {
    let place = Place::new();
    place.write("a", b"a");
    let owned = std::os::unix::fs::chown(place.path("source/a"), Some(12345), Some(23456));
    let id = place.take(T0).snapshot.id;
    let restored = place.vault.restore(&id, "orders", &place.path("new"), &Watch::default()).unwrap();
    let (was, is) = (fs::metadata(place.path("source/a")).unwrap(), fs::metadata(place.path("new/a")).unwrap());
    assert_eq!((was.uid(), was.gid()), (is.uid(), is.gid()));
    assert_eq!(owned.is_ok(), was.uid() == 12345);
    assert_eq!(restored.owner_not_set, 0);
}
