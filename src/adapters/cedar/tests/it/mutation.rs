//! Does anybody notice when a policy changes? Every policy is dropped and turned round, every clause
//! dropped, negated, widened and narrowed; the examples and the matrix must notice nearly all of it.
//! A run tries a fixed sample of the changes, and all of them with `OPSWARD_FULL` set.

use std::collections::BTreeMap;

use cedar_policy::{Policy, PolicyId, PolicySet};
use opsward_cedar::{CedarPolicy, DEFAULT_EXAMPLES, DEFAULT_FILES};
use opsward_domain::context::Origin;
use opsward_domain::label::Integrity;
use opsward_ports::policy::Verb;
use serde_json::{Value, json};

use crate::matrix::row;

/// Share of mutants that must be noticed, in percent.
const NOTICED_PERCENT_MIN: usize = 95;

/// One of how many changes a run tries unless it is told to try all.
const SAMPLE_ONE_OF: u64 = 4;

/// Whether a run tries this change: the same ones on every machine, spread over all policies.
fn sampled(id: &str, what: &str) -> bool {
    let digest = opsward_domain::canonical::digest("mutation-sample-1", &(id, what));
    let nth = digest.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    std::env::var_os("OPSWARD_FULL").is_some() || nth.is_multiple_of(SAMPLE_ONE_OF)
}

/// Every change of a boolean expression by one operator or operand.
fn expressions(node: &Value) -> Vec<Value> {
    let mut out = vec![json!({ "!": { "arg": node } })];
    let Some((operator, parts)) = node.as_object().and_then(|object| object.iter().next()) else { return out };
    let (left, right) = (&parts["left"], &parts["right"]);
    match operator.as_str() {
        "&&" | "||" => {
            let other = if operator == "&&" { "||" } else { "&&" };
            out.extend([left.clone(), right.clone(), json!({ other: parts })]);
            out.extend(expressions(left).into_iter().map(|left| json!({ operator: { "left": left, "right": right } })));
            out.extend(
                expressions(right).into_iter().map(|right| json!({ operator: { "left": left, "right": right } })),
            );
        }
        ">=" => out.push(json!({ ">": parts })),
        "<=" => out.push(json!({ "<": parts })),
        ">" => out.push(json!({ ">=": parts })),
        "<" => out.push(json!({ "<=": parts })),
        _ => {}
    }
    out
}

fn scope(policy: &Value) -> Vec<(String, Value)> {
    let mut out = Vec::new();
    let with = |part: &str, value: Value| {
        let mut mutant = policy.clone();
        mutant[part] = value;
        mutant
    };
    if let Some(entities) = policy["action"]["entities"].as_array() {
        for nth in 0..entities.len() {
            let mut fewer = entities.clone();
            let gone = fewer.remove(nth);
            out.push((format!("without {gone}"), with("action", json!({ "op": "in", "entities": fewer }))));
        }
    }
    if let Some(role) = policy["principal"]["in"]["entity"]["id"].as_str() {
        let ladder = ["viewer", "developer", "operator", "admin", "owner"];
        let at = ladder.iter().position(|step| *step == role).unwrap();
        let near = [at.checked_sub(1), Some(at + 1)].into_iter().flatten().filter_map(|at| ladder.get(at));
        for step in near {
            let mut principal = policy["principal"].clone();
            principal["in"]["entity"]["id"] = json!(step);
            out.push((format!("for {step}"), with("principal", principal)));
        }
        let mut anybody = policy["principal"].clone();
        anybody.as_object_mut().unwrap().remove("in");
        out.push(("for every role".to_owned(), with("principal", anybody)));
        out.push((
            "for every kind".to_owned(),
            with("principal", json!({ "op": "in", "entity": policy["principal"]["in"]["entity"] })),
        ));
    }
    out
}

fn mutants(policy: &Value) -> Vec<(String, Option<Value>)> {
    let mut out = vec![("dropped".to_owned(), None)];
    let mut turned = policy.clone();
    turned["effect"] = json!(if policy["effect"] == "permit" { "forbid" } else { "permit" });
    out.push(("turned round".to_owned(), Some(turned)));
    out.extend(scope(policy).into_iter().map(|(what, mutant)| (what, Some(mutant))));
    let conditions = policy["conditions"].as_array().cloned().unwrap_or_default();
    for (nth, condition) in conditions.iter().enumerate() {
        let mut fewer = conditions.clone();
        fewer.remove(nth);
        let mut mutant = policy.clone();
        mutant["conditions"] = json!(fewer);
        out.push((format!("without condition {nth}"), Some(mutant)));
        for body in expressions(&condition["body"]) {
            let mut mutant = policy.clone();
            mutant["conditions"][nth]["body"] = body.clone();
            out.push((format!("condition {nth}: {body}"), Some(mutant)));
        }
    }
    out
}

