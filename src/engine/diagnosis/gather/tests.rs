//! Gathering from stores that answer, fail or hang.

use std::sync::Mutex;

use async_trait::async_trait;
use opsward_domain::cause::Verdict;
use opsward_domain::context::Origin;
use opsward_domain::event::Outcome;
use opsward_domain::evidence::EvidenceKind;
use opsward_domain::name::{Subject, Tenant};
use opsward_domain::plan::Step;
use opsward_domain::principal::{Kind, Principal};
use opsward_domain::seal::Authorized;
use opsward_domain::telemetry::{LogHit, LogLine, Sample};
use opsward_ports::logs::GroupField;
use opsward_ports::provider::{Observation, Query};

use super::*;
use crate::diagnosis::diagnose;
use crate::diagnosis::tests::any_incident;

/// Answers from a prepared picture; counts how many series questions run at once.
struct Prepared {
    picture: Picture,
    logs_fail: bool,
    series_hang: bool,
    running: Mutex<(usize, usize)>,
}

fn refused() -> Fault {
    Fault::unavailable("the store is down")
}

#[async_trait]
impl Provider for Prepared {
    async fn observe(&self, _cx: &CallContext, query: &Query) -> Result<Observation, Fault> {
        match query {
            Query::Workloads { .. } => Ok(Observation::Workloads(self.picture.workloads.clone())),
            Query::Volumes { .. } => Ok(Observation::Volumes(self.picture.volumes.clone())),
            _ => Err(refused()),
        }
    }
    async fn apply(&self, _cx: &CallContext, _step: &Authorized<Step>, _key: &str) -> Result<Outcome, Fault> {
        Err(refused())
    }
    async fn lookup(&self, _cx: &CallContext, _key: &str) -> Result<Option<Outcome>, Fault> {
        Err(refused())
    }
}

#[async_trait]
impl Logs for Prepared {
    async fn ingest(&self, _cx: &CallContext, _lines: Vec<LogLine>) -> Result<(), Fault> {
        Err(refused())
    }
    async fn search(&self, _cx: &CallContext, _query: &LogQuery) -> Result<Vec<LogHit>, Fault> {
        Err(refused())
    }
    async fn histogram(&self, _cx: &CallContext, _q: &LogQuery, _ms: i64) -> Result<Vec<(AtMs, u64)>, Fault> {
        Err(refused())
    }
    async fn group(&self, _cx: &CallContext, _q: &LogQuery, _by: GroupField) -> Result<Vec<(String, u64)>, Fault> {
        Err(refused())
    }
    async fn templates(&self, _cx: &CallContext, query: &LogQuery) -> Result<Vec<TemplateCount>, Fault> {
        if self.logs_fail {
            return Err(refused());
        }
        let inside = |t: &&TemplateCount| query.window.contains(t.last_ms.min(query.window.to_ms - 1));
        Ok(self.picture.templates_now.iter().filter(inside).cloned().collect())
    }
    async fn expire(&self, _cx: &CallContext, _before_ms: AtMs) -> Result<u64, Fault> {
        Err(refused())
    }
}

const SLOW_MS: u64 = 150;

/// Logs that answer late.
struct Slow<'a>(&'a Prepared);

#[async_trait]
impl Logs for Slow<'_> {
    async fn ingest(&self, _cx: &CallContext, _lines: Vec<LogLine>) -> Result<(), Fault> {
        Err(refused())
    }
    async fn search(&self, _cx: &CallContext, _query: &LogQuery) -> Result<Vec<LogHit>, Fault> {
        Err(refused())
    }
    async fn histogram(&self, _cx: &CallContext, _q: &LogQuery, _b: i64) -> Result<Vec<(AtMs, u64)>, Fault> {
        Err(refused())
    }
    async fn group(&self, _cx: &CallContext, _q: &LogQuery, _by: GroupField) -> Result<Vec<(String, u64)>, Fault> {
        Err(refused())
    }
    async fn templates(&self, cx: &CallContext, query: &LogQuery) -> Result<Vec<TemplateCount>, Fault> {
        tokio::time::sleep(std::time::Duration::from_millis(SLOW_MS)).await;
        self.0.templates(cx, query).await
    }
    async fn expire(&self, _cx: &CallContext, _before_ms: AtMs) -> Result<u64, Fault> {
        Err(refused())
    }
}

