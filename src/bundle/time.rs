//! Points in time as programs write them: RFC 3339 and its relatives, access logs, syslog, seconds to
//! nanoseconds of the epoch. Never asks a clock and never fails loudly.

use opsward_causes::case::TimeMs;

/// Longest text that is looked at.
const TEXT_BYTES_MAX: usize = 48;
/// Names of months.
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// How times without a zone or a year are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Assume {
    /// Offset of zoneless times from UTC.
    pub(crate) offset_ms: i64,
    /// Year of times that have none.
    pub(crate) year: Option<i64>,
}

/// A point in time, and whether its text said the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) at_ms: TimeMs,
    pub(crate) zoned: bool,
    /// Bytes of the text that were read.
    pub(crate) length: usize,
}

/// A time from a whole text.
pub(crate) fn parse(text: &str, assume: Assume) -> Option<Stamp> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'e' || b == b'E' || b == b'+') {
        return epoch(text.parse().ok()?).map(|at_ms| Stamp { at_ms, zoned: true, length: text.len() });
    }
    prefix(text, assume)
}

/// Milliseconds of a number whose size says whether it counts seconds, milli-, micro- or nanoseconds.
pub(crate) fn epoch(number: f64) -> Option<TimeMs> {
    let ms = match number {
        n if !n.is_finite() || n < 1e8 => return None,
        n if n < 1e11 => n * 1e3,
        n if n < 1e14 => n,
        n if n < 1e17 => n / 1e3,
        n if n < 1e20 => n / 1e6,
        _ => return None,
    };
    Some(ms.round() as i64)
}

/// Milliseconds in one unit of an epoch number of this size.
pub(crate) fn epoch_unit_us(number: f64) -> Option<f64> {
    match number {
        n if !(1e8..1e20).contains(&n) => None,
        n if n < 1e11 => Some(1e6),
        n if n < 1e14 => Some(1e3),
        n if n < 1e17 => Some(1.0),
        _ => Some(1e-3),
    }
}

/// A time that a text begins with.
pub(crate) fn prefix(text: &str, assume: Assume) -> Option<Stamp> {
    let bytes = &text.as_bytes()[..text.len().min(TEXT_BYTES_MAX)];
    dated(bytes, assume)
        .or_else(|| access(bytes, assume))
        .or_else(|| syslog(bytes, assume))
        .or_else(|| klog(bytes, assume))
}

/// `2026-06-18T15:06:00.123Z`, with a blank for the T, slashes for the dashes, any fraction, any offset or none.
fn dated(bytes: &[u8], assume: Assume) -> Option<Stamp> {
    let year = number(bytes, 0, 4)?;
    let mark = *bytes.get(4)?;
    if !matches!(mark, b'-' | b'/' | b'.') || bytes.get(7) != Some(&mark) || !(1970..=2200).contains(&year) {
        return None;
    }
    let (month, day) = (number(bytes, 5, 2)?, number(bytes, 8, 2)?);
    let date = days(year, month, day)? * DAY_MS;
    if bytes.len() == 10 {
        return Some(Stamp { at_ms: date - assume.offset_ms, zoned: false, length: 10 });
    }
    if !matches!(bytes.get(10)?, b'T' | b't' | b' ' | b'-' | b'_') {
        return None;
    }
    let (clock, end) = clock(bytes, 11)?;
    Some(zoned(bytes, date + clock, end, assume))
}

/// `18/Jun/2026:15:06:00 +0000`.
fn access(bytes: &[u8], assume: Assume) -> Option<Stamp> {
    let day = number(bytes, 0, 2)?;
    if bytes.get(2) != Some(&b'/') || !matches!(bytes.get(11), Some(b':' | b' ')) {
        return None;
    }
    let month = month(bytes.get(3..6)?)?;
    let date = days(number(bytes, 7, 4)?, month, day)? * DAY_MS;
    let (clock, end) = clock(bytes, 12)?;
    Some(zoned(bytes, date + clock, end, assume))
}

