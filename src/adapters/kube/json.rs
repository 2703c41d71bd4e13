//! Reading Kubernetes objects as JSON. Never fails on what a newer or older cluster adds or leaves out, and
//! never loses a field that is written back.

use opsward_domain::time::AtMs;
use serde_json::{Map, Value};

/// Most characters of a text from the cluster that is quoted in a message.
const QUOTE_CHARS_MAX: usize = 300;

/// Text at a JSON pointer; empty if there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A whole number at a JSON pointer.
pub(crate) fn number(object: &Value, pointer: &str) -> Option<u64> {
    object.pointer(pointer).and_then(Value::as_u64)
}

/// A truth at a JSON pointer; false if there is none.
pub(crate) fn flag(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// The elements of an array at a JSON pointer.
pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// An object's name.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// An object's own identity: another object of the same name has another.
pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// One label.
pub(crate) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(key)?.as_str()
}

/// One annotation.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// Time of an RFC 3339 text at a JSON pointer.
pub(crate) fn time_ms(object: &Value, pointer: &str) -> Option<AtMs> {
    text(object, pointer).parse::<jiff::Timestamp>().ok().map(|at| at.as_millisecond())
}

/// The object under `key`, made if absent. Whatever else stands there is replaced.
pub(crate) fn child<'a>(object: &'a mut Value, key: &str) -> &'a mut Value {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let child = &mut object[key];
    if !child.is_object() {
        *child = Value::Object(Map::new());
    }
    child
}

/// Sets an annotation of an object, or of a pod template.
pub(crate) fn annotate(object: &mut Value, key: &str, value: &str) {
    child(child(object, "metadata"), "annotations")[key] = Value::String(value.to_owned());
}

/// The controlling owner of an object, if it has one.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    items(object, "/metadata/ownerReferences").iter().find(|owner| flag(owner, "/controller"))
}

/// True if `labels` hold everything that `wanted` asks for; an empty wish matches nothing.
pub(crate) fn selects(wanted: &Value, labels: &Value) -> bool {
    let Some(wanted) = wanted.as_object().filter(|wanted| !wanted.is_empty()) else { return false };
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// A `key=value` selector of exact labels; `None` if there are none to select by.
pub(crate) fn selector(labels: &Value) -> Option<String> {
    let labels = labels.as_object().filter(|labels| !labels.is_empty())?;
    let parts: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    Some(parts.join(","))
}

/// Untrusted text for a message: one line, no control characters, bounded.
pub(crate) fn quoted(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut quoted: String = plain.take(QUOTE_CHARS_MAX).collect();
    if text.chars().nth(QUOTE_CHARS_MAX).is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn odd_shapes_read_as_nothing() {
        for odd in [json!(null), json!([]), json!({"metadata": 3}), json!({"metadata": {"labels": ["a"]}})] {
            assert_eq!((name(&odd), label(&odd, "a"), annotation(&odd, "a")), ("", None, None));
            assert_eq!((controller(&odd), time_ms(&odd, "/metadata/creationTimestamp")), (None, None));
        }
        let mut odd = json!({"metadata": "text"});
        annotate(&mut odd, "a/b", "c");
        assert_eq!(annotation(&odd, "a/b"), Some("c"));
    }

    #[test]
    fn an_empty_selector_selects_nothing() {
        assert!(!selects(&json!({}), &json!({"a": "b"})));
        assert!(!selects(&json!(null), &json!({"a": "b"})));
        assert!(selects(&json!({"a": "b"}), &json!({"a": "b", "c": "d"})));
        assert!(!selects(&json!({"a": "b"}), &json!({"a": "c"})));
        assert_eq!(selector(&json!({"a": "b", "c": "d"})).as_deref(), Some("a=b,c=d"));
    }

    #[test]
    fn quoted_text_is_one_bounded_line() {
        assert_eq!(quoted("a\nb\u{1b}[31m"), "a b [31m");
        assert_eq!(quoted(&"x".repeat(1_000)).chars().count(), QUOTE_CHARS_MAX + 1);
    }
}
