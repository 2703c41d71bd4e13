//! The families of faults, with what the right answer is, and their healthy twins.

use opsward_domain::action::{Action, RollbackWorkload, ScaleWorkload};
use opsward_domain::alert::Condition;
use opsward_domain::cause::{CauseKind, Change};
use opsward_domain::name::{Volume, Workload};
use opsward_domain::resource::{ReplicaExit, ReplicaState, Revision};
use opsward_domain::telemetry::{Level, Lifecycle, ReplicaEvent};

use super::world::*;

/// The right answer.
#[derive(Debug, Clone)]
pub(super) struct Truth {
    pub(super) kinds: Vec<CauseKind>,
    /// Absent: outside.
    pub(super) workload: Option<Workload>,
    /// Wire word of the first remedy; empty means none.
    pub(super) remedy: &'static str,
}

pub(super) const SERVICES: [usize; 5] = [GATEWAY, CATALOG, CHECKOUT, PAYMENTS, LEDGER];
const CALLEES: [usize; 3] = [CATALOG, PAYMENTS, LEDGER];

pub(super) fn truth(world: &World, kinds: &[CauseKind], role: usize, remedy: &'static str) -> Truth {
    Truth { kinds: kinds.to_vec(), workload: Some(world.name(role)), remedy }
}

/// Records a change of `role` at `second`; `env` tells a configuration from a release.
pub(super) fn change(world: &mut World, role: usize, second: i64, env: Option<(&str, &str)>) {
    let at_ms = world.at(second);
    let name = world.name(role);
    let status = &mut world.statuses[role];
    let previous = status.revision;
    let mut spec = status.spec.clone();
    match env {
        Some((key, value)) => {
            spec.env.insert(key.into(), value.into());
        }
        None => {
            spec.version = format!("1.0.{previous}");
            spec.files.insert("release.bin".into(), format!("BBBB{previous}"));
        }
    }
    status.spec = spec.clone();
    status.revision = previous + 1;
    status.revisions.push(Revision { revision: previous + 1, at_ms, spec });
    for replica in &mut status.replicas {
        replica.revision = previous + 1;
        replica.started_at_ms = at_ms;
    }
    let action = if env.is_some() { "set_environment" } else { "deploy_workload" };
    world.changes.push(Change {
        at_ms,
        workload: Some(name.clone()),
        action: action.into(),
        by: "dev".into(),
        summary: format!("{action} {name}"),
        undo: Some(Action::RollbackWorkload(RollbackWorkload { workload: name, revision: previous })),
    });
}

pub(super) fn exit(world: &mut World, role: usize, second: i64, reason: &str) {
    let at_ms = world.at(second);
    let exit = ReplicaExit { at_ms, code: (reason == "exited").then_some(1), signal: None, reason: reason.into() };
    world.statuses[role].replicas[0].last_exit = Some(exit.clone());
    let workload = world.name(role);
    let workspace = opsward_domain::name::Workspace::parse("shop").unwrap();
    world.events.push(ReplicaEvent { workspace, workload, replica: 0, at_ms, what: Lifecycle::Exited { exit } });
}

pub(super) fn errors(world: &mut World, victim: usize) {
    let (onset, share) = (world.onset, world.rng.range(0.12, 0.7));
    world.weather(move |role, t, w| {
        if role == victim && t >= onset {
            w.errors = share;
        }
    });
    world.says(victim, "request failed: unexpected state", Level::Error);
}

pub(super) fn slowness(world: &mut World, victim: usize, times: f64) {
    let onset = world.onset;
    world.weather(move |role, t, w| {
        if role == victim && t >= onset {
            w.slow = times;
            w.queue = 1.0;
        }
    });
    world.alert = Some((GATEWAY, Condition::LatencyP95 { above_ms: 400.0 }));
}

pub(super) fn bad_release(world: &mut World) -> Truth {
    let victim = world.rng.pick(&SERVICES);
    let lag = world.rng.int(1, 8);
    change(world, victim, world.onset - lag, None);
    if world.rng.chance(0.3) {
        let times = world.rng.range(12.0, 30.0);
        slowness(world, victim, times);
    } else {
        errors(world, victim);
    }
    truth(world, &[CauseKind::BadRelease], victim, "rollback_workload")
}

pub(super) fn bad_configuration(world: &mut World) -> Truth {
    let victim = world.rng.pick(&SERVICES);
    let lag = world.rng.int(1, 8);
    change(world, victim, world.onset - lag, Some(("REGION", "eu-99")));
    errors(world, victim);
    truth(world, &[CauseKind::BadConfiguration], victim, "rollback_workload")
}

