//! A provider over a double, with a brownfield namespace `shop` of tenant `acme`.

use std::sync::Arc;

use opsward_domain::action::Action;
use opsward_domain::context::CallContext;
use opsward_domain::event::Outcome;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Tenant, Workload, Workspace};
use opsward_domain::resource::{Resource, ResourceState, WorkloadStatus};
use opsward_kube::{Access, KubeProvider, Options};
use opsward_ports::clock::SystemClock;
use opsward_ports::provider::conformance::{action, apply, owner, step};
use opsward_ports::provider::{Provider, observe_resource};
use serde_json::{Value, json};

use crate::double::{Double, TOKEN};

pub(crate) struct Bench {
    pub(crate) double: Double,
    pub(crate) kube: KubeProvider,
    pub(crate) cx: CallContext,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn shop() -> Workspace {
    Workspace::parse("shop").unwrap()
}

/// What every test's provider is opened with.
pub(crate) fn options(dir: &std::path::Path, kubeconfig: &str) -> Options {
    let path = dir.join("kubeconfig");
    std::fs::write(&path, kubeconfig).unwrap();
    let mut options = Options::new(Access::Kubeconfig { path, context: None, allow_exec: false }, dir.join("kube"));
    options.look_ms = 10;
    options.settle_timeout_ms = 10_000;
    options.request_timeout_ms = 2_000;
    options.namespaces.insert((Tenant::parse("acme").unwrap(), shop()), "shop".into());
    options
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(set: impl FnOnce(&mut Options)) -> Self {
        let double = Double::start().await;
        double.put("namespaces", "", json!({ "metadata": { "name": "shop" } }));
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path(), &double.kubeconfig(TOKEN));
        set(&mut options);
        let kube = KubeProvider::open(options, Arc::new(SystemClock)).await.unwrap();
        Self { double, kube, cx: owner("acme"), dir }
    }

    /// A workload that somebody else deployed, settled.
    pub(crate) async fn deploy(&self, kind: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut object = json!({
            "metadata": { "name": name, "labels": { "app": name } },
            "spec": {
                "replicas": 2, "selector": { "matchLabels": { "app": name } },
                "template": {
                    "metadata": { "labels": { "app": name } },
                    "spec": { "containers": [
                        { "name": "main", "image": format!("registry.local/{name}:1.4.2"),
                          "env": [{ "name": "LEVEL", "value": "info" },
                                  { "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "s", "key": "p" } } }],
                          "resources": { "limits": { "memory": "64Mi" } } },
                        { "name": "sidecar", "image": "registry.local/proxy:1" }
                    ] }
                }
            }
        });
        if kind == "daemonsets" {
            object["spec"].as_object_mut().unwrap().remove("replicas");
        }
        edit(&mut object);
        self.double.put(kind, "shop", object);
        self.until(name, "be settled", |status| status.settled() && status.replicas.len() == 2).await;
    }

    pub(crate) async fn status(&self, name: &str) -> Option<WorkloadStatus> {
        let resource = Resource::Workload(Workload::parse(name).unwrap());
        match observe_resource(&self.kube, &self.cx, &shop(), &resource).await.unwrap() {
            ResourceState::Workload(status) => Some(*status),
            _ => None,
        }
    }

    /// Looks until a workload is as wanted.
    pub(crate) async fn until(
        &self,
        name: &str,
        what: &str,
        is_it: impl Fn(&WorkloadStatus) -> bool,
    ) -> WorkloadStatus {
        for _ in 0..1_000 {
            if let Some(status) = self.status(name).await.filter(|status| is_it(status)) {
                return status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("{name} did not come to {what}: {:?}", self.status(name).await);
    }

    pub(crate) fn action(&self, kind: &str, fields: Value) -> Action {
        action(kind, fields)
    }

    pub(crate) async fn run(&self, kind: &str, fields: Value, key: &str) -> Result<Outcome, Fault> {
        let step = step(&self.kube, &self.cx, &shop(), action(kind, fields)).await;
        apply(&self.kube, &self.cx, step, key).await
    }

    pub(crate) async fn rehearse(&self, kind: &str, fields: Value) -> Result<ResourceState, Fault> {
        self.rehearse_as(&self.cx, kind, fields).await
    }

    pub(crate) async fn rehearse_as(
        &self,
        cx: &CallContext,
        kind: &str,
        fields: Value,
    ) -> Result<ResourceState, Fault> {
        let action = action(kind, fields);
        let before = observe_resource(&self.kube, cx, &shop(), &action.resource()).await?;
        self.kube.rehearse(cx, &shop(), &action, &before).await
    }
}
