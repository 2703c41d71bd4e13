//! The miner's promises: exact reconstruction, stable ids, bounds, and accuracy on labelled logs.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn render(miner: &Miner, mined: Mined, line: &str) -> String {
    let params = miner.spans().iter().map(|(start, end)| &line[*start as usize..*end as usize]);
    miner.template(mined.template).unwrap().shapes[usize::from(mined.shape)].render(params)
}

fn text(miner: &Miner, id: u64) -> String {
    miner.template(id).unwrap().text()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_line_comes_back(lines in prop::collection::vec("(\\PC|[ -~]|[0-9a-f]{1,9}|[=:,\"\\[\\]{} ]|[a-c]{1,3} ){0,40}", 1..40)) {
        let mut miner = Miner::new(Limits { templates_max: 20, ..Limits::default() });
        for line in lines.iter().chain(&lines) {
            let mined = miner.mine(line);
            prop_assert_eq!(&render(&miner, mined, line), line);
        }
        let mut again = Miner::new(Limits::default());
        miner.take_changes().into_iter().for_each(|change| again.apply(change));
        let mut copy = Miner::new(Limits::default());
        miner.all().for_each(|change| copy.apply(change));
        for (id, cluster) in miner.templates() {
            prop_assert_eq!(&cluster.shapes, &again.template(id).unwrap().shapes);
            prop_assert_eq!(&cluster.slots, &again.template(id).unwrap().slots);
            prop_assert_eq!(&cluster.shapes, &copy.template(id).unwrap().shapes);
        }
    }
}

#[test]
fn values_are_cut_out_and_words_stay() {
    for (lines, expected) in [
        (["order 17 accepted in 12.5ms", "order 18 accepted in 3s"], "order <*> accepted in <*>"),
        (["GET /a/b.html 200 10.0.0.1:80", "GET /c/d.html 404 10.0.0.2:9"], "GET <*> <*> <*>:<*>"),
        (["id=550e8400-e29b-41d4-a716-446655440000 ok", "id=0xdeadbeef ok"], "id=<*> ok"),
        (["job nightly-a3 done, rc=-1", "job nightly-b2 done, rc=0"], "job <*> done, rc=<*>"),
        (
            [
                r#"{"user":"bob","level":"info","msg":"logged in"}"#,
                r#"{"user":"a \" b","level":"info","msg":"logged in"}"#,
            ],
            r#"{"user":"<*>","level":"info","msg":"logged in"}"#,
        ),
        (
            ["level=info msg=\"pool ready\" took=\"1 s\"", "level=info msg=\"pool ready\" took=\"2 s\""],
            "level=info msg=\"pool ready\" took=\"<*>\"",
        ),
    ] {
        let mut miner = Miner::new(Limits::default());
        let ids = lines.map(|line| miner.mine(line).template);
        assert_eq!(ids[0], ids[1], "{lines:?}");
        assert_eq!(text(&miner, ids[1]), expected);
    }
    let mut miner = Miner::new(Limits::default());
    let opened = miner.mine("session opened for user root").template;
    assert_ne!(opened, miner.mine("session closed for user root").template);
}

#[test]
fn ids_stay_while_templates_become_general() {
    let mut miner = Miner::new(Limits::default());
    let first = "the worker named anna took over the queue of payments now";
    let before = miner.mine(first);
    let kept: Vec<String> = miner.spans().iter().map(|(s, e)| first[*s as usize..*e as usize].to_owned()).collect();
    let after = miner.mine("the worker named berta took over the queue of payments now");
    assert_eq!(before.template, after.template);
    assert_ne!(before.shape, after.shape);
    let template = miner.template(before.template).unwrap();
    assert_eq!(template.text(), "the worker named <*> took over the queue of payments now");
    let old = &template.shapes[usize::from(before.shape)];
    assert_eq!(old.render(kept.iter().map(String::as_str)), first, "an old line is rendered by its old shape");
    assert_eq!(miner.mine(first), after, "the same line now has the parameter");
}

