//! Judges what a killed service left behind. Reads two things that are not the engine's: the journal's
//! export, entry by entry, and the provider's own ledger file. Shares no fold with what it judges.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use opsward_ports::journal::export::verify_export;
use opsward_sqlite::{Options, SqliteJournal};
use serde_json::Value;

/// One entry of the export that has a body.
struct Entry {
    stream: String,
    kind: String,
    body: Value,
}

/// What was found, for the last word of a test.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Effects that were intended.
    pub(super) intents: usize,
    /// Keys in the provider's ledger.
    pub(super) effects: usize,
    /// Kinds of event in the journal.
    pub(super) kinds: BTreeSet<String>,
}

/// Checks everything that holds for a service that is at rest and whose process is gone.
pub(super) async fn check(data: &Path) -> Found {
    let entries = entries(data).await;
    let ledger = ledger(data);
    every_intent_has_one_answer(&entries, &ledger);
    every_plan_and_turn_ended_once(&entries);
    every_yes_was_used_once(&entries);
    every_firing_has_one_run(&entries);
    every_request_came_to_one_thing(&entries);
    every_call_has_one_answer(&entries);
    every_incident_ended_once(&entries);
    what_was_withheld_or_lapsed_had_no_effect(&entries);
    Found {
        intents: entries.iter().filter(|e| e.kind == "step_started" || e.kind == "undo_started").count(),
        effects: ledger.len(),
        kinds: entries.into_iter().map(|entry| entry.kind).collect(),
    }
}

async fn entries(data: &Path) -> Vec<Entry> {
    let journal = SqliteJournal::open(&data.join("journal.sqlite"), Options::default()).await.unwrap();
    let mut text = Vec::new();
    journal.export(&mut text).await.unwrap();
    journal.close().await.unwrap();
    let verified = verify_export(text.as_slice()).unwrap();
    assert!(verified.damage.is_empty(), "{verified:?}");
    let text = String::from_utf8(text).unwrap();
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let body: Value = serde_json::from_str(line["body"].as_str()?).unwrap();
        Some(Entry { stream: text_of(&line["link"], "stream"), kind: body["type"].as_str()?.to_owned(), body })
    };
    text.lines().skip(1).filter_map(read).collect()
}

fn ledger(data: &Path) -> BTreeMap<String, Value> {
    let tenants = std::fs::read_dir(data.join("platform/tenants")).unwrap();
    let mut keys = BTreeMap::new();
    for tenant in tenants {
        let text = std::fs::read_to_string(tenant.unwrap().path().join("ledger.jsonl")).unwrap_or_default();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let key = line["key"].as_str().unwrap().to_owned();
            assert!(keys.insert(key.clone(), line["answer"].clone()).is_none(), "{key} took effect twice");
        }
    }
    keys
}

fn text_of(body: &Value, key: &str) -> String {
    body[key].as_str().map_or_else(|| body[key].to_string(), str::to_owned)
}

/// No intent without an answer, no answer without an intent, and the ledger says the same.
fn every_intent_has_one_answer(entries: &[Entry], ledger: &BTreeMap<String, Value>) {
    let mut intents: BTreeMap<String, u32> = BTreeMap::new();
    for entry in entries {
        let key = text_of(&entry.body, "key");
        match entry.kind.as_str() {
            "step_started" | "undo_started" => {
                assert!(intents.insert(key.clone(), 0).is_none(), "{}: {key} was intended twice", entry.stream);
            }
            "step_succeeded" | "undo_succeeded" => {
                answered(&mut intents, entry, &key);
                assert!(
                    ledger.contains_key(&key),
                    "{}: {key} is said to be done, the ledger has no such effect",
                    entry.stream
                );
            }
            // A step that fails before it begins has no intent and no effect.
            "step_failed" if entry.body["applied"] == false && !intents.contains_key(&key) => {
                assert!(!ledger.contains_key(&key), "{}: {key} took effect without an intent", entry.stream);
            }
            "step_failed" => {
                answered(&mut intents, entry, &key);
                assert_eq!(entry.body["applied"], ledger.contains_key(&key), "{}: {key}", entry.stream);
            }
            "undo_failed" => answered(&mut intents, entry, &key),
            _ => {}
        }
    }
    let open: Vec<&String> = intents.iter().filter(|(_, answers)| **answers == 0).map(|(key, _)| key).collect();
    assert!(open.is_empty(), "intents without an answer: {open:?}");
    let stray: Vec<&String> = ledger.keys().filter(|key| !intents.contains_key(*key)).collect();
    assert!(stray.is_empty(), "effects that nobody intended: {stray:?}");
}

fn answered(intents: &mut BTreeMap<String, u32>, entry: &Entry, key: &str) {
    let answers = intents.get_mut(key).unwrap_or_else(|| panic!("{}: {key} was never intended", entry.stream));
    *answers += 1;
    assert_eq!(*answers, 1, "{}: {key} was answered twice", entry.stream);
}

fn every_plan_and_turn_ended_once(entries: &[Entry]) {
    let mut open: BTreeMap<(String, String), i32> = BTreeMap::new();
    for entry in entries {
        let (id, by) = match entry.kind.as_str() {
            "plan_proposed" => (text_of(&entry.body["plan"], "id"), 1),
            "turn_started" => (text_of(&entry.body, "turn"), 1),
            "plan_ended" => (text_of(&entry.body, "plan"), -1),
            "turn_ended" => (text_of(&entry.body, "turn"), -1),
            _ => continue,
        };
        let count = open.entry((entry.stream.clone(), id.clone())).or_default();
        *count += by;
        assert!((0..=1).contains(count), "{}: {id} began or ended twice", entry.stream);
    }
    let left: Vec<_> = open.iter().filter(|(_, count)| **count != 0).collect();
    assert!(left.is_empty(), "never ended: {left:?}");
}

