//! Taking back on the real platform: a plan whose second step fails takes its first step back, and the
//! world is as it was; what somebody else changed in between is left alone and told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opsward_domain::action::ActionKind;
use opsward_domain::context::Origin;
use opsward_domain::effect::Undo;
use opsward_domain::event::{Body, PlanEnd, StreamKind, StreamName, ToolCall};
use opsward_domain::name::Id;
use opsward_domain::plan::facts;
use opsward_domain::resource::ResourceState;
use opsward_engine::facade::Engine;
use opsward_engine::state::RunState;
use opsward_local::{LocalProvider, Options};
use opsward_ports::clock::{CountingEntropy, SystemClock};
use opsward_ports::provider::{Observation, Query};
use opsward_surface::view;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::binary;
use crate::world::{World, all_steps, cx, must, obedient, shop, system, tenant};

/// How long the platform waits for a release to become ready; what others do meanwhile has to fit in.
const SETTLE_MS: u64 = 3_000;

struct Real {
    engine: Arc<Engine>,
    provider: LocalProvider,
    _data: TempDir,
}

fn spec(version: &str, command: &str) -> Value {
    json!({"version": version, "command": ["/bin/sh", "-c", command], "replicas": 1, "limits": {"memory_bytes": 16_777_216}})
}

fn function(name: &str, text: &str) -> Value {
    json!({"kind": "deploy_function", "function": name, "source": {"runtime": "javascript", "text": text},
        "timeout_ms": 1000, "memory_bytes_max": 16_777_216})
}

impl Real {
    async fn open() -> Self {
        let data = TempDir::new().unwrap();
        let mut options = Options::new(data.path(), binary());
        options.settle_timeout_ms = SETTLE_MS;
        options.shim.stop_grace_ms = 500;
        options.shim.drain_ms = 100;
        let provider =
            LocalProvider::open(options, Arc::new(SystemClock), Arc::new(CountingEntropy::default())).await.unwrap();
        let mut world = World::new();
        world.toolbox = obedient();
        world.platform = Some(Arc::new(provider.clone()));
        let engine = world.peopled().await;
        let sleep = "exec sleep 1000";
        for value in [
            json!({"kind": "create_workspace", "memory_bytes_max": 1_073_741_824u64}),
            json!({"kind": "create_volume", "volume": "orders", "size_bytes": 1_000_000}),
            json!({"kind": "deploy_workload", "workload": "web", "spec": spec("1", sleep)}),
            json!({"kind": "deploy_workload", "workload": "web", "spec": spec("2", sleep)}),
            function("hello", "export default () => 1"),
            function("hello", "export default () => 2"),
            json!({"kind": "create_backup", "backup": "first", "volumes": ["orders"]}),
        ] {
            must(&engine, value).await;
        }
        Self { engine, provider, _data: data }
    }

    /// Proposes `actions` as one plan, with every yes it needs, and waits for `wanted`.
    async fn plan(&self, actions: &[Value]) -> StreamName {
        let asking = cx(&self.engine, "owner", Origin::Api);
        let id = self.engine.parts.entropy.id("a");
        let stream = StreamName { tenant: tenant(), kind: StreamKind::Command, id };
        let input = json!({"value": all_steps(actions)});
        let call = ToolCall { id: Id::parse("call-1").unwrap(), tool: "obey".into(), input };
        let body = Body::ToolRequested { workspace: shop(), origin: Origin::Api, call };
        self.engine.append(&asking, &stream, vec![body]).await.unwrap();
        self.engine.drivers.wake(&stream);
        let asked = |state: &RunState| state.plans.first().is_some_and(|plan| plan.approval.is_some());
        for name in ["owner", "owen", "adam"] {
            let state = self.engine.settle(&system(), &stream, 10_000, asked).await.unwrap();
            if view::status(&state) == "awaiting_approval" {
                let id = state.plans[0].approval.as_ref().unwrap().request.id.clone();
                let _ = self.engine.approve(&cx(&self.engine, name, Origin::Api), &id).await;
            }
        }
        stream
    }

    async fn over(&self, stream: &StreamName) -> RunState {
        self.engine.settle(&system(), stream, 60_000, RunState::over).await.unwrap()
    }

