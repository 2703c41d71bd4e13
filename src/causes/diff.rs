//! What a change to code or settings can bring about, read from the lines it takes out and puts in. A line that only
//! moved, a comment, a test, a document or a style sheet brings about nothing. Reads text; understands no language.

mod rules;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use crate::mechanism::Mechanism;
use crate::signal::cut;

/// Most lines of a difference that are read.
const LINES_MAX: usize = 4_000;
/// Most characters of a line.
const LINE_MAX: usize = 400;

/// Which side a line is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// On both.
    Both,
    /// Put in.
    Added,
    /// Taken out.
    Removed,
}

/// One line that does something.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub side: Side,
    /// Without the mark, blanks kept.
    pub text: String,
    /// In lower case, without outer blanks.
    pub lower: String,
    /// The file it is in, when told.
    pub file: String,
    /// The hunk it is in.
    pub hunk: u32,
    /// It is on the other side as well.
    pub moved: bool,
}

/// Something a change can bring about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Effect {
    pub mechanism: Mechanism,
    /// How likely it brings that about, 0 to 2.5.
    pub weight: f64,
    /// The line that says so.
    pub line: String,
    /// What about it.
    pub why: &'static str,
}

/// A change, read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// What it can bring about, the likeliest of each mechanism.
    pub effects: BTreeMap<Mechanism, Effect>,
    /// There was a difference to read.
    pub has_lines: bool,
    /// Nothing it touches runs.
    pub inert: bool,
    /// Base names of touched files that run.
    pub files: BTreeSet<String>,
    /// Words of touched code, as written: functions, tables, settings.
    pub names: BTreeSet<String>,
}

/// Reads a change.
pub(crate) fn read(diff: &str, files: &[String], summary: &str) -> Reading {
    let lines = parse(diff, files);
    let listed_run = files.iter().any(|file| runs(file));
    let mut reading = Reading { has_lines: !diff.trim().is_empty(), ..Reading::default() };
    reading.inert = (!files.is_empty() && !listed_run)
        || (!reading.has_lines && says_inert(summary))
        || (reading.has_lines && lines.iter().all(|line| line.side == Side::Both || line.moved));
    for file in
        files.iter().map(String::as_str).chain(lines.iter().map(|line| line.file.as_str())).filter(|file| runs(file))
    {
        if let Some(base) = file.rsplit('/').next().filter(|base| base.len() >= 4) {
            reading.files.insert(base.to_owned());
        }
    }
    for line in &lines {
        reading.names.extend(names_in(&line.text));
    }
    let mut effects = rules::effects(&lines);
    effects.extend(values::effects(&lines));
    for effect in effects {
        let known = reading.effects.entry(effect.mechanism).or_insert_with(|| effect.clone());
        if effect.weight > known.weight {
            *known = effect;
        }
    }
    reading
}

/// Identifiers long enough to be telling.
fn names_in(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| word.len() >= 5 && word.len() <= 60 && !word.chars().all(|c| c.is_ascii_digit()))
        .map(str::to_owned)
}

/// True for a file that ends up in something that runs.
pub(crate) fn runs(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let base = path.rsplit('/').next().unwrap_or("");
    let inert_end = [
        ".md",
        ".txt",
        ".rst",
        ".adoc",
        ".css",
        ".scss",
        ".svg",
        ".png",
        ".jpg",
        ".ico",
        ".html",
        ".golden",
        ".lock.license",
        ".snap",
    ];
    let inert_base = [
        "codeowners",
        "license",
        "notice",
        "authors",
        "changelog",
        ".gitignore",
        ".editorconfig",
        ".golangci.yml",
        ".golangci.yaml",
        ".prettierrc",
        ".eslintrc",
        ".pre-commit-config.yaml",
    ];
    let inert_folder = [
        "docs/",
        "doc/",
        "test/",
        "tests/",
        "testdata/",
        "__tests__/",
        "spec/",
        "fixtures/",
        ".github/",
        ".gitlab/",
        ".circleci/",
        "examples/",
        "mocks/",
    ];
    let test = ["_test.", ".test.", ".spec.", "test_", "_spec."];
    !(inert_end.iter().any(|end| base.ends_with(end))
        || inert_base.contains(&base)
        || inert_folder.iter().any(|folder| path.starts_with(folder) || path.contains(&format!("/{folder}")))
        || test.iter().any(|part| if part.starts_with("test_") { base.starts_with(part) } else { base.contains(part) })
        || base.ends_with("test.java")
        || base.ends_with("tests.cs"))
}