/// A yes before the first intent, never more than one use.
fn every_yes_was_used_once(entries: &[Entry]) {
    let mut asked: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut given = BTreeSet::new();
    let mut used = BTreeSet::new();
    for entry in entries {
        let body = &entry.body;
        match entry.kind.as_str() {
            "approval_requested" => {
                let plan = (entry.stream.clone(), text_of(&body["request"], "plan"));
                asked.insert(plan, text_of(&body["request"], "id"));
            }
            "approval_given" => {
                given.insert(text_of(body, "approval"));
            }
            "approval_used" => {
                let id = text_of(body, "approval");
                assert!(given.contains(&id), "{id} was used before anybody said yes");
                assert!(used.insert(id.clone()), "{id} was used twice");
            }
            "step_started" => {
                let id = asked.get(&(entry.stream.clone(), text_of(body, "plan")));
                assert!(id.is_some_and(|id| used.contains(id)), "{}: an intent without a yes", entry.stream);
            }
            _ => {}
        }
    }
}

fn every_firing_has_one_run(entries: &[Entry]) {
    let mut runs = BTreeSet::new();
    for entry in entries.iter().filter(|entry| entry.kind == "schedule_fired") {
        let run = entry.body["run"].to_string();
        assert!(runs.insert(run.clone()), "{run} was fired twice");
        let id = text_of(&entry.body["run"], "id");
        let begun = entries.iter().filter(|other| {
            other.stream.ends_with(&id)
                && ["action_requested", "tool_requested", "message_received", "fault_raised"]
                    .contains(&other.kind.as_str())
        });
        assert_eq!(begun.count(), 1, "{run} began never or twice");
    }
}

/// A typed action came to one plan or to one fault, and somebody's words to a turn.
fn every_request_came_to_one_thing(entries: &[Entry]) {
    for (at, entry) in entries.iter().enumerate() {
        let later = |kinds: &[&str]| {
            let same = entries[at..].iter().filter(|other| other.stream == entry.stream);
            same.filter(|other| kinds.contains(&other.kind.as_str())).count()
        };
        match entry.kind.as_str() {
            "action_requested" => {
                assert_eq!(later(&["plan_proposed", "fault_raised"]), 1, "{}: lost or doubled", entry.stream);
            }
            "message_received" => assert!(later(&["turn_ended"]) > 0, "{}: never answered", entry.stream),
            _ => {}
        }
    }
}

/// What a model or a schedule called for ran once, and what it came to is told once.
fn every_call_has_one_answer(entries: &[Entry]) {
    let mut open: BTreeMap<(&str, String), u32> = BTreeMap::new();
    for entry in entries {
        let body = &entry.body;
        let stream = entry.stream.as_str();
        match entry.kind.as_str() {
            "model_replied" => {
                let calls = body["calls"].as_array().unwrap().iter();
                open.extend(calls.map(|call| ((stream, text_of(call, "id")), 0)));
            }
            "tool_requested" => {
                open.insert((stream, text_of(&body["call"], "id")), 0);
            }
            "tool_returned" | "tool_failed" => {
                let key = (stream, text_of(body, "call"));
                *open.get_mut(&key).unwrap_or_else(|| panic!("{key:?} was never called")) += 1;
            }
            _ => {}
        }
    }
    let odd: Vec<_> = open.iter().filter(|(_, answers)| **answers != 1).collect();
    assert!(odd.is_empty(), "calls answered never or twice: {odd:?}");
}

/// Each incident is resolved or handed to people, once; each of its alerts ends at most once.
fn every_incident_ended_once(entries: &[Entry]) {
    for opened in entries.iter().filter(|entry| entry.kind == "incident_opened") {
        let own: Vec<&Entry> = entries.iter().filter(|entry| entry.stream == opened.stream).collect();
        let ends = own.iter().filter(|e| ["incident_resolved", "incident_escalated"].contains(&e.kind.as_str()));
        assert_eq!(ends.count(), 1, "{}: ended never or twice", opened.stream);
        let cleared: Vec<String> =
            own.iter().filter(|e| e.kind == "alert_cleared").map(|e| text_of(&e.body, "fingerprint")).collect();
        let once: BTreeSet<&String> = cleared.iter().collect();
        assert_eq!(once.len(), cleared.len(), "{}: an alert ended twice", opened.stream);
    }
}

/// Plans by what was decided about them: withheld or lapsed ones were never begun, measured ones once.
fn what_was_withheld_or_lapsed_had_no_effect(entries: &[Entry]) {
    let plan = |entry: &Entry| (entry.stream.clone(), text_of(&entry.body, "plan"));
    let of = |kind: &str| entries.iter().filter(|entry| entry.kind == kind).map(plan).collect::<Vec<_>>();
    let begun: BTreeSet<_> = of("step_started").into_iter().collect();
    for withheld in of("plan_withheld") {
        assert!(!begun.contains(&withheld), "{withheld:?} was withheld and begun");
    }
    let measured = of("goal_checked");
    let once: BTreeSet<_> = measured.iter().collect();
    assert_eq!(once.len(), measured.len(), "a goal was measured twice");
    let approvals = |kind: &str| -> Vec<String> {
        entries.iter().filter(|entry| entry.kind == kind).map(|entry| text_of(&entry.body, "approval")).collect()
    };
    let (used, voided) = (approvals("approval_used"), approvals("approval_voided"));
    let once: BTreeSet<_> = voided.iter().collect();
    assert_eq!(once.len(), voided.len(), "a request for a yes lapsed twice");
    assert!(voided.iter().all(|id| !used.contains(id)), "what lapsed was used");
}