    /// Everything there is, as a diff would compare it.
    async fn everything(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let cx = cx(&self.engine, "owner", Origin::Api);
        let mut all = BTreeMap::new();
        let queries = [
            Query::Workloads { workspace: shop() },
            Query::Volumes { workspace: shop() },
            Query::Functions { workspace: shop() },
            Query::Backups { workspace: shop() },
        ];
        for query in queries {
            let states: Vec<(String, ResourceState)> = match self.engine.observe(&cx, &query).await.unwrap() {
                Observation::Workloads(list) => list
                    .into_iter()
                    .map(|it| (format!("workload {}", it.name), ResourceState::Workload(Box::new(it))))
                    .collect(),
                Observation::Volumes(list) => {
                    list.into_iter().map(|it| (format!("volume {}", it.name), ResourceState::Volume(it))).collect()
                }
                Observation::Functions(list) => {
                    list.into_iter().map(|it| (format!("function {}", it.name), ResourceState::Function(it))).collect()
                }
                Observation::Backups(list) => {
                    list.into_iter().map(|it| (format!("backup {}", it.name), ResourceState::Backup(it))).collect()
                }
                other => panic!("{other:?}"),
            };
            all.extend(states.into_iter().map(|(name, state)| (name, facts(&state).into_iter().collect())));
        }
        all
    }
}

impl Real {
    async fn close(self) {
        self.provider.shutdown(false).await.unwrap();
    }
}

/// An action with an inverse, and what somebody else does to the same thing meanwhile.
fn cases() -> Vec<(Value, Value)> {
    let meddle = json!({"kind": "set_environment", "workload": "web", "set": {"BY": "somebody"}});
    let sleep = "exec sleep 2000";
    vec![
        (json!({"kind": "deploy_workload", "workload": "web", "spec": spec("3", sleep)}), meddle.clone()),
        (
            json!({"kind": "deploy_workload", "workload": "new", "spec": spec("1", sleep)}),
            json!({"kind": "scale_workload", "workload": "new", "replicas": 2}),
        ),
        (json!({"kind": "set_environment", "workload": "web", "set": {"A": "1"}}), meddle.clone()),
        (json!({"kind": "scale_workload", "workload": "web", "replicas": 2}), meddle.clone()),
        (json!({"kind": "rollback_workload", "workload": "web", "revision": 1}), meddle.clone()),
        (json!({"kind": "set_limits", "workload": "web", "limits": {"memory_bytes": 33_554_432}}), meddle),
        (
            json!({"kind": "delete_workload", "workload": "web"}),
            json!({"kind": "deploy_workload", "workload": "web", "spec": spec("theirs", sleep)}),
        ),
        (
            function("hello", "export default () => 3"),
            json!({"kind": "activate_function", "function": "hello", "version": 1}),
        ),
        (
            json!({"kind": "activate_function", "function": "hello", "version": 1}),
            function("hello", "export default () => 4"),
        ),
        (
            json!({"kind": "create_volume", "volume": "media", "size_bytes": 1_000_000}),
            json!({"kind": "resize_volume", "volume": "media", "size_bytes": 3_000_000}),
        ),
        (
            json!({"kind": "resize_volume", "volume": "orders", "size_bytes": 2_000_000}),
            json!({"kind": "resize_volume", "volume": "orders", "size_bytes": 3_000_000}),
        ),
        (
            json!({"kind": "restore_backup", "backup": "first", "volume": "orders", "into": "orders-old"}),
            json!({"kind": "resize_volume", "volume": "orders-old", "size_bytes": 30_000_000}),
        ),
        (
            json!({"kind": "create_backup", "backup": "second", "volumes": ["orders"]}),
            json!({"kind": "delete_backup", "backup": "second"}),
        ),
    ]
}

/// Fails at once, and changes nothing: what does not parse is never deployed.
fn fails() -> Value {
    function("broken", "export default (")
}

/// Takes effect, waits to become ready, and never does.
fn fails_late() -> Value {
    json!({"kind": "deploy_workload", "workload": "doomed", "spec": spec("1", "exit 1")})
}

