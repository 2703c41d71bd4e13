//! Schedules: made, paused and removed by people, folded from their own streams. What they start goes the
//! way of every other request: past the same gate, with the rights its maker has at that moment.

mod clockwork;
mod due;

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use opsward_domain::context::CallContext;
use opsward_domain::event::{Body, Event, StreamKind, StreamName};
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Id, Subject, Tenant, Workspace};
use opsward_domain::schedule::{LATE_MINUTES_MAX, Schedule, Work};
use opsward_domain::time::AtMs;
use serde::Serialize;

use crate::facade::{Engine, MESSAGE_CHARS_MAX, stream};

pub use clockwork::run;
pub use due::{Calendar, Due};

/// Most schedules of one workspace.
pub const PER_WORKSPACE_MAX: usize = 50;

/// A firing: which run it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fired {
    /// When it was due.
    pub due_ms: AtMs,
    /// Earlier firings that it made up for.
    pub coalesced: u32,
    /// Its run.
    pub run: StreamName,
}

/// Firings that are not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missed {
    /// The last of them.
    pub due_ms: AtMs,
    /// How many.
    pub count: u32,
    /// Why.
    pub reason: String,
}

/// A live schedule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleState {
    /// Its stream.
    pub stream: StreamName,
    /// What its maker wanted.
    pub schedule: Schedule,
    /// Who made it; its runs have this person's rights.
    pub owner: Subject,
    /// When it was made; periods count from here.
    pub made_at_ms: AtMs,
    /// True while it is stopped.
    pub paused: bool,
    /// When it is due next; absent if never again.
    pub next_ms: Option<AtMs>,
    /// The last firing.
    pub last: Option<Fired>,
    /// The last firings that are not done.
    pub missed: Option<Missed>,
    /// Everything due until then is dealt with.
    #[serde(skip)]
    settled_ms: AtMs,
    #[serde(skip)]
    fired: u64,
    #[serde(skip)]
    stream_seq: u64,
}

#[derive(Default)]
struct Fold {
    seq: u64,
    live: BTreeMap<StreamName, ScheduleState>,
    /// Runs whose intent is recorded and that have not begun, with their schedule.
    pending: BTreeMap<StreamName, StreamName>,
}

/// The schedules of every tenant.
#[derive(Default)]
pub struct Schedules {
    fold: RwLock<Fold>,
    /// Schedules are made one at a time, so that names stay unique and the bound holds.
    making: tokio::sync::Mutex<()>,
}

impl Schedules {
    /// Folds one event of the journal; events already folded change nothing.
    pub fn apply(&self, event: &Event) {
        let mut fold = self.fold.write().unwrap_or_else(PoisonError::into_inner);
        if event.seq > fold.seq {
            fold.seq = event.seq;
            fold.apply(event);
        }
    }

