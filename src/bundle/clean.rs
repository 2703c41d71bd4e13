//! Text fit to be kept: no escape sequences, no control characters, within a bound.

/// True for a byte that text has no use for.
fn foreign(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\t' | b'\n') || byte == 0x7f
}

/// Cuts a text at a bound, at the border of a character.
pub(crate) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let mut end = bytes_max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

/// The text of bytes without colour codes and control characters; what is no text becomes the mark for it.
pub(crate) fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes);
    if !text.bytes().any(foreign) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => match rest.next() {
                // Colours and cursors end with a letter, titles with a bell.
                Some('[') => while rest.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                Some(']') => while rest.next().is_some_and(|c| c != '\u{7}') {},
                _ => {}
            },
            c if c.is_control() && !matches!(c, '\t' | '\n') => {}
            c => out.push(c),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_controls_go_and_words_stay() {
        assert_eq!(text(b"\x1b[31mERROR\x1b[0m a\tb\r"), "ERROR a\tb");
        assert_eq!(text(b"\x1b]0;title\x07x\x00y"), "xy");
        assert_eq!(text(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(text(b"\x1b"), "");
        assert_eq!(text(b"\x1b[31"), "");
    }

    #[test]
    fn cuts_between_characters() {
        let mut word = "aé".to_owned();
        cut(&mut word, 2);
        assert_eq!(word, "a");
    }
}
