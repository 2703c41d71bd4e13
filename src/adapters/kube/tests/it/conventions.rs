//! The published API conventions, asked of the server directly: what the double does here, a real cluster does
//! too, and the same test runs against one with `OPSWARD_TEST_KUBECONFIG`.

use std::time::Duration;

use futures::{AsyncBufReadExt as _, StreamExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::double::{Double, TOKEN, text};

struct Server {
    client: Client,
    namespace: String,
    /// Ends the double with the test.
    _double: Option<Double>,
}

impl Server {
    async fn start() -> Self {
        let (file, double) = match std::env::var_os("OPSWARD_TEST_KUBECONFIG") {
            Some(path) => (Kubeconfig::read_from(path).unwrap(), None),
            None => {
                let double = Double::start().await;
                (Kubeconfig::from_yaml(&double.kubeconfig(TOKEN)).unwrap(), Some(double))
            }
        };
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let namespace = format!("opsward-conventions-{}", std::process::id());
        let server = Self { client, namespace, _double: double };
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": server.namespace } });
        server.send("POST", "/api/v1/namespaces", "application/json", &body).await;
        server
    }

    async fn send(&self, method: &str, path: &str, content: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = http::Request::builder().method(method).uri(path).header("content-type", content);
        let answer = self.client.send(request.body(kube::client::Body::from(body)).unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect_bytes().await.unwrap();
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    fn path(&self, rest: &str) -> String {
        format!("/apis/apps/v1/namespaces/{}/deployments{rest}", self.namespace)
    }

    async fn get(&self, name: &str) -> Value {
        self.send("GET", &self.path(&format!("/{name}")), "application/json", &Value::Null).await.1
    }

    async fn patch(&self, content: &str, query: &str, body: Value) -> (u16, Value) {
        self.send("PATCH", &self.path(&format!("/web{query}")), content, &body).await
    }
}

fn deployment(name: &str) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name }, "spec": {
        "replicas": 0, "selector": { "matchLabels": { "app": name } },
        "template": { "metadata": { "labels": { "app": name } }, "spec": { "containers": [{ "name": "main", "image": "busybox",
            "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }] }] } } } })
}

const JSON: &str = "application/json";

#[tokio::test]
async fn objects_versions_and_refusals() {
    let server = Server::start().await;
    let (code, made) = server.send("POST", &server.path("?fieldManager=tester"), JSON, &deployment("web")).await;
    assert_eq!((code, &made["spec"]["strategy"]["type"]), (201, &json!("RollingUpdate")), "defaults are filled in");
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "tester");
    let (code, no) = server.send("POST", &server.path(""), JSON, &deployment("web")).await;
    assert_eq!((code, text(&no, "/reason")), (409, "AlreadyExists"));
    let (code, no) = server.send("GET", &server.path("/nobody"), JSON, &Value::Null).await;
    assert_eq!((code, text(&no, "/kind"), text(&no, "/reason")), (404, "Status", "NotFound"));
    let mut dry = server.get("web").await;
    dry["spec"]["template"]["spec"]["containers"][0]["image"] = json!("busybox:2");
    dry["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let (code, done) = server.send("PUT", &server.path("/web?dryRun=All"), JSON, &dry).await;
    assert_eq!((code, &done["spec"]["template"]["spec"]["containers"][0]["image"]), (200, &json!("busybox:2")));
    let now = server.get("web").await;
    assert_eq!(now["spec"]["template"]["spec"]["containers"][0]["image"], "busybox", "a dry run keeps nothing");
    let mut stale = now.clone();
    stale["metadata"]["resourceVersion"] = json!("1");
    let (code, no) = server.send("PUT", &server.path("/web"), JSON, &stale).await;
    assert_eq!((code, text(&no, "/reason")), (409, "Conflict"));
    let mut bad = deployment("bad");
    bad["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    let (code, no) = server.send("POST", &server.path(""), JSON, &bad).await;
    assert_eq!((code, text(&no, "/reason")), (422, "Invalid"));
    let (code, _) = server.send("GET", "/apis/apps/v9/deployments", JSON, &Value::Null).await;
    assert_eq!(code, 404);
    let generation = |object: &Value| object["metadata"]["generation"].as_u64().unwrap();
    let (_, noted) =
        server.patch("application/merge-patch+json", "", json!({"metadata": {"annotations": {"a": "b"}}})).await;
    assert_eq!(generation(&noted), generation(&now) + 1, "a Deployment's annotations count as a wish");
    let (_, labelled) =
        server.patch("application/merge-patch+json", "", json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(generation(&labelled), generation(&noted), "its labels do not");
}

#[tokio::test]
async fn patches_of_every_kind() {
    let server = Server::start().await;
    server.send("POST", &server.path("?fieldManager=maker"), JSON, &deployment("web")).await;
    let env = |object: &Value| object["spec"]["template"]["spec"]["containers"][0]["env"].clone();
    let container =
        |env: Value| json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "env": env}]}}}});
    let change =
        container(json!([{"name": "A", "value": "9"}, {"name": "B", "$patch": "delete"}, {"name": "C", "value": "3"}]));
    let (code, done) = server.patch("application/strategic-merge-patch+json", "", change).await;
    assert_eq!((code, env(&done).as_array().map(Vec::len)), (200, Some(2)), "{done}");
    assert!(env(&done).as_array().unwrap().contains(&json!({"name": "A", "value": "9"})));
    assert_eq!(done["spec"]["template"]["spec"]["containers"][0]["image"], "busybox", "merged by name");
    let (code, done) =
        server.patch("application/merge-patch+json", "", json!({"spec": {"replicas": 1, "paused": true}})).await;
    assert_eq!((code, &done["spec"]["replicas"]), (200, &json!(1)));
    let (_, done) =
        server.patch("application/merge-patch+json", "", json!({"spec": {"replicas": 0, "paused": null}})).await;
    assert!(done["spec"].get("paused").is_none());
    let operations = json!([{"op": "test", "path": "/spec/replicas", "value": 0}, {"op": "replace", "path": "/spec/replicas", "value": 2}]);
    let (code, done) = server.patch("application/json-patch+json", "", operations.clone()).await;
    assert_eq!((code, &done["spec"]["replicas"]), (200, &json!(2)));
    let (code, _) = server.patch("application/json-patch+json", "", operations).await;
    assert_eq!(code, 422, "the test fails now");
    let (code, _) = server.patch("text/plain", "", json!({})).await;
    assert_eq!(code, 415);
    let (code, scale) = server.send("GET", &server.path("/web/scale"), JSON, &Value::Null).await;
    assert_eq!((code, text(&scale, "/kind"), &scale["spec"]["replicas"]), (200, "Scale", &json!(2)));
    let mut wanted = scale;
    wanted["spec"]["replicas"] = json!(0);
    let (code, _) = server.send("PUT", &server.path("/web/scale"), JSON, &wanted).await;
    assert_eq!((code, &server.get("web").await["spec"]["replicas"]), (200, &json!(0)));
}

#[tokio::test]
async fn apply_keeps_field_managers_apart() {
    let server = Server::start().await;
    let apply = |name: &'static str, replicas: u32| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": replicas}});
    const APPLY: &str = "application/apply-patch+yaml";
    let mut whole = deployment("web");
    whole["spec"]["replicas"] = json!(1);
    let (code, _) = server.patch(APPLY, "?fieldManager=first", whole.clone()).await;
    assert_eq!(code, 201);
    let (code, no) = server.patch(APPLY, "?fieldManager=second", apply("web", 3)).await;
    assert_eq!((code, text(&no, "/reason")), (409, "Conflict"));
    assert_eq!(text(&no, "/details/causes/0/reason"), "FieldManagerConflict");
    assert!(text(&no, "/details/causes/0/message").contains("first"), "{no}");
    let (code, _) = server.patch(APPLY, "?fieldManager=second", apply("web", 1)).await;
    assert_eq!(code, 200, "the same value is shared");
    let (code, done) = server.patch(APPLY, "?fieldManager=second&force=true", apply("web", 3)).await;
    assert_eq!((code, &done["spec"]["replicas"]), (200, &json!(3)));
    let (code, no) = server.patch(APPLY, "?fieldManager=first", whole).await;
    assert_eq!(code, 409, "now it is the second's: {no}");
    let (code, _) = server.patch(APPLY, "", apply("web", 3)).await;
    assert_eq!(code, 400, "an applier has a name");
}

#[tokio::test]
async fn lists_come_in_pages_and_watches_go_on_from_them() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        server.send("POST", &server.path(""), JSON, &deployment(name)).await;
    }
    let (_, page) = server.send("GET", &server.path("?limit=2"), JSON, &Value::Null).await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2));
    let next = format!("?limit=2&continue={}", text(&page, "/metadata/continue"));
    let (_, rest) = server.send("GET", &server.path(&next), JSON, &Value::Null).await;
    assert_eq!((rest["items"].as_array().map(Vec::len), text(&rest, "/metadata/continue")), (Some(1), ""));
    let (_, one) = server.send("GET", &server.path("?labelSelector=app%3Dnone"), JSON, &Value::Null).await;
    assert_eq!(one["items"], json!([]));
    let (_, all) = server.send("GET", &server.path(""), JSON, &Value::Null).await;
    let from = text(&all, "/metadata/resourceVersion");
    let path = server.path(&format!("?watch=true&allowWatchBookmarks=true&resourceVersion={from}"));
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    let mut lines = server.client.request_stream(request).await.unwrap().lines();
    server.send("POST", &server.path(""), JSON, &deployment("d")).await;
    let (mut added, mut marked) = (false, server._double.is_none());
    // A real server sends its bookmarks about once a minute: the object is enough there.
    while !(added && marked) {
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next()).await.expect("nothing was told in 30 s");
        let event: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
        added |= (text(&event, "/type"), text(&event, "/object/metadata/name")) == ("ADDED", "d");
        marked |= text(&event, "/type") == "BOOKMARK" && !text(&event, "/object/metadata/resourceVersion").is_empty();
    }
    let request = http::Request::get(server.path("?watch=true&resourceVersion=1")).body(Vec::new()).unwrap();
    match server.client.request_stream(request).await {
        Ok(stream) => {
            let line = stream.lines().next().await.unwrap().unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            assert_eq!((text(&event, "/type"), &event["object"]["code"]), ("ERROR", &json!(410)));
        }
        Err(error) => assert!(error.to_string().contains("410") || error.to_string().contains("Expired"), "{error}"),
    }
}

