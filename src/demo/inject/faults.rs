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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::lines::Expect;
    use crate::inject::scenario::Move;
    use std::collections::BTreeSet;

    fn each(twin: bool, check: impl Fn(&Script<'_>, &World)) {
        for incident in &INCIDENTS {
            for seed in 0..80 {
                let world = World::new(seed);
                check(&script(&world, incident.name, twin, seed, 1.0).unwrap(), &world);
            }
        }
    }

    #[test]
    fn every_script_tells_one_truth_that_can_be_acted_on() {
        each(false, |script, world| {
            let truth = &script.truth;
            let causes = script.moves.iter().filter(|next| **next == Move::Cause).count();
            assert_eq!(causes, 1, "{truth:?}");
            assert_ne!(script.moves.first(), Some(&Move::Cause), "{truth:?}");
            match truth.expect {
                Expect::Repair => {
                    assert!(!truth.right_actions.is_empty(), "{truth:?}");
                    assert!(world.workloads().contains(&truth.victim), "{truth:?}");
                    assert!(!truth.decoys.contains(&truth.victim), "{truth:?}");
                }
                _ => assert!(truth.victim.is_empty() && truth.right_actions.is_empty(), "{truth:?}"),
            }
        });
        each(true, |script, _| {
            assert_eq!(script.truth.expect, Expect::Quiet);
            assert!(script.truth.right_actions.is_empty() && script.truth.victim.is_empty());
        });
    }

    #[test]
    fn seeds_vary_victims_and_forms() {
        for incident in &INCIDENTS {
            let forms: BTreeSet<String> = (0..80)
                .map(|seed| {
                    let world = World::new(seed);
                    let truth = script(&world, incident.name, false, seed, 1.0).unwrap().truth;
                    format!("{}/{}", truth.victim, truth.variant)
                })
                .collect();
            assert!(forms.len() >= 2, "{}: {forms:?}", incident.name);
        }
        let world = World::new(1);
        assert!(script(&world, "no-such-incident", false, 1, 1.0).is_none());
    }

    #[test]
    fn what_others_can_read_does_not_tell() {
        let check = |script: &Script<'_>, _: &World| {
            for next in &script.moves {
                let text = match next {
                    Move::Act { action, reason } => format!("{action} {reason}"),
                    Move::Ship { release, reason } => {
                        format!("{} {reason}", serde_json::to_string(release).unwrap())
                    }
                    Move::Alert { name, summary, .. } => format!("{name} {summary}"),
                    _ => continue,
                }
                .to_lowercase();
                for word in ["inject", "fault", "chaos", "twin", "decoy", "victim", "simulat", "demo"] {
                    assert!(!text.contains(word), "{word}: {text}");
                }
            }
        };
        each(false, check);
        each(true, check);
    }
}
