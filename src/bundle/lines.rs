//! Text logs: one line at a time, whatever each looks like. A line without a time continues the one before it; a
//! text in which no line has one cannot be placed in time and is only shown to who reads the end of a log.

use opsward_analyzers::objects::LogTail;
use opsward_causes::case::{ComponentId, Level, LogLine, TimeMs};
use opsward_templates::format::Format;
use serde_json::Value;

use crate::clean;
use crate::gather::{Gather, Named};
use crate::json;
use crate::record::Record;
use crate::role::Role;
use crate::take::{self, Place};
use crate::time::{self, Assume};

/// Bytes of a line that are read.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Lines kept of the end of a container's log.
const TAIL_LINES: usize = 200;
/// Characters before a time in a line, such as an address and a user.
const LEAD_BYTES_MAX: usize = 120;
/// Envelopes inside each other that are opened.
const DEPTH_MAX: usize = 3;
/// Words of a header that may be its level.
const HEADER_WORDS: usize = 8;

/// Whose lines a text holds if they do not say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Whose {
    pub(crate) service: Option<String>,
    pub(crate) pod: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) container: Option<String>,
}

/// What a line says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Inner {
    pub(crate) at_ms: Option<TimeMs>,
    pub(crate) level: Option<Level>,
    pub(crate) message: String,
    pub(crate) service: Option<String>,
    pub(crate) trace: Option<String>,
}

/// The message inside a text with whatever its envelopes say.
pub(crate) fn inner(text: &str, assume: Assume) -> Inner {
    open(text.trim_end(), assume, DEPTH_MAX)
}

fn open(text: &str, assume: Assume, depth: usize) -> Inner {
    if depth == 0 {
        return Inner { message: text.to_owned(), ..Inner::default() };
    }
    if text.starts_with('{')
        && let Ok(value) = serde_json::from_str::<Value>(text)
    {
        let record = Record::of_json(&value);
        if let Some(found) = of_record(&record, assume, depth) {
            return found;
        }
    }
    if let Some((at_ms, rest)) = runtime(text, assume) {
        let found = open(rest, assume, depth - 1);
        // The runtime's clock is the machine's; the program's may have no zone.
        return Inner { at_ms: Some(at_ms), ..found };
    }
    let pairs = pairs(text);
    if !pairs.is_empty() {
        let record = Record::of_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if let Some(found) = of_record(&record, assume, depth) {
            return found;
        }
    }
    plain(text, assume)
}

fn of_record(record: &Record<'_>, assume: Assume, depth: usize) -> Option<Inner> {
    let message = record.text(Role::Message)?;
    let found = open(message.trim_end(), assume, depth - 1);
    let level = record.text(Role::Level).or_else(|| record.text(Role::Status)).and_then(|word| take::level(&word));
    Some(Inner {
        at_ms: record.time_of(&[Role::Time, Role::Start], assume).or(found.at_ms),
        level: level.or(found.level),
        message: found.message,
        service: record.text(Role::Service).map(|name| name.into_owned()).or(found.service),
        trace: record.text(Role::Trace).map(|id| id.into_owned()).or(found.trace),
    })
}

/// `2026-06-18T15:06:00.1Z stdout F message`, as container runtimes write.
fn runtime(text: &str, assume: Assume) -> Option<(TimeMs, &str)> {
    let stamp = time::prefix(text, assume)?;
    let rest = text[stamp.length..].strip_prefix(' ')?;
    let rest = rest.strip_prefix("stdout ").or_else(|| rest.strip_prefix("stderr "))?;
    let (flag, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    matches!(flag, "F" | "P").then_some((stamp.at_ms, rest))
}

/// `key=value` pairs of a line that has at least a message and one more.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if !text.contains("msg=") && !text.contains("message=") {
        return found;
    }
    let mut rest = text.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        if name.is_empty() || name.len() > 64 || name.contains(|c: char| c.is_whitespace() || c == '"') {
            return Vec::new();
        }
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut escaped = false;
                let end = quoted.bytes().position(|b| {
                    let ends = b == b'"' && !escaped;
                    escaped = b == b'\\' && !escaped;
                    ends
                });
                let end = end.unwrap_or(quoted.len());
                (quoted[..end].replace("\\\"", "\"").replace("\\n", "\n"), quoted.get(end + 1..).unwrap_or_default())
            }
            None => {
                let end = after.find(' ').unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        found.push((name.to_owned(), value));
        rest = left.trim_start();
        if found.len() == 64 || rest.is_empty() {
            break;
        }
    }
    if found.len() > 1 && rest.is_empty() { found } else { Vec::new() }
}