#[test]
fn every_action_with_an_inverse_has_a_case() {
    let with: Vec<&str> =
        ActionKind::ALL.iter().map(|kind| kind.facts()).filter(|f| f.undo == Undo::Inverse).map(|f| f.name).collect();
    let cases = cases();
    let missing: Vec<&&str> = with
        .iter()
        // Images are a cluster's, and what takes them back is tested over one.
        .filter(|name| !["create_workspace", "set_image"].contains(*name))
        .filter(|name| !cases.iter().any(|(value, _)| value["kind"] == **name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_fails_leaves_the_world_as_it_was() {
    let real = Real::open().await;
    for (value, _) in cases() {
        let before = real.everything().await;
        let stream = real.plan(&[value.clone(), fails()]).await;
        let state = real.over(&stream).await;
        let plan = &state.plans[0];
        assert_eq!(
            plan.end.as_ref().map(|(end, _)| *end),
            Some(PlanEnd::Undone),
            "{value}: {:?} {:?}",
            plan.end,
            plan.steps
        );
        assert_eq!(real.everything().await, before, "{value}");
    }
    real.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_changed_meanwhile_is_not_run_over() {
    let real = Real::open().await;
    for (value, meddle) in cases() {
        let stream = real.plan(&[value.clone(), fails_late()]).await;
        let acting = |state: &RunState| {
            let doomed = state.plans.first().and_then(|plan| plan.steps.get(1));
            !matches!(doomed, None | Some(opsward_engine::state::StepState::Waiting))
        };
        let state = real.engine.settle(&system(), &stream, 30_000, acting).await.unwrap();
        assert!(acting(&state), "{value}: the second step never began");
        must(&real.engine, meddle.clone()).await;
        let changed = real.everything().await;
        let state = real.over(&stream).await;
        let (end, why) = state.plans[0].end.clone().unwrap();
        let trail = real.engine.trail(&system(), &stream).await.unwrap();
        assert_eq!(end, PlanEnd::NeedsHuman, "{value}: {trail:#?}");
        assert!(why.contains("taking it back failed"), "{value}: {why}");
        let mut left = real.everything().await;
        let mut wanted = changed;
        // The doomed release itself is taken back.
        left.remove("workload doomed");
        wanted.remove("workload doomed");
        assert_eq!(left, wanted, "{value}: what somebody else did is gone");
        tidy(&real).await;
    }
    real.close().await;
}

/// Removes what a case made, so that the next one finds its world.
async fn tidy(real: &Real) {
    tokio::time::sleep(Duration::from_millis(50)).await;
    let there = real.everything().await;
    for (name, remove) in [
        ("workload new", json!({"kind": "delete_workload", "workload": "new"})),
        ("workload doomed", json!({"kind": "delete_workload", "workload": "doomed"})),
        ("volume media", json!({"kind": "delete_volume", "volume": "media"})),
        ("volume orders-old", json!({"kind": "delete_volume", "volume": "orders-old"})),
    ] {
        if there.contains_key(name) {
            must(&real.engine, remove).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_never_becomes_ready_is_not_taken_back_over_another() {
    let real = Real::open().await;
    let broken = json!({"kind": "deploy_workload", "workload": "web", "spec": spec("bad", "exit 1")});
    let stream = real.plan(std::slice::from_ref(&broken)).await;
    let begun = |state: &RunState| {
        state.plans.first().is_some_and(|plan| {
            plan.steps.iter().all(|step| !matches!(step, opsward_engine::state::StepState::Waiting))
        })
    };
    assert!(begun(&real.engine.settle(&system(), &stream, 20_000, begun).await.unwrap()));
    let good = json!({"kind": "deploy_workload", "workload": "web", "spec": spec("by-somebody", "exec sleep 3000")});
    // It may only be planned once the broken release is what is there.
    let until = Instant::now() + Duration::from_millis(SETTLE_MS);
    while real.everything().await["workload web"]["version"] != "bad" {
        assert!(Instant::now() < until, "the broken release never was what is there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    must(&real.engine, good).await;
    real.over(&stream).await;
    let there = real.everything().await;
    assert_eq!(there["workload web"]["version"], "by-somebody", "{there:?}");
    real.close().await;
}
