//! The twelve incidents, as scripts that a seed varies in victim, size, time and company.
//! Must never contain a repair.

mod blame;
mod machine;
mod settings;
mod software;
mod twins;

use super::scenario::Script;
use crate::world::World;

/// An incident and how its script is written.
pub(crate) struct Incident {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    fault: fn(&mut Script<'_>),
    twin: fn(&mut Script<'_>),
}

/// All of them, in the order in which a table shows them.
pub(crate) const INCIDENTS: [Incident; 12] = [
    Incident {
        name: "bad-release",
        summary: "a new version fails or is slow",
        fault: software::bad_release,
        twin: twins::good_release,
    },
    Incident {
        name: "bad-config",
        summary: "a configuration value is wrong",
        fault: settings::bad_value,
        twin: twins::good_value,
    },
    Incident {
        name: "memory-leak",
        summary: "memory grows until the platform kills the process at its limit (a real kill)",
        fault: software::memory_leak,
        twin: twins::memory_that_stays,
    },
    Incident {
        name: "crash-loop",
        summary: "processes end and are started again and again",
        fault: software::crash_loop,
        twin: twins::single_crash,
    },
    Incident {
        name: "dependency-down",
        summary: "a dependency stops answering",
        fault: machine::dependency_down,
        twin: twins::hiccup,
    },
    Incident {
        name: "dependency-latency",
        summary: "a dependency becomes slow",
        fault: machine::dependency_latency,
        twin: twins::collector_pauses,
    },
    Incident {
        name: "volume-full",
        summary: "a volume has no room left",
        fault: machine::volume_full,
        twin: twins::volume_fills_and_is_swept,
    },
    Incident {
        name: "wrong-scale",
        summary: "traffic is more than the replicas can take",
        fault: machine::wrong_scale,
        twin: twins::small_rush,
    },
    Incident {
        name: "misleading-alert",
        summary: "the alert names a service that is not the cause",
        fault: blame::misleading_alert,
        twin: twins::strangers,
    },
    Incident {
        name: "innocent-deploy",
        summary: "a harmless deploy lands when the trouble starts",
        fault: blame::innocent_deploy,
        twin: twins::busy_team,
    },
    Incident {
        name: "delayed-cause",
        summary: "the cause comes long before the symptom",
        fault: settings::delayed_cause,
        twin: twins::old_changes,
    },
    Incident {
        name: "external-failure",
        summary: "something outside the platform fails",
        fault: blame::external_failure,
        twin: twins::external_wobble,
    },
];

/// The script of an incident or of its healthy twin; `None` when there is no such incident.
pub(crate) fn script<'w>(world: &'w World, name: &str, twin: bool, seed: u64, pace: f64) -> Option<Script<'w>> {
    let incident = INCIDENTS.iter().find(|incident| incident.name == name)?;
    let mut script = Script::new(world, name, seed, pace);
    if twin {
        script.truth.expect = crate::driver::lines::Expect::Quiet;
        (incident.twin)(&mut script);
        script.cause();
    } else {
        (incident.fault)(&mut script);
    }
    Some(script)
}
