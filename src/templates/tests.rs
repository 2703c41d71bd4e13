//! The miner's promises: exact reconstruction, stable ids, evidence, bounds.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::shape::Shape;

fn render(miner: &Miner, mined: Mined, line: &str) -> String {
    let params = miner.spans().iter().map(|(start, end)| &line[*start as usize..*end as usize]);
    miner.template(mined.template).unwrap().shapes[usize::from(mined.shape)].render(params)
}

fn text(miner: &Miner, number: u64) -> String {
    miner.template(miner.resolve(number)).unwrap().text()
}

/// The texts of the lines' templates once all were mined.
fn texts(lines: &[&str]) -> Vec<String> {
    let mut miner = Miner::new(Limits::default());
    for line in lines {
        let mined = miner.mine(line);
        assert_eq!(render(&miner, mined, line), *line);
    }
    let numbers: Vec<u64> = lines.iter().map(|line| miner.explain(line).template).collect();
    numbers.into_iter().map(|number| text(&miner, number)).collect()
}

const LINE: &str = "(\\PC|[ -~]|[0-9a-f]{1,9}|[=:,\"'#()\\[\\]{} ]|\\.{1,3}|[0-9]{2}:[0-9]{2}|(<\\*>)|[a-c]{1,3} | (ms|KB)| [a-z]-?[0-9]{1,2}){0,40}";

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_line_comes_back(lines in prop::collection::vec(LINE, 1..40), forget: bool) {
        let when_full = if forget { WhenFull::Forget } else { WhenFull::Lump };
        let mut miner = Miner::new(Limits { templates_max: 20, when_full, ..Limits::default() });
        for line in lines.iter().chain(&lines) {
            let mined = miner.mine(line);
            prop_assert_eq!(&render(&miner, mined, line), line);
        }
        for line in &lines {
            let explained = miner.explain(line);
            prop_assert_eq!(&explained.line(), line);
            prop_assert_eq!(explained.layout.matches(explain::MARK).count(), explained.params.len());
        }
    }

    #[test]
    fn changes_make_an_equal_miner(lines in prop::collection::vec(LINE, 1..40)) {
        let mut miner = Miner::new(Limits { templates_max: 20, ..Limits::default() });
        for line in &lines {
            miner.mine(line);
        }
        let mut again = Miner::new(Limits::default());
        miner.take_changes().into_iter().for_each(|change| again.apply(change));
        let mut copy = Miner::new(Limits::default());
        miner.all().for_each(|change| copy.apply(change));
        for (number, cluster) in miner.templates() {
            for other in [&again, &copy] {
                let same = other.template(number).unwrap();
                prop_assert_eq!((&cluster.shapes, &cluster.slots), (&same.shapes, &same.slots));
                prop_assert_eq!((cluster.merged, cluster.origin), (same.merged, same.origin));
                prop_assert_eq!(miner.resolve(number), other.resolve(number));
            }
        }
    }

    #[test]
    fn the_same_lines_give_the_same_templates(lines in prop::collection::vec(LINE, 1..30)) {
        let run = || {
            let mut miner = Miner::new(Limits { templates_max: 12, when_full: WhenFull::Forget, ..Limits::default() });
            let mined: Vec<Mined> = lines.iter().map(|line| miner.mine(line)).collect();
            (mined, miner.take_changes())
        };
        prop_assert_eq!(run(), run());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_word_lies_in_text_and_parameter(lines in prop::collection::vec(LINE, 1..20)) {
        let mut miner = Miner::new(Limits::default());
        for line in lines.iter().chain(&lines) {
            miner.mine(line);
            let inside = |at: u32| {
                let (before, after) = line.split_at(at as usize);
                let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
                letter(before.chars().next_back()) && letter(after.chars().next())
            };
            // A store finds words in templates and in parameters, each by itself.
            for (start, end) in miner.spans() {
                prop_assert!(!inside(*start) && !inside(*end), "{line:?} {start} {end}");
            }
        }
    }
}

