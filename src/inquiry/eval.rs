//! Scores over folders of cases with ground truth: each case is given to the inquiry without its truth, and a simple
//! rule answers beside it. The truth is read by the adapter of a format only, after the answer.

mod nezha;
mod opensre;
mod petshop;
mod rootcausebench;
mod rule;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use opsward_bundle::Bundle;
use serde::Serialize;

use crate::{Inquiry, Options};

pub use table::{Row, Table};

/// Folders inside one another that are searched for cases.
const DEPTH_MAX: usize = 6;
/// Cases of one run.
const CASES_MAX: usize = 10_000;
/// Largest file of a case that is read at once.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// How a folder of cases is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A folder a case with `ground_truth.json` beside alert, logs, metrics, traces and context.
    RootCauseBench,
    /// A folder a case with `answer.yml` and `scenario.yml`, which may name a folder to complete it from.
    OpenSre,
    /// A folder a case with `target.json` and `metrics.csv`; `graph.csv` and `noissue/metrics.csv` above.
    PetShop,
    /// A folder a day with `faults/*fault_list.json`, minute files of logs and spans, and metrics by pod.
    Nezha,
}

impl Format {
    /// Every format with its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("rootcausebench", Self::RootCauseBench),
        ("opensre", Self::OpenSre),
        ("petshop", Self::PetShop),
        ("nezha", Self::Nezha),
    ];

    /// The format of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }
}

/// Why there is no score.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The folder holds no case of this format.
    #[error("{0} holds no case of this format")]
    NoCases(PathBuf),
    /// A case cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, String),
}

/// One case, answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scored {
    /// Its name.
    pub case: String,
    /// What was asked of it, and whether it was met.
    pub met: Vec<(&'static str, bool)>,
    /// The same for the simple rule, where the rule can answer.
    pub rule_met: Vec<(&'static str, bool)>,
    /// What was said.
    pub said: String,
    /// What is true.
    pub wanted: String,
    /// How long reading and answering took, in milliseconds.
    pub took_ms: f64,
}

/// Files of a case: name in the bundle, and bytes.
type Files = Vec<(String, Vec<u8>)>;

/// Answers every case. `clock_ms` is any clock that does not go back.
pub fn evaluate(dir: &Path, format: Format, clock_ms: &dyn Fn() -> f64) -> Result<Table, EvalError> {
    let scored = match format {
        Format::RootCauseBench => rootcausebench::score(dir, clock_ms)?,
        Format::OpenSre => opensre::score(dir, clock_ms)?,
        Format::PetShop => petshop::score(dir, clock_ms)?,
        Format::Nezha => nezha::score(dir, clock_ms)?,
    };
    if scored.is_empty() {
        return Err(EvalError::NoCases(dir.to_owned()));
    }
    let name = Format::ALL.iter().find(|(_, known)| *known == format).map_or("", |(name, _)| name);
    Ok(Table::of(name, scored))
}

/// Folders at or below `dir` that hold a file of this name, in order.
fn folders_with(dir: &Path, file: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![(dir.to_owned(), 0)];
    while let Some((folder, depth)) = open.pop() {
        if folder.join(file).is_file() && found.len() < CASES_MAX {
            found.push(folder.clone());
        }
        let inner =
            fs::read_dir(&folder).into_iter().flatten().filter_map(|entry| entry.ok().map(|entry| entry.path()));
        if depth < DEPTH_MAX {
            open.extend(inner.filter(|path| path.is_dir() && !path.is_symlink()).map(|path| (path, depth + 1)));
        }
    }
    found.sort();
    found
}

/// The name of a case: its path below the folder that was asked for.
fn name_of(dir: &Path, case: &Path) -> String {
    case.strip_prefix(dir).unwrap_or(case).to_string_lossy().into_owned()
}

fn bytes(path: &Path) -> Result<Vec<u8>, EvalError> {
    let unreadable = |reason: String| EvalError::Unreadable(path.to_owned(), reason);
    let length = fs::metadata(path).map_err(|error| unreadable(error.kind().to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(unreadable(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    fs::read(path).map_err(|error| unreadable(error.kind().to_string()))
}

fn json(path: &Path) -> Result<serde_json::Value, EvalError> {
    serde_json::from_slice(&bytes(path)?).map_err(|error| EvalError::Unreadable(path.to_owned(), error.to_string()))
}

/// Files of a folder by name.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let list = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut files: Vec<PathBuf> = list.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Reads and answers, and says how long that took.
fn ask(
    clock_ms: &dyn Fn() -> f64,
    options: &Options,
    read: &dyn Fn() -> Result<Bundle, EvalError>,
) -> Result<(Inquiry, f64), EvalError> {
    let before = clock_ms();
    let inquiry = crate::of_bundle(read()?, options);
    Ok((inquiry, clock_ms() - before))
}

/// The place, from 1, of the first name that is wanted.
fn rank(said: &[String], wanted: &str) -> Option<usize> {
    said.iter().position(|name| name == wanted).map(|place| place + 1)
}
