//! Pod templates: what a workload is asked to be, read from a template and written into one. Edits touch the
//! main container only and leave everything else as it stands.

use std::collections::BTreeMap;

use opsward_domain::action::SetEnvironment;
use opsward_domain::fault::Fault;
use opsward_domain::name::{Volume, Workload};
use opsward_domain::spec::{Health, Limits, Objective, Restart, WorkloadSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::json::{annotate, annotation, child, items, label, number, text};
use crate::quantity::{bytes, quantity};

/// Annotation with what a template cannot say otherwise.
const DECLARED: &str = "opsward.dev/declared";
/// Annotation that names the main container of a pod with several.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// Annotation whose change restarts every pod, as `kubectl rollout restart` sets it.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Port that workloads deployed by opsward listen on.
pub(crate) const PORT: u16 = 8080;
/// Where volumes deployed by opsward are mounted.
const VOLUMES: &str = "/volumes";
/// Open files that mean "as the cluster has it".
const OPEN_FILES: u64 = 1024;
/// Most characters of a version label.
const VERSION_CHARS_MAX: usize = 64;

/// What a pod template has no field for.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Declared {
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics_path: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<Workload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    objective: Option<Objective>,
}

/// Place of the main container.
fn main_index(template: &Value) -> usize {
    let wanted = annotation(template, DEFAULT_CONTAINER);
    let containers = items(template, "/spec/containers");
    containers.iter().position(|it| wanted == Some(text(it, "/name"))).unwrap_or(0)
}

/// Name of the main container.
pub(crate) fn main_name(template: &Value) -> &str {
    items(template, "/spec/containers").get(main_index(template)).map(|it| text(it, "/name")).unwrap_or_default()
}

fn main_container(template: &mut Value) -> Result<&mut Value, Fault> {
    let index = main_index(template);
    let found = template.pointer_mut(&format!("/spec/containers/{index}"));
    found.filter(|it| it.is_object()).ok_or_else(|| Fault::invalid("the pod template has no container"))
}

/// What a template asks for, without the number of replicas. `port` is whether a Service leads to it.
pub(crate) fn read(template: &Value, port: bool) -> WorkloadSpec {
    let nothing = Value::Null;
    let main = items(template, "/spec/containers").get(main_index(template)).unwrap_or(&nothing);
    let declared = annotation(template, DECLARED).and_then(|it| serde_json::from_str::<Declared>(it).ok());
    let declared = declared.unwrap_or_default();
    let words = |pointer| items(main, pointer).iter().filter_map(Value::as_str).map(str::to_owned);
    let plain = |it: &Value| Some((it.get("name")?.as_str()?.to_owned(), it.get("value")?.as_str()?.to_owned()));
    let image = text(main, "/image").to_owned();
    let claims = items(template, "/spec/volumes").iter().map(|it| text(it, "/persistentVolumeClaim/claimName"));
    WorkloadSpec {
        version: if declared.version.is_empty() { version(template, &image) } else { declared.version },
        command: words("/command").chain(words("/args")).collect(),
        env: items(main, "/env").iter().filter_map(plain).collect(),
        files: BTreeMap::new(),
        replicas: 0,
        limits: Limits {
            memory_bytes: bytes(text(main, "/resources/limits/memory")).unwrap_or(0),
            open_files: OPEN_FILES,
        },
        port,
        health: health(main),
        metrics_path: declared.metrics_path,
        volumes: claims.filter_map(|name| Volume::parse(name).ok()).collect(),
        depends_on: declared.depends_on,
        restart: Restart::Always,
        objective: declared.objective,
        image: Some(image),
    }
}

fn health(main: &Value) -> Option<Health> {
    let probe = main.get("readinessProbe")?;
    let seconds = |pointer, default: u64| number(probe, pointer).unwrap_or(default).saturating_mul(1_000);
    let path = text(probe, "/httpGet/path");
    Some(Health {
        http_path: (!path.is_empty()).then(|| path.to_owned()),
        interval_ms: seconds("/periodSeconds", 10),
        timeout_ms: seconds("/timeoutSeconds", 1),
        failures: number(probe, "/failureThreshold").and_then(|it| u32::try_from(it).ok()).unwrap_or(3),
    })
}

