//! The doors: paths to kinds, who asks, what goes wrong, and then the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use serde_json::{Value, json};

use super::kinds::{KINDS, Kind};
use super::status::{No, answer};
use super::store::{Store, Writing};
use super::{Trouble, World, lists, lock, patch, text};

/// Most bytes of a request.
const BODY_BYTES_MAX: usize = 3 << 20;

/// A request that names a kind.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) kind: &'static Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) part: String,
    query: BTreeMap<String, String>,
    content: String,
}

impl Request {
    pub(crate) fn query(&self, key: &str) -> &str {
        self.query.get(key).map(String::as_str).unwrap_or_default()
    }

    fn verb(&self) -> &'static str {
        match (self.method.as_str(), self.name.is_empty(), self.query("watch")) {
            ("GET", true, "true" | "1") => "watch",
            ("GET", true, _) => "list",
            ("GET", false, _) => "get",
            ("POST", ..) => "create",
            ("PUT", ..) => "update",
            ("PATCH", ..) => "patch",
            (_, true, _) => "deletecollection",
            _ => "delete",
        }
    }

    fn writing(&self, user: &str) -> Writing {
        let manager = if self.query("fieldManager").is_empty() { user } else { self.query("fieldManager") };
        let part = self.kind.parts.iter().find(|it| **it == self.part && **it != "scale").copied();
        Writing { manager: manager.to_owned(), dry_run: self.query("dryRun") == "All", part }
    }
}

pub(crate) async fn serve(listener: tokio::net::TcpListener, world: Arc<World>) {
    let app = axum::Router::new().fallback(door).with_state(world);
    axum::serve(listener, app).await.unwrap();
}

async fn door(
    State(world): State<Arc<World>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    match handle(world, method, uri, headers, body).await {
        Ok(response) => response,
        Err(no) => no.response(),
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let raw = text.as_bytes();
    let mut at = 0;
    while at < raw.len() {
        let hex = text.get(at + 1..at + 3).and_then(|it| u8::from_str_radix(it, 16).ok());
        match (raw[at], hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                at += 3;
            }
            (b'+', _) => {
                bytes.push(b' ');
                at += 1;
            }
            (byte, _) => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

fn parse(method: Method, uri: &Uri, headers: &HeaderMap) -> Result<Request, No> {
    let unknown = || No::new(404, "NotFound", "the server could not find the requested resource");
    let parts: Vec<String> = uri.path().split('/').filter(|it| !it.is_empty()).map(decoded).collect();
    let mut parts = parts.iter().map(String::as_str);
    let (group, version) = match parts.next() {
        Some("api") => ("", parts.next().ok_or_else(unknown)?),
        Some("apis") => (parts.next().ok_or_else(unknown)?, parts.next().ok_or_else(unknown)?),
        _ => return Err(unknown()),
    };
    let rest: Vec<&str> = parts.collect();
    let (namespace, rest) = match rest.as_slice() {
        // `/namespaces/NAME` and its parts are the namespace itself.
        ["namespaces", name, kind, rest @ ..]
            if Kind::find("", "v1", "namespaces").is_some_and(|it| !it.parts.contains(kind)) =>
        {
            ((*name).to_owned(), [&[*kind], rest].concat())
        }
        rest => (String::new(), rest.to_vec()),
    };
    let kind = Kind::find(group, version, rest.first().copied().unwrap_or_default()).ok_or_else(unknown)?;
    let part = rest.get(2).copied().unwrap_or_default();
    if rest.len() > 3 || (!part.is_empty() && !kind.parts.contains(&part)) {
        return Err(unknown());
    }
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|it| it.split_once('='));
    Ok(Request {
        method,
        kind,
        namespace,
        name: rest.get(1).copied().unwrap_or_default().to_owned(),
        part: part.to_owned(),
        query: pairs.map(|(key, value)| (decoded(key), decoded(value))).collect(),
        content: headers.get("content-type").and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned(),
    })
}

fn discovery(path: &str) -> Option<Value> {
    let resources = |group: &str, version: &str| {
        let own: Vec<&Kind> = KINDS.iter().filter(|it| (it.group, it.version) == (group, version)).collect();
        let of = |it: &&Kind| json!({ "name": it.plural, "kind": it.kind, "namespaced": it.namespaced, "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"] });
        (!own.is_empty()).then(|| json!({ "kind": "APIResourceList", "apiVersion": "v1", "resources": own.iter().map(of).collect::<Vec<_>>() }))
    };
    match path.trim_matches('/').split('/').collect::<Vec<_>>().as_slice() {
        ["version"] => Some(json!({ "major": "1", "minor": "34", "gitVersion": "v1.34.0-double" })),
        ["api"] => Some(json!({ "kind": "APIVersions", "versions": ["v1"] })),
        ["apis"] => {
            let mut groups: Vec<(&str, &str)> =
                KINDS.iter().filter(|it| !it.group.is_empty()).map(|it| (it.group, it.version)).collect();
            groups.sort_unstable();
            groups.dedup();
            let of = |(group, version): (&str, &str)| {
                let version = json!({ "groupVersion": format!("{group}/{version}"), "version": version });
                json!({ "name": group, "versions": [version], "preferredVersion": version })
            };
            Some(
                json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups.into_iter().map(of).collect::<Vec<_>>() }),
            )
        }
        ["api", version] => resources("", version),
        ["apis", group, version] => resources(group, version),
        _ => None,
    }
}

