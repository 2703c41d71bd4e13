//! The composition root: the only file that names an adapter, and the only maker of the gate's seal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use opsward_domain::fault::Fault;
use opsward_domain::name::{Subject, Tenant};
use opsward_domain::seal::GateSeal;
use opsward_engine::facade::Engine;
use opsward_engine::parts::{Limits, Parts, journal_fault, system_context};
use opsward_engine::people::Purpose;
use opsward_engine::replay::{Replayed, Stage, replay};
use opsward_engine::start::Options;
use opsward_engine::transcript::Transcript;
use opsward_local::LocalProvider;
use opsward_ports::clock::{Clock, SystemClock};
use opsward_ports::journal::Journal;
use opsward_ports::model::Model;
use opsward_sqlite::SqliteJournal;

use crate::config::Config;
use crate::disk::DataDisk;
use crate::embedded;
use crate::entropy::SystemEntropy;
use crate::recovery::JOURNAL;
use crate::routing::{Cluster, Routed};

/// Name of the file in the data folder whose existence stops every effect, whatever else works.
pub const STOP_FILE: &str = "STOP";

/// Everything that runs.
pub struct App {
    /// The engine, composed and not started.
    pub engine: Arc<Engine>,
    /// Kept for an orderly end.
    pub provider: Arc<LocalProvider>,
    journal: Arc<SqliteJournal>,
    /// Pressed at the end, and when there is nothing sound to back up: a backup in progress stops.
    ending: opsward_snapshots::CancelToken,
}

impl App {
    /// Opens the stores in `config.data.dir` and composes the engine. `exe` is this binary, entered again
    /// for workers and shims.
    pub async fn open(config: &Config, exe: PathBuf) -> Result<Self, Fault> {
        let dir = &config.data.dir;
        make_private(dir)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        #[cfg(debug_assertions)]
        let clock = crate::crash::clock(clock)?;
        let entropy = Arc::new(SystemEntropy);
        let options = opsward_sqlite::Options { bytes_max: config.data.journal_bytes_max };
        let journal = SqliteJournal::open(&dir.join(JOURNAL), options).await.map_err(journal_fault)?;
        let journal = Arc::new(journal);
        let pool = opsward_worker::Pool::start(opsward_worker::Options::new(exe.clone()));
        let local = opsward_local::Options::new(dir.join("platform"), exe);
        let provider = LocalProvider::open(local, clock.clone(), entropy.clone());
        let (pool, provider) = tokio::join!(pool, provider);
        let pool = pool.map_err(|error| Fault::unavailable("workers cannot be started").detail(error.to_string()))?;
        let provider = Arc::new(provider?);
        let (logs_dir, series_dir) = (dir.join("logs"), dir.join("metrics"));
        let logs_options =
            opsward_tantivy::Options { disk_bytes_max: config.data.disk_bytes_max, ..Default::default() };
        let logs = blocking(move || opsward_tantivy::TantivyLogs::open(logs_dir, logs_options));
        let series = blocking(move || opsward_series::SeriesDb::open(series_dir, opsward_series::Options::default()));
        let policy = blocking(opsward_cedar::CedarPolicy::defaults);
        let (logs, series, policy) = tokio::try_join!(logs, series, policy)?;
        let disk = disk(config, &journal, &logs, &series);
        let routed = Routed::over(provider.clone(), clusters(config).await?);
        let ports = (journal.clone() as Arc<dyn Journal>, routed);
        #[cfg(debug_assertions)]
        let ports = (crate::crash::journal(ports.0)?, crate::crash::provider(ports.1)?);
        let parts = Parts {
            journal: ports.0,
            provider: ports.1,
            kits: provider.clone(),
            telemetry: provider.clone(),
            logs: Arc::new(logs),
            series: Arc::new(series),
            disk: Arc::new(disk),
            policy: Arc::new(policy),
            runner: Arc::new(pool),
            model: model(config)?,
            clock,
            entropy,
            limits: Limits::default(),
        };
        let stop = dir.join(STOP_FILE);
        let options = Options {
            seal: GateSeal::forge(),
            toolbox: embedded::toolbox()?,
            prompts: embedded::prompts(),
            observe_only: config.server.observe_only,
            retention: config.data.retention(),
            outside_switch: Arc::new(move || stop.exists()),
        };
        let engine = Engine::compose(parts, options).await?;
        // Reading everything finds damage before anything is written.
        engine.catch_up().await?;
        Ok(Self { engine, provider, journal, ending: Default::default() })
    }

