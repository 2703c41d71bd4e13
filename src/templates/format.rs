//! Where the message begins in a line: what stands before it (time, host, process, level, thread, logger)
//! is recognised by its form, one line at a time. Never changes a message, and takes the whole line for
//! one where it is not sure.

use std::borrow::Cow;

use crate::value;

/// Columns of a header that are looked at.
const COLUMNS_MAX: usize = 12;
/// Columns that are looked past for one that is surely of the header.
const BEYOND_MAX: usize = 5;
/// Longest column of a header.
const COLUMN_BYTES_MAX: usize = 96;
/// Longest line whose fields are read as JSON or logfmt; longer ones are taken whole.
const FIELDS_BYTES_MAX: usize = 64 * 1024;
/// Envelopes inside each other that are opened.
const DEPTH_MAX: usize = 3;
/// Names of the field that holds the message, the likeliest first.
const MESSAGE_FIELDS: [&str; 7] = ["message", "msg", "log", "short_message", "@message", "body", "text"];
/// Words for levels.
const LEVELS: [&str; 22] = [
    "trace",
    "debug",
    "info",
    "information",
    "notice",
    "warn",
    "warning",
    "error",
    "err",
    "fatal",
    "critical",
    "crit",
    "alert",
    "emerg",
    "emergency",
    "severe",
    "verbose",
    "fine",
    "finer",
    "config",
    "panic",
    "failure",
];

/// How lines are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Each line says by its form.
    #[default]
    Auto,
    /// Each line is the message.
    Content,
    /// Syslog (RFC 3164 and 5424): time, host, process.
    Syslog,
    /// A time, then level, thread and logger in any order, as Log4j, Python or Go loggers write them.
    Plain,
    /// Container runtime: time, stream, flag.
    Cri,
    /// A JSON object a line, Docker's included.
    Json,
    /// `key=value` pairs.
    Logfmt,
}

impl Format {
    /// Every format with its name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("auto", Self::Auto),
        ("content", Self::Content),
        ("syslog", Self::Syslog),
        ("plain", Self::Plain),
        ("cri", Self::Cri),
        ("json", Self::Json),
        ("logfmt", Self::Logfmt),
    ];

    /// The format with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }

    /// The message of `line`. A line that is not laid out as said is its own message.
    pub fn message<'a>(self, line: &'a str) -> Cow<'a, str> {
        match self {
            Self::Content => Cow::Borrowed(line),
            Self::Auto => auto(line, DEPTH_MAX),
            Self::Syslog | Self::Plain => Cow::Borrowed(&line[header(line)..]),
            Self::Cri => Cow::Borrowed(cri(line).unwrap_or(line)),
            Self::Json => json(line).map_or(Cow::Borrowed(line), Cow::Owned),
            Self::Logfmt => logfmt(line).unwrap_or(Cow::Borrowed(line)),
        }
    }
}

/// The message inside whatever the line looks like.
fn auto(line: &str, depth: usize) -> Cow<'_, str> {
    if depth == 0 {
        return Cow::Borrowed(line);
    }
    if let Some(inner) = cri(line) {
        return auto(inner, depth - 1);
    }
    if line.starts_with('{') {
        return match json(line) {
            Some(inner) => Cow::Owned(auto(&inner, depth - 1).into_owned()),
            None => Cow::Borrowed(line),
        };
    }
    let rest = &line[header(line)..];
    if rest.len() < line.len() && rest.starts_with('{') {
        return auto(rest, depth - 1);
    }
    logfmt(rest).unwrap_or(Cow::Borrowed(rest))
}

