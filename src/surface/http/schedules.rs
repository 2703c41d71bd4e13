//! Schedules over REST. A schedule is its maker's; what it starts is decided when it is due.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Id, Workspace};
use opsward_domain::schedule::{LATE_MINUTES_DEFAULT, Schedule, When, Work};
use opsward_engine::facade::Engine;
use opsward_engine::schedules::ScheduleState;
use serde::Deserialize;
use serde_json::{Value, json};

use super::work::{action_of, parse, workspace_of};
use super::{Caller, Shared};
use crate::problem::Problem;
use crate::view;

type Answer = Result<Json<Value>, Problem>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    name: String,
    #[serde(default)]
    cron: Option<String>,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    every_minutes: Option<u32>,
    #[serde(default)]
    action: Option<Value>,
    #[serde(default)]
    tool: Option<String>,
    #[serde(default)]
    input: Option<Value>,
    #[serde(default)]
    ask: Option<String>,
    #[serde(default)]
    late_minutes: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    paused: bool,
}

impl Add {
    fn when(&self) -> Result<When, Fault> {
        match (&self.cron, self.every_minutes, &self.zone) {
            (Some(expression), None, zone) => Ok(When::Cron {
                expression: expression.clone(),
                zone: zone.clone().unwrap_or_else(|| "UTC".to_owned()),
            }),
            (None, Some(minutes), None) => Ok(When::Every { minutes }),
            (None, Some(_), Some(_)) => Err(Fault::invalid("a period has no time zone").hint("leave zone out")),
            _ => Err(Fault::invalid("when?").hint("give exactly one of cron and every_minutes")),
        }
    }

    fn work(self) -> Result<Work, Fault> {
        match (self.action, self.tool, self.ask, self.input) {
            (Some(action), None, None, None) => Ok(Work::Act { action: Box::new(action_of(action)?) }),
            (None, Some(tool), None, input) => Ok(Work::Tool { tool, input: input.unwrap_or_else(|| json!({})) }),
            (None, None, Some(text), None) => Ok(Work::Ask { text }),
            _ => Err(Fault::invalid("what?").hint("give exactly one of action, tool (with input) and ask")),
        }
    }
}

pub(super) async fn add(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path(workspace): Path<String>,
    Json(body): Json<Value>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let workspace = workspace_of(&workspace)?;
    let body: Add = parse(body)?;
    let schedule = Schedule {
        name: Id::parse(&body.name).map_err(Fault::from)?,
        workspace,
        when: body.when()?,
        late_minutes: body.late_minutes.unwrap_or(LATE_MINUTES_DEFAULT),
        work: body.work()?,
    };
    let made = s.engine.schedule_add(&cx, schedule).await?;
    Ok((StatusCode::CREATED, Json(shown(&s.engine, &cx, &made).await?)))
}

pub(super) async fn list(State(s): State<Shared>, Caller(cx): Caller, Path(workspace): Path<String>) -> Answer {
    let workspace = workspace_of(&workspace)?;
    let mut list = Vec::new();
    for state in s.engine.schedules(&cx, &workspace).await? {
        list.push(shown(&s.engine, &cx, &state).await?);
    }
    Ok(Json(json!(list)))
}

pub(super) async fn change(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path((workspace, name)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Answer {
    let (workspace, name) = named(&workspace, &name)?;
    let body: Change = parse(body)?;
    let state = s.engine.schedule_pause(&cx, &workspace, &name, body.paused).await?;
    Ok(Json(shown(&s.engine, &cx, &state).await?))
}

pub(super) async fn remove(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path((workspace, name)): Path<(String, String)>,
) -> Answer {
    let (workspace, name) = named(&workspace, &name)?;
    s.engine.schedule_remove(&cx, &workspace, &name).await?;
    Ok(Json(json!({"removed": name})))
}

fn named(workspace: &str, name: &str) -> Result<(Workspace, Id), Fault> {
    Ok((workspace_of(workspace)?, Id::parse(name)?))
}

/// A schedule as JSON, with where its last run stands.
async fn shown(
    engine: &Engine,
    cx: &opsward_domain::context::CallContext,
    state: &ScheduleState,
) -> Result<Value, Fault> {
    let last = match &state.last {
        None => Value::Null,
        Some(last) => {
            let run = engine.run(cx, &last.run).await?;
            json!({
                "due_ms": last.due_ms, "coalesced": last.coalesced, "kind": last.run.kind, "run": last.run.id,
                "status": view::status(&run),
            })
        }
    };
    let schedule = &state.schedule;
    Ok(json!({
        "name": schedule.name, "workspace": schedule.workspace, "owner": state.owner,
        "when": schedule.when, "when_words": schedule.when.to_string(),
        "work": schedule.work, "work_words": schedule.work.to_string(),
        "late_minutes": schedule.late_minutes, "paused": state.paused, "made_at_ms": state.made_at_ms,
        "next_ms": state.next_ms.filter(|_| !state.paused), "last": last, "missed": state.missed,
    }))
}
