//! Switches that stop every effect: observe-only and kill are the same one. Folded from control streams,
//! mirrored in memory, and read last before each apply. Any doubt is "on".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use opsward_domain::context::CallContext;
use opsward_domain::event::{Body, NewEvent, StreamKind, StreamName};
use opsward_domain::fault::Fault;
use opsward_domain::name::{Id, Tenant, Workspace};
use opsward_ports::clock::Clock;
use opsward_ports::journal::Journal;

use crate::damage::{Page, Reading};
use crate::parts::{journal_fault, system_context};

const TENANTS_MAX: usize = 1_000;

#[derive(Debug, Default, Clone)]
struct Fold {
    stream_seq: u64,
    tenant_on: bool,
    workspaces_on: BTreeSet<Workspace>,
}

/// A second way to press the switch that needs no journal, such as a file.
pub type OutsideSwitch = Arc<dyn Fn() -> bool + Send + Sync>;

/// The switches of every tenant.
pub struct Switches {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    everywhere: AtomicBool,
    outside: OutsideSwitch,
    folds: RwLock<BTreeMap<Tenant, Fold>>,
}

fn stream(tenant: &Tenant) -> Result<StreamName, Fault> {
    Ok(StreamName { tenant: tenant.clone(), kind: StreamKind::Control, id: Id::parse("switches")? })
}

impl Switches {
    /// Folds what the journal knows. `observe_only` presses the global switch from the start.
    pub async fn load(
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        observe_only: bool,
        outside: OutsideSwitch,
    ) -> Result<Self, Fault> {
        let everywhere = AtomicBool::new(observe_only);
        let switches = Self { journal, clock, everywhere, outside, folds: RwLock::default() };
        let system = system_context(&Tenant::parse("system")?)?;
        let known = switches.journal.streams(&system, StreamKind::Control, TENANTS_MAX).await.map_err(journal_fault)?;
        for (name, _) in known {
            switches.refresh(&name.tenant).await?;
        }
        Ok(switches)
    }

    async fn refresh(&self, tenant: &Tenant) -> Result<u64, Fault> {
        let (cx, name) = (system_context(tenant)?, stream(tenant)?);
        let mut reading = Reading::new(self.journal.as_ref(), &cx, &name);
        loop {
            let after = self.folds.read().map_or(0, |folds| folds.get(tenant).map_or(0, |fold| fold.stream_seq));
            let page = reading.page(after).await?;
            let (last, more) = self.fold_page(tenant, after, page);
            if !more {
                return Ok(last);
            }
        }
    }

    /// Folds one page; true if there may be another.
    fn fold_page(&self, tenant: &Tenant, after: u64, page: Page) -> (u64, bool) {
        let mut folds = self.folds.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fold = folds.entry(tenant.clone()).or_default();
        let Page::Events(events) = page else {
            if fold.stream_seq == after {
                // It may have pressed any switch.
                *fold = Fold { stream_seq: after + 1, tenant_on: true, ..Fold::default() };
            }
            return (fold.stream_seq, true);
        };
        for event in events.iter().filter(|event| event.stream_seq > after) {
            fold.stream_seq = event.stream_seq;
            match event.body.as_ref() {
                Some(Body::SwitchSet { workspace: None, on, .. }) => fold.tenant_on = *on,
                Some(Body::SwitchSet { workspace: Some(name), on: true, .. }) => {
                    fold.workspaces_on.insert(name.clone());
                }
                Some(Body::SwitchSet { workspace: Some(name), on: false, .. }) => {
                    fold.workspaces_on.remove(name);
                }
                _ => {}
            }
        }
        (fold.stream_seq, !events.is_empty())
    }

    /// True if no effect may happen in `workspace` now.
    pub fn off(&self, tenant: &Tenant, workspace: &Workspace) -> bool {
        if self.everywhere.load(Ordering::SeqCst) || (self.outside)() {
            return true;
        }
        match self.folds.read() {
            Ok(folds) => folds.get(tenant).is_some_and(|fold| fold.tenant_on || fold.workspaces_on.contains(workspace)),
            Err(_) => true,
        }
    }

    /// True if the whole service was started observe-only.
    pub fn observe_only(&self) -> bool {
        self.everywhere.load(Ordering::SeqCst) || (self.outside)()
    }

    /// Sets a switch of the caller's tenant; no workspace means all of them.
    pub async fn set(
        &self,
        cx: &CallContext,
        workspace: Option<Workspace>,
        on: bool,
        reason: &str,
    ) -> Result<(), Fault> {
        let name = stream(cx.tenant())?;
        let expected = self.refresh(cx.tenant()).await?;
        let body = Body::SwitchSet { workspace, on, reason: reason.to_owned() };
        let event = NewEvent { at_ms: self.clock.now_ms(), cause: None, body };
        self.journal.append(cx, &name, expected, vec![event]).await.map_err(journal_fault)?;
        self.refresh(cx.tenant()).await.map(|_| ())
    }
}
