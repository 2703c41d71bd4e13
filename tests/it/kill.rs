//! The real binary, lost by SIGKILL at named points while it does real work, started again, and judged by a
//! checker that reads the journal's export and the provider's ledger and nothing else. The points of
//! `QUICK` run always, all with `OPSWARD_FULL` set; `OPSWARD_POINT` keeps those whose name contains it.

mod checker;
mod house;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use house::{House, RECOVERY_MAX};

/// What is being done while the service is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scene {
    /// The first start of all.
    First,
    /// One action that is asked for and approved.
    Scale,
    Restart,
    Deploy,
    Backup,
    Remove,
    /// A release that never becomes ready: it is taken back.
    BadRelease,
    /// The same, and somebody else changed it meanwhile: taking it back is refused.
    Meddled,
    /// A question answered without a model.
    Question,
    /// An alert from outside, linked, ended.
    Alert,
    /// Somebody says no; somebody cancels.
    Refusal,
    /// People, tokens and switches.
    People,
    /// A schedule, from being made to being removed.
    Schedule,
}

const QUICK: &[(Scene, &str)] = &[
    (Scene::First, "after:person_added:1"),
    (Scene::Scale, "after:action_requested:1"),
    (Scene::Deploy, "before:step_started:1"),
    (Scene::Restart, "after:step_started:1"),
    (Scene::Deploy, "apply:deploy_workload:1"),
    (Scene::Deploy, "applied:deploy_workload:1"),
    (Scene::Backup, "applied:create_backup:1"),
    (Scene::Restart, "before:step_succeeded:1"),
    (Scene::Remove, "applied:delete_volume:1"),
    (Scene::Question, "after:diagnosed:1"),
];

const FULL: &[(Scene, &str)] = &[
    (Scene::First, "before:person_added:1"),
    (Scene::First, "after:role_set:1"),
    (Scene::First, "after:token_issued:1"),
    (Scene::Scale, "before:action_requested:1"),
    (Scene::Scale, "before:plan_proposed:1"),
    (Scene::Scale, "after:plan_proposed:1"),
    (Scene::Scale, "after:plan_decided:1"),
    (Scene::Scale, "before:approval_requested:1"),
    (Scene::Scale, "after:approval_requested:1"),
    (Scene::Scale, "before:approval_given:1"),
    (Scene::Scale, "after:approval_given:1"),
    (Scene::Scale, "after:approval_used:1"),
    (Scene::Scale, "apply:scale_workload:1"),
    (Scene::Scale, "applied:scale_workload:1"),
    (Scene::Scale, "after:step_succeeded:1"),
    (Scene::Scale, "before:plan_ended:1"),
    (Scene::Scale, "after:plan_ended:1"),
    (Scene::Restart, "apply:restart_workload:1"),
    (Scene::Restart, "applied:restart_workload:1"),
    (Scene::Backup, "apply:create_backup:1"),
    (Scene::Remove, "apply:delete_volume:1"),
    (Scene::Remove, "after:step_started:1"),
    (Scene::BadRelease, "before:step_failed:1"),
    (Scene::BadRelease, "after:step_failed:1"),
    (Scene::BadRelease, "after:undo_started:1"),
    (Scene::BadRelease, "applied:rollback_workload:1"),
    (Scene::BadRelease, "after:undo_succeeded:1"),
    (Scene::Meddled, "after:undo_failed:1"),
    (Scene::Question, "after:message_received:1"),
    (Scene::Question, "after:turn_started:1"),
    (Scene::Question, "after:evidence_gathered:1"),
    (Scene::Question, "after:answer_given:1"),
    (Scene::Question, "after:turn_ended:1"),
    (Scene::Alert, "after:incident_opened:1"),
    (Scene::Alert, "after:alert_linked:1"),
    (Scene::Alert, "after:alert_cleared:1"),
    (Scene::Alert, "after:incident_resolved:1"),
    (Scene::Refusal, "after:approval_refused:1"),
    (Scene::Refusal, "after:cancel_requested:1"),
    (Scene::People, "after:token_revoked:1"),
    (Scene::People, "after:switch_set:1"),
    (Scene::Schedule, "after:schedule_made:1"),
    (Scene::Schedule, "after:schedule_paused:1"),
    (Scene::Schedule, "before:schedule_fired:1"),
    (Scene::Schedule, "after:schedule_fired:1"),
    (Scene::Schedule, "after:tool_requested:1"),
    (Scene::Schedule, "after:tool_called:1"),
    (Scene::Schedule, "after:tool_returned:1"),
    (Scene::Schedule, "after:schedule_missed:1"),
    (Scene::Schedule, "after:schedule_removed:1"),
];

fn spec(version: &str, command: &str) -> Value {
    // Every start of a replica leaves a mark on the volume: effects can be counted from outside.
    let line = format!("echo {version} >> ${{volume:marks}}/starts; {command}");
    json!({
        "version": version, "command": ["/bin/sh", "-c", line], "replicas": 1, "volumes": ["marks"],
        "limits": {"memory_bytes": 33_554_432},
    })
}