/// The release by its recommended label, else by the image's tag or digest.
fn version(template: &Value, image: &str) -> String {
    let tag = match (image.split_once('@'), image.rsplit_once(':')) {
        (Some((_, digest)), _) => digest.get(..19).unwrap_or(digest),
        (None, Some((_, tag))) if !tag.contains('/') => tag,
        _ => "latest",
    };
    let version = label(template, "app.kubernetes.io/version").unwrap_or(tag);
    version.chars().filter(|c| (' '..='~').contains(c)).take(VERSION_CHARS_MAX).collect()
}

/// An empty template for a workload that opsward deploys.
pub(crate) fn skeleton(name: &Workload, labels: &Value) -> Value {
    json!({
        "metadata": { "labels": labels },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{
                "name": name.as_str(),
                "securityContext": { "allowPrivilegeEscalation": false },
            }],
        },
    })
}

/// Writes `spec` into a template: what it says about the main container and volumes, nothing else.
pub(crate) fn write(template: &mut Value, spec: &WorkloadSpec) -> Result<(), Fault> {
    let image = spec.image.as_deref().filter(|image| !image.is_empty()).ok_or_else(|| {
        Fault::invalid("a workload of a Kubernetes workspace needs an image").hint("add \"image\" to the spec")
    })?;
    if !spec.files.is_empty() {
        return Err(Fault::invalid("a workload of a Kubernetes workspace has no files of its own")
            .hint("build them into the image, or put them on a volume"));
    }
    if spec.restart != Restart::Always {
        return Err(Fault::invalid("a Deployment always starts its containers again").hint("set restart to always"));
    }
    check_limits(&spec.limits)?;
    let before = read(template, spec.port);
    let env = spec.env.iter().map(|(key, value)| Ok((key.clone(), expand(value)?)));
    let env = env.collect::<Result<BTreeMap<_, _>, Fault>>()?;
    let command = spec.command.iter().map(|part| expand(part)).collect::<Result<Vec<_>, _>>()?;
    let main = main_container(template)?;
    main["image"] = json!(image);
    if command != before.command {
        main["command"] = json!(command);
        if let Some(main) = main.as_object_mut() {
            main.remove("args");
        }
    }
    let gone = before.env.keys().filter(|key| !env.contains_key(*key)).cloned().collect::<Vec<_>>();
    environment(main, env.iter(), gone.iter());
    memory(main, spec.limits.memory_bytes);
    if spec.port && items(main, "/ports").is_empty() {
        main["ports"] = json!([{ "name": "http", "containerPort": PORT }]);
    }
    if let Some(health) = spec.health.as_ref().filter(|_| spec.health != before.health) {
        main["readinessProbe"] = probe(health);
    }
    volumes(template, &spec.volumes)?;
    let declared = Declared {
        version: spec.version.clone(),
        metrics_path: spec.metrics_path.clone(),
        depends_on: spec.depends_on.clone(),
        objective: spec.objective.clone(),
    };
    let declared = serde_json::to_string(&declared).map_err(|error| Fault::internal(error.to_string()))?;
    annotate(template, DECLARED, &declared);
    Ok(())
}

fn probe(health: &Health) -> Value {
    let seconds = |ms: u64| ms.div_ceil(1_000).max(1);
    let mut probe = json!({
        "periodSeconds": seconds(health.interval_ms),
        "timeoutSeconds": seconds(health.timeout_ms),
        "failureThreshold": health.failures,
    });
    match &health.http_path {
        Some(path) => probe["httpGet"] = json!({ "path": path, "port": PORT }),
        None => probe["tcpSocket"] = json!({ "port": PORT }),
    }
    probe
}

