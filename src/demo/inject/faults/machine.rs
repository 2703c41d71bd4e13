//! Trouble of processes, disks and load: things that no release and no setting explains.
//! Must never touch a process that the workspace does not run.

use super::settings::leaving_room;
use crate::inject::scenario::{Move, Script};
use crate::inject::versions;
use crate::world::VOLUME;
use serde_json::json;

pub(super) fn freeze(script: &mut Script<'_>, victim: &str) {
    script.moves.push(Move::Freeze { workload: victim.to_owned(), for_ms: None });
    script.right_restart(victim);
}

pub(super) fn starve(script: &mut Script<'_>, victim: &str) {
    let (off_ms, on_ms) = (script.rng.whole(700, 1000), script.rng.whole(70, 120));
    script.moves.push(Move::Starve { workload: victim.to_owned(), off_ms, on_ms, for_ms: None });
    script.right_restart(victim);
}

pub(super) fn dependency_down(script: &mut Script<'_>) {
    let form = *script.rng.pick(&["frozen", "frozen", "frozen", "scaled-to-zero"]);
    if form == "frozen" {
        let victim = *script.rng.pick(&["cache", "ledger", "payments", "catalog"]);
        script.blame(victim, "dependency_down", form);
        script.noise(2, &[victim]);
        freeze(script, victim);
        script.cause();
    } else {
        let victim = *script.rng.pick(&["ledger", "payments", "catalog"]);
        script.blame(victim, "dependency_down", form);
        script.noise(1, &[victim]);
        script.act(
            json!({"kind": "scale_workload", "workload": victim, "replicas": 0}),
            "stop the unused copy in staging",
        );
        script.cause();
        script.wait(500, 2_000);
        script.harmless(&[victim]);
        script.right_scale(victim, 1);
    }
}

pub(super) fn dependency_latency(script: &mut Script<'_>) {
    let form = *script.rng.pick(&["starved", "starved", "setting", "release"]);
    match form {
        "starved" => {
            let victim = *script.rng.pick(&["cache", "ledger", "payments"]);
            script.blame(victim, "dependency_latency", form);
            script.noise(2, &[victim]);
            starve(script, victim);
            script.cause();
        }
        "setting" => {
            let depth = script.rng.whole(30, 45).to_string();
            script.blame("payments", "dependency_latency", form);
            script.noise(1, &["payments"]);
            script.set("payments", "FRAUD_DEPTH", &depth, "deeper fraud screening");
            script.cause();
            script.wait(1_000, 4_000);
            script.harmless(&["payments"]);
            script.right_setting("payments", "FRAUD_DEPTH");
        }
        _ => {
            let victim = *script.rng.pick(&["ledger", "payments"]);
            script.blame(victim, "dependency_latency", form);
            script.ship(victim, versions::slow);
            script.cause();
            script.wait(1_000, 4_000);
            script.harmless(&[victim]);
            script.right_rollback(victim);
        }
    }
}

pub(super) fn volume_full(script: &mut Script<'_>) {
    let workload = || "ledger".to_owned();
    if script.rng.chance(0.6) {
        script.blame("ledger", "volume_full", "left-over-file");
        script.noise(2, &["ledger"]);
        let bytes = script.world.knobs.volume_bytes;
        script.moves.push(Move::Fill { workload: workload(), bytes });
        script.cause();
    } else {
        script.blame("ledger", "volume_full", "retention-off");
        let seconds = script.rng.range(4.0, 9.0);
        let bytes = leaving_room(script, seconds);
        script.moves.push(Move::Fill { workload: workload(), bytes });
        script.noise(1, &["ledger"]);
        script.set("ledger", "RETENTION_KB", "off", "keep everything for the auditors");
        script.cause();
        script.wait(1_000, 4_000);
        script.harmless(&["ledger"]);
        script.right_setting("ledger", "RETENTION_KB");
    }
    script.right(json!({"kind": "resize_volume", "volume": VOLUME}));
}

pub(super) fn wrong_scale(script: &mut Script<'_>) {
    let knobs = script.world.knobs.clone();
    let victim = *script.rng.pick(&["payments", "payments", "catalog"]);
    let shrunk = victim == "catalog" || script.rng.chance(0.5);
    let over = script.rng.range(1.45, 1.7);
    let replicas = if shrunk { 1.0 } else { 2.0 };
    // Requests a second that the replicas can finish: workers over the time that one is held.
    let (workers, held_ms) = match victim {
        "payments" => (knobs.payments_workers, knobs.fraud_ms * 3.0 + 30.0),
        _ => (knobs.catalog_workers, knobs.search_ms + 8.0),
    };
    let demand = over * replicas * workers as f64 / (held_ms / 1000.0);
    let (rate, mix) = match victim {
        "payments" => (demand / 0.6, "buy=0.6 search=0.1"),
        _ => (demand / 0.7, "buy=0.08 search=0.7"),
    };
    script.blame(victim, "wrong_scale", if shrunk { "scaled-down" } else { "traffic-rises" });
    script.noise(1, &[victim]);
    if shrunk {
        script.act(
            json!({"kind": "scale_workload", "workload": victim, "replicas": 1}),
            "one replica is enough at night",
        );
        script.wait(2_000, 8_000);
        script.harmless(&[victim]);
        script.wait(500, 1_500);
    }
    script.moves.push(Move::Client { command: format!("traffic rate={:.0} {mix}", rate.min(190.0)) });
    script.cause();
    script.right_scale(victim, if shrunk { 2 } else { 3 });
    script.right(json!({"kind": "set_environment", "workload": victim, "set": {"WORKERS": {"$any": true}}}));
}