fn deploy(version: &str) -> Value {
    json!({"kind": "deploy_workload", "workload": "web", "spec": spec(version, "exec sleep 1000")})
}

async fn furnish(house: &House) {
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

async fn play(house: &mut House, scene: Scene, nth: usize) {
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
        Scene::Question => {
            let _ = house.client().post("/workspaces/shop/messages", &json!({"text": "is anything wrong?"})).await;
        }
        Scene::Alert => alert(house, nth).await,
        Scene::Refusal => refusal(house).await,
        Scene::People => people(house, nth).await,
        Scene::Schedule => schedule(house, nth).await,
    }
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

async fn alert(house: &House, nth: usize) {
    let fired = |name: &str, status: &str| {
        json!({"version": "4", "alerts": [{"status": status, "labels": {"alertname": name, "run": nth.to_string()},
            "annotations": {"summary": "from outside"}, "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "2026-01-01T00:00:00Z", "fingerprint": format!("{name}{nth}")}]})
    };
    for (name, status) in [("One", "firing"), ("Two", "firing"), ("One", "resolved"), ("Two", "resolved")] {
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
    for on in [true, false] {
        let _ = client.post("/switches", &json!({"workspace": "shop", "on": on, "reason": "drill"})).await;
    }
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

/// Loses the service at each point; afterwards it is at rest within the bound, and the checker agrees.
async fn lose_at(points: &[(Scene, &str)]) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    let firsts = points.iter().filter(|(scene, _)| *scene == Scene::First);
    for (_, point) in firsts {
        let mut house = House::new(None);
        assert!(!house.start(Some(point)).await, "{point}: it became ready");
        house.lost(point).await;
        assert!(house.start(None).await, "{point}");
        furnish(&house).await;
        house.kill();
        kinds.extend(checker::check(house.data.path()).await.kinds);
    }
    let mut house = House::new(None);
    assert!(house.start(None).await);
    furnish(&house).await;
    for (nth, (scene, point)) in points.iter().enumerate().filter(|(_, (scene, _))| *scene != Scene::First) {
        house.kill();
        assert!(house.start(Some(point)).await, "{point}: lost before it was ready");
        play(&mut house, *scene, nth).await;
        house.lost(point).await;
        let began = Instant::now();
        assert!(house.start(None).await, "{point}");
        let took = house.rest().await;
        // A release that never becomes ready is watched for a time of its own.
        let own =
            if matches!(scene, Scene::BadRelease | Scene::Meddled) { Duration::from_secs(20) } else { Duration::ZERO };
        assert!(began.elapsed() < RECOVERY_MAX + own, "{scene:?} {point}: {took:?}");
        tidy_up(&house, *scene, nth).await;
        house.kill();
        kinds.extend(checker::check(house.data.path()).await.kinds);
        assert!(house.start(None).await, "{point}");
        counted(&house, point).await;
    }
    house.kill();
    let found = checker::check(house.data.path()).await;
    assert!(found.effects > 0 && found.effects <= found.intents, "{found:?}");
    kinds
}

/// Puts back what would stand in the next scene's way.
async fn tidy_up(house: &House, scene: Scene, nth: usize) {
    let client = house.client();
    match scene {
        Scene::People => {
            let _ = client.post("/switches", &json!({"workspace": "shop", "on": false, "reason": "over"})).await;
        }
        Scene::Schedule => {
            for name in [format!("s{nth}"), format!("w{nth}")] {
                let _ = client.delete(&format!("/workspaces/shop/schedules/{name}")).await;
            }
            house.rest().await;
        }
        Scene::BadRelease | Scene::Meddled => {
            house.must(deploy(&format!("good{nth}"))).await;
        }
        _ => {}
    }
}

/// The world itself: as many replicas as the platform says, and one mark for each start that it counts.
async fn counted(house: &House, point: &str) {
    let ready = |value: &Value| {
        let web = &value[0];
        let ready = web["replicas"].as_array().into_iter().flatten().filter(|r| r["state"] == "ready").count() as u64;
        Some(ready) == web["spec"]["replicas"].as_u64()
    };
    house.until("/workspaces/shop/workloads", point, ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_lost_anywhere_finishes_what_it_began_once() {
    let mut points = QUICK.to_vec();
    let full = std::env::var_os("OPSWARD_FULL").is_some();
    if full {
        points.extend(FULL);
    }
    if let Ok(only) = std::env::var("OPSWARD_POINT") {
        points.retain(|(_, point)| point.contains(&only));
    }
    let kinds = lose_at(&points).await;
    let named = |(_, point): &(Scene, &str)| point.split(':').nth(1).map(str::to_owned);
    let wanted: BTreeSet<String> = points.iter().filter_map(named).filter(|what| !is_action(what)).collect();
    let never: Vec<_> = wanted.difference(&kinds).collect();
    assert!(never.is_empty(), "points of events that never happened: {never:?}");
}

fn is_action(what: &str) -> bool {
    opsward_domain::action::ActionKind::parse(what).is_ok()
}