/// A line with a header of words.
fn plain(text: &str, assume: Assume) -> Inner {
    let message = Format::Auto.message(text);
    let header = text.len().saturating_sub(message.len());
    let lead =
        text.get(..header.max(1)).filter(|lead| text.ends_with(message.as_ref()) && lead.len() > 1).unwrap_or_default();
    let level = lead
        .split(|c: char| c.is_whitespace() || matches!(c, '[' | ']' | '|' | '(' | ')'))
        .filter(|word| word.len() > 1 || word.bytes().all(|b| b.is_ascii_uppercase()))
        .filter(|word| !word.bytes().any(|b| b.is_ascii_digit()))
        .take(HEADER_WORDS * 2)
        .find_map(take::level)
        .or_else(|| klog_level(text));
    let level = level.or_else(|| take::log::spoken_level(&message));
    Inner { at_ms: first_time(text, assume), level, message: message.into_owned(), service: None, trace: None }
}

/// `E0618 15:06:00`.
fn klog_level(text: &str) -> Option<Level> {
    let head = text.get(..6)?;
    let dated = head.ends_with(' ') && head.as_bytes()[1..5].iter().all(u8::is_ascii_digit);
    if dated { take::level(head.get(..1)?) } else { None }
}

/// The time a line begins with, or that stands in brackets near its beginning.
fn first_time(text: &str, assume: Assume) -> Option<TimeMs> {
    let start = text.trim_start_matches(['[', ' ', '<']);
    if let Some(stamp) = time::prefix(start, assume) {
        return Some(stamp.at_ms);
    }
    let word = start.split([' ', ']', '\t', ',']).next().unwrap_or_default();
    if matches!(word.split('.').next().unwrap_or_default().len(), 10 | 13 | 16 | 19)
        && let Some(stamp) = time::parse(word, assume)
    {
        return Some(stamp.at_ms);
    }
    let mut end = text.len().min(LEAD_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let bracket = text[..end].find('[')?;
    time::prefix(&text[bracket + 1..], assume).map(|stamp| stamp.at_ms)
}

/// Reads the lines of a log into the case. Its end goes to whoever reads ends of logs.
pub(crate) fn read(gather: &mut Gather, bytes: &[u8], whose: &Whose) {
    let mut reader =
        Reader { gather, whose, timeless: 0, first_timeless: 0, placed: 0, tail: std::collections::VecDeque::new() };
    for (number, raw) in bytes.split(|b| *b == b'\n').enumerate() {
        let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
        reader.one(raw, number);
    }
    reader.finish();
}

struct Reader<'a> {
    gather: &'a mut Gather,
    whose: &'a Whose,
    timeless: u64,
    first_timeless: u32,
    placed: u64,
    tail: std::collections::VecDeque<String>,
}

