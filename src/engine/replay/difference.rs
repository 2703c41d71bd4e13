//! Where a recorded and a replayed event differ, said so that a person sees it at once. Times and durations
//! are measurements, not decisions, and are left out.

use std::fmt;

use opsward_domain::event::{Body, Event};
use opsward_domain::fault::Fault;
use opsward_domain::label::visible;
use serde_json::Value;

use crate::projection::audit::words;
use crate::state::RunState;
use crate::turn::Next;

/// Most characters shown of one side.
const SHOWN_CHARS_MAX: usize = 600;
/// Fields that measure, and the digest of a tool's text: what the tool does is compared by running it.
const IGNORED: [&str; 3] = ["took_ms", "at_ms", "tool_digest"];

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Place in the run, from 1.
    pub stream_seq: u64,
    /// What the engine decided to do there.
    pub next: String,
    /// Where in the event, as a JSON pointer; empty for the whole event.
    pub path: String,
    /// What was recorded.
    pub recorded: String,
    /// What came out now.
    pub replayed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "event {} differs; the engine chose {}", self.stream_seq, self.next)?;
        if !self.path.is_empty() {
            writeln!(f, "  at        {}", self.path)?;
        }
        writeln!(f, "  recorded  {}", self.recorded)?;
        write!(f, "  replayed  {}", self.replayed)
    }
}

/// Compares what was recorded with what came out; the first difference.
pub(super) fn compare(
    state: &RunState,
    what: &Next,
    group: &[&Event],
    bodies: &Result<Vec<Body>, Fault>,
) -> Option<Difference> {
    let told = |offset: usize, path: String, recorded: String, replayed: String| {
        let stream_seq = state.stream_seq + 1 + u64::try_from(offset).unwrap_or(0);
        Some(Difference { stream_seq, next: chosen(what), path, recorded, replayed })
    };
    let bodies = match bodies {
        Ok(bodies) => bodies,
        Err(fault) => {
            let recorded = group.first().and_then(|event| event.body.as_ref()).map(words).unwrap_or_default();
            return told(0, String::new(), recorded, format!("it would be tried again later: {fault}"));
        }
    };
    for offset in 0..group.len().max(bodies.len()) {
        let recorded = group.get(offset).and_then(|event| event.body.as_ref());
        let replayed = bodies.get(offset);
        let (Some(recorded), Some(replayed)) = (recorded, replayed) else {
            let side = |body: Option<&Body>| body.map_or("nothing".to_owned(), words);
            return told(offset, String::new(), side(recorded), side(replayed));
        };
        let (old, new) = (comparable(recorded), comparable(replayed));
        if old.get("type") != new.get("type") {
            return told(offset, String::new(), words(recorded), words(replayed));
        }
        if let Some((path, old, new)) = first(&old, &new, String::new()) {
            return told(offset, path, shown(&old), shown(&new));
        }
    }
    None
}

/// The recording ended, and the engine would go on by itself.
pub(super) fn goes_on(state: &RunState, what: &Next) -> Difference {
    Difference {
        stream_seq: state.stream_seq + 1,
        next: chosen(what),
        path: String::new(),
        recorded: "nothing: the recording ends here".to_owned(),
        replayed: "it goes on".to_owned(),
    }
}

fn chosen(what: &Next) -> String {
    shown(&format!("{what:?}"))
}

fn shown(text: &str) -> String {
    let mut short: String = visible(text).chars().take(SHOWN_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn comparable(body: &Body) -> Value {
    let mut value = serde_json::to_value(body).unwrap_or(Value::Null);
    strip(&mut value);
    value
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !IGNORED.contains(&key.as_str()));
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

/// The first place where two values differ.
fn first(old: &Value, new: &Value, path: String) -> Option<(String, String, String)> {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            keys.into_iter().find_map(|key| {
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                first(a, b, format!("{path}/{key}"))
            })
        }
        (Value::Array(a), Value::Array(b)) => (0..a.len().max(b.len())).find_map(|index| {
            let (a, b) = (a.get(index).unwrap_or(&Value::Null), b.get(index).unwrap_or(&Value::Null));
            first(a, b, format!("{path}/{index}"))
        }),
        _ if old == new => None,
        _ => Some((path, text(old), text(new))),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        let old = json!({"a": [1, {"b": "x"}], "c": null});
        assert_eq!(first(&old, &old, String::new()), None);
        for (new, path, was, is) in [
            (json!({"a": [1, {"b": "y"}], "c": null}), "/a/1/b", "x", "y"),
            (json!({"a": [1], "c": null}), "/a/1", "{\"b\":\"x\"}", "nothing"),
            (json!({"a": [1, {"b": "x"}], "c": true}), "/c", "nothing", "true"),
        ] {
            let found = first(&old, &new, String::new());
            assert_eq!(found, Some((path.to_owned(), was.to_owned(), is.to_owned())), "{new}");
        }
    }

    #[test]
    fn measurements_do_not_count() {
        let mut value = json!({"took_ms": 4, "evidence": {"at_ms": 5, "title": "t"}, "tool_digest": "d"});
        strip(&mut value);
        assert_eq!(value, json!({"evidence": {"title": "t"}}));
    }
}
