//! The OpenAPI document, derived from the closed action list and one table of routes.

use opsward_domain::action::{ActionKind, Field, FieldKind};
use serde_json::{Map, Value, json};

/// Method, path, summary. A test compares this table with the router's source.
pub const ROUTES: &[(&str, &str, &str)] = &[
    ("post", "/api/v1/login", "Trade a one-time link for a session token"),
    ("get", "/api/v1/me", "The caller"),
    ("get", "/api/v1/people", "People of the tenant"),
    ("post", "/api/v1/people", "Add a person"),
    ("post", "/api/v1/people/{subject}/roles", "Give or take a role"),
    ("post", "/api/v1/people/{subject}/tokens", "Make a token"),
    ("delete", "/api/v1/tokens/{token}", "End a token"),
    ("post", "/api/v1/switches", "Stop or allow effects"),
    ("get", "/api/v1/workspaces", "The caller's workspaces"),
    ("post", "/api/v1/workspaces/{workspace}/actions", "Ask for one action"),
    ("get", "/api/v1/workspaces/{workspace}/workloads", "Workloads"),
    ("get", "/api/v1/workspaces/{workspace}/workloads/{name}", "One workload"),
    ("get", "/api/v1/workspaces/{workspace}/workloads/{name}/output", "Its newest output, read in place"),
    ("get", "/api/v1/workspaces/{workspace}/platform/events", "What the platform noted by itself"),
    ("get", "/api/v1/workspaces/{workspace}/platform/objects/{kind}", "The platform's own objects of a kind"),
    ("get", "/api/v1/workspaces/{workspace}/volumes", "Volumes"),
    ("get", "/api/v1/workspaces/{workspace}/functions", "Functions"),
    ("get", "/api/v1/workspaces/{workspace}/backups", "Backups"),
    ("post", "/api/v1/workspaces/{workspace}/recovery-kit", "Make a recovery kit of the backups; shown once"),
    ("get", "/api/v1/workspaces/{workspace}/changes", "Deploys, configuration and scaling"),
    ("get", "/api/v1/workspaces/{workspace}/logs", "Search log lines"),
    ("post", "/api/v1/workspaces/{workspace}/logs", "Ingest log lines"),
    ("get", "/api/v1/workspaces/{workspace}/logs/templates", "Log templates with counts"),
    ("get", "/api/v1/workspaces/{workspace}/metrics/{metric}", "One metric's series"),
    ("post", "/api/v1/workspaces/{workspace}/messages", "Say something in a conversation"),
    ("post", "/api/v1/workspaces/{workspace}/alerts", "Alertmanager webhook, version 4"),
    ("post", "/api/v1/workspaces/{workspace}/tools/{tool}", "Run a tool; what it proposes is shown, not done"),
    ("post", "/api/v1/workspaces/{workspace}/tools/{tool}/plan", "Run a tool; what it proposes goes to the gate"),
    ("get", "/api/v1/workspaces/{workspace}/schedules", "Schedules"),
    ("post", "/api/v1/workspaces/{workspace}/schedules", "Make a schedule that works with the caller's rights"),
    ("post", "/api/v1/workspaces/{workspace}/schedules/{name}", "Stop a schedule for a while, or let it go on"),
    ("delete", "/api/v1/workspaces/{workspace}/schedules/{name}", "Remove a schedule"),
    ("get", "/api/v1/tools", "Tools"),
    ("get", "/api/v1/tools/{tool}", "One tool"),
    ("get", "/api/v1/actions", "Actions with their facts"),
    ("get", "/api/v1/platform", "What works on this machine and what does not"),
    ("get", "/api/v1/incidents", "Incidents"),
    ("get", "/api/v1/incidents/{id}", "One incident"),
    ("get", "/api/v1/incidents/{id}/report", "An incident's report"),
    ("get", "/api/v1/score", "Plans that observe-only withheld, against what people did"),
    ("get", "/api/v1/conversations", "Conversations"),
    ("get", "/api/v1/runs/{kind}/{id}", "A run's state"),
    ("get", "/api/v1/runs/{kind}/{id}/items", "A part of a run as items to show: after or before a place"),
    ("get", "/api/v1/runs/{kind}/{id}/trail", "A run's decision trail"),
    ("get", "/api/v1/runs/{kind}/{id}/transcript", "A run with everything needed to play it again"),
    ("post", "/api/v1/runs/{kind}/{id}/cancel", "Cancel a run's turn"),
    ("get", "/api/v1/approvals", "Open approvals"),
    ("post", "/api/v1/approvals/{id}/approve", "Say yes"),
    ("post", "/api/v1/approvals/{id}/refuse", "Say no"),
    ("get", "/api/v1/audit/verify", "Verify the journal's chain"),
    ("get", "/api/v1/events", "Journal events as pages"),
    ("get", "/api/v1/feed", "Journal events over WebSocket"),
    ("get", "/healthz", "Alive"),
    ("get", "/readyz", "Ready"),
    ("get", "/metrics", "Own metrics, Prometheus text"),
];

