//! Values that are more than one word: quoted texts, addresses with colons, times, quantities with
//! their units. Each is recognised by its form alone, in bounded look-ahead.

use crate::scan::{Look, Word, is_delimiter};

/// Longest quoted value that is one value because of its form.
const QUOTED_MAX: usize = 256;
/// Longest control sequence of a terminal.
const CONTROL_MAX: usize = 16;
/// Colons from which hexadecimal groups are an address rather than a time.
const ADDRESS_COLONS: usize = 5;

/// Names of fields whose quoted values are messages, or few: they are mined, not cut out.
const SPOKEN: [&[u8]; 13] = [
    b"msg",
    b"message",
    b"level",
    b"lvl",
    b"severity",
    b"event",
    b"error",
    b"err",
    b"logger",
    b"component",
    b"service",
    b"reason",
    b"log",
];

/// Units of size, rate and time as they follow a number.
const UNITS: [&[u8]; 40] = [
    b"b", b"kb", b"mb", b"gb", b"tb", b"pb", b"kib", b"mib", b"gib", b"tib", b"byte", b"bytes", b"bit", b"bits", b"ns",
    b"us", b"ms", b"s", b"sec", b"secs", b"second", b"seconds", b"msec", b"msecs", b"usec", b"usecs", b"min", b"mins",
    b"minute", b"minutes", b"hour", b"hours", b"day", b"days", b"millis", b"hz", b"khz", b"mhz", b"ghz", b"h",
];