#[tokio::test]
async fn removal_reviews_evictions_and_discovery() {
    let server = Server::start().await;
    let (_, made) = server.send("POST", &server.path(""), JSON, &deployment("web")).await;
    let wrong = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "another"}});
    assert_eq!(server.send("DELETE", &server.path("/web"), JSON, &wrong).await.0, 409);
    let right = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": made["metadata"]["uid"]}});
    assert_eq!(server.send("DELETE", &server.path("/web"), JSON, &right).await.0, 200);
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes":
        {"verb": "get", "resource": "pods", "namespace": server.namespace}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (code, answer) = server.send("POST", path, JSON, &review).await;
    assert_eq!((code, &answer["status"]["allowed"]), (201, &json!(true)));
    let pods = format!("/api/v1/namespaces/{}/pods", server.namespace);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}});
    assert_eq!(server.send("POST", &pods, JSON, &pod).await.0, 201);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": server.namespace}});
    assert_eq!(server.send("POST", &format!("{pods}/p/eviction"), JSON, &eviction).await.0, 201);
    let (_, groups) = server.send("GET", "/apis", JSON, &Value::Null).await;
    assert!(groups["groups"].as_array().unwrap().iter().any(|it| it["name"] == "apps"));
    let (_, kinds) = server.send("GET", "/apis/apps/v1", JSON, &Value::Null).await;
    assert!(kinds["resources"].as_array().unwrap().iter().any(|it| it["kind"] == "Deployment"));
}
