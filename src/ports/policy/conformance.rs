//! What every policy engine must do, whatever its rules are written in. Asserts, so only for tests.

use opsward_domain::action::ActionKind;
use opsward_domain::context::Origin;
use opsward_domain::effect::{Effect, Risk};
use opsward_domain::label::Integrity;
use opsward_domain::name::{Subject, Tenant};
use opsward_domain::principal::{Kind, Role};

use super::{Answer, Approver, Policy, Question, Verb};

/// A harmless question about `verb`: an owner of tenant `acme` called `asker` types it, nothing speaks
/// against it, three people could approve. Tests change what they are about.
///
/// # Panics
/// Never with the names written here.
#[allow(clippy::unwrap_used, reason = "test support with constant names")]
pub fn plain_question(verb: Verb) -> Question {
    let facts = match &verb {
        Verb::Act { action } => ActionKind::parse(action).ok().map(ActionKind::facts),
        _ => None,
    };
    let acme = Tenant::parse("acme").unwrap();
    Question {
        subject: Subject::parse("asker").unwrap(),
        kind: Kind::Person,
        tenant: acme.clone(),
        role: Some(Role::Owner),
        origin: Origin::Cli,
        verb,
        effect: facts.map_or(Effect::Observe, |facts| facts.effect),
        risk: facts.map_or(Risk(0), |facts| facts.risk),
        resource_kind: facts.map_or("workspace", |facts| facts.resource).to_owned(),
        resource_name: String::new(),
        workspace: None,
        resource_tenant: acme,
        integrity: Integrity::Operator,
        sources_may: true,
        approvers: Vec::new(),
        members: 3,
        blast_percent: 0,
        reversible: true,
        switched_off: false,
        attested: true,
    }
}

/// Someone of `role` called `name` who said yes; `asker` is the asker.
///
/// # Panics
/// If `name` is not a valid subject.
#[allow(clippy::unwrap_used, reason = "test support")]
pub fn approver(name: &str, role: Role) -> Approver {
    Approver { subject: Subject::parse(name).unwrap(), role, asker: name == "asker" }
}

async fn ask(policy: &dyn Policy, question: &Question) -> Answer {
    let answer = policy.ask(question).await;
    assert!(answer.is_ok(), "{question:?}: {answer:?}");
    answer.unwrap_or(Answer { allowed: false, policies: Vec::new(), errors: Vec::new() })
}

/// Runs every check.
///
/// # Panics
/// If the engine breaks the contract.
pub async fn suite(policy: &dyn Policy) {
    refuses_what_nothing_permits(policy).await;
    refuses_misstatements(policy).await;
    keeps_the_wall(policy).await;
    only_gains_from_approvers(policy).await;
    assert_eq!(policy.set_digest(), policy.set_digest());
    assert!(policy.set_digest().len() >= 32, "a digest");
    assert_eq!(policy.advice("nosuchpolicy"), None);
}

async fn refuses_what_nothing_permits(policy: &dyn Policy) {
    for verb in Verb::all() {
        let stranger = Question { role: None, ..plain_question(verb) };
        let answer = ask(policy, &stranger).await;
        assert!(!answer.allowed && answer.errors.is_empty(), "{stranger:?}: {answer:?}");
    }
}

async fn refuses_misstatements(policy: &dyn Policy) {
    let logs = Verb::Observe { what: "logs".to_owned() };
    let delete = Verb::Act { action: "delete_volume".to_owned() };
    let wrong = [
        plain_question(Verb::Observe { what: "secrets".to_owned() }),
        plain_question(Verb::Act { action: "format_disk".to_owned() }),
        plain_question(Verb::Act { action: "changing".to_owned() }),
        plain_question(Verb::Govern { what: "scale_workload".to_owned() }),
        Question { effect: Effect::Change, ..plain_question(logs) },
        Question { effect: Effect::Change, ..plain_question(delete.clone()) },
        Question { risk: Risk(1), ..plain_question(delete) },
    ];
    for question in wrong {
        let answer = ask(policy, &question).await;
        assert!(!answer.allowed && !answer.errors.is_empty(), "{question:?}: {answer:?}");
    }
}

async fn keeps_the_wall(policy: &dyn Policy) {
    for verb in Verb::all() {
        let mut question = plain_question(verb);
        question.approvers = ["asker", "b", "c"].map(|name| approver(name, Role::Owner)).to_vec();
        let own = ask(policy, &question).await;
        assert!(own.allowed && !own.policies.is_empty(), "{question:?}: {own:?}");
        for id in &own.policies {
            assert!(policy.advice(id).is_some_and(|line| !line.contains('\n')), "{id} has one line of advice");
        }
        if let Ok(other) = Tenant::parse("other") {
            question.resource_tenant = other;
        }
        assert!(!ask(policy, &question).await.allowed, "{question:?}");
    }
}

async fn only_gains_from_approvers(policy: &dyn Policy) {
    let yes = [approver("asker", Role::Owner), approver("b", Role::Operator), approver("c", Role::Admin)];
    for verb in Verb::all() {
        for origin in Origin::ALL {
            let mut question = Question { origin, ..plain_question(verb.clone()) };
            let mut before = ask(policy, &question).await.allowed;
            for approver in yes.clone() {
                question.approvers.push(approver);
                let after = ask(policy, &question).await.allowed;
                assert!(after || !before, "a further yes refused {question:?}");
                before = after;
            }
            let forwards = ask(policy, &question).await;
            question.approvers.reverse();
            assert_eq!(forwards, ask(policy, &question).await, "order matters in {question:?}");
        }
    }
}
