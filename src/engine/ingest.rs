//! Takes telemetry off the platform into the stores, and acknowledges it only when it is kept. While the
//! disk is too full it waits at its source; what happened to replicas is told at once even then.

use std::sync::Arc;

use opsward_domain::fault::Fault;
use opsward_domain::telemetry::{Level, Lifecycle, LogLine, ReplicaEvent};
use opsward_ports::telemetry::Batch;

use crate::facade::Engine;
use crate::parts::system_context;

const RETRY_MS_MAX: u64 = 10_000;
const RETRY_MS_MIN: u64 = 200;

/// Runs until the process ends. A store that is away makes telemetry wait at its source.
pub async fn run(engine: Arc<Engine>) {
    let (mut pause_ms, mut told) = (RETRY_MS_MIN, None);
    loop {
        let done = match engine.parts.telemetry.next().await {
            Ok(batch) => keep(&engine, batch, &mut told).await,
            Err(fault) => Err(fault),
        };
        match done {
            Ok(()) => pause_ms = RETRY_MS_MIN,
            Err(fault) => {
                tracing::warn!(fault = %fault, pause_ms, "telemetry has to wait");
                engine.parts.clock.sleep_ms(pause_ms).await;
                pause_ms = (pause_ms * 2).min(RETRY_MS_MAX);
            }
        }
    }
}

/// Keeps one batch. `told` is the cursor of the last batch whose events were told: a batch that has to wait
/// comes again.
async fn keep(engine: &Engine, batch: Batch, told: &mut Option<u64>) -> Result<(), Fault> {
    let cx = system_context(&batch.tenant)?;
    let mut lines = batch.lines;
    lines.extend(batch.events.iter().filter_map(as_line));
    if told.replace(batch.cursor) != Some(batch.cursor) {
        if batch.lost_lines > 0 {
            tracing::warn!(tenant = %batch.tenant, lost = batch.lost_lines, "log lines were lost at their source");
        }
        for event in batch.events {
            engine.lifecycles.push(&batch.tenant, event);
        }
    }
    engine.may_take_in()?;
    if !lines.is_empty() {
        engine.parts.logs.ingest(&cx, lines).await?;
    }
    if !batch.samples.is_empty() {
        engine.parts.series.append(&cx, batch.samples).await?;
    }
    engine.parts.telemetry.acknowledge(batch.cursor).await
}

/// What happened to a replica by itself is also a line of its log, so that it is found for good.
fn as_line(event: &ReplicaEvent) -> Option<LogLine> {
    let (level, text) = match &event.what {
        Lifecycle::Started | Lifecycle::Ready => return None,
        Lifecycle::Unhealthy { reason } => (Level::Warn, format!("platform: health check failed: {reason}")),
        Lifecycle::Exited { exit } => {
            let how = match (exit.code, exit.signal) {
                (Some(code), _) => format!("code {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => "unknown status".to_owned(),
            };
            let level = if exit.reason == "stopped" { Level::Info } else { Level::Error };
            (level, format!("platform: replica exited with {how} ({})", exit.reason))
        }
    };
    Some(LogLine {
        workspace: event.workspace.clone(),
        workload: event.workload.clone(),
        replica: event.replica,
        at_ms: event.at_ms,
        level: Some(level),
        text,
    })
}
