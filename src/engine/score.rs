//! What people did about plans that observe-only withheld. A fold of the journal's feed: it holds no truth of
//! its own, forgets the oldest beyond a bound, and never says that a plan would have helped: only what people
//! chose, and whether the condition stayed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{PoisonError, RwLock};

use opsward_domain::action::Action;
use opsward_domain::context::Origin;
use opsward_domain::event::{Body, Event, StreamKind, StreamName};
use opsward_domain::name::{Id, Subject, Tenant, Workspace};
use opsward_domain::plan::Plan;
use opsward_domain::time::AtMs;
use serde::{Deserialize, Serialize};

/// How long after a plan people's own actions are compared with it.
pub const WITHIN_MS: i64 = 60 * 60 * 1000;
/// Withheld plans kept.
const WITHHELD_MAX: usize = 2_000;
/// People's actions kept.
const ACTS_MAX: usize = 5_000;
/// Runs whose plans and alerts are remembered.
const RUNS_MAX: usize = 2_000;

/// How a withheld plan compares with what people did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A person chose the same action, target and arguments.
    Agreed,
    /// A person did something else to the same target.
    Differed,
    /// People acted in the workspace, on other targets only.
    Elsewhere,
    /// Nobody acted, and the condition went away by itself.
    Unneeded,
    /// Nobody acted, and the condition stayed.
    Missed,
    /// Nobody acted, and there was no condition to be measured.
    Unknown,
    /// The time for people to act is not over.
    Open,
}

impl Verdict {
    /// Every verdict, best first.
    pub const ALL: [Self; 7] =
        [Self::Agreed, Self::Differed, Self::Elsewhere, Self::Unneeded, Self::Missed, Self::Unknown, Self::Open];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Agreed => "agreed",
            Self::Differed => "differed",
            Self::Elsewhere => "elsewhere",
            Self::Unneeded => "unneeded",
            Self::Missed => "missed",
            Self::Unknown => "unknown",
            Self::Open => "open",
        }
    }
}

/// What a person did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Act {
    /// When.
    pub at_ms: AtMs,
    /// Who.
    pub by: Subject,
    /// What, in one line.
    pub what: String,
    /// False if observe-only withheld it too: it was wanted, not done.
    pub done: bool,
    #[serde(skip)]
    stream: StreamName,
    #[serde(skip)]
    workspace: Workspace,
    #[serde(skip)]
    action: Action,
}

/// One withheld plan, scored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// The run that proposed it.
    pub run: Id,
    /// That run's kind.
    pub kind: StreamKind,
    /// The plan.
    pub plan: Id,
    /// Where.
    pub workspace: Workspace,
    /// What it would have done.
    pub what: String,
    /// When it was withheld.
    pub at_ms: AtMs,
    /// How it compares.
    pub verdict: Verdict,
    /// The action that decided the verdict, if one did.
    pub act: Option<Act>,
}

impl Score {
    /// One sentence.
    pub fn sentence(&self) -> String {
        let plan = format!("Withheld by observe-only: {} ({}).", self.what, self.plan);
        let person = self.act.as_ref().map_or(String::new(), |act| {
            let minutes = act.at_ms.saturating_sub(self.at_ms) / 60_000;
            let did = if act.done { "did" } else { "asked for" };
            format!("{} {did} {}, {minutes} min later", act.by, act.what)
        });
        let told = match self.verdict {
            Verdict::Agreed => format!("People agreed: {person}."),
            Verdict::Differed => format!("People did something else to it: {person}."),
            Verdict::Elsewhere => format!("People acted elsewhere: {person}."),
            Verdict::Unneeded => "Nobody acted, and the condition went away by itself.".to_owned(),
            Verdict::Missed => "Nobody acted, and the condition stayed.".to_owned(),
            Verdict::Unknown => "Nobody acted, and no condition was measured.".to_owned(),
            Verdict::Open => "It is too early to compare it with what people do.".to_owned(),
        };
        format!("{plan} {told}")
    }
}

/// A run as far as scores need it.
#[derive(Debug, Default)]
struct Run {
    plans: BTreeMap<Id, Plan>,
    withheld: BTreeSet<Id>,
    by_person: bool,
    alerts: BTreeSet<String>,
    cleared: BTreeSet<String>,
    gone_at_ms: Option<AtMs>,
}

#[derive(Debug)]
struct Withheld {
    stream: StreamName,
    plan: Plan,
    at_ms: AtMs,
}

/// The fold.
#[derive(Debug, Default)]
struct Fold {
    runs: BTreeMap<StreamName, Run>,
    order: VecDeque<StreamName>,
    withheld: VecDeque<Withheld>,
    acts: VecDeque<Act>,
}

