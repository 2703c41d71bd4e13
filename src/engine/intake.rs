//! What people push in: log lines and alerts from systems they already have. Their words are data; a
//! workload or workspace they name is looked up, never believed.

use std::collections::BTreeMap;
use std::sync::Arc;

use opsward_domain::alert::{Alert, Condition, Severity};
use opsward_domain::canonical::digest;
use opsward_domain::context::CallContext;
use opsward_domain::fault::Fault;
use opsward_domain::label::{Integrity, Label, Labelled, Source};
use opsward_domain::name::{Workload, Workspace};
use opsward_domain::telemetry::{LINE_BYTES_MAX, Level, LogLine};
use serde_json::Value;

use crate::facade::Engine;
use crate::incidents::Accepted;
use crate::parts::system_context;

/// Most alerts of one webhook body.
pub const ALERTS_MAX: usize = 500;
/// Most lines of one push.
pub const LINES_MAX: usize = 50_000;
const LABELS_MAX: usize = 64;
const TEXT_CHARS_MAX: usize = 4_000;

impl Engine {
    /// Keeps pushed lines: one JSON object `{workload, text, at_ms, level}` or plain text a line, then of
    /// `workload`. Returns how many were kept; a line that names no workload is a fault and nothing is kept.
    pub async fn ingest_text(
        &self,
        cx: &CallContext,
        workspace: &Workspace,
        workload: Option<&str>,
        text: &str,
    ) -> Result<usize, Fault> {
        self.setup.may_govern(cx, Some(workspace), "ingest_logs").await?;
        self.may_take_in()?;
        let now_ms = self.parts.clock.now_ms();
        let default = workload.map(Workload::parse).transpose()?;
        let mut lines = Vec::new();
        for (number, raw) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
            if number >= LINES_MAX {
                return Err(
                    Fault::invalid(format!("more than {LINES_MAX} lines in one push")).hint("send smaller pushes")
                );
            }
            lines.push(
                line(workspace, default.as_ref(), raw, now_ms)
                    .map_err(|fault| Fault { message: format!("line {}: {}", number + 1, fault.message), ..fault })?,
            );
        }
        let kept = lines.len();
        self.parts.logs.ingest(&system_context(cx.tenant())?, lines).await?;
        Ok(kept)
    }

    /// Takes an Alertmanager version 4 body. Firing alerts open or join incidents, resolved ones clear.
    pub async fn webhook(
        self: &Arc<Self>,
        cx: &CallContext,
        workspace: &Workspace,
        body: &Value,
    ) -> Result<Vec<Accepted>, Fault> {
        let alerts = body.get("alerts").and_then(Value::as_array).ok_or_else(|| {
            Fault::invalid("the body has no alerts array").hint("send an Alertmanager version 4 webhook")
        })?;
        if alerts.len() > ALERTS_MAX {
            return Err(Fault::invalid(format!("more than {ALERTS_MAX} alerts in one body")));
        }
        let known = opsward_ports::provider::observe_workloads(self.parts.provider.as_ref(), cx, workspace).await?;
        let mut accepted = Vec::new();
        for raw in alerts {
            let mut alert = alert(workspace, raw, self.parts.clock.now_ms());
            alert.workload = alert.workload.filter(|name| known.iter().any(|status| status.name == *name));
            if raw.get("status").and_then(Value::as_str) == Some("resolved") {
                self.clear(cx, workspace, &alert.fingerprint).await?;
            } else {
                if let Some(objective) = measurable(&alert, &known) {
                    alert.condition = objective;
                }
                accepted.push(self.raise(cx, alert).await?);
            }
        }
        Ok(accepted)
    }
}

