//! Families whose signs point elsewhere, come late, or are thin.

use opsward_domain::action::{Action, ScaleWorkload};
use opsward_domain::alert::Condition;
use opsward_domain::cause::{CauseKind, Change};
use opsward_domain::telemetry::Level;

use super::faults::*;
use super::world::*;

/// A caller gives up too early; the callee is as always.
fn tight_timeout(world: &mut World) -> Truth {
    let (caller, callee) = world.rng.pick(&[(CHECKOUT, PAYMENTS), (GATEWAY, CHECKOUT), (PAYMENTS, 6)]);
    let (onset, share) = (world.onset, world.rng.range(0.2, 0.9));
    let key = format!("{}_TIMEOUT_MS", world.names[callee].to_uppercase().replace(['-', '.'], "_"));
    let lag = world.rng.int(1, 6);
    change(world, caller, onset - lag, Some((&key, "12")));
    // A deadline may be handed on: then what the callee calls gives up as well.
    let hands_on = callee == CHECKOUT && world.rng.chance(0.5);
    world.weather(move |role, t, w| {
        if role == caller && t >= onset {
            w.edge = Some((callee, share, "timeout"));
        }
        if hands_on && role == PAYMENTS && t >= onset {
            w.errors = share;
        }
    });
    let peer = world.names[callee];
    world.says(caller, &format!("upstream {peer}: timed out after 12ms"), Level::Error);
    truth(world, &[CauseKind::BadConfiguration], caller, "rollback_workload")
}

/// A caller asks at the wrong address; the callee gets nothing.
fn wrong_address(world: &mut World) -> Truth {
    let (caller, callee) = world.rng.pick(&[(CHECKOUT, PAYMENTS), (GATEWAY, CATALOG), (GATEWAY, CHECKOUT)]);
    let onset = world.onset;
    let key = format!("UPSTREAM_{}", world.names[callee].to_uppercase().replace('-', "_"));
    let lag = world.rng.int(1, 6);
    change(world, caller, onset - lag, Some((&key, "127.0.0.1:9")));
    world.weather(move |role, t, w| {
        if role == caller && t >= onset {
            w.edge = Some((callee, 1.0, "connect_error"));
        }
    });
    truth(world, &[CauseKind::BadConfiguration], caller, "rollback_workload")
}

/// A process that gets the processor only now and then.
fn starved(world: &mut World) -> Truth {
    let victim = world.rng.pick(&[PAYMENTS, LEDGER, CACHE]);
    let onset = world.onset;
    world.weather(move |role, t, w| {
        if role == victim && t >= onset {
            (w.dead, w.slow, w.busy) = (if t % 3 == 0 { 0.5 } else { 0.15 }, 20.0, 0.4);
        }
    });
    truth(world, &[CauseKind::DependencySlow, CauseKind::Hung, CauseKind::DependencyDown], victim, "restart_workload")
}

/// A release asks many times where once would do; the callee bears it.
fn chatty(world: &mut World) -> Truth {
    let (onset, times) = (world.onset, world.rng.range(4.0, 9.0));
    let lag = world.rng.int(1, 6);
    change(world, CHECKOUT, onset - lag, None);
    world.weather(move |role, t, w| {
        if role == CHECKOUT && t >= onset {
            w.fan_out = times;
        }
    });
    world.alert = Some((GATEWAY, Condition::LatencyP95 { above_ms: 400.0 }));
    truth(world, &[CauseKind::BadRelease], CHECKOUT, "rollback_workload")
}

/// Too few workers by configuration, the traffic as always.
fn few_workers(world: &mut World) -> Truth {
    let victim = world.rng.pick(&[GATEWAY, CATALOG, PAYMENTS]);
    let onset = world.onset;
    change(world, victim, onset - 3, Some(("WORKERS", "1")));
    world.weather(move |role, t, w| {
        if role == victim && t >= onset {
            (w.queue, w.slow, w.errors) = (30.0, 4.0, 0.1);
        }
    });
    world.says(victim, "timed out in queue: 1/1 workers busy, 30 waiting", Level::Error);
    truth(world, &[CauseKind::BadConfiguration], victim, "rollback_workload")
}

/// A release that loses handles, noticed minutes later.
fn handle_leak(world: &mut World) -> Truth {
    let victim = world.rng.pick(&[CATALOG, CHECKOUT]);
    let onset = world.onset;
    let began = (onset - world.rng.int(60, 140)).max(5);
    change(world, victim, began, None);
    world.weather(move |role, t, w| {
        if role == victim && t >= began {
            w.open_files = (60.0 + 964.0 * (t - began) as f64 / (onset - began) as f64).min(1024.0);
        }
        if role == victim && t >= onset {
            w.errors = 0.6;
        }
    });
    world.says(victim, "open socket: Too many open files (os error 24)", Level::Error);
    truth(world, &[CauseKind::ResourceExhaustion, CauseKind::BadRelease], victim, "rollback_workload")
}

