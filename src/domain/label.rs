//! How far a text or value may be trusted, and who had a hand in it. Labels only ever rise.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Lower is more trusted; a join takes the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Integrity {
    /// Code and policy.
    System,
    /// Text of an authenticated person, reviewed runbooks.
    Operator,
    /// Numbers, enums, timestamps and identifiers minted by us.
    Typed,
    /// Log text, alert annotations, documents, stderr, most workload strings.
    Untrusted,
}

/// Someone or something whose words influenced a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Source {
    /// A workload's output, in the tenant of the run.
    Workload {
        /// Its workspace.
        workspace: crate::name::Workspace,
        /// Its name.
        workload: crate::name::Workload,
    },
    /// An alert's labels or annotations.
    Alert {
        /// Its workspace.
        workspace: crate::name::Workspace,
    },
    /// A document, such as a runbook.
    Document {
        /// Its name.
        name: String,
    },
    /// A person's words.
    Person {
        /// Who.
        subject: crate::name::Subject,
    },
    /// A language model's words.
    Model,
}

/// Integrity and sources of one value, or the high-water mark of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// How far it may be trusted.
    pub integrity: Integrity,
    /// Who had a hand in it.
    pub sources: BTreeSet<Source>,
}

impl Label {
    /// A label with no source beyond ourselves.
    pub fn of(integrity: Integrity) -> Self {
        Self { integrity, sources: BTreeSet::new() }
    }
    /// A label from one source.
    pub fn from(integrity: Integrity, source: Source) -> Self {
        Self { integrity, sources: BTreeSet::from([source]) }
    }
    /// Raises this mark by `other`; never lowers it.
    pub fn join(&mut self, other: &Self) {
        self.integrity = self.integrity.max(other.integrity);
        self.sources.extend(other.sources.iter().cloned());
    }
}

/// Text that carries its label. There is no way to make one without saying where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labelled {
    /// The text; untrusted unless the label says otherwise.
    pub text: String,
    /// Its label.
    pub label: Label,
}

impl Labelled {
    /// Attaches a label to text.
    pub fn new(text: impl Into<String>, label: Label) -> Self {
        Self { text: text.into(), label }
    }
    /// Makes control, bidirectional and zero-width characters visible, so that a card or a terminal
    /// shows what is really there.
    pub fn visible(&self) -> String {
        visible(&self.text)
    }
}

/// Makes characters that hide or reorder text visible as `\u{..}`; keeps tabs and new lines.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hides = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}' | '\u{ad}');
        if hides || (c.is_control() && c != '\n' && c != '\t') {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_only_rise_and_tricks_become_visible() {
        let mut mark = Label::of(Integrity::Untrusted);
        mark.join(&Label::from(Integrity::System, Source::Model));
        assert_eq!(mark.integrity, Integrity::Untrusted);
        assert!(mark.sources.contains(&Source::Model));
        assert_eq!(visible("a\u{202e}b\u{1b}[2J\n"), "a\\u{202e}b\\u{1b}[2J\n");
    }
}
