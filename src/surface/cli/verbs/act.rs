//! Typed actions from the terminal: the same plan past the same gate. A y at the terminal is the asker's
//! own yes where policy lets it count; otherwise the approval's id is printed and the exit code is 3.

use clap::ArgMatches;
use opsward_domain::action::{ActionKind, FieldKind};
use opsward_domain::fault::Fault;
use serde_json::{Map, Value, json};

use super::super::client::Client;
use super::super::print;
use super::{read_input, text, workspace};

const WAIT_MS: u64 = 60_000;

pub(super) async fn typed(client: &Client, kind: ActionKind, matches: &ArgMatches) -> Result<u8, Fault> {
    let facts = kind.facts();
    let mut action = Map::from_iter([("kind".to_owned(), json!(facts.name))]);
    for field in facts.fields {
        let value = match field.kind {
            FieldKind::Name | FieldKind::Text => matches.get_one::<String>(field.name).map(|name| json!(name)),
            FieldKind::Integer => matches.get_one::<u64>(field.name).map(|number| json!(number)),
            FieldKind::Names | FieldKind::Words => {
                matches.get_many::<String>(field.name).map(|all| json!(all.collect::<Vec<_>>()))
            }
            FieldKind::Map => {
                matches.get_many::<String>(field.name).map(|all| pairs(all.map(String::as_str))).transpose()?
            }
            FieldKind::Json => matches.get_one::<String>(field.name).map(|text| json_argument(text)).transpose()?,
        };
        action.extend(value.map(|value| (field.name.to_owned(), value)));
    }
    if kind == ActionKind::CreateWorkspace && matches.get_one::<String>("workspace").is_none() {
        return Err(Fault::invalid("which workspace?").hint("name the new one with -w NAME"));
    }
    let space = workspace(client, matches).await?;
    act(client, &space, Value::Object(action), matches).await
}

pub(super) async fn literal(client: &Client, matches: &ArgMatches) -> Result<u8, Fault> {
    let space = workspace(client, matches).await?;
    act(client, &space, json_argument(&text(matches, "action"))?, matches).await
}

fn pairs<'a>(all: impl Iterator<Item = &'a str>) -> Result<Value, Fault> {
    let mut map = Map::new();
    for pair in all {
        let (key, value) = pair.split_once('=').ok_or_else(|| Fault::invalid(format!("{pair:?} is not KEY=VALUE")))?;
        map.insert(key.to_owned(), json!(value));
    }
    Ok(Value::Object(map))
}

/// JSON given on the command line, or `@FILE`.
pub(super) fn json_argument(text: &str) -> Result<Value, Fault> {
    let body = match text.strip_prefix('@') {
        Some(file) => read_input(file)?,
        None => text.to_owned(),
    };
    serde_json::from_str(&body).map_err(|error| {
        Fault::invalid("that is not JSON")
            .detail(error.to_string())
            .hint("for example '{\"workload\": \"web\"}'; @FILE reads a file")
    })
}

async fn act(client: &Client, space: &str, action: Value, matches: &ArgMatches) -> Result<u8, Fault> {
    let body = json!({"action": action, "reason": text(matches, "reason")});
    let mut run = client.post(&format!("/workspaces/{space}/actions?wait_ms={WAIT_MS}"), &body).await?;
    if run["status"] == "awaiting_approval" {
        let yes = consent(client, &run, matches.get_flag("yes"));
        let id = print::field(&run["approval"], "id");
        if !yes {
            return Ok(waiting(client, &run, &id));
        }
        client.post(&format!("/approvals/{id}/approve"), &json!({})).await?;
        run = client.get(&format!("/runs/command/{}?wait_ms={WAIT_MS}", print::field(&run, "run"))).await?;
    }
    Ok(finished(client, &run))
}

/// The asker's own yes, where it counts: by flag, or at a terminal after the card was shown.
fn consent(client: &Client, run: &Value, flag: bool) -> bool {
    if run["approval"]["not_asker"].as_bool().unwrap_or(true) {
        return false;
    }
    if flag {
        return true;
    }
    if client.json || !print::person_here() {
        return false;
    }
    print::line(&print::field(&run["plan"], "card"));
    print::ask("Do it?")
}

fn waiting(client: &Client, run: &Value, id: &str) -> u8 {
    if client.json {
        print::json(run);
    } else {
        print::line(&print::field(&run["plan"], "card"));
        print::line(&format!("waits for approval {id}: `opsward approve {id}`"));
    }
    3
}

fn finished(client: &Client, run: &Value) -> u8 {
    let status = print::field(run, "status");
    if client.json {
        print::json(run);
    } else {
        if let Some(found) = run.get("fault").filter(|fault| !fault.is_null()) {
            fault(found);
        }
        if status == "denied" {
            print::line(&print::field(&run["plan"], "card"));
        }
        let outcomes = run["plan"]["outcomes"].as_array().cloned().unwrap_or_default();
        for (at, step) in run["plan"]["plan"]["steps"].as_array().into_iter().flatten().enumerate() {
            print::line(&format!("{}: {status}", print::field(&step["action"], "kind")));
            outcomes.get(at).into_iter().for_each(outcome);
        }
        let detail = print::field(run, "detail");
        if !detail.is_empty() {
            print::line(&detail);
        }
    }
    match status.as_str() {
        "succeeded" => 0,
        "denied" => 4,
        "awaiting_approval" => 3,
        _ => 1,
    }
}

/// What a step came to, and what it returned if it returned something.
fn outcome(outcome: &Value) {
    if let Some(found) = outcome.get("fault") {
        return fault(found);
    }
    let summary = print::field(outcome, "summary");
    if !summary.is_empty() {
        print::line(&format!("  {summary}"));
    }
    if !outcome["result"]["status"].is_null() {
        print::line(&format!("  {}", outcome["result"]));
    }
}

fn fault(fault: &Value) {
    print::line(&format!("error: {}", print::field(fault, "message")));
    for key in ["detail", "hint"] {
        if !print::field(fault, key).is_empty() {
            print::line(&format!("  {key}: {}", print::field(fault, key)));
        }
    }
}