fn late_configuration(world: &mut World) -> Truth {
    let victim = world.rng.pick(&SERVICES);
    let lag = world.rng.int(60, 300).min(world.onset - 10);
    change(world, victim, world.onset - lag, Some(("REGION", "eu-99")));
    errors(world, victim);
    world.says(victim, "request failed: unknown region \"eu-99\"", Level::Error);
    truth(world, &[CauseKind::BadConfiguration], victim, "rollback_workload")
}

fn late_configuration_behind_a_deploy(world: &mut World) -> Truth {
    let found = late_configuration(world);
    let other = world.rng.pick(&SERVICES);
    let lag = world.rng.int(-2, 3);
    if Some(world.name(other)) == found.workload {
        change(world, other, world.onset - lag, None);
        return Truth { remedy: "set_environment", ..found };
    }
    change(world, other, world.onset - lag, None);
    found
}

fn leak(world: &mut World) -> Truth {
    let victim = world.rng.pick(&SERVICES);
    let began = (world.onset - world.rng.int(60, 300)).max(5);
    let onset = world.onset;
    world.weather(move |role, t, w| {
        if role == victim && t >= began {
            let share = (t - began) as f64 / (onset - began).max(1) as f64;
            w.memory = (0.3 + 0.6 * share).min(0.99);
            w.slow = if t >= onset { 25.0 } else { 1.0 };
            w.errors = if t >= onset { 0.2 } else { 0.003 };
        }
    });
    if world.rng.chance(0.5) {
        change(world, victim, began - 1, None);
        return truth(world, &[CauseKind::MemoryLeak, CauseKind::BadRelease], victim, "rollback_workload");
    }
    if world.rng.chance(0.5) {
        let second = world.length - 5;
        exit(world, victim, second, "memory_limit");
    }
    truth(world, &[CauseKind::MemoryLeak], victim, "restart_workload")
}

pub(super) fn crash_loop(world: &mut World) -> Truth {
    let victim = world.rng.pick(&CALLEES);
    let onset = world.onset;
    world.weather(move |role, t, w| {
        if role == victim && t >= onset {
            (w.dead, w.dead_code) = (0.95, "connect_error");
        }
    });
    let changed = world.rng.chance(0.7);
    if changed {
        let env = world.rng.chance(0.5).then_some(("TOKEN_URL", ""));
        change(world, victim, onset - 2, env);
    }
    let length = world.length;
    for second in [0, 1, 3, 7, 15, 31, 61].into_iter().filter(|second| onset + second < length) {
        exit(world, victim, onset + second, "exited");
        world.statuses[victim].replicas[0].restarts += 1;
    }
    world.statuses[victim].replicas.iter_mut().for_each(|r| (r.state, r.pid) = (ReplicaState::Backoff, None));
    truth(world, &[CauseKind::CrashLoop], victim, if changed { "rollback_workload" } else { "restart_workload" })
}

pub(super) fn dependency_down(world: &mut World) -> Truth {
    let victim = world.rng.pick(&[CACHE, LEDGER, PAYMENTS]);
    let onset = world.onset;
    world.weather(move |role, t, w| {
        if role == victim && t >= onset {
            (w.dead, w.dead_code, w.silent) = (1.0, "connect_error", true);
        }
    });
    exit(world, victim, onset, "exited");
    let exit = world.statuses[victim].replicas[0].last_exit.clone();
    for replica in &mut world.statuses[victim].replicas {
        (replica.state, replica.pid, replica.last_exit) = (ReplicaState::Stopped, None, exit.clone());
    }
    truth(world, &[CauseKind::DependencyDown], victim, "restart_workload")
}

pub(super) fn dependency_slow(world: &mut World) -> Truth {
    let victim = world.rng.pick(&[CATALOG, PAYMENTS, LEDGER, CACHE]);
    let times = world.rng.range(15.0, 40.0);
    slowness(world, victim, times);
    truth(world, &[CauseKind::DependencySlow], victim, "restart_workload")
}

pub(super) fn volume_full(world: &mut World) -> Truth {
    let (onset, length) = (world.onset, world.length);
    errors(world, LEDGER);
    world.says(LEDGER, "append failed: File too large (os error 27)", Level::Error);
    world.volumes[0].used_bytes = world.volumes[0].size_bytes - 1000;
    let size = world.volumes[0].size_bytes as f64;
    let points = (0..length).map(|t| (world.at(t), size * (t as f64 / onset as f64).min(1.0))).collect();
    world.volume_used.insert(Volume::parse("journal").unwrap(), points);
    truth(world, &[CauseKind::VolumeFull], LEDGER, "resize_volume")
}

