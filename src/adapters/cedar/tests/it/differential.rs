//! Cedar against the plain Rust reference over random questions, and what must hold for all of them.

use std::sync::LazyLock;

use opsward_cedar::CedarPolicy;
use opsward_domain::context::Origin;
use opsward_domain::effect::Risk;
use opsward_domain::label::Integrity;
use opsward_domain::name::{Subject, Tenant};
use opsward_domain::principal::{Kind, Role};
use opsward_ports::policy::conformance::plain_question;
use opsward_ports::policy::{Approver, Question, Verb, memory};
use proptest::prelude::*;
use proptest::sample::select;

static POLICY: LazyLock<CedarPolicy> = LazyLock::new(|| CedarPolicy::defaults().unwrap());

fn approvers() -> impl Strategy<Value = Approver> {
    (select(vec!["asker", "b", "c", "d"]), select(Role::ALL.to_vec()), prop::bool::weighted(0.2))
        .prop_map(|(name, role, asker)| Approver { subject: Subject::parse(name).unwrap(), role, asker })
}

prop_compose! {
    fn questions()(
        verb in select(Verb::all()),
        kind in prop_oneof![4 => Just(Kind::Person), 2 => Just(Kind::Remediator), 1 => Just(Kind::System)],
        role in prop::option::weighted(0.9, select(Role::ALL.to_vec())),
        origin in select(Origin::ALL.to_vec()),
        more_risk in 0_u8..3,
        integrity in select(vec![Integrity::System, Integrity::Operator, Integrity::Typed, Integrity::Untrusted]),
        (foreign, switched_off, attested) in
            (prop::bool::weighted(0.05), prop::bool::weighted(0.05), prop::bool::weighted(0.95)),
        (sources_may, reversible) in (prop::bool::weighted(0.8), prop::bool::weighted(0.8)),
        approvers in prop::collection::vec(approvers(), 0..4),
        members in 0_u32..5,
        blast_percent in select(vec![0_u8, 49, 50, 51, 100]),
    ) -> Question {
        let plain = plain_question(verb);
        Question {
            kind, role, origin, integrity, switched_off, attested, sources_may, reversible, approvers, members,
            blast_percent,
            risk: Risk(plain.risk.0 + more_risk),
            resource_tenant: Tenant::parse(if foreign { "other" } else { "acme" }).unwrap(),
            ..plain
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cedar_says_what_the_reference_says(question in questions()) {
        prop_assert_eq!(POLICY.decide(&question), memory::decide(&question));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_further_yes_never_refuses(question in questions(), yes in approvers()) {
        let mut more = question.clone();
        more.approvers.push(yes);
        prop_assert!(!POLICY.decide(&question).allowed || POLICY.decide(&more).allowed);
    }

    #[test]
    fn no_text_and_no_source_ever_widens(question in questions()) {
        let clean = Question { integrity: Integrity::System, sources_may: true, ..question.clone() };
        prop_assert!(!POLICY.decide(&question).allowed || POLICY.decide(&clean).allowed);
    }

    #[test]
    fn a_weaker_role_never_gains(question in questions()) {
        let stronger = Question { role: Some(Role::Owner), ..question.clone() };
        prop_assert!(!POLICY.decide(&question).allowed || POLICY.decide(&stronger).allowed);
    }
}
