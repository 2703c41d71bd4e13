//! Which backend serves a workspace: the cluster that the configuration names for it, this machine if the
//! workspace is there, else where new workspaces are made. Never decides anything else.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use opsward_domain::action::Action;
use opsward_domain::context::CallContext;
use opsward_domain::event::Outcome;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Tenant, Workspace};
use opsward_domain::plan::Step;
use opsward_domain::resource::{Resource, ResourceState};
use opsward_domain::seal::Authorized;
use opsward_ports::provider::{Layer, Observation, Provider, Query, observe_resource};

/// A cluster with the workspaces that are its own.
pub struct Cluster {
    /// What it is called.
    pub name: String,
    /// Its provider.
    pub provider: Arc<dyn Provider>,
    /// Workspaces that are there whatever happens.
    pub workspaces: BTreeSet<(Tenant, Workspace)>,
    /// True if new workspaces are made there.
    pub takes_new: bool,
}

/// This machine and the clusters, as one provider.
pub struct Routed {
    local: Arc<dyn Provider>,
    clusters: Vec<Cluster>,
}

impl Routed {
    /// `local`, with `clusters` beside it. With none, it is `local` itself.
    pub fn over(local: Arc<dyn Provider>, clusters: Vec<Cluster>) -> Arc<dyn Provider> {
        if clusters.is_empty() { local } else { Arc::new(Self { local, clusters }) }
    }

    async fn of(&self, cx: &CallContext, workspace: &Workspace) -> Result<&dyn Provider, Fault> {
        let at = (cx.tenant().clone(), workspace.clone());
        if let Some(cluster) = self.clusters.iter().find(|it| it.workspaces.contains(&at)) {
            return Ok(cluster.provider.as_ref());
        }
        let local = self.local.as_ref();
        let Some(new) = self.clusters.iter().find(|it| it.takes_new) else { return Ok(local) };
        let here = observe_resource(local, cx, workspace, &Resource::Workspace).await?;
        Ok(if here == ResourceState::Absent { new.provider.as_ref() } else { local })
    }

    /// What each has, of this machine first. A cluster that is away hides its own only.
    async fn workspaces(&self, cx: &CallContext) -> Result<Observation, Fault> {
        let mut all = Vec::new();
        if let Observation::Workspaces(list) = self.local.observe(cx, &Query::Workspaces).await? {
            all.extend(list);
        }
        for cluster in &self.clusters {
            match cluster.provider.observe(cx, &Query::Workspaces).await {
                Ok(Observation::Workspaces(list)) => all.extend(list),
                Ok(_) => return Err(Fault::internal("the provider answered another question")),
                Err(fault) => tracing::warn!(cluster = cluster.name, %fault, "its workspaces cannot be listed"),
            }
        }
        let mut seen = BTreeSet::new();
        all.retain(|status| seen.insert(status.name.clone()));
        Ok(Observation::Workspaces(all))
    }

    async fn platform(&self, cx: &CallContext) -> Result<Observation, Fault> {
        let Observation::Platform(mut facts) = self.local.observe(cx, &Query::Platform).await? else {
            return Err(Fault::internal("the provider answered another question"));
        };
        for cluster in &self.clusters {
            facts.backend.push_str(&format!(", kubernetes {}", cluster.name));
            facts.isolation.extend(layers(cluster, cx).await);
        }
        Ok(Observation::Platform(facts))
    }
}

/// What a cluster says of itself, under its name.
pub async fn layers(cluster: &Cluster, cx: &CallContext) -> Vec<Layer> {
    let named = |part: &str| format!("kubernetes {}: {part}", cluster.name);
    match cluster.provider.observe(cx, &Query::Platform).await {
        Ok(Observation::Platform(facts)) => {
            facts.isolation.into_iter().map(|layer| Layer { name: named(&layer.name), ..layer }).collect()
        }
        Ok(_) => Vec::new(),
        Err(fault) => vec![Layer { name: named("api server"), holds: false, detail: fault.to_string() }],
    }
}

#[async_trait]
impl Provider for Routed {
    async fn observe(&self, cx: &CallContext, query: &Query) -> Result<Observation, Fault> {
        match query.workspace() {
            Some(workspace) => self.of(cx, workspace).await?.observe(cx, query).await,
            None if *query == Query::Platform => self.platform(cx).await,
            None => self.workspaces(cx).await,
        }
    }

    async fn rehearse(
        &self,
        cx: &CallContext,
        workspace: &Workspace,
        action: &Action,
        before: &ResourceState,
    ) -> Result<ResourceState, Fault> {
        self.of(cx, workspace).await?.rehearse(cx, workspace, action, before).await
    }

