//! One call, translated into one or two requests and its answer into text. Decides nothing: a plan that needs
//! a yes waits in opsward for a person.

use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Id, Workspace};
use serde_json::{Map, Value, json};

use crate::catalogue::{Does, Offer, WORKSPACE};
use crate::text::{self, Told};
use crate::{Api, Options};

/// How long a call waits for a plan to be decided.
const PLAN_WAIT_MS: u64 = 20_000;
/// How long a call waits for an answer; assistants give a call about a minute.
const ANSWER_WAIT_MS: u64 = 45_000;

/// Carries out a call.
pub(crate) async fn call(
    api: &dyn Api,
    options: &Options,
    offer: &Offer,
    mut input: Map<String, Value>,
) -> Result<Told, Fault> {
    match offer.does {
        Does::ListWorkspaces => Ok(text::workspaces(&api.get("/workspaces").await?)),
        Does::ListIncidents => Ok(text::incidents(&api.get("/incidents").await?)),
        Does::ShowIncident => {
            let incident = identity(&input, "incident")?;
            Ok(text::incident(&api.get(&format!("/incidents/{incident}/report")).await?))
        }
        Does::ShowRun => {
            let (kind, id) = run_of(&input)?;
            Ok(text::run(&api.get(&format!("/runs/{kind}/{id}")).await?, api.address()))
        }
        Does::Look => {
            let place = place(api, options, offer, &mut input).await?;
            let path = format!("/workspaces/{place}/tools/{}", offer.name);
            Ok(text::looked(&api.post(&path, &Value::Object(input)).await?))
        }
        Does::ProposeByTool => {
            let place = place(api, options, offer, &mut input).await?;
            let path = format!("/workspaces/{place}/tools/{}/plan?wait_ms={PLAN_WAIT_MS}", offer.name);
            Ok(text::run(&api.post(&path, &Value::Object(input)).await?, api.address()))
        }
        Does::Propose => {
            let place = place(api, options, offer, &mut input).await?;
            let body = json!({"action": input.get("action"), "reason": word(&input, "reason")?});
            let path = format!("/workspaces/{place}/actions?wait_ms={PLAN_WAIT_MS}");
            Ok(text::run(&api.post(&path, &body).await?, api.address()))
        }
        Does::Diagnose => diagnose(api, options, offer, input).await,
    }
}

async fn diagnose(
    api: &dyn Api,
    options: &Options,
    offer: &Offer,
    mut input: Map<String, Value>,
) -> Result<Told, Fault> {
    let place = place(api, options, offer, &mut input).await?;
    let conversation = match input.contains_key("conversation") {
        true => Some(identity(&input, "conversation")?),
        false => None,
    };
    let body = json!({"text": word(&input, "question")?, "conversation": conversation});
    let said = api.post(&format!("/workspaces/{place}/messages"), &body).await?;
    let id = said["conversation"].as_str().map(Id::parse).transpose()?.ok_or_else(|| {
        Fault::new(Code::Unavailable, "the server's answer cannot be read").detail("it names no conversation")
    })?;
    let run = api.get(&format!("/runs/conversation/{id}?wait_ms={ANSWER_WAIT_MS}")).await?;
    Ok(text::run(&run, api.address()))
}

/// Where a call goes: as it says, as was chosen at start, or the only workspace there is.
async fn place(
    api: &dyn Api,
    options: &Options,
    offer: &Offer,
    input: &mut Map<String, Value>,
) -> Result<Workspace, Fault> {
    let given = match offer.own_workspace {
        true => input.get(WORKSPACE).cloned(),
        false => input.remove(WORKSPACE),
    };
    match given {
        Some(Value::String(name)) => return Ok(Workspace::parse(&name)?),
        None | Some(Value::Null) => {}
        Some(_) => return Err(Fault::invalid("workspace must be a name")),
    }
    if let Some(chosen) = &options.workspace {
        return Ok(chosen.clone());
    }
    let list = api.get("/workspaces").await?;
    let names: Vec<&str> = list.as_array().into_iter().flatten().filter_map(|space| space["name"].as_str()).collect();
    match names.as_slice() {
        [one] => Ok(Workspace::parse(one)?),
        [] => Err(Fault::not_found("the caller has no workspace")
            .hint("a person makes one with `opsward create-workspace`, or gives the caller a role in one")),
        several => Err(Fault::invalid("which workspace?").hint(format!("one of {}", several.join(", ")))),
    }
}

fn word<'a>(input: &'a Map<String, Value>, key: &str) -> Result<&'a str, Fault> {
    input.get(key).and_then(Value::as_str).ok_or_else(|| Fault::invalid(format!("input {key:?} must be text")))
}

fn identity(input: &Map<String, Value>, key: &str) -> Result<Id, Fault> {
    Ok(Id::parse(word(input, key)?)?)
}

fn run_of(input: &Map<String, Value>) -> Result<(&'static str, Id), Fault> {
    let run = word(input, "run")?;
    let (kind, id) = run.split_once('/').unwrap_or(("", run));
    let kinds = ["command", "conversation", "incident"];
    let kind = kinds.into_iter().find(|known| *known == kind).ok_or_else(|| {
        Fault::invalid("that is not a run").hint("KIND/ID as another tool returned it, for example command/a-1")
    })?;
    Ok((kind, Id::parse(id)?))
}
