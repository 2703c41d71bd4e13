//! What every telemetry source must do, run by each from its own tests. Never part of the product.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a conformance suite fails loudly")]

use std::time::Duration;

use async_trait::async_trait;
use opsward_domain::name::{Tenant, Workload, Workspace};
use opsward_domain::telemetry::LogLine;

use super::{Batch, TelemetrySource};

/// Longest wait for lines to arrive.
const ARRIVE_MS: u64 = 10_000;

/// How a suite makes a source say something.
#[async_trait]
pub trait Speaker: Send + Sync {
    /// Makes `count` lines `"{prefix} 0"`, `"{prefix} 1"` and so on come out of one replica of
    /// `workload`, in order. May return before they have arrived.
    async fn speak(&self, tenant: &Tenant, workspace: &Workspace, workload: &Workload, prefix: &str, count: u32);
}

async fn next(source: &dyn TelemetrySource) -> Batch {
    match tokio::time::timeout(Duration::from_millis(ARRIVE_MS), source.next()).await {
        Ok(batch) => batch.unwrap(),
        Err(_) => panic!("no batch within {ARRIVE_MS} ms"),
    }
}

fn matching(batch: &Batch, prefix: &str) -> Vec<String> {
    let wanted = |line: &&LogLine| line.text.starts_with(prefix);
    batch.lines.iter().filter(wanted).map(|line| line.text.clone()).collect()
}

/// Lines come in order, again until acknowledged and never after, for the right tenant; a cancelled
/// wait loses nothing; a workspace that never was is not heard.
pub async fn suite(
    source: &dyn TelemetrySource,
    speaker: &dyn Speaker,
    tenant: &Tenant,
    workspace: &Workspace,
    workload: &Workload,
) {
    speaker.speak(tenant, workspace, workload, "alpha", 50).await;
    let mut seen = Vec::new();
    while seen.len() < 50 {
        let first = next(source).await;
        assert_ne!((0, 0, 0), (first.lines.len(), first.samples.len(), first.events.len()), "a batch is never empty");
        assert_eq!(&first.tenant, tenant);
        assert_eq!(first.lost_lines, 0);
        let again = next(source).await;
        assert_eq!(matching(&first, "alpha"), matching(&again, "alpha"), "delivered again until acknowledged");
        seen.extend(matching(&again, "alpha"));
        source.acknowledge(again.cursor).await.unwrap();
    }
    let wanted: Vec<String> = (0..50).map(|i| format!("alpha {i}")).collect();
    assert_eq!(seen, wanted, "in order, once each when acknowledged");
    assert!(source.heard(tenant, workspace).await);
    assert!(!source.heard(tenant, &Workspace::parse("never-was").unwrap()).await);
    assert!(!source.heard(&Tenant::parse("stranger").unwrap(), workspace).await);

    for _ in 0..5 {
        let _ = tokio::time::timeout(Duration::from_millis(1), source.next()).await;
    }
    speaker.speak(tenant, workspace, workload, "beta", 3).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let batch = next(source).await;
        assert!(matching(&batch, "alpha").is_empty(), "acknowledged lines do not come again");
        seen.extend(matching(&batch, "beta"));
        source.acknowledge(batch.cursor).await.unwrap();
    }
    assert_eq!(seen, ["beta 0", "beta 1", "beta 2"]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::memory::MemoryTelemetry;

    #[async_trait]
    impl Speaker for MemoryTelemetry {
        async fn speak(&self, tenant: &Tenant, space: &Workspace, workload: &Workload, prefix: &str, count: u32) {
            let line = |i| LogLine {
                workspace: space.clone(),
                workload: workload.clone(),
                replica: 0,
                at_ms: i64::from(i),
                level: None,
                text: format!("{prefix} {i}"),
            };
            self.push(tenant, (0..count).map(line).collect(), Vec::new(), Vec::new());
        }
    }

    #[tokio::test]
    async fn the_memory_twin_conforms() {
        let twin = MemoryTelemetry::default();
        let (tenant, space) = (Tenant::parse("acme").unwrap(), Workspace::parse("shop").unwrap());
        suite(&twin, &twin, &tenant, &space, &Workload::parse("orders").unwrap()).await;
        twin.silence(&tenant, &space);
        assert!(!twin.heard(&tenant, &space).await);
    }
}
