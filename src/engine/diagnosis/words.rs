//! How numbers, times and foreign text appear in sentences. Foreign text is always quoted and bounded.

use opsward_domain::cause::Claim;
use opsward_domain::label::visible;
use opsward_domain::time::AtMs;

use super::picture::{Citations, Topic};

/// Most characters of quoted foreign text in a sentence.
const QUOTE_CHARS_MAX: usize = 160;

/// Time of day in UTC.
pub(super) fn clock(at_ms: AtMs) -> String {
    let second = at_ms.div_euclid(1_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02} UTC", second / 3_600, second / 60 % 60, second % 60)
}

/// A span for people.
pub(super) fn span(ms: i64) -> String {
    match ms.max(0) {
        short if short < 120_000 => format!("{} s", short / 1_000),
        long => format!("{} min", long / 60_000),
    }
}

/// A share as percent.
pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value != 0.0 && value.abs() < 10.0 { format!("{value:.1} %") } else { format!("{value:.0} %") }
}

/// Seconds as milliseconds.
pub(super) fn millis(seconds: f64) -> String {
    format!("{:.0} ms", seconds * 1_000.0)
}

/// Bytes in binary units.
pub(super) fn bytes(count: f64) -> String {
    if count >= 1024.0 * 1024.0 * 1024.0 {
        format!("{:.1} GiB", count / (1024.0 * 1024.0 * 1024.0))
    } else if count >= 1024.0 * 1024.0 {
        format!("{:.1} MiB", count / (1024.0 * 1024.0))
    } else {
        format!("{:.0} KiB", count / 1024.0)
    }
}

/// Foreign text, marked as a quotation: one line, bounded, nothing hidden.
pub(super) fn quoted(text: &str) -> String {
    let line: String = text.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { c }).collect();
    let shown = visible(line.trim());
    let mut cut: String = shown.chars().take(QUOTE_CHARS_MAX).collect();
    if shown.chars().nth(QUOTE_CHARS_MAX).is_some() {
        cut.push('…');
    }
    format!("\"{}\"", cut.replace('"', "'"))
}

/// A sentence with the evidence of `topics`.
pub(super) fn claim(citations: &Citations, text: impl Into<String>, topics: &[Topic]) -> Claim {
    Claim { text: text.into(), evidence: citations.of(topics) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_hide_or_grow() {
        let shown = quoted(&format!("a\u{202e}\"b\nc{}", "x".repeat(500)));
        assert!(shown.starts_with("\"a\\u{202e}'b c") && shown.ends_with("…\""), "{shown}");
        assert!(shown.chars().count() < QUOTE_CHARS_MAX + 5);
        assert_eq!(clock(3_723_999), "01:02:03 UTC");
        assert_eq!(clock(-1), "23:59:59 UTC");
        assert_eq!((percent(0.031), percent(0.0), percent(0.42)), ("3.1 %".into(), "0 %".into(), "42 %".into()));
    }
}
