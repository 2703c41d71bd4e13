//! What every provider must do, run by each from its own tests. Never part of the product.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a conformance suite fails loudly")]

use std::collections::BTreeMap;

use opsward_domain::action::Action;
use opsward_domain::context::{CallContext, Origin};
use opsward_domain::event::Outcome;
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Subject, Tenant, Workspace};
use opsward_domain::plan::{Blast, Step, diff};
use opsward_domain::principal::{Kind, Principal, Role};
use opsward_domain::resource::{Resource, ResourceState, ResourceVersion, WorkloadStatus};
use opsward_domain::seal::{Authorized, GateSeal};
use serde_json::{Value, json};

use super::{Observation, Provider, Query, observe_resource, observe_volumes, observe_workloads, resource_of};

/// What a backend under test can do, and a program that runs there for ever.
#[derive(Debug, Clone)]
pub struct Kit {
    /// A command that stays alive.
    pub command: Vec<String>,
    /// True if functions are to be tested.
    pub functions: bool,
    /// True if backups are to be tested.
    pub backups: bool,
    /// The image to run it in, where workloads are containers.
    pub image: Option<String>,
    /// True where a restart is a revision of its own.
    pub restart_rolls: bool,
    /// True where a rollback gives the old revision the newest number, so that the old number is gone.
    pub rollback_renumbers: bool,
}

/// An owner of `tenant`.
pub fn owner(tenant: &str) -> CallContext {
    let principal = Principal {
        subject: Subject::parse("tester").unwrap(),
        kind: Kind::Person,
        tenant: Tenant::parse(tenant).unwrap(),
        tenant_role: Some(Role::Owner),
        roles: BTreeMap::new(),
    };
    CallContext::new(principal, Origin::Cli)
}

/// An action from its wire form.
pub fn action(kind: &str, fields: Value) -> Action {
    let mut whole = fields;
    whole["kind"] = Value::String(kind.into());
    serde_json::from_value(whole.clone()).unwrap_or_else(|error| panic!("{whole}: {error}"))
}

/// The step that `action` makes now, with the precondition of what is there.
pub async fn step(provider: &dyn Provider, cx: &CallContext, workspace: &Workspace, action: Action) -> Step {
    let resource = action.resource();
    let before = observe_resource(provider, cx, workspace, &resource).await.unwrap_or(ResourceState::Absent);
    let after = action.predict(&before).unwrap_or_else(|_| before.clone());
    Step {
        index: 0,
        workspace: workspace.clone(),
        expects: before.version().cloned(),
        diff: diff(&before, &after),
        undo: action.inverse(&before),
        blast: Blast { objects: 1, replicas_percent: 0 },
        action,
    }
}

/// Applies `step` under `key` as the gate would let the executor.
pub async fn apply(provider: &dyn Provider, cx: &CallContext, step: Step, key: &str) -> Result<Outcome, Fault> {
    provider.apply(cx, &Authorized::new(&GateSeal::forge(), step), key).await
}

struct Bench<'a> {
    provider: &'a dyn Provider,
    cx: CallContext,
    workspace: Workspace,
    kit: &'a Kit,
    keys: std::cell::Cell<u32>,
}

impl<'a> Bench<'a> {
    async fn new(provider: &'a dyn Provider, kit: &'a Kit, tenant: &str, workspace: &str) -> Self {
        let workspace = Workspace::parse(workspace).unwrap();
        let bench = Self { provider, cx: owner(tenant), workspace, kit, keys: std::cell::Cell::new(0) };
        bench.done("create_workspace", json!({"memory_bytes_max": 1 << 30})).await;
        bench
    }
    fn key(&self) -> String {
        self.keys.set(self.keys.get() + 1);
        format!("{}-{}", self.workspace, self.keys.get())
    }
    async fn step(&self, kind: &str, fields: Value) -> Step {
        step(self.provider, &self.cx, &self.workspace, action(kind, fields)).await
    }
    async fn run(&self, kind: &str, fields: Value) -> Result<Outcome, Fault> {
        apply(self.provider, &self.cx, self.step(kind, fields).await, &self.key()).await
    }
    async fn done(&self, kind: &str, fields: Value) -> Outcome {
        self.run(kind, fields).await.unwrap_or_else(|fault| panic!("{kind}: {fault} ({})", fault.hint))
    }
    async fn refused(&self, kind: &str, fields: Value, code: Code) {
        match self.run(kind, fields).await {
            Ok(outcome) => panic!("{kind} was done: {}", outcome.summary),
            Err(fault) => assert_eq!(fault.code, code, "{kind}: {fault}"),
        }
    }
    async fn state(&self, kind: &str, name: &str) -> ResourceState {
        let resource = resource_of(kind, name).unwrap();
        observe_resource(self.provider, &self.cx, &self.workspace, &resource).await.unwrap()
    }
    async fn workload(&self, name: &str) -> WorkloadStatus {
        match self.state("workload", name).await {
            ResourceState::Workload(status) => *status,
            other => panic!("{name} is {other:?}"),
        }
    }
    fn spec(&self, version: &str, replicas: u32) -> Value {
        let mut spec = json!({"version": version, "command": self.kit.command, "replicas": replicas,
            "limits": {"memory_bytes": 64 << 20}});
        if let Some(image) = &self.kit.image {
            spec["image"] = json!(image);
        }
        spec
    }
}

