//! Looks at every schedule once a second. A firing is recorded under a key before its run begins, and a run
//! begins at the start of an empty stream only: whatever is lost in between, nothing is done twice.

use std::sync::Arc;

use opsward_domain::canonical::digest;
use opsward_domain::context::{CallContext, Origin};
use opsward_domain::event::{Body, NewEvent, StreamKind, StreamName, ToolCall};
use opsward_domain::fault::Fault;
use opsward_domain::name::Id;
use opsward_domain::schedule::Work;
use opsward_domain::time::AtMs;
use opsward_ports::journal::Error;

use super::{Calendar, Due, ScheduleState};
use crate::facade::Engine;
use crate::parts::{journal_fault, system_context};

const EVERY_MS: u64 = 1_000;
/// A clock that went back by less than this is waited for.
const CLOCK_BACK_MS: i64 = 2 * 60 * 1000;
const MINUTE_MS: i64 = 60_000;

/// Runs until the process ends.
pub async fn run(engine: Arc<Engine>) {
    while engine.read_only().is_none() {
        if let Err(fault) = engine.tend_schedules().await {
            tracing::warn!(fault = %fault, "schedules have to wait");
        }
        engine.parts.clock.sleep_ms(EVERY_MS).await;
    }
}

impl Engine {
    /// Starts what is due. One schedule's trouble never stops another's.
    pub async fn tend_schedules(&self) -> Result<(), Fault> {
        self.catch_up().await?;
        self.begin_pending().await;
        let live: Vec<ScheduleState> = self.schedules.look(|fold| fold.live.values().cloned().collect());
        for state in live {
            if let Err(fault) = self.tend(&state).await {
                tracing::warn!(schedule = %state.stream, fault = %fault, "schedule has to wait");
            }
        }
        self.catch_up().await?;
        self.begin_pending().await;
        Ok(())
    }

    async fn tend(&self, state: &ScheduleState) -> Result<(), Fault> {
        let now_ms = self.parts.clock.now_ms();
        if state.paused {
            return Ok(());
        }
        if state.settled_ms.saturating_sub(now_ms) > CLOCK_BACK_MS {
            let reason = "the clock went back; it goes on from now".to_owned();
            let body = Body::ScheduleMissed { due_ms: now_ms, settled_ms: now_ms, count: 0, reason };
            return self.note(state, body).await;
        }
        if state.next_ms.is_none_or(|next| next > now_ms) {
            return Ok(());
        }
        let calendar = Calendar::of(&state.schedule.when, state.made_at_ms)?;
        let Some(due) = calendar.due(state.settled_ms, now_ms) else { return Ok(()) };
        let body = match self.hindrance(state, due, now_ms).await? {
            None => fired(state, due)?,
            Some(reason) => {
                Body::ScheduleMissed { due_ms: due.latest_ms, settled_ms: due.latest_ms, count: due.count, reason }
            }
        };
        self.note(state, body).await
    }

    /// Why what is due is not done, if it is not.
    async fn hindrance(&self, state: &ScheduleState, due: Due, now_ms: AtMs) -> Result<Option<String>, Fault> {
        let late_minutes = state.schedule.late_minutes;
        if now_ms.saturating_sub(due.latest_ms) > i64::from(late_minutes) * MINUTE_MS {
            return Ok(Some(format!(
                "nobody was there at that time, and more than {late_minutes} minutes have passed"
            )));
        }
        let tenant = &state.stream.tenant;
        if let Some(last) = &state.last {
            let before = self.run(&system_context(tenant)?, &last.run).await?;
            if !before.over() {
                let run = &last.run;
                return Ok(Some(format!("the run before it ({}/{}) has not ended", run.kind.word(), run.id)));
            }
        }
        let Some(principal) = self.setup.people.principal(tenant, &state.owner) else {
            return Ok(Some(format!("{} has no account any more", state.owner)));
        };
        if matches!(state.schedule.work, Work::Ask { .. }) {
            let cx = CallContext::new(principal, Origin::Schedule);
            if let Err(fault) = self.setup.may_govern(&cx, Some(&state.schedule.workspace), "converse").await {
                return Ok(Some(format!("refused: {fault}")));
            }
        }
        Ok(None)
    }