#[test]
fn memory_is_bounded_and_ids_are_not_reused() {
    let limits = Limits { templates_max: 50, bytes_max: 100_000 };
    let mut miner = Miner::new(limits);
    let letters = |n: usize| (0..5).map(|i| char::from(b'a' + (n >> (i * 2) & 3) as u8)).collect::<String>();
    for n in 0..1_000 {
        let line = format!("{} {} {}", letters(n), letters(n * 7), letters(n * 13));
        let mined = miner.mine(&line);
        assert_eq!(render(&miner, mined, &line), line);
    }
    assert!(miner.templates().count() <= 51 && miner.is_crowded());
    let catch_all = miner.mine("never seen before at all");
    assert_eq!((text(&miner, catch_all.template).as_str(), catch_all.shape), ("<*>", 0));
    let highest = miner.templates().map(|(id, _)| id).max().unwrap();
    miner.retain(|_| false);
    assert!(miner.mine("a fresh start").template > highest);
    let mut copy = Miner::new(Limits::default());
    miner.retain(|_| false);
    miner.all().for_each(|change| copy.apply(change));
    assert!(copy.mine("a fresh start").template > highest + 1);
    let mut many = Miner::new(Limits::default());
    for n in 0..2_000 {
        let line = format!("{} padded", " ".repeat(n));
        let mined = many.mine(&line);
        assert_eq!(render(&many, mined, &line), line);
    }
    assert!(many.templates().all(|(_, cluster)| cluster.shapes.len() <= cluster::SHAPES_MAX + 1));
}

#[test]
fn damaged_changes_are_left_out() {
    let mut miner = Miner::new(Limits::default());
    miner.apply(Change::Shape { id: 5, shape: Arc::new(Shape::whole()) });
    miner.apply(Change::Template { id: 0, key: 0, slots: Vec::new() });
    miner.apply(Change::Template { id: 7, key: 0, slots: Vec::new() });
    miner.apply(Change::Template { id: 3, key: 0, slots: Vec::new() });
    assert_eq!(miner.templates().map(|(id, _)| id).collect::<Vec<_>>(), [7]);
    assert_eq!(miner.mine("x").template, 8);
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
    rows
}

/// Grouping accuracy by line, and its F1 over templates.
fn accuracy(found: &[u64], truth: &[&str]) -> (f64, f64) {
    let mut found_sets: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut true_sets: HashMap<&str, Vec<usize>> = HashMap::new();
    for (line, (id, label)) in found.iter().zip(truth).enumerate() {
        found_sets.entry(*id).or_default().push(line);
        true_sets.entry(label).or_default().push(line);
    }
    let wanted: HashSet<&Vec<usize>> = true_sets.values().collect();
    let right: Vec<&Vec<usize>> = found_sets.values().filter(|lines| wanted.contains(lines)).collect();
    let lines = right.iter().map(|lines| lines.len()).sum::<usize>() as f64;
    let f1 = 2.0 * right.len() as f64 / (found_sets.len() + true_sets.len()) as f64;
    (lines / truth.len() as f64, f1)
}

#[test]
fn accuracy_on_labelled_logs() {
    let shared = std::env::var_os("OPSWARD_SHARED").map(PathBuf::from);
    let roots = [PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../../shared")];
    let root = shared.into_iter().chain(roots).map(|root| root.join("data/loghub-2k")).find(|root| root.is_dir());
    let Some(root) = root else {
        assert!(std::env::var_os("CI").is_none(), "the labelled logs are missing: set OPSWARD_SHARED");
        println!("skipped: no labelled logs here, set OPSWARD_SHARED to the folder that has data/loghub-2k");
        return;
    };
    let mut systems: Vec<String> =
        std::fs::read_dir(root.clone()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    systems.sort();
    let (mut sum_ga, mut sum_fga) = (0.0, 0.0);
    for system in &systems {
        let file = |suffix: &str| root.join(system).join(format!("{system}_2k.log_structured{suffix}.csv"));
        let path = Some(file("_corrected")).filter(|path| path.exists()).unwrap_or_else(|| file(""));
        let rows = csv(&std::fs::read_to_string(path).unwrap());
        let column = |name: &str| rows[0].iter().position(|c| c == name).unwrap();
        let (content, label) = (column("Content"), column("EventTemplate"));
        let mut miner = Miner::new(Limits::default());
        let mut found = Vec::new();
        for row in &rows[1..] {
            let mined = miner.mine(&row[content]);
            assert_eq!(render(&miner, mined, &row[content]), row[content]);
            found.push(mined.template);
        }
        let truth: Vec<&str> = rows[1..].iter().map(|row| row[label].as_str()).collect();
        let (ga, fga) = accuracy(&found, &truth);
        println!("{system:12} GA {ga:.3} FGA {fga:.3}");
        sum_ga += ga;
        sum_fga += fga;
    }
    let (ga, fga) = (sum_ga / systems.len() as f64, sum_fga / systems.len() as f64);
    println!("{:12} GA {ga:.3} FGA {fga:.3} over {} systems", "mean", systems.len());
    assert!(!systems.is_empty() && ga >= 0.85 && fga >= 0.80, "GA {ga:.3}, FGA {fga:.3}");
}