/// What a container runtime wrote around.
fn cri(line: &str) -> Option<&str> {
    let (time, rest) = line.split_once(' ')?;
    let rest = rest.strip_prefix("stdout ").or_else(|| rest.strip_prefix("stderr "))?;
    let (flag, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let flagged = flag.split(':').all(|tag| matches!(tag, "F" | "P"));
    (flagged && time.len() > 18 && time.as_bytes().get(10) == Some(&b'T')).then_some(text)
}

/// The message field of a JSON object.
fn json(line: &str) -> Option<String> {
    if line.len() > FIELDS_BYTES_MAX {
        return None;
    }
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line.trim_end()).ok()?;
    let text = MESSAGE_FIELDS.iter().find_map(|name| object.get(*name)?.as_str())?;
    Some(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// The message field of `key=value` pairs.
fn logfmt(line: &str) -> Option<Cow<'_, str>> {
    let first = line.split(' ').next()?;
    let (key, _) = first.split_once('=')?;
    let named = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if !named || line.len() > FIELDS_BYTES_MAX {
        return None;
    }
    let starts = ["msg=", "message="].iter().find_map(|name| {
        let at = line.match_indices(name).find(|(at, _)| *at == 0 || line.as_bytes()[at - 1] == b' ')?.0;
        Some(at + name.len())
    })?;
    let value = &line[starts..];
    let Some(quoted) = value.strip_prefix('"') else { return Some(Cow::Borrowed(value.split(' ').next()?)) };
    let mut escaped = false;
    let end = quoted.bytes().position(|b| {
        let ends = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        ends
    })?;
    let text = &quoted[..end];
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    serde_json::from_str(&value[..end + 2]).ok().map(Cow::Owned)
}

/// What a header had so far.
#[derive(Default)]
struct Header {
    time: bool,
    syslog: bool,
    level: bool,
    logger: bool,
}

/// The byte at which the message begins.
fn header(line: &str) -> usize {
    let bytes = line.as_bytes();
    let mut at = priority(bytes);
    if at > 0 && bytes[at..].starts_with(b"1 ") {
        return versioned(bytes, at + 2).unwrap_or(0);
    }
    let mut header = Header::default();
    for _ in 0..COLUMNS_MAX {
        at += bytes[at..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let Some(end) = column(bytes, at, &mut header).or_else(|| beyond(bytes, at, &header)) else { break };
        at = end;
        if header.logger && ends_header(bytes, end, &header) {
            break;
        }
    }
    if !header.time {
        return 0;
    }
    let blanks = bytes[at..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let begin = at + blanks;
    if line.is_char_boundary(begin) { begin } else { 0 }
}

/// True if the column before `end` said that the message follows.
fn ends_header(bytes: &[u8], end: usize, header: &Header) -> bool {
    match bytes[..end].last() {
        Some(b':' | b']') => true,
        Some(b'-') => header.level,
        _ => false,
    }
}

/// The start of a later column that is surely of the header, if what is between could be as well.
fn beyond(bytes: &[u8], at: usize, header: &Header) -> Option<usize> {
    let mut start = at;
    for index in 0..BEYOND_MAX {
        let length = bytes[start..].iter().take(COLUMN_BYTES_MAX).position(|b| matches!(b, b' ' | b'\t'))?;
        let word = &bytes[start..start + length];
        let level = header.time && !header.level && word.len() > 1 && is_level(word) && !is_prose(word);
        if index > 0 && (level || (header.time && matches!(word, b"-" | b"---")) || time(bytes, start).is_some()) {
            return Some(start);
        }
        if is_prose(word) || word.is_empty() {
            return None;
        }
        start += length;
        start += bytes[start..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    }
    None
}

/// True for a word as sentences have them: letters only, not in capitals.
fn is_prose(word: &[u8]) -> bool {
    let end = word.iter().rposition(|b| b.is_ascii_alphanumeric()).map_or(0, |last| last + 1);
    let word = &word[..end];
    word.iter().any(u8::is_ascii_lowercase) && word.iter().all(|b| b.is_ascii_alphabetic() || matches!(b, b'-' | b'\''))
}

/// Bytes of a syslog priority `<34>`.
fn priority(bytes: &[u8]) -> usize {
    let digits = bytes.iter().skip(1).take(3).take_while(|b| b.is_ascii_digit()).count();
    if bytes.first() != Some(&b'<') || digits == 0 || bytes.get(digits + 1) != Some(&b'>') {
        return 0;
    }
    digits + 2
}

/// The byte at which the message of RFC 5424 begins; `at` is behind the version.
fn versioned(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    // Time, host, application, process and message id.
    for _ in 0..5 {
        at += bytes[at..].iter().take(COLUMN_BYTES_MAX).position(|b| *b == b' ')? + 1;
    }
    if bytes.get(at) == Some(&b'-') {
        return Some((at + 2).min(bytes.len()));
    }
    while bytes.get(at) == Some(&b'[') {
        let (mut quoted, mut escaped) = (false, false);
        let length = bytes[at..].iter().position(|b| {
            quoted ^= *b == b'"' && !escaped;
            escaped = *b == b'\\' && !escaped;
            *b == b']' && !quoted
        })?;
        at += length + 1;
    }
    Some((at + 1).min(bytes.len()))
}

/// The end of the header's column at `at`, or `None` if the message begins there.
fn column(bytes: &[u8], at: usize, header: &mut Header) -> Option<usize> {
    if let Some(end) = time(bytes, at) {
        header.syslog |= bytes[at].is_ascii_alphabetic();
        header.time = true;
        return Some(end);
    }
    let end = at + bytes[at..].iter().take(COLUMN_BYTES_MAX).position(|b| matches!(b, b' ' | b'\t'))?;
    let word = &bytes[at..end];
    if matches!(word, b"-" | b"--" | b"---" | b"|" | b":") {
        return header.time.then_some(end);
    }
    if !header.time {
        return None;
    }
    let bare = word.strip_suffix(b":").unwrap_or(word);
    let level = enclosed(bare).unwrap_or(bare);
    if !header.level && is_level(level) {
        header.level = true;
        return Some(end);
    }
    if header.syslog && !header.logger {
        return syslog_column(word, end, header);
    }
    if word[0] == b'[' || word[0] == b'(' {
        let close = at + bytes[at..].iter().take(COLUMN_BYTES_MAX).position(|b| matches!(b, b']' | b')'))? + 1;
        let free = bytes.get(close).is_none_or(|b| matches!(b, b' ' | b':' | b'['));
        // Behind level and logger, brackets belong to the message.
        return (free && !(header.level && header.logger) && leads_on(bytes, close, header)).then_some(close);
    }
    if !header.level && word.iter().all(|b| b.is_ascii_digit()) {
        return Some(end);
    }
    if !header.logger && is_logger(bare) {
        let colon = word.ends_with(b":");
        let aligned = header.level && bytes[end..].starts_with(b"  ");
        let rest = bytes[end..].trim_ascii_start();
        let dashed = rest.starts_with(b"- ") || rest.starts_with(b": ");
        if (header.level && (colon || dashed || aligned || bare.contains(&b'.'))) || (dashed && bare.contains(&b'.')) {
            header.logger = true;
            return Some(end);
        }
    }
    None
}

/// A column of a syslog header: the host, then the process.
fn syslog_column(word: &[u8], end: usize, header: &mut Header) -> Option<usize> {
    if word.ends_with(b":") {
        header.logger = true;
        return Some(end);
    }
    if header.level {
        return None;
    }
    // The host; a second word without a colon begins the message.
    header.level = true;
    Some(end)
}

/// True if after a bracketed column there is more of a header, or no level was seen yet.
fn leads_on(bytes: &[u8], close: usize, header: &Header) -> bool {
    if !header.level {
        return true;
    }
    let next = bytes[close..].trim_ascii_start();
    let end = next.iter().position(|b| *b == b' ').unwrap_or(next.len());
    let word = &next[..end];
    is_logger(word.strip_suffix(b":").unwrap_or(word)) && (word.ends_with(b":") || word.contains(&b'.'))
}

/// What is inside brackets.
fn enclosed(word: &[u8]) -> Option<&[u8]> {
    word.strip_prefix(b"[")?.strip_suffix(b"]")
}

/// True for the word or letter of a level.
fn is_level(word: &[u8]) -> bool {
    matches!(word, b"V" | b"D" | b"I" | b"W" | b"E" | b"F")
        || LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level.as_bytes()))
}

/// True for the name of a logger, class or process.
fn is_logger(word: &[u8]) -> bool {
    word.len() > 1
        && word[0].is_ascii_alphabetic()
        && word.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$' | b'-' | b'/' | b'*'))
}

/// The end of a time at `at`: date, time of day or both, in brackets or not, or seconds of the epoch.
fn time(bytes: &[u8], at: usize) -> Option<usize> {
    let bracketed = bytes.get(at) == Some(&b'[');
    let start = at + usize::from(bracketed);
    let end = unbracketed_time(bytes, start)?;
    if bracketed {
        return (bytes.get(end) == Some(&b']')).then_some(end + 1);
    }
    bytes.get(end).is_none_or(|b| matches!(b, b' ' | b'\t' | b',' | b']' | b'|')).then(|| match bytes.get(end) {
        Some(b',') => end + 1,
        _ => end,
    })
}

fn unbracketed_time(bytes: &[u8], start: usize) -> Option<usize> {
    if bytes.get(start)?.is_ascii_alphabetic() {
        return value::date(bytes, start);
    }
    let token = |from: usize| {
        let part = |b: &u8| b.is_ascii_digit() || matches!(b, b':' | b'.' | b',' | b'/' | b'-' | b'T' | b'Z' | b'+');
        let length = bytes.get(from..)?.iter().take(40).take_while(|b| part(b)).count();
        let trailing = bytes[from..from + length].iter().rev().take_while(|b| matches!(b, b',' | b':' | b'-')).count();
        (length > trailing).then_some(from + length - trailing)
    };
    let end = token(start)?;
    let first = &bytes[start..end];
    if is_clock(first) {
        return Some(zone(bytes, end));
    }
    let marks = first.iter().filter(|b| matches!(b, b'-' | b'/' | b'.')).count();
    let digits = first.iter().filter(|b| b.is_ascii_digit()).count();
    let is_date = (marks == 2 && (6..=8).contains(&digits)) || (marks == 1 && digits == 4);
    let next = token(end + 1).filter(|_| bytes.get(end) == Some(&b' '));
    if let Some(second) = next
        && (is_date || digits == 6)
    {
        let clock = &bytes[end + 1..second];
        if is_clock(clock) || (digits == 6 && marks == 0 && clock.len() == 6 && clock.iter().all(u8::is_ascii_digit)) {
            return Some(zone(bytes, second));
        }
    }
    let epoch = marks <= 1 && matches!(first.iter().take_while(|b| b.is_ascii_digit()).count(), 10 | 13);
    ((is_date && marks == 2 && digits == 8) || epoch).then_some(end)
}

/// The end of a zone's offset that follows a time.
fn zone(bytes: &[u8], end: usize) -> usize {
    let offset = |b: &[u8]| matches!(b[1], b'+' | b'-') && b[2..].iter().all(u8::is_ascii_digit);
    match bytes.get(end..end + 6) {
        Some(next) if next[0] == b' ' && offset(next) => end + 6,
        _ if bytes[end..].starts_with(b" UTC") => end + 4,
        _ => end,
    }
}

/// True for a time of day, with or without a date before it in the same word.
fn is_clock(text: &[u8]) -> bool {
    text.windows(5).enumerate().any(|(at, five)| {
        let colon = matches!(five[2], b':') && five[..2].iter().chain(&five[3..]).all(u8::is_ascii_digit);
        // An address with a port is no time.
        let led = at == 0 || !(text[at - 1].is_ascii_digit() || text[at - 1] == b'.');
        colon && led && !text.get(at + 5).is_some_and(u8::is_ascii_digit)
    }) || is_dotted_clock(text)
}

/// True for a date with a time of day that is written with dots: `2005-06-03-15.42.50`.
fn is_dotted_clock(text: &[u8]) -> bool {
    text.len() >= 19 && text[4] == b'-' && text[7] == b'-' && text[10] == b'-' && text[13] == b'.' && text[16] == b'.'
}