    /// Appends where the schedule stood; somebody else's append means: look again next time.
    async fn note(&self, state: &ScheduleState, body: Body) -> Result<(), Fault> {
        let cx = system_context(&state.stream.tenant)?;
        self.append_at(&cx, &state.stream, state.stream_seq, body).await.map(|_| ())
    }

    /// False if the stream is not where it was.
    async fn append_at(&self, cx: &CallContext, stream: &StreamName, at: u64, body: Body) -> Result<bool, Fault> {
        let event = NewEvent { at_ms: self.parts.clock.now_ms(), cause: None, body };
        match self.parts.journal.append(cx, stream, at, vec![event]).await {
            Ok(_) => Ok(true),
            Err(Error::Conflict { .. }) => Ok(false),
            Err(error) => Err(journal_fault(error)),
        }
    }

    /// Begins runs whose intent is recorded, those of a process that is gone included.
    async fn begin_pending(&self) {
        let pending: Vec<(StreamName, Option<ScheduleState>)> = self.schedules.look(|fold| {
            fold.pending.iter().map(|(run, schedule)| (run.clone(), fold.live.get(schedule).cloned())).collect()
        });
        for (run, state) in pending {
            if let Err(fault) = self.begin(&run, state).await {
                tracing::warn!(run = %run, fault = %fault, "run of a schedule has to wait");
            }
        }
    }

    async fn begin(&self, run: &StreamName, state: Option<ScheduleState>) -> Result<(), Fault> {
        let system = system_context(&run.tenant)?;
        let (cx, body) = match self.first_of(state) {
            Ok(first) => first,
            Err(fault) => (system, Body::FaultRaised { fault }),
        };
        self.append_at(&cx, run, 0, body).await?;
        self.drivers.wake(run);
        Ok(())
    }

    /// Who asks, and for what.
    fn first_of(&self, state: Option<ScheduleState>) -> Result<(CallContext, Body), Fault> {
        let state = state.ok_or_else(|| Fault::conflict("the schedule was removed before its run began"))?;
        let due_ms = state.last.as_ref().map_or(0, |last| last.due_ms);
        let late_ms = i64::from(state.schedule.late_minutes) * MINUTE_MS;
        if self.parts.clock.now_ms().saturating_sub(due_ms) > late_ms {
            return Err(Fault::conflict("the service ended before the run began, and it is too late for it now"));
        }
        let principal = self.setup.people.principal(&state.stream.tenant, &state.owner).ok_or_else(|| {
            Fault::denied(format!("{} has no account any more", state.owner)).hint("somebody else must schedule it")
        })?;
        let (workspace, origin) = (state.schedule.workspace.clone(), Origin::Schedule);
        let body = match state.schedule.work {
            Work::Act { action } => {
                let reason = format!("schedule {}", state.schedule.name);
                Body::ActionRequested { workspace, origin, action, reason }
            }
            Work::Tool { tool, input } => {
                let call = ToolCall { id: Id::parse("call-1")?, tool, input };
                Body::ToolRequested { workspace, origin, call }
            }
            Work::Ask { text } => Body::MessageReceived { workspace, origin, text },
        };
        Ok((CallContext::new(principal, origin), body))
    }
}

/// The intent: a run whose name follows from the schedule, the time and the number of the firing.
fn fired(state: &ScheduleState, due: Due) -> Result<Body, Fault> {
    let key = digest("opsward-schedule-1", &(state.stream.to_string(), due.latest_ms, state.fired));
    let kind = match state.schedule.work {
        Work::Ask { .. } => StreamKind::Conversation,
        Work::Act { .. } | Work::Tool { .. } => StreamKind::Command,
    };
    let id = Id::parse(&format!("s-{}", &key[..16]))?;
    let run = StreamName { tenant: state.stream.tenant.clone(), kind, id };
    Ok(Body::ScheduleFired {
        due_ms: due.latest_ms,
        settled_ms: due.latest_ms,
        coalesced: due.count.saturating_sub(1),
        key,
        run,
    })
}
