//! The Cedar schema, derived from the closed lists. Never edited by hand: a new action appears here by
//! itself, and until some policy permits it nobody may do it.

use std::fmt::Write as _;

use opsward_domain::action::ActionKind;
use opsward_domain::effect::{Effect, Undo};
use opsward_ports::policy::{GOVERNANCE, OBSERVATIONS};

const HEAD: &str = r#"// Derived from the closed lists of actions, observations and governance. Do not edit:
// `OPSWARD_REGENERATE=1 cargo test -p opsward-cedar` writes it again.

// Roles contain the stronger ones: `in Role::"operator"` holds for operators, admins and owners.
entity Role;

entity Person, Remediator, System in [Role] = {
  tenant: String,
};

entity Resource = {
  kind: String,
  name: String,
  tenant: String,
  workspace: String,
};

type Facts = {
  // api, cli, agent, alert, schedule or system
  origin: String,
  // 0 to 4
  risk: Long,
  // system, operator, typed or untrusted
  integrity: String,
  // every source that influenced the run may itself do this
  sources_may: Bool,
  asker_agrees: Bool,
  // distinct people of at least operator role besides the asker
  others_agree: Long,
  // people who could agree, the asker included
  members: Long,
  blast_percent: Long,
  reversible: Bool,
  switched_off: Bool,
  attested: Bool,
};

action observing, acting, governing;

action changing, destroying in [acting];

// Actions after which there is nothing to take back.
action leaving_nothing in [acting];
"#;

/// The schema as Cedar text.
pub fn schema_text() -> String {
    let mut text = HEAD.to_owned();
    let mut families: Vec<&str> = ActionKind::ALL.iter().map(|kind| kind.facts().family).collect();
    families.dedup();
    let families: Vec<String> = families.into_iter().map(|family| format!("{family}_family")).collect();
    let _ = write!(text, "\naction {} in [acting];\n", families.join(", "));
    for what in OBSERVATIONS {
        declare(&mut text, &format!("observe_{what}"), "observing");
    }
    for kind in ActionKind::ALL {
        let facts = kind.facts();
        let effect = match facts.effect {
            Effect::Observe => "observing",
            Effect::Change => "changing",
            Effect::Destroy => "destroying",
        };
        let undo = if facts.undo == Undo::Unneeded { ", leaving_nothing" } else { "" };
        declare(&mut text, facts.name, &format!("{effect}, {}_family{undo}", facts.family));
    }
    for what in GOVERNANCE {
        declare(&mut text, what, "governing");
    }
    text
}

fn declare(text: &mut String, action: &str, groups: &str) {
    let _ = write!(
        text,
        "\naction {action} in [{groups}] appliesTo {{\n  principal: [Person, Remediator, System],\n  \
         resource: [Resource],\n  context: Facts,\n}};\n"
    );
}