    /// Makes the first tenant's owner if there is nobody yet. True if it did.
    pub async fn found(&self, config: &Config) -> Result<bool, Fault> {
        let tenant = Tenant::parse(&config.tenant.name)?;
        self.engine.setup.people.found(&tenant, &Subject::parse(&config.tenant.owner)?).await
    }

    /// A fresh one-time link secret for the owner of the configured tenant.
    pub async fn owner_link(&self, config: &Config) -> Result<String, Fault> {
        let cx = system_context(&Tenant::parse(&config.tenant.name)?)?;
        let expires = self.engine.parts.clock.now_ms() + opsward_engine::people::LINK_OPEN_MS;
        let owner = Subject::parse(&config.tenant.owner)?;
        self.engine.setup.people.issue(&cx, &owner, Some(expires), Purpose::Link).await
    }

    /// Verifies, behind the running service, what opening took on the word of the last checkpoint.
    /// Damage refuses writes from then on.
    pub fn verify_behind(&self) {
        let (journal, ending) = (self.journal.clone(), self.ending.clone());
        tokio::spawn(async move {
            match journal.verify_behind().await {
                Ok(verified) if verified.damage.is_empty() => {}
                Ok(verified) => {
                    tracing::error!(damage = ?verified.damage.first(), "the journal is damaged; writes are refused");
                    // A backup of it would push a sound one out.
                    ending.cancel();
                }
                Err(error) => tracing::warn!(%error, "the journal could not be verified"),
            }
        });
    }

    /// Backs the own state up from time to time, behind the running service; never a damaged one.
    pub fn back_up_behind(&self, config: &Config) {
        if self.engine.read_only().is_some() {
            return;
        }
        let (data, clock) = (config.data.clone(), self.engine.parts.clock.clone());
        tokio::spawn(crate::recovery::schedule::run(data, clock, self.ending.clone()));
    }

    /// Ends in order: nothing is lost, workloads go on if `keep_workloads`.
    pub async fn close(&self, keep_workloads: bool) -> Result<(), Fault> {
        self.ending.cancel();
        let stopped = self.provider.shutdown(keep_workloads).await;
        self.journal.close().await.map_err(journal_fault)?;
        stopped
    }
}

/// The clusters that the configuration names. None of them is asked anything yet.
#[cfg(feature = "scale")]
pub async fn clusters(config: &Config) -> Result<Vec<Cluster>, Fault> {
    use opsward_domain::name::Workspace;
    use opsward_kube::{Access, KubeProvider};
    let mut clusters = Vec::new();
    for wanted in &config.provider.kubernetes {
        let access = match &wanted.kubeconfig {
            None => Access::InCluster,
            Some(path) => Access::Kubeconfig {
                path: path.clone(),
                context: wanted.context.clone(),
                allow_exec: wanted.allow_exec,
            },
        };
        let dir = config.data.dir.join("clusters").join(&wanted.name);
        let mut options = opsward_kube::Options::new(access, dir);
        let tenant = Tenant::parse(wanted.owner(config))?;
        for (workspace, namespace) in &wanted.workspaces {
            options.namespaces.insert((tenant.clone(), Workspace::parse(workspace)?), namespace.clone());
        }
        options.create_namespaces = wanted.create_namespaces;
        options.impersonate.clone_from(&wanted.impersonate);
        options.storage_class.clone_from(&wanted.storage_class);
        options.request_timeout_ms = wanted.request_timeout_ms;
        options.settle_timeout_ms = wanted.settle_timeout_ms;
        let workspaces = options.namespaces.keys().cloned().collect();
        let provider = KubeProvider::open(options, Arc::new(SystemClock)).await.map_err(|fault| Fault {
            message: format!("provider.kubernetes {:?}: {}", wanted.name, fault.message),
            ..fault
        })?;
        clusters.push(Cluster {
            name: wanted.name.clone(),
            provider: Arc::new(provider),
            workspaces,
            takes_new: wanted.create_namespaces,
        });
    }
    Ok(clusters)
}

