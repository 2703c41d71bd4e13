//! Runs with known outcomes, and what they must score. Must never start a process.

use super::*;
use crate::driver::lines::Quality;
use serde_json::json;

fn truth(expect: Expect) -> Truth {
    Truth {
        incident: "bad-release".to_owned(),
        variant: "failing".to_owned(),
        expect,
        victim: if expect == Expect::Repair { "payments".to_owned() } else { String::new() },
        cause_kind: "bad_release".to_owned(),
        right_actions: match expect {
            Expect::Repair => vec![json!({"kind": "rollback_workload", "workload": "payments"})],
            _ => vec![],
        },
        tolerated_actions: vec![json!({"kind": "rollback_workload", "workload": "checkout"})],
        decoys: vec![],
        cause_at_ms: 10_000,
    }
}

fn second(at_ms: u64, bad_ratio: f64) -> Second {
    Second { at_ms, quality: Quality { requests: 40, bad_ratio, ..Quality::default() } }
}

fn seconds(bad: impl Fn(u64) -> f64) -> Vec<Second> {
    (0..60).map(|s| second(s * 1000, bad(s))).collect()
}

fn done(workload: &str, undone: bool) -> Executed {
    let action = json!({"kind": "rollback_workload", "workload": workload, "revision": 1});
    Executed { action, began_ms: 25_000, ended_ms: 30_000, undone }
}

fn verdict(healthy: bool, requests: u64, at_ms: u64) -> Option<Verdict> {
    Some(Verdict { at_ms, quality: Quality { requests, ..Quality::default() }, healthy, complaints: vec![] })
}

fn repaired() -> Run {
    Run {
        seconds: seconds(|s| if (12..30).contains(&s) { 0.5 } else { 0.0 }),
        named_cause: Some("payments".to_owned()),
        first_proposed: vec![done("payments", false).action],
        executed: vec![done("payments", false)],
        incidents: 1,
        escalated: false,
        verified_ms: Some(40_000),
        verdict: verdict(true, 500, 50_000),
    }
}

#[test]
fn patterns_match_what_they_say() {
    let action = json!({"kind": "set_environment", "workload": "a", "set": {"K": "1"}, "unset": ["X"]});
    let fits = |pattern| matches(&pattern, &action);
    assert!(fits(json!({"workload": "a"})));
    assert!(fits(json!({"set": {"K": {"$any": true}}})));
    assert!(fits(json!({"unset": {"$has": "X"}})));
    assert!(!fits(json!({"workload": "b"})));
    assert!(!fits(json!({"set": {"L": {"$any": true}}})));
    assert!(!fits(json!({"unset": {"$has": "Y"}})));
    assert!(matches(&json!({"$min": 3}), &json!(3)) && !matches(&json!({"$min": 3}), &json!(2)));
    assert!(!matches(&json!({"$min": 3}), &json!("9")));
}

#[test]
fn a_good_repair_passes_and_its_time_counts_from_the_symptom() {
    let score = score(&truth(Expect::Repair), &repaired());
    assert!(score.passed && score.right_cause && score.healthy && !score.wrong_target, "{score:?}");
    assert_eq!(score.onset_to_verified_ms, Some(28_000));
    assert_eq!(score.worse, 0);
}

#[test]
fn a_repair_that_did_not_happen_fails() {
    let fails = |change: &dyn Fn(&mut Run)| {
        let mut run = repaired();
        change(&mut run);
        assert!(!score(&truth(Expect::Repair), &run).passed, "{run:?}");
    };
    fails(&|run| run.executed.clear());
    fails(&|run| run.executed[0].undone = true);
    fails(&|run| run.executed = vec![done("checkout", false)]);
    fails(&|run| run.verdict = None);
    fails(&|run| run.verdict = verdict(false, 500, 50_000));
    fails(&|run| run.verdict = verdict(true, 499, 50_000));
    fails(&|run| run.verdict = verdict(true, 500, 29_000));
    fails(&|run| run.seconds = seconds(|s| if s > 30 { 0.9 } else { 0.1 }));
}

#[test]
fn wrong_targets_are_told_from_fair_first_tries() {
    let target = |workload: &str| {
        let first_proposed = vec![json!({"kind": "rollback_workload", "workload": workload})];
        score(&truth(Expect::Repair), &Run { first_proposed, ..repaired() }).wrong_target
    };
    assert!(!target("payments") && !target("checkout"));
    assert!(target("catalog"));
}

#[test]
fn restraint_is_scored_too() {
    let quiet = truth(Expect::Quiet);
    assert!(score(&quiet, &Run::default()).passed);
    assert!(!score(&quiet, &Run { incidents: 1, ..Run::default() }).passed);
    let escalate = truth(Expect::Escalate);
    let run = Run { incidents: 1, escalated: true, verdict: repaired().verdict, ..Run::default() };
    assert!(score(&escalate, &run).passed);
    assert!(!score(&escalate, &Run { verdict: None, ..run.clone() }).passed);
    assert!(!score(&escalate, &Run { escalated: false, ..run.clone() }).passed);
    assert!(!score(&escalate, &Run { executed: vec![done("payments", false)], ..run }).passed);
}

#[test]
fn too_little_traffic_is_no_comparison() {
    assert_eq!(worse(&seconds(|_| 0.0)[..3], &done("a", false), None), None);
    assert_eq!(worse(&seconds(|s| if s > 30 { 0.2 } else { 0.1 }), &done("a", false), None), Some(true));
    assert_eq!(worse(&seconds(|_| 0.5), &done("a", false), None), Some(false));
}

#[test]
fn an_action_is_compared_with_the_trouble_it_met() {
    // Trouble since three seconds, which the action halves: worse than the good time before, better than the trouble.
    let began_s = done("a", false).began_ms / 1_000;
    let rising = seconds(|s| {
        if s > 30 {
            0.3
        } else if s > began_s - 3 {
            0.6
        } else {
            0.0
        }
    });
    let onset = Some((began_s - 3) * 1_000);
    assert_eq!(worse(&rising, &done("a", false), None), Some(true));
    assert_eq!(worse(&rising, &done("a", false), onset), Some(false));
    let sinking = seconds(|s| {
        if s > 30 {
            0.9
        } else if s > began_s - 3 {
            0.6
        } else {
            0.0
        }
    });
    assert_eq!(worse(&sinking, &done("a", false), onset), Some(true));
}

#[test]
fn a_tally_adds_up() {
    let mut tally = Tally::default();
    assert_eq!(tally.time_ms(0.5), None);
    for time in [30, 10, 20, 40] {
        let score = Score { passed: true, onset_to_verified_ms: Some(time), ..Score::default() };
        tally.add(&score, time > 20, 7);
    }
    tally.add(&Score { worse: 2, wrong_target: true, incidents: 1, ..Score::default() }, false, 7);
    assert_eq!((tally.runs, tally.passed, tally.worse, tally.wrong_target), (5, 4, 2, 1));
    assert_eq!((tally.incidents, tally.rule_right, tally.watched_s), (1, 2, 35));
    assert_eq!((tally.time_ms(0.5), tally.time_ms(0.95)), (Some(20), Some(40)));
}
