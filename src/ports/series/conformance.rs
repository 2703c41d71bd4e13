//! What every metrics store must do, run by each from its own tests. Panics where a promise is broken;
//! never used outside tests.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a suite for tests fails loudly")]

use std::collections::BTreeMap;
use std::future::Future;

use opsward_domain::context::{CallContext, Origin};
use opsward_domain::fault::Code;
use opsward_domain::name::{Subject, Tenant, Workload, Workspace};
use opsward_domain::principal::{Kind, Principal};
use opsward_domain::telemetry::{Sample, SeriesQuery};
use opsward_domain::time::{AtMs, Window};

use super::{POINTS_MAX, SeriesStore};

/// When the suite's first point is taken.
pub const START_MS: AtMs = 1_790_000_000_000;

/// A context of opsward's own principal in `tenant`.
pub fn system(tenant: &str) -> CallContext {
    let principal = Principal {
        subject: Subject::parse("system").unwrap(),
        kind: Kind::System,
        tenant: Tenant::parse(tenant).unwrap(),
        tenant_role: None,
        roles: BTreeMap::new(),
    };
    CallContext::new(principal, Origin::System)
}

/// A point of `metric` of workload `web` in workspace `shop`, `offset_ms` after [`START_MS`].
pub fn sample(metric: &str, offset_ms: i64, value: f64) -> Sample {
    Sample {
        workspace: Workspace::parse("shop").unwrap(),
        workload: Some(Workload::parse("web").unwrap()),
        replica: Some(0),
        metric: metric.to_owned(),
        labels: BTreeMap::new(),
        at_ms: START_MS + offset_ms,
        value,
    }
}

/// Every series of `metric` in workspace `shop`, in the suite's first day.
pub fn all_of(metric: &str) -> SeriesQuery {
    SeriesQuery {
        workspace: Workspace::parse("shop").unwrap(),
        workload: None,
        metric: metric.to_owned(),
        labels: BTreeMap::new(),
        window: Window { from_ms: START_MS, to_ms: START_MS + 86_400_000 },
    }
}

/// The points of the only series that answers, times relative to [`START_MS`].
async fn points<S: SeriesStore>(store: &S, cx: &CallContext, query: &SeriesQuery) -> Vec<(i64, f64)> {
    let mut found = store.range(cx, query).await.unwrap();
    assert!(found.len() <= 1, "{found:?}");
    found.pop().map_or_else(Vec::new, |s| s.points.into_iter().map(|(at, v)| (at - START_MS, v)).collect())
}

/// Runs the whole suite; `fresh` makes an empty store for each part.
pub async fn all<S: SeriesStore, F: Future<Output = S>>(fresh: impl Fn() -> F) {
    tenants_never_meet(&fresh().await).await;
    points_come_in_order_without_doubles(&fresh().await).await;
    values_stay_as_exposed(&fresh().await).await;
    filters_hold(&fresh().await).await;
    expiry_removes_the_old(&fresh().await).await;
    huge_answers_are_refused(&fresh().await).await;
}

/// Two tenants with equal names share neither points nor names.
pub async fn tenants_never_meet<S: SeriesStore>(store: &S) {
    let (a, b) = (system("acme"), system("bravo"));
    store.append(&a, vec![sample("up", 0, 1.0), sample("only_a", 0, 1.0)]).await.unwrap();
    store.append(&b, vec![sample("up", 0, 0.0)]).await.unwrap();
    assert_eq!(points(store, &b, &all_of("up")).await, [(0, 0.0)]);
    assert!(store.range(&b, &all_of("only_a")).await.unwrap().is_empty());
    let shop = Workspace::parse("shop").unwrap();
    assert_eq!(store.names(&b, &shop).await.unwrap(), ["up"]);
    assert_eq!(store.names(&a, &shop).await.unwrap(), ["only_a", "up"]);
    assert!(store.names(&system("nobody"), &shop).await.unwrap().is_empty());
    store.expire(&b, START_MS + 1).await.unwrap();
    assert_eq!(points(store, &a, &all_of("up")).await, [(0, 1.0)], "one tenant's expiry leaves the other alone");
}

/// Late and repeated points are dropped, across and inside calls.
pub async fn points_come_in_order_without_doubles<S: SeriesStore>(store: &S) {
    let cx = system("acme");
    let batch = [(10, 1.0), (20, 2.0), (20, 9.0), (15, 9.0), (30, 3.0)].map(|(at, v)| sample("m", at, v));
    store.append(&cx, batch.to_vec()).await.unwrap();
    let again = [(30, 9.0), (29, 9.0), (31, 4.0)].map(|(at, v)| sample("m", at, v));
    store.append(&cx, again.to_vec()).await.unwrap();
    assert_eq!(points(store, &cx, &all_of("m")).await, [(10, 1.0), (20, 2.0), (30, 3.0), (31, 4.0)]);
    let mut other = sample("m", 1, 7.0);
    other.replica = Some(1);
    store.append(&cx, vec![other]).await.unwrap();
    assert_eq!(store.range(&cx, &all_of("m")).await.unwrap().len(), 2, "order is kept by series, not over all");
}

