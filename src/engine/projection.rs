//! Read models: folds of the journal's feed. They hold no truth of their own and can be rebuilt any time.

pub mod audit;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::RwLock;

use opsward_domain::alert::Condition;
use opsward_domain::event::{Body, Event, StreamKind, StreamName};
use opsward_domain::incident::IncidentStatus;
use opsward_domain::name::{Id, Subject, Tenant, Workspace};
use opsward_domain::time::AtMs;
use serde::Serialize;

/// Ended incidents and conversations kept in lists.
const ENDED_MAX: usize = 1_000;
/// Runs whose place is remembered; older ones are seen by people of the whole tenant only.
const PLACES_MAX: usize = 20_000;

/// An incident in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IncidentLine {
    /// Its identity.
    pub id: Id,
    /// Where.
    pub workspace: Workspace,
    /// One line.
    pub title: String,
    /// Where it stands.
    pub status: IncidentStatus,
    /// When it opened.
    pub opened_at_ms: AtMs,
    /// When something last happened.
    pub last_at_ms: AtMs,
    /// Its alerts.
    pub fingerprints: BTreeSet<String>,
    /// Those of them that ended.
    #[serde(skip)]
    pub cleared: BTreeSet<String>,
    /// Those of them that are measured here; of the others only their sender knows when they end.
    #[serde(skip)]
    pub measured: BTreeSet<String>,
    /// How it ended.
    pub ended: Option<String>,
}

/// An open approval in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ApprovalLine {
    /// Its identity.
    pub id: Id,
    /// Where it was asked.
    pub stream: StreamName,
    /// Where it acts.
    pub workspace: Option<Workspace>,
    /// Who asked.
    pub asker: Subject,
    /// What it would do.
    pub headline: String,
    /// When it lapses.
    pub expires_at_ms: AtMs,
}

/// A conversation in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConversationLine {
    /// Its identity.
    pub id: Id,
    /// Where.
    pub workspace: Workspace,
    /// Who began it.
    pub by: Subject,
    /// The first words.
    pub title: String,
    /// When something last happened.
    pub last_at_ms: AtMs,
}

#[derive(Default)]
struct Fold {
    seq: u64,
    incidents: BTreeMap<StreamName, IncidentLine>,
    conversations: BTreeMap<StreamName, ConversationLine>,
    headlines: BTreeMap<(StreamName, Id), (String, Workspace)>,
    approvals: BTreeMap<(Tenant, Id), ApprovalLine>,
    places: BTreeMap<StreamName, (Workspace, Subject)>,
    place_order: std::collections::VecDeque<StreamName>,
    unfinished: BTreeSet<StreamName>,
}

/// The read models of every tenant.
#[derive(Default)]
pub struct Views(RwLock<Fold>);

const TITLE_CHARS_MAX: usize = 80;

impl Views {
    /// Folds one event; events already folded change nothing.
    pub fn apply(&self, event: &Event) {
        let mut fold = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if event.seq > fold.seq {
            fold.apply(event);
        }
    }