fn overload(world: &mut World) -> Truth {
    let victim = world.rng.pick(&[CATALOG, CHECKOUT, PAYMENTS]);
    let (onset, times, errors) = (world.onset, world.rng.range(1.6, 3.0), world.rng.range(0.1, 0.4));
    let scaled = world.rng.chance(0.4);
    if scaled {
        let name = world.name(victim);
        let undo = Some(Action::ScaleWorkload(ScaleWorkload { workload: name.clone(), replicas: 4 }));
        let at_ms = world.at(onset - 2);
        let (action, by, summary) = ("scale_workload".into(), "dev".into(), "4 to 2".into());
        world.changes.push(Change { at_ms, workload: Some(name), action, by, summary, undo });
    } else {
        world.traffic = Box::new(move |t| if t >= onset - 3 { times } else { 1.0 });
    }
    world.weather(move |role, t, w| {
        if role == victim && t >= onset {
            (w.queue, w.slow, w.errors) = (25.0, 3.0, errors);
        }
    });
    world.says(victim, "queue full: 8/8 workers busy", Level::Error);
    truth(world, &[CauseKind::Overload], victim, "scale_workload")
}

pub(super) fn hung(world: &mut World) -> Truth {
    let victim = world.rng.pick(&[CATALOG, PAYMENTS, LEDGER, CACHE]);
    let onset = world.onset;
    let silent = victim != CACHE;
    world.weather(move |role, t, w| {
        if role == victim && t >= onset {
            (w.dead, w.silent, w.busy) = (1.0, silent, 0.0);
        }
    });
    if silent {
        world.statuses[victim].replicas.iter_mut().for_each(|r| r.state = ReplicaState::Unhealthy);
    }
    truth(world, &[CauseKind::Hung], victim, "restart_workload")
}

pub(super) fn external(world: &mut World) -> Truth {
    let (onset, share) = (world.onset, world.rng.range(0.3, 1.0));
    let slow = world.rng.chance(0.3);
    if slow {
        world.outside = Box::new(move |t| if t >= onset { (0.002, 30.0, "503") } else { (0.002, 1.0, "503") });
        world.alert = Some((GATEWAY, Condition::LatencyP95 { above_ms: 400.0 }));
    } else {
        let code = world.rng.pick(&["503", "timeout", "connect_error"]);
        world.outside = Box::new(move |t| if t >= onset { (share, 1.0, code) } else { (0.002, 1.0, "503") });
    }
    if world.rng.chance(0.5) {
        let tempting = world.rng.pick(&[GATEWAY, CHECKOUT, PAYMENTS, CATALOG]);
        change(world, tempting, onset - 1, None);
    }
    Truth { kinds: vec![CauseKind::ExternalDependency], workload: None, remedy: "" }
}

fn exhaustion(world: &mut World) -> Truth {
    let victim = world.rng.pick(&[CHECKOUT, PAYMENTS]);
    let (onset, files) = (world.onset, world.rng.chance(0.5));
    world.weather(move |role, t, w| {
        if role == victim && files {
            w.open_files = (60.0 + 964.0 * (t as f64 / onset as f64)).min(1024.0);
        }
        if role == victim && t >= onset {
            if files {
                w.errors = 0.5;
            } else {
                w.local = 0.4;
            }
        }
    });
    truth(world, &[CauseKind::ResourceExhaustion], victim, "restart_workload")
}

fn broken_contract(world: &mut World) -> Truth {
    let (caller, callee) = world.rng.pick(&[(CHECKOUT, PAYMENTS), (GATEWAY, CATALOG), (CHECKOUT, LEDGER)]);
    let lag = world.rng.int(1, 6);
    change(world, callee, world.onset - lag, None);
    errors(world, caller);
    let peer = world.names[callee];
    world.says(caller, &format!("upstream {peer}: cannot decode answer: missing field id"), Level::Error);
    truth(world, &[CauseKind::BadRelease], callee, "rollback_workload")
}

fn amplifying_release(world: &mut World) -> Truth {
    let (caller, callee) = (CHECKOUT, LEDGER);
    let onset = world.onset;
    let times = world.rng.range(4.0, 8.0);
    let lag = world.rng.int(1, 6);
    change(world, caller, onset - lag, None);
    world.weather(move |role, t, w| {
        if t >= onset && role == caller {
            w.fan_out = times;
        }
        if t > onset && role == callee {
            (w.queue, w.slow, w.errors) = (20.0, 6.0, 0.2);
        }
    });
    truth(world, &[CauseKind::BadRelease], caller, "rollback_workload")
}

fn innocent_deploy(world: &mut World) -> Truth {
    let faults: [fn(&mut World) -> Truth; 5] = [dependency_down, dependency_slow, volume_full, hung, overload];
    let found = world.rng.pick(&faults)(world);
    let others: Vec<usize> = SERVICES.into_iter().filter(|r| Some(world.name(*r)) != found.workload).collect();
    let tempting = world.rng.pick(&others);
    let lag = world.rng.int(-3, 4);
    change(world, tempting, world.onset - lag, None);
    found
}

