//! Changes as a stream of their own: every applied step, folded from the journal's feed. Holds no truth;
//! forgets the oldest beyond a bound and can be rebuilt at any time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::RwLock;

use opsward_domain::action::Action;
use opsward_domain::cause::Change;
use opsward_domain::event::{Body, Event, StreamName};
use opsward_domain::name::{Id, Tenant, Workspace};
use opsward_domain::plan::{DiffLine, Plan, Step};
use opsward_domain::resource::Resource;
use opsward_domain::time::Window;

/// Changes kept for one workspace.
pub const CHANGES_MAX: usize = 500;
const PLANS_MAX: usize = 1_000;

#[derive(Default)]
struct Fold {
    plans: BTreeMap<(StreamName, Id), Plan>,
    order: VecDeque<(StreamName, Id)>,
    changes: BTreeMap<(Tenant, Workspace), VecDeque<Change>>,
}

/// Recent changes by workspace.
#[derive(Default)]
pub struct Changes(RwLock<Fold>);

impl Changes {
    /// Folds one event.
    pub fn apply(&self, event: &Event) {
        let mut fold = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event.body.as_ref() {
            Some(Body::PlanProposed { plan, .. }) => {
                let key = (event.stream.clone(), plan.id.clone());
                fold.order.push_back(key.clone());
                fold.plans.insert(key, plan.as_ref().clone());
                if fold.order.len() > PLANS_MAX
                    && let Some(oldest) = fold.order.pop_front()
                {
                    fold.plans.remove(&oldest);
                }
            }
            Some(Body::StepSucceeded { plan, step, .. }) => fold.push(event, plan, *step, false),
            Some(Body::StepFailed { plan, step, applied: true, .. }) => fold.push(event, plan, *step, false),
            Some(Body::UndoSucceeded { plan, step, .. }) => fold.push(event, plan, *step, true),
            _ => {}
        }
    }

    /// Changes of a workspace inside `window`, oldest first.
    pub fn list(&self, tenant: &Tenant, workspace: &Workspace, window: Window) -> Vec<Change> {
        let fold = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let key = (tenant.clone(), workspace.clone());
        let all = fold.changes.get(&key).into_iter().flatten();
        all.filter(|change| window.contains(change.at_ms)).cloned().collect()
    }
}

impl Fold {
    fn push(&mut self, event: &Event, plan: &Id, index: u32, undone: bool) {
        let Some(plan) = self.plans.get(&(event.stream.clone(), plan.clone())) else { return };
        let Some(step) = plan.steps.get(index as usize) else { return };
        let action = if undone { step.undo.as_ref().unwrap_or(&step.action) } else { &step.action };
        let change = Change {
            at_ms: event.at_ms,
            workload: workload(&step.resource()),
            action: action.kind().facts().name.to_owned(),
            by: event.by.to_string(),
            summary: if undone { format!("took back: {}", summary(step)) } else { summary(step) },
            undo: if undone { Some(step.action.clone()) } else { step.undo.clone() },
        };
        let list = self.changes.entry((event.stream.tenant.clone(), plan.workspace.clone())).or_default();
        list.push_back(change);
        if list.len() > CHANGES_MAX {
            list.pop_front();
        }
    }
}

fn workload(resource: &Resource) -> Option<opsward_domain::name::Workload> {
    match resource {
        Resource::Workload(name) => Some(name.clone()),
        _ => None,
    }
}

const SUMMARY_LINES_MAX: usize = 4;

/// One line for a step: what, on what, and what differs.
pub fn summary(step: &Step) -> String {
    let resource = step.resource();
    let name = format!("{} {}", step.action.kind().facts().name, resource.name());
    let name = name.trim_end();
    let shown: Vec<String> = step.diff.iter().take(SUMMARY_LINES_MAX).map(line).collect();
    let more = step.diff.len().saturating_sub(SUMMARY_LINES_MAX);
    if step.expects.is_none() && !step.diff.is_empty() {
        let version = step.diff.iter().find(|line| line.path == "version").and_then(|line| line.after.clone());
        let version = version.map_or(String::new(), |version| format!(", version {}", cut(&version, 60)));
        return format!("{name}: new{version}");
    }
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let what = match &step.action {
        Action::RestartWorkload(_) | Action::InvokeFunction(_) | Action::VerifyBackup(_) => String::new(),
        _ if shown.is_empty() => String::new(),
        Action::RollbackWorkload(roll) => format!(" to revision {}: {}{rest}", roll.revision, shown.join(", ")),
        _ => format!(": {}{rest}", shown.join(", ")),
    };
    format!("{name}{what}")
}

fn line(line: &DiffLine) -> String {
    let show = |value: &Option<String>| value.as_deref().map_or("none".to_owned(), |text| cut(text, 60));
    format!("{} {} -> {}", line.path, show(&line.before), show(&line.after))
}

fn cut(text: &str, chars: usize) -> String {
    let mut short: String = text.chars().take(chars).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    opsward_domain::label::visible(&short)
}
