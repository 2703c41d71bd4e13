//! The approval card: rendered by code from the very bytes that would be executed. No markdown, no
//! links; characters that hide or reorder text are made visible; prose of a model never appears here.

use opsward_domain::decision::Verdict;
use opsward_domain::label::{Integrity, Label, Source, visible};
use opsward_domain::plan::{DiffLine, Step};
use opsward_engine::state::PlanState;

const VALUE_CHARS_MAX: usize = 160;

/// The card of a plan as plain lines.
pub fn card(plan: &PlanState) -> String {
    let mut lines = vec![format!("plan {} in workspace {}", plan.plan.id, plan.plan.workspace)];
    if !plan.plan.reason.is_empty() {
        lines.push(format!("  why     {}", short(&plan.plan.reason)));
    }
    lines.push(format!(
        "  effect  {}, risk {}, digest {}",
        plan.plan.effect().word(),
        plan.plan.risk().0,
        &plan.digest[..12.min(plan.digest.len())]
    ));
    lines.push(format!("  source  {}", influence(&plan.influence)));
    for step in &plan.plan.steps {
        lines.extend(step_lines(step));
    }
    if let Some(goal) = &plan.plan.goal {
        let seconds = goal.window_ms / 1000;
        lines.push(format!(
            "  success the condition on {} is gone for {} windows of {seconds} s with at least {} requests each; otherwise it is taken back",
            goal.workload, goal.windows, goal.requests_min
        ));
    }
    if let Some(decision) = &plan.decision {
        let word = match &decision.verdict {
            Verdict::Allow => "allowed",
            Verdict::Ask { .. } => "asks",
            Verdict::Deny => "refuses",
        };
        lines.push(format!("  gate    {word}: {} (policy {})", short(&decision.reason), decision.policies.join(", ")));
    }
    lines.join("\n")
}

fn step_lines(step: &Step) -> Vec<String> {
    let name = step.action.kind().facts().name;
    let mut lines = vec![format!("  step {}  {name} {}", step.index + 1, step.resource())];
    lines.extend(step.diff.iter().map(diff_line));
    lines.push(match &step.undo {
        Some(undo) => format!("      undo    {} {}{}", undo.kind().facts().name, undo.resource(), argument(undo)),
        None => match step.action.kind().facts().undo {
            opsward_domain::effect::Undo::Unneeded => "      undo    nothing to take back".to_owned(),
            opsward_domain::effect::Undo::Backup => "      undo    only from a backup".to_owned(),
            _ => "      undo    none: this cannot be taken back".to_owned(),
        },
    });
    lines.push(format!(
        "      blast   {} objects, {} % of the workspace's replicas",
        step.blast.objects, step.blast.replicas_percent
    ));
    lines
}

fn argument(undo: &opsward_domain::action::Action) -> String {
    use opsward_domain::action::Action;
    match undo {
        Action::RollbackWorkload(back) => format!(" to revision {}", back.revision),
        Action::ScaleWorkload(back) => format!(" to {} replicas", back.replicas),
        Action::ResizeVolume(back) => format!(" to {} bytes", back.size_bytes),
        Action::ActivateFunction(back) => format!(" version {}", back.version),
        _ => String::new(),
    }
}

fn diff_line(line: &DiffLine) -> String {
    let show = |value: &Option<String>| value.as_deref().map_or("(none)".to_owned(), short);
    format!("      {}: {} -> {}", visible(&line.path), show(&line.before), show(&line.after))
}

fn short(text: &str) -> String {
    let mut cut: String = text.chars().take(VALUE_CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    visible(&cut).replace('\n', "\\n")
}

/// Where the proposal's words came from, most worrying first.
pub fn influence(label: &Label) -> String {
    let word = match label.integrity {
        Integrity::System => "code and policy",
        Integrity::Operator => "an authenticated person",
        Integrity::Typed => "typed facts of the platform",
        Integrity::Untrusted => "UNTRUSTED text",
    };
    let names: Vec<String> = label
        .sources
        .iter()
        .map(|source| match source {
            Source::Workload { workspace, workload } => format!("output of {workspace}/{workload}"),
            Source::Alert { workspace } => format!("an alert in {workspace}"),
            Source::Document { name } => format!("document {}", short(name)),
            Source::Person { subject } => format!("{subject}"),
            Source::Model => "a language model".to_owned(),
        })
        .collect();
    if names.is_empty() { word.to_owned() } else { format!("{word}: {}", names.join(", ")) }
}
