//! What every log store must do, run by each from its own tests. Panics where a promise is broken;
//! never used outside tests.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a suite for tests fails loudly")]

use std::collections::BTreeMap;
use std::future::Future;

use opsward_domain::context::{CallContext, Origin};
use opsward_domain::fault::Code;
use opsward_domain::name::{Subject, Tenant, Workload, Workspace};
use opsward_domain::principal::{Kind, Principal};
use opsward_domain::telemetry::{LINE_BYTES_MAX, Level, LogLine, LogQuery};
use opsward_domain::time::{AtMs, Window};

use super::{GroupField, HITS_MAX, Logs};

/// When the suite's first line is written.
pub const START_MS: AtMs = 1_790_000_000_000;

/// A context of opsward's own principal in `tenant`.
pub fn system(tenant: &str) -> CallContext {
    let principal = Principal {
        subject: Subject::parse("system").unwrap(),
        kind: Kind::System,
        tenant: Tenant::parse(tenant).unwrap(),
        tenant_role: None,
        roles: BTreeMap::new(),
    };
    CallContext::new(principal, Origin::System)
}

/// A line of `workload` in workspace `shop`, `offset_ms` after [`START_MS`].
pub fn line(workload: &str, offset_ms: i64, text: &str) -> LogLine {
    LogLine {
        workspace: Workspace::parse("shop").unwrap(),
        workload: Workload::parse(workload).unwrap(),
        replica: 0,
        at_ms: START_MS + offset_ms,
        level: None,
        text: text.to_owned(),
    }
}

/// Everything of workspace `shop` in the suite's first hour.
pub fn everything() -> LogQuery {
    LogQuery {
        workspace: Workspace::parse("shop").unwrap(),
        workloads: Vec::new(),
        window: Window { from_ms: START_MS, to_ms: START_MS + 3_600_000 },
        level_min: None,
        text: String::new(),
        template: None,
        limit: 1_000,
    }
}

async fn texts<L: Logs>(store: &L, cx: &CallContext, query: &LogQuery) -> Vec<String> {
    store.search(cx, query).await.unwrap().into_iter().map(|hit| hit.line.text).collect()
}

/// Runs the whole suite; `fresh` makes an empty store for each part.
pub async fn all<L: Logs, F: Future<Output = L>>(fresh: impl Fn() -> F) {
    tenants_never_meet(&fresh().await).await;
    lines_come_back_as_they_were(&fresh().await).await;
    filters_hold(&fresh().await).await;
    text_means_words_and_phrases(&fresh().await).await;
    newest_are_kept(&fresh().await).await;
    histograms_are_whole(&fresh().await).await;
    groups_count(&fresh().await).await;
    templates_are_stable(&fresh().await).await;
    expiry_removes_the_old(&fresh().await).await;
    bad_questions_are_refused(&fresh().await).await;
}

/// Two tenants with equal names share nothing: lines, counts, template ids and texts.
pub async fn tenants_never_meet<L: Logs>(store: &L) {
    let (a, b) = (system("acme"), system("bravo"));
    store.ingest(&a, vec![line("web", 0, "alpha secret one"), line("web", 1, "second kind of message")]).await.unwrap();
    store.ingest(&b, vec![line("web", 2, "bravo only this")]).await.unwrap();
    assert_eq!(texts(store, &b, &everything()).await, ["bravo only this"]);
    let seen = store.templates(&b, &everything()).await.unwrap();
    assert_eq!((seen.len(), seen[0].text.as_str()), (1, "bravo only this"));
    let hits = store.search(&a, &everything()).await.unwrap();
    assert_eq!(hits.len(), 2);
    for hit in &hits {
        let query = LogQuery { template: Some(hit.template), ..everything() };
        for found in store.search(&b, &query).await.unwrap() {
            assert_eq!(found.line.text, "bravo only this", "a template id of another tenant shows nothing of it");
        }
    }
    let first_of_b = store.search(&b, &everything()).await.unwrap()[0].template;
    let first_of_a = hits[0].template;
    assert_eq!(first_of_a, first_of_b, "ids are counted by tenant, so they tell nothing about others");
    assert!(texts(store, &b, &LogQuery { text: "secret".into(), ..everything() }).await.is_empty());
    let total: u64 = store.histogram(&b, &everything(), 60_000).await.unwrap().iter().map(|(_, n)| n).sum();
    assert_eq!(total, 1);
    assert_eq!(store.group(&b, &everything(), GroupField::Workload).await.unwrap(), [("web".to_owned(), 1)]);
    assert_eq!(store.expire(&b, START_MS + 3_600_000).await.unwrap(), 1);
    assert_eq!(texts(store, &a, &everything()).await.len(), 2, "one tenant's expiry leaves the other alone");
    assert!(store.search(&system("nobody"), &everything()).await.unwrap().is_empty());
}

