//! Generated cases: each kind of cause, its healthy twin, and what must not confuse the diagnosis.

use crate::case::{Alert, Call, Case, Change, ChangeKind, Component, ComponentId, Level, LogLine, Series, TimeMs};
use crate::diagnosis::{Kind, RemedyKind, Verdict};
use crate::{Options, diagnose};

const MINUTE: TimeMs = 60_000;
const START: TimeMs = 1_700_000_000_000;

/// A case of some services in a chain, each calling the next, with quiet metrics of two hours.
struct Made {
    case: Case,
    noise: u64,
}

impl Made {
    fn chain(names: &[&str]) -> Self {
        let components =
            names.iter().map(|name| Component { name: (*name).to_owned(), service: None, node: None }).collect();
        let calls =
            (1..names.len() as u32).map(|id| Call { caller: ComponentId(id - 1), callee: ComponentId(id) }).collect();
        Self { case: Case { components, calls, ..Case::default() }, noise: 7 }
    }

    fn random(&mut self) -> f64 {
        self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.noise >> 33) as f64 / f64::from(1_u32 << 31)
    }

    /// A series around `usual`, and around `then` from minute 90 on.
    fn series(&mut self, id: u32, name: &str, usual: f64, then: f64) {
        let points = (0..120)
            .map(|minute| {
                let middle = if minute >= 90 { then } else { usual };
                (START + minute * MINUTE, middle * (0.95 + 0.1 * self.random()))
            })
            .collect();
        self.case.metrics.push(Series {
            source: "m.csv".to_owned(),
            component: ComponentId(id),
            name: name.to_owned(),
            unit: String::new(),
            points,
        });
    }

    fn alert(&mut self, id: u32, metric: &str) {
        self.case.alert = Some(Alert {
            component: Some(ComponentId(id)),
            metric: metric.to_owned(),
            fired_ms: Some(START + 93 * MINUTE),
            threshold: None,
            observed: None,
            summary: String::new(),
        });
    }

    fn say(&mut self, id: u32, minutes: std::ops::Range<i64>, level: Level, message: &str) {
        for minute in minutes {
            self.case.logs.push(LogLine {
                at_ms: START + minute * MINUTE,
                component: ComponentId(id),
                level,
                message: message.to_owned(),
                trace: None,
                source: (0, minute as u32 + 1),
            });
        }
        self.case.logs.sort_by_key(|line| line.at_ms);
    }

    fn change(&mut self, kind: ChangeKind, id: &str, minute: i64, component: Option<u32>, file: &str, diff: &str) {
        self.case.changes.push(Change {
            id: id.to_owned(),
            kind,
            at_ms: START + minute * MINUTE,
            component: component.map(ComponentId),
            commit: (kind == ChangeKind::Deploy).then(|| id.to_owned()),
            summary: "refactor: tidy".to_owned(),
            files: vec![file.to_owned()],
            diff: diff.to_owned(),
            author: "a".to_owned(),
            source: "changes.json".to_owned(),
        });
    }
}

#[test]
fn nothing_is_unknown_and_quiet_is_healthy() {
    let empty = diagnose(&Case::default(), &Options::default());
    assert_eq!(empty.verdict, Verdict::Unknown);
    let mut made = Made::chain(&["front", "orders", "stock"]);
    for id in 0..3 {
        made.series(id, "request_latency_p95_ms", 40.0, 40.0);
        made.series(id, "error_rate", 0.01, 0.01);
    }
    made.alert(0, "request_latency_p95_ms");
    let diagnosis = diagnose(&made.case, &Options::default());
    assert_eq!((diagnosis.verdict, diagnosis.causes.len()), (Verdict::Healthy, 0), "{diagnosis:#?}");
    made.case.alert = None;
    assert_eq!(diagnose(&made.case, &Options::default()).verdict, Verdict::Healthy);
}

