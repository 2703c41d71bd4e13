//! Policies carry their own tests: questions with the answer they must get and the policy that must
//! give it, checked whenever the set is loaded. Never skips an example that it cannot read.

use opsward_domain::action::ActionKind;
use opsward_domain::context::Origin;
use opsward_domain::effect::{Effect, Risk};
use opsward_domain::fault::Fault;
use opsward_domain::label::Integrity;
use opsward_domain::name::{Subject, Tenant};
use opsward_domain::principal::{Kind, Role};
use opsward_ports::policy::{Approver, Question, Verb};
use serde::Deserialize;

use crate::CedarPolicy;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    example: Vec<Example>,
}

/// One example; what is left out is harmless: same tenant, three members, nothing switched off.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    /// What it shows, for people.
    name: String,
    /// A role, `remediator` or `remediator:ROLE`, `system` or `system:ROLE`, or `nobody`.
    who: String,
    door: Origin,
    verb: String,
    #[serde(default)]
    risk: Option<u8>,
    #[serde(default = "operator")]
    mark: Integrity,
    #[serde(default = "yes")]
    sources_may: bool,
    /// Roles of the people who agree; `asker` is the asker.
    #[serde(default)]
    agree: Vec<String>,
    #[serde(default = "three")]
    members: u32,
    #[serde(default)]
    blast_percent: u8,
    #[serde(default = "yes")]
    reversible: bool,
    #[serde(default)]
    switched_off: bool,
    #[serde(default = "yes")]
    attested: bool,
    /// True if the resource is another tenant's.
    #[serde(default)]
    foreign: bool,
    allowed: bool,
    /// The policies that must decide, all of them; empty where nothing permits.
    by: Vec<String>,
}

fn operator() -> Integrity {
    Integrity::Operator
}
fn yes() -> bool {
    true
}
fn three() -> u32 {
    3
}

pub(crate) fn check(policy: &CedarPolicy, file: &str, text: &str) -> Result<(), Fault> {
    let examples: File = toml::from_str(text)
        .map_err(|error| Fault::invalid(format!("{file} is not valid")).detail(error.to_string()))?;
    for example in &examples.example {
        let wrong = |message: String| Fault::invalid(format!("{file}: example {:?}: {message}", example.name));
        let question = question(example).map_err(|fault| wrong(fault.to_string()))?;
        let answer = policy.decide(&question);
        if let Some(error) = answer.errors.first() {
            return Err(wrong(error.clone()));
        }
        let mut by = example.by.clone();
        by.sort_unstable();
        if answer.allowed != example.allowed || answer.policies != by {
            let said = if answer.allowed { "allowed" } else { "refused" };
            return Err(wrong(format!("{said} by {:?}", answer.policies)).hint("change the policy or the example"));
        }
    }
    Ok(())
}

fn question(example: &Example) -> Result<Question, Fault> {
    let acme = Tenant::parse("acme")?;
    let (kind, role) = who(&example.who)?;
    let verb = Verb::all()
        .into_iter()
        .find(|verb| verb.id() == example.verb)
        .ok_or_else(|| Fault::invalid(format!("there is no verb {:?}", example.verb)))?;
    let facts = match &verb {
        Verb::Act { action } => Some(ActionKind::parse(action)?.facts()),
        _ => None,
    };
    let least = facts.map_or(Risk(0), |facts| facts.risk);
    Ok(Question {
        subject: Subject::parse("asker")?,
        kind,
        tenant: acme.clone(),
        role,
        origin: example.door,
        verb,
        effect: facts.map_or(Effect::Observe, |facts| facts.effect),
        risk: example.risk.map_or(least, Risk),
        resource_kind: facts.map_or("workspace", |facts| facts.resource).to_owned(),
        resource_name: String::new(),
        workspace: None,
        resource_tenant: if example.foreign { Tenant::parse("other")? } else { acme },
        integrity: example.mark,
        sources_may: example.sources_may,
        approvers: example.agree.iter().enumerate().map(approver).collect::<Result<_, _>>()?,
        members: example.members,
        blast_percent: example.blast_percent,
        reversible: example.reversible,
        switched_off: example.switched_off,
        attested: example.attested,
    })
}

fn who(text: &str) -> Result<(Kind, Option<Role>), Fault> {
    let (kind, role) = text.split_once(':').map_or((text, None), |(kind, role)| (kind, Some(role)));
    let role = role.map(str::parse).transpose()?;
    match kind {
        "remediator" => Ok((Kind::Remediator, role)),
        "system" => Ok((Kind::System, role)),
        "nobody" => Ok((Kind::Person, None)),
        person => Ok((Kind::Person, Some(person.parse()?))),
    }
}

fn approver((nth, text): (usize, &String)) -> Result<Approver, Fault> {
    let asker = text == "asker";
    let role = if asker { Role::Viewer } else { text.parse()? };
    let subject = if asker { Subject::parse("asker")? } else { Subject::parse(&format!("person-{nth}"))? };
    Ok(Approver { subject, role, asker })
}
