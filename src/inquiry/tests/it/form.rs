//! The published form: every report fits the schema in the repository, whatever the bundle was; claims can be run
//! again; the text says what matters.

use opsward_inquiry::{SCHEMA, SCHEMA_JSON, explain, text};
use serde_json::Value;

use crate::made;

/// Checks a value against the parts of JSON Schema that the published schema uses.
fn fits(value: &Value, schema: &Value, root: &Value, at: &str) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        let inner = root.pointer(name.trim_start_matches('#')).ok_or_else(|| format!("{at}: no {name}"))?;
        return fits(value, inner, root, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices.iter().filter(|choice| fits(value, choice, root, at).is_ok()).count();
        return if fitting == 1 { Ok(()) } else { Err(format!("{at}: fits {fitting} of {choices:?}: {value}")) };
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        return Err(format!("{at}: {value} is not {}", schema["const"]));
    }
    if let Some(list) = schema["enum"].as_array().filter(|list| !list.contains(value)) {
        return Err(format!("{at}: {value} is none of {list:?}"));
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        // A type that this check does not know fits nothing.
        _ => false,
    };
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is(kind)) {
        return Err(format!("{at}: {value} is no {kinds:?}"));
    }
    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
        fits(item, &schema["items"], root, &format!("{at}[{place}]"))?;
    }
    let Some(object) = value.as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !object.contains_key(name) {
            return Err(format!("{at}: {name} is missing"));
        }
    }
    for (name, inner) in object {
        let known = &schema["properties"][name];
        let more = &schema["additionalProperties"];
        match (known.is_null(), more) {
            (false, _) => fits(inner, known, root, &format!("{at}.{name}"))?,
            (true, Value::Bool(false)) => return Err(format!("{at}: {name} is not published")),
            (true, more) => fits(inner, more, root, &format!("{at}.{name}"))?,
        }
    }
    Ok(())
}

fn check(files: &[(&str, &str)]) {
    let root: Value = serde_json::from_str(SCHEMA_JSON).unwrap();
    let value = serde_json::to_value(crate::ask_text(files).report).unwrap();
    fits(&value, &root, &root, "report").unwrap();
}

#[test]
fn every_report_fits_the_published_schema() {
    let root: Value = serde_json::from_str(SCHEMA_JSON).unwrap();
    assert_eq!(root["properties"]["schema"]["const"], SCHEMA);
    let made = crate::ask(made::files(&made::plain())).report;
    fits(&serde_json::to_value(&made).unwrap(), &root, &root, "report").unwrap();
    check(&[]);
    check(&[("a.log", "2026-06-18T15:06:00Z ERROR x\n"), ("b.bin", "\u{0}"), ("c.json", "{")]);
    check(&[("m.csv", "timestamp,service,metric,value\n1781795160,a,cpu,1\n")]);
    check(&[(
        "pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web-1, namespace: a, creationTimestamp: 2026-06-18T14:00:00Z}\nspec: {nodeName: n, containers: [{name: web, image: x}]}\nstatus: {phase: Running, containerStatuses: [{name: web, ready: false, restartCount: 9, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled, finishedAt: 2026-06-18T15:00:00Z}}}]}\n",
    )]);
    // A check that cannot fail would show nothing.
    let mut wrong = serde_json::to_value(&made).unwrap();
    wrong["verdict"] = "fine".into();
    assert!(fits(&wrong, &root, &root, "report").is_err());
    let mut wrong = serde_json::to_value(&made).unwrap();
    wrong["more"] = 1.into();
    assert!(fits(&wrong, &root, &root, "report").is_err());
}

#[test]
fn claims_cite_what_is_there_and_can_be_run_again() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in made::files(&made::plain()) {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let options = opsward_inquiry::Options::default();
    let inquiry = opsward_inquiry::inquire(dir.path(), &options).unwrap();
    let known: Vec<&str> = inquiry.report.evidence.iter().map(|one| one.id.as_str()).collect();
    for cause in &inquiry.report.causes {
        assert!(
            !cause.evidence.is_empty() && cause.evidence.iter().all(|id| known.contains(&id.as_str())),
            "{cause:?}"
        );
    }
    let told = explain::explain(dir.path(), &inquiry, "c1", &options).unwrap();
    assert!(told.claim.contains(made::GUILTY));
    let again: Vec<&String> = told.evidence.iter().flat_map(|piece| &piece.again).collect();
    assert!(again.iter().any(|text| text.contains("before: ")), "{again:?}");
    assert!(again.iter().any(|text| text.contains(made::GUILTY) || text.contains("FindItem")), "{again:?}");
    for id in explain::ids(&inquiry.report) {
        assert!(explain::explain(dir.path(), &inquiry, id, &options).is_some(), "{id}");
    }
    assert!(explain::explain(dir.path(), &inquiry, "c99", &options).is_none());
    let shown = text::render(&inquiry, "bundle");
    for wanted in
        ["INCIDENT since 2026-06-18 15:0", made::GUILTY, "do       rollback", "suffers  webfront", "--explain c1"]
    {
        assert!(shown.contains(wanted), "{wanted} is not in:\n{shown}");
    }
}

#[test]
fn nothing_given_is_said_so() {
    let empty = crate::ask_text(&[]);
    assert!(empty.report.is_blind());
    assert!(text::render(&empty, "x").contains("Nothing was given"));
    let prose = crate::ask_text(&[("notes.md", "hello")]);
    assert!(prose.report.is_blind());
    assert_eq!(prose.report.not_looked_at[0].what, "notes.md");
}

#[test]
fn what_a_bundle_says_cannot_move_the_cursor() {
    let inquiry = crate::ask_text(&[
        ("a.log", "2026-06-18T15:06:00Z ERROR \u{1b}[2Jcleared \u{202e}reversed\n"),
        (
            "alert.json",
            "{\"service\":\"a\",\"metric\":\"m\\u001b[1m\",\"severity\":\"critical\",\"summary\":\"s\\u0007\",\"fired_at\":\"2026-06-18T15:06:00Z\"}",
        ),
    ]);
    let shown = text::render(&inquiry, "x\u{1b}[0m");
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{7}') && !shown.contains('\u{202e}'), "{shown:?}");
}
