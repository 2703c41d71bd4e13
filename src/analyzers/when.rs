//! Points in time as the API server writes them. Never reads a clock.

use opsward_domain::time::AtMs;
use serde_json::Value;

/// Milliseconds of an RFC 3339 text; `None` for anything else.
pub(crate) fn parse(value: &Value) -> Option<AtMs> {
    parse_text(value.as_str()?)
}

/// As [`parse`], from text.
pub(crate) fn parse_text(text: &str) -> Option<AtMs> {
    if text.len() > 40 {
        return None;
    }
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// `2026-11-23T03:02:11Z`.
pub(crate) fn iso(at_ms: AtMs) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

/// A span in the largest two units that say something.
pub(crate) fn span(length_ms: i64) -> String {
    let seconds = length_ms.max(0) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_servers_write_and_nothing_else() {
        assert_eq!(parse(&json!("1970-01-01T00:00:01Z")), Some(1000));
        assert_eq!(parse(&json!("1970-01-01T00:00:01.250000Z")), Some(1250));
        assert_eq!(parse(&json!("1970-01-01T01:00:01+01:00")), Some(1000));
        for bad in [json!(null), json!(5), json!(""), json!("yesterday"), json!("9".repeat(1000))] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
        assert_eq!(iso(1000), "1970-01-01T00:00:01Z");
    }

    #[test]
    fn spans_read_well() {
        let said = [5_000, 90_000, 3_900_000, 200_000_000, -5].map(span);
        assert_eq!(said, ["5 s", "1 min", "1 h 5 min", "2 d 7 h", "0 s"]);
    }
}