impl Reader<'_> {
    fn one(&mut self, raw: &[u8], number: u32) {
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        if raw.len() > LINE_BYTES_MAX {
            self.gather.problem(number, format!("a line of {} bytes: read up to {LINE_BYTES_MAX}", raw.len()));
        }
        let text = clean::text(&raw[..raw.len().min(LINE_BYTES_MAX)]);
        if text.trim().is_empty() {
            return;
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(text.chars().take(2000).collect());
        if text.starts_with('{')
            && let Ok(value) = serde_json::from_str::<Value>(&text)
            && self.object(&value, number)
        {
            self.placed += 1;
            return;
        }
        let found = inner(&text, self.gather.assume);
        let Some(at_ms) = found.at_ms else {
            let stands_alone = self.placed == 0 || !self.gather.continue_line(&text);
            if stands_alone {
                self.first_timeless = if self.timeless == 0 { number } else { self.first_timeless };
                self.timeless += 1;
            }
            return;
        };
        let Some(component) = self.component(found.service.as_deref()) else { return };
        self.placed += 1;
        self.gather.line(LogLine {
            at_ms,
            component,
            level: found.level.unwrap_or_default(),
            message: found.message,
            trace: found.trace,
            source: (self.gather.file_number(), number),
        });
    }

    /// A line that is a record: of a log or of anything else.
    fn object(&mut self, value: &Value, number: u32) -> bool {
        let place = Place {
            list: "",
            line: number,
            entry: false,
            service: self.whose.service.as_deref(),
            pod: self.whose.pod.as_deref(),
        };
        json::one(self.gather, value, place)
    }

    fn component(&mut self, said: Option<&str>) -> Option<ComponentId> {
        let named =
            Named { service: said.or(self.whose.service.as_deref()), pod: self.whose.pod.as_deref(), node: None };
        let found = self.gather.whose(named);
        if found.is_none() {
            self.timeless += 1;
        }
        found
    }

    fn finish(self) {
        if self.timeless > 0 {
            let line = self.first_timeless;
            let what = format!(
                "{} lines without a time or without a name: expected a time at the start of a line",
                self.timeless
            );
            self.gather.problem(line, what);
        }
        let tailed = self.whose.pod.is_some() && !self.tail.is_empty();
        if let (true, Some(pod)) = (tailed, &self.whose.pod) {
            let space = self.whose.namespace.clone().unwrap_or_default();
            let container = self.whose.container.clone().unwrap_or_default();
            self.gather.tails.push((space, pod.clone(), container, LogTail { lines: self.tail.into() }));
            self.gather.count("ends of logs", 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Inner {
        inner(line, Assume { offset_ms: 0, year: Some(2026) })
    }

    #[test]
    fn one_message_in_every_layout() {
        let at = Some(1_781_795_160_000);
        for line in [
            "2026-06-18T15:06:00Z ERROR charge failed",
            "2026-06-18 15:06:00,000 [main] ERROR charge failed",
            "[2026-06-18 15:06:00] ERROR charge failed",
            "2026-06-18T15:06:00.000Z stdout F ERROR charge failed",
            "{\"log\":\"ERROR charge failed\\n\",\"stream\":\"stderr\",\"time\":\"2026-06-18T15:06:00Z\"}",
            "{\"ts\":1781795160.0,\"level\":\"error\",\"msg\":\"charge failed\"}",
            "time=2026-06-18T15:06:00Z level=error msg=\"charge failed\"",
            "E0618 15:06:00.000000   1 x.go:1] charge failed",
            "2026-06-18T15:06:00.5Z stderr F {\"level\":\"error\",\"msg\":\"charge failed\"}",
        ] {
            let inner = said(line);
            assert_eq!(inner.at_ms.map(|ms| ms / 1000 * 1000), at, "{line}");
            assert!(inner.message.ends_with("charge failed"), "{line}: {inner:?}");
        }
        assert_eq!(said("time=2026-06-18T15:06:00Z level=error msg=\"charge failed\"").level, Some(Level::Error));
        assert_eq!(said("2026-06-18T15:06:00Z ERROR charge failed").level, Some(Level::Error));
        assert_eq!(said("2026-06-18 15:06:00 INFO no error here").level, Some(Level::Info));
        assert_eq!(said("panic: runtime error").level, Some(Level::Fatal));
        assert_eq!(said("E0618 15:06:00.000000   1 x.go:1] charge failed").level, Some(Level::Error));
        assert_eq!(said("10.0.0.1 - - [18/Jun/2026:15:06:00 +0000] \"GET / HTTP/1.1\" 502 0").at_ms, at);
    }

    #[test]
    fn nothing_in_a_line_can_hurt() {
        for line in ["", "{", "{}", "=", "msg=", "msg=\"", "a=b msg=\"\\", "[", "🦀", "é 2026", "{\"msg\":{}}", "\u{0}"]
        {
            let _ = said(line);
        }
        let _ = said(&"[".repeat(100_000));
        let _ = said(&"é".repeat(100));
    }
}