/// That this binary knows no clusters.
#[cfg(not(feature = "scale"))]
pub async fn clusters(config: &Config) -> Result<Vec<Cluster>, Fault> {
    match config.provider.kubernetes.first() {
        None => Ok(Vec::new()),
        Some(wanted) => Err(Fault::invalid(format!("provider.kubernetes {:?} cannot be reached", wanted.name))
            .detail("this opsward was built without the feature `scale`")
            .hint("build it with `cargo build --release --features scale`, or take a release archive, which has everything")),
    }
}

/// The budget over the stores that grow.
fn disk(
    config: &Config,
    journal: &Arc<SqliteJournal>,
    logs: &opsward_tantivy::TantivyLogs,
    series: &opsward_series::SeriesDb,
) -> DataDisk {
    let (journal, logs, series) = (journal.clone(), logs.clone(), series.clone());
    DataDisk::new(&config.data)
        .store("journal", move || journal.size_bytes())
        .store("logs", move || logs.disk_bytes())
        .store("metrics", move || series.disk_bytes())
}

/// Plays recorded runs again with this program's policies, tools and sandbox.
pub struct Replayer {
    runner: Arc<opsward_worker::Pool>,
    policy: Arc<opsward_cedar::CedarPolicy>,
}

impl Replayer {
    /// Starts workers; `exe` is this binary.
    pub async fn start(exe: PathBuf) -> Result<Self, Fault> {
        let runner = opsward_worker::Pool::start(opsward_worker::Options::new(exe)).await;
        let runner =
            runner.map_err(|error| Fault::unavailable("workers cannot be started").detail(error.to_string()))?;
        let policy = blocking(opsward_cedar::CedarPolicy::defaults).await?;
        Ok(Self { runner: Arc::new(runner), policy: Arc::new(policy) })
    }

    /// Plays one recorded run.
    pub async fn play(&self, transcript: &Transcript) -> Result<Replayed, Fault> {
        let stage = Stage {
            seal: GateSeal::forge(),
            policy: self.policy.clone(),
            runner: self.runner.clone(),
            toolbox: embedded::toolbox()?,
            prompts: embedded::prompts(),
        };
        replay(transcript, stage).await
    }
}

/// The configured model, if any. A key that is referred to and missing is a fault now, not at 3 a.m.
fn model(config: &Config) -> Result<Option<Arc<dyn Model>>, Fault> {
    let Some(model) = &config.model else { return Ok(None) };
    if let Some(name) = model.key_env.as_ref().filter(|name| std::env::var_os(name).is_none()) {
        return Err(Fault::invalid(format!("model.key_env names {name}, which is not set"))
            .hint("set it, or leave key_env out"));
    }
    let mut options = opsward_openai::Options::new(&model.base_url, &model.name);
    options.key = model.key_env.clone().map_or(opsward_openai::Key::None, opsward_openai::Key::Variable);
    options.context_tokens = model.context_tokens;
    let model = opsward_openai::OpenAiModel::new(options)
        .map_err(|error| Fault::invalid("the model endpoint cannot be used").detail(error.to_string()))?;
    Ok(Some(Arc::new(model)))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Fault::internal(error.to_string()))?
}

/// Makes the data folder for its owner only; keys and hashes live there.
fn make_private(dir: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        Fault::unavailable(format!("the data folder {} cannot be made", dir.display()))
            .detail(error.to_string())
            .hint("choose another with --data DIR, or fix its permissions")
    })
}
