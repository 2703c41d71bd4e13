//! Trouble that comes with a setting, at once or long after it was made.
//! Must never set a value that keeps the workload from becoming ready.

use super::software::per_replica;
use crate::inject::scenario::{Move, Script};
use crate::inject::versions;
use crate::world::VOLUME;
use serde_json::json;

/// Where, what, the wrong value, and why somebody thought it right.
const WRONG: [(&str, &str, &str, &str); 13] = [
    ("checkout", "PAYMENTS_TIMEOUT_MS", "25", "fail faster when payments is slow"),
    ("checkout", "UPSTREAM_PAYMENTS", "payments.shop.internal:8443", "use the internal name"),
    ("checkout", "CURRENCY", "EURO", "spell the currency out"),
    ("checkout", "REQUEST_TIMEOUT_MS", "2", "two seconds are enough"),
    ("checkout", "LEDGER_TIMEOUT_MS", "1", "ledger answers within a second"),
    ("payments", "MERCHANT_REGION", "eu-central-1", "align region names"),
    ("payments", "FRAUD_DEPTH", "36", "stricter fraud rules for the season"),
    ("payments", "CARDNET_TIMEOUT_MS", "12", "tighten acquirer timeout"),
    ("catalog", "SEARCH_DEPTH", "70", "better search results"),
    ("gateway", "CHECKOUT_TIMEOUT_MS", "60", "tighten timeouts at the edge"),
    ("gateway", "UPSTREAM_CATALOG", "127.0.0.1:9", "catalog moved"),
    ("gateway", "WORKERS", "1", "measure with a single worker"),
    ("gateway", "UPSTREAM_CHECKOUT", "checkout.shop.svc:8080", "use the service name"),
];

pub(super) fn bad_value(script: &mut Script<'_>) {
    let (victim, key, value, reason) = *script.rng.pick(&WRONG);
    script.blame(victim, "bad_config", key);
    script.noise(1, &[victim]);
    script.set(victim, key, value, reason);
    script.cause();
    if script.rng.chance(0.65) {
        script.wait(800, 4_000);
        script.harmless(&[victim]);
    }
    script.right_setting(victim, key);
}

pub(super) fn delayed_cause(script: &mut Script<'_>) {
    match script.rng.below(3) {
        0 => sockets(script),
        1 => slow_leak(script),
        _ => retention(script),
    }
}

/// Harmless changes while the trouble grows.
fn meanwhile(script: &mut Script<'_>, victim: &str) {
    script.cause();
    for _ in 0..script.rng.whole(1, 2) {
        script.wait(6_000, 18_000);
        script.harmless(&[victim]);
    }
}

fn sockets(script: &mut Script<'_>) {
    let victim = *script.rng.pick(&["catalog", "checkout"]);
    let seconds = script.rng.range(70.0, 120.0) * script.pace();
    let per_mille = 240.0 * 1000.0 / (per_replica(script, victim) * seconds);
    script.blame(victim, "handle_leak", "sockets");
    // Rare requests cannot leak more than one descriptor each.
    let per_mille = (per_mille as u64).min(1000);
    script.ship(victim, |release, _| versions::leaking_sockets(release, per_mille));
    meanwhile(script, victim);
    script.right_rollback(victim);
    script.tolerate(json!({"kind": "restart_workload", "workload": victim}));
    script.tolerate(json!({"kind": "set_limits", "workload": victim}));
}

fn slow_leak(script: &mut Script<'_>) {
    let victim = *script.rng.pick(&["checkout", "gateway"]);
    let seconds = script.rng.range(70.0, 120.0) * script.pace();
    let bytes = 60.0 * 1024.0 * 1024.0 / (per_replica(script, victim) * seconds);
    script.blame(victim, "memory_leak", "slow");
    script.ship(victim, |release, _| versions::hoarding(release, bytes as usize));
    meanwhile(script, victim);
    script.right_rollback(victim);
    script.tolerate(json!({"kind": "restart_workload", "workload": victim}));
    script.tolerate(json!({"kind": "set_limits", "workload": victim}));
}

/// Size of a file that leaves room for the usual retention and for `seconds` of orders beyond it.
pub(super) fn leaving_room(script: &Script<'_>, seconds: f64) -> u64 {
    const SEGMENTS_BYTES: f64 = 2.0 * 64.0 * 1024.0;
    let (traffic, knobs) = (script.world.traffic(), &script.world.knobs);
    let grows = traffic.rate * traffic.buy * knobs.record_bytes as f64 * seconds;
    let usual = knobs.retention_kb as f64 * 1024.0 + SEGMENTS_BYTES;
    (knobs.volume_bytes as f64 - usual - grows).max(0.0) as u64
}

fn retention(script: &mut Script<'_>) {
    let seconds = script.rng.range(50.0, 80.0) * script.pace();
    let bytes = leaving_room(script, seconds);
    script.blame("ledger", "volume_full", "retention-off");
    script.moves.push(Move::Fill { workload: "ledger".to_owned(), bytes });
    script.wait(1_000, 2_000);
    script.set("ledger", "RETENTION_KB", "off", "keep all orders until the audit is done");
    meanwhile(script, "ledger");
    script.right_setting("ledger", "RETENTION_KB");
    script.right(json!({"kind": "resize_volume", "volume": VOLUME}));
}
