//! The service's own metrics, Prometheus text. Counts only; never a tenant's name or text.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Shared;

pub(super) async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let engine = &shared.engine;
    let rows = [
        ("opsward_journal_events_total", "counter", "Events in the journal.", *engine.head().borrow()),
        ("opsward_runs_driven", "gauge", "Runs being driven now.", engine.drivers.busy() as u64),
        ("opsward_tools", "gauge", "Tools loaded.", engine.toolbox.iter().count() as u64),
        (
            "opsward_sandbox_holds",
            "gauge",
            "1 if every probe of the sandbox held at start.",
            u64::from(engine.parts.runner.attestation().passed()),
        ),
        (
            "opsward_observe_only",
            "gauge",
            "1 if nothing may be changed.",
            u64::from(engine.setup.switches.observe_only()),
        ),
    ];
    let text: String = rows
        .iter()
        .map(|(name, kind, help, value)| format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"))
        .collect();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