    fn look<T>(&self, look: impl FnOnce(&Fold) -> T) -> T {
        look(&self.fold.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The live schedules of a workspace by name.
    pub fn list(&self, tenant: &Tenant, workspace: &Workspace) -> Vec<ScheduleState> {
        let of = |state: &&ScheduleState| state.stream.tenant == *tenant && state.schedule.workspace == *workspace;
        let mut list: Vec<ScheduleState> = self.look(|fold| fold.live.values().filter(of).cloned().collect());
        list.sort_by(|a, b| a.schedule.name.cmp(&b.schedule.name));
        list
    }

    fn find(&self, tenant: &Tenant, workspace: &Workspace, name: &Id) -> Option<ScheduleState> {
        self.list(tenant, workspace).into_iter().find(|state| state.schedule.name == *name)
    }
}

impl Fold {
    fn apply(&mut self, event: &Event) {
        self.pending.remove(&event.stream);
        if event.stream.kind != StreamKind::Schedule {
            return;
        }
        if let Some(Body::ScheduleMade { schedule }) = &event.body {
            let state = made(event, schedule);
            self.live.insert(event.stream.clone(), state);
        }
        if matches!(event.body, Some(Body::ScheduleRemoved {})) {
            self.live.remove(&event.stream);
        }
        let Some(state) = self.live.get_mut(&event.stream) else { return };
        state.stream_seq = event.stream_seq;
        match &event.body {
            Some(Body::SchedulePaused { paused }) => {
                state.paused = *paused;
                state.settled_ms = event.at_ms;
            }
            Some(Body::ScheduleFired { due_ms, settled_ms, coalesced, run, .. }) => {
                state.settled_ms = *settled_ms;
                state.fired += 1;
                state.last = Some(Fired { due_ms: *due_ms, coalesced: *coalesced, run: run.clone() });
                self.pending.insert(run.clone(), event.stream.clone());
            }
            Some(Body::ScheduleMissed { due_ms, settled_ms, count, reason }) => {
                state.settled_ms = *settled_ms;
                state.missed = Some(Missed { due_ms: *due_ms, count: *count, reason: reason.clone() });
            }
            _ => {}
        }
        state.next_ms =
            Calendar::of(&state.schedule.when, state.made_at_ms).ok().and_then(|c| c.next(state.settled_ms));
    }
}

fn made(event: &Event, schedule: &Schedule) -> ScheduleState {
    ScheduleState {
        stream: event.stream.clone(),
        schedule: schedule.clone(),
        owner: event.by.clone(),
        made_at_ms: event.at_ms,
        paused: false,
        next_ms: None,
        last: None,
        missed: None,
        settled_ms: event.at_ms,
        fired: 0,
        stream_seq: 0,
    }
}

impl Engine {
    /// Makes a schedule that works with the caller's rights. Its action, tool or question is checked as if
    /// it were asked for now; whether it may be done is decided each time it is due.
    pub async fn schedule_add(&self, cx: &CallContext, schedule: Schedule) -> Result<ScheduleState, Fault> {
        let workspace = schedule.workspace.clone();
        self.setup.may_govern(cx, Some(&workspace), "schedule").await?;
        self.check_schedule(&schedule)?;
        let _one_at_a_time = self.schedules.making.lock().await;
        self.catch_up().await?;
        let there = self.schedules.list(cx.tenant(), &workspace);
        if there.iter().any(|state| state.schedule.name == schedule.name) {
            return Err(Fault::conflict(format!("there is a schedule {} in {workspace} already", schedule.name))
                .hint("remove it first, or choose another name"));
        }
        if there.len() >= PER_WORKSPACE_MAX {
            return Err(Fault::new(Code::TooMany, format!("{workspace} has {PER_WORKSPACE_MAX} schedules, the most"))
                .hint("remove one first"));
        }
        let (name, tenant) = (schedule.name.clone(), cx.tenant().clone());
        let stream = stream(cx, StreamKind::Schedule, &self.parts.entropy.id("s"));
        self.append(cx, &stream, vec![Body::ScheduleMade { schedule: Box::new(schedule) }]).await?;
        self.catch_up().await?;
        self.schedules
            .find(&tenant, &workspace, &name)
            .ok_or_else(|| Fault::internal("the schedule was made and is not there"))
    }

    fn check_schedule(&self, schedule: &Schedule) -> Result<(), Fault> {
        let now_ms = self.parts.clock.now_ms();
        if Calendar::of(&schedule.when, now_ms)?.next(now_ms).is_none() {
            return Err(Fault::invalid("that is never due").hint("look at the day and the month"));
        }
        if !(1..=LATE_MINUTES_MAX).contains(&schedule.late_minutes) {
            return Err(Fault::invalid(format!("a missed firing may be 1 to {LATE_MINUTES_MAX} minutes late")));
        }
        match &schedule.work {
            Work::Act { action } => action.validate(),
            Work::Tool { tool, input } => crate::toolbox::check(self.toolbox.get(tool)?, input).map(|_| ()),
            Work::Ask { text } if text.trim().is_empty() || text.chars().count() > MESSAGE_CHARS_MAX => {
                Err(Fault::invalid(format!("a question has 1 to {MESSAGE_CHARS_MAX} characters")))
            }
            Work::Ask { .. } => Ok(()),
        }
    }

    /// The schedules of a workspace.
    pub async fn schedules(&self, cx: &CallContext, workspace: &Workspace) -> Result<Vec<ScheduleState>, Fault> {
        self.setup.may_observe(cx, Some(workspace), "state").await?;
        self.catch_up().await?;
        Ok(self.schedules.list(cx.tenant(), workspace))
    }

    /// Stops a schedule for a while, or lets it go on from now.
    pub async fn schedule_pause(
        &self,
        cx: &CallContext,
        workspace: &Workspace,
        name: &Id,
        paused: bool,
    ) -> Result<ScheduleState, Fault> {
        let state = self.schedule_to_change(cx, workspace, name).await?;
        if state.paused != paused {
            self.append(cx, &state.stream, vec![Body::SchedulePaused { paused }]).await?;
        }
        self.schedule_to_change(cx, workspace, name).await
    }

    /// Ends a schedule for good. A run that it started goes on.
    pub async fn schedule_remove(&self, cx: &CallContext, workspace: &Workspace, name: &Id) -> Result<(), Fault> {
        let state = self.schedule_to_change(cx, workspace, name).await?;
        self.append(cx, &state.stream, vec![Body::ScheduleRemoved {}]).await?;
        self.catch_up().await
    }

    /// Its maker may change a schedule, and whoever may press the workspace's switch.
    async fn schedule_to_change(
        &self,
        cx: &CallContext,
        workspace: &Workspace,
        name: &Id,
    ) -> Result<ScheduleState, Fault> {
        self.setup.may_observe(cx, Some(workspace), "state").await?;
        self.catch_up().await?;
        let state = self.schedules.find(cx.tenant(), workspace, name).ok_or_else(|| {
            Fault::not_found(format!("there is no schedule {name} in {workspace}"))
                .hint("`opsward schedule list` shows them")
        })?;
        let what = if state.owner == cx.principal.subject { "schedule" } else { "set_switch" };
        self.setup.may_govern(cx, Some(workspace), what).await?;
        Ok(state)
    }
}
