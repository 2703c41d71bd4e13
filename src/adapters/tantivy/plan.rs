//! A question made ready: which numbers it admits, and how its words divide between templates and
//! parameters. Decides for lines in memory and in partitions alike. Never touches a file.
//!
//! A line's words are those of its shape and those of its parameters: parameters begin and end at
//! punctuation, so no word lies in both. A term therefore has three kinds of lines: those whose shape
//! has it whole, those that may have it with the help of parameters, and the others.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use opsward_domain::fault::Fault;
use opsward_domain::telemetry::{Level, LogQuery};
use opsward_domain::time::{AtMs, Window};
use opsward_ports::logs::text::TextFilter;

use crate::catalog::{ShapeWords, Snapshot};
use crate::memtable::{params, variant};

/// The stored code of a level.
pub(crate) fn code(level: Option<Level>) -> u8 {
    match level {
        None => 0,
        Some(Level::Trace) => 1,
        Some(Level::Debug) => 2,
        Some(Level::Info) => 3,
        Some(Level::Warn) => 4,
        Some(Level::Error) => 5,
        Some(Level::Fatal) => 6,
    }
}

/// The level of a stored code.
pub(crate) fn level(code: u8) -> Option<Level> {
    [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal]
        .get(usize::from(code).checked_sub(1)?)
        .copied()
}

/// A word or phrase of the question.
pub(crate) struct Term {
    /// Shapes that have it whole.
    pub(crate) whole: HashSet<u64>,
    /// Its words, with the shapes that have each.
    pub(crate) words: Vec<(String, HashSet<u64>)>,
}

impl Term {
    fn of(term: &[String], shapes: &[ShapeWords]) -> Self {
        let has = |literals: &[Vec<String>], phrase: &[String]| {
            literals.iter().any(|words| words.windows(phrase.len()).any(|window| window == phrase))
        };
        let having = |phrase: &[String]| {
            shapes.iter().filter(|(_, literals)| has(literals, phrase)).map(|(variant, _)| *variant).collect()
        };
        let words = term.iter().map(|word| (word.clone(), having(std::slice::from_ref(word)))).collect();
        Self { whole: having(term), words }
    }

    /// True if index terms alone cannot tell.
    pub(crate) fn is_phrase(&self) -> bool {
        self.words.len() > 1
    }
}

/// A question made ready.
pub(crate) struct Plan {
    /// The window, without what has expired.
    pub(crate) window: Window,
    /// Admitted places, if not all of the tenant's.
    pub(crate) places: Option<Vec<u32>>,
    /// Admitted level codes, if not all.
    pub(crate) levels: Option<Vec<u8>>,
    /// The only admitted template.
    pub(crate) template: Option<u64>,
    /// Variants of that template.
    pub(crate) variants: Vec<u64>,
    /// Terms that must all occur.
    pub(crate) terms: Vec<Term>,
    filter: TextFilter,
    admitted_places: Vec<bool>,
    level_mask: u8,
    /// What numbers mean.
    pub(crate) names: Arc<Snapshot>,
}

impl Plan {
    /// Makes `query` ready; `None` if nothing can match. Expired lines are those before `floor_ms`.
    pub(crate) fn new(query: &LogQuery, names: Arc<Snapshot>, floor_ms: AtMs) -> Result<Option<Self>, Fault> {
        let filter = TextFilter::parse(&query.text)?;
        let window = Window { from_ms: query.window.from_ms.max(floor_ms), to_ms: query.window.to_ms };
        let admitted = |(workspace, workload): &(_, _)| {
            *workspace == query.workspace && (query.workloads.is_empty() || query.workloads.contains(workload))
        };
        let admitted_places: Vec<bool> = names.places.iter().map(admitted).collect();
        let places: Vec<u32> = (0_u32..).zip(&admitted_places).filter(|(_, yes)| **yes).map(|(n, _)| n).collect();
        // Whoever remembers a template that was merged means the one that took its place.
        let template = query.template.map(|template| names.template_of(variant(template, 0)));
        let none = template.is_some_and(|template| !names.templates.contains_key(&template));
        if places.is_empty() || window.length_ms() == 0 || none {
            return Ok(None);
        }
        let least = code(query.level_min);
        let fits = |code: u8| least <= 3 && code == 0 || code >= least;
        let levels: Vec<u8> = (0..=6).filter(|code| fits(*code)).collect();
        let variants = template.map(|template| names.variants_of(template));
        Ok(Some(Self {
            window,
            places: (places.len() < names.places.len()).then_some(places),
            level_mask: levels.iter().fold(0, |mask, code| mask | 1 << code),
            levels: (levels.len() < 7).then_some(levels),
            template,
            variants: variants.unwrap_or_default(),
            terms: filter.terms.iter().map(|term| Term::of(term, names.words())).collect(),
            filter,
            admitted_places,
            names,
        }))
    }

    /// True if place, level and template are admitted.
    #[inline]
    pub(crate) fn admits(&self, place: u32, level: u8, variant: u64) -> bool {
        self.admitted_places.get(place as usize).is_some_and(|yes| *yes)
            && self.level_mask >> level.min(7) & 1 == 1
            && self.template.is_none_or(|template| self.names.template_of(variant) == template)
    }

    /// True if a line that has every word may still lack a phrase.
    pub(crate) fn is_unsure(&self, variant: u64) -> bool {
        self.terms.iter().any(|term| term.is_phrase() && !term.whole.contains(&variant))
    }

    /// True if the line's text has every term.
    pub(crate) fn has_text(&self, variant: u64, encoded: &[u8]) -> bool {
        let (mut unsure, mut needs_params) = (false, false);
        for term in self.terms.iter().filter(|term| !term.whole.contains(&variant)) {
            unsure = true;
            needs_params |= term.words.iter().any(|(_, shapes)| !shapes.contains(&variant));
        }
        if !unsure {
            return true;
        }
        if needs_params && encoded.is_empty() {
            return false;
        }
        self.text(variant, encoded).is_some_and(|text| self.filter.matches(&text))
    }

    /// The line, if its shape is known.
    pub(crate) fn text(&self, variant: u64, encoded: &[u8]) -> Option<String> {
        self.names.shapes.get(&variant).map(|shape| shape.render(params(encoded)))
    }
}

/// Counts by key; the keys are few.
pub(crate) type Counts<K> = HashMap<K, u64>;