/// Everything, on a fresh provider.
pub async fn suite(provider: &dyn Provider, kit: &Kit) {
    keys(provider, kit).await;
    preconditions(provider, kit).await;
    tenancy(provider, kit).await;
    names(provider, kit).await;
    volumes(provider, kit).await;
    workloads(provider, kit).await;
    if kit.functions {
        functions(provider, kit).await;
    }
    if kit.backups {
        backups(provider, kit).await;
    }
    workspaces(provider, kit).await;
}

/// The same key does one thing once; another step under it is a conflict; `lookup` knows.
pub async fn keys(provider: &dyn Provider, kit: &Kit) {
    let bench = Bench::new(provider, kit, "acme", "keys").await;
    let fields = json!({"volume": "data", "size_bytes": 1 << 20});
    let first = bench.step("create_volume", fields).await;
    assert_eq!(provider.lookup(&bench.cx, "k1").await.unwrap(), None, "unknown before");
    let one = apply(provider, &bench.cx, first.clone(), "k1").await.unwrap();
    let two = apply(provider, &bench.cx, first.clone(), "k1").await.unwrap();
    assert_eq!(one, two, "the first outcome again");
    assert_eq!(provider.lookup(&bench.cx, "k1").await.unwrap(), Some(one));
    let other = bench.step("create_volume", json!({"volume": "other", "size_bytes": 1 << 20})).await;
    let fault = apply(provider, &bench.cx, other, "k1").await.unwrap_err();
    assert_eq!(fault.code, Code::Conflict);
    assert_eq!(bench.state("volume", "other").await, ResourceState::Absent, "nothing of it was done");
    assert_eq!(provider.lookup(&owner("globex"), "k1").await.unwrap(), None, "keys belong to a tenant");
    let fault = apply(provider, &bench.cx, first, "k2").await.unwrap_err();
    assert_eq!(fault.code, Code::Conflict, "another key is another attempt, and the volume is there");
    assert_eq!(provider.lookup(&bench.cx, "k2").await.unwrap(), None, "refused is not done");
}

/// A version that is not the expected one stops the step before anything happens.
pub async fn preconditions(provider: &dyn Provider, kit: &Kit) {
    let bench = Bench::new(provider, kit, "acme", "preconditions").await;
    bench.done("create_volume", json!({"volume": "data", "size_bytes": 1 << 20})).await;
    let stale = bench.step("resize_volume", json!({"volume": "data", "size_bytes": 3 << 20})).await;
    bench.done("resize_volume", json!({"volume": "data", "size_bytes": 2 << 20})).await;
    let fault = apply(provider, &bench.cx, stale.clone(), "late").await.unwrap_err();
    assert_eq!(fault.code, Code::Conflict);
    let invented = Step { expects: Some(ResourceVersion("no such".into())), ..stale.clone() };
    assert_eq!(apply(provider, &bench.cx, invented, "made-up").await.unwrap_err().code, Code::Conflict);
    let blind = Step { expects: None, ..stale };
    assert_eq!(apply(provider, &bench.cx, blind, "blind").await.unwrap_err().code, Code::Conflict);
    match bench.state("volume", "data").await {
        ResourceState::Volume(status) => assert_eq!(status.size_bytes, 2 << 20, "nothing was done"),
        other => panic!("{other:?}"),
    }
    bench.refused("resize_volume", json!({"volume": "gone", "size_bytes": 1 << 20}), Code::NotFound).await;
}

