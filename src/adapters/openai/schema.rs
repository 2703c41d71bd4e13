//! Rewrites a JSON schema into the subset that an endpoint takes. Only ever loosens what the model is
//! told: the tool's own schema still checks what it says.

use serde_json::{Map, Value, json};

use crate::dialect::Schema;

/// Deepest nesting that is rewritten; what is deeper becomes "anything".
const DEPTH_MAX: usize = 16;

/// Words that every endpoint understands.
const KEPT: &[&str] = &["type", "description", "enum", "properties", "required", "items", "anyOf"];

/// The schema as the endpoint takes it.
pub(crate) fn simplify(schema: &Value, level: Schema) -> Value {
    match level {
        Schema::Full => schema.clone(),
        Schema::Simple | Schema::Strict => rewrite(schema, schema, level == Schema::Strict, 0),
    }
}

fn rewrite(node: &Value, root: &Value, strict: bool, depth: usize) -> Value {
    let Some(object) = node.as_object().filter(|_| depth < DEPTH_MAX) else { return json!({}) };
    if let Some(pointer) = object.get("$ref").and_then(Value::as_str) {
        let target = pointer.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map_or_else(|| json!({}), |target| rewrite(target, root, strict, depth + 1));
    }
    let mut out = Map::new();
    for (key, value) in object {
        match key.as_str() {
            "properties" => {
                let each = value.as_object().into_iter().flatten();
                let each = each.map(|(name, schema)| (name.clone(), rewrite(schema, root, strict, depth + 1)));
                out.insert(key.clone(), Value::Object(each.collect()));
            }
            "items" => {
                out.insert(key.clone(), rewrite(value, root, strict, depth + 1));
            }
            "anyOf" | "oneOf" => {
                let each = value.as_array().into_iter().flatten();
                let each = each.map(|schema| rewrite(schema, root, strict, depth + 1));
                out.insert("anyOf".to_owned(), Value::Array(each.collect()));
            }
            "const" => {
                out.insert("enum".to_owned(), json!([value]));
            }
            kept if KEPT.contains(&kept) => {
                out.insert(key.clone(), value.clone());
            }
            _ => {}
        }
    }
    if out.get("type").is_some_and(|kind| kind == "object") {
        out.entry("properties").or_insert_with(|| json!({}));
        if strict {
            require_all(&mut out);
        }
    }
    Value::Object(out)
}

/// Strict endpoints want every property required; what was optional may be null instead.
fn require_all(object: &mut Map<String, Value>) {
    let before: Vec<Value> = object.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut names = Vec::new();
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, schema) in properties {
            if !before.iter().any(|required| required == name) {
                make_nullable(schema);
            }
            names.push(Value::String(name.clone()));
        }
    }
    object.insert("required".to_owned(), Value::Array(names));
    object.insert("additionalProperties".to_owned(), Value::Bool(false));
}

fn make_nullable(schema: &mut Value) {
    match schema.get_mut("type") {
        Some(Value::String(kind)) => {
            let kind = kind.clone();
            schema["type"] = json!([kind, "null"]);
        }
        Some(Value::Array(kinds)) if !kinds.contains(&json!("null")) => kinds.push(json!("null")),
        Some(_) => {}
        None => *schema = json!({ "anyOf": [schema.clone(), { "type": "null" }] }),
    }
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.push(Value::Null);
    }
}

/// Takes out the nulls that stand for "not given" under a strict schema.
pub(crate) fn without_nulls(value: &mut Value) {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, member| !member.is_null());
        object.values_mut().for_each(without_nulls);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_keep_what_matters() {
        let full = json!({
            "$schema": "x", "type": "object", "title": "T", "required": ["workload"],
            "properties": {
                "workload": {"type": "string", "format": "hostname", "pattern": "^[a-z]+$", "description": "which"},
                "mode": {"oneOf": [{"const": "fast"}, {"$ref": "#/$defs/slow"}]},
                "level": {"type": "string", "enum": ["low", "high"]},
                "options": {"type": "object"}
            },
            "$defs": {"slow": {"type": "integer", "minimum": 1}, "loop": {"$ref": "#/$defs/loop"}}
        });
        assert_eq!(simplify(&full, Schema::Full), full);
        let simple = simplify(&full, Schema::Simple);
        assert_eq!(simple["properties"]["workload"], json!({"type": "string", "description": "which"}));
        assert_eq!(simple["properties"]["mode"], json!({"anyOf": [{"enum": ["fast"]}, {"type": "integer"}]}));
        assert_eq!(simple["required"], json!(["workload"]));
        let strict = simplify(&full, Schema::Strict);
        assert_eq!(strict["additionalProperties"], false);
        assert_eq!(strict["required"].as_array().map(Vec::len), Some(4));
        assert_eq!(strict["properties"]["workload"]["type"], "string");
        assert_eq!(strict["properties"]["level"], json!({"type": ["string", "null"], "enum": ["low", "high", null]}));
        assert_eq!(strict["properties"]["options"]["additionalProperties"], false);
        let endless = json!({"$ref": "#/$defs/loop", "$defs": {"loop": {"$ref": "#/$defs/loop"}}});
        assert_eq!(simplify(&endless, Schema::Simple), json!({}));
    }

    #[test]
    fn nulls_that_mean_absent_go() {
        let mut value = json!({"a": null, "b": {"c": null, "d": 1}, "e": [null]});
        without_nulls(&mut value);
        assert_eq!(value, json!({"b": {"d": 1}, "e": [null]}));
    }
}
