//! The provider itself: one cluster, the record of what was done in it, and who asks. Never keeps a copy of
//! the cluster's state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use opsward_domain::action::Action;
use opsward_domain::context::CallContext;
use opsward_domain::event::Outcome;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Tenant, Workspace};
use opsward_domain::plan::Step;
use opsward_domain::principal::Kind;
use opsward_domain::resource::ResourceState;
use opsward_domain::seal::Authorized;
use opsward_ports::clock::Clock;
use opsward_ports::provider::{Observation, Provider, Query};
use tokio::sync::OwnedMutexGuard;

use crate::cluster::Cluster;
use crate::connect::connect;
use crate::ledger::Ledger;
use crate::look::Look;
use crate::options::Options;

/// Workspaces that are namespaces of one cluster. Cheap to clone.
#[derive(Clone)]
pub struct KubeProvider {
    inner: Arc<Inner>,
}

/// What all clones share.
pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) turns: Turns,
    cluster: Cluster,
}

impl KubeProvider {
    /// Reads the credentials; the record is kept in `options.dir`. Nothing is sent to the cluster yet, so
    /// that a cluster that is away does not keep opsward from starting.
    pub async fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let client = connect(&options.access).await?;
        let cluster = Cluster::new(client, clock.clone(), options.request_timeout_ms, options.objects_max);
        let ledger = Arc::new(Ledger::new(&options.dir));
        Ok(Self { inner: Arc::new(Inner { options, clock, ledger, turns: Turns::default(), cluster }) })
    }
}

impl Inner {
    /// A look in the name of who asks. opsward itself looks with its own account.
    pub(crate) fn look<'a>(&'a self, cx: &'a CallContext) -> Look<'a> {
        let person = (cx.principal.kind != Kind::System).then_some(&cx.principal);
        let who = self.options.impersonate.as_ref().zip(person).map(|(pattern, person)| {
            pattern.replace("{subject}", person.subject.as_str()).replace("{tenant}", person.tenant.as_str())
        });
        Look { cluster: self.cluster.seen_by(who), options: &self.options, tenant: cx.tenant() }
    }
}

#[async_trait]
impl Provider for KubeProvider {
    async fn observe(&self, cx: &CallContext, query: &Query) -> Result<Observation, Fault> {
        self.inner.look(cx).answer(query).await
    }

    async fn rehearse(
        &self,
        cx: &CallContext,
        workspace: &Workspace,
        action: &Action,
        _before: &ResourceState,
    ) -> Result<ResourceState, Fault> {
        self.inner.look(cx).rehearse(workspace, action, self.inner.now()).await
    }

    async fn apply(&self, cx: &CallContext, step: &Authorized<Step>, key: &str) -> Result<Outcome, Fault> {
        let (inner, cx, step, key) = (self.inner.clone(), cx.clone(), step.get().clone(), key.to_owned());
        // A task of its own: a caller that goes away must not leave a change half done.
        let task = tokio::spawn(async move { inner.apply(&cx, &step, &key).await });
        task.await.map_err(|error| Fault::internal("the step died").detail(error.to_string()))?
    }

    async fn lookup(&self, cx: &CallContext, key: &str) -> Result<Option<Outcome>, Fault> {
        self.inner.lookup(cx, key).await
    }
}

type Turn = tokio::sync::Mutex<()>;

/// One caller a key at a time.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<BTreeMap<(Tenant, String), Weak<Turn>>>);

impl Turns {
    /// Waits for its turn with a key.
    pub(crate) async fn turn(&self, tenant: &Tenant, key: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let at = (tenant.clone(), key.to_owned());
            let known = turns.get(&at).and_then(Weak::upgrade);
            let turn = known.unwrap_or_default();
            turns.insert(at, Arc::downgrade(&turn));
            turn
        };
        turn.lock_owned().await
    }
}
