//! What people, alerts and schedules do while the service is lost, in terms of its interface alone.

use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use super::house::House;
use super::points::Scene;

/// Longer than a request for a yes stays open.
const LAPSE_MS: i64 = 16 * 60 * 1000;

fn spec(version: &str, command: &str) -> Value {
    // Every start of a replica leaves a mark on the volume: effects can be counted from outside.
    let line = format!("echo {version} >> ${{volume:marks}}/starts; {command}");
    json!({
        "version": version, "command": ["/bin/sh", "-c", line], "replicas": 1, "volumes": ["marks"],
        "limits": {"memory_bytes": 33_554_432},
    })
}

pub(super) fn deploy(version: &str) -> Value {
    json!({"kind": "deploy_workload", "workload": "web", "spec": spec(version, "exec sleep 1000")})
}

pub(super) async fn furnish(house: &House) {
    house.must(json!({"kind": "create_workspace", "memory_bytes_max": 1_000_000_000u64})).await;
    house.must(json!({"kind": "create_volume", "volume": "marks", "size_bytes": 10_000_000})).await;
    house.must(deploy("1")).await;
}

/// Asks for `action` with the caller's own yes. The service may be lost on the way.
async fn act(house: &House, action: Value) {
    let body = json!({"action": action, "approve": true});
    let _ = house.client().post("/workspaces/shop/actions?wait_ms=60000", &body).await;
}

/// Asks for `action` and leaves the yes to others; the approval's id if it came that far.
async fn ask(house: &House, action: Value) -> Option<(String, String)> {
    let body = json!({"action": action});
    let run = house.client().post("/workspaces/shop/actions?wait_ms=20000", &body).await.ok()?;
    Some((run["run"].as_str()?.to_owned(), run["approval"]["id"].as_str()?.to_owned()))
}

/// Plays a scene. The service may be lost on the way, after which nothing more is done.
pub(super) async fn play(house: &mut House, scene: Scene, nth: usize, point: &str) {
    match scene {
        Scene::First => {}
        Scene::Scale => act(house, json!({"kind": "scale_workload", "workload": "web", "replicas": 2 + nth % 2})).await,
        Scene::Restart => act(house, json!({"kind": "restart_workload", "workload": "web"})).await,
        Scene::Deploy => act(house, deploy(&format!("2.{nth}"))).await,
        Scene::Backup => {
            act(house, json!({"kind": "create_backup", "backup": format!("b{nth}"), "volumes": ["marks"]})).await;
        }
        Scene::Remove => {
            let name = format!("v{nth}");
            act(house, json!({"kind": "create_volume", "volume": name, "size_bytes": 1_000_000})).await;
            act(house, json!({"kind": "delete_volume", "volume": name})).await;
        }
        Scene::BadRelease | Scene::Meddled => bad_release(house, scene == Scene::Meddled, nth).await,
        Scene::Impossible => act(house, json!({"kind": "scale_workload", "workload": "nobody", "replicas": 2})).await,
        Scene::Withheld => {
            switch(house, true).await;
            act(house, json!({"kind": "restart_workload", "workload": "web"})).await;
        }
        Scene::Question => say(house, "is anything wrong?").await,
        Scene::Frozen => frozen(house, point).await,
        Scene::Escalation => escalation(house, nth).await,
        Scene::Full => fill(house).await,
        Scene::Kit => {
            let _ = house.client().post("/workspaces/shop/recovery-kit", &json!({})).await;
        }
        Scene::Lapse => lapse(house, point).await,
        Scene::Talk => say(house, "show me").await,
        Scene::Mistake => say(house, "misuse a tool").await,
        Scene::Silence => say(house, "say nothing").await,
        Scene::Proposal => say(house, &format!("scale {}", 2 + nth % 2)).await,
        Scene::Alert => alert(house, nth).await,
        Scene::Refusal => refusal(house).await,
        Scene::People => people(house, nth).await,
        Scene::Schedule => schedule(house, nth).await,
    }
}

pub(super) async fn switch(house: &House, on: bool) {
    let body = json!({"workspace": "shop", "on": on, "reason": "drill"});
    let _ = house.client().post("/switches", &body).await;
}

async fn say(house: &House, text: &str) {
    let _ = house.client().post("/workspaces/shop/messages", &json!({"text": text})).await;
}

/// The parent of the workloads stands still while somebody asks about them.
async fn frozen(house: &mut House, point: &str) {
    let shims = house.shims();
    assert_eq!(shims.len(), 1, "the workspace's shim");
    shims.iter().for_each(|shim| kill_process(*shim, Signal::STOP).unwrap());
    say(house, "is anything wrong?").await;
    house.lost(point).await;
    shims.iter().for_each(|shim| kill_process(*shim, Signal::CONT).unwrap());
}

/// The service is away while a request for a yes lapses.
async fn lapse(house: &mut House, point: &str) {
    let asked = ask(house, json!({"kind": "restart_workload", "workload": "web"})).await;
    assert!(asked.is_some(), "nobody was asked");
    house.kill();
    house.ahead_ms += LAPSE_MS;
    let _ = house.start(Some(point)).await;
}

async fn escalation(house: &House, nth: usize) {
    let client = house.client();
    let _ = client.post("/workspaces/shop/alerts", &fired(&format!("Handed{nth}"), "firing")).await;
    // Newest first. Before its turn began there is nothing to cancel.
    let begun = |list: &Value| list[0]["status"] == "investigating";
    let list = house.until("/incidents", "an incident that is looked into", begun).await;
    let _ = client.post(&format!("/runs/incident/{}/cancel", list[0]["id"].as_str().unwrap()), &json!({})).await;
}

