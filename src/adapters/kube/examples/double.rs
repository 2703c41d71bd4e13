//! Runs the API double by itself, with a small shop in it, so that opsward can be tried on a cluster by hand:
//! writes a kubeconfig to the path it is given and serves until it is ended.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a tool of the tests")]

#[path = "../tests/it/double.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod double;

use serde_json::json;

#[tokio::main]
async fn main() {
    let path = std::env::args().nth(1).expect("usage: double KUBECONFIG");
    let double = double::Double::start().await;
    double.put("namespaces", "", json!({ "metadata": { "name": "shop-prod" } }));
    for (name, image) in [("web", "registry.local/web:1.4.2"), ("checkout", "registry.local/crash:2.0")] {
        double.put("deployments", "shop-prod", json!({ "metadata": { "name": name }, "spec": {
            "replicas": 2, "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": { "containers": [{ "name": "main", "image": image,
                "env": [{ "name": "LEVEL", "value": "info" }], "resources": { "limits": { "memory": "64Mi" } } }] } } } }));
    }
    std::fs::write(&path, double.kubeconfig(double::TOKEN)).unwrap();
    println!("a cluster at http://{}; its kubeconfig is {path}", double.address);
    std::future::pending::<()>().await;
}