/// `Jun 18 15:06:00`: the year has to come from elsewhere.
fn syslog(bytes: &[u8], assume: Assume) -> Option<Stamp> {
    let month = month(bytes.get(..3)?)?;
    let day_at = 3 + bytes.get(3..)?.iter().take_while(|b| **b == b' ').count();
    let digits = bytes.get(day_at..)?.iter().take_while(|b| b.is_ascii_digit()).count();
    let day = number(bytes, day_at, digits)?;
    if !(1..=2).contains(&digits) || bytes.get(day_at + digits) != Some(&b' ') {
        return None;
    }
    let (clock, end) = clock(bytes, day_at + digits + 1)?;
    let at_ms = days(assume.year?, month, day)? * DAY_MS + clock - assume.offset_ms;
    Some(Stamp { at_ms, zoned: false, length: end })
}

/// `I0618 15:06:00.123456`.
fn klog(bytes: &[u8], assume: Assume) -> Option<Stamp> {
    if !matches!(bytes.first()?, b'I' | b'W' | b'E' | b'F') || bytes.get(5) != Some(&b' ') {
        return None;
    }
    let (month, day) = (number(bytes, 1, 2)?, number(bytes, 3, 2)?);
    let (clock, end) = clock(bytes, 6)?;
    let at_ms = days(assume.year?, month, day)? * DAY_MS + clock - assume.offset_ms;
    Some(Stamp { at_ms, zoned: false, length: end })
}

/// `15:06:00.123`, `15:06:00,123`, `15:06`.
fn clock(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let (hour, minute) = (number(bytes, at, 2)?, number(bytes, at + 3, 2)?);
    if bytes.get(at + 2) != Some(&b':') || hour > 24 || minute > 59 {
        return None;
    }
    let mut ms = hour * 3_600_000 + minute * 60_000;
    let mut end = at + 5;
    if bytes.get(end) == Some(&b':') {
        ms += number(bytes, end + 1, 2)?.min(60) * 1000;
        end += 3;
        let digits = bytes.get(end + 1..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count();
        if matches!(bytes.get(end), Some(b'.' | b',')) && digits > 0 {
            let fraction = bytes[end + 1..].iter().take(digits.min(3));
            let shown = fraction.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
            ms += shown * [100, 10, 1][digits.min(3) - 1];
            end += 1 + digits;
        }
    }
    Some((ms, end))
}

/// Takes off the offset that follows, or the assumed one.
fn zoned(bytes: &[u8], local_ms: i64, end: usize, assume: Assume) -> Stamp {
    let blank = usize::from(bytes.get(end) == Some(&b' '));
    let rest = bytes.get(end + blank..).unwrap_or_default();
    let (offset_ms, length) = match rest {
        [b'Z' | b'z', ..] if blank == 0 => (0, 1),
        [b'U', b'T', b'C', ..] | [b'G', b'M', b'T', ..] => (0, 3 + blank),
        [sign @ (b'+' | b'-'), ..] => match offset(rest) {
            Some((ms, length)) => (if *sign == b'-' { -ms } else { ms }, length + blank),
            None => return Stamp { at_ms: local_ms - assume.offset_ms, zoned: false, length: end },
        },
        _ => return Stamp { at_ms: local_ms - assume.offset_ms, zoned: false, length: end },
    };
    Stamp { at_ms: local_ms - offset_ms, zoned: true, length: end + length }
}

/// Magnitude of `+08:00`, `+0800` or `+08`, and its length.
fn offset(bytes: &[u8]) -> Option<(i64, usize)> {
    let hours = number(bytes, 1, 2)?;
    let colon = usize::from(bytes.get(3) == Some(&b':'));
    let minutes = number(bytes, 3 + colon, 2);
    let length = if minutes.is_some() { 5 + colon } else { 3 };
    let free = bytes.get(length).is_none_or(|b| !b.is_ascii_digit());
    (hours <= 14 && minutes.unwrap_or(0) < 60 && free)
        .then_some((hours * 3_600_000 + minutes.unwrap_or(0) * 60_000, length))
}

/// An offset such as `+08:00`, `-0330` or `Z` as a person writes it into a setting.
pub(crate) fn offset_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    if matches!(text, "Z" | "z" | "UTC" | "utc" | "GMT") {
        return Some(0);
    }
    let (ms, length) = offset(text.as_bytes())?;
    match text.as_bytes().first() {
        Some(b'+') if length == text.len() => Some(ms),
        Some(b'-') if length == text.len() => Some(-ms),
        _ => None,
    }
}

