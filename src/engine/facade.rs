//! The engine as surfaces see it: authenticate, submit, follow, view. Surfaces translate; they decide nothing.

mod tools;

use std::collections::BTreeSet;
use std::sync::Arc;

use opsward_domain::action::{Action, ActionKind};
use opsward_domain::context::{CallContext, Origin};
use opsward_domain::event::{Body, Event, NewEvent, StreamKind, StreamName};
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Id, Subject, Tenant, Workspace};
use opsward_domain::principal::Principal;
use opsward_ports::identity::{Credential, Identity, Session};
use opsward_ports::journal::BATCH_EVENTS_MAX;
use opsward_ports::policy::{Approver, Verb};
use opsward_ports::provider::{Observation, Provider, Query};
use tokio::sync::watch;

use crate::changes::Changes;
use crate::damage;
use crate::driver::Drivers;
use crate::gate::{Gate, Setting};
use crate::incidents::Lifecycles;
use crate::investigate::Senses;
use crate::parts::{Parts, journal_fault};
use crate::people::People;
use crate::projection::Views;
use crate::schedules::Schedules;
use crate::score::{Score, Scores};
use crate::state::{PlanState, RunState};
use crate::switches::Switches;
use crate::toolbox::Toolbox;
use crate::transcript::Transcript;

/// Most characters of one message.
pub const MESSAGE_CHARS_MAX: usize = 10_000;
const APPEND_TRIES_MAX: usize = 8;

/// What the gate needs to know of the world, and the ways to ask it.
pub struct Setup {
    /// The gate.
    pub gate: Gate,
    /// People.
    pub people: Arc<People>,
    /// Switches.
    pub switches: Arc<Switches>,
    /// Looked through to learn whose a workspace is.
    pub provider: Arc<dyn Provider>,
}

impl Setup {
    /// Facts around a question about `workspace`. A workspace that is to be created counts as the caller's.
    pub async fn setting(
        &self,
        cx: &CallContext,
        workspace: Option<&Workspace>,
        creating: bool,
    ) -> Result<Setting, Fault> {
        let ours: BTreeSet<Workspace> = match workspace {
            Some(_) if !creating => match self.provider.observe(cx, &Query::Workspaces).await? {
                Observation::Workspaces(list) => list.into_iter().map(|status| status.name).collect(),
                _ => BTreeSet::new(),
            },
            _ => BTreeSet::new(),
        };
        let workspace_is_ours = creating || workspace.is_none_or(|name| ours.contains(name));
        let switched_off = workspace.is_none_or(|name| self.switches.off(cx.tenant(), name));
        Ok(Setting { workspace_is_ours, ours, members: self.people.members(cx.tenant()), switched_off })
    }

    /// May the caller look at `what` in `workspace`?
    pub async fn may_observe(&self, cx: &CallContext, workspace: Option<&Workspace>, what: &str) -> Result<(), Fault> {
        self.must(cx, workspace, Verb::Observe { what: what.to_owned() }).await
    }

    /// May the caller do `what` to the service itself?
    pub async fn may_govern(&self, cx: &CallContext, workspace: Option<&Workspace>, what: &str) -> Result<(), Fault> {
        self.must(cx, workspace, Verb::Govern { what: what.to_owned() }).await
    }

    async fn must(&self, cx: &CallContext, workspace: Option<&Workspace>, verb: Verb) -> Result<(), Fault> {
        let setting = self.setting(cx, workspace, false).await?;
        if workspace.is_some() && !setting.workspace_is_ours {
            return Err(no_workspace(workspace));
        }
        self.gate.must(cx, &setting, workspace, verb).await
    }
}

fn no_workspace(workspace: Option<&Workspace>) -> Fault {
    Fault::not_found(format!("there is no workspace {}", workspace.map_or("", Workspace::as_str)))
        .hint("`opsward workspace list` shows yours")
}

/// A page of the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// What the caller may see of it.
    pub events: Vec<Event>,
    /// Where the next page begins.
    pub cursor: u64,
    /// True if there is nothing more now.
    pub end: bool,
}

