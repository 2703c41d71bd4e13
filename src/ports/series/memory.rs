//! The metrics store's twin in memory: obvious rather than fast. Never durable, never for production.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Tenant, Workload, Workspace};
use opsward_domain::telemetry::{Sample, Series, SeriesQuery};
use opsward_domain::time::AtMs;

use super::{POINTS_MAX, SeriesStore, selects, too_many_points};

/// Most points kept of one tenant; more are refused.
pub const KEPT_MAX: usize = 5_000_000;

/// Ordered as answers are: by workload, replica, labels inside a workspace and metric.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    workspace: Workspace,
    metric: String,
    workload: Option<Workload>,
    replica: Option<u32>,
    labels: BTreeMap<String, String>,
}

type Points = BTreeMap<Key, Vec<(AtMs, f64)>>;

/// Series in memory, by tenant.
#[derive(Default)]
pub struct MemorySeries(Mutex<HashMap<Tenant, Points>>);

impl MemorySeries {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, cx: &CallContext, run: impl FnOnce(&mut Points) -> T) -> T {
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        run(tenants.entry(cx.tenant().clone()).or_default())
    }
}

#[async_trait]
impl SeriesStore for MemorySeries {
    async fn append(&self, cx: &CallContext, samples: Vec<Sample>) -> Result<(), Fault> {
        self.with(cx, |kept| {
            if kept.values().map(Vec::len).sum::<usize>() + samples.len() > KEPT_MAX {
                return Err(Fault::new(Code::TooMany, "the memory metrics store is full"));
            }
            for Sample { workspace, workload, replica, metric, labels, at_ms, value } in samples {
                let points = kept.entry(Key { workspace, metric, workload, replica, labels }).or_default();
                if value.is_finite() && points.last().is_none_or(|(last, _)| *last < at_ms) {
                    points.push((at_ms, value));
                }
            }
            kept.retain(|_, points| !points.is_empty());
            Ok(())
        })
    }

    async fn range(&self, cx: &CallContext, query: &SeriesQuery) -> Result<Vec<Series>, Fault> {
        let found: Vec<Series> = self.with(cx, |kept| {
            let wanted = |key: &Key| {
                key.workspace == query.workspace
                    && key.metric == query.metric
                    && selects(query, key.workload.as_ref(), &key.labels)
            };
            let inside = |(key, points): (&Key, &Vec<(AtMs, f64)>)| {
                let points = points.iter().copied().filter(|(at, _)| query.window.contains(*at)).collect();
                Series { workload: key.workload.clone(), replica: key.replica, labels: key.labels.clone(), points }
            };
            let matching = kept.iter().filter(|(key, _)| wanted(key));
            matching.map(inside).filter(|series| !series.points.is_empty()).collect()
        });
        if found.iter().map(|series| series.points.len()).sum::<usize>() > POINTS_MAX {
            return Err(too_many_points());
        }
        Ok(found)
    }

    async fn names(&self, cx: &CallContext, workspace: &Workspace) -> Result<Vec<String>, Fault> {
        Ok(self.with(cx, |kept| {
            let names: BTreeSet<&String> =
                kept.keys().filter(|key| key.workspace == *workspace).map(|key| &key.metric).collect();
            names.into_iter().cloned().collect()
        }))
    }

    async fn expire(&self, cx: &CallContext, before_ms: AtMs) -> Result<(), Fault> {
        self.with(cx, |kept| {
            for points in kept.values_mut() {
                points.retain(|(at, _)| *at >= before_ms);
            }
            kept.retain(|_, points| !points.is_empty());
        });
        Ok(())
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn conforms() {
        crate::series::conformance::all(|| async { MemorySeries::new() }).await;
    }
}