fn line(workspace: &Workspace, default: Option<&Workload>, raw: &str, now_ms: i64) -> Result<LogLine, Fault> {
    let object: Option<BTreeMap<String, Value>> = default.is_none().then(|| serde_json::from_str(raw).ok()).flatten();
    let text_of = |key: &str| object.as_ref().and_then(|map| map.get(key)).and_then(Value::as_str);
    let workload = match (text_of("workload"), default) {
        (Some(name), _) => Workload::parse(name)?,
        (None, Some(name)) => name.clone(),
        (None, None) => {
            return Err(Fault::invalid("it names no workload")
                .hint("send {\"workload\": ..., \"text\": ...} or ?workload=NAME"));
        }
    };
    let mut text = text_of("text").unwrap_or(raw).to_owned();
    if text.len() > LINE_BYTES_MAX {
        let mut end = LINE_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(" [cut]");
    }
    let at_ms = object.as_ref().and_then(|map| map.get("at_ms")).and_then(Value::as_i64).unwrap_or(now_ms);
    let level: Option<Level> =
        text_of("level").and_then(|word| serde_json::from_value(Value::String(word.to_lowercase())).ok());
    Ok(LogLine { workspace: workspace.clone(), workload, replica: 0, at_ms, level, text })
}

const WORKLOAD_LABELS: [&str; 5] = ["workload", "service", "app", "deployment", "job"];

fn alert(workspace: &Workspace, raw: &Value, now_ms: i64) -> Alert {
    let strings = |key: &str| -> BTreeMap<String, String> {
        let map = raw.get(key).and_then(Value::as_object);
        let pair = |(key, value): (&String, &Value)| Some((key.clone(), cut(value.as_str()?)));
        map.into_iter().flatten().take(LABELS_MAX).filter_map(pair).collect()
    };
    let (labels, notes) = (strings("labels"), strings("annotations"));
    let text =
        ["summary", "description"].iter().filter_map(|key| notes.get(*key)).cloned().collect::<Vec<_>>().join("\n");
    let fingerprint = raw.get("fingerprint").and_then(Value::as_str).filter(|given| !given.is_empty());
    let fingerprint = fingerprint
        .map_or_else(|| digest("alert", &labels)[..16].to_owned(), |given| given.chars().take(128).collect());
    let started = raw.get("startsAt").and_then(Value::as_str).and_then(parse_time).unwrap_or(now_ms);
    let severity = match labels.get("severity").map(String::as_str) {
        Some("critical" | "page" | "error") => Severity::Critical,
        Some("info" | "none") => Severity::Info,
        _ => Severity::Warning,
    };
    let workload =
        WORKLOAD_LABELS.iter().filter_map(|key| labels.get(*key)).find_map(|name| Workload::parse(name).ok());
    Alert {
        fingerprint,
        name: labels.get("alertname").cloned().unwrap_or_else(|| "alert".to_owned()),
        workspace: workspace.clone(),
        workload,
        condition: Condition::Reported,
        severity,
        started_at_ms: started,
        text: Labelled::new(text, Label::from(Integrity::Untrusted, Source::Alert { workspace: workspace.clone() })),
        labels,
    }
}

/// A condition of ours that says the same, so that success can be measured: the objective of the workload
/// the alert names.
fn measurable(alert: &Alert, known: &[opsward_domain::resource::WorkloadStatus]) -> Option<Condition> {
    let status = known.iter().find(|status| Some(&status.name) == alert.workload.as_ref())?;
    let objective = status.spec.objective.as_ref()?;
    let words = format!("{} {}", alert.name, alert.text.text).to_lowercase();
    let slow = ["latency", "slow", "p95", "p99", "duration"].iter().any(|word| words.contains(word));
    match (objective.error_ratio_max, objective.latency_p95_ms_max) {
        (_, Some(above_ms)) if slow => Some(Condition::LatencyP95 { above_ms }),
        (Some(above), _) => Some(Condition::ErrorRatio { above }),
        (None, Some(above_ms)) => Some(Condition::LatencyP95 { above_ms }),
        (None, None) => None,
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

fn parse_time(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(|at| at.as_millisecond())
}
