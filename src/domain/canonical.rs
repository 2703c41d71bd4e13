//! One byte form for every value, so that a digest means the same everywhere. Never lossy.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// JSON with sorted keys and no spaces.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(&map[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// SHA-256 of `bytes`, lowercase hex.
pub fn digest_bytes(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// SHA-256 over `domain` and the canonical form of `value`. `domain` keeps digests of different
/// kinds apart. A value that cannot be JSON (a map with non-text keys, NaN) digests as its error text,
/// which equals no honest digest.
pub fn digest<T: Serialize>(domain: &str, value: &T) -> String {
    let body = match serde_json::to_value(value) {
        Ok(value) => canonical(&value),
        Err(error) => format!("unrepresentable: {error}"),
    };
    digest_bytes(format!("{domain}\n{body}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn key_order_does_not_matter_and_domains_differ() {
        let a = json!({"b": 1, "a": [true, null, {"y": "é", "x": 1.5}]});
        assert_eq!(canonical(&a), r#"{"a":[true,null,{"x":1.5,"y":"é"}],"b":1}"#);
        assert_ne!(digest("plan", &a), digest("step", &a));
    }
}
