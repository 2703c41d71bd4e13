//! Label selectors, as the API conventions define them. An empty selector matches everything, none nothing.

use serde_json::Value;

use crate::object::{items, pairs, text};

/// True if every `key: value` of a plain map (a Service's selector, a node selector) is among the labels.
pub(crate) fn map_matches(selector: &Value, labels: &Value) -> bool {
    pairs(selector).all(|(key, value)| labels[key].as_str() == Some(value))
}

/// True if a LabelSelector matches the labels.
pub(crate) fn matches(selector: &Value, labels: &Value) -> bool {
    selector.is_object()
        && map_matches(&selector["matchLabels"], labels)
        && items(&selector["matchExpressions"]).iter().all(|rule| expression(rule, labels))
}

/// True if the selector has no condition at all.
pub(crate) fn is_empty(selector: &Value) -> bool {
    pairs(&selector["matchLabels"]).next().is_none() && items(&selector["matchExpressions"]).is_empty()
}

/// One `{key, operator, values}`; node selector terms use the same shape with two more operators.
pub(crate) fn expression(rule: &Value, labels: &Value) -> bool {
    let have = labels[text(&rule["key"])].as_str();
    let listed = |value: &str| items(&rule["values"]).iter().any(|item| item.as_str() == Some(value));
    let bound = || items(&rule["values"]).first().and_then(Value::as_str).and_then(|text| text.parse::<i64>().ok());
    let number = || have.and_then(|text| text.parse::<i64>().ok());
    match text(&rule["operator"]) {
        "In" => have.is_some_and(listed),
        "NotIn" => !have.is_some_and(listed),
        "Exists" => have.is_some(),
        "DoesNotExist" => have.is_none(),
        "Gt" => number().zip(bound()).is_some_and(|(have, bound)| have > bound),
        "Lt" => number().zip(bound()).is_some_and(|(have, bound)| have < bound),
        _ => false,
    }
}

/// A selector as `key=value,key=value`, for sentences.
pub(crate) fn shown(map: &Value) -> String {
    pairs(map).map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// A LabelSelector for sentences.
pub(crate) fn shown_full(selector: &Value) -> String {
    let mut parts: Vec<String> = pairs(&selector["matchLabels"]).map(|(key, value)| format!("{key}={value}")).collect();
    for rule in items(&selector["matchExpressions"]) {
        let values: Vec<&str> = items(&rule["values"]).iter().map(text).collect();
        parts.push(format!("{} {} ({})", text(&rule["key"]), text(&rule["operator"]), values.join(",")));
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn follows_the_conventions() {
        let labels = json!({"app": "cart", "tier": "3"});
        for (selector, want) in [
            (json!({}), true),
            (json!(null), false),
            (json!({"matchLabels": {"app": "cart"}}), true),
            (json!({"matchLabels": {"app": "Cart"}}), false),
            (json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "cart"]}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["cart"]}]}), false),
            (json!({"matchExpressions": [{"key": "gone", "operator": "NotIn", "values": ["cart"]}]}), true),
            (json!({"matchExpressions": [{"key": "gone", "operator": "DoesNotExist"}]}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "Gt", "values": ["2"]}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "Sounds", "values": ["cart"]}]}), false),
        ] {
            assert_eq!(matches(&selector, &labels), want, "{selector}");
        }
    }
}
