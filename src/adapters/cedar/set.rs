//! Reads policy texts: every policy has an id and a line of advice, passes strict validation, and is
//! filed under the actions it can concern. Never loads half a set.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cedar_policy::{
    ActionConstraint, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator,
};
use miette::Diagnostic;
use opsward_domain::fault::{Code, Fault};
use opsward_ports::policy::Verb;

use crate::request::Names;

/// Most policies of a set; every one costs time in each decision it is filed under.
pub(crate) const POLICIES_MAX: usize = 512;

/// What is needed to decide about one verb.
pub(crate) struct Slice {
    pub(crate) action: Entity,
    pub(crate) policies: PolicySet,
}

/// A loaded set.
pub(crate) struct Loaded {
    pub(crate) slices: HashMap<String, Slice>,
    pub(crate) advice: BTreeMap<String, String>,
}

/// One policy with the place it was written at.
struct Placed {
    policy: Policy,
    place: String,
}

pub(crate) fn load(files: &[(&str, &str)], schema_text: &str, names: &Names) -> Result<Loaded, Fault> {
    let schema = schema(schema_text)?;
    let mut placed: BTreeMap<String, Placed> = BTreeMap::new();
    for (file, text) in files {
        for (id, one) in parse(file, text)? {
            if let Some(first) = placed.get(&id) {
                return Err(refused(format!("policy id {id:?} is used twice"), &one.place)
                    .hint(format!("it is used first in {}; ids are unique across the set", first.place)));
            }
            placed.insert(id, one);
        }
    }
    if placed.len() > POLICIES_MAX {
        return Err(Fault::invalid("the policy set is too large").detail(format!("more than {POLICIES_MAX} policies")));
    }
    validate(&placed, schema.clone())?;
    let advice = placed
        .iter()
        .map(|(id, one)| (id.clone(), one.policy.annotation("advice").unwrap_or_default().to_owned()))
        .collect();
    let actions = schema.action_entities().map_err(|error| Fault::internal(error.to_string()))?;
    let slices = Verb::all()
        .iter()
        .map(|verb| Ok((verb.id(), slice(&names.action(&verb.id()), &actions, &placed)?)))
        .collect::<Result<_, Fault>>()?;
    Ok(Loaded { slices, advice })
}

fn refused(message: String, place: &str) -> Fault {
    Fault::new(Code::InvalidInput, message).detail(place.to_owned())
}

fn schema(text: &str) -> Result<Schema, Fault> {
    Schema::from_cedarschema_str(text)
        .map(|(schema, _warnings)| schema)
        .map_err(|error| Fault::internal("the derived policy schema is not valid").detail(error.to_string()))
}

fn line(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn place(file: &str, text: &str, diagnostic: &dyn Diagnostic) -> String {
    let first = diagnostic.labels().and_then(|mut labels| labels.next());
    first.map_or_else(|| file.to_owned(), |label| format!("{file}:{}", line(text, label.offset())))
}

fn parse(file: &str, text: &str) -> Result<Vec<(String, Placed)>, Fault> {
    let set: PolicySet = text.parse().map_err(|errors: cedar_policy::ParseErrors| {
        let place = place(file, text, &errors);
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        refused(format!("the policy text is not valid: {}", all.join("; ")), &place)
    })?;
    if set.templates().next().is_some() {
        return Err(refused("policy templates are not supported".to_owned(), file)
            .hint("write the policy out with its principal and resource"));
    }
    set.policies().map(|policy| named(file, text, policy)).collect()
}

/// Gives a policy the id and the place that people know it by.
fn named(file: &str, text: &str, policy: &Policy) -> Result<(String, Placed), Fault> {
    let annotation = |key: &str| policy.annotation(key).map(str::trim).filter(|value| !value.is_empty());
    let Some(id) = annotation("id") else {
        let nth = policy.id().to_string().trim_start_matches("policy").parse::<usize>().unwrap_or(0) + 1;
        return Err(refused(format!("policy {nth} has no @id"), file).hint("write @id(\"subject.rule\") before it"));
    };
    let written: Vec<usize> =
        text.match_indices(&format!("@id(\"{id}\")")).map(|(offset, _)| line(text, offset)).collect();
    let place = format!("{file}:{}", written.first().copied().unwrap_or(1));
    if let Some(second) = written.get(1) {
        return Err(refused(format!("policy id {id:?} is used twice"), &format!("{file}:{second}"))
            .hint(format!("it is used first in {place}; ids are unique across the set")));
    }
    let advice = annotation("advice");
    if advice.is_none_or(|advice| advice.contains('\n')) {
        return Err(refused(format!("policy {id} has no @advice of one line"), &place)
            .hint("write @advice(\"why, and what would be allowed\") before it"));
    }
    let policy = policy.new_id(PolicyId::new(id));
    Ok((id.to_owned(), Placed { policy, place }))
}

fn validate(placed: &BTreeMap<String, Placed>, schema: Schema) -> Result<(), Fault> {
    let all = PolicySet::from_policies(placed.values().map(|one| one.policy.clone()))
        .map_err(|error| Fault::internal(error.to_string()))?;
    let result = Validator::new(schema).validate(&all, ValidationMode::Strict);
    let place = |id: &PolicyId| placed.get(AsRef::<str>::as_ref(id)).map_or("", |one| one.place.as_str()).to_owned();
    if let Some(error) = result.validation_errors().next() {
        return Err(refused(format!("the policy does not fit the schema: {error}"), &place(error.policy_id())));
    }
    // A policy that can never apply is a mistake that would otherwise pass for protection.
    if let Some(warning) = result.validation_warnings().next() {
        return Err(refused(format!("the policy is suspicious: {warning}"), &place(warning.policy_id())));
    }
    Ok(())
}

/// The policies whose scope can match `action`, so that a decision evaluates no others.
fn slice(action: &EntityUid, actions: &Entities, placed: &BTreeMap<String, Placed>) -> Result<Slice, Fault> {
    let known = actions.get(action).ok_or_else(|| Fault::internal(format!("the schema has no {action}")))?;
    let groups: BTreeSet<&EntityUid> = actions.ancestors(action).into_iter().flatten().collect();
    let concerns = |one: &&Placed| match one.policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => uid == *action,
        ActionConstraint::In(uids) => uids.iter().any(|uid| uid == action || groups.contains(uid)),
    };
    let policies = PolicySet::from_policies(placed.values().filter(concerns).map(|one| one.policy.clone()))
        .map_err(|error| Fault::internal(error.to_string()))?;
    let parents = groups.into_iter().cloned().collect();
    Ok(Slice { action: Entity::new_no_attrs(known.uid(), parents), policies })
}