#[test]
fn a_callee_explains_its_callers() {
    let mut made = Made::chain(&["front", "orders", "stock"]);
    for id in 0..3 {
        made.series(id, "request_latency_p95_ms", 40.0, 400.0);
    }
    made.alert(0, "request_latency_p95_ms");
    let diagnosis = diagnose(&made.case, &Options::default());
    assert_eq!(diagnosis.causes[0].component, "stock");
    assert_eq!(diagnosis.causes[0].change, None);
    assert_eq!(diagnosis.onset_ms, Some(START + 90 * MINUTE));
    assert_eq!(diagnosis.blast_radius, ["front", "orders"]);
}

#[test]
fn the_change_that_did_it_is_named_and_the_one_at_onset_is_not() {
    let mut made = Made::chain(&["front", "orders", "stock"]);
    for id in 0..2 {
        made.series(id, "error_rate", 0.001, 0.4);
    }
    made.alert(1, "error_rate");
    made.say(1, 0..120, Level::Info, "handled request");
    made.say(
        1,
        90..120,
        Level::Error,
        "panic: runtime error: invalid memory address or nil pointer dereference at coupon.go:41",
    );
    let guilty = "-\tif order.Coupon == nil {\n-\t\treturn 0\n-\t}\n \treturn order.Coupon.Rate";
    made.change(ChangeKind::Commit, "aaaaaaaa1", 80, None, "services/orders/coupon.go", guilty);
    made.change(ChangeKind::Deploy, "aaaaaaaa1", 85, Some(1), "", "");
    let innocent = "-\tlog.Printf(\"x\")\n+\tlogger.Info(\"x\")";
    made.change(ChangeKind::Commit, "bbbbbbbb2", 88, None, "services/orders/log.go", innocent);
    made.change(ChangeKind::Deploy, "bbbbbbbb2", 90, Some(1), "", "");
    let diagnosis = diagnose(&made.case, &Options::default());
    assert_eq!(diagnosis.causes[0].change.as_deref(), Some("aaaaaaaa1"), "{diagnosis:#?}");
    assert_eq!(diagnosis.causes[0].component, "orders");
    assert_eq!(diagnosis.causes[0].kind, Kind::Exception);
    assert_eq!(diagnosis.remediation.kind, RemedyKind::Rollback);
    assert_eq!(diagnosis.verdict, Verdict::Incident);
}

#[test]
fn a_certificate_that_ran_out_is_no_change_of_ours() {
    let mut made = Made::chain(&["front", "orders", "payments"]);
    made.series(1, "upstream_error_ratio", 0.001, 0.9);
    made.alert(1, "upstream_error_ratio");
    made.say(1, 0..120, Level::Info, "handled request");
    made.say(1, 90..120, Level::Error, "tls: x509: certificate has expired or is not yet valid");
    made.change(
        ChangeKind::Commit,
        "cccccccc3",
        85,
        None,
        "services/orders/tls.go",
        "-\tciphers: A, B\n+\tciphers: B, C",
    );
    made.change(ChangeKind::Deploy, "cccccccc3", 89, Some(1), "", "");
    let diagnosis = diagnose(&made.case, &Options::default());
    assert_eq!(diagnosis.causes[0].change, None, "{diagnosis:#?}");
    assert_eq!(diagnosis.causes[0].kind, Kind::Certificate);
    assert_eq!(diagnosis.remediation.kind, RemedyKind::RotateCert);
}

#[test]
fn other_names_and_another_time_give_the_same_answer() {
    let story = |names: [&str; 3], shift: TimeMs| {
        let mut made = Made::chain(&names);
        for id in 0..3 {
            made.series(id, "request_latency_p95_ms", 40.0, 400.0);
        }
        made.alert(0, "request_latency_p95_ms");
        made.case.metrics.iter_mut().flat_map(|series| &mut series.points).for_each(|point| point.0 += shift);
        made.case.alert.iter_mut().for_each(|alert| alert.fired_ms = alert.fired_ms.map(|at| at + shift));
        made.case.metrics.reverse();
        let said = diagnose(&made.case, &Options::default());
        let places = said
            .causes
            .iter()
            .map(|cause| (names.iter().position(|name| *name == cause.component), cause.kind, cause.score));
        (places.collect::<Vec<_>>(), said.onset_ms.map(|at| at - shift), said.remediation.kind)
    };
    assert_eq!(story(["front", "orders", "stock"], 0), story(["zulu", "alpha", "mike"], 86_400_000));
}