/// The engine.
pub struct Engine {
    /// The ports.
    pub parts: Parts,
    /// Gate, people and switches.
    pub setup: Arc<Setup>,
    /// Tools.
    pub toolbox: Arc<Toolbox>,
    /// What runs see of the world.
    pub senses: Arc<dyn Senses>,
    /// Recent changes.
    pub changes: Arc<Changes>,
    /// Recent lifecycle events.
    pub lifecycles: Arc<Lifecycles>,
    /// How long things are kept, and what has expired.
    pub keeping: crate::keeping::Keeping,
    /// Read models.
    pub views: Arc<Views>,
    /// Withheld plans against what people did.
    pub scores: Arc<Scores>,
    /// Schedules.
    pub schedules: Arc<Schedules>,
    /// Running streams.
    pub drivers: Drivers,
    /// Text of prompts by name.
    pub prompts: Arc<std::collections::BTreeMap<String, String>>,
    /// Alerts are taken in one at a time, so that a storm opens one incident.
    pub(crate) intake: tokio::sync::Mutex<()>,
    /// Read models are folded by one reader at a time.
    pub(crate) folding: tokio::sync::Mutex<()>,
}

impl Engine {
    /// The session behind a credential.
    pub async fn authenticate(&self, credential: &Credential) -> Result<Session, Fault> {
        self.setup.people.authenticate(credential).await
    }

    /// Says something in a conversation (a new one if `conversation` is absent). Returns its identity and
    /// the journal sequence of the message, once it is durable.
    pub async fn say(
        &self,
        cx: &CallContext,
        workspace: &Workspace,
        conversation: Option<Id>,
        text: &str,
    ) -> Result<(Id, u64), Fault> {
        if text.trim().is_empty() || text.chars().count() > MESSAGE_CHARS_MAX {
            return Err(Fault::invalid(format!("a message has 1 to {MESSAGE_CHARS_MAX} characters"))
                .hint("send it in parts, or ingest it as log lines and ask about those"));
        }
        self.setup.may_govern(cx, Some(workspace), "converse").await?;
        let id = conversation.unwrap_or_else(|| self.parts.entropy.id("c"));
        let stream = stream(cx, StreamKind::Conversation, &id);
        let before = self.run(cx, &stream).await?;
        if before.workspace.as_ref().is_some_and(|known| known != workspace) {
            return Err(Fault::conflict("that conversation is about another workspace").hint("start a new one"));
        }
        let body = Body::MessageReceived { workspace: workspace.clone(), origin: cx.origin, text: text.to_owned() };
        let seq = self.append(cx, &stream, vec![body]).await?;
        self.drivers.wake(&stream);
        Ok((id, seq))
    }

    /// Asks for one typed action. Returns the stream that carries it, once the request is durable.
    pub async fn act(
        &self,
        cx: &CallContext,
        workspace: &Workspace,
        action: Action,
        reason: &str,
    ) -> Result<StreamName, Fault> {
        action.validate()?;
        let stream = stream(cx, StreamKind::Command, &self.parts.entropy.id("a"));
        let body = Body::ActionRequested {
            workspace: workspace.clone(),
            origin: cx.origin,
            action: Box::new(action),
            reason: reason.chars().take(500).collect(),
        };
        self.append(cx, &stream, vec![body]).await?;
        self.drivers.wake(&stream);
        Ok(stream)
    }

    /// A run's state now.
    pub async fn run(&self, cx: &CallContext, stream: &StreamName) -> Result<RunState, Fault> {
        let mut state = RunState::new(stream.clone());
        self.refresh(cx, &mut state).await?;
        Ok(state)
    }

    /// Folds what was appended to the run since `state`.
    pub async fn refresh(&self, cx: &CallContext, state: &mut RunState) -> Result<(), Fault> {
        loop {
            let after = state.stream_seq;
            let page = self.parts.journal.read(cx, &state.stream, after, BATCH_EVENTS_MAX).await;
            let events = page.map_err(journal_fault)?;
            // A page may end early; only an empty one is the end.
            if events.is_empty() {
                return Ok(());
            }
            events.iter().for_each(|event| state.apply(event));
        }
    }

