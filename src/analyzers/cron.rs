//! CronJob schedules: are they valid, do they ever fire, and when did they fire last. UTC only.

use jiff::civil::Weekday;
use opsward_domain::time::AtMs;

/// Days looked back for the last time; a leap day is at most eight years away.
const DAYS_MAX: i64 = 8 * 366;

/// The allowed minutes, hours, days, months and weekdays, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both day fields are restricted: either may match.
    either_day: bool,
}

/// Reads a schedule of five fields or one of the `@` words.
pub(crate) fn parse(text: &str) -> Result<Schedule, String> {
    let text = text.trim();
    let text = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => other,
    };
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minutes, hours, days, months, weekdays] = fields[..] else {
        return Err(format!("it has {} fields instead of 5", fields.len()));
    };
    let months_of = |word: &str| {
        position(word, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
            .map(|at| at + 1)
    };
    let days_of = |word: &str| position(word, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]);
    let none = |_: &str| None;
    let weekday_bits = field("day of week", weekdays, 0, 7, &days_of)?;
    Ok(Schedule {
        minutes: field("minute", minutes, 0, 59, &none)?,
        hours: field("hour", hours, 0, 23, &none)?,
        days: field("day of month", days, 1, 31, &none)?,
        months: field("month", months, 1, 12, &months_of)?,
        weekdays: (weekday_bits & 0x7f) | (weekday_bits >> 7),
        either_day: !days.starts_with(['*', '?']) && !weekdays.starts_with(['*', '?']),
    })
}

fn position(word: &str, words: &[&str]) -> Option<u32> {
    words.iter().position(|known| known.eq_ignore_ascii_case(word)).and_then(|at| u32::try_from(at).ok())
}

fn field(what: &str, text: &str, low: u32, high: u32, word: &dyn Fn(&str) -> Option<u32>) -> Result<u64, String> {
    let bad = || format!("{what} {text:?} is not within {low} to {high}");
    let number = |part: &str| word(part).or_else(|| part.parse().ok()).filter(|n| (low..=high).contains(n));
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u32>().ok().filter(|step| *step > 0).ok_or_else(bad)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (low, high),
            Some((from, to)) => (number(from).ok_or_else(bad)?, number(to).ok_or_else(bad)?),
            None => {
                let from = number(range).ok_or_else(bad)?;
                (from, if part.contains('/') { high } else { from })
            }
        };
        if from > to {
            return Err(bad());
        }
        let mut at = from;
        while at <= to {
            bits |= 1 << at;
            at += step;
        }
    }
    Ok(bits)
}

impl Schedule {
    fn day_fits(&self, day: jiff::civil::Date) -> bool {
        let has = |bits: u64, at: i8| bits >> at & 1 == 1;
        let weekday = has(self.weekdays, day.weekday().since(Weekday::Sunday));
        let date = has(self.days, day.day());
        has(self.months, day.month()) && if self.either_day { weekday || date } else { weekday && date }
    }

    /// True if there is a day on which it fires.
    pub(crate) fn ever_fires(&self) -> bool {
        self.last_before(
            jiff::civil::date(2032, 12, 31)
                .to_zoned(jiff::tz::TimeZone::UTC)
                .map_or(0, |at| at.timestamp().as_millisecond()),
        )
        .is_some()
    }

    /// The latest time at or before `at_ms` at which it fires.
    pub(crate) fn last_before(&self, at_ms: AtMs) -> Option<AtMs> {
        let now = jiff::Timestamp::from_millisecond(at_ms).ok()?.to_zoned(jiff::tz::TimeZone::UTC).datetime();
        let mut day = now.date();
        for back in 0..DAYS_MAX {
            if self.day_fits(day) {
                let until = if back == 0 { i64::from(now.hour()) * 60 + i64::from(now.minute()) } else { 24 * 60 - 1 };
                let minute = (0..=until)
                    .rev()
                    .find(|minute| self.hours >> (minute / 60) & 1 == 1 && self.minutes >> (minute % 60) & 1 == 1);
                if let Some(minute) = minute {
                    let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
                    return Some(midnight + minute * 60_000);
                }
            }
            day = day.yesterday().ok()?;
        }
        None
    }

    /// How many times it fires within `(from_ms, to_ms]`, counted up to `limit`.
    pub(crate) fn count(&self, from_ms: AtMs, to_ms: AtMs, limit: usize) -> usize {
        let mut count = 0;
        let mut at = to_ms;
        while count < limit {
            match self.last_before(at) {
                Some(fired) if fired > from_ms => {
                    count += 1;
                    at = fired - 60_000;
                }
                _ => break,
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> AtMs {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn finds_the_last_time() {
        for (schedule, now, want) in [
            ("*/5 * * * *", "2026-11-23T03:14:00Z", "2026-11-23T03:10:00Z"),
            ("0 2 * * *", "2026-11-23T01:00:00Z", "2026-11-22T02:00:00Z"),
            ("30 4 1,15 * 5", "2026-11-23T00:00:00Z", "2026-11-20T04:30:00Z"),
            ("0 0 29 2 *", "2026-11-23T00:00:00Z", "2024-02-29T00:00:00Z"),
            ("0 9 * * mon-fri", "2026-11-22T12:00:00Z", "2026-11-20T09:00:00Z"),
            ("@weekly", "2026-11-23T12:00:00Z", "2026-11-22T00:00:00Z"),
        ] {
            assert_eq!(parse(schedule).unwrap().last_before(at(now)), Some(at(want)), "{schedule}");
        }
        let hourly = parse("@hourly").unwrap();
        assert_eq!(hourly.count(at("2026-11-23T00:30:00Z"), at("2026-11-23T04:30:00Z"), 10), 4);
        assert_eq!(hourly.count(at("2026-11-20T00:30:00Z"), at("2026-11-23T04:30:00Z"), 10), 10);
    }

    #[test]
    fn refuses_what_cannot_be_and_sees_what_never_is() {
        for bad in ["", "* * * *", "60 * * * *", "* 24 * * *", "*/0 * * * *", "5-1 * * * *", "a * * * *", "* * 0 * *"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(!parse("0 0 31 2 *").unwrap().ever_fires());
        assert!(!parse("0 0 30 2 *").unwrap().ever_fires());
        assert!(parse("0 0 29 2 *").unwrap().ever_fires());
        assert!(parse("0 0 31 2 1").unwrap().ever_fires(), "either day may match");
    }
}