fn built_in() -> BTreeMap<String, Policy> {
    let mut all = BTreeMap::new();
    for (_, text) in DEFAULT_FILES {
        for policy in text.parse::<PolicySet>().unwrap().policies() {
            let id = policy.annotation("id").unwrap().to_owned();
            all.insert(id.clone(), policy.new_id(PolicyId::new(&id)));
        }
    }
    all
}

/// Rows of the matrix for the verbs that `words` are about; the doors and marks that differ.
fn rows(policy: &CedarPolicy, words: &[String]) -> impl Iterator<Item = String> {
    let doors = [Origin::Cli, Origin::Agent, Origin::Schedule, Origin::System];
    let marks = [Integrity::Operator, Integrity::Untrusted];
    let concerned: Vec<Verb> = Verb::all().into_iter().filter(|verb| concerns(verb, words)).collect();
    doors.into_iter().flat_map(move |door| {
        let concerned = concerned.clone();
        marks
            .into_iter()
            .flat_map(move |mark| concerned.clone().into_iter().map(move |verb| row(policy, &verb, door, mark, 3)))
    })
}

/// A policy about single verbs concerns no others; one about groups is compared over everything.
fn concerns(verb: &Verb, words: &[String]) -> bool {
    let all = Verb::all();
    let single = !words.is_empty() && words.iter().all(|word| all.iter().any(|verb| verb.id() == *word));
    !single || words.contains(&verb.id())
}

fn action_words(policy: &Value) -> Vec<String> {
    let action = &policy["action"];
    let many = action["entities"].as_array().into_iter().flatten();
    many.chain([&action["entity"]]).filter_map(|entity| entity["id"].as_str()).map(str::to_owned).collect()
}

/// Mutants of one policy that nobody noticed, and how many were made.
fn survivors(id: &str, all: &BTreeMap<String, Policy>, original: &CedarPolicy) -> (usize, Vec<String>) {
    let others: Vec<String> =
        all.iter().filter(|(other, _)| *other != id).map(|(_, other)| other.to_string()).collect();
    let json = all[id].to_json().unwrap();
    let words = action_words(&json);
    let expected: Vec<String> = rows(original, &words).collect();
    let mut mutants = mutants(&json);
    mutants.retain(|(what, _)| sampled(id, what));
    let made = mutants.len();
    let unnoticed = mutants.into_iter().filter_map(|(what, mutant)| {
        let mutant = mutant.map(|json| Policy::from_json(None, json).unwrap().to_cedar().unwrap());
        let text = others.iter().cloned().chain(mutant).collect::<Vec<_>>().join("\n");
        // A mutant that strict validation refuses is noticed before it can decide anything.
        let loaded = CedarPolicy::load(&[("mutant", &text)]).ok()?;
        let noticed = loaded.check(DEFAULT_EXAMPLES.0, DEFAULT_EXAMPLES.1).is_err()
            || rows(&loaded, &words).zip(&expected).any(|(is, was)| is != *was);
        (!noticed).then(|| format!("{id}: {what}"))
    });
    (made, unnoticed.collect())
}

#[test]
fn the_examples_and_the_matrix_notice_changed_policies() {
    let all = built_in();
    let original = CedarPolicy::defaults().unwrap();
    let ids: Vec<&String> = all.keys().collect();
    let (made, unnoticed) = std::thread::scope(|scope| {
        let (all, original) = (&all, &original);
        // Even and odd policies on a thread each: the test's time is all in deciding.
        let halves: Vec<_> = [0, 1]
            .map(|half| {
                let ids: Vec<&String> = ids.iter().skip(half).step_by(2).copied().collect();
                scope.spawn(move || ids.into_iter().map(|id| survivors(id, all, original)).collect::<Vec<_>>())
            })
            .into_iter()
            .flat_map(|half| half.join().unwrap())
            .collect();
        let made: usize = halves.iter().map(|(made, _)| made).sum();
        (made, halves.into_iter().flat_map(|(_, unnoticed)| unnoticed).collect::<Vec<_>>())
    });
    let noticed = made - unnoticed.len();
    let report = format!("{noticed} of {made} mutants noticed; not noticed:\n{}", unnoticed.join("\n"));
    assert!(made > 40, "{report}");
    assert!(noticed * 100 >= made * NOTICED_PERCENT_MIN, "{report}");
    println!("{report}");
}
