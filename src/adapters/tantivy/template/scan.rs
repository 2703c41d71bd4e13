//! One pass over a line: its words, and which of them look like values. Never looks at other lines.

/// Bytes of a line that are mined; the rest is one parameter.
pub const HEAD_BYTES: usize = 2_048;
/// Words of a line that are mined; the rest is one parameter.
pub const WORDS_MAX: usize = 192;
/// Shortest word that is taken for hexadecimal without a `0x`.
const HEX_MIN: usize = 6;
/// Digits after which a word is taken for an identity.
const DIGITS_MIN: usize = 4;

const DELIMITER: u8 = 1;
const DIGIT: u8 = 2;
const HEX: u8 = 4;
const ALPHA: u8 = 8;

/// What every byte may be part of. Bytes outside ASCII are parts of words.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_digit() {
            table[byte] = DIGIT;
        } else if b.is_ascii_alphabetic() || !b.is_ascii() {
            table[byte] = if b.is_ascii_hexdigit() { ALPHA | HEX } else { ALPHA };
        } else if b <= b' '
            || matches!(b, b'=' | b',' | b';' | b':' | b'(' | b')' | b'[' | b']' | b'{' | b'}')
            || matches!(b, b'<' | b'>' | b'"' | b'\'' | b'|' | 0x7f)
        {
            table[byte] = DELIMITER;
        }
        byte += 1;
    }
    table
}

/// How a word looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Part of the message.
    Constant,
    /// Could be either: it has a digit, or reads like a host, a class or a file.
    Doubtful,
    /// A value: number, identity, address, time, path, quoted value.
    Value,
}

/// A word of a line.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// First byte.
    pub start: u32,
    /// First byte behind.
    pub end: u32,
    /// How it looks.
    pub look: Look,
}

/// Words of a line, and a hash of everything but its values.
#[derive(Debug, Default)]
pub struct Scan {
    /// In order.
    pub words: Vec<Word>,
    /// Equal for lines that differ in values only (and, rarely, for others).
    pub hash: u64,
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline]
fn mix(hash: u64, value: u64) -> u64 {
    let product = u128::from(hash ^ value).wrapping_mul(u128::from(SEED));
    (product as u64) ^ ((product >> 64) as u64)
}

/// A hash of `bytes`, begun from `hash`.
#[inline]
pub fn mix_bytes(mut hash: u64, bytes: &[u8]) -> u64 {
    let (chunks, tail) = bytes.as_chunks::<8>();
    for chunk in chunks {
        hash = mix(hash, u64::from_le_bytes(*chunk));
    }
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    mix(hash.rotate_left(5) ^ bytes.len() as u64, u64::from_le_bytes(last))
}

impl Scan {
    /// Scans `line`, forgetting the one before. Words never split a character.
    pub fn scan(&mut self, line: &str) {
        self.words.clear();
        let head = &line.as_bytes()[..line.floor_char_boundary(HEAD_BYTES)];
        let (mut at, mut hash, mut gap) = (0, SEED, 0);
        while at < head.len() && self.words.len() < WORDS_MAX - 1 {
            if CLASS[usize::from(head[at])] & DELIMITER != 0 {
                let quoted = if head[at] == b'"' { quoted_value(head, at) } else { None };
                at += 1;
                if let Some(end) = quoted {
                    hash = mix_bytes(hash, &head[gap..at]);
                    self.push(at, end, Look::Value);
                    (at, gap) = (end, end);
                }
                continue;
            }
            let end = self.word(head, at);
            if end == head.len() && line.len() > head.len() {
                // The word goes on behind the head: it belongs to the rest, whole.
                self.words.pop();
                break;
            }
            let look = self.words.last().map_or(Look::Value, |word| word.look);
            hash = mix_bytes(hash, if look == Look::Value { &head[gap..at] } else { &head[gap..end] });
            (at, gap) = (end, end);
        }
        let end = if at < head.len() || line.len() > head.len() { line.len() } else { gap };
        if end > gap {
            self.push(gap, end, Look::Value);
        } else {
            hash = mix_bytes(hash, &head[gap..]);
        }
        self.hash = mix(hash, self.words.len() as u64);
    }

    fn push(&mut self, start: usize, end: usize, look: Look) {
        self.words.push(Word { start: start as u32, end: end as u32, look });
    }

    /// Adds the word that begins at `start`; returns its end.
    #[inline]
    fn word(&mut self, head: &[u8], start: usize) -> usize {
        let (mut end, mut digits, mut seen, mut slashes, mut dots) = (start, 0, 0_u8, 0, 0);
        let mut hex = true;
        while end < head.len() {
            let class = CLASS[usize::from(head[end])];
            if class & DELIMITER != 0 {
                break;
            }
            digits += usize::from(class & DIGIT != 0);
            seen |= class;
            hex &= class & (DIGIT | HEX) != 0 || head[end] == b'-';
            slashes += usize::from(matches!(head[end], b'/' | b'\\'));
            dots += usize::from(matches!(head[end], b'.' | b'@' | b'$'));
            end += 1;
        }
        // A sentence's full stop is not part of the word.
        let word = &head[start..end];
        let trailing = word.iter().rev().take_while(|b| **b == b'.').count().min(word.len() - 1);
        end -= trailing;
        dots -= trailing;
        let length = end - start;
        let signed = usize::from(length > 1 && matches!(head[start], b'-' | b'+' | b'.' | b'#' | b'@'));
        let starts_with_digit = CLASS[usize::from(head[start + signed])] & DIGIT != 0;
        let value = digits > 0
            && (seen & ALPHA == 0 || starts_with_digit || digits >= DIGITS_MIN || (hex && length >= HEX_MIN))
            || slashes > 1
            || (slashes == 1 && matches!(head[start], b'/' | b'\\') && dots > 0);
        let look = match () {
            () if value => Look::Value,
            () if digits > 0 || slashes > 0 || dots > 0 => Look::Doubtful,
            () => Look::Constant,
        };
        self.push(start, end, look);
        end
    }
}

/// Names of fields whose quoted values are messages, or few: they are mined, not cut out.
const SPOKEN: [&[u8]; 13] = [
    b"msg",
    b"message",
    b"level",
    b"lvl",
    b"severity",
    b"event",
    b"error",
    b"err",
    b"logger",
    b"component",
    b"service",
    b"reason",
    b"log",
];

/// The end of a quoted value that begins at the quote `at`: `key="..."` or `"key":"..."`, unless the
/// key's values are spoken.
fn quoted_value(head: &[u8], at: usize) -> Option<usize> {
    let before = head[..at].trim_ascii_end();
    let key = before.strip_suffix(b"=").or_else(|| before.strip_suffix(b"\":"))?;
    let from = key.iter().rposition(|b| CLASS[usize::from(*b)] & DELIMITER != 0).map_or(0, |p| p + 1);
    if SPOKEN.iter().any(|spoken| key[from..].eq_ignore_ascii_case(spoken)) {
        return None;
    }
    let mut end = at + 1;
    while *head.get(end)? != b'"' {
        end += if head[end] == b'\\' { 2 } else { 1 };
    }
    (end > at + 1).then_some(end)
}