    /// Waits, at most `wait_ms`, until `settled` holds for the run's state; returns the state then.
    pub async fn settle(
        &self,
        cx: &CallContext,
        stream: &StreamName,
        wait_ms: u64,
        settled: impl Fn(&RunState) -> bool,
    ) -> Result<RunState, Fault> {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(wait_ms);
        let mut head = self.head();
        let mut state = RunState::new(stream.clone());
        loop {
            self.refresh(cx, &mut state).await?;
            if settled(&state) {
                return Ok(state);
            }
            if tokio::time::timeout_at(deadline, head.changed()).await.is_err() {
                return Ok(state);
            }
        }
    }

    /// The decision trail of a run.
    pub async fn trail(
        &self,
        cx: &CallContext,
        stream: &StreamName,
    ) -> Result<Vec<crate::projection::audit::TrailLine>, Fault> {
        let events = crate::transcript::events(self.parts.journal.as_ref(), cx, stream).await?;
        Ok(crate::projection::audit::trail(&events))
    }

    /// A run with everything needed to play it again; see [`crate::transcript`].
    pub async fn record(&self, cx: &CallContext, stream: &StreamName) -> Result<Transcript, Fault> {
        let place = self.run(cx, stream).await?.workspace;
        self.setup.may_observe(cx, place.as_ref(), "audit").await?;
        crate::transcript::record(self.parts.journal.as_ref(), stream).await
    }

    /// Trades a one-time link for a session.
    pub async fn redeem(&self, link: &str, session_ms: i64) -> Result<(Principal, String), Fault> {
        self.setup.people.redeem(&Credential::bearer(link), session_ms).await
    }

    /// Gives the caller's yes to exactly what was asked. Checks who may, binding and expiry; wakes the run.
    pub async fn approve(&self, cx: &CallContext, approval: &Id) -> Result<StreamName, Fault> {
        let (stream, state) = self.find_approval(cx, approval).await?;
        let Some((plan, asked)) = state.approval(approval) else { return Err(no_approval()) };
        self.may_answer(cx, &plan.plan.workspace, creates(plan)).await?;
        let opsward_domain::approval::ApprovalStatus::Open { given_by } = &asked.status else {
            return Err(Fault::conflict("that approval is not open any more"));
        };
        if self.parts.clock.now_ms() >= asked.request.expires_at_ms {
            return Err(Fault::conflict("that approval has lapsed").hint("ask for a new plan"));
        }
        let person = &cx.principal.subject;
        if asked.request.approvers.not_asker && *person == asked.request.asker {
            return Err(Fault::denied("somebody other than the asker must approve this")
                .detail("the asker's own yes does not count here"));
        }
        if given_by.contains(person) {
            return Err(Fault::conflict("you said yes already; somebody else must too"));
        }
        self.may_approve(cx, &state, plan).await?;
        let request = &asked.request;
        let body =
            Body::ApprovalGiven { approval: approval.clone(), by: person.clone(), binding: request.binding.clone() };
        self.append(cx, &stream, vec![body]).await?;
        self.drivers.wake(&stream);
        Ok(stream)
    }

    /// Would policy let the plan go ahead with this person among the approvers?
    async fn may_approve(&self, cx: &CallContext, state: &RunState, plan: &PlanState) -> Result<(), Fault> {
        let asker_cx = self.run_context(state)?;
        let workspace = &plan.plan.workspace;
        let setting = self.setup.setting(&asker_cx, Some(workspace), creates(plan)).await?;
        let Some(asked) = &plan.approval else { return Err(no_approval()) };
        let mut people: Vec<Subject> = plan.given_by().into_iter().collect();
        people.push(cx.principal.subject.clone());
        let mut approvers = self.approvers(&asker_cx, workspace, &asked.request.asker, &people);
        // Others may still be missing: fill up with the strongest people there could be, so that the
        // question is about this one.
        let mut filler = 0;
        while approvers.len() < usize::from(asked.request.approvers.people) {
            filler += 1;
            let subject = Subject::parse(&format!("approver-{filler}"))?;
            approvers.push(Approver { subject, role: opsward_domain::principal::Role::Owner, asker: false });
        }
        let decision = self.setup.gate.decide(&asker_cx, &setting, &plan.plan, &plan.influence, &approvers).await;
        match decision.overall.verdict {
            opsward_domain::decision::Verdict::Allow => Ok(()),
            _ => Err(Fault::denied("your yes does not suffice for this plan")
                .detail(decision.overall.reason)
                .hint("someone whose own role could do it must approve")),
        }
    }

