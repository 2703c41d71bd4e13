//! Puts the engine together and keeps it going: catches up with the journal, continues unfinished runs,
//! ingests telemetry, watches objectives. Every loop here survives every error.

use std::collections::BTreeMap;
use std::sync::Arc;

use opsward_domain::fault::Fault;
use opsward_domain::name::Tenant;
use opsward_domain::seal::GateSeal;
use opsward_ports::journal::BATCH_EVENTS_MAX;

use crate::changes::Changes;
use crate::damage;
use crate::driver::Drivers;
use crate::facade::{Engine, Setup};
use crate::gate::Gate;
use crate::incidents::Lifecycles;
use crate::investigate::{Live, Senses};
use crate::keeping::{Keeping, Retention};
use crate::parts::{Parts, system_context};
use crate::people::People;
use crate::projection::Views;
use crate::score::Scores;
use crate::switches::{OutsideSwitch, Switches};
use crate::toolbox::Toolbox;

/// What is chosen at start besides the ports.
pub struct Options {
    /// The gate's seal, forged by the composition root.
    pub seal: GateSeal,
    /// Tools.
    pub toolbox: Toolbox,
    /// Prompts by name.
    pub prompts: BTreeMap<String, String>,
    /// No effects at all.
    pub observe_only: bool,
    /// How long logs and metrics are kept.
    pub retention: Retention,
    /// A second way to stop effects.
    pub outside_switch: OutsideSwitch,
}

const RETRY_MS: u64 = 1_000;

impl Engine {
    /// Puts an engine together; nothing runs yet.
    pub async fn compose(parts: Parts, options: Options) -> Result<Arc<Self>, Fault> {
        let (changes, lifecycles) = (Arc::new(Changes::default()), Arc::new(Lifecycles::default()));
        let live = Live { parts: parts.clone(), changes: changes.clone(), lifecycles: lifecycles.clone() };
        Self::assemble(parts, options, Arc::new(live), (changes, lifecycles)).await
    }

    /// The same with other senses than the stores, for replays.
    pub(crate) async fn assemble(
        parts: Parts,
        options: Options,
        senses: Arc<dyn Senses>,
        (changes, lifecycles): (Arc<Changes>, Arc<Lifecycles>),
    ) -> Result<Arc<Self>, Fault> {
        let people = Arc::new(People::load(parts.journal.clone(), parts.clock.clone(), parts.entropy.clone()).await?);
        let switches = Arc::new(
            Switches::load(parts.journal.clone(), parts.clock.clone(), options.observe_only, options.outside_switch)
                .await?,
        );
        let gate = Gate::new(options.seal, parts.policy.clone(), parts.runner.clone());
        let setup = Arc::new(Setup { gate, people, switches, provider: parts.provider.clone() });
        let engine = Arc::new(Self {
            parts,
            setup,
            toolbox: Arc::new(options.toolbox),
            keeping: Keeping::new(options.retention),
            senses,
            changes,
            lifecycles,
            views: Arc::new(Views::default()),
            scores: Arc::new(Scores::default()),
            schedules: Arc::default(),
            drivers: Drivers::default(),
            prompts: Arc::new(options.prompts),
            intake: tokio::sync::Mutex::new(()),
            folding: tokio::sync::Mutex::new(()),
        });
        engine.drivers.bind(&engine);
        Ok(engine)
    }

    /// Folds what the journal has beyond the read models.
    pub async fn catch_up(&self) -> Result<(), Fault> {
        let _one_at_a_time = self.folding.lock().await;
        let cx = system_context(&Tenant::parse("system")?)?;
        loop {
            let after = self.views.seq();
            let (events, cursor) = damage::feed(self.parts.journal.as_ref(), &cx, after, BATCH_EVENTS_MAX).await?;
            for event in &events {
                self.changes.apply(event);
                self.views.apply(event);
                self.scores.apply(event);
                self.schedules.apply(event);
            }
            self.views.step_to(cursor);
            // A page may end early; only one that leads nowhere is the end.
            if cursor == after {
                return Ok(());
            }
        }
    }

    /// Continues every unfinished run and starts the loops. Returns once the engine is ready for requests.
    /// With a damaged journal nothing that would have to be recorded is begun: what there is can be seen.
    pub async fn start(self: &Arc<Self>) -> Result<(), Fault> {
        self.catch_up().await?;
        for stream in self.views.unfinished() {
            self.drivers.wake(&stream);
        }
        tokio::spawn(follow(self.clone()));
        tokio::spawn(crate::ingest::run(self.clone()));
        tokio::spawn(crate::watch::run(self.clone()));
        tokio::spawn(crate::keeping::run(self.clone()));
        tokio::spawn(crate::schedules::run(self.clone()));
        Ok(())
    }
}

async fn follow(engine: Arc<Engine>) {
    let mut head = engine.parts.journal.head();
    loop {
        if let Err(fault) = engine.catch_up().await {
            tracing::warn!(fault = %fault, "read models have to wait");
            engine.parts.clock.sleep_ms(RETRY_MS).await;
            continue;
        }
        if head.changed().await.is_err() {
            return;
        }
    }
}
