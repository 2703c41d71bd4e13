//! The telemetry source's memory twin: what a test puts in comes out in batches until it is
//! acknowledged. Never measures anything.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Tenant, Workspace};
use opsward_domain::telemetry::{LogLine, ReplicaEvent, Sample};
use tokio::sync::Notify;

use super::{BATCH_ITEMS_MAX, Batch, TelemetrySource};

/// Most batches that wait; the oldest go first and their lines are counted as lost.
const WAITING_MAX: usize = 1_000;

#[derive(Default)]
struct State {
    waiting: VecDeque<Batch>,
    heard: BTreeSet<(Tenant, Workspace)>,
    cursor: u64,
    lost_lines: u64,
}

/// A source that says what it is told to say.
#[derive(Default)]
pub struct MemoryTelemetry {
    state: Mutex<State>,
    arrived: Notify,
}

impl MemoryTelemetry {
    /// Queues items of one tenant as one batch; cut to the batch bound.
    pub fn push(&self, tenant: &Tenant, lines: Vec<LogLine>, samples: Vec<Sample>, events: Vec<ReplicaEvent>) {
        let mut state = self.lock();
        let places = lines.iter().map(|line| &line.workspace).chain(samples.iter().map(|sample| &sample.workspace));
        let places: Vec<_> = places.chain(events.iter().map(|event| &event.workspace)).cloned().collect();
        state.heard.extend(places.into_iter().map(|workspace| (tenant.clone(), workspace)));
        state.cursor += 1;
        let mut batch = Batch { tenant: tenant.clone(), lines, samples, events, lost_lines: 0, cursor: state.cursor };
        let excess = batch.lines.len().saturating_sub(BATCH_ITEMS_MAX);
        batch.lines.drain(..excess);
        state.lost_lines += u64::try_from(excess).unwrap_or(u64::MAX);
        if state.waiting.len() == WAITING_MAX {
            let gone = state.waiting.pop_front().map_or(0, |batch| batch.lines.len());
            state.lost_lines += u64::try_from(gone).unwrap_or(u64::MAX);
        }
        batch.lost_lines = std::mem::take(&mut state.lost_lines);
        state.waiting.push_back(batch);
        drop(state);
        self.arrived.notify_one();
    }

    /// Makes a workspace silent, as when its source is gone.
    pub fn silence(&self, tenant: &Tenant, workspace: &Workspace) {
        self.lock().heard.remove(&(tenant.clone(), workspace.clone()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TelemetrySource for MemoryTelemetry {
    async fn next(&self) -> Result<Batch, Fault> {
        loop {
            let arrived = self.arrived.notified();
            if let Some(batch) = self.lock().waiting.front() {
                return Ok(batch.clone());
            }
            arrived.await;
        }
    }

    async fn acknowledge(&self, cursor: u64) -> Result<(), Fault> {
        let mut state = self.lock();
        while state.waiting.front().is_some_and(|batch| batch.cursor <= cursor) {
            state.waiting.pop_front();
        }
        Ok(())
    }

    async fn heard(&self, tenant: &Tenant, workspace: &Workspace) -> bool {
        self.lock().heard.contains(&(tenant.clone(), workspace.clone()))
    }
}
