//! Trouble that comes with a version: failures, slowness, leaks, crashes.
//! Must never break a version so that it is not ready at first; the platform would refuse it.

use crate::inject::scenario::Script;
use crate::inject::versions;
use serde_json::json;

/// Requests that one replica of a service gets in a second under ordinary traffic.
pub(super) fn per_replica(script: &Script<'_>, workload: &str) -> f64 {
    let traffic = script.world.traffic();
    let share = match workload {
        "catalog" => 1.0 - traffic.buy - 0.08,
        // A hoarding gateway hoards in its checkout route.
        "checkout" | "payments" | "gateway" => traffic.buy,
        _ => traffic.buy * 2.0,
    };
    traffic.rate * share / 2.0
}

/// Ships something bad between harmless changes.
fn surround(script: &mut Script<'_>, victim: &str, bad: impl FnOnce(&mut Script<'_>)) {
    script.noise(1, &[victim]);
    bad(script);
    script.cause();
    if script.rng.chance(0.65) {
        script.wait(800, 4_000);
        script.harmless(&[victim]);
    }
    script.right_rollback(victim);
}

pub(super) fn bad_release(script: &mut Script<'_>) {
    let (victim, form) = *script.rng.pick(&[
        ("gateway", "failing"),
        ("gateway", "slow"),
        ("gateway", "wrong-path"),
        ("catalog", "failing"),
        ("catalog", "slow"),
        ("catalog", "renamed-field"),
        ("checkout", "failing"),
        ("checkout", "chatty"),
        ("checkout", "wrong-path"),
        ("payments", "failing"),
        ("payments", "slow"),
        ("payments", "renamed-field"),
        ("ledger", "failing"),
        ("ledger", "renamed-field"),
    ]);
    script.blame(victim, "bad_release", form);
    surround(script, victim, |script| {
        script.ship(victim, |release, rng| match form {
            "failing" => versions::failing(release, rng),
            "slow" => versions::slow(release, rng),
            "chatty" => versions::chatty(release, rng),
            "wrong-path" => versions::wrong_path(release, rng),
            _ => versions::renamed_field(release, rng),
        });
    });
}

pub(super) fn memory_leak(script: &mut Script<'_>) {
    let victim = *script.rng.pick(&["checkout", "gateway"]);
    let seconds = script.rng.range(14.0, 26.0) * script.pace().max(0.4);
    let bytes = 96.0 * 1024.0 * 1024.0 / (per_replica(script, victim) * seconds);
    script.blame(victim, "memory_leak", "by-release");
    surround(script, victim, |script| {
        script.ship(victim, |release, _| versions::hoarding(release, bytes as usize));
    });
    script.tolerate(json!({"kind": "restart_workload", "workload": victim}));
    script.tolerate(json!({"kind": "set_limits", "workload": victim}));
}

pub(super) fn crash_loop(script: &mut Script<'_>) {
    let form = *script.rng.pick(&["after-a-while", "on-requests", "by-setting"]);
    if form == "by-setting" {
        let (victim, key) = *script.rng.pick(&[
            ("payments", "KEY_REFRESH_S"),
            ("catalog", "PRICE_REFRESH_S"),
            ("gateway", "ROUTES_REFRESH_S"),
        ]);
        let value = *script.rng.pick(&["0", "5m", "-1", "300s"]);
        script.blame(victim, "crash_loop", form);
        script.noise(1, &[victim]);
        script.set(victim, key, value, "refresh more often, requested by the pricing team");
        script.cause();
        if script.rng.chance(0.6) {
            script.wait(800, 4_000);
            script.harmless(&[victim]);
        }
        script.right_setting(victim, key);
        return;
    }
    let victim = *script.rng.pick(&["checkout", "payments", "catalog", "gateway"]);
    script.blame(victim, "crash_loop", form);
    surround(script, victim, |script| {
        script.ship(victim, |release, rng| {
            if form == "on-requests" {
                versions::dies_of_requests(release, rng);
            } else {
                versions::dies_of_age(release, rng);
            }
        });
    });
}
