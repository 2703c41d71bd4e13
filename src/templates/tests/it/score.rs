//! Published accuracy measures of log parsers over labelled lines. Never looks into the miner.
//!
//! - GA, grouping accuracy (Zhu et al., ICSE-SEIP 2019): share of lines whose group is exactly a true one.
//! - PA, parsing accuracy (Dai et al., TSE 2020): share of lines whose template's text is the true one.
//! - FGA, FTA (Jiang et al., ISSTA 2024): F1 over templates, of groups that are exactly true ones, and of
//!   texts whose lines all have that text as their label.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// The four measures, each from 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Score {
    pub ga: f64,
    pub pa: f64,
    pub fga: f64,
    pub fta: f64,
}

/// Lines by what they are labelled with.
fn groups<'a>(labels: &'a [String]) -> BTreeMap<&'a str, Vec<usize>> {
    let mut sets: BTreeMap<&'a str, Vec<usize>> = BTreeMap::new();
    for (line, label) in labels.iter().enumerate() {
        sets.entry(label).or_default().push(line);
    }
    sets
}

/// Compares what was found for each line with what is true of it.
pub fn score(found: &[String], truth: &[String]) -> Score {
    assert_eq!(found.len(), truth.len());
    let (found_sets, true_sets) = (groups(found), groups(truth));
    let wanted: HashSet<&Vec<usize>> = true_sets.values().collect();
    let right: Vec<&Vec<usize>> = found_sets.values().filter(|lines| wanted.contains(lines)).collect();
    let named = |(text, lines): &(&&str, &Vec<usize>)| lines.iter().all(|line| truth[*line] == **text);
    let texts = found_sets.iter().filter(named).count();
    let f1 = |count: usize| 2.0 * count as f64 / (found_sets.len() + true_sets.len()) as f64;
    let same = found.iter().zip(truth).filter(|(a, b)| a == b).count();
    let lines = truth.len().max(1) as f64;
    Score {
        ga: right.iter().map(|lines| lines.len()).sum::<usize>() as f64 / lines,
        pa: same as f64 / lines,
        fga: f1(right.len()),
        fta: f1(texts),
    }
}

/// A template with neighbouring parameters as one and runs of blanks as one, the way labels that differ
/// in that only are compared.
pub fn folded(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let mut word = word.to_owned();
        while word.contains("<*><*>") {
            word = word.replace("<*><*>", "<*>");
        }
        if !(word == "<*>" && words.last().is_some_and(|last| last == "<*>")) {
            words.push(word);
        }
    }
    words.join(" ")
}

/// Rows of a CSV file with quoted fields.
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            '\r' if !quoted => {}
            _ => field.push(c),
        }
    }
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    rows
}

/// The labelled lines of one system.
pub struct Labelled {
    pub system: String,
    pub log: PathBuf,
    pub contents: Vec<String>,
    pub truth: Vec<String>,
}

/// Where the labelled logs are, if they are here: `OPSWARD_SHARED`, or a `shared` folder above the repository.
pub fn root() -> Option<PathBuf> {
    let shared = std::env::var_os("OPSWARD_SHARED").map(PathBuf::from);
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("shared"));
    shared.into_iter().chain(above).map(|folder| folder.join("data/loghub-2k")).find(|folder| folder.is_dir())
}

/// Every system below `root`, by name; corrected labels where there are some.
pub fn systems(root: &Path) -> Vec<Labelled> {
    let mut names: Vec<String> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names.into_iter().map(|system| labelled(root, system)).collect()
}

fn labelled(root: &Path, system: String) -> Labelled {
    let file = |suffix: &str| root.join(&system).join(format!("{system}_2k.log{suffix}"));
    let corrected = file("_structured_corrected.csv");
    let path = if corrected.exists() { corrected } else { file("_structured.csv") };
    let rows = csv(&std::fs::read_to_string(path).unwrap());
    let column = |name: &str| rows[0].iter().position(|c| c == name).unwrap();
    let (content, label) = (column("Content"), column("EventTemplate"));
    let take = |column: usize| rows[1..].iter().map(|row| row[column].clone()).collect();
    Labelled { log: file(""), contents: take(content), truth: take(label), system }
}
