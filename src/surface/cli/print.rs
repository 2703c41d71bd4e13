//! Lines for a terminal. The only place of the client that writes to standard output.
#![allow(clippy::print_stdout, reason = "this is the terminal")]

use std::io::{BufRead, IsTerminal, Write};

use opsward_domain::label::visible;
use serde_json::Value;

/// Prints a line; characters that hide or reorder text are made visible.
pub(super) fn line(text: &str) {
    // A closed pipe ends the program quietly at the next write; nothing is lost by ignoring it here.
    let _ = writeln!(std::io::stdout(), "{}", visible(text));
}

/// Prints a piece of text without a line end.
pub(super) fn piece(text: &str) {
    let mut out = std::io::stdout();
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// Replaces the line of progress on the terminal; nothing clears it.
pub(super) fn progress(text: &str) {
    let mut err = std::io::stderr();
    let _ = write!(err, "\r\x1b[K{}", visible(text)).and_then(|()| err.flush());
}

/// Prints a value as JSON.
pub(super) fn json(value: &Value) {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints rows as a table with aligned columns.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let show = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(padded.join("  ").trim_end());
    };
    show(head.to_vec());
    rows.iter().for_each(|row| show(row.iter().map(String::as_str).collect()));
}

/// A field as plain text.
pub(super) fn field(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// True if a person sits at both ends.
pub(super) fn person_here() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Asks a yes-or-no question; anything but y or yes is no.
pub(super) fn ask(question: &str) -> bool {
    piece(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// A time of day in UTC.
pub(super) fn at(at_ms: i64) -> String {
    utc(at_ms, "%H:%M:%SZ")
}

/// A day and time in UTC, to the minute.
pub(super) fn day_at(at_ms: i64) -> String {
    utc(at_ms, "%Y-%m-%d %H:%MZ")
}

/// A day and time in UTC, to the second: for lists that reach over midnight.
pub(super) fn when(at_ms: i64) -> String {
    utc(at_ms, "%Y-%m-%d %H:%M:%SZ")
}

fn utc(at_ms: i64, form: &str) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| "?".to_owned(), |at| at.strftime(form).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_lists_have_their_date() {
        assert_eq!(when(1_700_000_000_000), "2023-11-14 22:13:20Z");
        assert_eq!(day_at(1_700_000_000_000), "2023-11-14 22:13Z");
        assert_eq!(at(1_700_000_000_000), "22:13:20Z");
        assert_eq!(when(i64::MAX), "?");
    }
}
