//! The service's own metrics, Prometheus text. Counts only; never a tenant's name or text.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use opsward_engine::parts::Room;

use super::Shared;

pub(super) async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let engine = &shared.engine;
    let rows = [
        ("opsward_journal_events_total", "counter", "Events in the journal.", *engine.head().borrow()),
        ("opsward_runs_driven", "gauge", "Runs being driven now.", engine.drivers.busy() as u64),
        (
            "opsward_feed_readers",
            "gauge",
            "Readers that follow the feed now.",
            super::READERS_MAX.saturating_sub(shared.readers.available_permits()) as u64,
        ),
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
        (
            "opsward_read_only",
            "gauge",
            "1 once the journal was found damaged: nothing is changed or recorded any more.",
            u64::from(engine.read_only().is_some()),
        ),
        (
            "opsward_ingest_stopped",
            "gauge",
            "1 while log lines and samples are refused for want of room.",
            u64::from(engine.may_take_in().is_err()),
        ),
        ("opsward_sweeps_total", "counter", "Times that old logs and metrics were removed.", engine.keeping.sweeps()),
        ("opsward_log_lines_expired_total", "counter", "Log lines removed by age.", engine.keeping.expired_lines()),
    ];
    let mut text: String = rows
        .iter()
        .map(|(name, kind, help, value)| format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"))
        .collect();
    text.push_str(&engine.parts.disk.room().map_or_else(|_| String::new(), |room| of_room(&room)));
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// What is kept, and what is left. Left out while the disk cannot be measured, as Prometheus has it.
fn of_room(room: &Room) -> String {
    let mut text = "# HELP opsward_store_bytes Bytes on disk.\n# TYPE opsward_store_bytes gauge\n".to_owned();
    for (store, bytes) in &room.stores {
        text.push_str(&format!("opsward_store_bytes{{store=\"{store}\"}} {bytes}\n"));
    }
    for (name, help, bytes) in [
        ("opsward_store_budget_bytes", "Most bytes of all stores together.", room.budget_bytes),
        ("opsward_disk_free_bytes", "Bytes free on the disk of the data folder.", room.disk_free_bytes),
        ("opsward_disk_total_bytes", "Bytes of the disk of the data folder.", room.disk_total_bytes),
    ] {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {bytes}\n"));
    }
    text
}