/// Fills the volume behind the back of those who write to it, and says yes to what is proposed about it.
async fn fill(house: &mut House) {
    let line = "while :; do echo x >> ${volume:marks}/lines; sleep 1; done";
    let spec = json!({"version": "1", "command": ["/bin/sh", "-c", line], "replicas": 1, "volumes": ["marks"],
        "limits": {"memory_bytes": 33_554_432}});
    act(house, json!({"kind": "deploy_workload", "workload": "writer", "spec": spec})).await;
    let volumes = house.client().get("/workspaces/shop/volumes").await.unwrap();
    let size = volumes[0]["size_bytes"].as_u64().unwrap();
    let folder = house.data.path().join("platform/tenants/local/shop/volumes/marks");
    std::fs::write(folder.join("filler"), vec![7; usize::try_from(size / 100 * 97).unwrap()]).unwrap();
    house.agree().await;
}

async fn bad_release(house: &House, meddle: bool, nth: usize) {
    let broken = json!({"kind": "deploy_workload", "workload": "web", "spec": spec(&format!("bad{nth}"), "exit 1")});
    let client = house.client();
    let acting = async {
        let body = json!({"action": broken, "approve": true});
        let _ = client.post("/workspaces/shop/actions?wait_ms=60000", &body).await;
    };
    let meddling = async {
        if meddle {
            // Once the release has taken effect, somebody else changes the same workload.
            let bad = |value: &Value| value[0]["spec"]["version"] == format!("bad{nth}").as_str();
            house.until("/workspaces/shop/workloads", "the bad release", bad).await;
            act(house, json!({"kind": "set_environment", "workload": "web", "set": {"BY": nth.to_string()}})).await;
        }
    };
    tokio::join!(acting, meddling);
}

fn fired(name: &str, status: &str) -> Value {
    json!({"version": "4", "alerts": [{"status": status, "labels": {"alertname": name},
        "annotations": {"summary": "from outside"}, "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "2026-01-01T00:00:00Z", "fingerprint": name}]})
}

async fn alert(house: &House, nth: usize) {
    let (one, two) = (format!("One{nth}"), format!("Two{nth}"));
    for (name, status) in [(&one, "firing"), (&two, "firing"), (&one, "resolved"), (&two, "resolved")] {
        let _ = house.client().post("/workspaces/shop/alerts", &fired(name, status)).await;
    }
}

async fn refusal(house: &House) {
    let restart = json!({"kind": "restart_workload", "workload": "web"});
    if let Some((_, approval)) = ask(house, restart.clone()).await {
        let _ = house.client().post(&format!("/approvals/{approval}/refuse"), &json!({"note": "no"})).await;
    }
    if let Some((run, _)) = ask(house, restart).await {
        let _ = house.client().post(&format!("/runs/command/{run}/cancel"), &json!({})).await;
    }
}

async fn people(house: &House, nth: usize) {
    let client = house.client();
    let name = format!("p{nth}");
    let _ = client.post("/people", &json!({"subject": name})).await;
    let _ = client.post(&format!("/people/{name}/roles"), &json!({"role": "viewer"})).await;
    if let Ok(made) = client.post(&format!("/people/{name}/tokens"), &json!({})).await {
        let id = made["token"].as_str().unwrap().split('_').nth(1).unwrap().to_owned();
        let _ = client.delete(&format!("/tokens/{id}")).await;
    }
    switch(house, true).await;
    switch(house, false).await;
}

async fn schedule(house: &House, nth: usize) {
    let client = house.client();
    let path = "/workspaces/shop/schedules";
    let one = format!("{path}/s{nth}");
    let tool = json!({"name": format!("s{nth}"), "every_minutes": 1, "tool": "show_state"});
    let _ = client.post(path, &tool).await;
    for paused in [true, false] {
        let _ = client.post(&one, &json!({"paused": paused})).await;
    }
    let wait = json!({"name": format!("w{nth}"), "every_minutes": 1, "action": {"kind": "restart_workload", "workload": "web"}});
    let _ = client.post(path, &wait).await;
    // The tool's first firing, and the second of what waits for a yes, which is missed.
    for _ in 0..130 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Ok(list) = client.get(path).await else { return };
        let of = |name: String| list.as_array().unwrap().iter().find(|line| line["name"] == name.as_str()).cloned();
        let (Some(tool), Some(wait)) = (of(format!("s{nth}")), of(format!("w{nth}"))) else { return };
        if tool["last"]["status"] == "answered" && !wait["missed"].is_null() {
            break;
        }
    }
    let _ = client.delete(&one).await;
    let _ = client.delete(&format!("{path}/w{nth}")).await;
}

/// Puts back what would stand in the next scene's way.
pub(super) async fn tidy_up(house: &House, scene: Scene, nth: usize) {
    match scene {
        Scene::People | Scene::Withheld => switch(house, false).await,
        Scene::Schedule => {
            for name in [format!("s{nth}"), format!("w{nth}")] {
                let _ = house.client().delete(&format!("/workspaces/shop/schedules/{name}")).await;
            }
            house.rest().await;
        }
        Scene::BadRelease | Scene::Meddled => {
            house.must(deploy(&format!("good{nth}"))).await;
        }
        Scene::Full => {
            std::fs::remove_file(house.data.path().join("platform/tenants/local/shop/volumes/marks/filler")).unwrap();
            house.must(json!({"kind": "delete_workload", "workload": "writer"})).await;
        }
        _ => {}
    }
}

/// The world itself: as many replicas as the platform says.
pub(super) async fn counted(house: &House, point: &str) {
    let ready = |value: &Value| {
        let web = &value[0];
        let ready = web["replicas"].as_array().into_iter().flatten().filter(|r| r["state"] == "ready").count() as u64;
        Some(ready) == web["spec"]["replicas"].as_u64()
    };
    house.until("/workspaces/shop/workloads", point, ready).await;
}
