//! When a schedule is due: cron fields in a time zone, or a period from a fixed moment. Pure, apart from
//! the time-zone rules compiled in; every search is bounded.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use opsward_domain::fault::Fault;
use opsward_domain::schedule::{EXPRESSION_BYTES_MAX, MINUTES, When};
use opsward_domain::time::AtMs;

/// Most missed firings that are counted one by one; more are "at least so many".
pub(super) const COUNT_MAX: u32 = 1_000;
const ZONE_BYTES_MAX: usize = 64;
const MINUTE_MS: i64 = 60_000;

/// What became due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The last time.
    pub latest_ms: AtMs,
    /// How many times, the last one included, counted up to [`COUNT_MAX`].
    pub count: u32,
}

/// The times of a schedule.
#[derive(Debug)]
pub enum Calendar {
    /// By cron fields.
    Cron(Box<Cron>, TimeZone),
    /// By period, from an anchor.
    Every {
        /// Time zero.
        anchor_ms: AtMs,
        /// The period.
        period_ms: i64,
    },
}

impl Calendar {
    /// The times of `when`, periods counted from `anchor_ms`. Says what cannot be read.
    pub fn of(when: &When, anchor_ms: AtMs) -> Result<Self, Fault> {
        match when {
            When::Every { minutes } if MINUTES.contains(minutes) => {
                Ok(Self::Every { anchor_ms, period_ms: i64::from(*minutes) * MINUTE_MS })
            }
            When::Every { minutes } => Err(Fault::invalid(format!("{minutes} minutes is no period")).hint(format!(
                "{} to {} minutes",
                MINUTES.start(),
                MINUTES.end()
            ))),
            When::Cron { expression, zone } => Ok(Self::Cron(Box::new(cron(expression)?), time_zone(zone)?)),
        }
    }

    /// The first time after `after_ms`.
    pub fn next(&self, after_ms: AtMs) -> Option<AtMs> {
        match self {
            Self::Every { anchor_ms, period_ms } => {
                let periods = after_ms.saturating_sub(*anchor_ms).div_euclid(*period_ms).max(0).saturating_add(1);
                anchor_ms.checked_add(periods.checked_mul(*period_ms)?)
            }
            Self::Cron(cron, zone) => {
                let next = cron.find_next_occurrence(&zoned(after_ms, zone)?, false).ok()?;
                Some(next.timestamp().as_millisecond()).filter(|at_ms| *at_ms > after_ms)
            }
        }
    }

    /// What became due after `after_ms` and until `now_ms`.
    pub fn due(&self, after_ms: AtMs, now_ms: AtMs) -> Option<Due> {
        let first = self.next(after_ms).filter(|first| *first <= now_ms)?;
        let (mut latest_ms, mut count) = (first, 1);
        while let Some(next) = self.next(latest_ms).filter(|next| *next <= now_ms) {
            (latest_ms, count) = (next, count + 1);
            if count >= COUNT_MAX {
                return Some(Due { latest_ms: self.last(now_ms).unwrap_or(latest_ms).max(latest_ms), count });
            }
        }
        Some(Due { latest_ms, count })
    }

    /// The last time until `now_ms`.
    fn last(&self, now_ms: AtMs) -> Option<AtMs> {
        match self {
            Self::Every { anchor_ms, period_ms } => {
                let periods = now_ms.saturating_sub(*anchor_ms).div_euclid(*period_ms);
                anchor_ms.checked_add(periods.checked_mul(*period_ms)?)
            }
            Self::Cron(cron, zone) => {
                let last = cron.find_previous_occurrence(&zoned(now_ms, zone)?, true).ok()?;
                Some(last.timestamp().as_millisecond()).filter(|at_ms| *at_ms <= now_ms)
            }
        }
    }
}

fn zoned(at_ms: AtMs, zone: &TimeZone) -> Option<Zoned> {
    // Whole seconds: a time that is due has no fraction.
    let second = Timestamp::from_second(at_ms.div_euclid(1_000)).ok()?;
    Some(second.to_zoned(zone.clone()))
}

