//! The one currency of the diagnosis: a component's aspect went the wrong way, this strongly, since then. Every
//! signal says where it was seen, so that it can be seen again.

use crate::case::{ComponentId, TimeMs};
use crate::words::Aspect;

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Signal {
    /// Whose.
    pub component: ComponentId,
    /// What it speaks of.
    pub aspect: Aspect,
    /// Doublings beyond what is usual, 0 to 6.
    pub strength: f64,
    /// Since when.
    pub onset_ms: TimeMs,
    /// It rose.
    pub up: bool,
    /// Usual value.
    pub before: f64,
    /// Value in the incident.
    pub after: f64,
    /// It grew slowly rather than at once.
    pub slow: bool,
    /// It speaks of the machine below.
    pub of_node: bool,
    /// It is a share of what there is.
    pub share: bool,
    /// A sentence for people.
    pub text: String,
    /// File and column, or what was compared.
    pub source: String,
    /// The question that gives it again.
    pub query: String,
    /// From when to when it was seen.
    pub window: (TimeMs, TimeMs),
}

impl Signal {
    /// How many times the usual value; 1 when there was none.
    pub(crate) fn ratio(&self) -> f64 {
        if self.before.abs() < 1e-12 { 1.0 } else { self.after / self.before }
    }
}

/// A number as people read it.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 || value == value.trunc() {
        format!("{value:.0}")
    } else if size >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

/// At most `most` characters of a text, on one line, with control characters taken out.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most * 4));
    for (count, c) in text.chars().enumerate() {
        if count >= most {
            out.push('…');
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_made_harmless() {
        assert_eq!(cut("a\u{1b}[31mb\nc", 40), "a [31mb c");
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(number(0.04), "0.040");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(4120.4), "4120");
    }
}
