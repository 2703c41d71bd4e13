//! The exact text around a line's parameters. `render(extract(line)) == line`, byte for byte.

use serde::{Deserialize, Serialize};

use crate::scan::Word;

/// Literals and which words are cut out between them; one literal more than parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Words a line of this shape has.
    pub words: u16,
    /// Indices of the words that are parameters, rising.
    pub cut: Vec<u16>,
    /// Bytes at the start and end of each of them that belong to the literals; missing ones are 0.
    #[serde(default)]
    pub trim: Vec<(u8, u8)>,
    /// The text before, between and after the parameters.
    pub literals: Vec<Box<str>>,
}

impl Shape {
    /// The shape that holds any line as its only parameter.
    pub fn whole() -> Self {
        Self { words: 0, cut: Vec::new(), trim: Vec::new(), literals: vec!["".into(), "".into()] }
    }

    /// The shape of `line` with the words at `cut`, without what `trim` says, as parameters.
    pub fn of(line: &str, words: &[Word], cut: Vec<u16>, trim: Vec<(u8, u8)>) -> Self {
        let (mut literals, mut from) = (Vec::with_capacity(cut.len() + 1), 0);
        for (place, index) in cut.iter().enumerate() {
            let (word, (head, tail)) = (words[usize::from(*index)], trim.get(place).copied().unwrap_or_default());
            literals.push(line[from..word.start as usize + usize::from(head)].into());
            from = word.end as usize - usize::from(tail);
        }
        literals.push(line[from..].into());
        Self { words: words.len() as u16, cut, trim, literals }
    }

    /// True for the shape of [`Shape::whole`].
    pub fn is_whole(&self) -> bool {
        self.cut.is_empty() && self.literals.len() == 2
    }

    /// Puts the spans of the parameters of `line` into `spans`, if the line has this shape.
    #[inline]
    pub fn extract(&self, line: &str, words: &[Word], spans: &mut Vec<(u32, u32)>) -> bool {
        spans.clear();
        if self.is_whole() {
            spans.push((0, line.len() as u32));
            return true;
        }
        if words.len() != usize::from(self.words) {
            return false;
        }
        let (text, mut from) = (line.as_bytes(), 0_usize);
        for (place, (index, literal)) in self.cut.iter().zip(&self.literals).enumerate() {
            let word = words[usize::from(*index)];
            let (head, tail) = self.trim.get(place).copied().unwrap_or_default();
            let start = word.start + u32::from(head);
            let end = word.end.saturating_sub(u32::from(tail));
            if start > end || text.get(from..start as usize) != Some(literal.as_bytes()) {
                return false;
            }
            spans.push((start, end));
            from = end as usize;
        }
        self.literals.last().is_some_and(|literal| &text[from..] == literal.as_bytes())
    }

    /// The line that had these parameters; missing ones are left out.
    pub fn render<'a>(&self, params: impl IntoIterator<Item = &'a str>) -> String {
        let (mut line, mut params) = (String::new(), params.into_iter());
        for (index, literal) in self.literals.iter().enumerate() {
            if index > 0 {
                line.push_str(params.next().unwrap_or_default());
            }
            line.push_str(literal);
        }
        line
    }

    /// Its text with `<*>` for parameters.
    pub fn text(&self) -> String {
        self.render(std::iter::repeat_n("<*>", self.literals.len() - 1))
    }

    /// Bytes of memory it takes, about.
    pub fn cost(&self) -> usize {
        64 + self.cut.len() * 4 + self.literals.iter().map(|literal| 16 + literal.len()).sum::<usize>()
    }
}