fn cron(expression: &str) -> Result<Cron, Fault> {
    let wrong = |why: String| {
        let shown: String = expression.chars().take(40).collect();
        Fault::invalid(format!("{shown:?} is not a cron expression"))
            .detail(why)
            .hint("five fields: minute, hour, day of month, month, day of week; for example 30 3 * * 1-5")
    };
    if expression.len() > EXPRESSION_BYTES_MAX || !expression.is_ascii() {
        return Err(wrong(format!("it must be plain text of at most {EXPRESSION_BYTES_MAX} characters")));
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(expression).map_err(|error| wrong(error.to_string().to_lowercase().trim_end_matches('.').to_owned()))
}

fn time_zone(name: &str) -> Result<TimeZone, Fault> {
    let plain = name.len() <= ZONE_BYTES_MAX && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b));
    let known = plain.then(|| TimeZone::get(name).ok()).flatten();
    known.ok_or_else(|| {
        let shown: String = name.chars().take(40).collect();
        Fault::invalid(format!("there is no time zone {shown:?}")).hint("for example UTC or Europe/Berlin")
    })
}

/// Milliseconds of an RFC 3339 time; for tests and nothing else.
#[cfg(test)]
fn at(text: &str) -> AtMs {
    text.parse::<Timestamp>().map_or(0, Timestamp::as_millisecond)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn berlin(expression: &str) -> Calendar {
        Calendar::of(&When::Cron { expression: expression.into(), zone: "Europe/Berlin".into() }, 0).unwrap()
    }

    #[test]
    fn a_time_zone_is_kept_across_summer_time() {
        let daily = berlin("30 8 * * *");
        assert_eq!(daily.next(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T06:30:00Z")), "summer");
        assert_eq!(daily.next(at("2026-10-24T12:00:00Z")), Some(at("2026-10-25T07:30:00Z")), "winter");
    }

    #[test]
    fn an_hour_that_does_not_exist_or_comes_twice_runs_once() {
        let night = berlin("30 2 * * *");
        let spring = night.due(at("2026-03-28T12:00:00Z"), at("2026-03-29T12:00:00Z"));
        assert_eq!(spring.unwrap().count, 1, "{spring:?}");
        let autumn = night.due(at("2026-10-24T12:00:00Z"), at("2026-10-25T12:00:00Z"));
        assert_eq!(autumn.unwrap().count, 1, "{autumn:?}");
    }

    #[test]
    fn periods_count_from_their_anchor() {
        let every = Calendar::of(&When::Every { minutes: 5 }, 1_000).unwrap();
        assert_eq!(every.next(1_000), Some(301_000));
        assert_eq!(every.next(300_999), Some(301_000));
        assert_eq!(every.next(301_000), Some(601_000));
        assert_eq!(every.next(-5), Some(301_000));
        assert_eq!(every.due(1_000, 300_999), None);
        assert_eq!(every.due(1_000, 901_000), Some(Due { latest_ms: 901_000, count: 3 }));
    }

    #[test]
    fn a_long_absence_is_counted_within_a_bound() {
        let now = at("2026-11-23T12:00:30Z");
        for calendar in [Calendar::of(&When::Every { minutes: 1 }, 0).unwrap(), berlin("* * * * *")] {
            let due = calendar.due(at("2020-01-01T00:00:00Z"), now).unwrap();
            assert_eq!(due, Due { latest_ms: at("2026-11-23T12:00:00Z"), count: COUNT_MAX });
        }
    }

    #[test]
    fn mistakes_are_told() {
        let cron = |expression: &str, zone: &str| When::Cron { expression: expression.into(), zone: zone.into() };
        let long = "*".repeat(10_240);
        for (when, says) in [
            (cron("", "UTC"), "not a cron expression"),
            (cron("* * * *", "UTC"), "not a cron expression"),
            (cron("* * * * * *", "UTC"), "not a cron expression"),
            (cron("61 * * * *", "UTC"), "not a cron expression"),
            (cron("* * * * mоn", "UTC"), "plain text"),
            (cron(&long, "UTC"), "plain text"),
            (cron("0 3 * * *", "Europe/Atlantis"), "no time zone"),
            (cron("0 3 * * *", "../../etc/passwd"), "no time zone"),
            (cron("0 3 * * *", ""), "no time zone"),
            (When::Every { minutes: 0 }, "no period"),
            (When::Every { minutes: 100_000 }, "no period"),
        ] {
            let fault = Calendar::of(&when, 0).unwrap_err();
            assert!(fault.to_string().contains(says) && fault.to_string().len() < 400, "{when:?}: {fault}");
        }
        assert_eq!(berlin("0 0 30 2 *").next(0), None, "the 30th of February is never due");
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "[-0-9*/,#LW?@a-zA-Z ]{0,40}", now in 0..4_102_444_800_000i64) {
            if let Ok(calendar) = Calendar::of(&When::Cron { expression: text, zone: "UTC".into() }, 0)
                && let Some(next) = calendar.next(now)
            {
                prop_assert!(next > now && next % MINUTE_MS == 0);
            }
        }
    }
}