fn month(bytes: &[u8]) -> Option<i64> {
    let place = MONTHS.iter().position(|name| bytes.eq_ignore_ascii_case(name))?;
    i64::try_from(place + 1).ok()
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<i64> {
    let digits = bytes.get(at..at + length)?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The year that a point in time lies in.
pub(crate) fn year_of(at_ms: TimeMs) -> i64 {
    let guess = 1970 + at_ms.div_euclid(DAY_MS) / 366;
    (guess..guess + 40)
        .take_while(|year| days(*year, 1, 1).is_some_and(|first| first * DAY_MS <= at_ms))
        .last()
        .unwrap_or(guess)
}

/// `2026-06-18 15:06:00 UTC`.
pub fn shown(at_ms: TimeMs) -> String {
    let year = year_of(at_ms);
    let mut left = at_ms.div_euclid(DAY_MS) - days(year, 1, 1).unwrap_or(0);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    let seconds = at_ms.rem_euclid(DAY_MS) / 1000;
    let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
    format!("{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{:02} UTC", left + 1, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Option<i64> {
        parse(text, Assume { offset_ms: 0, year: Some(2026) }).map(|stamp| stamp.at_ms)
    }

    #[test]
    fn one_instant_in_every_dress() {
        let at = Some(1_781_795_160_000);
        for text in [
            "2026-06-18T15:06:00Z",
            "2026-06-18 15:06:00",
            "2026-06-18T15:06:00.000000000Z",
            "2026-06-18T23:06:00+08:00",
            "2026-06-18T23:06:00,000+0800",
            "2026-06-18 15:06:00.000170792 +0000 UTC m=+1.471332652",
            "2026/06/18 15:06:00",
            "18/Jun/2026:15:06:00 +0000",
            "Jun 18 15:06:00",
            "I0618 15:06:00.000000",
            "1781795160",
            "1781795160.0",
            "1781795160000",
            "1781795160000000",
            "1781795160000000000",
            "1.78179516e9",
        ] {
            assert_eq!(ms(text), at, "{text}");
        }
        assert_eq!(ms("2026-06-18T15:06:00.25Z"), Some(1_781_795_160_250));
        assert_eq!(shown(1_781_795_160_000), "2026-06-18 15:06:00 UTC");
        assert_eq!(shown(1_709_164_800_000), "2024-02-29 00:00:00 UTC");
        assert_eq!(shown(0), "1970-01-01 00:00:00 UTC");
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "yesterday",
            "12",
            "2026-13-01T00:00:00Z",
            "2026-06-18T",
            "25:99",
            "NaN",
            "-5",
            "99999999999999999999999",
            "Jun",
            "🦀🦀🦀🦀",
        ] {
            assert_eq!(ms(text), None, "{text}");
        }
        assert_eq!(parse("Jun 18 15:06:00", Assume::default()), None);
    }

    #[test]
    fn offsets_and_assumptions() {
        assert_eq!(offset_ms("+08:00"), Some(28_800_000));
        assert_eq!(offset_ms("-0330"), Some(-12_600_000));
        assert_eq!(offset_ms("8"), None);
        let assume = Assume { offset_ms: 28_800_000, year: None };
        let stamp = parse("2026-06-18 23:06:00", assume).unwrap();
        assert_eq!((stamp.at_ms, stamp.zoned), (1_781_795_160_000, false));
        assert!(parse("2026-06-18 23:06:00Z", assume).unwrap().zoned);
        assert_eq!(year_of(1_767_225_599_999), 2025);
        assert_eq!(year_of(1_767_225_600_000), 2026);
    }
}
