//! What the claims rest on: each piece once, cut to a bound, with a digest. Nothing is kept that no claim cites.

use std::collections::HashMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::case::TimeMs;
use crate::diagnosis::Evidence;
use crate::signal::{Signal, cut};

/// Gathers evidence and gives ids.
pub(crate) struct Book {
    kept: Vec<Evidence>,
    by_digest: HashMap<String, usize>,
    most: usize,
    excerpt_max: usize,
    dropped: usize,
}

impl Book {
    /// An empty one.
    pub(crate) fn new(most: usize, excerpt_max: usize) -> Self {
        Self { kept: Vec::new(), by_digest: HashMap::new(), most, excerpt_max, dropped: 0 }
    }

    /// Keeps a piece and gives its id; none when there is no more room.
    pub(crate) fn cite(
        &mut self,
        source: &str,
        query: &str,
        window: (TimeMs, TimeMs),
        excerpt: &str,
    ) -> Option<String> {
        let (source, query, excerpt) = (cut(source, 200), cut(query, 400), cut(excerpt, self.excerpt_max));
        let mut hash = Sha256::new();
        for part in [&source, &query, &format!("{}..{}", window.0, window.1), &excerpt] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let mut digest = String::with_capacity(64);
        for byte in hash.finalize() {
            // Writing to a string cannot fail.
            let _ = write!(digest, "{byte:02x}");
        }
        if let Some(place) = self.by_digest.get(&digest) {
            return Some(self.kept[*place].id.clone());
        }
        if self.kept.len() >= self.most {
            self.dropped += 1;
            return None;
        }
        let id = format!("e{}", self.kept.len() + 1);
        self.by_digest.insert(digest.clone(), self.kept.len());
        self.kept.push(Evidence { id: id.clone(), source, query, window, excerpt, digest });
        Some(id)
    }

    /// Keeps what a signal was seen in.
    pub(crate) fn cite_signal(&mut self, signal: &Signal) -> Option<String> {
        self.cite(&signal.source, &signal.query, signal.window, &signal.text)
    }

    /// Everything kept, and how many pieces found no room.
    pub(crate) fn close(self) -> (Vec<Evidence>, usize) {
        (self.kept, self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_piece_is_kept_once_and_the_room_is_bounded() {
        let mut book = Book::new(2, 5);
        assert_eq!(book.cite("f", "q", (0, 1), "long excerpt").as_deref(), Some("e1"));
        assert_eq!(book.cite("f", "q", (0, 1), "long excerpt").as_deref(), Some("e1"));
        assert_eq!(book.cite("f", "q", (0, 2), "x").as_deref(), Some("e2"));
        assert_eq!(book.cite("f", "q", (0, 3), "x"), None);
        let (kept, dropped) = book.close();
        assert_eq!((kept.len(), dropped, kept[0].excerpt.as_str()), (2, 1, "long …"));
        assert_eq!(kept[0].digest.len(), 64);
    }
}
