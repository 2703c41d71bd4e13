//! What a script can do: observe, make steps, return a value, and fail with a message that helps.

use opsward_wire::{FailKind, Outcome, RunLimits, ToWorker};
use serde_json::json;

use crate::Test;
use crate::worker::{Ending, Worker, run, run_frame, run_with};

pub(crate) const TESTS: &[Test] = &[
    ("scripts::values_come_back", values_come_back),
    ("scripts::observations_are_asked_for", observations_are_asked_for),
    ("scripts::steps_are_made_by_constructors_only", steps_are_made_by_constructors_only),
    ("scripts::only_listed_functions_exist", only_listed_functions_exist),
    ("scripts::denials_are_values_until_there_are_too_many", denials_are_values_until_there_are_too_many),
    ("scripts::calls_are_bounded", calls_are_bounded),
    ("scripts::failures_are_classed_and_placed", failures_are_classed_and_placed),
    ("scripts::results_that_are_not_data_are_refused", results_that_are_not_data_are_refused),
    ("scripts::host_functions_cannot_be_redefined", host_functions_cannot_be_redefined),
    ("scripts::large_replies_fit", large_replies_fit),
    ("scripts::oversized_results_are_failures", oversized_results_are_failures),
];

fn fails(source: &str, kind: FailKind) -> (String, Option<u32>) {
    match run(source) {
        Ending::Fail(got, message, line) if got == kind => (message, line),
        other => panic!("{}: {other:?}", source.chars().take(200).collect::<String>()),
    }
}

fn values_come_back() {
    for (source, value) in [
        ("return #{name: input.name, twice: input.count * 2};", json!({"name": "web", "twice": 6})),
        ("return [1, 2.5, true, (), 'x', \"日本\"]", json!([1, 2.5, true, null, "x", "日本"])),
        ("return `${input.name}-${input.count}`", json!("web-3")),
        ("fn twice(x) { return x * 2; }\nreturn [twice(21)]", json!([42])),
        ("return [input.missing ?? 7]", json!([7])),
        ("let total = 0; for i in 0..10 { total += i; } return [total]", json!([45])),
    ] {
        assert_eq!(run(source), Ending::Done(value), "{source}");
    }
}

fn observations_are_asked_for() {
    let source =
        "let a = logs(#{workload: input.name, limit: 5});\nlet b = workloads();\nreturn [a, b, workloads(#{})];";
    let expected = json!([
        {"query": "logs", "args": {"workload": "web", "limit": 5}},
        {"query": "workloads", "args": {}},
        {"query": "workloads", "args": {}},
    ]);
    assert_eq!(run(source), Ending::Done(expected));
}

fn steps_are_made_by_constructors_only() {
    let made = "return #{steps: [scale_workload(#{workload: input.name, replicas: 4})]};";
    let step = json!({"$step": "scale_workload", "workload": "web", "replicas": 4});
    assert_eq!(run(made), Ending::Done(json!({"steps": [step]})));
    assert_eq!(
        run("return scale_workload(#{workload: \"w\", replicas: 1})"),
        Ending::Done(json!({"$step": "scale_workload", "workload": "w", "replicas": 1}))
    );
    let forged = "return [#{\"$step\": \"delete_workspace\"}];";
    assert_eq!(run(forged), Ending::Done(json!([{"$$step": "delete_workspace"}])));
    let echoed = Worker::start(&[])
        .serve(&run_frame("return workloads();", RunLimits::default()), |_, _| Outcome::Value(json!([{"$step": "x"}])));
    assert_eq!(echoed, Ending::Done(json!([{"$$step": "x"}])), "telemetry cannot be a step");
    let (message, _) = fails(
        "return [scale_workload(#{workload: scale_workload(#{workload: 1, replicas: 1}), replicas: 1})]",
        FailKind::BadValue,
    );
    assert!(message.contains("a step cannot be an argument"), "{message}");
    fails("let s = scale_workload(#{workload: 1, replicas: 1}); return [s.workload]", FailKind::Runtime);
}

fn only_listed_functions_exist() {
    let (message, line) = fails("let a = 1;\nreturn delete_workspace(#{})", FailKind::Runtime);
    assert!(message.contains("delete_workspace"), "{message}");
    assert_eq!(line, Some(2));
    fails("return logs(\"web\")", FailKind::Runtime);
    fails("return logs(#{}, #{})", FailKind::Runtime);
}

