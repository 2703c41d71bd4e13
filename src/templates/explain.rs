//! Which template a line has once the mining is over, with its text and parameters. Never learns.

use crate::Miner;
use crate::cluster::{Cluster, Slot};
use crate::scan::Word;

/// The mark of a parameter in a text.
pub const MARK: &str = "<*>";

/// A line explained by a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained<'a> {
    /// The template's number; 0 if no template knows the line.
    pub template: u64,
    /// What stands where the template's text has `<*>`, in order.
    pub params: Vec<&'a str>,
    /// The line with `<*>` for its parameters. Differs from the template's text in blanks and punctuation
    /// at most.
    pub layout: String,
}

impl Explained<'_> {
    /// The line: the layout with the parameters in it.
    pub fn line(&self) -> String {
        let (mut line, mut params) = (String::new(), self.params.iter());
        for (index, literal) in self.layout.split(MARK).enumerate() {
            if index > 0 {
                line.push_str(params.next().copied().unwrap_or_default());
            }
            line.push_str(literal);
        }
        line
    }
}

impl Miner {
    /// Explains a line, best one that was mined.
    pub fn explain<'a>(&mut self, line: &'a str) -> Explained<'a> {
        self.scan.scan(line);
        let hash = self.scan.hash;
        let fits = |cluster: &Cluster| cluster.compare(line, &self.scan.words).is_some_and(|fit| fit.misses == 0);
        let recalled = self.explained.get(&hash).copied().filter(|index| fits(&self.clusters[*index as usize].1));
        let index = recalled.or_else(|| self.compared(line).0);
        let Some(index) = index else {
            return Explained { template: self.lumped().unwrap_or(0), params: vec![line], layout: MARK.to_owned() };
        };
        if recalled.is_none() {
            if self.explained.len() >= crate::REMEMBERED_MAX {
                self.explained.clear();
            }
            self.explained.insert(hash, index);
        }
        let (number, cluster) = &self.clusters[index as usize];
        let (params, layout) = cluster.cut(line, &self.scan.words);
        Explained { template: *number, params, layout }
    }
}

impl Cluster {
    /// The parameters of a line that fits, and the line without them.
    fn cut<'a>(&self, line: &'a str, words: &[Word]) -> (Vec<&'a str>, String) {
        let (mut params, mut layout, mut from) = (Vec::new(), String::with_capacity(line.len()), 0);
        for (slot, word) in self.slots.iter().zip(words) {
            let (start, end) = (word.start as usize, word.end as usize);
            let text = &line[start..end];
            let (head, tail, separator) = match slot {
                Slot::Word(own) | Slot::Doubtful(own) if **own == *text => continue,
                Slot::Value(affix) if affix.holds(text, word) => {
                    (affix.head.len(), affix.tail.len(), (affix.parts > 1).then_some(char::from(affix.separator)))
                }
                _ => (0, 0, None),
            };
            layout.push_str(&line[from..start + head]);
            match separator {
                Some(separator) => {
                    for (index, part) in text.split(separator).enumerate() {
                        if index > 0 {
                            layout.push(separator);
                        }
                        layout.push_str(MARK);
                        params.push(part);
                    }
                }
                None => {
                    layout.push_str(MARK);
                    params.push(&text[head..text.len() - tail]);
                }
            }
            from = end - tail;
        }
        layout.push_str(&line[from..]);
        (params, layout)
    }
}
