//! Puts calls together from the pieces of a reply, whatever their order and whatever is missing. Never
//! invents an argument: what cannot be read is kept as text.

use std::collections::BTreeSet;

use opsward_ports::model::{Call, Message, ToolSchema};
use serde_json::Value;

/// Most calls of one reply.
pub(crate) const CALLS_MAX: usize = 64;

/// Most bytes of unreadable arguments that are kept.
const KEPT_BYTES_MAX: usize = 4096;

#[derive(Debug, Default)]
struct Slot {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

impl Slot {
    /// True if its arguments are one whole JSON value already.
    fn whole(&self) -> bool {
        serde_json::from_str::<Value>(&self.arguments).is_ok()
    }
}

/// Calls under construction.
#[derive(Debug, Default)]
pub(crate) struct Slots(Vec<Slot>);

impl Slots {
    /// Takes one piece: an element of `tool_calls`, or a `function_call` of old.
    pub(crate) fn push(&mut self, piece: &Value) -> Result<(), String> {
        let function = piece.get("function").unwrap_or(piece);
        let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (id, name) = (word(piece, "id"), word(function, "name"));
        let index = piece.get("index").and_then(Value::as_u64);
        let at = match self.find(index, &id, &name) {
            Some(at) => at,
            None if self.0.len() >= CALLS_MAX => return Err(format!("more than {CALLS_MAX} calls in one reply")),
            None => {
                self.0.push(Slot { index, ..Slot::default() });
                self.0.len() - 1
            }
        };
        let Some(slot) = self.0.get_mut(at) else { return Ok(()) };
        if slot.id.is_empty() {
            slot.id = id;
        }
        if slot.name.is_empty() {
            slot.name = name;
        }
        match function.get("arguments") {
            Some(Value::String(text)) => slot.arguments.push_str(text),
            Some(Value::Null) | None => {}
            Some(whole) => slot.arguments = whole.to_string(),
        }
        Ok(())
    }

