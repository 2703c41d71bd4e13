//! What of a stream people see while it arrives: words, without reasoning and without calls written as
//! text. For display only; the reply itself is made from the whole text.

use opsward_ports::model::Sink;

use crate::textual;

/// Blocks in which models think aloud.
const REASONING: [(&str, &str); 2] = [("<think>", "</think>"), ("<thinking>", "</thinking>")];

/// Feeds a sink.
pub(crate) struct Display {
    sink: Option<Sink>,
    /// Calls may be written as text, so their marks stop the display.
    calls: bool,
    pending: String,
    closing: Option<&'static str>,
    muted: bool,
    shown: String,
}

impl Display {
    pub(crate) fn new(sink: Option<Sink>, calls: bool) -> Self {
        Self { sink, calls, pending: String::new(), closing: None, muted: false, shown: String::new() }
    }

    /// True if anything was shown, so that a second attempt would repeat it.
    pub(crate) fn has_shown(&self) -> bool {
        !self.shown.is_empty()
    }

    pub(crate) fn push(&mut self, piece: &str) {
        if self.sink.is_none() || self.muted {
            return;
        }
        self.pending.push_str(piece);
        while self.step() {}
    }

    /// The reply is complete: shows what was held back and turned out to be words.
    pub(crate) fn finish(&mut self, text: &str) {
        if let Some(rest) = text.strip_prefix(self.shown.as_str()) {
            self.show(rest.to_owned());
        }
    }

    /// Handles one mark; false if there is none left to handle.
    fn step(&mut self) -> bool {
        if let Some(close) = self.closing {
            let found = self.pending.find(close);
            let keep = found.map_or_else(|| self.pending.len() - overlap(&self.pending, close), |at| at + close.len());
            self.pending.drain(..keep);
            self.closing = self.closing.filter(|_| found.is_none());
            return found.is_some();
        }
        if self.shown.is_empty() {
            let blank = self.pending.len() - self.pending.trim_start().len();
            self.pending.drain(..blank);
            if self.calls && self.pending.starts_with(['{', '[']) {
                self.muted = true;
                return false;
            }
        }
        let opening =
            REASONING.iter().filter_map(|(open, close)| Some((self.pending.find(open)?, *open, Some(*close))));
        let marks =
            textual::marks().filter(|_| self.calls).filter_map(|mark| Some((self.pending.find(mark)?, mark, None)));
        let first = opening.chain(marks).min_by_key(|(at, ..)| *at);
        let Some((at, mark, close)) = first else {
            let opens = REASONING.iter().map(|(open, _)| *open);
            let all = opens.chain(textual::marks().filter(|_| self.calls));
            let held = all.map(|mark| overlap(&self.pending, mark)).max().unwrap_or(0);
            let words: String = self.pending.drain(..self.pending.len() - held).collect();
            self.show(words);
            return false;
        };
        let words: String = self.pending.drain(..at).collect();
        self.show(words);
        self.pending.drain(..mark.len());
        self.closing = close;
        self.muted = close.is_none();
        close.is_some()
    }

    fn show(&mut self, words: String) {
        if let Some(sink) = self.sink.as_ref().filter(|_| !words.is_empty()) {
            sink(&words);
            self.shown.push_str(&words);
        }
    }
}

/// How many bytes at the end of `text` could be the beginning of `mark`.
fn overlap(text: &str, mark: &str) -> usize {
    (1..mark.len()).rev().find(|&size| mark.is_char_boundary(size) && text.ends_with(&mark[..size])).unwrap_or(0)
}

/// The text without reasoning. A block that was opened by the endpoint's template has only its end.
pub(crate) fn without_reasoning(text: &str) -> String {
    let mut text = text.to_owned();
    for (open, close) in REASONING {
        while let Some(end) = text.find(close) {
            let start = text[..end].rfind(open).unwrap_or(0);
            text.replace_range(start..end + close.len(), "");
        }
        if let Some(start) = text.find(open) {
            text.truncate(start);
        }
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn shown(pieces: &[&str], calls: bool, text: &str) -> String {
        let seen = Arc::new(Mutex::new(String::new()));
        let into = seen.clone();
        let sink: Sink = Arc::new(move |piece: &str| into.lock().unwrap().push_str(piece));
        let mut display = Display::new(Some(sink), calls);
        pieces.iter().for_each(|piece| display.push(piece));
        display.finish(text);
        seen.lock().unwrap().clone()
    }

    #[test]
    fn people_see_words_only() {
        assert_eq!(shown(&["Hel", "lo <", "b> x"], true, "Hello <b> x"), "Hello <b> x");
        assert_eq!(shown(&["<th", "ink>secret</thi", "nk>\n\nYes."], false, "Yes."), "Yes.");
        assert_eq!(shown(&["On it. <tool", "_call>{\"name\""], true, "On it."), "On it. ");
        assert_eq!(shown(&["{\"name\":", "\"look\"}"], true, ""), "");
        assert_eq!(shown(&["Use ``", "`sh\nls\n``", "`."], true, "Use ```sh\nls\n```."), "Use ```sh\nls\n```.");
        assert_eq!(shown(&["[", "1]"], true, "[1]"), "[1]");
    }

    #[test]
    fn reasoning_goes_in_every_form() {
        assert_eq!(without_reasoning("<think>a</think> b <thinking>c</thinking> d"), "b  d");
        assert_eq!(without_reasoning("a is odd</think>b"), "b");
        assert_eq!(without_reasoning("b<think>never ends"), "b");
        assert_eq!(without_reasoning(" b "), "b");
    }
}
