//! The level a line's own text states. Never guesses from words of the message such as "failed".

use opsward_domain::telemetry::Level;

/// How far into a line a level may stand: prefixes are short, messages are not searched.
const PREFIX_BYTES: usize = 96;
/// Most words looked at inside the prefix.
const PREFIX_WORDS: usize = 12;
/// How far into a structured line its level field may stand.
const FIELD_BYTES: usize = 1_024;

/// The word used in queries, groups and records.
pub fn word(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
        Level::Fatal => "fatal",
    }
}

/// The level that `name` names, in any case, with the usual synonyms.
pub fn named(name: &str) -> Option<Level> {
    let bytes = name.as_bytes();
    let is = |word: &str| bytes.eq_ignore_ascii_case(word.as_bytes());
    match bytes.len() {
        4 if is("info") => Some(Level::Info),
        4 if is("warn") => Some(Level::Warn),
        5 if is("error") => Some(Level::Error),
        5 if is("debug") => Some(Level::Debug),
        5 if is("trace") => Some(Level::Trace),
        5 if is("fatal") || is("panic") || is("emerg") || is("alert") => Some(Level::Fatal),
        3 if is("err") => Some(Level::Error),
        3 if is("inf") => Some(Level::Info),
        3 if is("wrn") => Some(Level::Warn),
        3 if is("dbg") => Some(Level::Debug),
        4 if is("crit") => Some(Level::Fatal),
        6 if is("notice") => Some(Level::Info),
        6 if is("severe") => Some(Level::Error),
        7 if is("warning") => Some(Level::Warn),
        8 if is("critical") => Some(Level::Fatal),
        11 if is("information") => Some(Level::Info),
        _ => None,
    }
}

/// The level that `text` states: a `level`-like field of JSON or logfmt, a level word in its prefix that
/// looks like one (upper case, or set apart by brackets or a colon), or klog's letter.
pub fn of(text: &str) -> Option<Level> {
    if let Some(level) = klog(text.as_bytes()) {
        return Some(level);
    }
    if let Some(level) = field(&text.as_bytes()[..text.len().min(FIELD_BYTES)]) {
        return Some(level);
    }
    prefix(text.as_bytes())
}

/// `E1123 06:05:24.000000 ...` as klog and glog write it.
fn klog(text: &[u8]) -> Option<Level> {
    let [letter, a, b, c, d, b' ', ..] = text else { return None };
    if ![a, b, c, d].into_iter().all(u8::is_ascii_digit) {
        return None;
    }
    match letter {
        b'I' => Some(Level::Info),
        b'W' => Some(Level::Warn),
        b'E' => Some(Level::Error),
        b'F' => Some(Level::Fatal),
        _ => None,
    }
}

/// A field named like a level, as `level=warn`, `"level":"warn"` or bunyan's `"level":40`.
fn field(text: &[u8]) -> Option<Level> {
    const KEYS: [&[u8]; 5] = [b"level", b"lvl", b"severity", b"loglevel", b"log.level"];
    for (at, byte) in text.iter().enumerate() {
        if *byte != b'=' && *byte != b':' {
            continue;
        }
        let before = text[..at].strip_suffix(b"\"").unwrap_or(&text[..at]);
        let start = before.iter().rposition(|b| !(b.is_ascii_alphanumeric() || *b == b'.')).map_or(0, |p| p + 1);
        if !KEYS.iter().any(|key| before[start..].eq_ignore_ascii_case(key)) {
            continue;
        }
        let mut value = &text[at + 1..];
        while let Some(rest) = value.strip_prefix(b" ").or_else(|| value.strip_prefix(b"\"")) {
            value = rest;
        }
        let end = value.iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(value.len());
        let value = std::str::from_utf8(&value[..end]).unwrap_or_default();
        if let Some(level) = named(value).or_else(|| numbered(value)) {
            return Some(level);
        }
    }
    None
}

/// Bunyan and pino count levels in tens.
fn numbered(value: &str) -> Option<Level> {
    match value {
        "10" => Some(Level::Trace),
        "20" => Some(Level::Debug),
        "30" => Some(Level::Info),
        "40" => Some(Level::Warn),
        "50" => Some(Level::Error),
        "60" => Some(Level::Fatal),
        _ => None,
    }
}

/// A level word that stands where loggers put it.
fn prefix(text: &[u8]) -> Option<Level> {
    let text = &text[..text.len().min(PREFIX_BYTES)];
    let mut at = 0;
    for _ in 0..PREFIX_WORDS {
        at += text.get(at..)?.iter().position(u8::is_ascii_alphabetic)?;
        let end = text[at..].iter().position(|b| !b.is_ascii_alphanumeric()).map_or(text.len(), |n| at + n);
        let word = &text[at..end];
        let upper = word.iter().all(u8::is_ascii_uppercase);
        let before = at.checked_sub(1).map(|i| text[i]);
        let after = text.get(end).copied();
        let alone = matches!(before, None | Some(b' ' | b'[' | b'<' | b'(' | b'|' | b'\t' | b':'));
        let apart = matches!((before, after), (Some(b'['), Some(b']')) | (Some(b'<'), Some(b'>')))
            || (after == Some(b':') && (before.is_none() || before == Some(b' ')));
        if alone
            && (upper || apart)
            && let Some(level) = std::str::from_utf8(word).ok().and_then(named)
        {
            return Some(level);
        }
        at = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_loggers_write() {
        for (text, level) in [
            (r#"{"ts":1,"level":"error","msg":"x"}"#, Level::Error),
            (r#"{"level":40,"msg":"x"}"#, Level::Warn),
            ("time=2026-11-23 level=warning msg=\"slow\"", Level::Warn),
            ("2026-11-23T06:05:24Z ERROR pool exhausted", Level::Error),
            ("2026-11-23 06:05:24,123 [main] WARN  c.a.Pool - slow", Level::Warn),
            ("[error] worker died", Level::Error),
            ("2026/11/23 06:05:24 [crit] 12#0: no space", Level::Fatal),
            ("E1123 06:05:24.000000       1 main.go:5] boom", Level::Error),
            ("error: cannot open file", Level::Error),
            ("2026-11-23 06:05:24.123 UTC [71] FATAL:  role does not exist", Level::Fatal),
            ("DEBUG cache miss", Level::Debug),
        ] {
            assert_eq!(of(text), Some(level), "{text}");
        }
    }

    #[test]
    fn does_not_guess() {
        for text in [
            "",
            "request failed with an error in it",
            "no info given",
            "{\"sublevel\":\"error\"}",
            "ERRORS 5",
            "the job said nothing for a long time, then more words, and then at the end of it all stood ERROR here",
            "E12 x",
            "level=",
            "\u{1F980} weird: level=\u{1F980}",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
