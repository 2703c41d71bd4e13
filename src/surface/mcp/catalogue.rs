//! What an assistant is offered: the service's own tools as declared, and a few of this interface. Derived
//! on every request; nothing here can approve, press a switch or manage people.

use opsward_domain::effect::Effect;
use opsward_domain::fault::{Code, Fault};
use serde_json::{Map, Value, json};

use crate::Api;

/// Most tools of the service that are offered.
const TOOLS_MAX: usize = 200;

/// One tool as offered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Offer {
    pub(crate) name: String,
    pub(crate) about: String,
    /// JSON schema of its input.
    pub(crate) input: Map<String, Value>,
    /// The strongest effect that a plan of it may have; a call itself changes nothing.
    pub(crate) effect: Effect,
    /// True if it reads what lies outside the platform.
    pub(crate) outside: bool,
    /// True if the input that says where is the tool's own and is passed on to it.
    pub(crate) own_workspace: bool,
    pub(crate) does: Does,
}

/// What a call of a tool comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// Runs a tool of the service that only looks.
    Look,
    /// Runs a tool of the service and takes what it proposes to the gate.
    ProposeByTool,
    /// Takes one action to the gate.
    Propose,
    /// Asks a question.
    Diagnose,
    /// Shows what became of a run.
    ShowRun,
    /// Shows an incident's report.
    ShowIncident,
    /// Lists incidents.
    ListIncidents,
    /// Lists workspaces.
    ListWorkspaces,
}

const PROPOSES: &str =
    "The result is a plan with its diff. Nothing changes until a person approves it in opsward; you cannot approve.";

/// Everything on offer, in the same order every time.
pub(crate) async fn offers(api: &dyn Api) -> Result<Vec<Offer>, Fault> {
    let mut all = own(&api.get("/actions").await?);
    let declared = api.get("/tools").await?;
    for tool in declared.as_array().into_iter().flatten().take(TOOLS_MAX) {
        let offer = of_service(tool)?;
        if all.iter().all(|known| known.name != offer.name) {
            all.push(offer);
        }
    }
    Ok(all)
}

/// One tool by name.
pub(crate) async fn find(api: &dyn Api, name: &str) -> Result<Option<Offer>, Fault> {
    Ok(offers(api).await?.into_iter().find(|offer| offer.name == name))
}

fn of_service(tool: &Value) -> Result<Offer, Fault> {
    let word = |key: &str| tool[key].as_str().unwrap_or_default();
    let strange =
        || Fault::new(Code::Unavailable, "the server declares a tool that cannot be read").detail(word("name"));
    let effect: Effect = serde_json::from_value(tool["effect"].clone()).map_err(|_| strange())?;
    let mut input = tool["parameters"].as_object().cloned().ok_or_else(strange)?;
    let own_workspace = input.get("properties").is_some_and(|known| known.get(WORKSPACE).is_some());
    with_workspace(&mut input);
    let does = if effect == Effect::Observe { Does::Look } else { Does::ProposeByTool };
    let mut about = format!("{} Use when: {}. Not when: {}.", word("summary"), word("when"), word("when_not"));
    if does == Does::ProposeByTool {
        about = format!("{about} {PROPOSES}");
    }
    let (name, outside) = (word("name").to_owned(), tool["source"].is_object());
    Ok(Offer { name, about, input, effect, outside, own_workspace, does })
}

/// The tools of this interface itself.
fn own(actions: &Value) -> Vec<Offer> {
    let offer = |name: &str, about: &str, does, input: Value| Offer {
        name: name.to_owned(),
        about: about.to_owned(),
        input: input.as_object().cloned().unwrap_or_default(),
        effect: Effect::Observe,
        outside: false,
        own_workspace: false,
        does,
    };
    let mut all = vec![
        offer("list_workspaces", "List the caller's workspaces.", Does::ListWorkspaces, object(json!({}), &[])),
        offer(
            "list_incidents",
            "List incidents, newest first, with their state.",
            Does::ListIncidents,
            object(json!({}), &[]),
        ),
        offer(
            "show_incident",
            "Show an incident: what was found, each claim with its evidence, what was proposed and done, the timeline.",
            Does::ShowIncident,
            object(
                json!({"incident": {"type": "string", "description": "its id, from list_incidents"}}),
                &["incident"],
            ),
        ),
        offer(
            "show_run",
            "Show what became of a plan, a question or a command: state, plan, approval, outcome of each step.",
            Does::ShowRun,
            object(
                json!({"run": {"type": "string", "description": "KIND/ID as another tool returned it, for example command/a-1"}}),
                &["run"],
            ),
        ),
    ];
    let mut ask = object(
        json!({
            "question": {"type": "string", "maxLength": 10_000, "description": "what to find out; a symptom, a workload, a time"},
            "conversation": {"type": "string", "description": "to go on in an earlier one: its id"},
        }),
        &["question"],
    );
    ask.as_object_mut().into_iter().for_each(with_workspace);
    let about = "Ask opsward what is wrong: it gathers state, changes, logs and metrics, ranks causes and answers with \
                 evidence. May propose a plan; a person approves it in opsward.";
    all.push(offer("diagnose", about, Does::Diagnose, ask));
    all.push(propose(actions));
    all
}

fn propose(actions: &Value) -> Offer {
    let one_of: Vec<Value> = actions.as_array().into_iter().flatten().map(action).collect();
    let mut input = Map::from_iter([
        ("type".to_owned(), json!("object")),
        (
            "properties".to_owned(),
            json!({
                "action": {"type": "object", "oneOf": one_of},
                "reason": {"type": "string", "maxLength": 500, "description": "why, for the person who decides"},
            }),
        ),
        ("required".to_owned(), json!(["action", "reason"])),
        ("additionalProperties".to_owned(), json!(false)),
    ]);
    with_workspace(&mut input);
    let about = format!("Propose one action of the platform. {PROPOSES}");
    let (name, effect) = ("propose_plan".to_owned(), Effect::Destroy);
    Offer { name, about, input, effect, outside: false, own_workspace: false, does: Does::Propose }
}

/// The schema of one action, from its facts.
fn action(facts: &Value) -> Value {
    let mut properties = Map::from_iter([("kind".to_owned(), json!({"const": facts["name"]}))]);
    let mut required = vec![json!("kind")];
    for field in facts["fields"].as_array().into_iter().flatten() {
        let mut schema = match field["kind"].as_str().unwrap_or_default() {
            "name" => json!({"type": "string"}),
            "names" | "words" => json!({"type": "array", "items": {"type": "string"}}),
            "integer" => json!({"type": "integer", "minimum": 0}),
            "map" => json!({"type": "object", "additionalProperties": {"type": "string"}}),
            _ => json!({}),
        };
        schema["description"] = field["about"].clone();
        if field["required"] == true {
            required.push(field["name"].clone());
        }
        properties.insert(field["name"].as_str().unwrap_or_default().to_owned(), schema);
    }
    json!({"type": "object", "description": facts["summary"], "properties": properties, "required": required,
        "additionalProperties": false})
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// Adds the input that says where, unless the tool has one of its own.
fn with_workspace(input: &mut Map<String, Value>) {
    let about = "which workspace; not needed if the caller has one only";
    let properties = input.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        properties.entry(WORKSPACE).or_insert_with(|| json!({"type": "string", "description": about}));
    }
}

/// The input that says where.
pub(crate) const WORKSPACE: &str = "workspace";