    fn look<T>(&self, look: impl FnOnce(&Fold) -> T) -> T {
        look(&self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Nothing more comes before `seq`: what is missing there cannot be read.
    pub fn step_to(&self, seq: u64) {
        let mut fold = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        fold.seq = fold.seq.max(seq);
    }

    /// Journal sequence folded last.
    pub fn seq(&self) -> u64 {
        self.look(|fold| fold.seq)
    }

    /// Runs that had not come to an end or a wait when last heard of.
    pub fn unfinished(&self) -> Vec<StreamName> {
        self.look(|fold| fold.unfinished.iter().cloned().collect())
    }

    /// Where an approval was asked, if it is this tenant's.
    pub fn approval_stream(&self, tenant: &Tenant, approval: &Id) -> Option<StreamName> {
        self.look(|fold| fold.approvals.get(&(tenant.clone(), approval.clone())).map(|line| line.stream.clone()))
    }

    /// Where a run acts and who asked for it, if it is known.
    pub fn place(&self, stream: &StreamName) -> Option<(Workspace, Subject)> {
        self.look(|fold| fold.places.get(stream).cloned())
    }

    /// The tenant's open approvals.
    pub fn approvals(&self, tenant: &Tenant) -> Vec<ApprovalLine> {
        self.look(|fold| {
            fold.approvals.iter().filter(|((t, _), _)| t == tenant).map(|(_, line)| line.clone()).collect()
        })
    }

    /// The tenant's incidents, newest first.
    pub fn incidents(&self, tenant: &Tenant) -> Vec<IncidentLine> {
        let mut list: Vec<IncidentLine> = self.look(|fold| {
            fold.incidents.iter().filter(|(name, _)| name.tenant == *tenant).map(|(_, line)| line.clone()).collect()
        });
        list.sort_by_key(|line| std::cmp::Reverse(line.opened_at_ms));
        list
    }

    /// The tenant's conversations, newest first.
    pub fn conversations(&self, tenant: &Tenant) -> Vec<ConversationLine> {
        let mut list: Vec<ConversationLine> = self.look(|fold| {
            fold.conversations.iter().filter(|(name, _)| name.tenant == *tenant).map(|(_, line)| line.clone()).collect()
        });
        list.sort_by_key(|line| std::cmp::Reverse(line.last_at_ms));
        list
    }

    /// Incidents of a workspace that have not ended.
    pub fn open_incidents(&self, tenant: &Tenant, workspace: &Workspace) -> Vec<IncidentLine> {
        self.incidents(tenant).into_iter().filter(|line| line.workspace == *workspace && !line.status.ended()).collect()
    }

    /// How many incidents of the tenant have not ended.
    pub fn open_incident_count(&self, tenant: &Tenant) -> usize {
        self.incidents(tenant).iter().filter(|line| !line.status.ended()).count()
    }
}

impl Fold {
    fn apply(&mut self, event: &Event) {
        self.seq = event.seq;
        let Some(body) = &event.body else { return };
        self.apply_place(event, body);
        self.apply_incident(event, body);
        self.apply_conversation(event, body);
        self.apply_approval(event, body);
        self.apply_running(event, body);
    }

    fn apply_place(&mut self, event: &Event, body: &Body) {
        let workspace = match body {
            Body::MessageReceived { workspace, .. }
            | Body::ActionRequested { workspace, .. }
            | Body::ToolRequested { workspace, .. } => workspace,
            Body::ScheduleMade { schedule } => &schedule.workspace,
            Body::IncidentOpened { alert, .. } => &alert.workspace,
            _ => return,
        };
        let place = (workspace.clone(), event.by.clone());
        if self.places.insert(event.stream.clone(), place).is_none() {
            self.place_order.push_back(event.stream.clone());
        }
        if self.place_order.len() > PLACES_MAX
            && let Some(oldest) = self.place_order.pop_front()
        {
            self.places.remove(&oldest);
        }
    }

    fn apply_incident(&mut self, event: &Event, body: &Body) {
        if let Body::IncidentOpened { alert, title } = body {
            let line = IncidentLine {
                id: event.stream.id.clone(),
                workspace: alert.workspace.clone(),
                title: title.clone(),
                status: IncidentStatus::Open,
                opened_at_ms: event.at_ms,
                last_at_ms: event.at_ms,
                fingerprints: BTreeSet::new(),
                cleared: BTreeSet::new(),
                measured: BTreeSet::new(),
                ended: None,
            };
            self.incidents.insert(event.stream.clone(), line);
            forget_oldest(&mut self.incidents, |line| line.status.ended(), |line| line.last_at_ms);
        }
        let Some(line) = self.incidents.get_mut(&event.stream) else { return };
        line.last_at_ms = event.at_ms;
        let moved = match body {
            Body::TurnStarted { .. } | Body::PlanEnded { .. } => Some(IncidentStatus::Investigating),
            Body::ApprovalRequested { .. } => Some(IncidentStatus::AwaitingApproval),
            Body::StepStarted { .. } => Some(IncidentStatus::Acting),
            _ => None,
        };
        if let Some(moved) = moved.filter(|_| !line.status.ended()) {
            line.status = moved;
        }
        match body {
            Body::IncidentOpened { alert, .. } | Body::AlertLinked { alert } => {
                line.fingerprints.insert(alert.fingerprint.clone());
                if alert.condition != Condition::Reported {
                    line.measured.insert(alert.fingerprint.clone());
                }
            }
            Body::AlertCleared { fingerprint } => {
                line.cleared.insert(fingerprint.clone());
            }
            Body::IncidentResolved { reason, .. } => {
                line.status = IncidentStatus::Resolved;
                line.ended = Some(reason.clone());
            }
            Body::IncidentEscalated { reason } => {
                line.status = IncidentStatus::Escalated;
                line.ended = Some(reason.clone());
            }
            _ => {}
        }
    }

    fn apply_conversation(&mut self, event: &Event, body: &Body) {
        if let Body::MessageReceived { workspace, text, .. } = body {
            let line = self.conversations.entry(event.stream.clone()).or_insert_with(|| ConversationLine {
                id: event.stream.id.clone(),
                workspace: workspace.clone(),
                by: event.by.clone(),
                title: text.chars().take(TITLE_CHARS_MAX).collect(),
                last_at_ms: event.at_ms,
            });
            line.last_at_ms = event.at_ms;
            forget_oldest(&mut self.conversations, |_| true, |line| line.last_at_ms);
        }
    }

    fn apply_approval(&mut self, event: &Event, body: &Body) {
        let tenant = event.stream.tenant.clone();
        match body {
            Body::PlanProposed { plan, .. } => {
                let what = (crate::driver::headline(plan), plan.workspace.clone());
                self.headlines.insert((event.stream.clone(), plan.id.clone()), what);
            }
            Body::PlanEnded { plan, .. } => {
                self.headlines.remove(&(event.stream.clone(), plan.clone()));
                self.approvals.retain(|_, line| line.stream != event.stream);
            }
            Body::ApprovalRequested { request } => {
                let what = self.headlines.get(&(event.stream.clone(), request.plan.clone()));
                let line = ApprovalLine {
                    id: request.id.clone(),
                    stream: event.stream.clone(),
                    workspace: what.map(|(_, workspace)| workspace.clone()),
                    asker: request.asker.clone(),
                    headline: what.map(|(headline, _)| headline.clone()).unwrap_or_default(),
                    expires_at_ms: request.expires_at_ms,
                };
                self.approvals.insert((tenant, request.id.clone()), line);
            }
            Body::ApprovalRefused { approval, .. }
            | Body::ApprovalVoided { approval, .. }
            | Body::ApprovalUsed { approval } => {
                self.approvals.remove(&(tenant, approval.clone()));
            }
            _ => {}
        }
    }

    fn apply_running(&mut self, event: &Event, body: &Body) {
        if !matches!(event.stream.kind, StreamKind::Conversation | StreamKind::Incident | StreamKind::Command) {
            return;
        }
        match body {
            Body::TurnEnded { .. } => {
                // A plan that waits outlives the turn: its approval may lapse.
                if self.approvals.values().all(|line| line.stream != event.stream) {
                    self.unfinished.remove(&event.stream);
                }
            }
            Body::PlanEnded { .. } if event.stream.kind == StreamKind::Command => {
                self.unfinished.remove(&event.stream);
            }
            // It may come long after the end, and starts nothing.
            Body::AlertCleared { .. } => {}
            _ => {
                self.unfinished.insert(event.stream.clone());
            }
        }
    }
}

/// Keeps lists bounded: beyond the bound the oldest that may be forgotten goes.
fn forget_oldest<T>(map: &mut BTreeMap<StreamName, T>, may: impl Fn(&T) -> bool, age: impl Fn(&T) -> AtMs) {
    if map.len() <= ENDED_MAX {
        return;
    }
    let oldest =
        map.iter().filter(|(_, line)| may(line)).min_by_key(|(_, line)| age(line)).map(|(name, _)| name.clone());
    if let Some(oldest) = oldest {
        map.remove(&oldest);
    }
}