/// Text survives to the byte; levels are given or read from the text; overlong lines are cut and marked.
pub async fn lines_come_back_as_they_were<L: Logs>(store: &L) {
    let cx = system("acme");
    let odd = [
        "",
        " ",
        "  two  spaces and\ttabs 12  ",
        "<*> literal <*> placeholders 5 <*>",
        "unicode Ärger 42 \u{1F980}7 \u{202e}x",
        "nul\0inside 3\u{1}4 \x1b[31mred\x1b[0m",
        r#"{"level":"error","order":17,"msg":"declined for \"bob\""}"#,
        "id=550e8400-e29b-41d4-a716-446655440000 took 12.5ms from 10.0.0.1:8080 at /var/lib/x/0001.db rc=-1 0xdeadbeef",
        "a\nb",
    ];
    let lines: Vec<LogLine> = odd.iter().enumerate().map(|(i, text)| line("web", i as i64, text)).collect();
    store.ingest(&cx, lines.clone()).await.unwrap();
    let hits = store.search(&cx, &everything()).await.unwrap();
    assert_eq!(hits.iter().map(|h| h.line.text.as_str()).collect::<Vec<_>>(), odd);
    assert_eq!(hits[6].line.level, Some(Level::Error));
    assert_eq!(hits[1].line.level, None);
    for (hit, sent) in hits.iter().zip(&lines) {
        let same = (&hit.line.workload, hit.line.replica, hit.line.at_ms) == (&sent.workload, sent.replica, sent.at_ms);
        assert!(same && hit.template > 0, "{hit:?}");
    }
    let mut given = line("web", 100, "level=error but told otherwise");
    (given.level, given.replica) = (Some(Level::Debug), 7);
    let long = line("web", 101, &"x1 ".repeat(LINE_BYTES_MAX));
    store.ingest(&cx, vec![given.clone(), long]).await.unwrap();
    let hits = store.search(&cx, &LogQuery { limit: 2, ..everything() }).await.unwrap();
    assert_eq!(hits[0].line, given);
    let text = &hits[1].line.text;
    assert!(text.len() <= LINE_BYTES_MAX && text.ends_with(super::text::CUT_MARK));
}

/// Workspace, workloads, half-open window, level and template each narrow.
pub async fn filters_hold<L: Logs>(store: &L) {
    let cx = system("acme");
    let mut elsewhere = line("web", 5, "other workspace");
    elsewhere.workspace = Workspace::parse("lab").unwrap();
    let lines = vec![
        line("web", 0, "INFO start"),
        line("db", 10, "WARN slow query"),
        line("cache", 20, "ERROR lost key 7"),
        line("web", 30, "no level at all"),
        elsewhere,
    ];
    store.ingest(&cx, lines).await.unwrap();
    assert_eq!(texts(store, &cx, &everything()).await.len(), 4);
    let of = |names: &[&str]| names.iter().map(|n| Workload::parse(n).unwrap()).collect::<Vec<_>>();
    let query = LogQuery { workloads: of(&["db", "cache", "ghost"]), ..everything() };
    assert_eq!(texts(store, &cx, &query).await, ["WARN slow query", "ERROR lost key 7"]);
    assert!(texts(store, &cx, &LogQuery { workloads: of(&["ghost"]), ..everything() }).await.is_empty());
    for (from, to, expected) in [(0, 10, 1), (0, 11, 2), (10, 10, 0), (30, 31, 1), (31, 99, 0), (20, 10, 0)] {
        let window = Window { from_ms: START_MS + from, to_ms: START_MS + to };
        assert_eq!(texts(store, &cx, &LogQuery { window, ..everything() }).await.len(), expected, "[{from}, {to})");
    }
    for (min, expected) in [(Level::Trace, 4), (Level::Info, 4), (Level::Warn, 2), (Level::Error, 1), (Level::Fatal, 0)]
    {
        let query = LogQuery { level_min: Some(min), ..everything() };
        assert_eq!(texts(store, &cx, &query).await.len(), expected, "{min:?}");
    }
    let hit = store.search(&cx, &query).await.unwrap().remove(1);
    let only = LogQuery { template: Some(hit.template), ..everything() };
    assert_eq!(texts(store, &cx, &only).await, ["ERROR lost key 7"]);
    assert!(texts(store, &cx, &LogQuery { template: Some(u64::MAX), ..everything() }).await.is_empty());
    assert!(texts(store, &cx, &LogQuery { template: Some(0), ..everything() }).await.is_empty());
}

