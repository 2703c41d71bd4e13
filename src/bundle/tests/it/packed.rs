//! Archives: what they hold is read as from a folder; what would hurt is refused and told.

use std::io::Write as _;
use std::path::PathBuf;

use opsward_bundle::{Limits, Options};

const LOG: &[u8] = b"2026-06-18T15:06:00Z ERROR x\n";

fn tarred(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Written by hand, so that a name may be one that a careful writer refuses.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn file(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn every_archive_reads_as_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let tar = tarred(&[
        ("top/app.log", LOG),
        ("top/context/deploys.json", br#"[{"timestamp":"2026-06-18T15:01:00Z","service":"shop","version":"v2"}]"#),
    ]);
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in [
        ("top/app.log", LOG),
        ("top/context/deploys.json", br#"[{"timestamp":"2026-06-18T15:01:00Z","service":"shop","version":"v2"}]"#),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    let archives = [
        ("b.tar.gz", gzipped(&tar)),
        ("b.tgz", gzipped(&tar)),
        ("b.tar.zst", zstd::encode_all(tar.as_slice(), 3).unwrap()),
        ("b.tar", tar.clone()),
        ("b.zip", zip.finish().unwrap().into_inner()),
    ];
    for (name, bytes) in archives {
        let read = opsward_bundle::read(&file(&dir, name, &bytes), &Options::default()).unwrap();
        assert_eq!((read.case.logs.len(), read.case.changes.len()), (1, 1), "{name}: {:?}", read.not_looked_at);
        assert_eq!(read.files, ["app.log", "context/deploys.json"], "{name}");
    }
}

#[test]
fn single_files_may_be_packed() {
    let dir = tempfile::tempdir().unwrap();
    file(&dir, "a.log.gz", &gzipped(LOG));
    file(&dir, "b.log.zst", &zstd::encode_all(LOG, 3).unwrap());
    file(&dir, "c.log.gz", b"not packed at all");
    let read = opsward_bundle::read(dir.path(), &Options::default()).unwrap();
    assert_eq!(read.case.logs.len(), 2);
    assert_eq!(read.not_looked_at.len(), 1, "{:?}", read.not_looked_at);
}

#[test]
fn what_leads_out_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "b.tar", &tarred(&[("../evil.log", LOG), ("/etc/evil.log", LOG), ("good.log", LOG)]));
    let read = opsward_bundle::read(&path, &Options::default()).unwrap();
    assert_eq!(read.files, ["good.log"]);
    assert_eq!(
        read.not_looked_at.iter().filter(|gap| gap.reason.contains("leads out")).count(),
        2,
        "{:?}",
        read.not_looked_at
    );
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link.log")).unwrap();
        let read = opsward_bundle::read(dir.path(), &Options::default()).unwrap();
        assert!(read.not_looked_at.iter().any(|gap| gap.what == "link.log" && gap.reason.contains("link")));
    }
}

#[test]
fn a_bomb_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bomb = gzipped(&vec![b'x'; 64 << 20]);
    file(&dir, "bomb.log.gz", &bomb);
    file(&dir, "good.log", LOG);
    let read = opsward_bundle::read(dir.path(), &Options::default()).unwrap();
    assert_eq!(read.case.logs.len(), 1);
    assert!(
        read.not_looked_at.iter().any(|gap| gap.what == "bomb.log.gz" && gap.reason.contains("refused")),
        "{:?}",
        read.not_looked_at
    );
    let many: Vec<(String, Vec<u8>)> = (0..8).map(|number| (format!("{number}.log"), vec![b'x'; 1 << 20])).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let path = file(&dir, "many.tar", &tarred(&many));
    let limits = Limits { total_bytes_max: 3 << 20, ..Limits::default() };
    let read = opsward_bundle::read(&path, &Options { limits, ..Options::default() }).unwrap();
    assert!(read.not_looked_at.iter().any(|gap| gap.reason.contains("altogether")), "{:?}", read.not_looked_at);
}

#[test]
fn a_cut_archive_gives_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let whole = tarred(&[("a.log", LOG), ("b.log", &vec![b'x'; 4096])]);
    let read = opsward_bundle::read(&file(&dir, "cut.tar", &whole[..1536]), &Options::default());
    assert_eq!(read.unwrap().case.logs.len(), 1);
    assert!(opsward_bundle::read(&file(&dir, "bad.zip", b"PK\x03\x04junk"), &Options::default()).is_err());
    assert!(opsward_bundle::read(&file(&dir, "bad.tar.zst", b"junk"), &Options::default()).is_err());
}