/// Values come back to the bit over many points, uneven steps and resets; what is not finite is dropped.
pub async fn values_stay_as_exposed<S: SeriesStore>(store: &S) {
    let cx = system("acme");
    let odd = [0.0, -0.0, 0.1, 1e300, -1e-300, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1.0, 1.0, 0.0];
    let value = |i: i64| if i % 7 == 0 { odd[(i / 7) as usize % odd.len()] } else { (i * i) as f64 / 3.0 };
    let expected: Vec<(i64, f64)> = (0..2_000).map(|i| (i * 5_000 + (i % 3) * 7, value(i))).collect();
    for chunk in expected.chunks(333) {
        store.append(&cx, chunk.iter().map(|(at, v)| sample("m", *at, *v)).collect()).await.unwrap();
    }
    let found = points(store, &cx, &all_of("m")).await;
    let bits = |points: &[(i64, f64)]| points.iter().map(|(at, v)| (*at, v.to_bits())).collect::<Vec<_>>();
    assert_eq!(bits(&found), bits(&expected));
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    store.append(&cx, odd.iter().map(|v| sample("odd", 1, *v)).collect()).await.unwrap();
    assert!(store.range(&cx, &all_of("odd")).await.unwrap().is_empty());
    assert_eq!(store.names(&cx, &Workspace::parse("shop").unwrap()).await.unwrap(), ["m"]);
    let mut extreme = sample("far", 0, 1.0);
    extreme.at_ms = i64::MIN;
    let mut later = extreme.clone();
    later.at_ms = i64::MAX - 1;
    store.append(&cx, vec![extreme, later]).await.unwrap();
    let ever = SeriesQuery { window: Window { from_ms: i64::MIN, to_ms: i64::MAX }, ..all_of("far") };
    let found = store.range(&cx, &ever).await.unwrap();
    assert_eq!(found[0].points, [(i64::MIN, 1.0), (i64::MAX - 1, 1.0)]);
}

/// Window, workload, labels, metric and workspace each narrow; series come in order.
pub async fn filters_hold<S: SeriesStore>(store: &S) {
    let cx = system("acme");
    let labelled = |workload: Option<&str>, route: &str, code: &str| Sample {
        workload: workload.map(|name| Workload::parse(name).unwrap()),
        labels: [("route", route), ("code", code)].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        ..sample("requests", 10, 1.0)
    };
    let mut lab = labelled(Some("web"), "/", "200");
    lab.workspace = Workspace::parse("lab").unwrap();
    let samples = vec![
        labelled(Some("web"), "/b", "500"),
        labelled(Some("web"), "/a", "200"),
        labelled(Some("db"), "/a", "200"),
        labelled(None, "/a", "200"),
        lab,
    ];
    store.append(&cx, samples).await.unwrap();
    let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let count = async |query: SeriesQuery| store.range(&cx, &query).await.unwrap().len();
    assert_eq!(count(all_of("requests")).await, 4);
    assert_eq!(count(all_of("request")).await, 0);
    assert_eq!(count(SeriesQuery { labels: labels(&[("route", "/a")]), ..all_of("requests") }).await, 3);
    assert_eq!(
        count(SeriesQuery { labels: labels(&[("route", "/a"), ("code", "500")]), ..all_of("requests") }).await,
        0
    );
    assert_eq!(count(SeriesQuery { labels: labels(&[("ghost", "")]), ..all_of("requests") }).await, 0);
    let web = Some(Workload::parse("web").unwrap());
    assert_eq!(count(SeriesQuery { workload: web, ..all_of("requests") }).await, 2);
    for (from, to, expected) in [(0, 10, 0), (10, 11, 4), (10, 10, 0), (11, 20, 0), (20, 0, 0)] {
        let window = Window { from_ms: START_MS + from, to_ms: START_MS + to };
        assert_eq!(count(SeriesQuery { window, ..all_of("requests") }).await, expected, "[{from}, {to})");
    }
    let found = store.range(&cx, &all_of("requests")).await.unwrap();
    let order: Vec<_> =
        found.iter().map(|s| (s.workload.as_ref().map_or("", |w| w.as_str()), s.labels["route"].as_str())).collect();
    assert_eq!(order, [("", "/a"), ("db", "/a"), ("web", "/a"), ("web", "/b")]);
}

/// Expiry removes older points, and a series without points with its name.
pub async fn expiry_removes_the_old<S: SeriesStore>(store: &S) {
    let cx = system("acme");
    store.append(&cx, (0..500).map(|i| sample("m", i, i as f64)).collect()).await.unwrap();
    store.append(&cx, vec![sample("gone", 3, 1.0)]).await.unwrap();
    store.expire(&cx, START_MS + 490).await.unwrap();
    let left: Vec<i64> = points(store, &cx, &all_of("m")).await.into_iter().map(|(at, _)| at).collect();
    assert_eq!(left, (490..500).collect::<Vec<_>>());
    assert_eq!(store.names(&cx, &Workspace::parse("shop").unwrap()).await.unwrap(), ["m"]);
    store.append(&cx, vec![sample("m", 600, 1.0)]).await.unwrap();
    assert_eq!(points(store, &cx, &all_of("m")).await.len(), 11);
}

/// An answer over the bound is refused, at the bound it is given.
pub async fn huge_answers_are_refused<S: SeriesStore>(store: &S) {
    let cx = system("acme");
    for replica in 0..50_u32 {
        let point = |i: usize| Sample { replica: Some(replica), ..sample("m", i as i64, 1.0) };
        store.append(&cx, (0..POINTS_MAX / 50).map(point).collect()).await.unwrap();
    }
    let given: usize = store.range(&cx, &all_of("m")).await.unwrap().iter().map(|s| s.points.len()).sum();
    assert_eq!(given, POINTS_MAX);
    store.append(&cx, vec![sample("m", POINTS_MAX as i64, 1.0)]).await.unwrap();
    assert_eq!(store.range(&cx, &all_of("m")).await.unwrap_err().code, Code::TooMany);
}
