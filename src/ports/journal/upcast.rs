//! Old bodies, read as the newest version. One function per version step; a body as stored is never
//! rewritten, and a body from a newer version is never guessed at.

use opsward_domain::event::{BODY_VERSION, Body};
use serde_json::Value;

/// Lifts a body by one version.
pub type Upcast = fn(Value) -> Value;

/// Entry `n` lifts version `n + 1` to `n + 2`. Its length makes a new [`BODY_VERSION`] without its upcaster
/// not compile.
const UPCASTS: [Upcast; BODY_VERSION as usize - 1] = [unchanged];

/// Version 2 has schedules and tool runs besides; what version 1 could say, it says in the same words.
fn unchanged(value: Value) -> Value {
    value
}

/// Reads stored `bytes` that were written in `version`. The error says what cannot be understood.
pub fn body(version: u16, bytes: &[u8]) -> Result<Body, String> {
    if version == BODY_VERSION {
        return serde_json::from_slice(bytes).map_err(|error| error.to_string());
    }
    let value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    serde_json::from_value(lift(&UPCASTS, version, value)?).map_err(|error| error.to_string())
}

/// Lifts `value` from `version` to the version after the last of `upcasts`.
fn lift(upcasts: &[Upcast], version: u16, value: Value) -> Result<Value, String> {
    let done = usize::from(version).checked_sub(1).ok_or("version 0 was never written")?;
    let rest = upcasts
        .get(done..)
        .ok_or_else(|| format!("version {version} is newer than this program, which knows {}", upcasts.len() + 1))?;
    Ok(rest.iter().fold(value, |value, upcast| upcast(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn renamed(mut value: Value) -> Value {
        if let Some(map) = value.as_object_mut()
            && let Some(old) = map.remove("why")
        {
            map.insert("reason".into(), old);
        }
        value
    }

    fn wrapped(value: Value) -> Value {
        json!({ "v3": value })
    }

    #[test]
    fn each_version_is_lifted_by_the_steps_it_lacks() {
        let table: [Upcast; 2] = [renamed, wrapped];
        assert_eq!(lift(&table, 1, json!({"why": "x"})), Ok(json!({"v3": {"reason": "x"}})));
        assert_eq!(lift(&table, 2, json!({"why": "x"})), Ok(json!({"v3": {"why": "x"}})));
        assert_eq!(lift(&table, 3, json!({"why": "x"})), Ok(json!({"why": "x"})));
    }

    #[test]
    fn unknown_versions_are_refused() {
        assert!(body(0, b"{}").unwrap_err().contains("never written"));
        assert!(body(BODY_VERSION + 1, b"{}").unwrap_err().contains("newer than this program"));
        assert!(body(BODY_VERSION, b"{\"type\":\"no_such\"}").is_err());
    }
}
