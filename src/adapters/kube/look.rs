//! Looking: the port's questions answered from the API. Never changes anything, and never takes a
//! namespace of another tenant for one of the asker's.

use std::collections::BTreeMap;
use std::sync::Arc;

use opsward_domain::fault::Fault;
use opsward_domain::name::{Tenant, Volume, Workload, Workspace};
use opsward_domain::resource::{
    Resource, ResourceState, ResourceVersion, VolumeStatus, WorkloadStatus, WorkspaceStatus,
};
use opsward_ports::provider::{Layer, Observation, PlatformFacts, Query};
use serde_json::Value;

use crate::change::Live;
use crate::cluster::{Cluster, Listed};
use crate::json::{items, name, selector, text, uid};
use crate::kinds::{CLAIM, NAMESPACE, POD, QUOTA, SERVICE};
use crate::options::Options;
use crate::place::{self, Place, TENANT, no_workspace};
use crate::quantity::bytes;
use crate::refusal::Refusal;
use crate::rights;
use crate::workload::{Flavour, Found};

/// One tenant's look at a cluster.
pub(crate) struct Look<'a> {
    pub(crate) cluster: Cluster,
    pub(crate) options: &'a Options,
    pub(crate) tenant: &'a Tenant,
}

impl Look<'_> {
    pub(crate) async fn answer(&self, query: &Query) -> Result<Observation, Fault> {
        Ok(match query {
            Query::Workspaces => Observation::Workspaces(self.workspaces().await?),
            Query::Resource { workspace, resource } => {
                Observation::Resource(self.resource(workspace, resource).await?.0)
            }
            Query::Workloads { workspace } => Observation::Workloads(self.workloads(workspace).await?),
            Query::Volumes { workspace } => Observation::Volumes(self.volumes(workspace).await?),
            Query::Functions { workspace } => {
                self.place(workspace).await?;
                Observation::Functions(Vec::new())
            }
            Query::Backups { workspace } => {
                self.place(workspace).await?;
                Observation::Backups(Vec::new())
            }
            Query::Objects { workspace, kind } => Observation::Objects(self.objects(workspace, kind).await?),
            Query::Events { workspace, workload } => {
                Observation::Events(self.events(workspace, workload.as_ref()).await?)
            }
            Query::Output { workspace, workload, previous, lines_max } => {
                Observation::Output(self.output(workspace, workload, *previous, *lines_max).await?)
            }
            Query::Platform => Observation::Platform(self.platform().await?),
        })
    }

    /// The namespace of a workspace that exists and is the tenant's.
    pub(crate) async fn place(&self, workspace: &Workspace) -> Result<Place, Fault> {
        let place = place::place(self.options, self.tenant, workspace);
        if place.mapped {
            return Ok(place);
        }
        match self.namespace(&place, workspace).await? {
            Some(_) => Ok(place),
            None => Err(no_workspace(workspace)),
        }
    }

    /// The namespace object of a place, if it is the tenant's.
    async fn namespace(&self, place: &Place, workspace: &Workspace) -> Result<Option<Value>, Fault> {
        if !place.mapped && !self.options.create_namespaces {
            return Ok(None);
        }
        let found = self.cluster.get(&NAMESPACE, None, &place.namespace).await?;
        let is_ours = |it: &Value| place.mapped || place::workspace_of(it, self.tenant).as_ref() == Some(workspace);
        Ok(found.filter(is_ours))
    }

    /// Mapped namespaces are told from the configuration: they are the tenant's whether or not the cluster
    /// answers now.
    async fn workspaces(&self) -> Result<Vec<WorkspaceStatus>, Fault> {
        let own = self.options.namespaces.iter().filter(|((tenant, _), _)| tenant == self.tenant);
        let mapped = own.map(|((_, name), _)| WorkspaceStatus {
            name: name.clone(),
            memory_bytes_max: 0,
            resource_version: ResourceVersion(String::new()),
        });
        let mut all: Vec<WorkspaceStatus> = mapped.collect();
        if self.options.create_namespaces {
            let select = format!("{TENANT}={}", self.tenant);
            let made = match self.cluster.list(&NAMESPACE, None, Some(&select)).await {
                Err(refusal) if !all.is_empty() => {
                    tracing::warn!(fault = %Fault::from(refusal), "the cluster's own workspaces cannot be listed");
                    Listed::default()
                }
                made => made?,
            };
            for namespace in made.objects {
                let Some(name) = place::workspace_of(&namespace, self.tenant) else { continue };
                all.push(place::status(&name, &namespace, &[]));
            }
        }
        Ok(all)
    }

    /// The state of one resource with the objects it was read from.
    pub(crate) async fn resource(
        &self,
        workspace: &Workspace,
        resource: &Resource,
    ) -> Result<(ResourceState, Live), Fault> {
        let nothing = (ResourceState::Absent, Live::Nothing);
        if *resource == Resource::Workspace {
            let place = place::place(self.options, self.tenant, workspace);
            let Some(namespace) = self.namespace(&place, workspace).await? else { return Ok(nothing) };
            let (quotas, _) = self.cluster.list_if_may(&QUOTA, Some(&place.namespace), None).await?;
            let status = place::status(workspace, &namespace, &quotas);
            return Ok((ResourceState::Workspace(status), Live::Object(namespace)));
        }
        let place = self.place(workspace).await?;
        match resource {
            Resource::Workload(name) => match self.workload(&place, name).await? {
                Some(found) => {
                    let state = ResourceState::Workload(Box::new(found.status(name)));
                    Ok((state, Live::Workload(Box::new(found))))
                }
                None => Ok(nothing),
            },
            Resource::Volume(name) => {
                let found = self.cluster.get(&CLAIM, Some(&place.namespace), name.as_str()).await?;
                let Some(claim) = found else { return Ok(nothing) };
                let mounts = self.mounts(&place).await?;
                let Some(status) = volume(&claim, &mounts) else { return Ok(nothing) };
                Ok((ResourceState::Volume(status), Live::Object(claim)))
            }
            _ => Ok(nothing),
        }
    }

    /// One workload with what belongs to it.
    pub(crate) async fn workload(&self, place: &Place, workload: &Workload) -> Result<Option<Found>, Fault> {
        let namespace = Some(place.namespace.as_str());
        for flavour in Flavour::ALL {
            let Some(object) = self.cluster.get(flavour.kind(), namespace, workload.as_str()).await? else { continue };
            let labels = object.pointer("/spec/selector/matchLabels").and_then(selector);
            let select = labels.as_deref();
            let (pods, kept, services) = futures::join!(
                self.cluster.list(&POD, namespace, select),
                self.cluster.list_if_may(flavour.keeps(), namespace, select),
                self.cluster.list_if_may(&SERVICE, namespace, None),
            );
            return Ok(Some(Found {
                flavour,
                object,
                kept: Arc::new(kept?.0),
                pods: Arc::new(pods?.objects),
                services: Arc::new(services?.0),
            }));
        }
        Ok(None)
    }

    async fn workloads(&self, workspace: &Workspace) -> Result<Vec<WorkloadStatus>, Fault> {
        let place = self.place(workspace).await?;
        let namespace = Some(place.namespace.as_str());
        let (pods, services, deployments, stateful, daemons, sets, revisions) = futures::join!(
            self.cluster.list(&POD, namespace, None),
            self.cluster.list_if_may(&SERVICE, namespace, None),
            self.cluster.list(Flavour::Deployment.kind(), namespace, None),
            self.cluster.list_if_may(Flavour::StatefulSet.kind(), namespace, None),
            self.cluster.list_if_may(Flavour::DaemonSet.kind(), namespace, None),
            self.cluster.list_if_may(Flavour::Deployment.keeps(), namespace, None),
            self.cluster.list_if_may(Flavour::StatefulSet.keeps(), namespace, None),
        );
        let (pods, services) = (Arc::new(pods?.objects), Arc::new(services?.0));
        let (sets, revisions) = (Arc::new(sets?.0), Arc::new(revisions?.0));
        let all = [
            (Flavour::Deployment, deployments?.objects, sets),
            (Flavour::StatefulSet, stateful?.0, revisions.clone()),
            (Flavour::DaemonSet, daemons?.0, revisions),
        ];
        let mut found = BTreeMap::new();
        for (flavour, objects, kept) in all {
            for object in objects {
                // A name with a dot cannot be a workload's; the first kind of a name is the one that counts.
                let Ok(workload) = Workload::parse(name(&object)) else { continue };
                let (kept, pods, services) = (kept.clone(), pods.clone(), services.clone());
                let one = Found { flavour, object, kept, pods, services };
                found.entry(workload.clone()).or_insert_with(|| one.status(&workload));
            }
        }
        Ok(found.into_values().collect())
    }

    async fn volumes(&self, workspace: &Workspace) -> Result<Vec<VolumeStatus>, Fault> {
        let place = self.place(workspace).await?;
        let claims = self.cluster.list(&CLAIM, Some(&place.namespace), None).await?.objects;
        let mounts = self.mounts(&place).await?;
        Ok(claims.iter().filter_map(|claim| volume(claim, &mounts)).collect())
    }

    /// Which workload mounts which claim.
    async fn mounts(&self, place: &Place) -> Result<Vec<(Workload, String)>, Refusal> {
        let mut mounts = Vec::new();
        for flavour in Flavour::ALL {
            let (objects, _) = self.cluster.list_if_may(flavour.kind(), Some(&place.namespace), None).await?;
            for object in &objects {
                let Ok(workload) = Workload::parse(name(object)) else { continue };
                let volumes = items(object, "/spec/template/spec/volumes").iter();
                let claims = volumes.map(|it| text(it, "/persistentVolumeClaim/claimName")).filter(|it| !it.is_empty());
                mounts.extend(claims.map(|claim| (workload.clone(), claim.to_owned())));
                // Claims that a StatefulSet makes for its pods are called after both.
                let made = items(object, "/spec/volumeClaimTemplates").iter().map(name);
                mounts.extend(made.map(|it| (workload.clone(), format!("{it}-{workload}-"))));
            }
        }
        Ok(mounts)
    }

    async fn platform(&self) -> Result<PlatformFacts, Fault> {
        Ok(PlatformFacts {
            backend: "kubernetes".into(),
            disk_free_bytes: 0,
            disk_total_bytes: 0,
            isolation: self.layers().await,
        })
    }

    /// Whether the cluster answers, in whose name, and what may be done in each namespace of the tenant.
    async fn layers(&self) -> Vec<Layer> {
        let answers = match self.cluster.version().await {
            Ok(version) => Ok(format!("Kubernetes {version} answers and takes the credentials")),
            Err(refusal) => Err(Fault::from(refusal)),
        };
        let away = answers.is_err();
        let mut layers = vec![Layer {
            name: "api server".into(),
            holds: !away,
            detail: answers.unwrap_or_else(|fault| format!("{fault}. {}", fault.hint)),
        }];
        if away {
            return layers;
        }
        layers.push(rights::impersonation(&self.cluster).await);
        let own = self.options.namespaces.iter().filter(|((tenant, _), _)| tenant == self.tenant);
        for ((_, workspace), namespace) in own {
            layers.push(rights::namespace(&self.cluster, workspace, namespace).await);
        }
        layers
    }
}

