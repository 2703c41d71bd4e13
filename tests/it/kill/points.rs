//! The points at which the service is lost, and the scenes that reach them. Every kind of event has one.

use std::collections::BTreeSet;

/// What is being done while the service is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scene {
    /// The first start of all.
    First,
    /// One action that is asked for and approved.
    Scale,
    Restart,
    Deploy,
    Backup,
    Remove,
    /// A release that never becomes ready: it is taken back.
    BadRelease,
    /// The same, and somebody else changed it meanwhile: taking it back is refused.
    Meddled,
    /// An action that cannot be planned.
    Impossible,
    /// An action while a switch forbids effects.
    Withheld,
    /// A question answered without a model.
    Question,
    /// The same while the platform does not answer.
    Frozen,
    /// An alert from outside, linked, ended.
    Alert,
    /// An incident that a person hands over to people.
    Escalation,
    /// A volume that fills up: found, enlarged with a yes, measured.
    Full,
    /// Somebody says no; somebody cancels.
    Refusal,
    /// People, tokens and switches.
    People,
    /// A recovery kit on paper.
    Kit,
    /// A schedule, from being made to being removed.
    Schedule,
    /// A question that a model answers with a tool.
    Talk,
    /// A model calls a tool that there is not.
    Mistake,
    /// A model's endpoint refuses to answer.
    Silence,
    /// A model proposes a plan.
    Proposal,
    /// Nobody answers a request for a yes until it lapses. The last scene: time goes on for good.
    Lapse,
}

impl Scene {
    /// True if the service has a model in it.
    pub(super) fn talks(self) -> bool {
        matches!(self, Self::Talk | Self::Mistake | Self::Silence | Self::Proposal)
    }
}

