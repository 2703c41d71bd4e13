//! One pass over a line: its words, and which of them look like values. Never looks at other lines, and
//! never at more than [`HEAD_BYTES`] of one.

use crate::value;

/// Bytes of a line that are mined; the rest is one parameter.
pub const HEAD_BYTES: usize = 2_048;
/// Words of a line that are mined; the rest is one parameter.
pub const WORDS_MAX: usize = 192;
/// Shortest word that is taken for hexadecimal without a `0x`.
const HEX_MIN: usize = 6;
/// The same for one that has no digit.
const HEX_LETTERS_MIN: usize = 8;
/// Digits after which a word is taken for an identity.
const DIGITS_MIN: u32 = 4;
/// Doubtful words in a row that are taken for a list of values.
const LIST_MIN: usize = 3;

/// Begins what a terminal obeys rather than shows.
const ESCAPE: u8 = 0x1b;

const DELIMITER: u16 = 1;
const DIGIT: u16 = 2;
const ALPHA: u16 = 4;
const NOT_HEX: u16 = 8;
const SLASH: u16 = 16;
const DOT: u16 = 32;
const UNDERSCORE: u16 = 64;
const HYPHEN: u16 = 128;
const JOIN: u16 = 256;

/// What every byte may be part of. Bytes outside ASCII are parts of words.
static CLASS: [u16; 256] = classes();

const fn classes() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = match b {
            b'0'..=b'9' => DIGIT,
            b'a'..=b'f' | b'A'..=b'F' => ALPHA,
            b'g'..=b'z' | b'G'..=b'Z' | 0x80..=0xff => ALPHA | NOT_HEX,
            b'/' | b'\\' => SLASH | NOT_HEX,
            b'.' => DOT | NOT_HEX,
            b'_' => UNDERSCORE | NOT_HEX,
            b'-' => HYPHEN,
            b'@' | b'$' => JOIN | NOT_HEX,
            0..=b' ' | 0x7f => DELIMITER,
            b'=' | b',' | b';' | b':' | b'(' | b')' | b'[' | b']' | b'{' | b'}' => DELIMITER,
            b'<' | b'>' | b'"' | b'\'' | b'|' | b'#' => DELIMITER,
            _ => NOT_HEX,
        };
        byte += 1;
    }
    table
}

/// True for a byte that ends a word.
#[inline]
pub(crate) fn is_delimiter(byte: u8) -> bool {
    CLASS[usize::from(byte)] & DELIMITER != 0
}

/// How a word looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Part of the message.
    Constant,
    /// Could be either: it has a digit, or reads like a host, a class or a file.
    Doubtful,
    /// A value: number, quantity, identity, address, time, path, quoted value, or a list of them.
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
    /// Bytes at its start that are its kind rather than its value, as in `node-17`.
    pub head: u8,
    /// Bytes at its end that are its unit, as in `17 ms`.
    pub tail: u8,
    /// Values in it, if it is a list or a time of day; else 1.
    pub parts: u8,
    /// What separates them: a blank, a comma, a colon, or 0.
    pub separator: u8,
}

