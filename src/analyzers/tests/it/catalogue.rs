//! Every case of `faults/`: what it expects stands in its first lines. A twin expects nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use opsward_analyzers::Report;

use crate::made::report_of;

/// Other words for every name of the catalogue's world. Nothing may depend on the old ones.
const RENAMED: [(&str, &str); 15] = [
    ("cart", "quux"),
    ("shop", "zone-b"),
    ("redis", "vessel"),
    ("ledger", "plugh"),
    ("nightly", "xyzzy"),
    ("gatekeep", "warden"),
    ("guard", "tower"),
    ("agent", "snoop"),
    ("worker-", "m0-"),
    ("registry.example.com", "hub.test:5000"),
    ("6d5f7c9b84", "5c4e6b8a73"),
    ("79b6d8f4c5", "68a5c7e3b4"),
    ("compute", "ration"),
    ("compte", "raton"),
    ("edge", "verge"),
];

struct Case {
    name: String,
    text: String,
    expected: Vec<Expected>,
}

#[derive(Debug, PartialEq)]
struct Expected {
    rule: String,
    root: String,
    owner: Option<String>,
    action: Option<String>,
}

fn cases() -> Vec<Case> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/faults");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().trim_end_matches(".yaml").to_owned();
            Case { name, expected: expected(&text), text }
        })
        .collect()
}

fn expected(text: &str) -> Vec<Expected> {
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# expect: ")).collect();
    assert!(!lines.is_empty(), "a case says what it expects");
    lines
        .into_iter()
        .filter(|line| *line != "nothing")
        .map(|line| {
            let mut parts = line.split(" | ").map(str::to_owned);
            Expected {
                rule: parts.next().unwrap(),
                root: parts.next().unwrap(),
                owner: parts.next(),
                action: parts.next(),
            }
        })
        .collect()
}

/// What was found, in the words of the expectation; worst first.
fn found(report: &Report) -> Vec<(String, String)> {
    report.findings.iter().map(|finding| (finding.rule.to_owned(), finding.object.to_string())).collect()
}

fn meets(report: &Report, want: &Expected) -> bool {
    report.findings.iter().any(|finding| {
        let owner = finding.owner.as_ref().unwrap_or(&finding.object).to_string();
        let acts = |word: &String| {
            finding
                .remedies
                .iter()
                .filter_map(|remedy| remedy.action.as_ref())
                .any(|action| action.kind().facts().name == word)
        };
        finding.rule == want.rule
            && finding.object.to_string() == want.root
            && want.owner.as_ref().is_none_or(|want| *want == owner)
            && want.action.as_ref().is_none_or(acts)
    })
}

#[test]
fn faults_are_found_at_their_root_and_twins_are_left_alone() {
    let cases = cases();
    let (mut wanted, mut hits, mut extra, mut missed) = (0, 0, Vec::new(), Vec::new());
    let mut twins = 0;
    for case in &cases {
        let report = report_of(&case.text);
        assert!(
            report.not_looked_at.iter().all(|gap| !gap.reason.contains("YAML")),
            "{}: {:?}",
            case.name,
            report.not_looked_at
        );
        twins += usize::from(case.expected.is_empty());
        for want in &case.expected {
            wanted += 1;
            if meets(&report, want) {
                hits += 1
            } else {
                missed.push(format!("{}: {want:?}, found {:?}", case.name, found(&report)))
            }
        }
        let others = found(&report)
            .into_iter()
            .filter(|(rule, root)| !case.expected.iter().any(|want| want.rule == *rule && want.root == *root));
        extra.extend(others.map(|other| format!("{}: {other:?}", case.name)));
    }
    println!(
        "{wanted} faults in {} cases, {hits} found at their root; {twins} twins; {} findings beyond",
        cases.len() - twins,
        extra.len()
    );
    assert!(wanted >= 40 && twins >= 40, "the catalogue is there");
    assert!(extra.is_empty(), "{} findings that no case expects:\n{}", extra.len(), extra.join("\n"));
    assert!(missed.is_empty(), "{} of {wanted} missed:\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn every_case_has_its_twin() {
    let names: Vec<String> = cases().into_iter().map(|case| case.name).collect();
    for name in names.iter().filter(|name| !name.ends_with(".healthy")) {
        assert!(names.contains(&format!("{name}.healthy")), "{name} has no healthy twin");
    }
}

fn renamed(text: &str) -> String {
    RENAMED.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
}

#[test]
fn nothing_is_keyed_to_names() {
    for case in cases() {
        let before = report_of(&case.text);
        let after = report_of(&renamed(&case.text));
        let old: BTreeMap<String, usize> =
            count(found(&before).into_iter().map(|(rule, root)| format!("{rule} {}", renamed(&root))));
        let new = count(found(&after).into_iter().map(|(rule, root)| format!("{rule} {root}")));
        assert_eq!(old, new, "{}", case.name);
    }
}

fn count(items: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    items.fold(BTreeMap::new(), |mut counts, item| {
        *counts.entry(item).or_default() += 1;
        counts
    })
}

#[test]
fn the_same_objects_give_the_same_report() {
    for case in cases() {
        let (first, second) = (report_of(&case.text), report_of(&case.text));
        assert_eq!(serde_json::to_string(&first).unwrap(), serde_json::to_string(&second).unwrap(), "{}", case.name);
    }
}

#[test]
fn every_finding_can_be_checked_and_acted_on() {
    for case in cases() {
        let report = report_of(&case.text);
        for finding in &report.findings {
            let at = format!("{}: {}", case.name, finding.rule);
            assert!(!finding.claim.is_empty() && !finding.remedies.is_empty(), "{at}");
            assert_eq!(finding.cause_chain[0].object, finding.object, "{at}");
            assert!(!finding.evidence.is_empty(), "{at} shows nothing");
            for id in &finding.evidence {
                let cited = report.evidence.iter().filter(|evidence| evidence.id == *id).count();
                assert_eq!(cited, 1, "{at} cites {id}");
            }
            for action in finding.remedies.iter().filter_map(|remedy| remedy.action.as_ref()) {
                assert!(action.validate().is_ok(), "{at}");
            }
        }
    }
}