#[test]
fn odd_input_is_borne() {
    let mut made = Made::chain(&["front", "orders"]);
    made.series(0, "error_rate", 0.0, 0.0);
    for (name, points) in [
        ("latency_ms", vec![(START, f64::NAN), (START, 1.0)]),
        ("cpu_percent", vec![(START, 3.0)]),
        ("requests_total", vec![(START + 5, 9.0), (START, 1.0), (START + 9, 0.0)]),
        ("memory_bytes", Vec::new()),
        ("queue_depth", (0..500).map(|step| (START + step * MINUTE, 7.0)).collect()),
        ("restarts_total", (0..500).map(|step| (START + step * MINUTE, (step % 50) as f64)).collect()),
    ] {
        made.case.metrics.push(Series {
            source: String::new(),
            component: ComponentId(0),
            name: name.to_owned(),
            unit: String::new(),
            points: points.clone(),
        });
        made.case.metrics.push(Series {
            source: String::new(),
            component: ComponentId(77),
            name: name.to_owned(),
            unit: String::new(),
            points,
        });
    }
    made.case.calls.push(Call { caller: ComponentId(0), callee: ComponentId(99) });
    made.case.calls.push(Call { caller: ComponentId(1), callee: ComponentId(1) });
    made.say(77, 0..3, Level::Fatal, "panic");
    made.say(0, 0..3, Level::Error, "\u{1b}[31mäöü\u{0}");
    made.alert(99, "");
    for at_ms in [None, Some(START), Some(0), Some(START + 400 * MINUTE)] {
        let said = diagnose(&made.case, &Options { at_ms, ..Options::default() });
        assert!(said.causes.iter().all(|cause| (0.0..=1.0).contains(&cause.score)));
        assert_eq!(said, diagnose(&made.case, &Options { at_ms, ..Options::default() }));
    }
}

#[test]
fn a_leak_is_laid_at_the_deploy_that_began_it() {
    let mut made = Made::chain(&["front", "recommend"]);
    made.series(1, "container_memory_rss_mb", 200.0, 200.0);
    made.case.metrics[0]
        .points
        .iter_mut()
        .enumerate()
        .for_each(|(step, point)| point.1 = 200.0 + 3.0 * (step as f64 - 20.0).max(0.0));
    made.series(0, "error_rate", 0.001, 0.2);
    made.alert(0, "error_rate");
    made.say(1, 0..120, Level::Info, "served");
    made.say(1, 91..120, Level::Error, "OOMKilled: container exceeded memory limit");
    made.say(0, 91..120, Level::Error, "call to recommend failed");
    let leak = "+var seen []entry\n+\n+func note(e entry) {\n+\tseen = append(seen, e)\n+}";
    made.change(ChangeKind::Commit, "dddddddd4", 15, None, "services/recommend/history.go", leak);
    made.change(ChangeKind::Deploy, "dddddddd4", 20, Some(1), "", "");
    let bounded = "+const most = 256\n+var seen = lru.New(most)";
    made.change(ChangeKind::Commit, "eeeeeeee5", 86, None, "services/recommend/prefetch.go", bounded);
    made.change(ChangeKind::Deploy, "eeeeeeee5", 88, Some(1), "", "");
    let said = diagnose(&made.case, &Options::default());
    assert_eq!(said.causes[0].change.as_deref(), Some("dddddddd4"), "{said:#?}");
    assert_eq!((said.causes[0].component.as_str(), said.causes[0].kind), ("recommend", Kind::Memory));
}