impl Fold {
    fn apply(&mut self, event: &Event) {
        let Some(body) = &event.body else { return };
        match body {
            Body::ActionRequested { origin, .. } => {
                self.run(event).by_person = !matches!(origin, Origin::Schedule | Origin::System | Origin::Alert);
            }
            Body::MessageReceived { .. } => self.run(event).by_person = true,
            Body::IncidentOpened { alert, .. } | Body::AlertLinked { alert } => {
                let run = self.run(event);
                run.cleared.remove(&alert.fingerprint);
                run.alerts.insert(alert.fingerprint.clone());
            }
            Body::AlertCleared { fingerprint } => {
                let run = self.run(event);
                run.cleared.insert(fingerprint.clone());
                if run.alerts.is_subset(&run.cleared) {
                    run.gone_at_ms.get_or_insert(event.at_ms);
                }
            }
            Body::IncidentResolved { .. } => {
                self.run(event).gone_at_ms.get_or_insert(event.at_ms);
            }
            Body::PlanProposed { plan, .. } => {
                self.run(event).plans.insert(plan.id.clone(), plan.as_ref().clone());
            }
            Body::PlanWithheld { plan, .. } => self.withhold(event, plan),
            Body::StepSucceeded { plan, step, .. } => {
                let action = self.run(event).plans.get(plan).and_then(|plan| plan.steps.get(*step as usize).cloned());
                if let Some(step) = action.filter(|_| self.run(event).by_person) {
                    self.act(event, &step, true);
                }
            }
            _ => {}
        }
    }

    fn run(&mut self, event: &Event) -> &mut Run {
        if !self.runs.contains_key(&event.stream) {
            self.order.push_back(event.stream.clone());
            if self.order.len() > RUNS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.runs.remove(&oldest);
            }
        }
        self.runs.entry(event.stream.clone()).or_default()
    }

    /// What a person typed is what a person wants, withheld or not; everything else is a plan of ours.
    fn withhold(&mut self, event: &Event, id: &Id) {
        let run = self.run(event);
        if !run.withheld.insert(id.clone()) {
            return;
        }
        let Some(plan) = run.plans.get(id).cloned() else { return };
        if event.stream.kind == StreamKind::Command {
            if run.by_person {
                plan.steps.iter().for_each(|step| self.act(event, step, false));
            }
            return;
        }
        self.withheld.push_back(Withheld { stream: event.stream.clone(), plan, at_ms: event.at_ms });
        if self.withheld.len() > WITHHELD_MAX {
            self.withheld.pop_front();
        }
    }

    fn act(&mut self, event: &Event, step: &opsward_domain::plan::Step, done: bool) {
        self.acts.push_back(Act {
            at_ms: event.at_ms,
            by: event.by.clone(),
            what: crate::changes::summary(step),
            done,
            stream: event.stream.clone(),
            workspace: step.workspace.clone(),
            action: step.action.clone(),
        });
        if self.acts.len() > ACTS_MAX {
            self.acts.pop_front();
        }
    }

    fn score(&self, withheld: &Withheld, now_ms: AtMs) -> Score {
        let until_ms = withheld.at_ms.saturating_add(WITHIN_MS);
        let plan = &withheld.plan;
        let near: Vec<&Act> = self
            .acts
            .iter()
            .filter(|act| act.stream.tenant == withheld.stream.tenant && act.workspace == plan.workspace)
            .filter(|act| act.stream != withheld.stream && (withheld.at_ms..until_ms).contains(&act.at_ms))
            .collect();
        let same = |act: &&&Act| plan.steps.iter().any(|step| step.action == act.action);
        let touches = |act: &&&Act| plan.steps.iter().any(|step| step.resource() == act.action.resource());
        let all = plan.steps.iter().all(|step| near.iter().any(|act| act.action == step.action));
        let gone = self.runs.get(&withheld.stream).and_then(|run| run.gone_at_ms);
        let watched = self.runs.get(&withheld.stream).is_some_and(|run| !run.alerts.is_empty());
        let (verdict, act) = if let Some(act) = near.iter().find(same).filter(|_| all) {
            (Verdict::Agreed, Some(*act))
        } else if let Some(act) = near.iter().find(touches) {
            (Verdict::Differed, Some(*act))
        } else if gone.is_some_and(|at_ms| at_ms < until_ms) && near.is_empty() {
            (Verdict::Unneeded, None)
        } else if now_ms < until_ms {
            (Verdict::Open, None)
        } else if let Some(act) = near.first() {
            (Verdict::Elsewhere, Some(*act))
        } else {
            (if watched { Verdict::Missed } else { Verdict::Unknown }, None)
        };
        Score {
            run: withheld.stream.id.clone(),
            kind: withheld.stream.kind,
            plan: plan.id.clone(),
            workspace: plan.workspace.clone(),
            what: crate::driver::headline(plan),
            at_ms: withheld.at_ms,
            verdict,
            act: act.cloned(),
        }
    }
}

/// The scores of every tenant.
#[derive(Debug, Default)]
pub struct Scores(RwLock<Fold>);

impl Scores {
    /// Folds one event.
    pub fn apply(&self, event: &Event) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).apply(event);
    }

    /// A tenant's withheld plans since `since_ms`, scored as of `now_ms`, newest first.
    pub fn list(&self, tenant: &Tenant, since_ms: AtMs, now_ms: AtMs) -> Vec<Score> {
        let fold = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let ours = fold.withheld.iter().rev().filter(|one| one.stream.tenant == *tenant && one.at_ms >= since_ms);
        ours.map(|one| fold.score(one, now_ms)).collect()
    }
}

/// How many plans came to each verdict, every verdict listed.
pub fn count(scores: &[Score]) -> Vec<(Verdict, usize)> {
    let of = |verdict: Verdict| scores.iter().filter(|score| score.verdict == verdict).count();
    Verdict::ALL.into_iter().map(|verdict| (verdict, of(verdict))).collect()
}

#[cfg(test)]
mod tests;
