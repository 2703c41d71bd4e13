//! Splits a byte stream into server-sent events. Knows nothing of what they mean; bytes are only
//! decoded once a line is whole, so a character cut in two arrives in one piece.

/// An incremental decoder.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    line: Vec<u8>,
    data: Option<String>,
    after_cr: bool,
}

impl Decoder {
    /// Takes bytes as they come and returns the data of the events that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        for &byte in bytes {
            let second_half = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            match byte {
                b'\n' if second_half => {}
                b'\n' | b'\r' => self.end_line(&mut events),
                other => self.line.push(other),
            }
        }
        events
    }

    /// The stream ended: what is left counts as if its empty line had come.
    pub(crate) fn finish(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        if !self.line.is_empty() {
            self.end_line(&mut events);
        }
        events.extend(self.data.take());
        events
    }

    fn end_line(&mut self, events: &mut Vec<String>) {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes));
        if line.is_empty() {
            events.extend(self.data.take());
        } else if let Some(value) = line.strip_prefix("data:") {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            }
        }
        // Other fields and comments (keep-alives) say nothing that we need.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], size: usize) -> Vec<String> {
        let mut decoder = Decoder::default();
        let mut events: Vec<String> = text.chunks(size).flat_map(|bytes| decoder.push(bytes)).collect();
        events.extend(decoder.finish());
        events
    }

    #[test]
    fn chunks_of_any_size_give_the_same_events() {
        let text = "\u{feff}: hello\r\ndata: {\"a\":\"zażółć 🦀\"}\r\n\r\n:\n\nevent: x\ndata:b\ndata: c\n\ndata: d\r\rdata: [DONE]";
        let expected = ["{\"a\":\"zażółć 🦀\"}", "b\nc", "d", "[DONE]"];
        for size in 1..text.len() {
            assert_eq!(all(text.as_bytes(), size), expected, "{size}");
        }
    }
}
