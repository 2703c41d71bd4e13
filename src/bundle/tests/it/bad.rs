//! Bad days: every one is told with file and line, none panics, none costs its neighbours.

use opsward_bundle::{Bounds, Options};

use super::bundle;

const LINE: &str = "2026-06-18T15:06:00Z ERROR x\n";

#[test]
fn an_empty_bundle_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let read = opsward_bundle::read(dir.path(), &Options::default()).unwrap();
    assert!(read.case.components.is_empty() && read.not_looked_at.is_empty());
    assert!(opsward_bundle::read(&dir.path().join("gone"), &Options::default()).is_err());
}

#[test]
fn unknown_files_are_listed_as_not_looked_at() {
    let read = bundle(&[
        ("notes.md", "hello"),
        ("image.png", "\u{0}\u{1}"),
        ("truth.json", r#"{"root_cause":"x","because":"y"}"#),
        ("ids.csv", "a1\nb2\n"),
        ("empty.log", ""),
        ("prose.log", "once upon a time\n"),
        ("half.json", "{\"a\": [1, 2"),
    ]);
    let files: Vec<&str> = read.not_looked_at.iter().map(|gap| gap.what.as_str()).collect();
    assert_eq!(files, ["empty.log", "half.json", "ids.csv", "image.png", "notes.md", "prose.log", "truth.json"]);
    assert!(
        read.problems.iter().any(|problem| problem.file == "half.json" && problem.line == 1),
        "{:?}",
        read.problems
    );
}

#[test]
fn lines_of_any_kind_are_survived() {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(LINE.as_bytes());
    bytes.extend_from_slice(b"2026-06-18T15:06:01Z \x1b[31mERROR\x1b[0m \xff\xfe broken\n");
    bytes.extend_from_slice(b"2099-01-01T00:00:00Z INFO from the future\n");
    bytes.extend_from_slice(b"2026-06-18T15:05:00Z INFO out of order\n");
    bytes.extend_from_slice(b"{\"time\":\"2026-06-18T15:06:02Z\",\"level\":\"warn\",\"msg\":\"json\"}\n");
    bytes.extend_from_slice(b"time=2026-06-18T15:06:03Z level=info msg=\"logfmt\"\n");
    bytes.extend_from_slice(b"2026-06-18T15:06:04Z INFO ");
    bytes.resize(bytes.len() + (10 << 20), b'x');
    bytes.push(b'\n');
    let read = opsward_bundle::read_bytes(vec![("app.log".to_owned(), bytes)], &Options::default());
    let messages: Vec<&str> =
        read.case.logs.iter().map(|line| line.message.get(..12).unwrap_or(&line.message)).collect();
    assert_eq!(messages.len(), 7, "{messages:?}");
    assert_eq!(messages[0], "out of order");
    assert!(read.case.logs.windows(2).all(|two| two[0].at_ms <= two[1].at_ms));
    assert!(read.case.logs.iter().all(|line| line.message.len() <= 4096 && !line.message.contains('\u{1b}')));
    assert!(
        read.problems.iter().any(|problem| problem.line == 7 && problem.what.contains("bytes")),
        "{:?}",
        read.problems
    );
}

#[test]
fn a_badly_quoted_row_costs_itself() {
    let text = "timestamp,service,metric,value\n2026-06-18T15:06:00Z,a,cpu,1\n2026-06-18T15:07:00Z,\"a,cpu,2\n2026-06-18T15:08:00Z,a,cpu,3\n2026-06-18T15:09:00Z,a,cpu,abc\nnever,a,cpu,5\n";
    let read = bundle(&[("m.csv", text)]);
    assert_eq!(read.case.metrics[0].points.len(), 2);
    let lines: Vec<u32> = read.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [3, 5, 6], "{:?}", read.problems);
}

#[test]
fn samples_that_are_none_are_gaps() {
    let text =
        "time,a_cpu,b_cpu,b_mem,a_mem\n1781795160,NaN,1,1,inf\n1781795220,,1,1,-\n1781795160,2,1,1,5\nx,1,1,1,1\n";
    let read = bundle(&[("m.csv", text)]);
    assert!(read.case.metrics.iter().all(|series| series.points.iter().all(|point| point.1.is_finite())));
    assert!(read.case.metrics.iter().all(|series| series.points.windows(2).all(|two| two[0].0 < two[1].0)));
    assert_eq!(read.problems.len(), 1, "{:?}", read.problems);
}

#[test]
fn another_time_zone_is_told() {
    let metrics = "timestamp,service,metric,value\n2026-06-18T15:00:00Z,a,cpu,1\n2026-06-18T15:10:00Z,a,cpu,1\n";
    let logs = "2026-06-18 23:01:00 ERROR x\n2026-06-18 23:02:00 ERROR y\n";
    let read = bundle(&[("m.csv", metrics), ("a.log", logs)]);
    assert!(
        read.not_looked_at.iter().any(|gap| gap.what == "clocks" && gap.reason.contains("+8 h")),
        "{:?}",
        read.not_looked_at
    );
    let mended = bundle(&[("m.csv", metrics), ("a.log", logs), ("bundle.toml", "timezone = \"+08:00\"\n")]);
    assert!(mended.not_looked_at.is_empty(), "{:?}", mended.not_looked_at);
    assert_eq!(mended.case.logs[0].at_ms, 1_781_794_860_000);
}

#[test]
fn bounds_are_kept_and_told() {
    let options =
        Options { bounds: Bounds { lines_max: 3, components_max: 1, ..Bounds::default() }, ..Options::default() };
    let files =
        vec![("a.log".to_owned(), LINE.repeat(10).into_bytes()), ("b.log".to_owned(), LINE.repeat(10).into_bytes())];
    let read = opsward_bundle::read_bytes(files, &options);
    assert_eq!((read.case.logs.len(), read.case.components.len()), (3, 1));
    let told: Vec<&str> = read.not_looked_at.iter().map(|gap| gap.what.as_str()).collect();
    assert!(told.contains(&"7 log lines"), "{told:?}");
}

#[test]
fn nothing_written_in_a_file_panics() {
    let pieces = [
        "{",
        "[",
        "\"",
        ",",
        "\n",
        "timestamp",
        "trace_id",
        "span_id",
        "start",
        "1e308",
        "-1",
        "NaN",
        "\u{0}",
        "é",
        "{\"pods\":[{\"name\":1,\"phase\":2}]}",
        "[[1,2],[3]]",
        ":",
        "99999999999999999999",
        "kind: Pod",
        "- ",
        "null",
    ];
    let mut state = 7u64;
    for round in 0..60 {
        let mut text = String::new();
        for _ in 0..40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
        }
        for end in ["json", "csv", "log", "yaml", "ndjson", "bin", "toml"] {
            let name = format!("x.{end}");
            let read = bundle(&[(&name, &text)]);
            assert!(read.files.len() <= 1, "{round}");
        }
        bundle(&[("bundle.toml", &text)]);
    }
}