async fn handle(
    world: Arc<World>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, No> {
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await;
    let body = body.map_err(|_| No::new(413, "RequestEntityTooLarge", "Request entity too large"))?;
    let user = world.user(&headers)?;
    lock(&world.served).push((method.to_string(), uri.to_string(), user.clone()));
    if let Some(found) = discovery(uri.path()).filter(|_| method == Method::GET) {
        return Ok(answer(200, &found));
    }
    let request = parse(method, &uri, &headers)?;
    let trouble = trouble(&world, &request);
    match &trouble {
        Some(Trouble::Status { code, reason, retry_after_s }) => {
            let mut no = No::new(*code, reason, "injected");
            if let Some(seconds) = retry_after_s {
                no.details = json!({ "retryAfterSeconds": seconds });
            }
            return Err(no);
        }
        Some(Trouble::Slow { ms }) => tokio::time::sleep(Duration::from_millis(*ms)).await,
        Some(Trouble::Raced { wish }) => race(&world, &request, *wish),
        _ => {}
    }
    world.require(&user, request.verb(), request.kind, &request.part, &request.namespace, &request.name)?;
    let done = act(&world, &request, &user, &body);
    if matches!(trouble, Some(Trouble::ReplyLost)) {
        // The head of an answer and then the end of the connection.
        let broken = futures::stream::iter([Err::<String, _>(std::io::Error::other("gone"))]);
        return Ok(Response::new(Body::from_stream(broken)));
    }
    done
}

fn trouble(world: &World, request: &Request) -> Option<Trouble> {
    let mut troubles = lock(&world.troubles);
    // A rehearsal is not the deed.
    let fits = |it: &super::Injected| {
        it.times > 0
            && it.method == request.method.as_str()
            && it.plural == request.kind.plural
            && request.query("dryRun").is_empty()
    };
    let found = troubles.iter_mut().find(|it| fits(it))?;
    found.times -= 1;
    Some(found.trouble.clone())
}

fn race(world: &World, request: &Request, wish: bool) {
    let mut store = lock(&world.store);
    let Ok(mut object) = store.get(request.kind, &request.namespace, &request.name).cloned() else { return };
    match wish {
        true => object["spec"]["minReadySeconds"] = json!(1),
        false => object["metadata"]["labels"]["raced"] = json!(store.version.to_string()),
    }
    let writing = Writing { manager: "racer".into(), ..Writing::default() };
    store.replace(request.kind, &request.namespace, &request.name, object, &writing).unwrap();
}

fn act(world: &Arc<World>, request: &Request, user: &str, body: &[u8]) -> Result<Response<Body>, No> {
    let json = || serde_json::from_slice::<Value>(body).map_err(|error| No::bad(error.to_string()));
    let (kind, namespace, name) = (request.kind, request.namespace.as_str(), request.name.as_str());
    let writing = request.writing(user);
    match (request.verb(), request.part.as_str()) {
        ("watch", _) => lists::watch(world.clone(), request.clone()),
        ("list", _) => Ok(answer(200, &lists::list(world, request)?)),
        ("get", "log") => log(world, request),
        ("get", "scale") => Ok(answer(200, &scale(lock(&world.store).get(kind, namespace, name)?))),
        ("get", _) => Ok(answer(200, lock(&world.store).get(kind, namespace, name)?)),
        ("create", "eviction") => {
            let mut store = lock(&world.store);
            store.remove(kind, namespace, name, &json!({}), writing.dry_run)?;
            Ok(answer(201, &json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" })))
        }
        ("create", _) if kind.plural == "selfsubjectaccessreviews" => Ok(answer(201, &world.review(user, json()?))),
        ("create", _) => Ok(answer(201, &lock(&world.store).create(kind, namespace, json()?, &writing)?)),
        ("update", "scale") => rescale(&mut lock(&world.store), request, &json()?, &writing),
        ("update", _) => Ok(answer(200, &lock(&world.store).replace(kind, namespace, name, json()?, &writing)?)),
        ("patch", _) => patched(&mut lock(&world.store), request, &json()?, &writing),
        ("delete", _) => {
            let options = if body.is_empty() { json!({}) } else { json()? };
            Ok(answer(200, &lock(&world.store).remove(kind, namespace, name, &options, writing.dry_run)?))
        }
        _ => Err(No::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")),
    }
}

fn scale(object: &Value) -> Value {
    json!({ "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": { "name": object["metadata"]["name"],
        "namespace": object["metadata"]["namespace"], "uid": object["metadata"]["uid"],
        "resourceVersion": object["metadata"]["resourceVersion"] },
        "spec": { "replicas": object["spec"]["replicas"] }, "status": { "replicas": object["status"]["replicas"] } })
}

fn rescale(store: &mut Store, request: &Request, wanted: &Value, writing: &Writing) -> Result<Response<Body>, No> {
    let (kind, namespace, name) = (request.kind, request.namespace.as_str(), request.name.as_str());
    let mut object = store.get(kind, namespace, name)?.clone();
    object["spec"]["replicas"] = wanted["spec"]["replicas"].clone();
    let version = text(wanted, "/metadata/resourceVersion");
    if !version.is_empty() {
        object["metadata"]["resourceVersion"] = json!(version);
    }
    Ok(answer(200, &scale(&store.replace(kind, namespace, name, object, writing)?)))
}

fn patched(store: &mut Store, request: &Request, patch: &Value, writing: &Writing) -> Result<Response<Body>, No> {
    let (kind, namespace, name) = (request.kind, request.namespace.as_str(), request.name.as_str());
    let applies = request.content.starts_with("application/apply-patch");
    let mut code = 200;
    let before = match store.get(kind, namespace, name) {
        Err(_) if applies => {
            code = 201;
            let made = store.create(
                kind,
                namespace,
                patch.clone(),
                &Writing { dry_run: writing.dry_run, ..Writing::default() },
            )?;
            if writing.dry_run {
                return Ok(answer(201, &made));
            }
            let mut made = made;
            made["metadata"]["managedFields"] = json!([]);
            store.set(made);
            store.get(kind, namespace, name)?.clone()
        }
        found => found?.clone(),
    };
    let mut object = before;
    match request.content.split(';').next().unwrap_or_default() {
        "application/merge-patch+json" => patch::merge(&mut object, patch),
        "application/strategic-merge-patch+json" => patch::strategic(&mut object, patch),
        "application/json-patch+json" => patch::operations(&mut object, patch)?,
        _ if applies => {
            let time = store.time();
            patch::apply(&mut object, patch, request.query("fieldManager"), request.query("force") == "true", &time)?;
            let managers = object["metadata"]["managedFields"].clone();
            let mut done = store.replace(kind, namespace, name, object, writing)?;
            done["metadata"]["managedFields"] = managers;
            if !writing.dry_run {
                store.set(done.clone());
            }
            return Ok(answer(code, &done));
        }
        other => {
            return Err(No::new(
                415,
                "UnsupportedMediaType",
                format!("the body of the request was in an unknown format {other:?}"),
            ));
        }
    }
    Ok(answer(200, &store.replace(kind, namespace, name, object, writing)?))
}

fn log(world: &World, request: &Request) -> Result<Response<Body>, No> {
    let pod = lock(&world.store).get(request.kind, &request.namespace, &request.name)?.clone();
    let wanted = request.query("container");
    if !super::items(&pod, "/spec/containers").iter().any(|it| text(it, "/name") == wanted) {
        return Err(No::bad(format!("container {wanted} is not valid for pod {}", request.name)));
    }
    let previous = request.query("previous") == "true";
    let ended = pod.pointer("/status/containerStatuses/0/lastState/terminated").is_some();
    let running = pod.pointer("/status/containerStatuses/0/state/running").is_some();
    let there = if previous { ended } else { running || ended };
    if !there {
        return Err(No::bad(format!("container {wanted:?} in pod {:?} is waiting to start", request.name)));
    }
    let owner = text(&pod, "/metadata/labels/app").to_owned();
    let logs = lock(&world.logs);
    let text = logs.get(&owner).cloned().unwrap_or_else(|| "hello\n".into());
    let tail: usize = request.query("tailLines").parse().unwrap_or(usize::MAX);
    let most: usize = request.query("limitBytes").parse().unwrap_or(usize::MAX);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(tail);
    let mut out = String::new();
    for line in &lines[from..] {
        let time = if request.query("timestamps") == "true" { "2026-01-01T00:00:01.000000001Z " } else { "" };
        out.push_str(time);
        out.push_str(line);
        out.push('\n');
    }
    out.truncate(out.floor_char_boundary(most.min(out.len())));
    Ok(Response::new(Body::from(out)))
}