    /// People who said yes, with the roles they hold now.
    pub fn approvers(
        &self,
        cx: &CallContext,
        workspace: &Workspace,
        asker: &Subject,
        people: &[Subject],
    ) -> Vec<Approver> {
        people
            .iter()
            .filter_map(|subject| {
                let principal = self.setup.people.principal(cx.tenant(), subject)?;
                let role = principal.role_in(workspace)?;
                Some(Approver { subject: subject.clone(), role, asker: subject == asker })
            })
            .collect()
    }

    /// Says no. Anyone who may answer may say no.
    pub async fn refuse(&self, cx: &CallContext, approval: &Id, note: &str) -> Result<StreamName, Fault> {
        let (stream, state) = self.find_approval(cx, approval).await?;
        let Some((plan, asked)) = state.approval(approval) else { return Err(no_approval()) };
        self.may_answer(cx, &plan.plan.workspace, creates(plan)).await?;
        if !matches!(asked.status, opsward_domain::approval::ApprovalStatus::Open { .. }) {
            return Err(Fault::conflict("that approval is not open any more"));
        }
        let body = Body::ApprovalRefused {
            approval: approval.clone(),
            by: cx.principal.subject.clone(),
            note: note.chars().take(500).collect(),
        };
        self.append(cx, &stream, vec![body]).await?;
        self.drivers.wake(&stream);
        Ok(stream)
    }

    /// Plans that observe-only withheld since `since_ms` where the caller has a role, scored now, newest first.
    pub async fn scores(&self, cx: &CallContext, since_ms: i64) -> Result<Vec<Score>, Fault> {
        self.catch_up().await?;
        let mut scores = self.scores.list(cx.tenant(), since_ms, self.parts.clock.now_ms());
        scores.retain(|score| cx.principal.role_in(&score.workspace).is_some());
        Ok(scores)
    }

    async fn find_approval(&self, cx: &CallContext, approval: &Id) -> Result<(StreamName, RunState), Fault> {
        self.catch_up().await?;
        let stream = self.views.approval_stream(cx.tenant(), approval).ok_or_else(no_approval)?;
        let state = self.run(cx, &stream).await?;
        Ok((stream, state))
    }

    /// Cancels the running turn of a conversation or incident. Effects that began are finished or taken back.
    pub async fn cancel(&self, cx: &CallContext, stream: &StreamName) -> Result<(), Fault> {
        let state = self.run(cx, stream).await?;
        if state.stream_seq == 0 {
            return Err(Fault::not_found("there is no such run"));
        }
        self.setup.may_govern(cx, state.workspace.as_ref(), "converse").await?;
        self.append(cx, stream, vec![Body::CancelRequested { by: cx.principal.subject.clone() }]).await?;
        self.drivers.cancel(stream);
        self.drivers.wake(stream);
        Ok(())
    }

    /// Why nothing can be recorded, and so nothing be changed, if that is so: the journal is damaged.
    pub fn read_only(&self) -> Option<Fault> {
        self.parts.journal.refusal().map(journal_fault)
    }

    /// A page of events after `after`, of the caller's tenant, that the caller may see. A page can be empty
    /// and not the end: what is hidden or damaged moves the cursor too.
    pub async fn feed(&self, cx: &CallContext, after: u64, limit: usize) -> Result<Page, Fault> {
        let journal = self.parts.journal.as_ref();
        let (events, cursor) = damage::feed(journal, cx, after, limit.min(BATCH_EVENTS_MAX)).await?;
        self.catch_up().await?;
        let visible = |event: &Event| self.may_see(cx, &event.stream);
        let events = events.into_iter().filter(visible).map(without_hashes).collect();
        Ok(Page { events, cursor, end: cursor == after })
    }

