//! From alerts to incidents: deduplicate by fingerprint, correlate by workspace and time, open, link,
//! clear. And the watch that raises alerts from workloads' own objectives.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use opsward_domain::alert::Alert;
use opsward_domain::context::CallContext;
use opsward_domain::event::{Body, StreamKind};
use opsward_domain::fault::{Code, Fault};
use opsward_domain::incident::IncidentStatus;
use opsward_domain::name::{Id, Tenant, Workspace};
use opsward_domain::telemetry::ReplicaEvent;
use opsward_domain::time::Window;

use crate::facade::{Engine, stream};

/// Lifecycle events kept for one workspace.
pub const EVENTS_MAX: usize = 2_000;
/// Alerts of a workspace within this time of an open incident's last event belong to it.
const CORRELATE_MS: i64 = 15 * 60 * 1000;

/// Recent lifecycle events by workspace. In memory: the same facts are in series and logs for good.
#[derive(Default)]
pub struct Lifecycles(Mutex<BTreeMap<(Tenant, Workspace), VecDeque<ReplicaEvent>>>);

impl Lifecycles {
    /// Keeps an event.
    pub fn push(&self, tenant: &Tenant, event: ReplicaEvent) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let list = all.entry((tenant.clone(), event.workspace.clone())).or_default();
        list.push_back(event);
        if list.len() > EVENTS_MAX {
            list.pop_front();
        }
    }

    /// Events of a workspace inside `window`, oldest first.
    pub fn list(&self, tenant: &Tenant, workspace: &Workspace, window: Window) -> Vec<ReplicaEvent> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let list = all.get(&(tenant.clone(), workspace.clone())).into_iter().flatten();
        list.filter(|event| window.contains(event.at_ms)).cloned().collect()
    }
}

/// How long after an incident was handed to people the end of its alerts is still recorded in it.
const CLEARED_LATE_MS: i64 = 24 * 60 * 60 * 1000;

/// Where an accepted alert went.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Accepted {
    /// The incident it belongs to.
    pub incident: Id,
    /// True if it opened that incident.
    pub opened: bool,
}

impl Engine {
    /// Takes an alert: links it to the open incident it belongs to, or opens one. `cx` is whoever may
    /// raise alerts; the incident is worked on by the tenant's remediator.
    pub async fn raise(self: &Arc<Self>, cx: &CallContext, alert: Alert) -> Result<Accepted, Fault> {
        self.setup.may_govern(cx, Some(&alert.workspace), "raise_alert").await?;
        let _order = self.intake.lock().await;
        let tenant = cx.tenant();
        let open = self.views.open_incidents(tenant, &alert.workspace);
        let now_ms = self.parts.clock.now_ms();
        let same = open.iter().find(|incident| incident.fingerprints.contains(&alert.fingerprint));
        if let Some(same) = same {
            return Ok(Accepted { incident: same.id.clone(), opened: false });
        }
        if let Some(near) = open.iter().find(|incident| now_ms - incident.last_at_ms <= CORRELATE_MS) {
            let name = stream(cx, StreamKind::Incident, &near.id);
            self.append(cx, &name, vec![Body::AlertLinked { alert: Box::new(alert) }]).await?;
            self.catch_up().await?;
            return Ok(Accepted { incident: near.id.clone(), opened: false });
        }
        if self.views.open_incident_count(tenant) >= self.parts.limits.open_incidents {
            return Err(Fault::new(Code::TooMany, "too many incidents are open").hint("resolve or escalate some first"));
        }
        let remediator = self.setup.people.remediator(tenant).ok_or_else(|| {
            Fault::unavailable("the tenant has no remediator")
                .hint("an owner makes one with `opsward person add --remediator`")
        })?;
        let acting = CallContext::new(remediator, opsward_domain::context::Origin::Alert);
        let id = self.parts.entropy.id("i");
        let name = stream(&acting, StreamKind::Incident, &id);
        let title = title(&alert);
        self.append(&acting, &name, vec![Body::IncidentOpened { alert: Box::new(alert), title }]).await?;
        self.catch_up().await?;
        self.drivers.wake(&name);
        Ok(Accepted { incident: id, opened: true })
    }

    /// Records, once, that an alert's condition ended, also in incidents that were handed to people a while
    /// ago: what became of them is worth knowing.
    pub async fn clear(
        self: &Arc<Self>,
        cx: &CallContext,
        workspace: &Workspace,
        fingerprint: &str,
    ) -> Result<(), Fault> {
        self.setup.may_govern(cx, Some(workspace), "raise_alert").await?;
        let _order = self.intake.lock().await;
        let now_ms = self.parts.clock.now_ms();
        for incident in self.views.incidents(cx.tenant()).into_iter().filter(|line| line.workspace == *workspace) {
            let handed =
                incident.status == IncidentStatus::Escalated && now_ms - incident.last_at_ms <= CLEARED_LATE_MS;
            let fires = incident.fingerprints.contains(fingerprint) && !incident.cleared.contains(fingerprint);
            if fires && (!incident.status.ended() || handed) {
                let name = stream(cx, StreamKind::Incident, &incident.id);
                self.append(cx, &name, vec![Body::AlertCleared { fingerprint: fingerprint.to_owned() }]).await?;
            }
        }
        self.catch_up().await
    }
}

fn title(alert: &Alert) -> String {
    let place = alert.workload.as_ref().map_or(String::new(), |workload| format!(" on {workload}"));
    let name: String = opsward_domain::label::visible(&alert.name).chars().take(80).collect();
    format!("{name}{place} in {}", alert.workspace)
}
