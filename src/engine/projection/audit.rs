//! The decision trail of one run, for `audit explain`: who asked, what was proposed, which policy said
//! what, who approved, what happened. A fold; adds nothing of its own.

use opsward_domain::event::{Body, Event, Look};
use serde::Serialize;

/// One line of the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrailLine {
    /// Journal sequence.
    pub seq: u64,
    /// When.
    pub at_ms: i64,
    /// By whom.
    pub by: String,
    /// What, in words made by code.
    pub what: String,
}

/// The trail of a run from its events.
pub fn trail(events: &[Event]) -> Vec<TrailLine> {
    events
        .iter()
        .map(|event| TrailLine {
            seq: event.seq,
            at_ms: event.at_ms,
            by: event.by.to_string(),
            what: event.body.as_ref().map_or_else(|| "body erased on purpose".to_owned(), words),
        })
        .collect()
}

/// One body in words.
#[allow(
    clippy::too_many_lines,
    reason = "a table: one arm a kind, kept whole so that a new kind does not compile without words"
)]
pub fn words(body: &Body) -> String {
    match body {
        Body::MessageReceived { origin, text, .. } => format!("said through {}: {}", origin.word(), quote(text)),
        Body::ActionRequested { origin, action, workspace, .. } => {
            format!(
                "asked through {} for {} on {} in {workspace}",
                origin.word(),
                action.kind().facts().name,
                action.resource()
            )
        }
        Body::ToolRequested { origin, call, workspace } => {
            format!("asked through {} for tool {} in {workspace}", origin.word(), call.tool)
        }
        Body::IncidentOpened { title, .. } => format!("incident opened: {title}"),
        Body::AlertLinked { alert } => format!("alert linked: {}", quote(&alert.name)),
        Body::AlertCleared { .. } => "an alert's condition ended".to_owned(),
        Body::EvidenceGathered { evidence, took_ms } => format!("{} ({took_ms} ms): {}", evidence.id, evidence.title),
        Body::EvidenceMissing { what, why } => format!("could not look at {what}: {why}"),
        Body::Diagnosed { diagnosis, .. } => diagnosed(diagnosis),
        Body::ModelReplied { model, calls, .. } => format!("model {model} replied with {} calls", calls.len()),
        Body::ModelFailed { model, fault } => format!("model {model} failed: {fault}"),
        Body::ToolCalled { call, .. } => format!("tool {} called", call.tool),
        Body::Looked { looks, .. } => looked(looks),
        Body::ToolReturned { took_ms, .. } => format!("tool returned ({took_ms} ms)"),
        Body::ToolFailed { fault, .. } => format!("tool refused: {fault}"),
        Body::PlanProposed { plan, digest, influence } => format!(
            "plan {} proposed ({}), digest {}, influenced by {:?} text from {} sources",
            plan.id,
            crate::driver::headline(plan),
            &digest[..12.min(digest.len())],
            influence.integrity,
            influence.sources.len()
        ),
        Body::PlanDecided { decision, .. } => {
            format!("gate: {} by {} ({})", verdict(decision), decision.policies.join(", "), decision.reason)
        }
        Body::ApprovalRequested { request } => asked(request),
        Body::ApprovalGiven { by, .. } => format!("{by} said yes"),
        Body::ApprovalRefused { by, note, .. } => format!("{by} said no {}", quote(note)),
        Body::ApprovalVoided { reason, .. } => format!("approval void: {reason}"),
        Body::ApprovalUsed { .. } => "approval used".to_owned(),
        Body::StepStarted { step, .. } => format!("step {step} intended"),
        Body::StepSucceeded { step, outcome, .. } => format!("step {step} applied: {}", outcome.summary),
        Body::StepFailed { step, fault, applied, .. } => {
            format!("step {step} failed{}: {fault}", if *applied { " after it took effect" } else { "" })
        }
        Body::UndoStarted { step, .. } => format!("taking back step {step}"),
        Body::UndoSucceeded { step, .. } => format!("step {step} taken back"),
        Body::UndoFailed { step, fault, .. } => format!("step {step} could not be taken back: {fault}"),
        Body::GoalChecked { verdict, .. } => format!("outside view afterwards: {verdict:?}").to_lowercase(),
        Body::PlanEnded { end, reason, .. } => format!("plan ended {end:?}: {reason}").to_lowercase(),
        Body::PlanWithheld { reason, .. } => format!("plan withheld: {reason}"),
        Body::AnswerGiven { .. } => "answered".to_owned(),
        Body::TurnStarted { .. } => "turn began".to_owned(),
        Body::TurnEnded { end, .. } => format!("turn ended: {end:?}").to_lowercase(),
        Body::IncidentResolved { reason, .. } => format!("resolved: {reason}"),
        Body::IncidentEscalated { reason } => format!("handed to people: {reason}"),
        Body::CancelRequested { by } => format!("{by} cancelled"),
        Body::FaultRaised { fault } => format!("fault: {fault}"),
        Body::ScheduleMade { schedule } => {
            format!("schedule {} made in {}: {}, {}", schedule.name, schedule.workspace, schedule.work, schedule.when)
        }
        Body::SchedulePaused { paused } => if *paused { "paused" } else { "goes on" }.to_owned(),
        Body::ScheduleFired { run, coalesced: 0, .. } => format!("fired: {}/{}", run.kind.word(), run.id),
        Body::ScheduleFired { run, coalesced, .. } => {
            format!("fired, for {coalesced} missed firings too: {}/{}", run.kind.word(), run.id)
        }
        Body::ScheduleMissed { count, reason, .. } => format!("{count} firings missed: {reason}"),
        Body::ScheduleRemoved {} => "schedule removed".to_owned(),
        Body::PersonAdded { subject, .. } => format!("{subject} added"),
        Body::RoleSet { subject, role, .. } => {
            format!("{subject} is now {}", role.map_or("without role", |r| r.word()))
        }
        Body::TokenIssued { subject, assistant: true, .. } => format!("token made for an assistant of {subject}"),
        Body::TokenIssued { subject, .. } => format!("token made for {subject}"),
        Body::TokenRevoked { reason, .. } => format!("token ended: {reason}"),
        Body::RecoveryKitTaken { workspace } => format!("recovery kit of {workspace} taken"),
        Body::SwitchSet { on, reason, .. } => format!("switch {}: {reason}", if *on { "on" } else { "off" }),
    }
}

