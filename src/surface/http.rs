//! REST, the feed and the chat page. Every request but health, login and static files needs a token;
//! Host and Origin are checked on all of them.

mod admin;
mod auth;
mod body;
mod evidence;
mod feed;
mod page;
mod runs;
mod schedules;
mod telemetry;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};
use opsward_domain::fault::Fault;
use opsward_engine::facade::Engine;
use tokio::sync::Semaphore;

pub use auth::Caller;
pub use feed::{Patience, READERS_MAX};

use crate::problem::Problem;

/// Largest request body; a function's source is the largest thing sent.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What handlers share.
#[derive(Clone)]
pub struct Shared {
    /// The engine.
    pub engine: Arc<Engine>,
    /// `host:port` values that a Host header may have.
    pub hosts: Arc<Vec<String>>,
    /// True once the engine is ready.
    pub ready: Arc<AtomicBool>,
    /// Places for readers of the feed.
    pub readers: Arc<Semaphore>,
    /// How long they are waited for.
    pub patience: Patience,
}

impl Shared {
    /// A surface of `engine` for these hosts, not ready yet.
    pub fn new(engine: Arc<Engine>, hosts: Vec<String>) -> Self {
        let readers = Arc::new(Semaphore::new(READERS_MAX));
        Self { engine, hosts: Arc::new(hosts), ready: Arc::default(), readers, patience: Patience::default() }
    }
}

/// The whole HTTP surface.
pub fn router(shared: Shared) -> Router {
    let api = Router::new()
        .route("/login", post(admin::login))
        .route("/me", get(admin::me))
        .route("/people", get(admin::people).post(admin::person_add))
        .route("/people/{subject}/roles", post(admin::role_set))
        .route("/people/{subject}/tokens", post(admin::token_issue))
        .route("/tokens/{token}", delete(admin::token_revoke))
        .route("/switches", post(admin::switch_set))
        .route("/workspaces", get(work::workspaces))
        .route("/workspaces/{workspace}/actions", post(work::act))
        .route("/workspaces/{workspace}/workloads", get(work::workloads))
        .route("/workspaces/{workspace}/workloads/{name}", get(work::workload))
        .route("/workspaces/{workspace}/workloads/{name}/output", get(evidence::live_output))
        .route("/workspaces/{workspace}/platform/events", get(evidence::platform_events))
        .route("/workspaces/{workspace}/platform/objects/{kind}", get(evidence::platform_objects))
        .route("/workspaces/{workspace}/volumes", get(work::volumes))
        .route("/workspaces/{workspace}/functions", get(work::functions))
        .route("/workspaces/{workspace}/backups", get(work::backups))
        .route("/workspaces/{workspace}/recovery-kit", post(admin::recovery_kit))
        .route("/workspaces/{workspace}/changes", get(evidence::changes))
        .route("/workspaces/{workspace}/logs", get(evidence::logs).post(evidence::ingest))
        .route("/workspaces/{workspace}/logs/templates", get(evidence::templates))
        .route("/workspaces/{workspace}/metrics/{metric}", get(evidence::metrics))
        .route("/workspaces/{workspace}/messages", post(runs::say))
        .route("/workspaces/{workspace}/alerts", post(evidence::alerts))
        .route("/workspaces/{workspace}/tools/{tool}", post(work::tool_run))
        .route("/workspaces/{workspace}/tools/{tool}/plan", post(work::tool_plan))
        .route("/workspaces/{workspace}/schedules", get(schedules::list).post(schedules::add))
        .route("/workspaces/{workspace}/schedules/{name}", post(schedules::change).delete(schedules::remove))
        .route("/tools", get(work::tools))
        .route("/tools/{tool}", get(work::tool))
        .route("/actions", get(work::actions))
        .route("/platform", get(work::platform))
        .route("/incidents", get(runs::incidents))
        .route("/incidents/{id}", get(runs::incident))
        .route("/incidents/{id}/report", get(runs::report))
        .route("/score", get(runs::score))
        .route("/conversations", get(runs::conversations))
        .route("/runs/{kind}/{id}", get(runs::run))
        .route("/runs/{kind}/{id}/items", get(runs::items))
        .route("/runs/{kind}/{id}/trail", get(runs::trail))
        .route("/runs/{kind}/{id}/transcript", get(runs::transcript))
        .route("/runs/{kind}/{id}/cancel", post(runs::cancel))
        .route("/approvals", get(runs::approvals))
        .route("/approvals/{id}/approve", post(runs::approve))
        .route("/approvals/{id}/refuse", post(runs::refuse))
        .route("/audit/verify", get(runs::verify))
        .route("/events", get(feed::events))
        .route("/feed", get(feed::feed));
    Router::new()
        .nest("/api/v1", api)
        .route("/openapi.json", get(|| async { axum::Json(crate::openapi::document()) }))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(telemetry::metrics))
        .merge(page::routes())
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(auth::to_its_end))
        .layer(middleware::from_fn_with_state(shared.clone(), auth::known_host))
        .with_state(shared)
}

async fn nothing_here() -> Problem {
    Problem(Fault::not_found("there is nothing at this address").hint("/openapi.json lists every address"))
}

/// Alive in any case; further lines say when log lines and samples are refused, and when everything is that
/// would have to be recorded.
async fn health(State(shared): State<Shared>) -> String {
    let mut said = "ok\n".to_owned();
    if let Err(fault) = shared.engine.may_take_in() {
        said.push_str(&format!("ingest stopped: {}\n", fault.message));
    }
    if let Some(fault) = shared.engine.read_only() {
        said.push_str(&format!("read-only: {}\n", fault.message));
    }
    said
}

async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    if shared.ready.load(Ordering::SeqCst) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}
