//! Old journals, kept as files: every version of opsward must open, verify and understand them all. A golden
//! file is made once for each body version and never made again; what it holds comes from `bodies.jsonl`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use opsward_domain::chain::Link;
use opsward_domain::event::{BODY_VERSION, Body, NewEvent, StreamKind, StreamName};
use opsward_ports::journal::{Journal as _, conformance, export::verify_export, upcast};
use serde::Deserialize;

use crate::support::{block_on, caller, open, path};

/// The cases of this file.
pub(crate) const CASES: &[crate::Case] =
    &[("golden_databases_open", golden_databases_open), ("golden_exports_verify", golden_exports_verify)];

/// Entry whose body is erased in every golden file.
const ERASED: u64 = 7;

#[derive(Deserialize)]
struct Given {
    kind: StreamKind,
    body: Body,
}

#[derive(Deserialize)]
struct Line {
    link: Link,
    body: Option<String>,
}

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn files(extension: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir()).unwrap().map(|file| file.unwrap().path());
    let found: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|is| is == extension) && !file.ends_with("bodies.jsonl"))
        .collect();
    assert!(!found.is_empty(), "there is no golden {extension} file");
    found
}

/// The word for a body's kind.
fn kind(body: &Body) -> String {
    serde_json::to_value(body).unwrap()["type"].as_str().unwrap().to_owned()
}

fn given() -> Vec<Given> {
    let text = std::fs::read_to_string(dir().join("bodies.jsonl")).unwrap();
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
    text.lines().map(read).collect()
}

fn golden_databases_open() {
    block_on(async {
        for file in files("db") {
            let dir = tempfile::tempdir().unwrap();
            std::fs::copy(&file, path(dir.path())).unwrap();
            let journal = open(dir.path()).await;
            let verified = journal.verify(1).await.unwrap();
            assert_eq!((verified.erased, verified.damage), (1, Vec::new()), "{}", file.display());
            let events = journal.feed(&caller(), 0, 1_000).await.unwrap();
            assert_eq!(events.len() as u64, verified.entries);
            let without: Vec<u64> = events.iter().filter(|event| event.body.is_none()).map(|event| event.seq).collect();
            assert_eq!(without, [ERASED]);
            let kinds: BTreeSet<String> = events.iter().filter_map(|event| event.body.as_ref()).map(kind).collect();
            assert!(kinds.len() >= 39, "{} kinds of body are in {}", kinds.len(), file.display());
            let digest = opsward_domain::canonical::digest_bytes(b"golden");
            assert_eq!(journal.get_blob(&caller(), &digest).await.unwrap().as_deref(), Some(&b"golden"[..]));
            let stream = conformance::stream("acme", StreamKind::Conversation, "new");
            journal.append(&caller(), &stream, 0, vec![conformance::power("goes on")]).await.unwrap();
            assert_eq!(journal.verify(1).await.unwrap().damage, []);
            journal.close().await.unwrap();
        }
    });
}

fn golden_exports_verify() {
    for file in files("jsonl") {
        let text = std::fs::read_to_string(&file).unwrap();
        let verified = verify_export(text.as_bytes()).unwrap();
        assert_eq!((verified.erased, verified.damage), (1, Vec::new()), "{}", file.display());
        let lines: Vec<Line> = text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len() as u64, verified.entries);
        for line in lines {
            let Some(body) = line.body else { continue };
            upcast::body(line.link.version, body.as_bytes()).unwrap_or_else(|error| panic!("{error} in {body}"));
        }
    }
}

/// Makes the golden files of this body version, if there are none: `--test it -- write-golden`.
pub(crate) fn write() {
    let [text, database] = ["jsonl", "db"].map(|kind| dir().join(format!("v{BODY_VERSION}.{kind}")));
    assert!(!text.exists() && !database.exists(), "golden files of version {BODY_VERSION} are there already");
    block_on(async {
        let made = tempfile::tempdir().unwrap();
        let journal = open(made.path()).await;
        for (Given { kind, body }, n) in given().into_iter().zip(1..) {
            let stream: StreamName = conformance::stream("acme", kind, "golden");
            let listed = journal.streams(&caller(), kind, 1).await.unwrap();
            let expected = listed.first().map_or(0, |(_, last)| *last);
            let event = NewEvent { at_ms: 1_700_000_000_000 + n, cause: (n > 20).then_some(20), body };
            journal.append(&caller(), &stream, expected, vec![event]).await.unwrap();
        }
        journal.put_blob(&caller(), b"golden").await.unwrap();
        journal.erase(&caller(), ERASED, 1_700_000_100_000, "to have one").await.unwrap();
        let mut bytes = Vec::new();
        journal.export(&mut bytes).await.unwrap();
        journal.close().await.unwrap();
        std::fs::write(&text, bytes).unwrap();
        std::fs::copy(path(made.path()), &database).unwrap();
    });
}