#[test]
fn values_are_cut_out_and_words_stay() {
    for (lines, expected) in [
        (["order 17 accepted in 12.5ms", "order 18 accepted in 3s"], "order <*> accepted in <*>"),
        (["order 17 took 12.5 ms", "order 18 took 3 ms"], "order <*> took <*> ms"),
        (["order 17 took 12.5 ms", "order 18 took 3 sec"], "order <*> took <*>"),
        (["sent 850 bytes (0.8 KB) to peer", "sent 12 bytes to peer"], "sent <*> to peer"),
        (["GET /a/b.html 200 10.0.0.1:80", "GET /c/d.html 404 10.0.0.2:9"], "GET <*> <*> <*>:<*>"),
        (["id=550e8400-e29b-41d4-a716-446655440000 ok", "id=0xdeadbeef ok"], "id=<*> ok"),
        (["job nightly-a3 done, rc=-1", "job nightly-b2 done, rc=0"], "job <*> done, rc=<*>"),
        (["node-17 is up", "node-4 is up"], "node-<*> is up"),
        (["node-17 is up", "rack-4 is up"], "<*> is up"),
        (["seen 00:11:43:e3:ba:c3 on eth1", "seen fe80::1ff:fe23:4567:890a on eth1"], "seen <*> on eth1"),
        (["at Fri Jul 01 08:16:53 PDT 2005 by cron", "at Jul  1 08:16:53 by cron"], "at <*> by cron"),
        (["since 2024-05-01T10:00:00.5Z", "since 2024-05-01T10:00:00+02:00"], "since <*>"),
        (["lost for 00:01:12 now", "lost for 10:59:00 now"], "lost for <*>:<*>:<*> now"),
        (["fetch http://a.b/c?d=1, again", "fetch http://x:80/, again"], "fetch http://<*>, again"),
        (["open C:\\a\\b.txt now", "open D:\\x now"], "open <*> now"),
        (["missing names a1 b2 c3", "missing names a1 b2 c3 d4 e5"], "missing names <*>"),
        (["codes 1 2 3", "codes 4 5 6"], "codes <*> <*> <*>"),
        (["codes 1 2 3", "codes 4"], "codes <*>"),
        (["flag enable.......0", "flag enable.......1"], "flag enable.......<*>"),
        (["peer 1.2.3.4 (a.b.c) left", "peer 1.2.3.4 () left"], "peer <*> (<*>) left"),
        (["\u{1b}[31merror\u{1b}[0m at 5", "\u{1b}[31merror\u{1b}[0m at 6"], "\u{1b}[31merror\u{1b}[0m at <*>"),
        (["mark <*> stays 1", "mark <*> stays 2"], "mark <<*>> stays <*>"),
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
        let found = texts(&lines);
        assert_eq!(found, [expected, expected], "{lines:?}");
    }
}

#[test]
fn telling_words_keep_templates_apart() {
    for lines in [
        ["session opened for user root", "session closed for user root"],
        ["link is up", "link is down"],
        ["block 7 stored as bytes in memory", "block 7 stored as values in memory"],
        ["force=true on display 0", "force=false on display 0"],
        ["data address: 17", "data address space: 17"],
        ["connection refused", "connection reset"],
    ] {
        let found = texts(&lines);
        assert_ne!(found[0], found[1], "{lines:?}");
    }
}