    async fn apply(&self, cx: &CallContext, step: &Authorized<Step>, key: &str) -> Result<Outcome, Fault> {
        self.of(cx, &step.get().workspace).await?.apply(cx, step, key).await
    }

    /// A key is known by one of them at most; who cannot be asked might be the one.
    async fn lookup(&self, cx: &CallContext, key: &str) -> Result<Option<Outcome>, Fault> {
        let mut unsure = None;
        for provider in std::iter::once(&self.local).chain(self.clusters.iter().map(|it| &it.provider)) {
            match provider.lookup(cx, key).await {
                Ok(Some(outcome)) => return Ok(Some(outcome)),
                Ok(None) => {}
                Err(fault) => unsure = Some(fault),
            }
        }
        unsure.map_or(Ok(None), Err)
    }
}

#[cfg(test)]
mod tests {
    use opsward_domain::fault::Code;
    use opsward_domain::plan::Blast;
    use opsward_domain::principal::{Kind, Principal, Role};
    use opsward_domain::seal::GateSeal;
    use opsward_ports::clock::ManualClock;
    use opsward_ports::provider::memory::{MemoryProvider, Trouble};

    use super::*;

    fn cx() -> CallContext {
        let principal = Principal {
            subject: opsward_domain::name::Subject::parse("tester").unwrap(),
            kind: Kind::Person,
            tenant: Tenant::parse("acme").unwrap(),
            tenant_role: Some(Role::Owner),
            roles: Default::default(),
        };
        CallContext::new(principal, opsward_domain::context::Origin::Cli)
    }

    fn workspace(name: &str) -> Workspace {
        Workspace::parse(name).unwrap()
    }

    async fn make(provider: &dyn Provider, name: &str) -> Result<Outcome, Fault> {
        make_as(provider, name, name).await
    }

    async fn make_as(provider: &dyn Provider, name: &str, key: &str) -> Result<Outcome, Fault> {
        let action =
            serde_json::from_value(serde_json::json!({"kind": "create_workspace", "memory_bytes_max": 1 << 30}))
                .unwrap();
        let blast = Blast { objects: 1, replicas_percent: 0 };
        let step =
            Step { index: 0, workspace: workspace(name), action, expects: None, diff: vec![], undo: None, blast };
        provider.apply(&cx(), &Authorized::new(&GateSeal::forge(), step), key).await
    }

    async fn has(provider: &dyn Provider, name: &str) -> bool {
        let seen = observe_resource(provider, &cx(), &workspace(name), &Resource::Workspace).await.unwrap();
        seen != ResourceState::Absent
    }

    fn twin() -> Arc<MemoryProvider> {
        Arc::new(MemoryProvider::new(Arc::new(ManualClock::at(1_000))))
    }

    #[tokio::test]
    async fn each_workspace_is_served_where_it_is() {
        let (local, prod, fresh) = (twin(), twin(), twin());
        make(local.as_ref(), "old").await.unwrap();
        let at = |name: &str| (Tenant::parse("acme").unwrap(), workspace(name));
        let cluster = |name: &str, provider: &Arc<MemoryProvider>, mapped: &[&str], takes_new| Cluster {
            name: name.into(),
            provider: provider.clone(),
            workspaces: mapped.iter().map(|name| at(name)).collect(),
            takes_new,
        };
        let clusters = vec![cluster("prod", &prod, &["shop"], false), cluster("new", &fresh, &[], true)];
        let routed = Routed::over(local.clone(), clusters);
        make(routed.as_ref(), "shop").await.unwrap();
        make(routed.as_ref(), "lab").await.unwrap();
        assert!(has(prod.as_ref(), "shop").await && has(fresh.as_ref(), "lab").await);
        assert!(!has(local.as_ref(), "lab").await && has(routed.as_ref(), "old").await);
        assert_eq!(
            make_as(routed.as_ref(), "old", "again").await.unwrap_err().code,
            Code::Conflict,
            "this machine has it"
        );
        for key in ["shop", "lab", "old"] {
            assert!(routed.lookup(&cx(), key).await.unwrap().is_some(), "{key}");
        }
        assert_eq!(routed.lookup(&cx(), "none").await.unwrap(), None);
        match routed.observe(&cx(), &Query::Workspaces).await.unwrap() {
            Observation::Workspaces(list) => {
                assert_eq!(list.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["old", "shop", "lab"]);
            }
            other => panic!("{other:?}"),
        }
        prod.inject(Trouble::Refuse(Fault::unavailable("away")));
        assert!(make(routed.as_ref(), "shop").await.is_err());
    }

    #[tokio::test]
    async fn without_clusters_nothing_is_in_between() {
        let local: Arc<dyn Provider> = twin();
        assert!(Arc::ptr_eq(&local, &Routed::over(local.clone(), Vec::new())));
    }
}