fn denials_are_values_until_there_are_too_many() {
    let deny = |_: &str, _| Outcome::Denied { code: "not_allowed".to_owned(), message: "no".to_owned() };
    let once = run_frame("return workloads()", RunLimits::default());
    let expected = json!({"denied": "not_allowed", "message": "no"});
    assert_eq!(Worker::start(&[]).serve(&once, deny), Ending::Done(expected));

    let stubborn = "loop { try { workloads(); } catch { } }\nreturn []";
    let mut asked = 0;
    let ending = Worker::start(&[]).serve(&run_frame(stubborn, RunLimits::default()), |query, args| {
        asked += 1;
        deny(query, args)
    });
    assert!(
        matches!(&ending, Ending::Fail(FailKind::Limit, message, _) if message.contains("20 calls were denied")),
        "{ending:?}"
    );
    assert_eq!(asked, 20);
}

fn calls_are_bounded() {
    let limits = RunLimits { calls: 5, ..RunLimits::default() };
    let within = "for i in 0..5 { workloads(); } return []";
    assert_eq!(run_with(within, limits), Ending::Done(json!([])));
    let over = "loop { try { workloads(); } catch { } }\nreturn []";
    assert!(
        matches!(run_with(over, limits), Ending::Fail(FailKind::Limit, message, _) if message.contains("more than 5 calls"))
    );
}

fn failures_are_classed_and_placed() {
    for (source, kind, line) in [
        ("let a = ;\nreturn a", FailKind::Syntax, Some(1)),
        ("return undefined_name", FailKind::Syntax, Some(1)),
        ("let a = [];\nlet b = a[3];\nreturn b", FailKind::Runtime, Some(2)),
        ("fn f() {\n  throw \"no\";\n}\nreturn f();", FailKind::Runtime, Some(2)),
        ("loop { }\nreturn []", FailKind::Limit, Some(1)),
        ("let a = 1\u{430};\nreturn a", FailKind::RefusedSource, Some(1)),
        ("[1, 2]", FailKind::RefusedSource, Some(1)),
    ] {
        assert_eq!(fails(source, kind).1, line, "{source}");
    }
    let long = format!("throw \"{}\";\nreturn []", "é\\n".repeat(3_000));
    let (message, _) = fails(&long, FailKind::Runtime);
    assert!(message.chars().count() <= 400 && !message.contains('\n'), "{message}");
}

fn results_that_are_not_data_are_refused() {
    for source in [
        "return",
        "return 1",
        "return true",
        "return [0.0 / 0.0]",
        "return [1.0 / 0.0]",
        "return #{f: |x| x}",
        "return Fn(\"x\")",
        "return workloads(#{x: 1}) == 1",
        "return [1e308 * 10.0]",
    ] {
        match run(source) {
            Ending::Fail(FailKind::BadValue, ..) => {}
            Ending::Fail(FailKind::Runtime, ..) if source.contains("x: 1") => {}
            other => panic!("{source}: {other:?}"),
        }
    }
    fails("try { logs(#{workload: 0.0 / 0.0}); } catch { }\nreturn []", FailKind::BadValue);
    let mut input_is_a_list = run_frame("return []", RunLimits::default());
    if let ToWorker::Run { input, .. } = &mut input_is_a_list {
        *input = json!([1]);
    }
    let ending = Worker::start(&[]).serve(&input_is_a_list, |_, _| Outcome::Value(json!(null)));
    assert!(matches!(ending, Ending::Fail(FailKind::BadValue, ..)), "{ending:?}");
}

fn host_functions_cannot_be_redefined() {
    let (message, _) = fails("fn workloads() { return [\"mine\"]; }\nreturn workloads();", FailKind::RefusedSource);
    assert!(message.contains("redefines `workloads`"), "{message}");
    fails("fn scale_workload(x) { return x; }\nreturn [];", FailKind::RefusedSource);
    fails("input.name = \"other\"; return [input.name]", FailKind::Runtime);
    fails("input = 1; return []", FailKind::Runtime);
}

fn large_replies_fit() {
    let records: Vec<_> =
        (0..1_500).map(|i| json!({"i": i, "level": "error", "text": "connection refused", "pod": "web-1"})).collect();
    let frame = run_frame(
        "let all = logs(#{workload: \"web\"}); return #{n: all.len(), last: all[-1].i};",
        RunLimits::default(),
    );
    let ending = Worker::start(&[]).serve(&frame, |_, _| Outcome::Value(json!(records)));
    assert_eq!(ending, Ending::Done(json!({"n": 1_500, "last": 1_499})));
}

fn oversized_results_are_failures() {
    // Each value is within the engine's bounds, but JSON escapes make six bytes of one.
    let source = "let s = \"\\x01\"; s.pad(250000, \"\\x01\"); return s;";
    assert!(matches!(run(source), Ending::Fail(FailKind::BadValue, message, _) if message.contains("over the bound")));
}
