//! An engine over memory twins with the real policy set: fast, deterministic, and able to lose its process
//! after any event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use async_trait::async_trait;
use opsward_cedar::CedarPolicy;
use opsward_domain::action::Action;
use opsward_domain::context::{CallContext, Origin};
use opsward_domain::event::{NewEvent, StreamName};
use opsward_domain::fault::Fault;
use opsward_domain::name::{Subject, Tenant, Workspace};
use opsward_domain::principal::Role;
use opsward_domain::seal::GateSeal;
use opsward_engine::facade::Engine;
use opsward_engine::keeping::Retention;
use opsward_engine::parts::{Limits, Parts, system_context};
use opsward_engine::start::Options;
use opsward_engine::toolbox::{ToolFolder, Toolbox};
use opsward_ports::clock::{Clock, CountingEntropy, SystemClock};
use opsward_ports::disk::MemoryDisk;
use opsward_ports::journal::Error;
use opsward_ports::journal::guarded::{Guard, Guarded};
use opsward_ports::journal::memory::MemoryJournal;
use opsward_ports::kits::MemoryKits;
use opsward_ports::logs::Logs;
use opsward_ports::logs::memory::MemoryLogs;
use opsward_ports::model::Model;
use opsward_ports::provider::Provider;
use opsward_ports::provider::memory::MemoryProvider;
use opsward_ports::runner::{self, Attestation, Observer, Probe, Program, Runner};
use opsward_ports::series::SeriesStore;
use opsward_ports::series::memory::MemorySeries;
use opsward_ports::telemetry::memory::MemoryTelemetry;
use serde_json::{Value, json};

/// A journal whose process dies after a number of appends: from then on nothing is written or read.
pub(crate) type Dying = Guarded<Death>;

pub(crate) struct Death {
    appends_left: AtomicU64,
}

impl Death {
    /// True once the process is gone.
    pub(crate) fn came(&self) -> bool {
        self.appends_left.load(Ordering::SeqCst) == 0
    }
}

#[async_trait]
impl Guard for Death {
    type Passing = ();
    async fn before(&self, _events: &[NewEvent]) -> Result<(), Error> {
        self.reading()?;
        // Counted before anybody can see it, so that who waits for the last one finds the process gone.
        // Never below none: two appends at once may both have been alive.
        let _ = self.appends_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        Ok(())
    }
    async fn after(&self, _passing: ()) {}
    fn reading(&self) -> Result<(), Error> {
        let gone = || Error::Unavailable { detail: "the process is gone".into(), hint: String::new() };
        if self.came() { Err(gone()) } else { Ok(()) }
    }
}

/// A clock that can be put forward and back; waiting takes its real time.
#[derive(Default)]
pub(crate) struct Shifted(AtomicI64);

impl Shifted {
    /// Moves the clock, back if negative.
    pub(crate) fn shift_ms(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for Shifted {
    fn now_ms(&self) -> i64 {
        SystemClock.now_ms() + self.0.load(Ordering::SeqCst)
    }
    async fn sleep_ms(&self, duration_ms: u64) {
        SystemClock.sleep_ms(duration_ms).await;
    }
}

/// Source of the one handler that [`Idle`] runs: it returns its input's `value`.
pub(crate) const ECHO: &str = "echo";

/// Runs nothing but [`ECHO`]; its self-test says what a test wants.
struct Idle(bool);

#[async_trait]
impl Runner for Idle {
    async fn run(&self, program: Program, _observer: Arc<dyn Observer>) -> Result<Value, runner::Error> {
        if program.source == ECHO {
            return Ok(program.input["value"].clone());
        }
        Err(runner::Error::Unavailable("this world has no workers".into()))
    }
    fn attestation(&self) -> Attestation {
        Attestation { probes: vec![Probe { name: "socket".into(), held: self.0, detail: String::new() }] }
    }
}

/// What outlives a process: the record, the platform, time.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) provider: Arc<MemoryProvider>,
    pub(crate) telemetry: Arc<MemoryTelemetry>,
    pub(crate) logs: Arc<dyn Logs>,
    pub(crate) series: Arc<dyn SeriesStore>,
    pub(crate) disk: Arc<MemoryDisk>,
    clock: Arc<dyn Clock>,
    /// Moves the clock of a world that was made with [`World::new`].
    pub(crate) shift: Arc<Shifted>,
    /// A platform instead of the memory twin.
    pub(crate) platform: Option<Arc<dyn Provider>>,
    pub(crate) toolbox: Toolbox,
    entropy: Arc<CountingEntropy>,
    pub(crate) attested: bool,
    pub(crate) observe_only: bool,
    pub(crate) model: Option<Arc<dyn Model>>,
    /// Runs handlers; without one, none runs.
    pub(crate) runner: Option<Arc<dyn Runner>>,
}

/// A day.
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

pub(crate) const APPENDS_FOR_EVER: u64 = u64::MAX / 2;

impl World {
    pub(crate) fn new() -> Self {
        let shift = Arc::<Shifted>::default();
        Self { shift: shift.clone(), ..Self::at(shift) }
    }

