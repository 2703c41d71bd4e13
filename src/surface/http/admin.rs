//! Login, people, tokens and switches over REST.

use axum::Json;
use axum::extract::{Path, State};
use opsward_domain::context::Origin;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Id, Subject, Workspace};
use opsward_domain::principal::Role;
use opsward_engine::people::Purpose;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Sent;
use super::{Caller, Shared};
use crate::problem::Problem;

type Answer = Result<Json<Value>, Problem>;

/// How long a session from a one-time link lasts.
const SESSION_MS: i64 = 12 * 60 * 60 * 1000;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    link: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PersonAdd {
    subject: Subject,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleSet {
    #[serde(default)]
    workspace: Option<Workspace>,
    role: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TokenIssue {
    days: Option<i64>,
    /// For software that looks and proposes for the person, and can never say yes.
    assistant: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SwitchSet {
    #[serde(default)]
    workspace: Option<Workspace>,
    on: bool,
    #[serde(default)]
    reason: String,
}

pub(super) async fn login(State(s): State<Shared>, Sent(body): Sent<Login>) -> Answer {
    let (principal, token) = s.engine.redeem(&body.link, SESSION_MS).await?;
    Ok(Json(json!({"token": token, "subject": principal.subject, "tenant": principal.tenant})))
}

pub(super) async fn me(Caller(cx): Caller) -> Json<Value> {
    let mut me = json!(cx.principal);
    me["door"] = json!(cx.origin);
    Json(me)
}

pub(super) async fn people(State(s): State<Shared>, Caller(cx): Caller) -> Answer {
    s.engine.setup.may_observe(&cx, None, "people").await?;
    Ok(Json(json!(s.engine.setup.people.list(cx.tenant()))))
}

pub(super) async fn person_add(State(s): State<Shared>, Caller(cx): Caller, Sent(body): Sent<PersonAdd>) -> Answer {
    s.engine.setup.may_govern(&cx, None, "manage_people").await?;
    s.engine.setup.people.add(&cx, &body.subject).await?;
    Ok(Json(json!({"added": body.subject})))
}

pub(super) async fn role_set(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path(subject): Path<String>,
    Sent(body): Sent<RoleSet>,
) -> Answer {
    let subject = Subject::parse(&subject).map_err(Fault::from)?;
    let role: Option<Role> = body.role.as_deref().map(str::parse).transpose()?;
    s.engine.setup.may_govern(&cx, body.workspace.as_ref(), "manage_people").await?;
    if role.is_some_and(|role| cx.principal.tenant_role < Some(role)) && body.workspace.is_none() {
        return Err(Problem(Fault::denied("nobody gives a role above their own")));
    }
    s.engine.setup.people.set_role(&cx, &subject, body.workspace.as_ref(), role).await?;
    Ok(Json(json!({"subject": subject, "role": role, "workspace": body.workspace})))
}

pub(super) async fn token_issue(
    State(s): State<Shared>,
    Caller(cx): Caller,
    Path(subject): Path<String>,
    body: Option<Sent<TokenIssue>>,
) -> Answer {
    let subject = Subject::parse(&subject).map_err(Fault::from)?;
    // A token is its person: only they make one for themselves, or whoever may manage people.
    // An assistant is not they.
    if subject != cx.principal.subject || cx.origin == Origin::Agent {
        s.engine.setup.may_govern(&cx, None, "manage_people").await?;
    }
    let TokenIssue { days, assistant } = body.map(|Sent(body)| body).unwrap_or_default();
    if days.is_some_and(|days| !(1..=3650).contains(&days)) {
        return Err(Problem(Fault::invalid("days must be 1 to 3650")));
    }
    let expires = days.map(|days| s.engine.parts.clock.now_ms() + days * DAY_MS);
    let purpose = if assistant { Purpose::Assistant } else { Purpose::Session };
    let token = s.engine.setup.people.issue(&cx, &subject, expires, purpose).await?;
    Ok(Json(json!({"subject": subject, "token": token, "expires_at_ms": expires, "assistant": assistant})))
}

pub(super) async fn token_revoke(State(s): State<Shared>, Caller(cx): Caller, Path(token): Path<String>) -> Answer {
    let token = Id::parse(&token).map_err(Fault::from)?;
    let own = s
        .engine
        .setup
        .people
        .list(cx.tenant())
        .into_iter()
        .any(|person| person.subject == cx.principal.subject && person.tokens.contains_key(&token));
    if !own || cx.origin == Origin::Agent {
        s.engine.setup.may_govern(&cx, None, "manage_people").await?;
    }
    s.engine.setup.people.revoke(&cx, &token, "revoked").await?;
    Ok(Json(json!({"revoked": token})))
}

pub(super) async fn switch_set(State(s): State<Shared>, Caller(cx): Caller, Sent(body): Sent<SwitchSet>) -> Answer {
    s.engine.setup.may_govern(&cx, body.workspace.as_ref(), "set_switch").await?;
    s.engine.setup.switches.set(&cx, body.workspace.clone(), body.on, &body.reason).await?;
    Ok(Json(json!({"workspace": body.workspace, "on": body.on})))
}

/// The page goes to the caller and is kept nowhere.
pub(super) async fn recovery_kit(State(s): State<Shared>, Caller(cx): Caller, Path(workspace): Path<String>) -> Answer {
    let workspace = Workspace::parse(&workspace).map_err(Fault::from)?;
    let page = s.engine.recovery_kit(&cx, &workspace).await?;
    Ok(Json(json!({"workspace": workspace, "page": page})))
}
