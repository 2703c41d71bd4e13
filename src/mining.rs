//! `opsward log templates FILE...`: mines the templates of files, then prints what each line is. Needs no
//! server, keeps nothing, and reads every file twice so that no line shows a template that was still
//! changing. Files that gzip packed are unpacked on the way, never to the disk and never without a bound.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use flate2::bufread::MultiGzDecoder;
use opsward_domain::fault::{Code, Fault};
use opsward_domain::label::visible;
use opsward_templates::format::Format;
use opsward_templates::{Change, Limits, Miner, WhenFull};
use serde::Serialize;

/// Most bytes of a line; what is longer is cut, and counted.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Most bytes that a packed file may unpack to.
const UNPACKED_BYTES_MAX: u64 = 64 << 30;
/// How packed files begin.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bounds of the templates of one run.
const LIMITS: Limits = Limits { templates_max: 100_000, bytes_max: 256 << 20, when_full: WhenFull::Lump };
/// Widest text in the table.
const WIDTH_MAX: usize = 160;
/// The name that means standard input.
const STANDARD_INPUT: &str = "-";

/// What to read and how to print it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Files in order; `-` is standard input.
    pub files: Vec<String>,
    /// How their lines are laid out.
    pub format: Format,
    /// Print an object a line rather than a table.
    pub json: bool,
}

/// A line, as an object.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    line: u64,
    template_id: &'a str,
    template: &'a str,
    params: &'a [&'a str],
    /// The message with `<*>` for its parameters, where that is not the template to the byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    layout: Option<&'a str>,
}

/// The last object.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Lines read.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Templates that lines have.
    pub templates: usize,
    /// Templates that turned out to be part of others.
    pub merged: usize,
    /// Lines that were longer than a line may be.
    pub cut_lines: u64,
}

/// A template and what is known of its lines.
struct Found {
    id: String,
    text: String,
    count: u64,
    sample: String,
}

struct Source {
    name: String,
    file: File,
    packed: bool,
}

impl Source {
    /// Its text from the beginning.
    fn reader(&mut self) -> io::Result<Box<dyn BufRead + '_>> {
        self.file.seek(SeekFrom::Start(0))?;
        let file = BufReader::with_capacity(1 << 16, &mut self.file);
        if !self.packed {
            return Ok(Box::new(file));
        }
        let unpacked = Unpacked { inner: MultiGzDecoder::new(file), left: UNPACKED_BYTES_MAX };
        Ok(Box::new(BufReader::with_capacity(1 << 16, unpacked)))
    }
}

/// What comes out of a packed file, up to a bound.
struct Unpacked<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other("it unpacks to too much"))?;
        Ok(read)
    }
}

/// Mines and prints.
///
/// Faults: a file that cannot be read or unpacked; an output that fails (`Cancelled` if its reader
/// went away).
pub fn run(options: &Options, out: &mut impl Write) -> Result<Summary, Fault> {
    let mut sources = options.files.iter().map(|name| open(name)).collect::<Result<Vec<_>, _>>()?;
    let mut miner = Miner::new(LIMITS);
    let mut summary = Summary::default();
    for source in &mut sources {
        each_line(source, &mut summary, |_, line| {
            miner.mine(&options.format.message(line));
            // What changed is of no use here, and may not pile up.
            let merged = |change: &Change| matches!(change, Change::Merged { .. });
            Ok(miner.take_changes().iter().filter(|change| merged(change)).count())
        })?;
    }
    let mut report = Report::new(options, sources.len() > 1, miner);
    let mut again = Summary::default();
    for source in &mut sources {
        let name = source.name.clone();
        each_line(source, &mut again, |number, line| report.line(&name, number, line, out).map(|()| 0))?;
    }
    summary.templates = report.found.len();
    report.end(&summary, out)?;
    Ok(summary)
}

fn failed(what: &str, name: &str, error: &io::Error) -> Fault {
    Fault::invalid(format!("cannot {what} {name}")).detail(error.to_string())
}

/// A fault for an output that takes no more; `Cancelled` if its reader went away.
fn unwritten(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Fault::new(Code::Cancelled, "the reader of the output went away"),
        _ => Fault::unavailable("the output cannot be written").detail(error.to_string()),
    }
}