/// A message that announces what cannot break anything, for changes that show no lines.
fn says_inert(summary: &str) -> bool {
    let kind = summary.split([':', '(']).next().unwrap_or("").trim().to_ascii_lowercase();
    matches!(kind.as_str(), "docs" | "doc" | "test" | "tests" | "style" | "ci")
}

/// Cuts a difference into lines that do something.
fn parse(diff: &str, files: &[String]) -> Vec<Line> {
    let mut file = files.iter().find(|file| runs(file)).or(files.first()).cloned().unwrap_or_default();
    let mut hunk = 0;
    let mut lines: Vec<Line> = Vec::new();
    for raw in diff.lines().take(LINES_MAX) {
        if let Some(path) = raw.strip_prefix("+++ ").or_else(|| raw.strip_prefix("--- ")) {
            let path = path.trim().trim_start_matches("a/").trim_start_matches("b/");
            if path != "/dev/null" {
                file = cut(path, LINE_MAX);
            }
            continue;
        }
        if raw.starts_with("@@") || raw.starts_with("diff ") {
            hunk += 1;
            let head = raw.trim_start_matches("@@").trim();
            let path = head.split([':', ' ']).next().unwrap_or("");
            if path.contains('/') && path.contains('.') {
                file = cut(path, LINE_MAX);
            }
            if raw.starts_with("@@") {
                let text = raw.rsplit("@@").next().map(str::trim).filter(|text| !text.is_empty()).unwrap_or(head);
                lines.push(line(Side::Both, text, &file, hunk));
            }
            continue;
        }
        let (side, text) = match raw.as_bytes().first() {
            Some(b'+') => (Side::Added, &raw[1..]),
            Some(b'-') => (Side::Removed, &raw[1..]),
            Some(b' ') => (Side::Both, &raw[1..]),
            _ => (Side::Both, raw),
        };
        lines.push(line(side, text, &file, hunk));
    }
    lines.retain(|line| runs(&line.file) && !line.lower.is_empty() && !is_comment(&line.lower, &line.file));
    mark_moved(&mut lines);
    lines
}

fn line(side: Side, text: &str, file: &str, hunk: u32) -> Line {
    let text = cut(&text.replace('\t', "    "), LINE_MAX);
    let lower = text.trim().to_lowercase();
    Line { side, text, lower, file: file.to_owned(), hunk, moved: false }
}

fn is_comment(lower: &str, file: &str) -> bool {
    let hash = [".py", ".rb", ".sh", ".yaml", ".yml", ".toml", ".properties", ".tf", ".conf"]
        .iter()
        .any(|end| file.ends_with(end));
    lower.starts_with("//")
        || lower.starts_with("/*")
        || lower.starts_with("* ")
        || lower == "*/"
        || lower == "*"
        || (hash && lower.starts_with('#'))
        || (file.ends_with(".sql") && lower.starts_with("--"))
}

/// A line taken out here and put in there did not change.
fn mark_moved(lines: &mut [Line]) {
    let mut balance: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for line in lines.iter() {
        let count = balance.entry(line.lower.clone()).or_default();
        match line.side {
            Side::Added => count.0 += 1,
            Side::Removed => count.1 += 1,
            Side::Both => {}
        }
    }
    let mut left: BTreeMap<String, (usize, usize)> =
        balance.into_iter().map(|(text, (added, removed))| (text, (added.min(removed), added.min(removed)))).collect();
    for line in lines.iter_mut() {
        let Some(count) = left.get_mut(&line.lower) else { continue };
        let slot = match line.side {
            Side::Added => &mut count.0,
            Side::Removed => &mut count.1,
            Side::Both => continue,
        };
        if *slot > 0 {
            *slot -= 1;
            line.moved = true;
        }
    }
}

#[cfg(test)]
mod tests;
