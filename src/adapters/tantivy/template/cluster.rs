//! One template: what its lines have in common. Only ever becomes more general.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::scan::{Look, Word, mix_bytes};
use super::shape::Shape;

/// Most shapes of a template; lines of further ones are kept whole.
pub const SHAPES_MAX: usize = 250;
/// First words that must be equal (or look like values) for two lines to be compared at all.
const PREFIX_WORDS: usize = 2;
/// Weight of a plain word where the template has a parameter: it fits, but it does not speak for it.
const WILD_WEIGHT: f64 = 0.5;

/// One position of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Slot {
    /// The same word in every line.
    Word(Box<str>),
    /// The same word in every line so far, but one that looks like a value.
    Doubtful(Box<str>),
    /// A parameter.
    Any,
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
    pub key: u64,
}

/// The text of `word` in `line`.
fn text<'a>(line: &'a str, word: &Word) -> &'a str {
    &line[word.start as usize..word.end as usize]
}

/// Where a line's template is looked for: lines with other keys never share one.
pub fn key_of_line(line: &str, words: &[Word]) -> u64 {
    words.iter().take(PREFIX_WORDS).fold(words.len() as u64, |hash, word| match word.look {
        Look::Constant => mix_bytes(hash, text(line, word).as_bytes()),
        Look::Doubtful | Look::Value => mix_bytes(hash, b"*"),
    })
}

impl Cluster {
    /// A template with one line.
    pub fn of(line: &str, words: &[Word]) -> Self {
        let slot = |word: &Word| match word.look {
            Look::Constant => Slot::Word(text(line, word).into()),
            Look::Doubtful => Slot::Doubtful(text(line, word).into()),
            Look::Value => Slot::Any,
        };
        Self {
            slots: words.iter().map(slot).collect(),
            shapes: vec![Arc::new(Shape::whole())],
            generation: 0,
            key: key_of_line(line, words),
        }
    }

    /// Share of the words that speak for the line being of this template.
    pub fn similarity(&self, line: &str, words: &[Word]) -> f64 {
        if self.slots.len() != words.len() {
            return 0.0;
        }
        let (mut decided, mut agreed) = (0.0, 0.0);
        let (mut doubtful, mut doubtful_agreed) = (0.0, 0.0);
        for (slot, word) in self.slots.iter().zip(words) {
            let (weight, same) = match (slot, word.look) {
                (Slot::Word(own), Look::Constant) => (1.0, **own == *text(line, word)),
                (Slot::Word(_), _) | (Slot::Doubtful(_), Look::Constant) => (1.0, false),
                (Slot::Any, Look::Constant) => (WILD_WEIGHT, false),
                (Slot::Doubtful(own), Look::Doubtful) => {
                    doubtful += 1.0;
                    doubtful_agreed += if **own == *text(line, word) { 1.0 } else { 0.0 };
                    continue;
                }
                (Slot::Doubtful(_) | Slot::Any, _) => continue,
            };
            decided += weight;
            agreed += if same { weight } else { 0.0 };
        }
        match () {
            () if decided > 0.0 => agreed / decided,
            () if doubtful > 0.0 => doubtful_agreed / doubtful,
            () => 1.0,
        }
    }

    /// Bytes of memory it takes, about.
    pub fn cost(&self) -> usize {
        let slot = |slot: &Slot| match slot {
            Slot::Word(word) | Slot::Doubtful(word) => 24 + word.len(),
            Slot::Any => 24,
        };
        self.slots.iter().map(slot).sum::<usize>() + self.shapes.iter().map(|shape| shape.cost()).sum::<usize>()
    }

    /// Makes the slots fit the line; true if that changed them.
    pub fn generalise(&mut self, line: &str, words: &[Word]) -> bool {
        let mut changed = false;
        for (slot, word) in self.slots.iter_mut().zip(words) {
            let fits = match slot {
                Slot::Any => true,
                Slot::Word(own) | Slot::Doubtful(own) => word.look != Look::Value && **own == *text(line, word),
            };
            if !fits {
                *slot = Slot::Any;
                changed = true;
            }
        }
        self.generation += u32::from(changed);
        changed
    }

    /// Its text now, with `<*>` for parameters, as its newest layout has it.
    pub fn text(&self) -> String {
        self.shapes.last().map(|shape| shape.text()).unwrap_or_default()
    }

    /// Number of the line's shape, made if it is new; `true` if it was made. Puts the parameters' spans
    /// into `spans`.
    pub fn shape(&mut self, line: &str, words: &[Word], spans: &mut Vec<(u32, u32)>) -> (u8, bool) {
        let is_cut = |(_, slot): &(usize, &Slot)| matches!(slot, Slot::Any);
        let cut: Vec<u16> = self.slots.iter().enumerate().filter(is_cut).map(|(index, _)| index as u16).collect();
        let known = |(_, shape): &(usize, &Arc<Shape>)| shape.cut == cut && shape.extract(line, words, spans);
        if let Some((index, _)) = self.shapes.iter().enumerate().skip(1).find(known) {
            return (index as u8, false);
        }
        if self.shapes.len() > SHAPES_MAX {
            self.shapes[0].extract(line, words, spans);
            return (0, false);
        }
        let shape = Shape::of(line, words, cut);
        shape.extract(line, words, spans);
        self.shapes.push(Arc::new(shape));
        ((self.shapes.len() - 1) as u8, true)
    }
}