    /// A world with time of its own.
    pub(crate) fn at(clock: Arc<dyn Clock>) -> Self {
        Self {
            journal: Arc::new(MemoryJournal::default()),
            provider: Arc::new(MemoryProvider::new(clock.clone())),
            telemetry: Arc::default(),
            logs: Arc::new(MemoryLogs::new()),
            series: Arc::new(MemorySeries::new()),
            disk: Arc::default(),
            platform: None,
            clock,
            shift: Arc::default(),
            toolbox: opsward::embedded::toolbox().unwrap(),
            entropy: Arc::default(),
            attested: true,
            observe_only: false,
            model: None,
            runner: None,
        }
    }

    /// A process over this world that dies after `appends`.
    pub(crate) async fn process(&self, appends: u64) -> (Arc<Engine>, Arc<Dying>) {
        let death = Death { appends_left: AtomicU64::new(APPENDS_FOR_EVER) };
        let journal = Arc::new(Guarded::new(self.journal.clone(), death));
        let parts = Parts {
            journal: journal.clone(),
            provider: self.platform.clone().unwrap_or_else(|| self.provider.clone()),
            kits: Arc::new(MemoryKits),
            telemetry: self.telemetry.clone(),
            logs: self.logs.clone(),
            series: self.series.clone(),
            disk: self.disk.clone(),
            policy: Arc::new(CedarPolicy::defaults().unwrap()),
            runner: self.runner.clone().unwrap_or_else(|| Arc::new(Idle(self.attested))),
            model: self.model.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            limits: Limits::default(),
        };
        let options = Options {
            seal: GateSeal::forge(),
            toolbox: self.toolbox.clone(),
            prompts: BTreeMap::new(),
            observe_only: self.observe_only,
            retention: Retention { logs_ms: 14 * DAY_MS, metrics_ms: 2 * DAY_MS },
            outside_switch: Arc::new(|| false),
        };
        let engine = Engine::compose(parts, options).await.unwrap();
        engine.catch_up().await.unwrap();
        journal.guard.appends_left.store(appends, Ordering::SeqCst);
        (engine, journal)
    }