fn scaled_to_zero(world: &mut World) -> Truth {
    let victim = world.rng.pick(&[LEDGER, PAYMENTS, CATALOG]);
    let onset = world.onset;
    let name = world.name(victim);
    let replicas = world.statuses[victim].spec.replicas;
    let undo = Some(Action::ScaleWorkload(ScaleWorkload { workload: name.clone(), replicas }));
    let (action, by, summary) = ("scale_workload".into(), "dev".into(), "to 0".into());
    world.changes.push(Change { at_ms: world.at(onset - 1), workload: Some(name), action, by, summary, undo });
    world.statuses[victim].spec.replicas = 0;
    world.statuses[victim].replicas.clear();
    world.weather(move |role, t, w| {
        if role == victim && t >= onset {
            (w.dead, w.dead_code, w.silent) = (1.0, "connect_error", true);
        }
    });
    truth(world, &[CauseKind::DependencyDown], victim, "scale_workload")
}

/// A harmless release restarts a callee just before another callee hardly gets to run, or runs late; its callers
/// complain of the restart for a moment, and try again what fails afterwards.
fn innocent_restart(world: &mut World) -> Truth {
    let (victim, restarted) = world.rng.pick(&[(PAYMENTS, LEDGER), (LEDGER, PAYMENTS)]);
    let onset = world.onset;
    let (lag, took) = (world.rng.int(5, 9), world.rng.int(2, 3));
    let (share, runs) = (world.rng.range(0.6, 0.97), world.rng.chance(0.5));
    change(world, restarted, onset - lag, None);
    change(world, CHECKOUT, (onset - 90).max(2), None);
    world.weather(move |role, t, w| {
        if role == restarted && (onset - lag..onset - lag + took).contains(&t) {
            (w.dead, w.dead_code) = (0.5, "503");
        }
        if role == victim && t >= onset {
            if runs {
                (w.errors, w.slow, w.queue, w.retried) = (share, 10.0, 10.0, 1.9);
            } else {
                (w.dead, w.busy) = (share, 0.4);
            }
        }
    });
    let peer = world.names[restarted];
    for caller in [CHECKOUT, CATALOG] {
        let text = format!("upstream {peer} answered 503");
        world.said(caller, &text, Level::Error, (onset - lag, onset - lag + took), 13);
    }
    world.said(restarted, "refused: not ready", Level::Error, (onset - lag, onset - lag + took), 13);
    world.length = onset + world.rng.int(7, 25);
    truth(world, &[CauseKind::DependencySlow, CauseKind::Hung, CauseKind::DependencyDown], victim, "restart_workload")
}

const PLAIN: [fn(&mut World) -> Truth; 6] =
    [bad_release, bad_configuration, hung, dependency_slow, volume_full, crash_loop];

/// Somebody asks; nothing called.
fn unasked(world: &mut World) -> Truth {
    let found = world.rng.pick(&PLAIN)(world);
    world.alert = None;
    found
}

/// Somebody else's monitoring complains about the wrong place, in words only.
fn in_words(world: &mut World) -> Truth {
    let found = world.rng.pick(&PLAIN)(world);
    let named = world.rng.pick(&SERVICES);
    world.alert = Some((named, Condition::Reported));
    found
}

/// The fault has lasted most of the window.
fn long_ago(world: &mut World) -> Truth {
    world.onset = world.length * world.rng.int(15, 40) / 100;
    let faults: [fn(&mut World) -> Truth; 4] = [bad_release, bad_configuration, dependency_slow, external];
    world.rng.pick(&faults)(world)
}

/// Few requests.
fn sparse(world: &mut World) -> Truth {
    world.rate = Some(world.rng.range(5.0, 9.0));
    world.onset = world.length - 40;
    let faults: [fn(&mut World) -> Truth; 3] = [bad_release, hung, external];
    world.rng.pick(&faults)(world)
}

/// Samples every five seconds.
fn rarely_sampled(world: &mut World) -> Truth {
    world.scrape = 5;
    world.onset = world.length - 45;
    let faults: [fn(&mut World) -> Truth; 4] = [bad_release, volume_full, dependency_slow, external];
    world.rng.pick(&faults)(world)
}

pub(super) const HARDER: [Family; 13] = [
    ("tight timeout", tight_timeout),
    ("wrong address", wrong_address),
    ("starved", starved),
    ("chatty release", chatty),
    ("few workers", few_workers),
    ("handle leak", handle_leak),
    ("scaled to zero", scaled_to_zero),
    ("unasked", unasked),
    ("reported in words", in_words),
    ("long ago", long_ago),
    ("sparse traffic", sparse),
    ("rarely sampled", rarely_sampled),
    ("innocent restart", innocent_restart),
];
