//! Log templates that are new or far more frequent than before. Text is only matched and quoted, never obeyed.

use std::collections::BTreeMap;

use opsward_domain::name::Workload;
use opsward_domain::telemetry::{Level, TemplateCount};
use opsward_domain::time::{AtMs, Window};

use super::picture::Picture;

/// How many times more frequent a template must be to count as fresh.
const TIMES_MIN: f64 = 4.0;
/// Fewest occurrences of a fresh template.
const COUNT_MIN: u64 = 2;
/// A complaint that was last said longer ago than this has ended.
const ENDED_MS: i64 = 8_000;
/// Most fresh templates kept for each workload.
const KEPT_MAX: usize = 8;

/// A complaint that was not there before.
#[derive(Debug, Clone)]
pub(super) struct Fresh<'a> {
    pub(super) template: &'a TemplateCount,
    /// Occurrences before, scaled to the length of the incident window.
    pub(super) before: f64,
}

impl Fresh<'_> {
    /// True if it was said after trouble began at `onset_ms`, and lately. What was only said while something
    /// restarted explains no trouble that outlasts it.
    pub(super) fn goes_with(&self, onset_ms: AtMs, now_ms: AtMs) -> bool {
        self.template.last_ms > onset_ms && self.template.last_ms >= now_ms.saturating_sub(ENDED_MS)
    }
    /// True if its text or its sample holds `word` as a whole, letter case aside.
    pub(super) fn names(&self, word: &str) -> bool {
        holds(&self.template.text, word) || holds(&self.template.sample, word)
    }
}

/// True if `text` holds `word` between characters that cannot belong to it.
pub(super) fn holds(text: &str, word: &str) -> bool {
    if word.len() < 2 {
        return false;
    }
    let (text, word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
    text.match_indices(&word)
        .any(|(at, found)| !part(text[..at].chars().next_back()) && !part(text[at + found.len()..].chars().next()))
}

/// Words by which a line without a level complains.
const COMPLAINTS: [&str; 12] = [
    "error",
    "fatal",
    "panic",
    "panicked",
    "exception",
    "traceback",
    "failed",
    "failure",
    "refused",
    "cannot",
    "denied",
    "killed",
];

/// True for warnings and errors, and for complaints of programs that write no levels.
fn complains(template: &TemplateCount) -> bool {
    match template.level {
        Some(level) => level >= Level::Warn,
        None => COMPLAINTS.iter().any(|word| holds(&template.text, word)),
    }
}

fn seconds(window: Window) -> f64 {
    (window.length_ms() as f64 / 1_000.0).max(1.0)
}

/// The part of the baseline in which anything was recorded: a young system has no long past.
fn heard(picture: &Picture) -> Window {
    let first = picture.templates_before.iter().map(|template| template.first_ms).min();
    let from_ms = first.unwrap_or(i64::MIN).max(picture.baseline.from_ms);
    Window { from_ms: from_ms.min(picture.baseline.to_ms), ..picture.baseline }
}

/// Fresh warnings and errors of each workload, most serious and most frequent first.
pub(super) fn fresh(picture: &Picture) -> BTreeMap<Workload, Vec<Fresh<'_>>> {
    let mut earlier: BTreeMap<(&Workload, u64), u64> = BTreeMap::new();
    for template in &picture.templates_before {
        *earlier.entry((&template.workload, template.template)).or_default() += template.count;
    }
    let scale = seconds(picture.incident) / seconds(heard(picture));
    let mut found: BTreeMap<Workload, Vec<Fresh<'_>>> = BTreeMap::new();
    for template in picture.templates_now.iter().filter(|t| complains(t)) {
        let before = earlier.get(&(&template.workload, template.template)).copied().unwrap_or(0) as f64 * scale;
        if template.count >= COUNT_MIN && template.count as f64 >= TIMES_MIN * before {
            found.entry(template.workload.clone()).or_default().push(Fresh { template, before });
        }
    }
    for list in found.values_mut() {
        let order = |one: &Fresh<'_>| (one.template.level, one.template.count);
        list.sort_by(|a, b| order(b).cmp(&order(a)).then_with(|| a.template.text.cmp(&b.template.text)));
        list.truncate(KEPT_MAX);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_match_whole_and_in_any_case() {
        assert!(holds("upstream Payments: timeout", "payments"));
        assert!(holds("bad value \"eu-9\" for REGION", "region"));
        let line = |level, text: &str| TemplateCount {
            template: 1,
            text: text.into(),
            workload: Workload::parse("a").unwrap(),
            level,
            count: 1,
            first_ms: 0,
            last_ms: 0,
            sample: text.into(),
        };
        assert!(complains(&line(None, "thread <*> panicked at <*>")) && complains(&line(Some(Level::Error), "x")));
        assert!(!complains(&line(None, "GET / 200")) && !complains(&line(Some(Level::Info), "error rate is fine")));
        for (text, word) in [("repayments failed", "payments"), ("payments-v2", "payments"), ("x", "x"), ("", "ab")] {
            assert!(!holds(text, word), "{text} {word}");
        }
    }
}