#[async_trait]
impl SeriesStore for Prepared {
    async fn append(&self, _cx: &CallContext, _samples: Vec<Sample>) -> Result<(), Fault> {
        Err(refused())
    }
    async fn range(&self, _cx: &CallContext, query: &SeriesQuery) -> Result<Vec<Series>, Fault> {
        {
            let mut running = self.running.lock().unwrap();
            running.0 += 1;
            running.1 = running.1.max(running.0);
        }
        if self.series_hang {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        self.running.lock().unwrap().0 -= 1;
        let known = query.workload.as_ref().and_then(|name| self.picture.series.get(name));
        Ok(known.and_then(|metrics| metrics.get(&query.metric)).cloned().unwrap_or_default())
    }
    async fn names(&self, _cx: &CallContext, _workspace: &Workspace) -> Result<Vec<String>, Fault> {
        Err(refused())
    }
    async fn expire(&self, _cx: &CallContext, _before_ms: AtMs) -> Result<(), Fault> {
        Err(refused())
    }
}

fn caller() -> CallContext {
    let principal = Principal {
        tenant: Tenant::parse("acme").unwrap(),
        subject: Subject::parse("fixer").unwrap(),
        kind: Kind::Remediator,
        roles: BTreeMap::new(),
        tenant_role: None,
    };
    CallContext::new(principal, Origin::Alert)
}

fn known(picture: &Picture) -> Known {
    Known {
        workspace: picture.workspace.clone(),
        now_ms: picture.now_ms,
        alert: picture.alert.clone(),
        changes: picture.changes.clone(),
        events: picture.events.clone(),
        tried: vec![],
        first_evidence: 5,
    }
}

async fn look(picture: &Picture, logs_fail: bool, series_hang: bool) -> (Gathered, usize) {
    let store = Prepared { picture: picture.clone(), logs_fail, series_hang, running: Mutex::default() };
    let stores = Stores { provider: &store, logs: &store, series: &store };
    let limits = Limits { parallel: 4, fetch_timeout_ms: if series_hang { 20 } else { 3_000 }, ..Limits::default() };
    let gathered = gather(&caller(), stores, known(picture), &limits).await;
    let most = store.running.lock().unwrap().1;
    (gathered, most)
}

#[tokio::test]
async fn what_is_gathered_is_explained_with_citations_that_exist() {
    let picture = any_incident();
    let (gathered, most) = look(&picture, false, false).await;
    assert!(most <= 5, "{most} questions at once");
    assert_eq!(gathered.picture.blind_spots, Vec::<String>::new());
    let found = diagnose(&gathered.picture);
    let best = found.hypotheses.first().unwrap();
    let before = diagnose(&picture);
    assert_eq!((best.kind, &best.workload), (before.hypotheses[0].kind, &before.hypotheses[0].workload));
    let ids: Vec<&str> = gathered.evidence.iter().map(|(evidence, _)| evidence.id.as_str()).collect();
    assert_eq!(ids.first(), Some(&"e5"));
    let cited: Vec<&str> = best.because.iter().flat_map(|claim| &claim.evidence).map(|id| id.as_str()).collect();
    assert!(!cited.is_empty() && cited.iter().all(|id| ids.contains(id)), "{cited:?} of {ids:?}");
}

#[tokio::test]
async fn each_piece_of_evidence_carries_the_time_of_its_own_fetch() {
    let store = Prepared { picture: any_incident(), logs_fail: false, series_hang: false, running: Mutex::default() };
    let slow = Slow(&store);
    let stores = Stores { provider: &store, logs: &slow, series: &store };
    let gathered = gather(&caller(), stores, known(&store.picture), &Limits::default()).await;
    for (evidence, took_us) in &gathered.evidence {
        let slow = evidence.kind == EvidenceKind::Logs;
        assert_eq!(*took_us >= SLOW_MS * 1_000, slow, "{} took {took_us} us", evidence.title);
    }
    assert!(gathered.evidence.iter().any(|(evidence, _)| evidence.kind == EvidenceKind::Logs));
}

#[tokio::test]
async fn stores_that_fail_or_hang_become_blind_spots() {
    let picture = any_incident();
    let (gathered, _) = look(&picture, true, false).await;
    assert!(gathered.picture.blind_spots.iter().any(|text| text.contains("log templates")));
    assert_ne!(diagnose(&gathered.picture).verdict, Verdict::Healthy);
    let (gathered, _) = look(&picture, false, true).await;
    assert!(gathered.picture.blind_spots.iter().any(|text| text.contains("no answer within 20 ms")));
    let found = diagnose(&gathered.picture);
    assert_ne!(found.verdict, Verdict::Healthy, "blind is not healthy");
    assert!(!found.blind_spots.is_empty());
}
