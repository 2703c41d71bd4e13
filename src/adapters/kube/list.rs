//! What a cluster has beyond workloads: its objects, its events, the output of its containers. Bounded,
//! and without what may be a secret. All of it is untrusted text.

use opsward_domain::fault::Fault;
use opsward_domain::name::{Workload, Workspace};
use opsward_ports::provider::{Objects, Output, OutputLine, PlatformEvent};
use serde_json::{Value, json};

use crate::cluster::{Ask, Verb};
use crate::json::{items, number, quoted, text, time_ms};
use crate::kinds::{CONFIG_MAP, EVENT, Kind, LISTED, NODE, PERSISTENT_VOLUME, POD};
use crate::look::Look;
use crate::refusal::Why;
use crate::template;

/// Newest events that are shown.
const EVENTS_MAX: usize = 500;
/// Most bytes of one container's output.
const LOG_BYTES_MAX: usize = 256 << 10;
/// Replicas whose output is read.
const LOGS_MAX: usize = 8;
/// Most lines of each.
const LINES_MAX: u32 = 2_000;

impl Look<'_> {
    /// The objects of a kind as the cluster has them.
    pub(crate) async fn objects(&self, workspace: &Workspace, kind: &str) -> Result<Objects, Fault> {
        let kind = Kind::listed(kind).ok_or_else(|| {
            let known: Vec<&str> = LISTED.iter().map(|kind| kind.plural).collect();
            Fault::invalid(format!("{:?} is not a kind that can be looked at", quoted(kind)))
                .hint(format!("kinds are {}", known.join(", ")))
        })?;
        let place = self.place(workspace).await?;
        let listed = self.cluster.list(kind, Some(&place.namespace), None).await?;
        let (api, of) = (kind.api_version(), kind.kind);
        let whole = |mut object: Value| {
            // Elements of a list come without their kind.
            object["apiVersion"] = json!(api);
            object["kind"] = json!(of);
            without_noise(object, kind)
        };
        let own = listed.objects.into_iter().filter(|it| is_own(it, kind, &place.namespace));
        Ok(Objects { objects: own.map(whole).collect(), cut: listed.cut })
    }

    /// The newest events, newest last.
    pub(crate) async fn events(
        &self,
        workspace: &Workspace,
        workload: Option<&Workload>,
    ) -> Result<Vec<PlatformEvent>, Fault> {
        let place = self.place(workspace).await?;
        let listed = self.cluster.list(&EVENT, Some(&place.namespace), None).await?;
        let concerns = |event: &PlatformEvent| workload.is_none_or(|it| belongs(&event.name, it.as_str()));
        let mut events: Vec<PlatformEvent> = listed.objects.iter().map(event).filter(concerns).collect();
        events.sort_by_key(|event| event.at_ms);
        events.drain(..events.len().saturating_sub(EVENTS_MAX));
        Ok(events)
    }

    /// The newest output of a workload's main containers; of their earlier lives if `previous`.
    pub(crate) async fn output(
        &self,
        workspace: &Workspace,
        workload: &Workload,
        previous: bool,
        lines_max: u32,
    ) -> Result<Output, Fault> {
        let place = self.place(workspace).await?;
        let found = self.workload(&place, workload).await?;
        let found = found.ok_or_else(|| Fault::not_found(format!("there is no workload {workload} in {workspace}")))?;
        let container = template::main_name(found.template()).to_owned();
        let replicas = found.status(workload).replicas;
        let mut output = Output { lines: Vec::new(), cut: replicas.len() > LOGS_MAX };
        for replica in replicas.iter().take(LOGS_MAX) {
            let pod = replica.instance.as_deref().unwrap_or_default();
            let ask = Ask { subresource: Some("log"), ..Ask::new(Verb::Get, &POD, Some(&place.namespace), Some(pod)) }
                .with("container", container.as_str())
                .with("timestamps", "true")
                .with("tailLines", lines_max.clamp(1, LINES_MAX).to_string())
                .with("limitBytes", LOG_BYTES_MAX.to_string())
                .with("previous", previous.to_string());
            let (bytes, cut) = match self.cluster.bytes(&ask, LOG_BYTES_MAX).await {
                Ok(answer) => answer,
                // A container that has not started, or never ended, has no such output.
                Err(refusal) if matches!(refusal.why, Why::Invalid | Why::Missing) => continue,
                Err(refusal) => return Err(refusal.into()),
            };
            output.cut |= cut || bytes.len() >= LOG_BYTES_MAX;
            let text = String::from_utf8_lossy(&bytes);
            output.lines.extend(text.lines().map(|it| line(replica.index, it)));
        }
        Ok(output)
    }
}

fn line(replica: u32, raw: &str) -> OutputLine {
    let (at, rest) = raw.split_once(' ').unwrap_or((raw, ""));
    match at.parse::<jiff::Timestamp>() {
        Ok(at) => OutputLine { replica, at_ms: Some(at.as_millisecond()), text: rest.to_owned() },
        Err(_) => OutputLine { replica, at_ms: None, text: raw.to_owned() },
    }
}

