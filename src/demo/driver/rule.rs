//! The twenty-line rule that a run is compared with: "revert the last change, else restart the
//! loudest". Public facts only. Must stay as simple as it is; it is the thing to beat.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A change as anybody can read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which workload.
    pub workload: String,
    /// The action's kind, for example `deploy_workload`.
    pub kind: String,
    /// When it was made, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Number of replicas, or the revision, before it.
    pub before: u64,
}

/// How long a change stays a suspect.
pub const SUSPECT_MS: u64 = 15 * 60 * 1000;

/// What the rule does, from the changes, the errors per workload, and the time.
#[must_use]
pub fn decide(changes: &[Change], errors: &BTreeMap<String, u64>, now_ms: u64) -> Option<Value> {
    let recent = |change: &&Change| now_ms.saturating_sub(change.at_ms) <= SUSPECT_MS;
    if let Some(last) = changes.iter().filter(recent).max_by_key(|change| change.at_ms) {
        return Some(match last.kind.as_str() {
            "scale_workload" => {
                json!({"kind": "scale_workload", "workload": last.workload, "replicas": last.before})
            }
            _ => {
                json!({"kind": "rollback_workload", "workload": last.workload, "revision": last.before})
            }
        });
    }
    let loudest = errors.iter().filter(|(_, count)| **count > 0).max_by_key(|(_, count)| **count)?;
    Some(json!({"kind": "restart_workload", "workload": loudest.0}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::lines::Expect;
    use crate::driver::score::right;
    use crate::inject;
    use crate::world::World;

    fn change(workload: &str, kind: &str, at_ms: u64, before: u64) -> Change {
        Change { workload: workload.to_owned(), kind: kind.to_owned(), at_ms, before }
    }

    #[test]
    fn it_reverts_the_last_change_else_restarts_the_loudest() {
        let changes = [change("a", "deploy_workload", 5, 1), change("b", "scale_workload", 9, 2)];
        let errors = BTreeMap::from([("a".to_owned(), 3), ("c".to_owned(), 9)]);
        let decided = decide(&changes, &errors, 10).unwrap();
        assert_eq!(decided, json!({"kind": "scale_workload", "workload": "b", "replicas": 2}));
        let decided = decide(&changes, &errors, 10 + SUSPECT_MS).unwrap();
        assert_eq!(decided["workload"], "c");
        assert_eq!(decide(&[], &BTreeMap::new(), 10), None);
    }

    /// Plays the rule over every incident and many seeds on the scripts themselves. Where there
    /// was no change, it is given the benefit of restarting what is frozen only if that is loudest,
    /// which a silent process never is: its callers are.
    #[test]
    fn it_solves_no_more_than_a_third() {
        let (mut solved, mut all) = (0, 0);
        for (name, _) in inject::incidents() {
            for seed in 0..60 {
                let world = World::new(seed);
                let script = inject::script(&world, name, false, seed, 1.0).unwrap();
                let changes = script.changes();
                let errors = BTreeMap::from([("gateway".to_owned(), 10)]);
                let decided = decide(&changes, &errors, u64::from(u32::MAX));
                let truth = &script.truth;
                all += 1;
                solved +=
                    u32::from(truth.expect == Expect::Repair && decided.is_some_and(|action| right(truth, &action)));
            }
        }
        assert!(all == 720 && solved * 3 <= all, "{solved} of {all}");
        assert!(solved * 12 >= all, "it must not be a straw man: {solved} of {all}");
    }
}
