//! The policy engine's twin: the same rules as one plain function, to compare the real engine against
//! and to test the gate without it. Never more lenient than the policy texts.

use async_trait::async_trait;
use opsward_domain::context::Origin;
use opsward_domain::effect::{Effect, Risk};
use opsward_domain::fault::Fault;
use opsward_domain::label::Integrity;
use opsward_domain::principal::{Kind, Role};

use super::{Answer, Policy, Question, Verb};

/// Answers by [`decide`].
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryPolicy;

#[async_trait]
impl Policy for MemoryPolicy {
    async fn ask(&self, question: &Question) -> Result<Answer, Fault> {
        Ok(decide(question))
    }
    fn set_digest(&self) -> String {
        opsward_domain::canonical::digest("opsward-policies-memory-1", &env!("CARGO_PKG_VERSION"))
    }
    fn advice(&self, policy: &str) -> Option<String> {
        policy.contains('.').then(|| format!("rule {policy} of the built-in set decided this"))
    }
}

/// The whole rule set: forbids first, then permits, else no.
pub fn decide(q: &Question) -> Answer {
    if let Some(error) = q.misstated() {
        return Answer { allowed: false, policies: Vec::new(), errors: vec![error] };
    }
    let (forbids, permits) = (forbids(q), permits(q));
    let allowed = forbids.is_empty() && !permits.is_empty();
    let deciding = if forbids.is_empty() { permits } else { forbids };
    let mut policies: Vec<String> = deciding.into_iter().map(str::to_owned).collect();
    policies.sort_unstable();
    Answer { allowed, policies, errors: Vec::new() }
}

fn forbids(q: &Question) -> Vec<&'static str> {
    let acting = matches!(q.verb, Verb::Act { .. });
    let proposed = matches!(q.origin, Origin::Agent | Origin::Alert);
    let asker = q.asker_agrees() && q.kind == Kind::Person;
    let others = q.others_agree();
    let someone = others >= 1 || asker;
    let another = others >= 1 || (asker && q.members <= 1);
    let person = q.kind == Kind::Person;
    let two = others >= 2 || (others >= 1 && (person || q.members <= 2)) || (asker && q.members <= 1);
    [
        ("tenancy.wall", q.tenant != q.resource_tenant),
        ("switches.off", acting && q.switched_off),
        ("switches.unattested", acting && !q.attested),
        ("switches.system", acting && (q.kind == Kind::System || q.origin == Origin::System)),
        ("taint.risk", acting && q.integrity == Integrity::Untrusted && q.risk >= Risk(2) && !someone),
        ("taint.sources", acting && !q.sources_may && !someone),
        ("approvals.yes", acting && !someone),
        ("approvals.agent_never", acting && proposed && q.risk >= Risk(4)),
        ("approvals.destroy", acting && q.effect == Effect::Destroy && !another),
        ("approvals.two_people", acting && q.risk >= Risk(3) && !two),
        ("approvals.blast", acting && q.blast_percent > 50 && q.role < Some(Role::Operator) && !another),
    ]
    .into_iter()
    .filter_map(|(id, hit)| hit.then_some(id))
    .collect()
}

fn permits(q: &Question) -> Vec<&'static str> {
    let person = |least: Role| q.kind == Kind::Person && q.role >= Some(least);
    let typed = |least: Role| person(least) && matches!(q.origin, Origin::Api | Origin::Cli);
    let release = person(Role::Developer) && q.risk <= Risk(2);
    let remediator = q.kind == Kind::Remediator && q.role >= Some(Role::Operator);
    let repairs = remediator && q.risk <= Risk(2);
    let word = q.verb.id();
    let is = |words: &[&str]| words.contains(&word.as_str());
    let reading = word.starts_with("observe_") && !is(&["observe_audit", "observe_people"]);
    let mends = is(&["scale_workload", "rollback_workload", "set_environment", "set_limits"])
        || is(&["activate_function", "resize_volume", "create_backup"]);
    let leaves_nothing = is(&["restart_workload", "verify_backup"]);
    let repairs_workload = is(&["scale_workload", "restart_workload", "rollback_workload", "set_limits"]);
    let deploys_workload = is(&["deploy_workload", "set_environment", "set_image"]);
    let deploys_function = is(&["deploy_function", "activate_function"]);
    [
        ("observe.viewer", reading && person(Role::Viewer)),
        ("observe.remediator", reading && q.kind == Kind::Remediator && q.role.is_some()),
        ("observe.system", word.starts_with("observe_") && q.kind == Kind::System),
        ("observe.audit", is(&["observe_audit"]) && person(Role::Operator)),
        ("observe.people", is(&["observe_people"]) && person(Role::Admin)),
        ("workload.release", deploys_workload && release),
        ("workload.repair", (deploys_workload || repairs_workload) && person(Role::Operator)),
        ("workload.remove", is(&["delete_workload"]) && person(Role::Admin)),
        ("function.release", (deploys_function || is(&["invoke_function"])) && release),
        ("function.repair", deploys_function && person(Role::Operator)),
        ("function.remove", is(&["delete_function"]) && person(Role::Admin)),
        ("backup.operate", is(&["create_backup", "verify_backup", "restore_backup"]) && person(Role::Operator)),
        ("backup.remove", is(&["delete_backup"]) && person(Role::Owner)),
        ("storage.resize", is(&["resize_volume"]) && person(Role::Operator)),
        ("storage.manage", is(&["create_volume", "delete_volume"]) && person(Role::Admin)),
        ("workspace.manage", is(&["create_workspace", "delete_workspace"]) && person(Role::Admin)),
        ("remediator.repair", repairs && (leaves_nothing || (mends && q.reversible))),
        ("govern.converse", is(&["converse"]) && person(Role::Viewer)),
        ("govern.schedule", is(&["schedule"]) && typed(Role::Viewer)),
        ("govern.raise_alert", is(&["raise_alert"]) && (q.kind != Kind::Person || q.role >= Some(Role::Developer))),
        ("govern.ingest", is(&["ingest_logs"]) && (q.kind != Kind::Person || q.role >= Some(Role::Developer))),
        ("govern.approve", is(&["approve"]) && typed(Role::Developer)),
        ("govern.switch", is(&["set_switch"]) && typed(Role::Operator)),
        ("govern.people", is(&["manage_people"]) && typed(Role::Admin)),
        ("govern.recovery_kit", is(&["take_recovery_kit"]) && typed(Role::Owner)),
    ]
    .into_iter()
    .filter_map(|(id, hit)| hit.then_some(id))
    .collect()
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    #[tokio::test]
    async fn passes_the_suite() {
        super::super::conformance::suite(&super::MemoryPolicy).await;
    }
}