fn open(name: &str) -> Result<Source, Fault> {
    let mut file = if name == STANDARD_INPUT {
        // It is read twice, so it has to be somewhere; the file has no name and goes with the process.
        let spool = tempfile::tempfile().and_then(|mut file| {
            io::copy(&mut io::stdin().lock(), &mut file)?;
            Ok(file)
        });
        spool.map_err(|error| failed("keep", "standard input", &error))?
    } else {
        let file = File::open(name).map_err(|error| failed("read", name, &error))?;
        let is_file = file.metadata().map_err(|error| failed("read", name, &error))?.is_file();
        if !is_file {
            return Err(Fault::invalid(format!("{name} is not a file")).hint("pipe it in and say -"));
        }
        file
    };
    let mut magic = Vec::new();
    file.rewind()
        .and_then(|()| (&mut file).take(4).read_to_end(&mut magic))
        .map_err(|error| failed("read", name, &error))?;
    if magic == ZSTD {
        return Err(Fault::invalid(format!("{name} is packed by zstd"))
            .hint(format!("unpack it on the way: zstdcat {name} | opsward log templates -")));
    }
    Ok(Source { name: name.to_owned(), file, packed: magic.starts_with(&GZIP) })
}

/// Calls `visit` with number and text of each line; what is not UTF-8 is replaced.
fn each_line(
    source: &mut Source,
    summary: &mut Summary,
    mut visit: impl FnMut(u64, &str) -> Result<usize, Fault>,
) -> Result<(), Fault> {
    let (name, what) = (source.name.clone(), if source.packed { "unpack" } else { "read" });
    let fail = |error: io::Error| failed(what, &name, &error);
    let mut reader = source.reader().map_err(fail)?;
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(fail)?;
        if read == 0 {
            return Ok(());
        }
        number += 1;
        summary.lines += 1;
        summary.bytes += read as u64;
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        } else if read as u64 == LINE_BYTES_MAX {
            let rest = reader.skip_until(b'\n').map_err(fail)? as u64;
            summary.bytes += rest;
            summary.cut_lines += u64::from(rest > 1);
        }
        summary.merged += visit(number, &String::from_utf8_lossy(&line))?;
    }
}

struct Report<'a> {
    options: &'a Options,
    /// More than one file: lines say which.
    named: bool,
    miner: Miner,
    found: Vec<Found>,
    by_number: HashMap<u64, usize>,
    by_text: HashMap<String, usize>,
}

impl<'a> Report<'a> {
    fn new(options: &'a Options, named: bool, miner: Miner) -> Self {
        Self { options, named, miner, found: Vec::new(), by_number: HashMap::new(), by_text: HashMap::new() }
    }

    fn line(&mut self, file: &str, number: u64, line: &str, out: &mut impl Write) -> Result<(), Fault> {
        let message = self.options.format.message(line);
        let explained = self.miner.explain(&message);
        let index = match self.by_number.get(&explained.template) {
            Some(index) => *index,
            None => {
                let index = place(&self.miner, explained.template, &mut self.found, &mut self.by_text);
                self.by_number.insert(explained.template, index);
                index
            }
        };
        let found = &mut self.found[index];
        found.count += 1;
        if found.count == 1 {
            found.sample = message.chars().take(WIDTH_MAX).collect();
        }
        if !self.options.json {
            return Ok(());
        }
        let row = Row {
            file: self.named.then_some(file),
            line: number,
            template_id: &found.id,
            template: &found.text,
            params: &explained.params,
            layout: (explained.layout != found.text).then_some(explained.layout.as_str()),
        };
        write_json(out, &row)
    }

    fn end(mut self, summary: &Summary, out: &mut impl Write) -> Result<(), Fault> {
        #[derive(Serialize)]
        struct Last<'a> {
            summary: &'a Summary,
        }
        if self.options.json {
            write_json(out, &Last { summary })?;
        } else {
            self.found.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.text.cmp(&b.text)));
            let mut say = |text: &str| writeln!(out, "{text}").map_err(|error| unwritten(&error));
            say(&format!("{:>9}  {:16}  TEMPLATE, AND ITS FIRST LINE", "COUNT", "ID"))?;
            for Found { id, text, count, sample } in &self.found {
                say(&format!("{count:>9}  {id:16}  {}", shown(text)))?;
                if sample != text {
                    say(&format!("{:>9}  {:16}  {}", "", "", shown(sample)))?;
                }
            }
            let cut = if summary.cut_lines > 0 { format!(", {} lines cut", summary.cut_lines) } else { String::new() };
            say(&format!("{} lines, {} templates{cut}", summary.lines, summary.templates))?;
        }
        out.flush().map_err(|error| unwritten(&error))
    }
}

/// The place of a template in `found`. Templates with the same text are one.
fn place(miner: &Miner, number: u64, found: &mut Vec<Found>, by_text: &mut HashMap<String, usize>) -> usize {
    let text = miner.template(number).map_or_else(|| opsward_templates::MARK.to_owned(), |template| template.text());
    if let Some(index) = by_text.get(&text) {
        return *index;
    }
    let id = format!("{:016x}", miner.id(number).unwrap_or_default());
    by_text.insert(text.clone(), found.len());
    found.push(Found { id, text, count: 0, sample: String::new() });
    found.len() - 1
}