    /// Which call a piece belongs to; `None` means a new one.
    fn find(&self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let at = match index {
            Some(index) => self.0.iter().rposition(|slot| slot.index == Some(index)),
            None if !id.is_empty() && self.0.iter().any(|slot| slot.id == id) => {
                self.0.iter().rposition(|slot| slot.id == id)
            }
            None if !name.is_empty() && (!id.is_empty() || self.0.last().is_some_and(Slot::whole)) => None,
            None => self.0.len().checked_sub(1),
        }?;
        let slot = self.0.get(at)?;
        // Some endpoints number every call 0, or give every call the same id.
        let another_id = !id.is_empty() && !slot.id.is_empty() && id != slot.id;
        let begins_again = !name.is_empty() && (another_id || slot.whole());
        (!begins_again).then_some(at)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The calls, each with an id that is unique in the transcript.
    pub(crate) fn finish(self, drop_nulls: bool, transcript: &[Message]) -> Vec<Call> {
        let mut calls = Vec::new();
        for slot in self.0 {
            for (nth, arguments) in read_arguments(&slot.arguments).into_iter().enumerate() {
                let id = if nth == 0 { slot.id.clone() } else { String::new() };
                calls.push(Call { id, name: slot.name.clone(), arguments });
            }
        }
        calls.truncate(CALLS_MAX);
        if drop_nulls {
            calls.iter_mut().filter_map(|call| call.arguments.as_mut().ok()).for_each(crate::schema::without_nulls);
        }
        with_ids(calls, transcript)
    }
}

/// Gives an id to every call that has none or somebody else's.
pub(crate) fn with_ids(mut calls: Vec<Call>, transcript: &[Message]) -> Vec<Call> {
    let earlier = transcript.iter().flat_map(|message| match message {
        Message::Assistant { calls, .. } => calls.as_slice(),
        _ => &[],
    });
    let mut taken: BTreeSet<String> = earlier.map(|call| call.id.clone()).collect();
    for (nth, call) in calls.iter_mut().enumerate() {
        if call.id.is_empty() || taken.contains(&call.id) {
            call.id = format!("call-{}-{nth}", transcript.len());
            while taken.contains(&call.id) {
                call.id.push_str("-x");
            }
        }
        taken.insert(call.id.clone());
    }
    calls
}

/// Reads arguments: usually one object; several glued together are several calls, repeated ones are not.
fn read_arguments(text: &str) -> Vec<Result<Value, String>> {
    let kept = || Err(text.chars().take(KEPT_BYTES_MAX).collect::<String>());
    if text.trim().is_empty() {
        return vec![Ok(Value::Object(serde_json::Map::new()))];
    }
    let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
    let Ok(values) = values else { return vec![kept()] };
    let objects = values.into_iter().map(|value| match value {
        // Written twice over: a string that holds the object.
        Value::String(inner) => serde_json::from_str(&inner).unwrap_or(Value::String(inner)),
        Value::Null => Value::Object(serde_json::Map::new()),
        other => other,
    });
    let mut distinct: Vec<Value> = Vec::new();
    for object in objects {
        if !object.is_object() {
            return vec![kept()];
        }
        if !distinct.contains(&object) {
            distinct.push(object);
        }
    }
    distinct.into_iter().map(Ok).collect()
}

/// Calls found in text, in the shape of the others.
pub(crate) fn from_text(text: &str, tools: &[ToolSchema], transcript: &[Message]) -> (String, Vec<Call>) {
    let (left, found) = crate::textual::find(text, tools);
    let calls = found.into_iter().take(CALLS_MAX).map(|(name, arguments)| {
        let arguments = if arguments.is_object() { Ok(arguments) } else { Err(arguments.to_string()) };
        Call { id: String::new(), name, arguments }
    });
    (left, with_ids(calls.collect(), transcript))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(pieces: &[Value]) -> Vec<(String, String, Result<Value, String>)> {
        let mut slots = Slots::default();
        for piece in pieces {
            slots.push(piece).unwrap();
        }
        slots.finish(false, &[]).into_iter().map(|call| (call.id, call.name, call.arguments)).collect()
    }

    fn call(id: &str, name: &str, arguments: Value) -> (String, String, Result<Value, String>) {
        (id.to_owned(), name.to_owned(), Ok(arguments))
    }

    #[test]
    fn pieces_come_together_however_they_are_numbered() {
        let one = [call("a", "look", json!({"at": "web"}))];
        let two = [call("a", "look", json!({"at": "web"})), call("b", "scale", json!({"to": 2}))];
        let f = |name: &str, arguments: &str| json!({"name": name, "arguments": arguments});
        // As it should be.
        assert_eq!(
            read(&[
                json!({"index": 0, "id": "a", "function": f("look", "")}),
                json!({"index": 0, "function": {"arguments": "{\"at\":"}}),
                json!({"index": 1, "id": "b", "function": f("scale", "{\"to\"")}),
                json!({"index": 0, "function": {"arguments": "\"web\"}"}}),
                json!({"index": 1, "function": {"arguments": ":2}"}}),
            ]),
            two
        );
        // No index at all; the name again in every piece.
        assert_eq!(
            read(&[
                json!({"id": "a", "function": f("look", "{\"at\":")}),
                json!({"id": "a", "function": f("look", "\"web\"}")}),
                json!({"id": "b", "function": f("scale", "{\"to\":2}")}),
            ]),
            two
        );
        // Every call is number 0.
        assert_eq!(
            read(&[
                json!({"index": 0, "id": "a", "function": f("look", "{\"at\":\"web\"}")}),
                json!({"index": 0, "id": "b", "function": f("scale", "{\"to\":2}")}),
            ]),
            two
        );
        // Arguments as an object; the form of old.
        assert_eq!(read(&[json!({"id": "a", "function": {"name": "look", "arguments": {"at": "web"}}})]), one);
        assert_eq!(read(&[f("look", "{\"at\":"), f("", "\"web\"}")]), [call("call-0-0", "look", json!({"at": "web"}))]);
    }

    #[test]
    fn ids_are_made_where_they_are_missing_or_repeated() {
        let piece = |id: &str, n: u64| json!({"index": n, "id": id, "function": {"name": "look", "arguments": "{}"}});
        let ids = |pieces: &[Value]| read(pieces).into_iter().map(|(id, ..)| id).collect::<Vec<_>>();
        assert_eq!(ids(&[piece("a", 0), piece("a", 1)]), ["a", "call-0-1"]);
        assert_eq!(ids(&[piece("", 0), piece("", 1)]), ["call-0-0", "call-0-1"]);
        let no_index = json!({"id": "a", "function": {"name": "look", "arguments": "{}"}});
        assert_eq!(ids(&[no_index.clone(), no_index]), ["a", "call-0-1"]);
        let before = Message::Assistant {
            text: String::new(),
            calls: vec![Call { id: "call-1-0".to_owned(), name: "look".to_owned(), arguments: Ok(json!({})) }],
        };
        let call = Call { id: "call-1-0".to_owned(), name: "look".to_owned(), arguments: Ok(json!({})) };
        let again = with_ids(vec![call], std::slice::from_ref(&before));
        assert_eq!(again[0].id, "call-1-0-x");
    }

    #[test]
    fn arguments_are_read_or_kept_as_text() {
        assert_eq!(read_arguments(" "), [Ok(json!({}))]);
        assert_eq!(read_arguments("\"{\\\"a\\\":1}\""), [Ok(json!({"a": 1}))]);
        assert_eq!(read_arguments("{\"a\":1}{\"a\":2}"), [Ok(json!({"a": 1})), Ok(json!({"a": 2}))]);
        assert_eq!(read_arguments("{\"a\":1}{\"a\":1}"), [Ok(json!({"a": 1}))]);
        for broken in ["{\"a\":", "[1]", "3", "{\"a\":1} and", "'a'"] {
            assert_eq!(read_arguments(broken), [Err(broken.to_owned())], "{broken}");
        }
    }

    #[test]
    fn the_number_of_calls_is_bounded() {
        let mut slots = Slots::default();
        let results: Vec<_> =
            (0..100).map(|n| slots.push(&json!({"index": n, "function": {"name": "look"}}))).collect();
        assert!(results[..CALLS_MAX].iter().all(Result::is_ok) && results[CALLS_MAX..].iter().all(Result::is_err));
    }
}
