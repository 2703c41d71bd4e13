//! The miner as its callers see it: how accurate it is on labelled logs, that it does so by form and not by
//! vocabulary, that headers are found, and that no line is too odd for it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[allow(dead_code, missing_docs, unreachable_pub)]
mod score;

use opsward_templates::format::Format;
use opsward_templates::{Limits, Miner, WhenFull};
use score::{Labelled, Score};

/// The text of each line's template once all were mined.
fn texts(lines: &[String]) -> Vec<String> {
    let mut miner = Miner::new(Limits::default());
    for line in lines {
        miner.mine(line);
    }
    let text = |line: &String| {
        let explained = miner.explain(line);
        assert_eq!(explained.line(), *line);
        miner.template(explained.template).unwrap().text()
    };
    lines.iter().map(text).collect()
}

/// The labelled logs, unless they are not here; on the build server they must be.
fn labelled() -> Vec<Labelled> {
    let Some(root) = score::root() else {
        println!("skipped: no labelled logs here, set OPSWARD_SHARED to the folder that has data/loghub-2k");
        return Vec::new();
    };
    score::systems(&root)
}

fn mean(scores: &[Score]) -> Score {
    let mean = |value: fn(&Score) -> f64| scores.iter().map(value).sum::<f64>() / scores.len() as f64;
    Score { ga: mean(|s| s.ga), pa: mean(|s| s.pa), fga: mean(|s| s.fga), fta: mean(|s| s.fta) }
}

#[test]
fn labelled_logs_are_grouped_and_named_as_people_would() {
    let systems = labelled();
    if systems.is_empty() {
        return;
    }
    let scores: Vec<Score> = systems.iter().map(|one| score::score(&texts(&one.contents), &one.truth)).collect();
    for (one, score) in systems.iter().zip(&scores) {
        println!("{:12} {score:.3?}", one.system);
        assert!(score.ga >= 0.68 && score.fga >= 0.78, "{}: {score:?}", one.system);
    }
    let mean = mean(&scores);
    assert!(mean.ga >= 0.94 && mean.fga >= 0.93 && mean.fta >= 0.80, "{mean:?}");
}

/// Words that say what form a value has: a unit, a month, a field whose text is spoken.
const FORMS: [&str; 9] = ["bytes", "seconds", "second", "minute", "minutes", "hours", "false", "level", "error"];

/// The same line with every plain word spelled backwards.
fn renamed(line: &str) -> String {
    let word = |word: &str| match word {
        _ if word.len() < 5 || FORMS.contains(&word.to_lowercase().as_str()) => word.to_owned(),
        _ => word.chars().rev().collect(),
    };
    let (mut out, mut from) = (String::new(), 0);
    let is_letter = |c: char| c.is_ascii_alphabetic();
    while let Some(at) = line[from..].find(is_letter) {
        let start = from + at;
        let end = line[start..].find(|c: char| !is_letter(c)).map_or(line.len(), |length| start + length);
        let glued = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '/' | '$'));
        let free = !glued(line[..start].chars().next_back()) && !glued(line[end..].chars().next());
        out.push_str(&line[from..start]);
        out.push_str(&if free { word(&line[start..end]) } else { line[start..end].to_owned() });
        from = end;
    }
    out + &line[from..]
}

#[test]
fn other_words_give_the_same_groups() {
    let systems = labelled();
    if systems.is_empty() {
        return;
    }
    let scores = |rename: bool| {
        let lines = |one: &Labelled| {
            one.contents.iter().map(|line| if rename { renamed(line) } else { line.clone() }).collect::<Vec<_>>()
        };
        mean(&systems.iter().map(|one| score::score(&texts(&lines(one)), &one.truth)).collect::<Vec<_>>())
    };
    let (known, unknown) = (scores(false), scores(true));
    assert!((known.ga - unknown.ga).abs() < 0.01 && (known.fga - unknown.fga).abs() < 0.01, "{known:?} {unknown:?}");
}