/// Mounts exactly `wanted` of the claims that opsward mounts; those mounted elsewhere stay.
fn volumes(template: &mut Value, wanted: &[Volume]) -> Result<(), Fault> {
    let claim = |it: &Value| text(it, "/persistentVolumeClaim/claimName").to_owned();
    let is_ours = |mount: &Value| text(mount, "/mountPath").starts_with(VOLUMES);
    let main = items(template, "/spec/containers").get(main_index(template)).cloned().unwrap_or_default();
    let ours: Vec<&str> =
        items(&main, "/volumeMounts").iter().filter(|it| is_ours(it)).map(|it| text(it, "/name")).collect();
    let old = items(template, "/spec/volumes").to_vec();
    let stays = |it: &&Value| {
        let claim = claim(it);
        !ours.contains(&text(it, "/name")) || wanted.iter().any(|volume| volume.as_str() == claim)
    };
    let mut kept: Vec<Value> = old.iter().filter(stays).cloned().collect();
    let name_of = |it: &Value| text(it, "/name").to_owned();
    let names: Vec<String> = old.iter().filter(|it| !stays(it)).map(name_of).collect();
    let mounts = items(&main, "/volumeMounts").iter().filter(|it| !names.contains(&name_of(it)));
    let mut mounts: Vec<Value> = mounts.cloned().collect();
    for volume in wanted {
        if !kept.iter().any(|it| claim(it) == volume.as_str()) {
            kept.push(json!({ "name": volume, "persistentVolumeClaim": { "claimName": volume } }));
            mounts.push(json!({ "name": volume, "mountPath": format!("{VOLUMES}/{volume}") }));
        }
    }
    if kept != old {
        template["spec"]["volumes"] = Value::Array(kept);
        main_container(template)?["volumeMounts"] = Value::Array(mounts);
    }
    Ok(())
}