/// The document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for (method, path, summary) in ROUTES {
        let parameters: Vec<Value> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let mut operation = json!({"summary": summary, "parameters": parameters, "responses": {
            "200": {"description": "done"}, "default": {"description": "a fault", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Fault"}}}}}});
        if path.ends_with("/actions") && *method == "post" {
            operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Act"}}}});
        }
        let entry = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
        entry[*method] = operation;
    }
    let mut schemas = Map::new();
    let mut refs = Vec::new();
    for kind in ActionKind::ALL {
        let facts = kind.facts();
        refs.push(json!({"$ref": format!("#/components/schemas/{}", facts.name)}));
        schemas.insert(facts.name.to_owned(), action_schema(*kind));
    }
    schemas.insert("Action".into(), json!({"oneOf": refs, "discriminator": {"propertyName": "kind"}}));
    schemas.insert(
        "Act".into(),
        json!({"type": "object", "required": ["action"], "additionalProperties": false, "properties": {
        "action": {"$ref": "#/components/schemas/Action"}, "reason": {"type": "string"},
        "approve": {"type": "boolean", "description": "the asker's own yes, where policy lets it count"}}}),
    );
    schemas.insert("Fault".into(), json!({"type": "object", "properties": {"error": {"type": "object", "properties": {
        "code": {"type": "string"}, "message": {"type": "string"}, "detail": {"type": "string"}, "hint": {"type": "string"}}}}}));
    json!({
        "openapi": "3.1.0",
        "info": {"title": "opsward", "version": env!("CARGO_PKG_VERSION")},
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    })
}

fn action_schema(kind: ActionKind) -> Value {
    let facts = kind.facts();
    let mut properties = Map::from_iter([("kind".to_owned(), json!({"const": facts.name}))]);
    properties.extend(facts.fields.iter().map(|field| (field.name.to_owned(), field_schema(field))));
    let required: Vec<&str> =
        std::iter::once("kind").chain(facts.fields.iter().filter(|f| f.required).map(|f| f.name)).collect();
    json!({
        "type": "object", "description": facts.summary, "properties": properties, "required": required,
        "additionalProperties": false, "x-effect": facts.effect, "x-risk": facts.risk, "x-undo": facts.undo,
    })
}

fn field_schema(field: &Field) -> Value {
    let mut schema = match field.kind {
        FieldKind::Name => json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}),
        FieldKind::Text => json!({"type": "string"}),
        FieldKind::Names | FieldKind::Words => json!({"type": "array", "items": {"type": "string"}}),
        FieldKind::Integer => json!({"type": "integer", "minimum": 0}),
        FieldKind::Map => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        FieldKind::Json => json!({}),
    };
    schema["description"] = json!(field.about);
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_router() {
        let source = include_str!("http.rs");
        let (api, rest) = source.split_once(".nest(\"/api/v1\"").unwrap();
        let mut routed = std::collections::BTreeSet::new();
        for (prefix, part) in [("/api/v1", api), ("", rest)] {
            for route in part.split(".route(\"").skip(1) {
                let (path, handlers) = route.split_once("\",").unwrap();
                let handlers = handlers.lines().next().unwrap();
                for method in ["get", "post", "put", "patch", "delete"] {
                    if handlers.contains(&format!(" {method}(")) || handlers.contains(&format!(".{method}(")) {
                        routed.insert((method, format!("{prefix}{path}")));
                    }
                }
            }
        }
        assert!(routed.remove(&("get", "/openapi.json".to_owned())));
        let told = ROUTES.iter().map(|(method, path, _)| (*method, (*path).to_owned())).collect();
        assert_eq!(routed, told);
    }
}