#[test]
fn headers_are_found_by_their_form() {
    for (line, message) in [
        ("2024-05-01 10:00:00,123 INFO  [main] com.a.B: started 5 workers", "started 5 workers"),
        ("2024-05-01T10:00:00.123Z WARN pool is low", "pool is low"),
        ("2024-05-01 10:00:00.123  WARN 17 --- [nio-1] c.a.b.C  : pool is low", "pool is low"),
        ("[2024-05-01 10:00:00] [error] child 5 left", "child 5 left"),
        ("May  1 10:00:00 host sshd[123]: Accepted key for bob", "Accepted key for bob"),
        ("<34>May  1 10:00:00 host su: failed for bob", "failed for bob"),
        ("<34>1 2024-05-01T10:00:00Z host app 17 ID47 - started", "started"),
        ("<34>1 2024-05-01T10:00:00Z host app - - [a@1 b=\"]\"][c d=\"e\"] started", "started"),
        ("05-01 10:00:00.123  1702  2395 D WindowManager: focus lost", "focus lost"),
        ("17/06/09 20:10:40 INFO storage.Block: stored 5", "stored 5"),
        ("081109 203615 148 INFO dfs.Node$Responder: 5 done", "5 done"),
        ("[05.01 10:00:00] some.exe - 10.0.0.89:443 closed", "10.0.0.89:443 closed"),
        ("1717000000 host-1 something odd", "host-1 something odd"),
        ("2024-05-01 10:00:00,123 - app.module - INFO - ready to serve", "ready to serve"),
        ("2024-05-01T10:00:00.123456789Z stdout F hello 5", "hello 5"),
        ("2024-05-01T10:00:00.123456789Z stderr P {\"msg\":\"hello 5\"}", "hello 5"),
        ("{\"log\":\"2024-05-01 10:00:00 INFO hello 5\\n\",\"stream\":\"stdout\"}", "hello 5"),
        ("{\"level\":\"info\",\"message\":\"said \\\"hi\\\" 5 times\"}", "said \"hi\" 5 times"),
        ("{\"level\":\"info\",\"n\":5}", "{\"level\":\"info\",\"n\":5}"),
        ("{\"message\": broken", "{\"message\": broken"),
        ("time=2024-05-01T10:00:00Z level=info msg=\"pool \\\"a\\\" ready\" n=5", "pool \"a\" ready"),
        ("level=info msg=ready n=5", "ready"),
        ("no header at all, at 10:00:00", "no header at all, at 10:00:00"),
        ("Started at 2024-05-01 10:00:00 by bob", "Started at 2024-05-01 10:00:00 by bob"),
        ("", ""),
        ("2024-05-01 10:00:00", ""),
    ] {
        let found = Format::Auto.message(line);
        assert!(found == message, "{line:?} gives {found:?}");
        assert_eq!(Format::Content.message(line), line);
    }
    assert_eq!(Format::parse("auto"), Some(Format::Auto));
    assert_eq!(Format::parse("Auto"), None);
    for (name, format) in Format::ALL {
        assert_eq!(Format::parse(name), Some(format));
        for odd in
            ["", "{", "<", "<34>", "[", "ä€", "\u{1b}[31m", "1", "2024-05-01 10:00:00 ä", "a=b", "msg=\"", "- - -"]
        {
            assert!(odd.ends_with(&*format.message(odd)) || format.message(odd).is_empty(), "{name} {odd:?}");
        }
    }
}

#[test]
fn raw_files_of_known_systems_give_up_their_messages() {
    let (mut right, mut all) = (0, 0);
    for one in labelled() {
        let text = String::from_utf8_lossy(&std::fs::read(&one.log).unwrap()).into_owned();
        for (line, content) in text.lines().zip(&one.contents) {
            right += usize::from(Format::Auto.message(line).trim() == content.trim());
            all += 1;
        }
    }
    assert!(all == 0 || right * 100 >= all * 85, "{right} of {all}");
}

#[test]
fn hostile_lines_are_bounded_in_time_and_memory() {
    let limits = Limits { templates_max: 1_000, bytes_max: 4 << 20, when_full: WhenFull::Forget };
    let mut miner = Miner::new(limits);
    let brackets = "[({".repeat(3_000_000);
    let blanks = " ".repeat(10_000_000);
    for line in [brackets.as_str(), &blanks, "\0\u{1}\u{2}\r\t", "\u{1b}]0;title\u{7}x", "\u{202e}abc"] {
        let mined = miner.mine(line);
        assert!(mined.template > 0);
        assert_eq!(miner.explain(line).line(), line);
    }
    for n in 0_u64..20_000 {
        let letters = |n: u64| (0..6).map(|i| char::from(b'a' + (n >> (i * 4) & 15) as u8)).collect::<String>();
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        miner.mine(&format!(
            "{} {} {} {}",
            letters(mixed),
            letters(mixed >> 9),
            letters(mixed >> 18),
            letters(mixed >> 27)
        ));
    }
    let bytes: usize = miner.templates().map(|(_, cluster)| cluster.cost()).sum();
    assert!(miner.templates().count() <= 1_000 && bytes <= 5 << 20, "{} {bytes}", miner.templates().count());
}