/// True for a workload's own name and for what its controllers call after it.
fn belongs(name: &str, workload: &str) -> bool {
    name.strip_prefix(workload).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn event(event: &Value) -> PlatformEvent {
    let times =
        ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/firstTimestamp", "/metadata/creationTimestamp"];
    let counts = ["/series/count", "/count"];
    PlatformEvent {
        at_ms: times.iter().find_map(|at| time_ms(event, at)).unwrap_or(0),
        kind: quoted(text(event, "/involvedObject/kind")),
        name: text(event, "/involvedObject/name").to_owned(),
        reason: quoted(text(event, "/reason")),
        message: quoted(text(event, "/message")),
        count: counts.iter().find_map(|at| number(event, at)).unwrap_or(1),
        warning: text(event, "/type") == "Warning",
    }
}

/// Annotation in which `kubectl apply` keeps a second copy of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// True for what concerns one namespace: of what the whole cluster shares, other tenants' parts are not shown.
fn is_own(object: &Value, kind: &Kind, namespace: &str) -> bool {
    *kind != PERSISTENT_VOLUME || text(object, "/spec/claimRef/namespace") == namespace
}

/// Takes away what says nothing about the state, and the values of a ConfigMap, which may be secrets.
fn without_noise(mut object: Value, kind: &Kind) -> Value {
    if let Some(meta) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
        if let Some(annotations) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut).filter(|_| *kind == NODE) {
        // What other tenants run and mount there.
        for part in ["images", "volumesInUse", "volumesAttached"] {
            status.remove(part);
        }
    }
    if *kind == CONFIG_MAP {
        for part in ["data", "binaryData"] {
            let Some(values) = object.get_mut(part).and_then(Value::as_object_mut) else { continue };
            values.values_mut().for_each(|value| {
                *value = json!(format!("{} bytes", value.as_str().map_or(0, str::len)));
            });
        }
    }
    object
}

/// True if a list of conditions has `kind` with `status`.
pub(crate) fn has_condition(object: &Value, kind: &str, status: &str, reason: &str) -> bool {
    let is_it = |it: &Value| {
        text(it, "/type") == kind
            && text(it, "/status") == status
            && (reason.is_empty() || text(it, "/reason") == reason)
    };
    items(object, "/status/conditions").iter().any(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_lines_carry_their_time_and_odd_ones_stay_whole() {
        let good = line(1, "2026-01-01T00:00:01.5Z hello  world");
        assert_eq!((good.at_ms, good.text.as_str()), (Some(1_767_225_601_500), "hello  world"));
        assert_eq!(line(0, "no time here").text, "no time here");
        assert_eq!(line(0, "").text, "");
    }

    #[test]
    fn events_of_every_api_shape_have_a_time() {
        let new = json!({"eventTime": "2026-01-01T00:00:00.000001Z", "type": "Warning", "series": {"count": 7},
            "involvedObject": {"kind": "Pod", "name": "web-1"}, "message": "line\none"});
        let seen = event(&new);
        assert_eq!(
            (seen.at_ms, seen.count, seen.warning, seen.message.as_str()),
            (1_767_225_600_000, 7, true, "line one")
        );
        let old = json!({"lastTimestamp": "2026-01-01T00:00:00Z", "eventTime": null, "count": 3});
        assert_eq!((event(&old).at_ms, event(&old).count), (1_767_225_600_000, 3));
        assert!(belongs("web-7d9-x", "web") && belongs("web", "web") && !belongs("website", "web"));
    }

    #[test]
    fn what_the_cluster_shares_shows_nothing_of_other_tenants() {
        let volume = |namespace: &str| json!({"spec": {"claimRef": {"namespace": namespace}}});
        assert!(is_own(&volume("shop"), &PERSISTENT_VOLUME, "shop"));
        assert!(
            !is_own(&volume("other"), &PERSISTENT_VOLUME, "shop") && !is_own(&json!({}), &PERSISTENT_VOLUME, "shop")
        );
        let node = json!({"status": {"images": [{"names": ["secret-project"]}], "volumesInUse": ["v"], "capacity": {"cpu": "4"}}});
        assert_eq!(without_noise(node, &NODE), json!({"status": {"capacity": {"cpu": "4"}}}));
    }

    #[test]
    fn a_config_maps_values_stay_in_the_cluster() {
        let map = json!({"metadata": {"name": "a", "managedFields": [1], "annotations": {LAST_APPLIED: "{\"data\":\"pw\"}"}},
            "data": {"password": "hunter2"}});
        let shown = without_noise(map, &CONFIG_MAP).to_string();
        assert!(shown.contains("7 bytes") && !shown.contains("hunter2") && !shown.contains("pw\\\""), "{shown}");
        assert!(!shown.contains("managedFields"));
    }
}