#[test]
fn enough_different_words_make_a_parameter() {
    let names = ["anna", "berta", "carl", "dora", "emil", "frieda"];
    let lines = names.map(|name| format!("the worker named {name} took over the queue of payments"));
    let mut miner = Miner::new(Limits::default());
    let numbers: Vec<u64> = lines.iter().map(|line| miner.mine(line).template).collect();
    assert_eq!(numbers[..3], [1, 2, 3], "three are not enough");
    assert_eq!(numbers[3..], [1, 1, 1], "the fourth shows it");
    let merged: Vec<Change> =
        miner.take_changes().into_iter().filter(|change| matches!(change, Change::Merged { .. })).collect();
    assert_eq!(merged, [Change::Merged { id: 2, into: 1 }, Change::Merged { id: 3, into: 1 }]);
    assert!(numbers.iter().all(|number| miner.resolve(*number) == 1 && miner.id(*number) == miner.id(1)));
    let explained = miner.explain(&lines[1]);
    assert_eq!((explained.template, explained.params.as_slice()), (1, ["berta"].as_slice()));
    assert_eq!(text(&miner, 2), "the worker named <*> took over the queue of payments");
    let states = ["NEW", "READY", "RUNNING", "DONE"];
    let lines: Vec<String> =
        states.windows(2).map(|two| format!("task 5 went from {} to {}", two[0], two[1])).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert!(texts(&lines).iter().all(|text| text == "task <*> went from <*> to <*>"));
    let users = ["login failed for \"bob\"", "login failed for \"eve\"", "login failed for \"tom\""];
    assert!(texts(&users).iter().all(|text| text == "login failed for \"<*>\""));
}

#[test]
fn ids_are_by_content_and_stay() {
    let mut one = Miner::new(Limits::default());
    let mut other = Miner::new(Limits::default());
    other.mine("something else came first");
    let (a, b) = (one.mine("worker-1 took 5 ms").template, other.mine("worker-7 took  9 ms").template);
    assert_ne!(a, b, "numbers are counted");
    let id = one.id(a);
    assert_eq!(id, other.id(b), "ids are not");
    let later = one.mine("rack-1 took 5 sec").template;
    assert_eq!((later, one.id(later)), (a, id), "a template that becomes more general keeps its id");
    assert_eq!(text(&one, a), "<*> took <*>");
    assert_eq!((one.id(99), one.resolve(99)), (None, 99));
}

#[test]
fn old_lines_keep_their_shape() {
    let mut miner = Miner::new(Limits::default());
    let first = "copied 5 KB of data";
    let before = miner.mine(first);
    let kept: Vec<String> = miner.spans().iter().map(|(s, e)| first[*s as usize..*e as usize].to_owned()).collect();
    assert_eq!(kept, ["5"]);
    let after = miner.mine("copied 5 MB of data");
    assert_eq!(before.template, after.template);
    assert_ne!(before.shape, after.shape);
    let old = &miner.template(before.template).unwrap().shapes[usize::from(before.shape)];
    assert_eq!(old.render(kept.iter().map(String::as_str)), first, "an old line is rendered by its old shape");
    assert_eq!(miner.mine(first), after, "the same line now has the unit in its parameter");
}

/// A line of five-letter words that depends on `n` in each word.
fn wordy(n: usize) -> String {
    let letters = |n: usize| (0..5).map(|i| char::from(b'a' + (n >> (i * 2) & 3) as u8)).collect::<String>();
    format!("{} {} {}", letters(n), letters(n * 7), letters(n * 13))
}

#[test]
fn a_full_miner_lumps_and_reuses_no_number() {
    let limits = Limits { templates_max: 50, bytes_max: 100_000, when_full: WhenFull::Lump };
    let mut miner = Miner::new(limits);
    for n in 0..1_000 {
        let line = wordy(n);
        let mined = miner.mine(&line);
        assert_eq!(render(&miner, mined, &line), line);
    }
    assert!(miner.templates().count() <= 51 && miner.is_crowded());
    let unknown = "never seen before at all";
    let lump = miner.mine(unknown);
    assert_eq!((text(&miner, lump.template).as_str(), lump.shape), ("<*>", 0));
    let explained = miner.explain(unknown);
    assert_eq!((explained.template, explained.params.as_slice()), (lump.template, [unknown].as_slice()));
    let highest = miner.templates().map(|(number, _)| number).max().unwrap();
    miner.retain(|_| false);
    assert!(miner.mine("a fresh start").template > highest);
    let mut copy = Miner::new(Limits::default());
    miner.retain(|_| false);
    miner.all().for_each(|change| copy.apply(change));
    assert!(copy.mine("a fresh start").template > highest + 1);
}