/// Text as a terminal may show it: what hides is visible, what is long ends.
fn shown(text: &str) -> String {
    let mut text = visible(&text.replace(['\n', '\t'], " "));
    if let Some((end, _)) = text.char_indices().nth(WIDTH_MAX) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> Result<(), Fault> {
    let written = serde_json::to_writer(&mut *out, value).map_err(io::Error::from);
    written.and_then(|()| out.write_all(b"\n")).map_err(|error| unwritten(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is printed for a file with these bytes.
    fn printed(bytes: &[u8], format: Format, json: bool) -> (Summary, String) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let files = vec![file.path().to_str().unwrap().to_owned()];
        let mut out = Vec::new();
        let summary = run(&Options { files, format, json }, &mut out).unwrap();
        (summary, String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_line_shows_the_template_that_it_ended_in() {
        let names = ["anna", "berta", "carl", "dora", "emil"];
        let text: String =
            names.map(|name| format!("the worker named {name}  took over queue 5 of payments\n")).concat();
        let (summary, out) = printed(text.as_bytes(), Format::Content, true);
        let rows: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 6);
        for (index, name) in names.iter().enumerate() {
            let row = &rows[index];
            assert_eq!(row["line"], index + 1);
            assert_eq!(row["template"], "the worker named <*> took over queue <*> of payments");
            assert_eq!(row["layout"], "the worker named <*>  took over queue <*> of payments");
            assert_eq!(row["params"], serde_json::json!([name, "5"]));
            assert_eq!(row["template_id"], rows[0]["template_id"]);
            assert!(row.get("file").is_none());
        }
        assert_eq!(rows[5]["summary"]["templates"], 1);
        assert_eq!((summary.lines, summary.templates, summary.merged), (5, 1, 2));
        assert_eq!(printed(text.as_bytes(), Format::Content, true).1, out, "the same file gives the same output");
    }

    #[test]
    fn the_table_has_the_most_frequent_first() {
        let text =
            "2024-05-01 10:00:00 INFO up\n2024-05-01 10:00:01 WARN took 5 ms\n2024-05-01 10:00:02 WARN took 6 ms\n";
        let (_, out) = printed(text.as_bytes(), Format::Auto, false);
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[1].trim_start().starts_with("2 ") && lines[1].ends_with("  took <*> ms"), "{out}");
        assert!(lines[2].ends_with("  took 5 ms") && lines[3].ends_with("  up"), "{out}");
        assert_eq!(lines.last(), Some(&"3 lines, 2 templates"));
    }

    #[test]
    fn odd_bytes_are_bounded_and_never_lost_count_of() {
        let mut bytes = b"\xff\xfe broken 5\r\n\n\x1b[31mred\x1b[0m 5\nlast".to_vec();
        bytes.splice(0..0, [vec![b'x'; 3 << 20], b"\n".to_vec()].concat());
        let (summary, out) = printed(&bytes, Format::Auto, true);
        assert_eq!((summary.lines, summary.cut_lines, summary.bytes), (5, 1, bytes.len() as u64));
        assert_eq!(out.lines().count(), 6);
        let (_, table) = printed(&bytes, Format::Auto, false);
        assert!(!table.contains('\x1b'));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let fault = |name: &str| {
            let options = Options { files: vec![name.to_owned()], format: Format::Auto, json: true };
            run(&options, &mut Vec::new()).unwrap_err()
        };
        assert!(fault("/nowhere/at/all.log").to_string().contains("cannot read"));
        assert!(fault("/").to_string().contains("not a file"));
        for (bytes, says) in [(&[0x1f, 0x8b, 8, 0][..], "cannot unpack"), (&ZSTD[..], "packed by zstd")] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(bytes).unwrap();
            assert!(fault(file.path().to_str().unwrap()).to_string().contains(says));
        }
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(text).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn packed_files_are_read_as_their_text() {
        let text = b"took 5 ms\ntook 6 ms\n\xff odd\n".repeat(1_000);
        // Rotated logs are often appended to one another.
        let both = [packed(&text), packed(b"took 7 ms\n")].concat();
        let plain = [&text[..], b"took 7 ms\n"].concat();
        for json in [true, false] {
            assert_eq!(printed(&both, Format::Content, json), printed(&plain, Format::Content, json));
        }
        // Cut short, what came before is no result.
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&both[..both.len() - 9]).unwrap();
        let options = Options { files: vec![file.path().display().to_string()], format: Format::Auto, json: true };
        assert!(run(&options, &mut Vec::new()).unwrap_err().to_string().contains("cannot unpack"));
    }

    #[test]
    fn what_unpacks_to_too_much_is_not_read_to_its_end() {
        let mut unpacked = Unpacked { inner: io::repeat(b'x'), left: 100_000 };
        let error = io::copy(&mut unpacked, &mut io::sink()).unwrap_err();
        assert_eq!(error.to_string(), "it unpacks to too much");
    }
}
