//! What a model and a reader see of a tool, derived from its declaration.

use opsward_ports::model::ToolSchema;
use serde_json::{Map, Value, json};

use super::{Field, FieldType, Tool};

/// The schema offered to a model.
pub fn schema(tool: &Tool) -> ToolSchema {
    let properties: Map<String, Value> = tool.inputs.iter().map(|(name, f)| (name.clone(), property(f))).collect();
    let required: Vec<&String> = tool.inputs.iter().filter(|(_, f)| f.required).map(|(name, _)| name).collect();
    ToolSchema {
        name: tool.name.clone(),
        description: format!("{} Use when: {} Not when: {}", tool.summary, tool.when, tool.when_not),
        parameters: json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false
        }),
    }
}

fn property(field: &Field) -> Value {
    let mut value = match field.kind {
        FieldType::Name => json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}),
        FieldType::Text => json!({"type": "string"}),
        FieldType::Integer => json!({"type": "integer"}),
        FieldType::Boolean => json!({"type": "boolean"}),
        FieldType::Map => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        FieldType::Names => json!({"type": "array", "items": {"type": "string"}}),
        FieldType::Json => json!({}),
    };
    if let Value::Object(map) = &mut value {
        map.insert("description".into(), Value::String(field.about.clone()));
        if field.kind == FieldType::Integer {
            map.extend(field.min.map(|n| ("minimum".to_owned(), json!(n))));
            map.extend(field.max.map(|n| ("maximum".to_owned(), json!(n))));
        }
        if field.kind == FieldType::Text {
            map.extend(field.max.map(|n| ("maxLength".to_owned(), json!(n))));
        }
        map.extend(field.default.clone().map(|value| ("default".to_owned(), value)));
    }
    value
}

/// One section of `tools/README.md`.
pub fn manual(tool: &Tool) -> String {
    let mut text = format!(
        "## {}\n\n{}\n\n- **When**: {}\n- **Not when**: {}\n",
        tool.name, tool.summary, tool.when, tool.when_not
    );
    text.push_str(&format!("- **Effect**: {}\n", tool.effect().word()));
    if !tool.queries.is_empty() {
        text.push_str(&format!("- **Looks at**: {}\n", tool.queries.join(", ")));
    }
    let actions: Vec<&str> = tool.actions.iter().map(|action| action.facts().name).collect();
    if !actions.is_empty() {
        text.push_str(&format!("- **May propose**: {}\n", actions.join(", ")));
    }
    for (name, field) in &tool.inputs {
        let must = if field.required { ", required" } else { "" };
        text.push_str(&format!("- `{name}` ({:?}{must}): {}\n", field.kind, field.about).to_lowercase().replacen(
            &field.about.to_lowercase(),
            &field.about,
            1,
        ));
    }
    text.push('\n');
    text
}
