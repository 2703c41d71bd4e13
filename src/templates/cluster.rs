//! One template: what its lines have in common. Only ever becomes more general.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::scan::{Look, WORDS_MAX, Word, mix_bytes};
use crate::shape::Shape;

/// Most shapes of a template; lines of further ones are kept whole.
pub const SHAPES_MAX: usize = 250;
/// Plain words up to which a line is looked for by single words rather than by pairs.
const SHORT_WORDS: usize = 3;
/// Share of the words, as a divisor, beyond which differences end a comparison.
const MISSES_SHARE: u32 = 3;
/// Keys of a line.
pub const KEYS: usize = 3;

/// What every value at a position had in common so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Affix {
    /// Its start, as in `node-17`.
    pub head: Box<str>,
    /// Its unit, as in `17 ms`.
    pub tail: Box<str>,
    /// Values in it if every line had as many, or at most 1.
    pub parts: u8,
    /// What separates them.
    pub separator: u8,
}

/// One position of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Slot {
    /// The same word in every line.
    Word(Box<str>),
    /// The same word in every line so far, but one that looks like a value.
    Doubtful(Box<str>),
    /// A parameter that was a plain word in some line.
    Any,
    /// A parameter that always looked like a value.
    Value(Affix),
}

/// How a line compares with a template of as many words.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fit {
    /// Plain words that are equal.
    pub agreed: u32,
    /// Positions where plain words differ.
    pub misses: u32,
    /// Those of them where one side is a value.
    pub mixed: u32,
    /// Those of them where both sides are states, or the line has the value of a field.
    pub telling: u32,
    /// Doubtful words that differ.
    pub doubts: u32,
    /// Doubtful words that are equal.
    pub likely: u32,
    /// Bits of the positions counted in `misses`.
    pub mask: [u64; WORDS_MAX / 64],
}

/// A template: its slots, and the shapes its lines have.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// What stands where.
    pub slots: Vec<Slot>,
    /// Exact layouts; the first is [`Shape::whole`].
    pub shapes: Vec<Arc<Shape>>,
    /// Counts how often the slots changed.
    pub generation: u32,
    /// Where lines look for it; fixed by its first line.
    pub keys: [u64; KEYS],
    /// The template that took its place, if it was merged.
    pub merged: Option<u64>,
    /// Its id by content: the hash of its first text.
    pub origin: u64,
    /// Number of the newest line that it had.
    pub used: u64,
}

/// The text of `word` in `line`.
fn text<'a>(line: &'a str, word: &Word) -> &'a str {
    &line[word.start as usize..word.end as usize]
}

