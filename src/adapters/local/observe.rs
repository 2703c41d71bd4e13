//! From wanted state and the shim's report to what people see. Never guesses: a workspace whose shim
//! cannot be asked is unavailable, not empty.

use opsward_domain::fault::Fault;
use opsward_domain::name::{Tenant, Volume, Workload, Workspace};
use opsward_domain::resource::{
    Replica, Resource, ResourceState, Revision, VolumeStatus, WorkloadStatus, WorkspaceStatus,
};
use opsward_ports::provider::{Observation, Query};

use crate::functions;
use crate::place::Place;
use crate::platform;
use crate::provider::Inner;
use crate::state::{State, Wanted};
use crate::vaults;
use crate::wire::Report;

impl Inner {
    pub(crate) async fn look(&self, tenant: &Tenant, query: &Query) -> Result<Observation, Fault> {
        Ok(match query {
            Query::Workspaces => {
                let own = self.places().into_iter().filter(|place| &place.tenant == tenant);
                Observation::Workspaces(own.map(|place| workspace(&place.state())).collect())
            }
            Query::Resource { workspace, resource } => {
                Observation::Resource(self.look_at(tenant, workspace, resource).await?)
            }
            Query::Workloads { workspace } => {
                let place = self.place(tenant, workspace)?;
                let report = place.link.report().await?;
                let state = place.state();
                let all = state.workloads.iter().map(|(name, it)| workload(&place, &state, name, it, &report));
                Observation::Workloads(all.collect::<Result<_, _>>()?)
            }
            Query::Volumes { workspace } => {
                let place = self.place(tenant, workspace)?;
                let report = place.link.report().await?;
                let state = place.state();
                let all = state.volumes.keys().filter_map(|name| volume(&place, &state, name, &report).transpose());
                Observation::Volumes(all.collect::<Result<_, _>>()?)
            }
            Query::Functions { workspace } => {
                let place = self.place(tenant, workspace)?;
                let state = place.state();
                let all = state.functions.iter().map(|(name, it)| functions::status(&place, &state, name, it));
                Observation::Functions(all.collect())
            }
            Query::Backups { workspace } => {
                let state = self.place(tenant, workspace)?.state();
                let all = state.backups.iter().map(|(name, it)| vaults::status(&state, name, it));
                Observation::Backups(all.collect())
            }
            Query::Objects { .. } | Query::Events { .. } | Query::Output { .. } => {
                return Err(Fault::invalid("one machine has no objects, events or output of its own to read in place")
                    .hint("what replicas say and what happens to them is in the logs"));
            }
            Query::Platform => {
                let root = self.options.root.clone();
                let facts = tokio::task::spawn_blocking(move || platform::facts(&root)).await;
                Observation::Platform(facts.map_err(|_| Fault::internal("the probe died"))??)
            }
        })
    }

    pub(crate) async fn look_at(
        &self,
        tenant: &Tenant,
        space: &Workspace,
        resource: &Resource,
    ) -> Result<ResourceState, Fault> {
        if *resource == Resource::Workspace {
            let place = self.place(tenant, space);
            return Ok(place.map_or(ResourceState::Absent, |place| ResourceState::Workspace(workspace(&place.state()))));
        }
        let place = self.place(tenant, space)?;
        let state = place.state();
        let absent = Ok(ResourceState::Absent);
        match resource {
            Resource::Workload(name) => match state.workloads.get(name) {
                Some(wanted) => {
                    let report = place.link.report().await?;
                    workload(&place, &state, name, wanted, &report).map(|it| ResourceState::Workload(Box::new(it)))
                }
                None => absent,
            },
            Resource::Volume(name) if state.volumes.contains_key(name) => {
                let report = place.link.report().await?;
                let found = volume(&place, &state, name, &report)?;
                Ok(found.map_or(ResourceState::Absent, ResourceState::Volume))
            }
            Resource::Function(name) => {
                let found = state.functions.get(name).map(|it| functions::status(&place, &state, name, it));
                Ok(found.map_or(ResourceState::Absent, ResourceState::Function))
            }
            Resource::Backup(name) => {
                let found = state.backups.get(name).map(|it| vaults::status(&state, name, it));
                Ok(found.map_or(ResourceState::Absent, ResourceState::Backup))
            }
            _ => absent,
        }
    }
}

fn workspace(state: &State) -> WorkspaceStatus {
    WorkspaceStatus {
        name: state.workspace.clone(),
        memory_bytes_max: state.memory_bytes_max,
        resource_version: state.version_of(state.version),
    }
}

pub(crate) fn workload(
    place: &Place,
    state: &State,
    name: &Workload,
    wanted: &Wanted,
    report: &Report,
) -> Result<WorkloadStatus, Fault> {
    let kept = wanted.revisions.iter().map(|kept| {
        let spec = place.spec(name, wanted.incarnation, kept.revision)?.as_ref().clone();
        Ok(Revision { revision: kept.revision, at_ms: kept.at_ms, spec })
    });
    let revisions = kept.collect::<Result<Vec<_>, Fault>>()?;
    let mut spec = place.spec(name, wanted.incarnation, wanted.revision)?.as_ref().clone();
    spec.replicas = wanted.replicas;
    let running = report.workloads.get(name).map(|running| running.replicas.as_slice()).unwrap_or_default();
    let own = running.iter().filter(|it| it.incarnation == wanted.incarnation);
    let mut replicas: Vec<Replica> = own.map(|it| it.replica.clone()).collect();
    replicas.sort_by_key(|replica| replica.index);
    Ok(WorkloadStatus {
        name: name.clone(),
        spec,
        revision: wanted.revision,
        revisions,
        resource_version: state.version_of(wanted.version),
        address: wanted.port.map(|port| format!("127.0.0.1:{port}")),
        replicas,
    })
}

fn volume(place: &Place, state: &State, name: &Volume, report: &Report) -> Result<Option<VolumeStatus>, Fault> {
    let Some(wanted) = state.volumes.get(name) else { return Ok(None) };
    let mut mounted_by = Vec::new();
    for (workload, it) in &state.workloads {
        if place.spec(workload, it.incarnation, it.revision)?.volumes.contains(name) {
            mounted_by.push(workload.clone());
        }
    }
    Ok(Some(VolumeStatus {
        name: name.clone(),
        size_bytes: wanted.size_bytes,
        used_bytes: report.volumes.get(name).copied().unwrap_or(0),
        mounted_by,
        resource_version: state.version_of(wanted.version),
    }))
}
