//! What a text filter means, once for every store: which words a line has and when a query matches.
//! Never looks inside a store's own index.

use std::borrow::Cow;

use opsward_domain::fault::{Code, Fault};
use opsward_domain::telemetry::LINE_BYTES_MAX;

/// Put at the end of a line that was cut.
pub const CUT_MARK: &str = " [cut]";
/// Most words of one query.
pub const WORDS_MAX: usize = 64;
/// Longest query text.
pub const QUERY_BYTES_MAX: usize = 4_096;

/// `text`, cut at a character and marked if it is longer than a line may be.
pub fn bounded(text: &str) -> Cow<'_, str> {
    if text.len() <= LINE_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(LINE_BYTES_MAX - CUT_MARK.len());
    Cow::Owned(format!("{}{CUT_MARK}", &text[..end]))
}

/// The words of `text`: longest runs of letters and digits, as written.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// A word in the form in which words are compared.
pub fn folded(word: &str) -> String {
    word.chars().flat_map(char::to_lowercase).collect()
}

/// A text filter: every term must occur; a term of several words is a phrase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextFilter {
    /// Each term's folded words, never empty.
    pub terms: Vec<Vec<String>>,
}

impl TextFilter {
    /// Reads words and "quoted phrases". An unquoted word with inner punctuation (`a/b`, `10.0.0.1`) is
    /// a phrase of its parts. An open quote ends with the text. Refuses longer texts than
    /// [`QUERY_BYTES_MAX`] and more words than [`WORDS_MAX`].
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let refuse = |what: String| Err(Fault::new(Code::TooMany, what).hint("search for fewer words"));
        if text.len() > QUERY_BYTES_MAX {
            return refuse(format!("a search text has at most {QUERY_BYTES_MAX} bytes"));
        }
        let mut terms = Vec::new();
        for (index, part) in text.split('"').enumerate() {
            if index % 2 == 1 {
                terms.push(words(part).map(folded).collect::<Vec<_>>());
            } else {
                terms.extend(part.split_whitespace().map(|piece| words(piece).map(folded).collect()));
            }
        }
        terms.retain(|term| !term.is_empty());
        if terms.iter().map(Vec::len).sum::<usize>() > WORDS_MAX {
            return refuse(format!("a search has at most {WORDS_MAX} words"));
        }
        Ok(Self { terms })
    }

    /// True if nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// True if `text` has every term.
    pub fn matches(&self, text: &str) -> bool {
        if self.terms.is_empty() {
            return true;
        }
        let have: Vec<String> = words(text).map(folded).collect();
        self.terms.iter().all(|term| have.windows(term.len()).any(|window| window == term.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_phrases() {
        let filter = TextFilter::parse("Pool \"connection refused\" 10.0.0.1 \"\" --").unwrap();
        assert_eq!(filter.terms.len(), 3);
        assert!(filter.matches("pool: Connection refused by 10.0.0.1:80"));
        assert!(!filter.matches("pool: refused connection by 10.0.0.1"));
        assert!(!filter.matches("pools: connection refused 10.0.0.1"));
        assert!(TextFilter::parse(" \"open quote").unwrap().matches("an open QUOTE"));
        assert!(TextFilter::parse("").unwrap().matches("anything"));
        assert!(TextFilter::parse("ÄRGER").unwrap().matches("viel ärger"));
    }

    #[test]
    fn bounds_hold() {
        assert!(TextFilter::parse(&"a ".repeat(WORDS_MAX)).is_ok());
        assert_eq!(TextFilter::parse(&"a ".repeat(WORDS_MAX + 1)).unwrap_err().code, Code::TooMany);
        assert_eq!(TextFilter::parse(&"a".repeat(QUERY_BYTES_MAX + 1)).unwrap_err().code, Code::TooMany);
        let long = "ä".repeat(LINE_BYTES_MAX);
        assert!(bounded(&long).len() <= LINE_BYTES_MAX && bounded(&long).ends_with(CUT_MARK));
        assert_eq!(bounded("short"), "short");
    }
}