impl Word {
    pub(crate) fn new(start: usize, end: usize, look: Look) -> Self {
        Self { start: start as u32, end: end as u32, look, head: 0, tail: 0, parts: 1, separator: 0 }
    }
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
        let (mut at, mut gap) = (0, 0);
        while at < head.len() && self.words.len() < WORDS_MAX - 1 {
            let byte = head[at];
            if is_delimiter(byte) {
                if byte == ESCAPE {
                    at += value::control_bytes(&head[at..]);
                    continue;
                }
                if value::is_empty(head, at) {
                    at += 1;
                    gap = at;
                    self.words.push(Word::new(at, at, Look::Value));
                    continue;
                }
                let quoted = if matches!(byte, b'"' | b'\'') { value::quoted(head, at) } else { None };
                at += 1;
                if let Some(end) = quoted {
                    self.words.push(Word::new(at, end, Look::Value));
                    (at, gap) = (end, end);
                }
                continue;
            }
            if leads(head, at) {
                at += 1;
                continue;
            }
            let word = value::widened(head, classified(head, at));
            if word.end as usize == head.len() && line.len() > head.len() {
                // The word goes on behind the head: it belongs to the rest, whole.
                break;
            }
            (at, gap) = (word.end as usize, word.end as usize);
            self.push(head, word);
        }
        if at < head.len() || line.len() > head.len() {
            match self.words.last_mut() {
                Some(last) if last.look == Look::Value => *last = Word::new(last.start as usize, line.len(), last.look),
                _ => self.words.push(Word::new(gap, line.len(), Look::Value)),
            }
        }
        self.hash = hash(line.as_bytes(), &self.words);
    }

    /// Adds a word, or lets the list before it go on.
    #[inline]
    fn push(&mut self, head: &[u8], word: Word) {
        let Some(last) = self.words.last_mut() else { return self.words.push(word) };
        let goes_on = last.separator == b' ' && word.look == Look::Doubtful && last.look == Look::Value;
        if word.look == Look::Constant || (last.look != word.look && !goes_on) {
            return self.words.push(word);
        }
        let separator = match &head[last.end as usize..word.start as usize] {
            b" " => b' ',
            b"," => b',',
            _ => return self.words.push(word),
        };
        if word.look == Look::Doubtful && !goes_on {
            self.words.push(word);
            return self.gather(head);
        }
        let plain = |word: &Word| word.tail == 0 && word.separator != b':';
        let digits = |word: &Word| head[word.start as usize..word.end as usize].iter().any(u8::is_ascii_digit);
        if goes_on && !digits(&word) {
            return self.words.push(word);
        }
        if plain(last) && plain(&word) && (last.separator == separator || last.parts == 1) {
            (last.end, last.head, last.separator) = (word.end, 0, separator);
            last.parts = last.parts.saturating_add(1);
        } else {
            self.words.push(word);
        }
    }

    /// Makes a list of the last words if they are doubtful, have digits, and are enough.
    fn gather(&mut self, head: &[u8]) {
        let Some((_, list)) = self.words.split_at_checked(self.words.len().wrapping_sub(LIST_MIN)) else { return };
        let text = |word: &Word| &head[word.start as usize..word.end as usize];
        let fits =
            |word: &Word| word.look == Look::Doubtful && text(word).iter().any(u8::is_ascii_digit) && word.parts == 1;
        let near = |pair: &[Word]| &head[pair[0].end as usize..pair[1].start as usize] == b" ";
        if !list.iter().all(fits) || !list.windows(2).all(near) {
            return;
        }
        let (start, end) = (list[0].start as usize, list[LIST_MIN - 1].end as usize);
        self.words.truncate(self.words.len() - LIST_MIN);
        let word = Word { parts: LIST_MIN as u8, separator: b' ', ..Word::new(start, end, Look::Value) };
        self.words.push(word);
    }
}

/// True for a byte that leads to a word rather than being part of it: a sign, or dots in a row.
#[inline]
fn leads(head: &[u8], at: usize) -> bool {
    let next = head.get(at + 1);
    match head[at] {
        b'+' | b'@' => next.is_some_and(u8::is_ascii_alphanumeric),
        b'.' => next == Some(&b'.') || (at > 0 && head[at - 1] == b'.'),
        _ => false,
    }
}

/// A hash of everything but the values.
#[inline]
fn hash(line: &[u8], words: &[Word]) -> u64 {
    let (mut hash, mut from) = (SEED, 0);
    for word in words.iter().filter(|word| word.look == Look::Value) {
        // Lines with lists of other lengths are looked at anew.
        hash =
            mix_bytes(hash, &line[from..word.start as usize]) ^ u64::from(word.parts) << 8 ^ u64::from(word.separator);
        from = word.end as usize;
    }
    mix(mix_bytes(hash, &line[from..]), words.len() as u64)
}