    /// A living process with an owner, an operator, a developer and a viewer.
    pub(crate) async fn peopled(&self) -> Arc<Engine> {
        let (engine, _) = self.process(APPENDS_FOR_EVER).await;
        let people = &engine.setup.people;
        people.found(&tenant(), &subject("owner")).await.unwrap();
        let cx = cx(&engine, "owner", Origin::Api);
        for (name, role) in [
            ("olga", Role::Operator),
            ("dan", Role::Developer),
            ("vera", Role::Viewer),
            ("adam", Role::Admin),
            ("owen", Role::Owner),
        ] {
            people.add(&cx, &subject(name)).await.unwrap();
            people.set_role(&cx, &subject(name), None, Some(role)).await.unwrap();
        }
        engine
    }
}

/// A tool that proposes whatever it is told to, for every action there is.
pub(crate) fn obedient() -> Toolbox {
    let actions: Vec<&str> = opsward_domain::action::ActionKind::ALL.iter().map(|kind| kind.facts().name).collect();
    let folder = ToolFolder {
        name: "obey".into(),
        declaration: format!(
            "name = \"obey\"\nsummary = \"s\"\nwhen = \"w\"\nwhen_not = \"n\"\nactions = {actions:?}\n\
             [inputs.value]\ntype = \"json\"\nabout = \"what it returns\"\nrequired = true\n"
        ),
        handler: ECHO.into(),
        examples: "[[accept]]\nabout = \"a\"\ninput = { value = 1 }\n[[refuse]]\nabout = \"b\"\ninput = {}\nbecause = \"missing\"\n"
            .into(),
    };
    Toolbox::load(&[folder]).unwrap()
}

/// What the obedient tool returns to propose `action`.
pub(crate) fn steps(action: &Value) -> Value {
    all_steps(std::slice::from_ref(action))
}

/// What the obedient tool returns to propose all of `actions` in one plan.
pub(crate) fn all_steps(actions: &[Value]) -> Value {
    let step = |action: &Value| {
        let mut step = action.clone();
        step["$step"] = step["kind"].clone();
        step.as_object_mut().unwrap().remove("kind");
        step
    };
    json!({"steps": actions.iter().map(step).collect::<Vec<_>>()})
}

pub(crate) fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

pub(crate) fn shop() -> Workspace {
    Workspace::parse("shop").unwrap()
}

pub(crate) fn subject(name: &str) -> Subject {
    Subject::parse(name).unwrap()
}

/// Somebody of the tenant with the rights of this moment.
pub(crate) fn cx(engine: &Engine, name: &str, origin: Origin) -> CallContext {
    CallContext::new(engine.setup.people.principal(&tenant(), &subject(name)).unwrap(), origin)
}

pub(crate) fn system() -> CallContext {
    system_context(&tenant()).unwrap()
}

pub(crate) fn action(value: Value) -> Action {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn spec(version: &str, replicas: u32) -> Value {
    json!({"version": version, "command": ["/bin/true"], "replicas": replicas, "image": "registry.local/web:1",
        "limits": {"memory_bytes": 16_777_216}})
}

/// Does one action for the owner and another owner's yes where one is needed; panics unless it succeeds.
pub(crate) async fn must(engine: &Arc<Engine>, value: Value) {
    let status = done(engine, "owner", &["owner", "owen", "adam"], value.clone()).await;
    assert_eq!(status, "succeeded", "{value}");
}

/// Asks as `asker`, lets `approvers` say yes in order until it is settled; the final status word.
pub(crate) async fn done(engine: &Arc<Engine>, asker: &str, approvers: &[&str], value: Value) -> &'static str {
    use opsward_surface::view;
    let asking = cx(engine, asker, Origin::Api);
    let stream = engine.act(&asking, &shop(), action(value), "test").await.unwrap();
    for name in approvers {
        let state = engine.settle(&system(), &stream, 10_000, view::settled).await.unwrap();
        if view::status(&state) != "awaiting_approval" {
            break;
        }
        let id = state.plans.last().unwrap().approval.as_ref().unwrap().request.id.clone();
        let _: Result<StreamName, Fault> = engine.approve(&cx(engine, name, Origin::Api), &id).await;
    }
    let state = engine.settle(&system(), &stream, 10_000, view::settled).await.unwrap();
    view::status(&state)
}

/// The shop: a workspace, a volume, a workload with two revisions, a function and a backup.
pub(crate) async fn furnish(engine: &Arc<Engine>) {
    must(engine, json!({"kind": "create_workspace", "memory_bytes_max": 1_073_741_824u64})).await;
    must(engine, json!({"kind": "create_volume", "volume": "orders", "size_bytes": 1_000_000})).await;
    must(engine, json!({"kind": "deploy_workload", "workload": "web", "spec": spec("1.0", 2)})).await;
    must(engine, json!({"kind": "deploy_workload", "workload": "web", "spec": spec("1.1", 2)})).await;
    must(engine, json!({"kind": "deploy_function", "function": "hello", "source": {"runtime": "javascript", "text": "export default () => 1"}, "timeout_ms": 1000, "memory_bytes_max": 16_777_216})).await;
    must(engine, json!({"kind": "create_backup", "backup": "first", "volumes": ["orders"]})).await;
}

/// One action of every kind that fits the furnished shop.
pub(crate) fn every_action() -> Vec<Value> {
    vec![
        json!({"kind": "create_workspace", "memory_bytes_max": 1_073_741_824u64}),
        json!({"kind": "delete_workspace"}),
        json!({"kind": "deploy_workload", "workload": "web", "spec": spec("1.2", 2)}),
        json!({"kind": "set_environment", "workload": "web", "set": {"A": "1"}}),
        json!({"kind": "scale_workload", "workload": "web", "replicas": 3}),
        json!({"kind": "restart_workload", "workload": "web"}),
        json!({"kind": "rollback_workload", "workload": "web", "revision": 1}),
        json!({"kind": "set_limits", "workload": "web", "limits": {"memory_bytes": 33_554_432}}),
        json!({"kind": "set_image", "workload": "web", "image": "registry.local/web:2"}),
        json!({"kind": "delete_workload", "workload": "web"}),
        json!({"kind": "deploy_function", "function": "hello", "source": {"runtime": "javascript", "text": "export default () => 2"}, "timeout_ms": 1000, "memory_bytes_max": 16_777_216}),
        json!({"kind": "activate_function", "function": "hello", "version": 1}),
        json!({"kind": "invoke_function", "function": "hello", "input": null}),
        json!({"kind": "delete_function", "function": "hello"}),
        json!({"kind": "create_backup", "backup": "second", "volumes": ["orders"]}),
        json!({"kind": "restore_backup", "backup": "first", "volume": "orders", "into": "orders-old"}),
        json!({"kind": "verify_backup", "backup": "first"}),
        json!({"kind": "delete_backup", "backup": "first"}),
        json!({"kind": "create_volume", "volume": "media", "size_bytes": 1_000_000}),
        json!({"kind": "resize_volume", "volume": "orders", "size_bytes": 2_000_000}),
        json!({"kind": "delete_volume", "volume": "orders"}),
    ]
}