const MONTHS: [&[u8]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
const WEEKDAYS: [&[u8]; 7] = [b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun"];

/// The end of a quoted value that begins at the quote `at`: `key="..."` or `"key":"..."` unless the
/// key's values are spoken, and text without blanks that has digits or slashes.
pub(crate) fn quoted(head: &[u8], at: usize) -> Option<usize> {
    let quote = head[at];
    if at > 0 && !is_delimiter(head[at - 1]) {
        return None;
    }
    if quote == b'"' && is_field(&head[..at]) {
        let mut end = at + 1;
        while *head.get(end)? != b'"' {
            end += if head[end] == b'\\' { 2 } else { 1 };
        }
        return (end > at + 1).then_some(end);
    }
    let inside = &head[at + 1..head.len().min(at + QUOTED_MAX)];
    let length = inside.iter().position(|b| *b == quote || b.is_ascii_whitespace())?;
    let formed = |b: &u8| b.is_ascii_digit() || matches!(b, b'/' | b'\\');
    let ended = inside[length] == quote && inside.get(length + 1).is_none_or(|b| is_delimiter(*b) || *b == b'.');
    (ended && inside[..length].iter().any(formed)).then_some(at + 1 + length)
}

/// Bytes of a terminal's control sequence, which begins with an escape: colours and the like.
pub(crate) fn control_bytes(text: &[u8]) -> usize {
    if text.get(1) != Some(&b'[') {
        return 1;
    }
    let length = text[2..].iter().take(CONTROL_MAX).take_while(|b| matches!(b, 0x20..=0x3f)).count();
    if text.get(2 + length).is_some_and(|b| matches!(b, 0x40..=0x7e)) { length + 3 } else { 1 }
}

/// True if brackets or quotes that open at `at` hold nothing where a value could be.
#[inline]
pub(crate) fn is_empty(head: &[u8], at: usize) -> bool {
    let close = match head[at] {
        b'(' => b')',
        b'[' => b']',
        b'"' => b'"',
        _ => return false,
    };
    let led = at == 0 || matches!(head[at - 1], b' ' | b'=' | b':');
    head.get(at + 1) == Some(&close) && led && head.get(at + 2).is_none_or(|b| is_delimiter(*b))
}

/// True if what is quoted next is the value of a field.
fn is_field(before: &[u8]) -> bool {
    let before = before.trim_ascii_end();
    let Some(key) = before.strip_suffix(b"=").or_else(|| before.strip_suffix(b"\":")) else { return false };
    let from = key.iter().rposition(|b| is_delimiter(*b)).map_or(0, |p| p + 1);
    !SPOKEN.iter().any(|spoken| key[from..].eq_ignore_ascii_case(spoken))
}

/// `word`, or the longer value that begins with it.
#[inline]
pub(crate) fn widened(head: &[u8], word: Word) -> Word {
    let (start, end) = (word.start as usize, word.end as usize);
    let text = &head[start..end];
    match head.get(end) {
        Some(b':') => at_colon(head, start, end).unwrap_or(word),
        Some(b' ' | b',') if text.len() == 3 && word.look == Look::Constant => {
            date(head, start).map_or(word, |end| Word::new(start, end, Look::Value))
        }
        Some(b' ') if word.look == Look::Value && is_number(text) => quantity(head, word).unwrap_or(word),
        _ => word,
    }
}

/// URL, Windows path, hardware or IPv6 address, time of day: values that go on behind a colon.
fn at_colon(head: &[u8], start: usize, end: usize) -> Option<Word> {
    let (text, rest) = (&head[start..end], &head[end..]);
    if rest.starts_with(b"://") && text[0].is_ascii_alphabetic() {
        let kind = end + 3 - start;
        let end = value_end(head, end + 3);
        let head_bytes = u8::try_from(kind).unwrap_or(0);
        return (end > start + kind).then(|| Word { head: head_bytes, ..Word::new(start, end, Look::Value) });
    }
    if rest.starts_with(b":\\") && text.len() == 1 && text[0].is_ascii_alphabetic() {
        return Some(Word::new(start, value_end(head, end + 1), Look::Value));
    }
    address(head, start)
        .map(|end| Word::new(start, end, Look::Value))
        .or_else(|| time(head, start))
        .or_else(|| instant(head, start, end))
}

/// The end of a value that only blanks and closing marks end.
fn value_end(head: &[u8], from: usize) -> usize {
    let stops = |b: &u8| *b <= b' ' || matches!(b, b'"' | b'\'' | b'<' | b'>' | b'[' | b']' | b'(' | b')' | b'|');
    let mut end = head[from..].iter().position(stops).map_or(head.len(), |length| from + length);
    while end > from && matches!(head[end - 1], b'.' | b',' | b';' | b':' | b'!' | b'?') {
        end -= 1;
    }
    end
}

/// The end of a hardware or IPv6 address.
fn address(head: &[u8], start: usize) -> Option<usize> {
    let (mut end, mut colons, mut double, mut group) = (start, 0, false, 0);
    while let Some(byte) = head.get(end) {
        match byte {
            b':' => {
                double |= colons > 0 && group == 0;
                (colons, group) = (colons + 1, 0);
            }
            b if b.is_ascii_hexdigit() && group < 4 => group += 1,
            b if b.is_ascii_alphanumeric() || !b.is_ascii() || matches!(b, b'_' | b'-') => return None,
            _ => break,
        }
        end += 1;
    }
    if colons == 0 {
        return None;
    }
    if head[end - 1] == b':' && !head[..end].ends_with(b"::") {
        (end, colons) = (end - 1, colons - 1);
    }
    (colons >= ADDRESS_COLONS || (double && colons > 1)).then_some(end)
}

/// Two digits at `at`.
fn two_digits(head: &[u8], at: usize) -> bool {
    head.get(at..at + 2).is_some_and(|two| two.iter().all(u8::is_ascii_digit))
}

/// A time of day or a length of time: `8:05`, `08:05:59`, `08:05:59.123`.
fn time(head: &[u8], start: usize) -> Option<Word> {
    let first = head[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = start + first;
    if !(1..=2).contains(&first) || head.get(end) != Some(&b':') || !two_digits(head, end + 1) {
        return None;
    }
    end += 3;
    let mut parts = 2;
    if head.get(end) == Some(&b':') && two_digits(head, end + 1) {
        (end, parts) = (end + 3, 3);
        if head.get(end).is_some_and(|b| matches!(b, b'.' | b',')) && two_digits(head, end + 1) {
            end += 1 + head[end + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        }
    }
    let free = |b: &u8| b.is_ascii() && !b.is_ascii_alphanumeric() && !matches!(b, b'_' | b':');
    head.get(end).is_none_or(free).then(|| Word { parts, separator: b':', ..Word::new(start, end, Look::Value) })
}

/// An ISO 8601 instant; `end` is behind its hour.
fn instant(head: &[u8], start: usize, end: usize) -> Option<Word> {
    let day = &head[start..end];
    if day.len() != 13 || day[10] != b'T' || day[4] != b'-' || !two_digits(head, end + 1) {
        return None;
    }
    let goes_on = |b: &u8| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'Z' | b'+' | b'-');
    let length = head[end..].iter().take_while(|b| goes_on(b)).count();
    if head.get(end + length).is_some_and(|b| b.is_ascii_alphanumeric() || !b.is_ascii()) {
        return None;
    }
    let trailing = head[end..end + length].iter().rev().take_while(|b| matches!(b, b':' | b'.' | b'-' | b'+')).count();
    Some(Word::new(start, end + length - trailing, Look::Value))
}

/// The end of a date with a time in words: `Fri Jul 01 08:16:53 PDT 2005`, `Jul  1 08:16:53`.
pub(crate) fn date(head: &[u8], start: usize) -> Option<usize> {
    let named = |at: usize, names: &[&[u8]]| {
        head.get(at..at + 3).is_some_and(|word| names.iter().any(|name| word.eq_ignore_ascii_case(name)))
    };
    let blanks = |at: usize| at + head[at..].iter().take(2).take_while(|b| **b == b' ').count();
    let mut at = start;
    if named(at, &WEEKDAYS) {
        at = blanks(at + 3 + usize::from(head.get(at + 3) == Some(&b',')));
    }
    if !named(at, &MONTHS) {
        return None;
    }
    at = blanks(at + 3);
    let day = head[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=2).contains(&day) {
        return None;
    }
    let mut end = time(head, blanks(at + day))?.end as usize;
    let zone = head[end..].iter().skip(1).take(5).take_while(|b| b.is_ascii_uppercase()).count();
    let year = |at: usize| {
        head.get(at) == Some(&b' ')
            && two_digits(head, at + 1)
            && two_digits(head, at + 3)
            && head.get(at + 5).is_none_or(|b| is_delimiter(*b) || *b == b'.')
    };
    if head.get(end) == Some(&b' ') && zone > 1 && year(end + 1 + zone) {
        end += 1 + zone;
    }
    Some(if year(end) { end + 5 } else { end })
}

/// True for a number as people write it.
fn is_number(text: &[u8]) -> bool {
    text.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'))
}

/// The end of a unit that begins at `at`.
fn unit(head: &[u8], at: usize) -> Option<usize> {
    let length = head[at..].iter().take(9).take_while(|b| b.is_ascii_alphabetic()).count();
    let end = at + length;
    let free = head.get(end).is_none_or(|b| is_delimiter(*b) || matches!(b, b'.' | b'/'));
    (free && length > 0 && UNITS.iter().any(|unit| head[at..end].eq_ignore_ascii_case(unit))).then_some(end)
}

/// A number with its unit, and with the same size again for people: `850 bytes (0.8 KB)`.
fn quantity(head: &[u8], word: Word) -> Option<Word> {
    let number_end = word.end as usize;
    let end = unit(head, number_end + 1)?;
    let again = |at: usize| {
        let at = head[at..].strip_prefix(b" (").map(|_| at + 2)?;
        let digits = head[at..].iter().take(16).take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b',')).count();
        let end = (digits > 0 && head.get(at + digits) == Some(&b' ')).then(|| unit(head, at + digits + 1))??;
        (head.get(end) == Some(&b')')).then_some(end + 1)
    };
    Some(match again(end) {
        Some(end) => Word { end: end as u32, head: 0, ..word },
        None => Word { end: end as u32, tail: (end - number_end) as u8, head: 0, ..word },
    })
}
