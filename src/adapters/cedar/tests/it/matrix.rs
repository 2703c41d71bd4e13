//! The whole set as tables that anybody can read, kept in policies/matrix.txt. A cell says what it takes,
//! found the way the gate finds it: ask plainly, then with people who might agree.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use opsward_cedar::CedarPolicy;
use opsward_domain::context::Origin;
use opsward_domain::label::Integrity;
use opsward_domain::principal::{Kind, Role};
use opsward_ports::policy::conformance::{approver, plain_question};
use opsward_ports::policy::{Question, Verb};

use crate::same_as_file;

const MARKS: [(Integrity, &str); 4] = [
    (Integrity::System, "system"),
    (Integrity::Operator, "operator"),
    (Integrity::Typed, "typed"),
    (Integrity::Untrusted, "untrusted"),
];
const MEMBERS: [(u32, &str); 3] = [(3, "three or more"), (2, "two"), (1, "one")];
const COLUMNS: [(Kind, Role, &str); 6] = [
    (Kind::Person, Role::Viewer, "viewer"),
    (Kind::Person, Role::Developer, "developer"),
    (Kind::Person, Role::Operator, "operator"),
    (Kind::Person, Role::Admin, "admin"),
    (Kind::Person, Role::Owner, "owner"),
    (Kind::Remediator, Role::Operator, "remediator"),
];

/// Door, mark of the text that had influence, number of members.
type Case = (Origin, &'static str, &'static str);

/// What it takes: nothing, the asker's yes, one other's, two others', or it is never allowed.
fn takes(policy: &CedarPolicy, question: &mut Question) -> &'static str {
    let hypotheses: [(&str, &[&str]); 4] =
        [("yes", &[]), ("own yes", &["asker"]), ("1 other", &["b"]), ("2 others", &["b", "c"])];
    for (word, names) in hypotheses {
        question.approvers = names.iter().map(|name| approver(name, Role::Owner)).collect();
        let answer = policy.decide(question);
        assert!(answer.errors.is_empty(), "{answer:?}");
        if answer.allowed {
            return word;
        }
    }
    "-"
}

pub(crate) fn row(policy: &CedarPolicy, verb: &Verb, origin: Origin, integrity: Integrity, members: u32) -> String {
    let mut line = format!("{:20}", verb.id());
    for (kind, role, _) in COLUMNS {
        let mut question =
            Question { kind, role: Some(role), origin, integrity, members, ..plain_question(verb.clone()) };
        let _ = write!(line, "{:12}", takes(policy, &mut question));
    }
    line.trim_end().to_owned()
}

/// Names the cases of one table: doors by mark by number of members.
fn title(cases: &[Case]) -> String {
    let mut by_door: BTreeMap<(Vec<&str>, Vec<&str>), Vec<&str>> = BTreeMap::new();
    for origin in Origin::ALL {
        let of = cases.iter().filter(|(door, ..)| *door == origin);
        let (mut marks, mut members): (Vec<&str>, Vec<&str>) = of.map(|(_, mark, members)| (*mark, *members)).unzip();
        for words in [&mut marks, &mut members] {
            let mut seen = Vec::new();
            words.retain(|word| {
                !seen.contains(word) && {
                    seen.push(*word);
                    true
                }
            });
        }
        if !marks.is_empty() {
            by_door.entry((marks, members)).or_default().push(origin.word());
        }
    }
    let mut out = String::new();
    for ((marks, members), doors) in by_door {
        let any = |words: &[&str], all: usize| if words.len() == all { "any".to_owned() } else { words.join(", ") };
        let _ = writeln!(
            out,
            "== door: {}; influenced by text: {}; people who could agree: {}",
            doors.join(", "),
            any(&marks, MARKS.len()),
            any(&members, MEMBERS.len())
        );
    }
    out
}

fn matrix(policy: &CedarPolicy) -> String {
    let mut text = String::from(
        "Who may do what. Derived from the policies; the tests compare it.\n\n\
         yes       at once\n\
         own yes   after the asker's own yes to the exact plan\n\
         1 other   after the yes of one other person (operator or above)\n\
         2 others  after the yes of two other people\n\
         -         never\n\n\
         Where it is not said otherwise: the resource is in the asker's tenant, no switch is on, the sandbox\n\
         is proven, no source forbids it, at most half of the replicas are disturbed, there is a way back.\n\
         The remediator has the operator role.\n",
    );
    let mut tables: Vec<(String, Vec<Case>)> = Vec::new();
    for (members, members_word) in MEMBERS {
        for origin in Origin::ALL {
            for (integrity, mark) in MARKS {
                let rows: Vec<String> =
                    Verb::all().iter().map(|verb| row(policy, verb, origin, integrity, members)).collect();
                let table = rows.join("\n");
                match tables.iter_mut().find(|(known, _)| *known == table) {
                    Some((_, cases)) => cases.push((origin, mark, members_word)),
                    None => tables.push((table, vec![(origin, mark, members_word)])),
                }
            }
        }
    }
    for (table, cases) in tables {
        let mut heads = format!("{:20}", "");
        for (.., head) in COLUMNS {
            let _ = write!(heads, "{head:12}");
        }
        let _ = write!(text, "\n{}{}\n{table}\n", title(&cases), heads.trim_end());
    }
    text
}

#[test]
fn the_matrix_file_is_the_derived_matrix() {
    same_as_file("matrix.txt", &matrix(&CedarPolicy::defaults().unwrap()));
}
