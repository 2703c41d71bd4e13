//! How long logs and metrics are kept, and whether more may come in. Expires tenant by tenant; one tenant's
//! trouble never keeps another's old lines, and nothing here touches the journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opsward_domain::fault::Fault;
use opsward_domain::name::Tenant;

use crate::facade::Engine;
use crate::parts::system_context;

/// Time between two sweeps: how much longer than promised something may be kept.
pub const SWEEP_EVERY_MS: u64 = 10 * 60 * 1000;

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Log lines, counted from their own time.
    pub logs_ms: i64,
    /// Samples, counted from their own time.
    pub metrics_ms: i64,
}

/// What was promised and what was done.
#[derive(Debug)]
pub struct Keeping {
    retention: Retention,
    sweeps: AtomicU64,
    lines: AtomicU64,
}

impl Keeping {
    pub(crate) fn new(retention: Retention) -> Self {
        Self { retention, sweeps: AtomicU64::new(0), lines: AtomicU64::new(0) }
    }

    /// Sweeps since start.
    pub fn sweeps(&self) -> u64 {
        self.sweeps.load(Ordering::Relaxed)
    }

    /// Log lines that expired since start.
    pub fn expired_lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }
}

/// Runs until the process ends.
pub(crate) async fn run(engine: Arc<Engine>) {
    loop {
        engine.sweep().await;
        engine.parts.clock.sleep_ms(SWEEP_EVERY_MS).await;
    }
}

impl Engine {
    /// Whether log lines and samples may come in now. The fault says why not and what to do.
    pub fn may_take_in(&self) -> Result<(), Fault> {
        self.parts.disk.room()?.refusal().map_or(Ok(()), Err)
    }

    /// Removes what is older than promised, of every tenant.
    pub async fn sweep(&self) {
        for tenant in self.setup.people.tenants() {
            if let Err(fault) = self.sweep_tenant(&tenant).await {
                tracing::warn!(%tenant, fault = %fault, "old logs or metrics could not be removed");
            }
        }
        self.keeping.sweeps.fetch_add(1, Ordering::Relaxed);
    }

    async fn sweep_tenant(&self, tenant: &Tenant) -> Result<(), Fault> {
        let (cx, now_ms) = (system_context(tenant)?, self.parts.clock.now_ms());
        let Retention { logs_ms, metrics_ms } = self.keeping.retention;
        // Both are tried: a log store in trouble keeps no old metrics.
        let logs = self.parts.logs.expire(&cx, now_ms.saturating_sub(logs_ms)).await;
        let metrics = self.parts.series.expire(&cx, now_ms.saturating_sub(metrics_ms)).await;
        let lines = logs?;
        if lines > 0 {
            self.keeping.lines.fetch_add(lines, Ordering::Relaxed);
            tracing::info!(%tenant, lines, "log lines expired");
        }
        metrics
    }
}
