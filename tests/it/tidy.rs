//! What the compiler cannot keep: file and opening lines, sizes, forbidden words, who mentions the seal.

use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src"), root().join("sandbox"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 100, "the sources were not found");
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    let silent: Vec<String> = sources()
        .iter()
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//!"))
        .map(|p| shown(p))
        .collect();
    assert!(silent.is_empty(), "files without an opening line: {silent:?}");
}

#[test]
fn no_file_is_long_and_none_is_called_mod() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|path| fs::read_to_string(path).unwrap().lines().count() > LINES_MAX || path.ends_with("mod.rs"))
        .map(|path| shown(path))
        .collect();
    assert!(long.is_empty(), "split by verb: {long:?}");
}

#[test]
fn forbidden_words_do_not_occur() {
    // Built from halves so that this file does not name them itself.
    let words = [["todo", "!("], ["unimple", "mented!("], ["FIX", "ME"], ["not impl", "emented"], ["#[ig", "nore"]];
    let mut hits = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        for word in words.map(|halves| halves.concat()) {
            if text.contains(&word) {
                hits.push(format!("{}: {word}", shown(&path)));
            }
        }
    }
    assert!(hits.is_empty(), "{hits:?}");
}

/// Only the seal's own file, the composition root and tests may make a seal; only the executor applies.
#[test]
fn the_seal_is_forged_in_one_place_and_one_caller_applies() {
    let mut forges = Vec::new();
    let mut applies = Vec::new();
    for path in sources() {
        let name = shown(&path);
        let text = fs::read_to_string(&path).unwrap();
        let production = text.split("#[cfg(test)]").next().unwrap();
        let is_test = name.contains("tests") || name.contains("conformance") || name.contains("examples");
        if production.contains("GateSeal::forge()") && !is_test {
            forges.push(name.clone());
        }
        if production.contains("provider.apply(") && !is_test {
            applies.push(name.clone());
        }
    }
    assert_eq!(forges, ["src/app.rs"], "who forges a seal");
    assert_eq!(applies, ["src/engine/executor.rs"], "who applies");
}

#[test]
fn nothing_but_the_gate_asks_policy() {
    let asking: Vec<String> = sources()
        .iter()
        .filter(|path| {
            let text = fs::read_to_string(path).unwrap();
            text.split("#[cfg(test)]").next().unwrap().contains("policy.ask(")
        })
        .map(|path| shown(path))
        .filter(|name| !name.contains("tests") && !name.contains("conformance") && !name.contains("examples"))
        .collect();
    assert_eq!(asking, ["src/engine/gate.rs"]);
}
