//! Output and events of a workspace on disk: bounded segments of JSON lines, one writer, one reader
//! that may be away. Never grows beyond its bound; what goes unread is counted.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use opsward_domain::name::Workload;
use opsward_domain::telemetry::Lifecycle;
use opsward_domain::time::AtMs;
use serde::{Deserialize, Serialize};

/// Bytes collected before they are written out.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// A line or an event of one replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(rename = "w")]
    pub(crate) workload: Workload,
    #[serde(rename = "r")]
    pub(crate) replica: u32,
    #[serde(rename = "t")]
    pub(crate) at_ms: AtMs,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<String>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<Lifecycle>,
}

fn segment(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.jsonl"))
}

/// First ordinals of the segments, oldest first.
fn segments(dir: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| name.strip_suffix(".jsonl")?.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    file: File,
    buffer: Vec<u8>,
    /// Ordinal of the next record.
    next: u64,
    bytes: u64,
    segment_bytes: u64,
    segments_max: usize,
}

impl Spool {
    /// Continues after whatever an earlier writer left.
    pub(crate) fn open(dir: &Path, segment_bytes: u64, segments_max: usize) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let next = match segments(dir)?.last() {
            Some(first) => first + whole_lines(&segment(dir, *first))?,
            None => 0,
        };
        let path = segment(dir, next);
        let file = File::options().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { dir: dir.to_owned(), file, buffer: Vec::new(), next, bytes, segment_bytes, segments_max })
    }

    /// Adds a record; it reaches the disk with the next flush.
    pub(crate) fn push(&mut self, record: &Record) {
        if serde_json::to_writer(&mut self.buffer, record).is_ok() {
            self.buffer.push(b'\n');
            self.next += 1;
        }
        if self.buffer.len() >= BUFFER_BYTES_MAX {
            self.flush();
        }
    }

    /// Writes out what was collected. A full disk loses it: output must never stop a workload.
    pub(crate) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let written = self.file.write_all(&self.buffer);
        self.bytes += u64::try_from(self.buffer.len()).unwrap_or(0);
        self.buffer.clear();
        if self.bytes >= self.segment_bytes || written.is_err() {
            let _ = self.rotate();
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = File::options().create(true).append(true).open(segment(&self.dir, self.next))?;
        self.bytes = 0;
        let all = segments(&self.dir)?;
        for first in all.iter().take(all.len().saturating_sub(self.segments_max)) {
            fs::remove_file(segment(&self.dir, *first))?;
        }
        Ok(())
    }
}

/// Cuts a torn last line away and counts the others.
fn whole_lines(path: &Path) -> io::Result<u64> {
    let bytes = fs::read(path)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole < bytes.len() {
        File::options().write(true).open(path)?.set_len(u64::try_from(whole).unwrap_or(0))?;
    }
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    Ok(u64::try_from(lines).unwrap_or(0))
}

/// How far a reader is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Ordinal of the next record.
    pub(crate) ordinal: u64,
    /// First ordinal of its segment.
    pub(crate) segment: u64,
    /// Byte in that segment.
    pub(crate) offset: u64,
}

/// What was read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reading {
    pub(crate) records: Vec<Record>,
    /// Records that were gone, or damaged.
    pub(crate) lost: u64,
    pub(crate) end: Position,
}

/// Reads at most `records_max` records from `from` on; only whole lines.
pub(crate) fn read(dir: &Path, from: Position, records_max: usize) -> io::Result<Reading> {
    let mut reading = Reading { end: from, ..Reading::default() };
    let all = match segments(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(reading),
        all => all?,
    };
    loop {
        if !all.contains(&reading.end.segment) {
            let Some(next) = all.iter().find(|first| **first > reading.end.segment) else { return Ok(reading) };
            reading.lost += next.saturating_sub(reading.end.ordinal);
            reading.end = Position { ordinal: *next, segment: *next, offset: 0 };
        }
        match read_segment(dir, &mut reading, records_max) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(reading),
            more => more?,
        }
        let later = all.iter().find(|first| **first > reading.end.segment);
        match later {
            Some(next) if reading.records.len() < records_max && *next <= reading.end.ordinal => {
                reading.end = Position { ordinal: reading.end.ordinal, segment: *next, offset: 0 };
            }
            // The writer was killed between a count and a write: the rest of this segment never comes.
            Some(next) if reading.records.len() < records_max => {
                reading.lost += next - reading.end.ordinal;
                reading.end = Position { ordinal: *next, segment: *next, offset: 0 };
            }
            _ => return Ok(reading),
        }
    }
}

fn read_segment(dir: &Path, reading: &mut Reading, records_max: usize) -> io::Result<()> {
    let mut file = File::open(segment(dir, reading.end.segment))?;
    file.seek(SeekFrom::Start(reading.end.offset))?;
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    while reading.records.len() < records_max {
        line.clear();
        let count = lines.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            break;
        }
        reading.end.offset += u64::try_from(count).unwrap_or(0);
        reading.end.ordinal += 1;
        match serde_json::from_slice(&line) {
            Ok(record) => reading.records.push(record),
            Err(_) => reading.lost += 1,
        }
    }
    Ok(())
}

/// Removes segments that lie wholly before `position`.
pub(crate) fn forget(dir: &Path, position: Position) -> io::Result<()> {
    let all = match segments(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        all => all?,
    };
    for first in all.into_iter().filter(|first| *first < position.segment) {
        fs::remove_file(segment(dir, first))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        let workload = Workload::parse("web").unwrap();
        Record { workload, replica: 0, at_ms: 5, line: Some(text.into()), event: None }
    }

    fn texts(reading: &Reading) -> Vec<&str> {
        reading.records.iter().filter_map(|record| record.line.as_deref()).collect()
    }

    #[test]
    fn resumes_after_a_torn_write_and_counts_what_rotated_away() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path(), 1 << 20, 4).unwrap();
        spool.push(&record("one"));
        spool.push(&record("two"));
        spool.flush();
        let first = read(dir.path(), Position::default(), 1).unwrap();
        assert_eq!(texts(&first), ["one"]);
        let second = read(dir.path(), first.end, 10).unwrap();
        assert_eq!((texts(&second), second.lost), (vec!["two"], 0));
        let torn = segment(dir.path(), 0);
        File::options().append(true).open(&torn).unwrap().write_all(b"{\"w\":\"we").unwrap();
        assert!(read(dir.path(), second.end, 10).unwrap().records.is_empty(), "half a line is no line");

        let mut spool = Spool::open(dir.path(), 100, 2).unwrap();
        for i in 0..10 {
            spool.push(&record(&format!("line {i} {}", "x".repeat(60))));
            spool.flush();
        }
        let rest = read(dir.path(), second.end, 100).unwrap();
        assert_eq!(rest.lost + u64::try_from(rest.records.len()).unwrap(), 10);
        assert!(rest.lost > 0 && texts(&rest).last().unwrap().starts_with("line 9"));
        forget(dir.path(), rest.end).unwrap();
        assert!(read(dir.path(), rest.end, 10).unwrap().records.is_empty());
    }
}