    /// A run is seen by who has a role where it acts, or asked for it; people and switches by admins. Another
    /// tenant's run is seen by nobody.
    pub fn may_see(&self, cx: &CallContext, stream: &StreamName) -> bool {
        use opsward_domain::principal::Role;
        let principal = &cx.principal;
        if stream.tenant != principal.tenant {
            return false;
        }
        match stream.kind {
            StreamKind::People | StreamKind::Control => principal.tenant_role >= Some(Role::Admin),
            _ => match self.views.place(stream) {
                Some((workspace, asker)) => principal.role_in(&workspace).is_some() || asker == principal.subject,
                None => principal.tenant_role.is_some(),
            },
        }
    }

    /// Follows the journal's last sequence number.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.parts.journal.head()
    }

    /// Looks at the platform through the gate.
    pub async fn observe(&self, cx: &CallContext, query: &Query) -> Result<Observation, Fault> {
        if matches!(query, Query::Workspaces) {
            return self.workspaces(cx).await;
        }
        let what = if let Query::Output { .. } = query { "logs" } else { "state" };
        self.setup.may_observe(cx, query.workspace(), what).await?;
        self.parts.provider.observe(cx, query).await
    }

    /// The caller's workspaces: those where the caller has a role.
    async fn workspaces(&self, cx: &CallContext) -> Result<Observation, Fault> {
        match self.parts.provider.observe(cx, &Query::Workspaces).await? {
            Observation::Workspaces(mut list) => {
                list.retain(|status| cx.principal.role_in(&status.name).is_some());
                Ok(Observation::Workspaces(list))
            }
            _ => Err(Fault::internal("the provider answered another question")),
        }
    }

    /// The context a run acts in: its asker with the rights of this moment.
    pub fn run_context(&self, state: &RunState) -> Result<CallContext, Fault> {
        let tenant: &Tenant = &state.stream.tenant;
        let asker = state.asker.as_ref().ok_or_else(|| Fault::internal("the run has no asker"))?;
        let origin = match state.stream.kind {
            StreamKind::Incident => Origin::Alert,
            StreamKind::Conversation => Origin::Agent,
            StreamKind::Command => state.origin,
            StreamKind::People | StreamKind::Control | StreamKind::Schedule => Origin::System,
        };
        let principal = self.setup.people.principal(tenant, asker).ok_or_else(|| {
            Fault::denied(format!("{asker} has no account any more")).hint("somebody else must ask again")
        })?;
        Ok(CallContext::new(principal, origin).within(state.stream.id.clone()))
    }

    /// Appends to a run's stream wherever it stands now.
    pub async fn append(&self, cx: &CallContext, stream: &StreamName, bodies: Vec<Body>) -> Result<u64, Fault> {
        for _ in 0..APPEND_TRIES_MAX {
            let expected = self.run(cx, stream).await?.stream_seq;
            let at_ms = self.parts.clock.now_ms();
            let events = bodies.iter().map(|body| NewEvent { at_ms, cause: None, body: body.clone() }).collect();
            match self.parts.journal.append(cx, stream, expected, events).await {
                Ok(appended) => return Ok(appended.seq),
                Err(opsward_ports::journal::Error::Conflict { .. }) => {}
                Err(error) => return Err(journal_fault(error)),
            }
        }
        Err(Fault::new(Code::Conflict, "the run is being changed by somebody else").hint("try again"))
    }
}

/// True if the plan makes its own workspace.
pub fn creates(plan: &PlanState) -> bool {
    plan.plan.steps.iter().any(|step| step.action.kind() == ActionKind::CreateWorkspace)
}

/// A stream of the caller's tenant.
pub fn stream(cx: &CallContext, kind: StreamKind, id: &Id) -> StreamName {
    StreamName { tenant: cx.tenant().clone(), kind, id: id.clone() }
}

/// Token hashes are nobody's business.
fn without_hashes(mut event: Event) -> Event {
    if let Some(Body::TokenIssued { hash, .. }) = &mut event.body {
        hash.clear();
    }
    event
}

fn no_approval() -> Fault {
    Fault::not_found("there is no such approval").hint("`opsward approvals` lists the open ones")
}