/// Words in any case, all of them; phrases in order; across constants and parameters alike.
pub async fn text_means_words_and_phrases<L: Logs>(store: &L) {
    let cx = system("acme");
    let mut lines: Vec<LogLine> = (0..50)
        .map(|i| line("web", i, &format!("request {i} to /orders/{} refused by 10.0.0.{}", i + 1000, i % 5)))
        .collect();
    lines.push(line("web", 60, "connection Refused: request timed out"));
    lines.push(line("web", 61, "user=\"Mary Ann\" logged in"));
    lines.push(line("web", 62, "Ärger with node-7 in eu-west-1"));
    store.ingest(&cx, lines).await.unwrap();
    for (text, expected) in [
        ("refused", 51),
        ("REQUEST refused", 51),
        ("\"connection refused\"", 1),
        ("\"refused connection\"", 0),
        ("\"request 17\"", 1),
        ("\"orders 1017 refused\"", 1),
        ("17", 1),
        ("10.0.0.3", 10),
        ("\"refused by 10.0.0.3\" 1008", 1),
        ("/orders/1049", 1),
        ("mary", 1),
        ("\"mary ann\" logged", 1),
        ("\"ann mary\"", 0),
        ("ärger", 1),
        ("eu-west-1", 1),
        ("west eu", 1),
        ("refuse", 0),
        ("nothing like it", 0),
        ("***", 53),
    ] {
        let query = LogQuery { text: text.into(), ..everything() };
        assert_eq!(texts(store, &cx, &query).await.len(), expected, "{text}");
        let counted: u64 = store.histogram(&cx, &query, 3_600_000).await.unwrap().iter().map(|(_, n)| n).sum();
        assert_eq!(counted, expected as u64, "histogram agrees with search for {text}");
    }
}

/// A limit keeps the newest, oldest of them first, whatever the order of arrival; ties stay in order of arrival.
pub async fn newest_are_kept<L: Logs>(store: &L) {
    let cx = system("acme");
    let late: Vec<LogLine> = (50..100).map(|i| line("web", i, &format!("n {i}"))).collect();
    let early: Vec<LogLine> = (0..50).rev().map(|i| line("web", i, &format!("n {i}"))).collect();
    store.ingest(&cx, late).await.unwrap();
    store.ingest(&cx, early).await.unwrap();
    let query = LogQuery { limit: 60, ..everything() };
    let expected: Vec<String> = (40..100).map(|i| format!("n {i}")).collect();
    assert_eq!(texts(store, &cx, &query).await, expected);
    assert!(texts(store, &cx, &LogQuery { limit: 0, ..everything() }).await.is_empty());
    let ties = ["first", "second", "third"].map(|text| line("web", 500, text));
    store.ingest(&cx, ties.to_vec()).await.unwrap();
    assert_eq!(texts(store, &cx, &LogQuery { limit: 2, ..everything() }).await, ["second", "third"]);
    let many: Vec<LogLine> = (0..HITS_MAX as i64 + 5).map(|i| line("web", 1_000 + i, "many")).collect();
    store.ingest(&cx, many).await.unwrap();
    let all = store.search(&cx, &LogQuery { limit: usize::MAX, ..everything() }).await.unwrap();
    assert_eq!(all.len(), HITS_MAX);
    assert_eq!(all.last().unwrap().line.at_ms, START_MS + 1_000 + HITS_MAX as i64 + 4);
}

/// Every bucket is there, empty ones too, the last may be short.
pub async fn histograms_are_whole<L: Logs>(store: &L) {
    let cx = system("acme");
    store.ingest(&cx, [0, 9, 10, 35, 99].map(|at| line("web", at, "tick")).to_vec()).await.unwrap();
    let window = Window { from_ms: START_MS, to_ms: START_MS + 45 };
    let query = LogQuery { window, ..everything() };
    let counts: Vec<(i64, u64)> =
        store.histogram(&cx, &query, 10).await.unwrap().into_iter().map(|(at, n)| (at - START_MS, n)).collect();
    assert_eq!(counts, [(0, 2), (10, 1), (20, 0), (30, 1), (40, 0)]);
    let empty = LogQuery { window: Window { from_ms: 5, to_ms: 5 }, ..everything() };
    assert!(store.histogram(&cx, &empty, 10).await.unwrap().is_empty());
}

