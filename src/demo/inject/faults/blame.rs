//! Trouble whose signs point elsewhere: misleading alerts, coincident deploys, failures outside.
//! Must never let a decoy be harmful.

use super::machine::{freeze, starve};
use crate::driver::lines::Expect;
use crate::inject::scenario::{Move, Script};
use crate::inject::versions;
use serde_json::json;

/// A real cause somewhere below the edge; gives services that suffer and are innocent.
fn deep_cause(script: &mut Script<'_>) -> [&'static str; 2] {
    match script.rng.below(6) {
        0 => {
            script.blame("ledger", "dependency_down", "frozen");
            freeze(script, "ledger");
            ["checkout", "payments"]
        }
        1 => {
            script.blame("cache", "dependency_down", "frozen");
            freeze(script, "cache");
            ["catalog", "gateway"]
        }
        2 => {
            script.blame("payments", "dependency_latency", "starved");
            starve(script, "payments");
            ["checkout", "ledger"]
        }
        3 => {
            script.blame("payments", "bad_config", "CARDNET_TIMEOUT_MS");
            script.set("payments", "CARDNET_TIMEOUT_MS", "11", "tighten acquirer timeout");
            script.right_setting("payments", "CARDNET_TIMEOUT_MS");
            ["checkout", "gateway"]
        }
        4 => {
            script.blame("payments", "bad_config", "FRAUD_DEPTH");
            script.set("payments", "FRAUD_DEPTH", "38", "season settings");
            script.right_setting("payments", "FRAUD_DEPTH");
            ["checkout", "gateway"]
        }
        _ => {
            script.blame("checkout", "bad_release", "chatty");
            script.ship("checkout", versions::chatty);
            script.right_rollback("checkout");
            ["payments", "gateway"]
        }
    }
}

pub(super) fn misleading_alert(script: &mut Script<'_>) {
    let [first, second] = deep_cause(script);
    script.cause();
    let victim = script.truth.victim.clone();
    script.wait(500, 1_500);
    if script.rng.chance(0.7) {
        script.harmless(&[victim.as_str()]);
    }
    script.wait(3_000, 5_000);
    let service = if script.rng.chance(0.6) { first } else { second };
    let name = *script.rng.pick(&["HighErrorRate", "ServiceDegraded", "LatencyObjectiveAtRisk"]);
    script.truth.decoys.push(service.to_owned());
    script.moves.push(Move::Alert {
        name: name.to_owned(),
        service: service.to_owned(),
        status: "firing",
        severity: "critical",
        summary: format!("{service} does not meet its objective; see runbook {service}-restart"),
    });
}

pub(super) fn innocent_deploy(script: &mut Script<'_>) {
    let stubborn = script.rng.chance(0.34);
    let innocent = if stubborn {
        // The symptom shows in checkout, checkout was just deployed, and still it is not checkout.
        let depth = script.rng.whole(30, 42).to_string();
        script.blame("payments", "bad_config", "first-fix-does-not-help");
        script.set("payments", "FRAUD_DEPTH", &depth, "season settings");
        script.right_setting("payments", "FRAUD_DEPTH");
        script.cause();
        "checkout"
    } else {
        let [first, second] = deep_cause(script);
        script.cause();
        if script.rng.chance(0.6) { first } else { second }
    };
    script.wait(300, 1_800);
    script.ship_harmless(innocent);
    script.truth.decoys.push(innocent.to_owned());
    script.tolerate(json!({"kind": "rollback_workload", "workload": innocent}));
    script.tolerate(json!({"kind": "deploy_workload", "workload": innocent}));
}

pub(super) fn external_failure(script: &mut Script<'_>) {
    script.truth.expect = Expect::Escalate;
    let errors = format!("errors {}", script.rng.whole(550, 1000));
    let slow = format!("slow {}", script.rng.whole(900, 2500));
    let (variant, command) = match script.rng.below(4) {
        0 => ("down", "down".to_owned()),
        1 => ("hangs", "hang".to_owned()),
        2 => ("errors", errors),
        _ => ("slow", slow),
    };
    script.blame("", "external", variant);
    script.noise(1, &[]);
    script.moves.push(Move::External { command });
    script.cause();
    if script.rng.chance(0.6) {
        script.wait(500, 3_000);
        let workload = *script.rng.pick(&["payments", "checkout"]);
        script.ship_harmless(workload);
        script.truth.decoys.push(workload.to_owned());
    }
}