/// Equal names in two tenants are different things, and the other's do not exist.
pub async fn tenancy(provider: &dyn Provider, kit: &Kit) {
    let ours = Bench::new(provider, kit, "acme", "shared").await;
    ours.done("create_volume", json!({"volume": "data", "size_bytes": 1 << 20})).await;
    let stranger = owner("globex");
    let workspace = ours.workspace.clone();
    let seen = observe_resource(provider, &stranger, &workspace, &Resource::Workspace).await.unwrap();
    assert_eq!(seen, ResourceState::Absent);
    assert_eq!(observe_volumes(provider, &stranger, &workspace).await.unwrap_err().code, Code::NotFound);
    let theirs = Bench::new(provider, kit, "globex", "shared").await;
    assert_eq!(theirs.state("volume", "data").await, ResourceState::Absent);
    theirs.done("create_volume", json!({"volume": "data", "size_bytes": 2 << 20})).await;
    theirs.done("delete_workspace", json!({})).await;
    assert_ne!(ours.state("volume", "data").await, ResourceState::Absent, "the other tenant's went, ours stays");
    for cx in [&ours.cx, &stranger] {
        match provider.observe(cx, &Query::Workspaces).await.unwrap() {
            Observation::Workspaces(list) => {
                assert_eq!(list.iter().any(|status| status.name == workspace), cx.tenant() == ours.cx.tenant());
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Names that could escape or deceive never become a step; unknown ones are not found.
pub async fn names(provider: &dyn Provider, kit: &Kit) {
    let bench = Bench::new(provider, kit, "acme", "names").await;
    let long = "a".repeat(10_240);
    for bad in ["", "..", "a/b", "a\0b", "pаyments", "A", "-a", "a b", &long] {
        let raw = json!({"kind": "create_volume", "volume": bad, "size_bytes": 1 << 20});
        assert!(serde_json::from_value::<Action>(raw).is_err(), "{bad:?}");
        assert!(Workspace::parse(bad).is_err());
    }
    bench.refused("scale_workload", json!({"workload": "nobody", "replicas": 1}), Code::NotFound).await;
    bench.refused("restart_workload", json!({"workload": "nobody"}), Code::NotFound).await;
    bench.refused("delete_volume", json!({"volume": "nothing"}), Code::NotFound).await;
    let nowhere = Workspace::parse("nowhere").unwrap();
    let lost = step(provider, &bench.cx, &nowhere, action("restart_workload", json!({"workload": "a"}))).await;
    assert_eq!(apply(provider, &bench.cx, lost, "nowhere").await.unwrap_err().code, Code::NotFound);
    assert_eq!(observe_workloads(provider, &bench.cx, &nowhere).await.unwrap_err().code, Code::NotFound);
}

/// Volumes: create, resize, mount, delete.
pub async fn volumes(provider: &dyn Provider, kit: &Kit) {
    let bench = Bench::new(provider, kit, "acme", "volumes").await;
    bench.done("create_volume", json!({"volume": "data", "size_bytes": 1 << 20})).await;
    let mut spec = bench.spec("1", 1);
    spec["volumes"] = json!(["missing"]);
    bench.refused("deploy_workload", json!({"workload": "db", "spec": spec}), Code::NotFound).await;
    spec["volumes"] = json!(["data"]);
    bench.done("deploy_workload", json!({"workload": "db", "spec": spec})).await;
    let list = observe_volumes(provider, &bench.cx, &bench.workspace).await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].mounted_by.iter().map(ToString::to_string).collect::<Vec<_>>(), ["db"]);
    bench.refused("delete_volume", json!({"volume": "data"}), Code::Conflict).await;
    bench.refused("create_volume", json!({"volume": "data", "size_bytes": 1 << 20}), Code::Conflict).await;
    bench.done("resize_volume", json!({"volume": "data", "size_bytes": 4 << 20})).await;
    bench.done("delete_workload", json!({"workload": "db"})).await;
    bench.done("delete_volume", json!({"volume": "data"})).await;
    assert_eq!(bench.state("volume", "data").await, ResourceState::Absent);
}

/// Workloads: the whole life of one.
pub async fn workloads(provider: &dyn Provider, kit: &Kit) {
    let bench = Bench::new(provider, kit, "acme", "workloads").await;
    bench.done("deploy_workload", json!({"workload": "web", "spec": bench.spec("1.0.0", 1)})).await;
    let first = bench.workload("web").await;
    assert!(first.settled(), "{first:?}");
    assert_eq!((first.revision, first.spec.version.as_str()), (1, "1.0.0"));
    bench.done("set_environment", json!({"workload": "web", "set": {"LEVEL": "debug"}})).await;
    let second = bench.workload("web").await;
    assert!(second.settled(), "{second:?}");
    assert_eq!(second.spec.env.get("LEVEL").map(String::as_str), Some("debug"));
    assert_ne!(first.resource_version, second.resource_version);
    bench.done("scale_workload", json!({"workload": "web", "replicas": 2})).await;
    let third = bench.workload("web").await;
    assert!(third.settled() && third.replicas.len() == 2, "{third:?}");
    assert_eq!(third.revision, 2, "scaling makes no revision");
    let pids: Vec<_> = third.replicas.iter().map(|replica| replica.pid).collect();
    let names: Vec<_> = third.replicas.iter().filter_map(|replica| replica.instance.clone()).collect();
    bench.done("restart_workload", json!({"workload": "web"})).await;
    let again = bench.workload("web").await;
    assert!(again.settled());
    let kept = |replica: &&opsward_domain::resource::Replica| {
        replica.instance.as_ref().is_some_and(|name| names.contains(name))
    };
    assert_eq!(again.replicas.iter().find(kept), None, "named replicas are new");
    if again.replicas.iter().all(|replica| replica.pid > Some(100)) {
        assert!(again.replicas.iter().all(|replica| !pids.contains(&replica.pid)), "real processes are new");
    }
    bench.done("set_limits", json!({"workload": "web", "limits": {"memory_bytes": 32 << 20}})).await;
    bench.done("rollback_workload", json!({"workload": "web", "revision": 1})).await;
    let back = bench.workload("web").await;
    assert!(back.settled(), "{back:?}");
    let last = 4 + u64::from(kit.restart_rolls);
    assert_eq!((back.revision, back.spec.replicas), (last, 2), "a rollback is a new revision and keeps the count");
    assert_eq!(back.spec.env.get("LEVEL"), None);
    assert_eq!(back.spec.limits.memory_bytes, 64 << 20);
    let kept: Vec<u64> = back.revisions.iter().map(|kept| kept.revision).collect();
    let first = if kit.rollback_renumbers { 2 } else { 1 };
    assert_eq!(kept, (first..=last).collect::<Vec<_>>());
    bench.refused("rollback_workload", json!({"workload": "web", "revision": 99}), Code::NotFound).await;
    let all = observe_workloads(provider, &bench.cx, &bench.workspace).await.unwrap();
    assert_eq!(all.len(), 1);
    bench.done("delete_workload", json!({"workload": "web"})).await;
    assert_eq!(bench.state("workload", "web").await, ResourceState::Absent);
}

/// Functions: versions, activation, calls.
pub async fn functions(provider: &dyn Provider, kit: &Kit) {
    let bench = Bench::new(provider, kit, "acme", "functions").await;
    let deploy = json!({"function": "echo", "timeout_ms": 2000, "memory_bytes_max": 64 << 20, "source":
        {"runtime": "javascript", "text": "export default function (input) { return input; }"}});
    bench.done("deploy_function", deploy.clone()).await;
    bench.done("deploy_function", deploy).await;
    bench.done("activate_function", json!({"function": "echo", "version": 1})).await;
    bench.refused("activate_function", json!({"function": "echo", "version": 9}), Code::NotFound).await;
    let called = bench.done("invoke_function", json!({"function": "echo", "input": {"n": 4}})).await;
    assert_eq!(called.result["status"], "ok", "{}", called.result);
    assert_eq!(called.result["output"], json!({"n": 4}));
    match bench.state("function", "echo").await {
        ResourceState::Function(status) => {
            assert_eq!((status.active, status.versions.len(), status.invocations), (Some(1), 2, 1));
        }
        other => panic!("{other:?}"),
    }
    bench.done("delete_function", json!({"function": "echo"})).await;
    bench.refused("invoke_function", json!({"function": "echo", "input": null}), Code::NotFound).await;
}

/// Backups: take, prove, restore into a new volume, remove.
pub async fn backups(provider: &dyn Provider, kit: &Kit) {
    let bench = Bench::new(provider, kit, "acme", "backups").await;
    bench.refused("create_backup", json!({"backup": "b1", "volumes": ["data"]}), Code::NotFound).await;
    bench.done("create_volume", json!({"volume": "data", "size_bytes": 1 << 20})).await;
    bench.done("create_backup", json!({"backup": "b1", "volumes": ["data"]})).await;
    bench.done("verify_backup", json!({"backup": "b1"})).await;
    let restore = json!({"backup": "b1", "volume": "data", "into": "data-2"});
    bench.done("restore_backup", restore.clone()).await;
    assert_ne!(bench.state("volume", "data-2").await, ResourceState::Absent);
    bench.refused("restore_backup", restore, Code::Conflict).await;
    bench.refused("restore_backup", json!({"backup": "b1", "volume": "x", "into": "y"}), Code::NotFound).await;
    bench.refused("restore_backup", json!({"backup": "b9", "volume": "data", "into": "y"}), Code::NotFound).await;
    // Into another workspace of the tenant, and never across the wall.
    let other = Bench::new(provider, kit, "acme", "backups-2").await;
    let from = |name: &str| json!({"backup": "b1", "volume": "data", "into": "data", "from": name});
    other.refused("restore_backup", json!({"backup": "b1", "volume": "data", "into": "data"}), Code::NotFound).await;
    other.refused("restore_backup", from("nowhere"), Code::NotFound).await;
    other.done("restore_backup", from("backups")).await;
    assert_ne!(other.state("volume", "data").await, ResourceState::Absent);
    assert_eq!(bench.state("volume", "data-3").await, ResourceState::Absent);
    let stranger = Bench::new(provider, kit, "globex", "backups-2").await;
    stranger.refused("restore_backup", from("backups"), Code::NotFound).await;
    assert_eq!(stranger.state("volume", "data").await, ResourceState::Absent, "the wall was crossed");
    bench.done("delete_backup", json!({"backup": "b1"})).await;
    assert_eq!(bench.state("backup", "b1").await, ResourceState::Absent);
}

/// A workspace goes with everything in it, and comes back empty.
pub async fn workspaces(provider: &dyn Provider, kit: &Kit) {
    let bench = Bench::new(provider, kit, "acme", "fleeting").await;
    bench.refused("create_workspace", json!({"memory_bytes_max": 1 << 30}), Code::Conflict).await;
    bench.done("deploy_workload", json!({"workload": "web", "spec": bench.spec("1", 1)})).await;
    bench.done("delete_workspace", json!({})).await;
    assert_eq!(bench.state("workspace", "").await, ResourceState::Absent);
    bench.done("create_workspace", json!({"memory_bytes_max": 1 << 30})).await;
    assert_eq!(bench.state("workload", "web").await, ResourceState::Absent);
    match provider.observe(&bench.cx, &Query::Platform).await.unwrap() {
        Observation::Platform(facts) => assert!(!facts.backend.is_empty() && !facts.isolation.is_empty()),
        other => panic!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;
    use crate::provider::memory::{MemoryProvider, Trouble, step_digest};

    fn kit() -> Kit {
        Kit {
            command: vec!["sleep".into(), "60".into()],
            functions: true,
            backups: true,
            image: None,
            restart_rolls: false,
            rollback_renumbers: false,
        }
    }

    #[tokio::test]
    async fn the_memory_twin_conforms() {
        suite(&MemoryProvider::new(Arc::new(ManualClock::at(1_000))), &kit()).await;
    }

    #[tokio::test]
    async fn troubles_do_what_they_say_and_the_ledger_counts() {
        let clock = Arc::new(ManualClock::at(1_000));
        let twin = MemoryProvider::new(clock.clone());
        let (cx, space) = (owner("acme"), Workspace::parse("shop").unwrap());
        let create = step(&twin, &cx, &space, action("create_workspace", json!({"memory_bytes_max": 1 << 30}))).await;
        twin.inject(Trouble::Refuse(Fault::unavailable("not now")));
        twin.inject(Trouble::ReplyLost);
        assert!(apply(&twin, &cx, create.clone(), "k").await.is_err());
        assert_eq!(twin.lookup(&cx, "k").await.unwrap(), None);
        assert!(apply(&twin, &cx, create.clone(), "k").await.is_err());
        assert!(twin.lookup(&cx, "k").await.unwrap().is_some());
        twin.inject(Trouble::Delay { duration_ms: 500 });
        apply(&twin, &cx, create.clone(), "k").await.unwrap();
        assert_eq!(crate::clock::Clock::now_ms(clock.as_ref()), 1_500);
        let ledger = twin.ledger(cx.tenant());
        assert_eq!((ledger["k"].count, &ledger["k"].digest), (1, &step_digest(&create)));
    }
}