fn diagnosed(diagnosis: &opsward_domain::cause::Diagnosis) -> String {
    match diagnosis.hypotheses.first() {
        Some(best) => format!(
            "diagnosed {:?} on {} ({:.0} %)",
            best.kind,
            best.workload.as_ref().map_or("something outside", |w| w.as_str()),
            best.confidence * 100.0
        ),
        None => format!("diagnosed: {:?}", diagnosis.verdict).to_lowercase(),
    }
}

const LOOKS_SHOWN_MAX: usize = 6;

fn looked(looks: &[Look]) -> String {
    let mut names: Vec<&str> = looks.iter().map(|look| look.what.as_str()).collect();
    names.dedup();
    let more = if names.len() > LOOKS_SHOWN_MAX { " and more" } else { "" };
    names.truncate(LOOKS_SHOWN_MAX);
    format!("looked at {}{more}", names.join(", "))
}

fn asked(request: &opsward_domain::approval::ApprovalRequest) -> String {
    let who = match request.approvers.people {
        1 => "one person".to_owned(),
        people => format!("{people} people"),
    };
    let not_asker = if request.approvers.not_asker { ", not the asker" } else { "" };
    format!("approval {} asked of {who}{not_asker}", request.id)
}

fn verdict(decision: &opsward_domain::decision::Decision) -> &'static str {
    match decision.verdict {
        opsward_domain::decision::Verdict::Allow => "allow",
        opsward_domain::decision::Verdict::Ask { .. } => "ask",
        opsward_domain::decision::Verdict::Deny => "deny",
    }
}

fn quote(text: &str) -> String {
    let short: String = text.chars().take(120).collect();
    format!("{:?}", opsward_domain::label::visible(&short))
}
