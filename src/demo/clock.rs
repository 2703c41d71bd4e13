//! Wall-clock time as numbers and as the timestamps that services write.
//! Must never be used to order events between processes; it is for people and for reports.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// `(date, time of day, milliseconds)` in UTC, for example `("2026-11-23", "05:48:40", 120)`.
pub(crate) fn parts(at_ms: u64) -> (String, String, u64) {
    let seconds = at_ms / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to a civil date, counting years from March so that the leap day comes last.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (
        format!("{year:04}-{month:02}-{day:02}"),
        format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60),
        at_ms % 1000,
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_right_around_leap_days_and_year_ends() {
        let show = |ms| {
            let (date, time, millis) = super::parts(ms);
            format!("{date} {time}.{millis:03}")
        };
        assert_eq!(show(0), "1970-01-01 00:00:00.000");
        assert_eq!(show(951_782_399_999), "2000-02-28 23:59:59.999");
        assert_eq!(show(951_782_400_000), "2000-02-29 00:00:00.000");
        assert_eq!(show(1_798_761_599_000), "2026-12-31 23:59:59.000");
    }
}