#[test]
fn a_full_miner_forgets_what_was_not_used() {
    let limits = Limits { templates_max: 50, bytes_max: 1 << 20, when_full: WhenFull::Forget };
    let mut miner = Miner::new(limits);
    let kept = miner.mine("heartbeat 1 of the scheduler").template;
    for n in 0..1_000 {
        miner.mine(&wordy(n));
        assert_eq!(miner.mine("heartbeat 2 of the scheduler").template, kept);
        assert!(miner.templates().count() <= 50);
    }
    let gone = |change: &Change| matches!(change, Change::Forgotten { id } if *id != kept);
    assert!(miner.take_changes().iter().filter(|change| gone(change)).count() > 100);
}

#[test]
fn merged_templates_are_kept_with_what_they_lead_to() {
    let mut miner = Miner::new(Limits::default());
    for name in ["anna", "berta", "carl", "dora"] {
        miner.mine(&format!("the worker named {name} took over the queue of payments"));
    }
    miner.retain(|number| number == 3);
    assert_eq!(miner.templates().map(|(number, _)| number).collect::<Vec<_>>(), [1, 3]);
    assert_eq!((miner.resolve(3), miner.resolve(2)), (1, 2));
    assert_eq!(miner.mine("the worker named emil took over the queue of payments").template, 1);
}

#[test]
fn shapes_and_words_are_bounded() {
    let mut many = Miner::new(Limits::default());
    for n in 0..2_000 {
        let line = format!("{} padded", " ".repeat(n));
        let mined = many.mine(&line);
        assert_eq!(render(&many, mined, &line), line);
    }
    assert!(many.templates().all(|(_, cluster)| cluster.shapes.len() <= cluster::SHAPES_MAX + 1));
    for line in
        ["[({".repeat(100_000), "a ".repeat(100_000), "x1 ".repeat(100_000), "ä€".repeat(50_000), "\"".repeat(9_999)]
    {
        let mined = many.mine(&line);
        assert_eq!(render(&many, mined, &line), line);
        assert!(many.scan.words.len() <= scan::WORDS_MAX, "{}", &line[..3]);
        assert_eq!(many.explain(&line).line(), line);
    }
}

#[test]
fn damaged_changes_are_left_out() {
    let template = |id| Change::Template { id, keys: [0; 3], origin: 0, slots: Vec::new() };
    let mut miner = Miner::new(Limits::default());
    miner.apply(Change::Shape { id: 5, shape: Arc::new(Shape::whole()) });
    miner.apply(Change::Merged { id: 5, into: 9 });
    miner.apply(template(0));
    miner.apply(template(7));
    miner.apply(template(3));
    miner.apply(Change::Merged { id: 7, into: 7 });
    miner.apply(Change::Forgotten { id: 70 });
    assert_eq!(miner.templates().map(|(number, _)| number).collect::<Vec<_>>(), [7]);
    assert_eq!(miner.resolve(7), 7);
    assert_eq!(miner.mine("x").template, 8);
}

#[test]
fn records_of_older_versions_are_read() {
    let old = r#"[{"Template":{"id":3,"key":77,"slots":[{"Word":"took"},"Any",{"Doubtful":"ms1"}]}},
        {"Shape":{"id":3,"shape":{"words":3,"cut":[1],"literals":["took "," ms1"]}}},{"Next":{"id":9}}]"#;
    let changes: Vec<Change> = serde_json::from_str(old).unwrap();
    let mut miner = Miner::new(Limits::default());
    changes.into_iter().for_each(|change| miner.apply(change));
    let template = miner.template(3).unwrap();
    assert_eq!((template.text().as_str(), template.shapes[1].render(["5"]).as_str()), ("took <*> ms1", "took 5 ms1"));
    assert_eq!(miner.mine("took 5 ms1").template, 9, "old templates are rendered, new lines get new ones");
}
