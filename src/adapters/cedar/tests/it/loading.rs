//! What loads, what is refused, and where the refusal points.

use opsward_cedar::{CedarPolicy, DEFAULT_FILES, schema_text};
use opsward_domain::effect::Risk;
use opsward_domain::principal::Role;
use opsward_ports::policy::conformance::{approver, plain_question, suite};
use opsward_ports::policy::{Policy as _, Question, Verb};

use crate::same_as_file;

fn act(action: &str) -> Question {
    plain_question(Verb::Act { action: action.to_owned() })
}

#[tokio::test]
async fn the_built_in_set_passes_the_suite() {
    suite(&CedarPolicy::defaults().unwrap()).await;
}

#[test]
fn the_schema_file_is_the_derived_schema() {
    same_as_file("schema.cedarschema", &schema_text());
}

#[test]
fn refusals_point_at_file_and_line() {
    let permit = "permit (principal, action, resource);";
    let cases = [
        (format!("// c\n{permit}"), "policy 1 has no @id"),
        (format!("\n@id(\"a.b\")\n{permit}"), "f.cedar:2"),
        (format!("@id(\"a.b\") @advice(\"x\")\n{permit}\n\n@id(\"a.b\") @advice(\"x\")\n{permit}"), "f.cedar:4"),
        ("\n\npermit (principal, action, resource".to_owned(), "f.cedar:3"),
        (
            "@id(\"a.b\") @advice(\"x\")\nforbid (principal, action, resource) when { context.nonsense };".to_owned(),
            "f.cedar:1",
        ),
        (
            "@id(\"a.b\") @advice(\"x\")\nforbid (principal, action, resource) when { context.risk == \"1\" };".to_owned(),
            "f.cedar:1",
        ),
        (
            "@id(\"a.b\") @advice(\"x\")\npermit (principal, action == Action::\"fly\", resource);".to_owned(),
            "f.cedar:1",
        ),
        (
            "@id(\"a.b\") @advice(\"x\")\nforbid (principal, action, resource) when { principal is Person && principal is System };"
                .to_owned(),
            "suspicious",
        ),
        ("@id(\"a.b\") @advice(\"x\")\npermit (principal == ?principal, action, resource);".to_owned(), "templates"),
    ];
    for (text, expected) in cases {
        let fault = CedarPolicy::load(&[("f.cedar", &text)]).unwrap_err();
        let shown = format!("{fault}");
        assert!(shown.contains(expected), "{text}: {shown}");
    }
}

#[test]
fn an_id_may_not_be_used_in_two_files() {
    let text = "@id(\"a.b\") @advice(\"x\") permit (principal, action, resource);";
    let fault = CedarPolicy::load(&[("one.cedar", text), ("two.cedar", text)]).unwrap_err();
    assert!(fault.to_string().contains("two.cedar:1") && fault.hint.contains("one.cedar:1"), "{fault:?}");
}

#[test]
fn nothing_permits_in_an_empty_set() {
    let empty = CedarPolicy::load(&[]).unwrap();
    for verb in Verb::all() {
        let answer = empty.decide(&plain_question(verb));
        assert!(!answer.allowed && answer.policies.is_empty() && answer.errors.is_empty());
    }
}

#[test]
fn an_erring_policy_is_reported_and_nothing_is_allowed() {
    // Fits the schema, but overflows when it is evaluated; Cedar would skip the forbid and allow.
    let erring = "@id(\"erring.limit\") @advice(\"x\") forbid (principal, action, resource) when \
                  { context.risk + 9223372036854775807 < 0 };";
    let files: Vec<_> = DEFAULT_FILES.iter().copied().chain([("erring.cedar", erring)]).collect();
    let policy = CedarPolicy::load(&files).unwrap();
    let question = Question { approvers: vec![approver("asker", Role::Owner)], ..act("restart_workload") };
    assert!(CedarPolicy::defaults().unwrap().decide(&question).allowed);
    let answer = policy.decide(&question);
    assert!(!answer.allowed, "{answer:?}");
    assert!(answer.errors.iter().any(|error| error.contains("erring.limit")), "{answer:?}");
    let calm = Question { risk: Risk(0), ..plain_question(Verb::Observe { what: "logs".to_owned() }) };
    assert!(policy.decide(&calm).allowed, "the policy errs only where it overflows");
}

#[test]
fn the_digest_follows_every_text() {
    let all = CedarPolicy::load(DEFAULT_FILES).unwrap().set_digest();
    let mut files = DEFAULT_FILES.to_vec();
    files.reverse();
    assert_eq!(all, CedarPolicy::load(&files).unwrap().set_digest(), "order is irrelevant");
    files.pop();
    assert_ne!(all, CedarPolicy::load(&files).unwrap().set_digest());
}

#[test]
fn examples_that_cannot_be_read_or_kept_are_faults() {
    let policy = CedarPolicy::load(DEFAULT_FILES).unwrap();
    let base = "[[example]]\nname='n'\nwho='viewer'\ndoor='cli'\nverb='observe_logs'\n";
    assert_eq!(policy.check("e.toml", &format!("{base}allowed=true\nby=['observe.viewer']")), Ok(()));
    for (bad, expected) in [
        (format!("{base}allowed=false\nby=[]"), "allowed by"),
        (format!("{base}allowed=true\nby=[]"), "observe.viewer"),
        (format!("{base}allowed=true\nby=['observe.viewer']\nrisky=1"), "risky"),
        (base.replace("observe_logs", "observe_secrets") + "allowed=false\nby=[]", "no verb"),
        (base.replace("viewer", "king") + "allowed=false\nby=[]", "king"),
    ] {
        let fault = policy.check("e.toml", &bad).unwrap_err();
        assert!(fault.to_string().contains(expected), "{bad}: {fault}");
    }
}