/// The word that begins at `start`, judged by its own letters.
#[inline]
fn classified(head: &[u8], start: usize) -> Word {
    let (mut end, mut digits, mut groups, mut dots, mut slashes) = (start, 0_u32, 0_u32, 0_u32, 0_u32);
    let (mut seen, mut before) = (0_u16, 0_u16);
    while end < head.len() {
        let class = CLASS[usize::from(head[end])];
        if class & DELIMITER != 0 || class & before & DOT != 0 {
            break;
        }
        digits += u32::from(class & DIGIT != 0);
        groups += u32::from(class & !before & DIGIT != 0);
        dots += u32::from(class & (DOT | JOIN) != 0);
        slashes += u32::from(class & SLASH != 0);
        seen |= class;
        before = class;
        end += 1;
    }
    if end < head.len() && head[end] == b'.' && end > start + 1 {
        // Dots in a row lead from a word to a value.
        end -= 1;
        dots -= 1;
    }
    // What ends a sentence, and the sign of a share, are not part of the word.
    while end > start + 1 && matches!(head[end - 1], b'.' | b'!' | b'?' | b'%') {
        dots -= u32::from(head[end - 1] == b'.');
        end -= 1;
    }
    let text = &head[start..end];
    let mut word = Word::new(start, end, Look::Constant);
    if digits == 0 {
        let hex = seen & NOT_HEX == 0 && seen & ALPHA != 0 && text.len() >= HEX_LETTERS_MIN;
        let path = slashes > 1 || (slashes == 1 && text.len() > 1 && matches!(text[0], b'/' | b'\\'));
        word.look = match () {
            () if hex || path => Look::Value,
            () if dots > 1 && slashes == 0 && is_dotted(text) => Look::Value,
            () if slashes > 0 || dots > 0 => Look::Doubtful,
            () => Look::Constant,
        };
        if text == b"*" && start > 0 && head[start - 1] == b'<' && head.get(end) == Some(&b'>') {
            // The mark of a parameter is never part of a template's text.
            word.look = Look::Value;
        }
        return word;
    }
    let signed = usize::from(text.len() > 1 && matches!(text[0], b'-' | b'.' | b'*' | b'~'));
    let called = head.get(end) == Some(&b'(') && text[0].is_ascii_alphabetic();
    let value = seen & ALPHA == 0
        || text[signed].is_ascii_digit()
        || digits >= DIGITS_MIN
        || (seen & NOT_HEX == 0 && text.len() >= HEX_MIN)
        || (seen & UNDERSCORE != 0 && !called)
        || slashes > 1
        || text[0] == b'/'
        || (groups > 1 && seen & HYPHEN != 0);
    let kind = if slashes <= 1 { kind_bytes(text, digits) } else { 0 };
    word.look = if value || kind > 0 { Look::Value } else { Look::Doubtful };
    word.head = kind;
    word
}

/// True for a dotted name without capitals: a host, a package, a key of a configuration.
fn is_dotted(text: &[u8]) -> bool {
    text.iter().all(|b| b.is_ascii_lowercase() || matches!(b, b'.' | b'-' | b'_'))
}

/// Bytes of `kind-` or `kind.` before a number that ends the word.
#[inline]
fn kind_bytes(text: &[u8], digits: u32) -> u8 {
    let is_number = |b: &u8| b.is_ascii_digit() || *b == b'.';
    let length = text.iter().rev().take_while(|b| is_number(b)).count();
    let (length, number) = match text[text.len() - length..].first() {
        Some(b'.') => (length - 1, text.len() - length + 1),
        _ => (length, text.len() - length),
    };
    let counted = text[number..].iter().filter(|b| b.is_ascii_digit()).count();
    if !(2..64).contains(&number) || length == 0 || counted != digits as usize {
        return 0;
    }
    let named = text[0].is_ascii_alphabetic() && text[number - 2].is_ascii_alphabetic();
    let led = match text[number - 1] {
        b'-' | b'/' => true,
        b'.' => counted == length,
        _ => false,
    };
    if named && led { number as u8 } else { 0 }
}