fn volume(claim: &Value, mounts: &[(Workload, String)]) -> Option<VolumeStatus> {
    let of = name(claim);
    let volume = Volume::parse(of).ok()?;
    let size_bytes = bytes(text(claim, "/spec/resources/requests/storage")).unwrap_or(0);
    let is_it = |claim: &str| {
        let ordinal = of.strip_prefix(claim).filter(|_| claim.ends_with('-'));
        claim == of || ordinal.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut mounted_by: Vec<Workload> =
        mounts.iter().filter(|(_, claim)| is_it(claim)).map(|(workload, _)| workload.clone()).collect();
    mounted_by.dedup();
    Some(VolumeStatus { name: volume, size_bytes, used_bytes: 0, mounted_by, resource_version: claim_version(claim) })
}

/// A claim has no number of its own that counts its wishes, so the wish itself is the version.
pub(crate) fn claim_version(claim: &Value) -> ResourceVersion {
    ResourceVersion(format!("{}.{}", uid(claim), text(claim, "/spec/resources/requests/storage")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_is_mounted_by_who_names_it_or_makes_it() {
        let claim = |name: &str| json!({"metadata": {"name": name, "uid": "u"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}});
        let db = Workload::parse("db").unwrap();
        let mounts = [(db.clone(), "data".to_owned()), (db.clone(), "disk-db-".to_owned())];
        for (name, wanted) in
            [("data", 1), ("disk-db-0", 1), ("disk-db-12", 1), ("disk-db-x", 0), ("disk-db-", 0), ("data2", 0)]
        {
            let status = volume(&claim(name), &mounts);
            assert_eq!(status.map_or(0, |it| it.mounted_by.len()), wanted, "{name}");
        }
        assert_eq!(volume(&claim("data"), &mounts).unwrap().resource_version.0, "u.1Gi");
    }
}
