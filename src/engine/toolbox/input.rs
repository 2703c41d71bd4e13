//! Checks a tool call's input against its declaration. A mistake goes back as data, with what was expected.

use opsward_domain::fault::Fault;
use opsward_domain::name::Workload;
use serde_json::{Map, Value};

use super::{Field, FieldType, Tool};

const TEXT_CHARS_MAX: i64 = 4_000;

/// The input with defaults filled in, or what is wrong with it.
pub fn check(tool: &Tool, input: &Value) -> Result<Value, Fault> {
    let empty = Map::new();
    let given = match input {
        Value::Object(map) => map,
        Value::Null => &empty,
        _ => return Err(Fault::invalid("the input must be a JSON object")),
    };
    if let Some(unknown) = given.keys().find(|key| !tool.inputs.contains_key(*key)) {
        let known: Vec<&str> = tool.inputs.keys().map(String::as_str).collect();
        let shown: String = unknown.chars().take(40).collect();
        return Err(Fault::invalid(format!("{} has no input {shown:?}", tool.name))
            .hint(format!("inputs: {}", known.join(", "))));
    }
    let mut checked = Map::new();
    for (name, field) in &tool.inputs {
        match given.get(name).filter(|value| !value.is_null()).or(field.default.as_ref()) {
            Some(value) => {
                field_check(name, field, value)?;
                checked.insert(name.clone(), value.clone());
            }
            None if field.required => {
                return Err(Fault::invalid(format!("input {name:?} is missing")).hint(field.about.clone()));
            }
            None => {}
        }
    }
    Ok(Value::Object(checked))
}

fn field_check(name: &str, field: &Field, value: &Value) -> Result<(), Fault> {
    let wrong =
        |expected: &str| Err(Fault::invalid(format!("input {name:?} must be {expected}")).hint(field.about.clone()));
    match (field.kind, value) {
        (FieldType::Name, Value::String(text)) => Workload::parse(text).map(|_| ()).map_err(Fault::from),
        (FieldType::Text, Value::String(text)) => {
            let most = field.max.unwrap_or(TEXT_CHARS_MAX);
            if i64::try_from(text.chars().count()).unwrap_or(i64::MAX) > most {
                return wrong(&format!("text of at most {most} characters"));
            }
            Ok(())
        }
        (FieldType::Integer, Value::Number(number)) => match number.as_i64() {
            Some(n) if field.min.is_none_or(|min| n >= min) && field.max.is_none_or(|max| n <= max) => Ok(()),
            _ => wrong(&format!(
                "a whole number from {} to {}",
                field.min.map_or("any".into(), |n| n.to_string()),
                field.max.map_or("any".into(), |n| n.to_string())
            )),
        },
        (FieldType::Boolean, Value::Bool(_)) | (FieldType::Json, _) => Ok(()),
        (FieldType::Map, Value::Object(map)) if map.values().all(Value::is_string) => Ok(()),
        (FieldType::Names, Value::Array(items)) => items.iter().try_for_each(|item| match item.as_str() {
            Some(text) => Workload::parse(text).map(|_| ()).map_err(Fault::from),
            None => wrong("a list of names"),
        }),
        (FieldType::Name, _) => wrong("a name (a-z, 0-9, '-')"),
        (FieldType::Text, _) => wrong("text"),
        (FieldType::Integer, _) => wrong("a whole number"),
        (FieldType::Boolean, _) => wrong("true or false"),
        (FieldType::Map, _) => wrong("an object with text values"),
        (FieldType::Names, _) => wrong("a list of names"),
    }
}