fn misnamed(world: &mut World) -> Truth {
    let faults: [fn(&mut World) -> Truth; 4] = [bad_release, bad_configuration, hung, crash_loop];
    let found = world.rng.pick(&faults)(world);
    let named = world.rng.pick(&SERVICES);
    world.alert = world.alert.clone().map(|(_, condition)| (named, condition));
    found
}

/// A family by name.
pub(super) type Family = (&'static str, fn(&mut World) -> Truth);

pub(super) const FAMILIES: [Family; 19] = [
    ("bad release", bad_release),
    ("bad configuration", bad_configuration),
    ("late configuration", late_configuration),
    ("late configuration behind a deploy", late_configuration_behind_a_deploy),
    ("memory leak", leak),
    ("crash loop", crash_loop),
    ("dependency down", dependency_down),
    ("dependency slow", dependency_slow),
    ("volume full", volume_full),
    ("overload", overload),
    ("hung", hung),
    ("external", external),
    ("exhaustion", exhaustion),
    ("broken contract", broken_contract),
    ("amplifying release", amplifying_release),
    ("innocent deploy", innocent_deploy),
    ("misnamed alert", misnamed),
    ("quiet fault", quiet),
    ("one replica hung", one_hung),
];

/// One of two replicas stops; the balancer leaves it out after a while, so the errors may be over.
fn one_hung(world: &mut World) -> Truth {
    let victim = world.rng.pick(&[CATALOG, PAYMENTS, CHECKOUT]);
    let (onset, errors_s) = (world.onset, world.rng.int(4, 60));
    world.weather(move |role, t, w| {
        if role == victim && t >= onset && t < onset + errors_s {
            w.dead = 0.5;
        }
    });
    world.statuses[victim].replicas[1].state = ReplicaState::Unhealthy;
    truth(world, &[CauseKind::Hung], victim, "restart_workload")
}

/// Adds what goes on in any real place: an unrelated change, a burst, a complaint.
pub(super) fn distract(world: &mut World, truth: &Truth) {
    let others: Vec<usize> = SERVICES.into_iter().filter(|r| Some(world.name(*r)) != truth.workload).collect();
    let other = world.rng.pick(&others);
    if world.rng.chance(0.5) {
        let second = (world.onset + world.rng.int(-120, 6)).max(2);
        let env = world.rng.chance(0.5).then_some(("FEATURE_X", "on"));
        change(world, other, second, env);
    }
    if world.rng.chance(0.4) {
        let from = world.rng.int(5, world.onset - 5);
        let bad = world.rng.range(0.05, 0.4);
        world.weather(move |role, t, w| {
            if role == other && (from..from + 3).contains(&t) {
                w.errors += bad;
                w.slow += 2.0;
            }
        });
    }
    if world.rng.chance(0.4) {
        world.says(other, "slow query took 1204 ms", Level::Warn);
    }
}

/// A small fault that still breaks the objective.
fn quiet(world: &mut World) -> Truth {
    let victim = world.rng.pick(&[CATALOG, CHECKOUT]);
    change(world, victim, world.onset - 2, None);
    let onset = world.onset;
    world.weather(move |role, t, w| {
        if role == victim && t >= onset {
            w.errors = 0.13;
        }
    });
    truth(world, &[CauseKind::BadRelease], victim, "rollback_workload")
}

/// Makes a noisy but healthy stretch of the kind that tempts.
pub(super) fn twin(world: &mut World, which: u64) {
    world.alert = None;
    let victim = world.rng.pick(&SERVICES);
    let from = world.rng.int(20, world.length - 12);
    match which % 9 {
        0 => {}
        1 => world.weather(move |role, t, w| {
            if role == victim && (from..from + 3).contains(&t) {
                w.errors = 0.4;
            }
        }),
        2 => world.weather(move |role, t, w| {
            if role == victim && (from..from + 2).contains(&t) {
                w.slow = 15.0;
            }
        }),
        3 => {
            change(world, victim, from, None);
            exit(world, victim, from, "stopped");
        }
        4 => world.traffic = Box::new(move |t| if t >= from { 1.2 } else { 1.0 }),
        5 => world.weather(move |role, t, w| {
            if role == victim {
                w.memory = (0.3 + t as f64 / 200.0).min(0.65);
            }
        }),
        6 => {
            world.volumes[0].used_bytes = world.volumes[0].size_bytes * 8 / 10;
        }
        7 => {
            exit(world, victim, from, "exited");
            change(world, GATEWAY, from + 1, Some(("LOG_LEVEL", "debug")));
        }
        _ => {
            world.outside =
                Box::new(move |t| if (from..from + 3).contains(&t) { (0.5, 4.0, "503") } else { (0.002, 1.0, "503") })
        }
    }
}