/// True for a word in capitals, as states are written.
fn is_state(text: &str) -> bool {
    text.len() > 1 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

/// True for a word that is quoted or follows `=`, but not for yes and no.
fn is_field(line: &str, word: &Word) -> bool {
    let led = line.as_bytes()[..word.start as usize].last().is_some_and(|b| matches!(b, b'=' | b'"' | b'\''));
    let is_switch =
        |text: &str| ["true", "false", "yes", "no", "on", "off"].iter().any(|s| s.eq_ignore_ascii_case(text));
    led && !is_switch(text(line, word))
}

/// Where a line's template is looked for: lines that share no key never share a template.
///
/// Any one plain word may differ and a key is still shared.
pub fn keys_of_line(line: &str, words: &[Word]) -> [u64; KEYS] {
    let hash = |word: &Word| mix_bytes(words.len() as u64, text(line, word).as_bytes());
    let plain = || words.iter().filter(|word| word.look == Look::Constant);
    let nothing = words.len() as u64;
    let first = plain().next().map_or(nothing, hash);
    let second = plain().nth(1).map_or(nothing, hash);
    let last = plain().next_back().map_or(nothing, hash);
    if plain().nth(SHORT_WORDS).is_none() {
        return [first, second, last];
    }
    // Alike for every pair: where a value stands for the first word, the second is the first.
    [(first, second), (first, last), (second, last)].map(|(a, b)| a.rotate_left(7) ^ b)
}

impl Affix {
    /// True if the value of a line has what every value had so far.
    pub(crate) fn holds(&self, text: &str, word: &Word) -> bool {
        let parts = if self.parts > 1 { (self.parts, self.separator) == (word.parts, word.separator) } else { true };
        parts
            && text.len() >= self.head.len() + self.tail.len()
            && text.starts_with(&*self.head)
            && text.ends_with(&*self.tail)
    }
}

impl Slot {
    fn of(line: &str, word: &Word) -> Self {
        let text = text(line, word);
        match word.look {
            Look::Constant => Self::Word(text.into()),
            Look::Doubtful => Self::Doubtful(text.into()),
            Look::Value => Self::Value(Affix {
                head: text[..usize::from(word.head)].into(),
                tail: text[text.len() - usize::from(word.tail)..].into(),
                parts: word.parts,
                separator: word.separator,
            }),
        }
    }

    /// What fits both.
    fn and(&self, other: &Self) -> Self {
        match (self, other) {
            _ if self == other => self.clone(),
            (Self::Value(a), Self::Value(b)) => {
                let same = (a.parts, a.separator) == (b.parts, b.separator);
                Self::Value(Affix {
                    head: if a.head == b.head { a.head.clone() } else { "".into() },
                    tail: if a.tail == b.tail { a.tail.clone() } else { "".into() },
                    parts: if same { a.parts } else { 1 },
                    separator: if same { a.separator } else { 0 },
                })
            }
            (Self::Value(_) | Self::Doubtful(_), Self::Value(_) | Self::Doubtful(_)) => Self::Value(Affix::default()),
            _ => Self::Any,
        }
    }

    /// True if the word fits without a change.
    fn fits(&self, line: &str, word: &Word) -> bool {
        let text = text(line, word);
        match self {
            Self::Any => true,
            Self::Word(own) | Self::Doubtful(own) => word.look != Look::Value && **own == *text,
            Self::Value(affix) => {
                let free = affix.head.is_empty() && affix.tail.is_empty() && affix.parts <= 1;
                if free { word.look != Look::Constant } else { Self::of(line, word) == *self }
            }
        }
    }
}

impl Cluster {
    /// A template with one line.
    pub fn of(line: &str, words: &[Word]) -> Self {
        let slots: Vec<Slot> = words.iter().map(|word| Slot::of(line, word)).collect();
        let mut cluster = Self::new(slots, keys_of_line(line, words));
        let (cut, trim) = cluster.cuts();
        cluster.origin = Shape::of(line, words, cut, trim).literals.iter().fold(1, |hash, literal| {
            literal.split_whitespace().fold(hash, |hash, word| mix_bytes(hash, word.as_bytes())) ^ 1
        });
        cluster
    }

    /// A template without shapes of its own yet.
    pub fn new(slots: Vec<Slot>, keys: [u64; KEYS]) -> Self {
        Self { slots, shapes: vec![Arc::new(Shape::whole())], generation: 0, keys, merged: None, origin: 0, used: 0 }
    }

    /// True for a template that is one parameter and nothing else.
    pub(crate) fn is_lump(&self) -> bool {
        self.merged.is_none() && matches!(self.slots.as_slice(), [Slot::Value(_)])
    }

    /// Compares the line with the template; `None` if it cannot be of it.
    pub fn compare(&self, line: &str, words: &[Word]) -> Option<Fit> {
        if self.slots.len() != words.len() || self.merged.is_some() {
            return None;
        }
        let mut fit = Fit::default();
        let misses_max = (words.len() as u32 / MISSES_SHARE).max(1);
        for (index, (slot, word)) in self.slots.iter().zip(words).enumerate() {
            let (miss, mixed) = match (slot, word.look) {
                (Slot::Word(own), Look::Constant) if **own == *text(line, word) => {
                    fit.agreed += u32::from(own.bytes().any(|b| b.is_ascii_alphanumeric() || !b.is_ascii()));
                    continue;
                }
                (Slot::Word(own), Look::Constant) => {
                    fit.telling += u32::from((is_state(own) && is_state(text(line, word))) || is_field(line, word));
                    (true, false)
                }
                (Slot::Word(_), Look::Doubtful) | (Slot::Doubtful(_), Look::Constant) => (true, false),
                (Slot::Word(_), Look::Value) | (Slot::Value(_), Look::Constant) => (true, true),
                (Slot::Doubtful(own), Look::Doubtful) if **own == *text(line, word) => {
                    fit.likely += 1;
                    continue;
                }
                (Slot::Doubtful(_), _) => {
                    fit.doubts += 1;
                    continue;
                }
                (Slot::Any | Slot::Value(_), _) => continue,
            };
            fit.misses += u32::from(miss);
            fit.mixed += u32::from(mixed);
            if fit.misses > misses_max {
                return None;
            }
            fit.mask[index / 64] |= 1 << (index % 64);
        }
        Some(fit)
    }

    /// Bytes of memory it takes, about.
    pub fn cost(&self) -> usize {
        let slot = |slot: &Slot| match slot {
            Slot::Word(word) | Slot::Doubtful(word) => 48 + word.len(),
            Slot::Any => 48,
            Slot::Value(affix) => 48 + affix.head.len() + affix.tail.len(),
        };
        128 + self.slots.iter().map(slot).sum::<usize>() + self.shapes.iter().map(|shape| shape.cost()).sum::<usize>()
    }

    /// Makes the slots fit the line; true if that changed them.
    pub fn generalise(&mut self, line: &str, words: &[Word]) -> bool {
        let mut changed = false;
        for (slot, word) in self.slots.iter_mut().zip(words) {
            if !slot.fits(line, word) {
                let wider = slot.and(&Slot::of(line, word));
                changed |= *slot != wider;
                *slot = wider;
            }
        }
        self.generation += u32::from(changed);
        changed
    }

    /// Makes the slots fit everything that fits those of `other`.
    pub fn absorb(&mut self, other: &[Slot]) {
        for (slot, other) in self.slots.iter_mut().zip(other) {
            *slot = slot.and(other);
        }
        self.generation += 1;
    }

    /// Which words are parameters now, and what of them is not.
    fn cuts(&self) -> (Vec<u16>, Vec<(u8, u8)>) {
        let cut = |(index, slot): (usize, &Slot)| match slot {
            Slot::Word(_) | Slot::Doubtful(_) => None,
            Slot::Any => Some((index as u16, (0, 0))),
            Slot::Value(affix) => Some((index as u16, (affix.head.len() as u8, affix.tail.len() as u8))),
        };
        self.slots.iter().enumerate().filter_map(cut).unzip()
    }

    /// The layout its text is shown in: the oldest of those that have today's parameters.
    fn layout(&self) -> &Shape {
        let (cut, trim) = self.cuts();
        let current = |shape: &&Arc<Shape>| !shape.is_whole() && shape.cut == cut && shape.trim == trim;
        let whole = &self.shapes[0];
        self.shapes.iter().find(current).or(self.shapes.last()).unwrap_or(whole)
    }

    /// Its text now, with `<*>` for parameters and one blank where lines have several. A list that was
    /// always as long is shown as its parts.
    pub fn text(&self) -> String {
        let shape = self.layout();
        let mark = |index: &u16| match self.slots.get(usize::from(*index)) {
            Some(Slot::Value(affix)) if affix.parts > 1 => {
                let separator = char::from(affix.separator).to_string();
                vec!["<*>"; usize::from(affix.parts)].join(&separator)
            }
            _ => "<*>".to_owned(),
        };
        let marks: Vec<String> = shape.cut.iter().map(mark).collect();
        let text = if shape.is_whole() { shape.text() } else { shape.render(marks.iter().map(String::as_str)) };
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Number of the line's shape, made if it is new; `true` if it was made. Puts the parameters' spans
    /// into `spans`.
    pub fn shape(&mut self, line: &str, words: &[Word], spans: &mut Vec<(u32, u32)>) -> (u8, bool) {
        let (cut, trim) = self.cuts();
        let known = |(_, shape): &(usize, &Arc<Shape>)| {
            shape.cut == cut && shape.trim == trim && shape.extract(line, words, spans)
        };
        if let Some((index, _)) = self.shapes.iter().enumerate().skip(1).find(known) {
            return (index as u8, false);
        }
        if self.shapes.len() > SHAPES_MAX {
            self.shapes[0].extract(line, words, spans);
            return (0, false);
        }
        let shape = Shape::of(line, words, cut, trim);
        shape.extract(line, words, spans);
        self.shapes.push(Arc::new(shape));
        ((self.shapes.len() - 1) as u8, true)
    }
}
