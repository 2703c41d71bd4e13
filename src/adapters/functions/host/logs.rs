//! The log lines of one invocation.
//! It must never keep more than its bounds, whatever is written.

use crate::limits::{MAX_LOG_BYTES, MAX_LOG_LINE_BYTES, MAX_LOG_LINES};

/// Lines as they come in; a line without its end yet is kept apart.
#[derive(Debug, Default)]
pub(super) struct Logs {
    lines: Vec<String>,
    bytes: usize,
    open: Vec<u8>,
    truncated: bool,
}

impl Logs {
    /// Takes raw output and cuts it into lines.
    pub(super) fn write(&mut self, data: &[u8]) {
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let room = MAX_LOG_LINE_BYTES.saturating_sub(self.open.len());
            self.open.extend_from_slice(text.get(..room).unwrap_or(text));
            self.truncated |= text.len() > room;
            if ends {
                self.end_line();
            }
        }
    }

    /// Takes one line, which may have several lines in it.
    pub(super) fn line(&mut self, text: &str) {
        self.write(text.as_bytes());
        self.end_line();
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.open)).into_owned();
        if self.lines.len() >= MAX_LOG_LINES || self.bytes + line.len() > MAX_LOG_BYTES {
            self.truncated = true;
            return;
        }
        self.bytes += line.len();
        self.lines.push(line);
    }

    /// All lines, and whether any was cut or dropped.
    pub(super) fn finish(mut self) -> (Vec<String>, bool) {
        if !self.open.is_empty() {
            self.end_line();
        }
        (self.lines, self.truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_they_end_and_at_the_bounds() {
        let mut logs = Logs::default();
        logs.write(b"one\ntw");
        logs.write(b"o\n\nthree\xff");
        let (lines, truncated) = logs.finish();
        assert_eq!(lines, ["one", "two", "", "three\u{fffd}"]);
        assert!(!truncated);

        let mut logs = Logs::default();
        logs.write(&vec![b'x'; 10_000_000]);
        let (lines, truncated) = logs.finish();
        assert!(truncated && lines.len() == 1 && lines[0].len() == MAX_LOG_LINE_BYTES);

        let mut logs = Logs::default();
        (0..100_000).for_each(|n| logs.line(&format!("line {n}")));
        let (lines, truncated) = logs.finish();
        assert!(truncated && lines.len() == MAX_LOG_LINES);
    }
}