/// Fills in `${port}`, `${addr:NAME}` and `${volume:NAME}`.
fn expand(text: &str) -> Result<String, Fault> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else { break };
        out.push_str(before);
        match name.split_once(':').unwrap_or((name, "")) {
            ("port", "") => out.push_str(&PORT.to_string()),
            ("addr", workload) => out.push_str(&format!("{}:{PORT}", Workload::parse(workload)?)),
            ("volume", volume) => out.push_str(&format!("{VOLUMES}/{}", Volume::parse(volume)?)),
            ("files", "") => return Err(Fault::invalid("${files} is not there in a Kubernetes workspace")),
            _ => {
                out.push_str("${");
                out.push_str(name);
                out.push('}');
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn environment<'a>(
    main: &mut Value,
    set: impl Iterator<Item = (&'a String, &'a String)>,
    unset: impl Iterator<Item = &'a String>,
) {
    let mut env = items(main, "/env").to_vec();
    for key in unset {
        env.retain(|it| text(it, "/name") != key.as_str());
    }
    for (key, value) in set {
        let wanted = json!({ "name": key, "value": value });
        match env.iter_mut().find(|it| text(it, "/name") == key.as_str()) {
            Some(it) => *it = wanted,
            None => env.push(wanted),
        }
    }
    if env.is_empty() {
        main.as_object_mut().map(|main| main.remove("env"));
    } else {
        main["env"] = Value::Array(env);
    }
}

/// Sets and unsets variables of the main container.
pub(crate) fn set_environment(template: &mut Value, change: &SetEnvironment) -> Result<(), Fault> {
    environment(main_container(template)?, change.set.iter(), change.unset.iter());
    Ok(())
}

/// Sets the image of the main container.
pub(crate) fn set_image(template: &mut Value, image: &str) -> Result<(), Fault> {
    main_container(template)?["image"] = json!(image);
    Ok(())
}

fn check_limits(limits: &Limits) -> Result<(), Fault> {
    if limits.open_files != OPEN_FILES {
        return Err(Fault::invalid("a cluster has no limit of open files for one container")
            .hint(format!("leave open_files out, or at {OPEN_FILES}")));
    }
    Ok(())
}

/// Sets the limits of the main container.
pub(crate) fn set_limits(template: &mut Value, limits: &Limits) -> Result<(), Fault> {
    check_limits(limits)?;
    memory(main_container(template)?, limits.memory_bytes);
    Ok(())
}

/// A memory limit; what is asked for is never above it.
fn memory(main: &mut Value, limit: u64) {
    let asked = bytes(text(main, "/resources/requests/memory"));
    let resources = child(main, "resources");
    child(resources, "limits")["memory"] = json!(quantity(limit));
    if asked.is_some_and(|asked| asked > limit) {
        child(resources, "requests")["memory"] = json!(quantity(limit));
    }
}

/// Makes every pod new.
pub(crate) fn restart(template: &mut Value, now: &str) {
    annotate(template, RESTARTED_AT, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brownfield() -> Value {
        json!({
            "metadata": { "annotations": { DEFAULT_CONTAINER: "app" }, "labels": { "app": "web" } },
            "spec": {
                "containers": [
                    { "name": "proxy", "image": "proxy:1" },
                    {
                        "name": "app", "image": "registry.local:5000/shop/web:1.4.2",
                        "command": ["/web"], "args": ["--port", "80"],
                        "env": [
                            { "name": "spring.profile", "value": "prod" },
                            { "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "s", "key": "p" } } }
                        ],
                        "resources": { "limits": { "memory": "1Gi", "cpu": "1" }, "requests": { "memory": "512Mi" } },
                        "volumeMounts": [{ "name": "d", "mountPath": "/data" }]
                    }
                ],
                "volumes": [{ "name": "d", "persistentVolumeClaim": { "claimName": "data" } }]
            }
        })
    }

    #[test]
    fn reads_the_main_container_and_never_a_secret() {
        let spec = read(&brownfield(), true);
        assert_eq!((spec.version.as_str(), spec.limits.memory_bytes), ("1.4.2", 1 << 30));
        assert_eq!(spec.image.as_deref(), Some("registry.local:5000/shop/web:1.4.2"));
        assert_eq!(spec.command, ["/web", "--port", "80"]);
        assert_eq!(spec.env.keys().collect::<Vec<_>>(), ["spring.profile"]);
        assert_eq!(spec.volumes, [Volume::parse("data").unwrap()]);
        for (image, wanted) in [
            ("a.b:5000/web", "latest"),
            ("web@sha256:0123456789abcdef0123456789abcdef", "sha256:0123456789ab"),
            ("web", "latest"),
        ] {
            assert_eq!(version(&json!({}), image), wanted);
        }
    }

    #[test]
    fn edits_leave_everything_else_alone() {
        let mut template = brownfield();
        let mut spec = read(&template, true);
        spec.env.insert("LEVEL".into(), "debug".into());
        spec.image = Some("web:2".into());
        spec.limits.memory_bytes = 256 << 20;
        spec.volumes.push(Volume::parse("more").unwrap());
        write(&mut template, &spec).unwrap();
        let app = &template["spec"]["containers"][1];
        assert_eq!(template["spec"]["containers"][0], json!({ "name": "proxy", "image": "proxy:1" }));
        assert_eq!(
            (text(app, "/image"), &app["command"], &app["args"]),
            ("web:2", &json!(["/web"]), &json!(["--port", "80"]))
        );
        assert_eq!(items(app, "/env").len(), 3);
        assert!(app["env"][1].get("valueFrom").is_some());
        let cpu_stays = json!({ "limits": { "memory": "256Mi", "cpu": "1" }, "requests": { "memory": "256Mi" } });
        assert_eq!(app["resources"], cpu_stays);
        assert_eq!(items(&template, "/spec/volumes").len(), 2);
        assert_eq!(app["volumeMounts"][1], json!({ "name": "more", "mountPath": "/volumes/more" }));
        let after = read(&template, true);
        assert_eq!(after.env, spec.env);
        spec.volumes.pop();
        write(&mut template, &spec).unwrap();
        assert_eq!(items(&template, "/spec/volumes").len(), 1, "only what opsward mounted goes");
    }

    #[test]
    fn what_a_cluster_cannot_do_is_refused_with_a_way_out() {
        let good = read(&brownfield(), true);
        let bad = [
            WorkloadSpec { image: None, ..good.clone() },
            WorkloadSpec { files: [("a".to_owned(), "YQ==".to_owned())].into(), ..good.clone() },
            WorkloadSpec { restart: Restart::Never, ..good.clone() },
            WorkloadSpec { limits: Limits { memory_bytes: 1 << 30, open_files: 9 }, ..good.clone() },
            WorkloadSpec { command: vec!["${addr:../x}".into()], ..good.clone() },
            WorkloadSpec { command: vec!["${files}/a".into()], ..good },
        ];
        for spec in bad {
            let mut template = brownfield();
            assert!(write(&mut template, &spec).is_err(), "{spec:?}");
            assert_eq!(template, brownfield(), "nothing is half written");
        }
        assert_eq!(
            expand("a ${port} ${addr:db} ${volume:d} ${HOME} ${").unwrap(),
            "a 8080 db:8080 /volumes/d ${HOME} ${"
        );
    }
}
