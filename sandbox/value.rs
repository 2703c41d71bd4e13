//! Values in and out of the interpreter, as JSON. Only plain data passes; a step passes outwards only.

use opsward_wire::STEP_KEY;
use rhai::{Dynamic, Map};
use serde_json::{Number, Value};

/// Deepest nesting of a value that leaves the worker.
const MAX_DEPTH: usize = 32;

/// Most values in one value that leaves the worker, containers included.
const MAX_VALUES: usize = 50_000;

/// What a step constructor returns. A script can pass it on, but not look inside or make one up.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Name of the constructor.
    pub(crate) name: String,
    /// Its arguments.
    pub(crate) args: serde_json::Map<String, Value>,
}

/// Why a value may not leave the worker.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueFault {
    /// NaN or an infinity.
    #[error("a number is not finite")]
    NotFinite,
    /// Deeper than [`MAX_DEPTH`].
    #[error("a value is nested more than 32 deep")]
    TooDeep,
    /// More than [`MAX_VALUES`].
    #[error("a value has more than 50000 parts")]
    TooMany,
    /// A step where only data may be.
    #[error("a step cannot be an argument")]
    StepInside,
    /// A function pointer or something else that is not data.
    #[error("a value of type {0} cannot leave the script")]
    NotPlain(String),
}

/// JSON as the script sees it. Whole numbers over 63 bits become floats.
pub(crate) fn to_dynamic(value: Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => flag.into(),
        Value::Number(number) => number.as_i64().map_or_else(
            || number.as_f64().filter(|float| float.is_finite()).map_or(Dynamic::UNIT, Dynamic::from),
            Dynamic::from,
        ),
        Value::String(text) => text.into(),
        Value::Array(items) => Dynamic::from_array(items.into_iter().map(to_dynamic).collect()),
        Value::Object(fields) => {
            Dynamic::from_map(fields.into_iter().map(|(key, field)| (key.into(), to_dynamic(field))).collect())
        }
    }
}

/// A script's result as JSON, steps included.
///
/// # Errors
/// [`ValueFault`] for anything that is not plain data within the bounds.
pub(crate) fn result_to_json(value: &Dynamic) -> Result<Value, ValueFault> {
    Export { left: MAX_VALUES, steps: true }.value(value, MAX_DEPTH)
}

/// Arguments of a call or a step as JSON; no steps inside.
///
/// # Errors
/// As [`result_to_json`], and [`ValueFault::StepInside`].
pub(crate) fn arguments_to_json(arguments: &Map) -> Result<serde_json::Map<String, Value>, ValueFault> {
    Export { left: MAX_VALUES, steps: false }.fields(arguments, MAX_DEPTH)
}

struct Export {
    left: usize,
    steps: bool,
}

impl Export {
    fn value(&mut self, value: &Dynamic, depth: usize) -> Result<Value, ValueFault> {
        self.left = self.left.checked_sub(1).ok_or(ValueFault::TooMany)?;
        let depth = depth.checked_sub(1).ok_or(ValueFault::TooDeep)?;
        if value.is_unit() {
            return Ok(Value::Null);
        }
        if let Ok(flag) = value.as_bool() {
            return Ok(Value::Bool(flag));
        }
        if let Ok(number) = value.as_int() {
            return Ok(Value::Number(number.into()));
        }
        if let Ok(number) = value.as_float() {
            return Number::from_f64(number).map(Value::Number).ok_or(ValueFault::NotFinite);
        }
        if let Ok(letter) = value.as_char() {
            return Ok(Value::String(letter.to_string()));
        }
        if let Ok(text) = value.as_immutable_string_ref() {
            return Ok(Value::String(text.to_string()));
        }
        if let Ok(items) = value.as_array_ref() {
            return items.iter().map(|item| self.value(item, depth)).collect::<Result<_, _>>().map(Value::Array);
        }
        if let Ok(fields) = value.as_map_ref() {
            return self.fields(&fields, depth).map(Value::Object);
        }
        match value.read_lock::<Step>() {
            Some(_) if !self.steps => Err(ValueFault::StepInside),
            Some(step) => Ok(Value::Object(step_fields(&step))),
            None => Err(ValueFault::NotPlain(value.type_name().to_owned())),
        }
    }

    fn fields(&mut self, fields: &Map, depth: usize) -> Result<serde_json::Map<String, Value>, ValueFault> {
        fields.iter().map(|(key, field)| Ok((data_key(key), self.value(field, depth)?))).collect()
    }
}

fn step_fields(step: &Step) -> serde_json::Map<String, Value> {
    let mut fields = step.args.clone();
    fields.insert(STEP_KEY.to_owned(), Value::String(step.name.clone()));
    fields
}

/// A key as data: a mark that would make it a step gets one more `$`, so no log line can be a step.
fn data_key(key: &str) -> String {
    let marks_a_step =
        key.strip_prefix('$').is_some_and(|rest| format!("${}", rest.trim_start_matches('$')) == STEP_KEY);
    if marks_a_step { format!("${key}") } else { key.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_data_survives_the_round_trip() {
        for value in [
            json!(null),
            json!(true),
            json!(i64::MAX),
            json!(i64::MIN),
            json!(1.5),
            json!("日本"),
            json!([1, [2.5, "x"], {"k": null}]),
            json!({"a": {"b": [{}]}}),
        ] {
            assert_eq!(result_to_json(&to_dynamic(value.clone())).unwrap(), value);
        }
    }

    #[test]
    fn large_whole_numbers_become_floats() {
        assert_eq!(result_to_json(&to_dynamic(json!(u64::MAX))).unwrap(), json!(18_446_744_073_709_551_615.0));
    }

    #[test]
    fn what_is_not_plain_is_refused() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(result_to_json(&number.into()), Err(ValueFault::NotFinite));
        }
        let pointer = Dynamic::from(rhai::FnPtr::new("f").unwrap());
        assert!(matches!(result_to_json(&pointer), Err(ValueFault::NotPlain(_))));
        assert!(matches!(result_to_json(&Dynamic::from_blob(vec![1])), Err(ValueFault::NotPlain(_))));
        let mut deep = Dynamic::UNIT;
        for _ in 0..MAX_DEPTH {
            deep = Dynamic::from_array(vec![deep]);
        }
        assert_eq!(result_to_json(&deep), Err(ValueFault::TooDeep));
        let wide = Dynamic::from_array(vec![Dynamic::UNIT; MAX_VALUES]);
        assert_eq!(result_to_json(&wide), Err(ValueFault::TooMany));
    }

    #[test]
    fn only_a_step_is_marked_as_a_step() {
        let step = Dynamic::from(Step { name: "restart".to_owned(), args: serde_json::Map::new() });
        assert_eq!(result_to_json(&step).unwrap(), json!({"$step": "restart"}));
        for (forged, data) in [("$step", "$$step"), ("$$step", "$$$step")] {
            let map = to_dynamic(json!({forged: "restart"}));
            assert_eq!(result_to_json(&map).unwrap(), json!({data: "restart"}));
        }
        for harmless in ["step", "$steps", "a$step", "$"] {
            assert_eq!(result_to_json(&to_dynamic(json!({harmless: 1}))).unwrap(), json!({harmless: 1}));
        }
        let arguments = Map::from([("x".into(), step)]);
        assert_eq!(arguments_to_json(&arguments), Err(ValueFault::StepInside));
    }
}
