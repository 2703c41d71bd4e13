//! Turns a question into what Cedar evaluates. Never adds or guesses a fact: every attribute is copied
//! or counted from the question.

use std::collections::{HashMap, HashSet};

use cedar_policy::{Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression};
use opsward_domain::label::Integrity;
use opsward_domain::principal::{Kind, Role};
use opsward_ports::policy::Question;

/// Entity type names, parsed once.
pub(crate) struct Names {
    person: EntityTypeName,
    remediator: EntityTypeName,
    system: EntityTypeName,
    resource: EntityTypeName,
    role: EntityTypeName,
    pub(crate) action: EntityTypeName,
}

impl Names {
    pub(crate) fn new() -> Result<Self, String> {
        let parse = |name: &str| name.parse::<EntityTypeName>().map_err(|error| error.to_string());
        Ok(Self {
            person: parse("Person")?,
            remediator: parse("Remediator")?,
            system: parse("System")?,
            resource: parse("Resource")?,
            role: parse("Role")?,
            action: parse("Action")?,
        })
    }
    pub(crate) fn action(&self, word: &str) -> EntityUid {
        uid(&self.action, word)
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn integrity_word(integrity: Integrity) -> &'static str {
    match integrity {
        Integrity::System => "system",
        Integrity::Operator => "operator",
        Integrity::Typed => "typed",
        Integrity::Untrusted => "untrusted",
    }
}

/// The request and the three entities it is about: asker, action, resource.
pub(crate) fn build(names: &Names, action: &Entity, q: &Question) -> Result<(Request, Entities), String> {
    let kind = match q.kind {
        Kind::Person => &names.person,
        Kind::Remediator => &names.remediator,
        Kind::System => &names.system,
    };
    let principal = uid(kind, q.subject.as_str());
    let roles: HashSet<EntityUid> =
        Role::ALL.iter().filter(|least| q.role >= Some(**least)).map(|role| uid(&names.role, role.word())).collect();
    let workspace = q.workspace.as_ref().map_or("", |workspace| workspace.as_str());
    let resource =
        uid(&names.resource, &format!("{}/{workspace}/{}/{}", q.resource_tenant, q.resource_kind, q.resource_name));
    let asker = Entity::new(principal.clone(), HashMap::from([("tenant".to_owned(), text(q.tenant.as_str()))]), roles);
    let thing = Entity::new(
        resource.clone(),
        HashMap::from([
            ("kind".to_owned(), text(&q.resource_kind)),
            ("name".to_owned(), text(&q.resource_name)),
            ("tenant".to_owned(), text(q.resource_tenant.as_str())),
            ("workspace".to_owned(), text(workspace)),
        ]),
        HashSet::new(),
    );
    let asker = asker.map_err(|error| error.to_string())?;
    let thing = thing.map_err(|error| error.to_string())?;
    let entities = Entities::from_entities([asker, thing, action.clone()], None).map_err(|error| error.to_string())?;
    let request =
        Request::new(principal, action.uid(), resource, context(q)?, None).map_err(|error| error.to_string())?;
    Ok((request, entities))
}

fn context(q: &Question) -> Result<Context, String> {
    let others = i64::try_from(q.others_agree()).unwrap_or(i64::MAX);
    let long = RestrictedExpression::new_long;
    let truth = RestrictedExpression::new_bool;
    Context::from_pairs([
        ("origin".to_owned(), text(q.origin.word())),
        ("risk".to_owned(), long(i64::from(q.risk.0))),
        ("integrity".to_owned(), text(integrity_word(q.integrity))),
        ("sources_may".to_owned(), truth(q.sources_may)),
        ("asker_agrees".to_owned(), truth(q.asker_agrees())),
        ("others_agree".to_owned(), long(others)),
        ("members".to_owned(), long(i64::from(q.members))),
        ("blast_percent".to_owned(), long(i64::from(q.blast_percent))),
        ("reversible".to_owned(), truth(q.reversible)),
        ("switched_off".to_owned(), truth(q.switched_off)),
        ("attested".to_owned(), truth(q.attested)),
    ])
    .map_err(|error| error.to_string())
}
