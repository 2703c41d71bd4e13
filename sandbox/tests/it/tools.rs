//! The shipped tools in a real worker: each must pass the source checks, find the functions it uses, and
//! say something sensible when the platform refuses whatever it asks.

use std::path::Path;

use opsward_wire::{FailKind, Outcome, RunLimits, ToWorker};
use serde_json::{Map, Value, json};

use crate::Test;
use crate::worker::{Ending, Worker};

pub(crate) const TESTS: &[Test] = &[("tools::shipped_handlers_survive_refusals", shipped_handlers_survive_refusals)];

fn shipped_handlers_survive_refusals() {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools");
    let mut tried = 0;
    for entry in std::fs::read_dir(tools).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(declared) = std::fs::read_to_string(folder.join("tool.toml")) else { continue };
        let declared: toml::Table = declared.parse().unwrap();
        let source = std::fs::read_to_string(folder.join("handler.rhai")).unwrap();
        check(&folder, &declared, source);
        tried += 1;
    }
    assert!(tried > 0, "no tool was found");
}

fn check(folder: &Path, declared: &toml::Table, source: String) {
    let names = |key: &str| -> Vec<String> {
        let list = declared.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default();
        list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let run = ToWorker::Run {
        source,
        input: Value::Object(inputs(declared)),
        queries: names("queries"),
        steps: names("actions"),
        limits: RunLimits::default(),
    };
    let refuse = |_: &str, _| Outcome::Denied { code: "denied".to_owned(), message: "not for you".to_owned() };
    match Worker::start(&[]).serve(&run, refuse) {
        Ending::Done(_) => {}
        // It may take the refusal for its answer and stumble, but then the refusal is named.
        Ending::Fail(FailKind::Runtime, message, _) if message.contains("was denied: not for you") => {}
        other => panic!("{}: {other:?}", folder.display()),
    }
}

/// A value for each declared input.
fn inputs(declared: &toml::Table) -> Map<String, Value> {
    let declared = declared.get("inputs").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let example = |input: &toml::Value| match input.get("type").and_then(toml::Value::as_str) {
        Some("integer") => json!(input.get("min").and_then(toml::Value::as_integer).unwrap_or(1)),
        Some("map" | "json") => json!({}),
        Some("names") => json!(["web"]),
        _ => json!("web"),
    };
    declared.iter().map(|(name, input)| (name.clone(), example(input))).collect()
}
