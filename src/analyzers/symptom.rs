//! What one rule saw on one object, before symptoms are folded into roots.

use opsward_domain::time::AtMs;

use crate::finding::{Remedy, Severity};
use crate::object::Ref;

/// A quote with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) source: Ref,
    pub(crate) field: String,
    pub(crate) excerpt: String,
}

/// What a rule saw. Symptoms with the same rule, root, field and detail are one.
#[derive(Debug, Clone)]
pub(crate) struct Symptom {
    pub(crate) rule: &'static str,
    pub(crate) severity: Severity,
    pub(crate) root: Ref,
    pub(crate) field: String,
    pub(crate) detail: String,
    pub(crate) claim: String,
    pub(crate) seen_on: Ref,
    pub(crate) says: String,
    pub(crate) since_ms: Option<AtMs>,
    pub(crate) quotes: Vec<Quote>,
    pub(crate) remedies: Vec<Remedy>,
    pub(crate) because: Vec<Ref>,
    pub(crate) alone: bool,
}

impl Symptom {
    /// A symptom of the object itself.
    pub(crate) fn new(
        rule: &'static str,
        severity: Severity,
        root: &Ref,
        field: &str,
        claim: impl Into<String>,
    ) -> Self {
        let claim = claim.into();
        Self {
            rule,
            severity,
            root: root.clone(),
            field: field.to_owned(),
            detail: String::new(),
            says: claim.clone(),
            claim,
            seen_on: root.clone(),
            since_ms: None,
            quotes: Vec::new(),
            remedies: Vec::new(),
            because: Vec::new(),
            alone: true,
        }
    }

    /// Seen on another object than the root, which says what is the matter there.
    pub(crate) fn seen_on(mut self, at: &Ref, says: impl Into<String>) -> Self {
        self.seen_on = at.clone();
        self.says = says.into();
        self
    }

    /// Keeps apart what rule, root and field would fold.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub(crate) fn since(mut self, at_ms: Option<AtMs>) -> Self {
        self.since_ms = at_ms;
        self
    }

    /// Adds a quote; an empty one is left out.
    pub(crate) fn quote(mut self, source: &Ref, field: impl Into<String>, excerpt: &str) -> Self {
        if !excerpt.trim().is_empty() {
            self.quotes.push(Quote { source: source.clone(), field: field.into(), excerpt: excerpt.trim().to_owned() });
        }
        self
    }

    pub(crate) fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedies.push(remedy);
        self
    }

    /// Explained by any finding on these objects, if there is one.
    pub(crate) fn because(mut self, objects: impl IntoIterator<Item = Ref>) -> Self {
        self.because.extend(objects);
        self
    }

    /// Never a finding of its own: it only adds to the finding that explains it.
    pub(crate) fn only_if_explained(mut self) -> Self {
        self.alone = false;
        self
    }
}