/// Groups by each field, most first, then by value.
pub async fn groups_count<L: Logs>(store: &L) {
    let cx = system("acme");
    let lines =
        vec![line("web", 0, "ERROR a"), line("web", 1, "ERROR a"), line("db", 2, "WARN b"), line("cache", 3, "plain")];
    store.ingest(&cx, lines).await.unwrap();
    let group = async |by| store.group(&cx, &everything(), by).await.unwrap();
    let named = |pairs: &[(&str, u64)]| pairs.iter().map(|(v, n)| ((*v).to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(group(GroupField::Workload).await, named(&[("web", 2), ("cache", 1), ("db", 1)]));
    assert_eq!(group(GroupField::Level).await, named(&[("error", 2), ("unknown", 1), ("warn", 1)]));
    let templates = group(GroupField::Template).await;
    assert_eq!(templates.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [2, 1, 1]);
    let hit = store.search(&cx, &everything()).await.unwrap().remove(0);
    assert_eq!(templates[0].0, hit.template.to_string());
}

/// Lines that differ in numbers only share a template, whose counts, times, level and sample are right.
pub async fn templates_are_stable<L: Logs>(store: &L) {
    let cx = system("acme");
    let order = |i: i64| line("web", i * 10, &format!("order {} accepted in {} ms", 100 + i, i * 3));
    store.ingest(&cx, (0..20).map(order).collect()).await.unwrap();
    let id = store.search(&cx, &everything()).await.unwrap()[0].template;
    let mut lines: Vec<LogLine> = (20..30).map(order).collect();
    lines.push(line("db", 5, "ERROR checkpoint failed"));
    lines.push(line("db", 6, "order 7 accepted in 1 ms"));
    store.ingest(&cx, lines).await.unwrap();
    let found = store.templates(&cx, &everything()).await.unwrap();
    assert_eq!(found.len(), 3, "{found:?}");
    let first = &found[0];
    assert_eq!((first.template, first.count, first.workload.as_str()), (id, 30, "web"));
    assert_eq!((first.first_ms, first.last_ms), (START_MS, START_MS + 290));
    assert_eq!(first.text, "order <*> accepted in <*> ms");
    assert_eq!(first.sample, "order 129 accepted in 87 ms");
    assert_eq!(first.level, None);
    let db: Vec<_> = found.iter().filter(|entry| entry.workload.as_str() == "db").collect();
    assert!(db.iter().any(|entry| entry.template == id && entry.count == 1));
    assert!(db.iter().any(|entry| entry.level == Some(Level::Error) && entry.sample == "ERROR checkpoint failed"));
    let hit = store.search(&cx, &LogQuery { limit: 1, ..everything() }).await.unwrap().remove(0);
    assert_eq!(hit.params, ["129", "87"]);
    assert_eq!(store.templates(&cx, &LogQuery { limit: 1, ..everything() }).await.unwrap().len(), 1);
}

/// Expiry removes what is older, says how much, and keeps template ids taken.
pub async fn expiry_removes_the_old<L: Logs>(store: &L) {
    let cx = system("acme");
    let lines = vec![line("web", 0, "old words"), line("web", 10, "border words"), line("web", 20, "new words")];
    store.ingest(&cx, lines).await.unwrap();
    let old = store.search(&cx, &everything()).await.unwrap()[0].template;
    assert_eq!(store.expire(&cx, START_MS + 10).await.unwrap(), 1);
    assert_eq!(store.expire(&cx, START_MS + 10).await.unwrap(), 0);
    assert_eq!(texts(store, &cx, &everything()).await, ["border words", "new words"]);
    store.ingest(&cx, vec![line("web", 30, "an entirely different sentence came")]).await.unwrap();
    let hit = store.search(&cx, &LogQuery { limit: 1, ..everything() }).await.unwrap().remove(0);
    assert_ne!(hit.template, old);
    assert_eq!(store.expire(&cx, START_MS + 1_000).await.unwrap(), 3);
    assert!(texts(store, &cx, &everything()).await.is_empty());
}

/// Impossible questions get a fault that says why.
pub async fn bad_questions_are_refused<L: Logs>(store: &L) {
    let cx = system("acme");
    store.ingest(&cx, Vec::new()).await.unwrap();
    for bucket_ms in [0, -5] {
        assert_eq!(store.histogram(&cx, &everything(), bucket_ms).await.unwrap_err().code, Code::InvalidInput);
    }
    assert_eq!(store.histogram(&cx, &everything(), 1).await.unwrap_err().code, Code::TooMany);
    let wide = LogQuery { window: Window { from_ms: i64::MIN, to_ms: i64::MAX }, ..everything() };
    assert_eq!(store.histogram(&cx, &wide, i64::MAX).await.unwrap(), [(i64::MIN, 0)]);
    assert_eq!(store.histogram(&cx, &wide, 1).await.unwrap_err().code, Code::TooMany);
    assert!(store.search(&cx, &wide).await.unwrap().is_empty());
    let text = "a ".repeat(super::text::WORDS_MAX + 1);
    assert_eq!(store.search(&cx, &LogQuery { text, ..everything() }).await.unwrap_err().code, Code::TooMany);
}
