//! The healthy twin of each incident: something like it happens, and nothing is wrong.
//! Must never make the client's view worse for longer than a moment.

use crate::inject::scenario::{Move, Script};
use crate::inject::versions;
use serde_json::json;

const SERVICES: [&str; 5] = ["gateway", "catalog", "checkout", "payments", "ledger"];

fn quiet(script: &mut Script<'_>, variant: &str) {
    script.blame("", "none", variant);
}

pub(super) fn good_release(script: &mut Script<'_>) {
    quiet(script, "harmless release");
    let workload = *script.rng.pick(&SERVICES);
    script.ship_harmless(workload);
    script.wait(3_000, 6_000);
}

pub(super) fn good_value(script: &mut Script<'_>) {
    quiet(script, "harmless setting");
    let workload = *script.rng.pick(&SERVICES);
    script.tune(workload);
    script.wait(2_000, 5_000);
}

pub(super) fn memory_that_stays(script: &mut Script<'_>) {
    quiet(script, "memory grows and stays");
    let workload = *script.rng.pick(&["checkout", "gateway"]);
    let total = script.rng.whole(26, 34) as usize * 1024 * 1024;
    script.ship(workload, |release, _| versions::indexing(release, total));
    script.wait(7_000, 10_000);
}

pub(super) fn single_crash(script: &mut Script<'_>) {
    quiet(script, "one process dies once");
    let workload = *script.rng.pick(&["catalog", "payments", "checkout"]);
    script.moves.push(Move::Kill { workload: workload.to_owned() });
    script.wait(3_000, 5_000);
}

pub(super) fn hiccup(script: &mut Script<'_>) {
    quiet(script, "a dependency pauses once");
    let workload = *script.rng.pick(&["cache", "ledger", "payments"]);
    let for_ms = script.rng.whole(120, 240);
    script.moves.push(Move::Freeze { workload: workload.to_owned(), for_ms: Some(for_ms) });
    script.wait(3_000, 5_000);
}

pub(super) fn collector_pauses(script: &mut Script<'_>) {
    quiet(script, "short pauses as of a collector");
    let workload = *script.rng.pick(&["payments", "catalog", "checkout"]);
    let off_ms = script.rng.whole(50, 90);
    let for_ms = Some((9_000.0 * script.pace().max(0.4)) as u64);
    let workload = workload.to_owned();
    script.moves.push(Move::Starve { workload, off_ms, on_ms: 2_400, for_ms });
}

pub(super) fn volume_fills_and_is_swept(script: &mut Script<'_>) {
    quiet(script, "a volume fills to a part and is swept");
    let bytes = script.world.knobs.volume_bytes / 100 * script.rng.whole(50, 58);
    script.moves.push(Move::Fill { workload: "ledger".to_owned(), bytes });
    script.wait(6_000, 9_000);
    script.moves.push(Move::Sweep { workload: "ledger".to_owned() });
}

pub(super) fn small_rush(script: &mut Script<'_>) {
    quiet(script, "a short rush within capacity");
    let traffic = script.world.traffic();
    let rate = traffic.rate * script.rng.range(1.25, 1.4);
    script.moves.push(Move::Client { command: format!("traffic rate={rate:.1}") });
    script.wait(6_000, 9_000);
    script.moves.push(Move::Client { command: format!("traffic rate={:.1}", traffic.rate) });
    script.act(
        json!({"kind": "scale_workload", "workload": "catalog", "replicas": 3}),
        "some more room before the weekend",
    );
}

pub(super) fn strangers(script: &mut Script<'_>) {
    quiet(script, "strangers ask for pages that do not exist");
    let count = script.rng.whole(30, 60);
    script.moves.push(Move::Stray { count });
    script.moves.push(Move::Alert {
        name: "CertificateExpiresSoon".to_owned(),
        service: "gateway".to_owned(),
        status: "resolved",
        severity: "info",
        summary: "certificate was renewed".to_owned(),
    });
    script.wait(2_000, 4_000);
}

pub(super) fn busy_team(script: &mut Script<'_>) {
    quiet(script, "several harmless changes");
    for _ in 0..3 {
        script.harmless(&[]);
        script.wait(500, 2_000);
    }
}

pub(super) fn old_changes(script: &mut Script<'_>) {
    quiet(script, "settings changed and changed back");
    let key = "MERCHANT_REGION";
    script.set("payments", key, "eu-2", "second acquirer while the first is maintained");
    script.wait(6_000, 12_000);
    script.set("payments", key, "eu-1", "back to the first acquirer");
}

pub(super) fn external_wobble(script: &mut Script<'_>) {
    quiet(script, "the network outside wobbles");
    let command = if script.rng.chance(0.5) {
        format!("slow {}", script.rng.whole(15, 35))
    } else {
        format!("errors {}", script.rng.whole(10, 35))
    };
    script.moves.push(Move::External { command });
    script.wait(6_000, 9_000);
    script.moves.push(Move::External { command: "ok".to_owned() });
}
