//! Looks at every workspace's objectives once a second and turns what fires into alerts. The rules are
//! the diagnosis's; here is only the clockwork. One tenant's trouble never stops another's watch.

use std::collections::BTreeMap;
use std::sync::Arc;

use opsward_domain::fault::Fault;
use opsward_domain::name::{Tenant, Workspace};
use opsward_domain::time::Window;
use opsward_ports::provider::{Observation, Query, observe_volumes, observe_workloads};

use crate::diagnosis::watch::{LOOK_MS, WatchInput, WatchState, evaluate};
use crate::facade::Engine;
use crate::investigate::request_series;
use crate::parts::system_context;

const EVERY_MS: u64 = 1_000;

/// Runs until the process ends, or until alerts cannot be recorded any more.
pub async fn run(engine: Arc<Engine>) {
    let mut states: BTreeMap<(Tenant, Workspace), WatchState> = BTreeMap::new();
    while engine.read_only().is_none() {
        for tenant in engine.setup.people.tenants() {
            if let Err(fault) = look(&engine, &tenant, &mut states).await {
                tracing::warn!(%tenant, fault = %fault, "objectives could not be looked at");
            }
        }
        engine.parts.clock.sleep_ms(EVERY_MS).await;
    }
}

async fn look(
    engine: &Arc<Engine>,
    tenant: &Tenant,
    states: &mut BTreeMap<(Tenant, Workspace), WatchState>,
) -> Result<(), Fault> {
    let cx = system_context(tenant)?;
    let Observation::Workspaces(workspaces) = engine.parts.provider.observe(&cx, &Query::Workspaces).await? else {
        return Err(Fault::internal("the provider answered another question"));
    };
    states.retain(|(owner, name), _| owner != tenant || workspaces.iter().any(|status| status.name == *name));
    for status in workspaces {
        let key = (tenant.clone(), status.name.clone());
        let state = states.entry(key).or_insert_with(|| resumed(engine, tenant, &status.name));
        if let Err(fault) = look_at(engine, &cx, &status.name, state).await {
            tracing::warn!(%tenant, workspace = %status.name, fault = %fault, "objectives could not be looked at");
        }
    }
    Ok(())
}

/// Alerts of ours in open incidents go on firing across a restart; they are not raised again.
fn resumed(engine: &Engine, tenant: &Tenant, workspace: &Workspace) -> WatchState {
    let mut state = WatchState::default();
    for incident in engine.views.open_incidents(tenant, workspace) {
        let firing = incident.measured.difference(&incident.cleared);
        firing.for_each(|fingerprint| state.resume(fingerprint, incident.opened_at_ms));
    }
    state
}

async fn look_at(
    engine: &Arc<Engine>,
    cx: &opsward_domain::context::CallContext,
    workspace: &Workspace,
    state: &mut WatchState,
) -> Result<(), Fault> {
    let now_ms = engine.parts.clock.now_ms();
    let window = Window::before(now_ms + 1, LOOK_MS);
    let provider = engine.parts.provider.as_ref();
    let workloads = observe_workloads(provider, cx, workspace).await?;
    let volumes = observe_volumes(provider, cx, workspace).await?;
    let mut series = BTreeMap::new();
    for status in workloads.iter().filter(|status| status.spec.objective.is_some()) {
        let found = request_series(engine.parts.series.as_ref(), cx, workspace, &status.name, window).await?;
        series.insert(status.name.clone(), found);
    }
    let events = engine.lifecycles.list(cx.tenant(), workspace, window);
    let input =
        WatchInput { workspace, now_ms, workloads: &workloads, volumes: &volumes, series: &series, events: &events };
    let seen = evaluate(&input, state);
    for alert in seen.raised {
        engine.raise(cx, alert).await?;
    }
    for fingerprint in seen.cleared {
        engine.clear(cx, workspace, &fingerprint).await?;
    }
    Ok(())
}