pub(super) type Point = (Scene, &'static str);

/// Always.
pub(super) const QUICK: &[Point] = &[
    (Scene::First, "after:person_added:1"),
    (Scene::Scale, "after:action_requested:1"),
    (Scene::Deploy, "before:step_started:1"),
    (Scene::Restart, "after:step_started:1"),
    (Scene::Deploy, "apply:deploy_workload:1"),
    (Scene::Deploy, "applied:deploy_workload:1"),
    (Scene::Backup, "applied:create_backup:1"),
    (Scene::Restart, "before:step_succeeded:1"),
    (Scene::Remove, "applied:delete_volume:1"),
    (Scene::Question, "after:diagnosed:1"),
    (Scene::Withheld, "after:plan_withheld:1"),
    (Scene::Lapse, "before:approval_voided:1"),
    (Scene::Proposal, "after:model_replied:1"),
    (Scene::Mistake, "before:tool_failed:1"),
];

/// With `OPSWARD_FULL` set.
pub(super) const FULL: &[Point] = &[
    (Scene::First, "before:person_added:1"),
    (Scene::First, "after:role_set:1"),
    (Scene::First, "after:token_issued:1"),
    (Scene::Scale, "before:action_requested:1"),
    (Scene::Scale, "before:plan_proposed:1"),
    (Scene::Scale, "after:plan_proposed:1"),
    (Scene::Scale, "after:plan_decided:1"),
    (Scene::Scale, "before:approval_requested:1"),
    (Scene::Scale, "after:approval_requested:1"),
    (Scene::Scale, "before:approval_given:1"),
    (Scene::Scale, "after:approval_given:1"),
    (Scene::Scale, "after:approval_used:1"),
    (Scene::Scale, "apply:scale_workload:1"),
    (Scene::Scale, "applied:scale_workload:1"),
    (Scene::Scale, "after:step_succeeded:1"),
    (Scene::Scale, "before:plan_ended:1"),
    (Scene::Scale, "after:plan_ended:1"),
    (Scene::Restart, "apply:restart_workload:1"),
    (Scene::Restart, "applied:restart_workload:1"),
    (Scene::Backup, "apply:create_backup:1"),
    (Scene::Remove, "apply:delete_volume:1"),
    (Scene::Remove, "after:step_started:1"),
    (Scene::BadRelease, "before:step_failed:1"),
    (Scene::BadRelease, "after:step_failed:1"),
    (Scene::BadRelease, "after:undo_started:1"),
    (Scene::BadRelease, "applied:rollback_workload:1"),
    (Scene::BadRelease, "after:undo_succeeded:1"),
    (Scene::Meddled, "after:undo_failed:1"),
    (Scene::Impossible, "before:fault_raised:1"),
    (Scene::Impossible, "after:fault_raised:1"),
    (Scene::Withheld, "before:plan_withheld:1"),
    (Scene::Question, "after:message_received:1"),
    (Scene::Question, "after:turn_started:1"),
    (Scene::Question, "after:evidence_gathered:1"),
    (Scene::Question, "after:answer_given:1"),
    (Scene::Question, "after:turn_ended:1"),
    (Scene::Frozen, "before:evidence_missing:1"),
    (Scene::Frozen, "after:evidence_missing:1"),
    (Scene::Alert, "after:incident_opened:1"),
    (Scene::Alert, "after:alert_linked:1"),
    (Scene::Alert, "before:alert_cleared:1"),
    (Scene::Alert, "after:alert_cleared:1"),
    (Scene::Alert, "after:incident_resolved:1"),
    (Scene::Escalation, "before:incident_escalated:1"),
    (Scene::Escalation, "after:incident_escalated:1"),
    (Scene::Full, "before:goal_checked:1"),
    (Scene::Full, "after:goal_checked:1"),
    (Scene::Full, "applied:resize_volume:1"),
    (Scene::Refusal, "after:approval_refused:1"),
    (Scene::Refusal, "after:cancel_requested:1"),
    (Scene::People, "after:token_revoked:1"),
    (Scene::People, "after:switch_set:1"),
    (Scene::Kit, "before:recovery_kit_taken:1"),
    (Scene::Kit, "after:recovery_kit_taken:1"),
    (Scene::Schedule, "after:schedule_made:1"),
    (Scene::Schedule, "after:schedule_paused:1"),
    (Scene::Schedule, "before:schedule_fired:1"),
    (Scene::Schedule, "after:schedule_fired:1"),
    (Scene::Schedule, "after:tool_requested:1"),
    (Scene::Schedule, "after:tool_called:1"),
    (Scene::Schedule, "after:tool_returned:1"),
    (Scene::Schedule, "after:schedule_missed:1"),
    (Scene::Schedule, "after:schedule_removed:1"),
    (Scene::Lapse, "after:approval_voided:1"),
    (Scene::Talk, "before:model_replied:1"),
    (Scene::Talk, "before:looked:1"),
    (Scene::Talk, "after:looked:1"),
    (Scene::Mistake, "after:tool_failed:1"),
    (Scene::Silence, "before:model_failed:1"),
    (Scene::Silence, "after:model_failed:2"),
    (Scene::Proposal, "applied:scale_workload:1"),
];

/// What a point waits for: a kind of event, or of action.
pub(super) fn what(point: &str) -> &str {
    point.split(':').nth(1).unwrap_or_default()
}

pub(super) fn is_action(what: &str) -> bool {
    opsward_domain::action::ActionKind::parse(what).is_ok()
}

/// Every kind of event, as whoever reads one names them.
fn kinds() -> BTreeSet<String> {
    let unknown = serde_json::from_str::<opsward_domain::event::Body>(r#"{"type": "no such kind"}"#);
    let told = unknown.expect_err("there is such a kind").to_string();
    let listed = told.split_once("expected one of").expect("the kinds are listed").1;
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_kind_of_event_is_a_point_that_is_reached() {
    let kinds = kinds();
    assert!(kinds.len() > 40 && kinds.contains("person_added") && kinds.contains("schedule_removed"), "{kinds:?}");
    let named: BTreeSet<String> = QUICK.iter().chain(FULL).map(|(_, point)| what(point).to_owned()).collect();
    let without: Vec<_> = kinds.difference(&named).collect();
    assert!(without.is_empty(), "nothing is ever lost at these: {without:?}");
    let strange: Vec<_> = named.iter().filter(|what| !kinds.contains(*what) && !is_action(what)).collect();
    assert!(strange.is_empty(), "these are neither events nor actions: {strange:?}");
    let twice = QUICK.len() + FULL.len() - QUICK.iter().chain(FULL).collect::<BTreeSet<_>>().len();
    assert_eq!(twice, 0, "a point is listed twice");
}
