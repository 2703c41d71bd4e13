//! What is said about a fault: one root, what shows it, what follows from it, what would fix it.

use opsward_domain::action::Action;
use opsward_domain::label::Integrity;
use opsward_domain::time::AtMs;
use serde::Serialize;

use crate::object::Ref;

/// Most characters of one excerpt.
pub const EXCERPT_CHARS_MAX: usize = 500;

/// How bad it is. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// Works now, and will not under a circumstance that is to be expected.
    Warning,
    /// Something asked for does not work.
    Error,
    /// Nobody is served, or a node or data is lost.
    Critical,
}

impl Severity {
    /// The word for a terminal.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}

/// What an object says itself. Text of the cluster, never to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// `e1`, `e2`, ...; findings cite it.
    pub id: String,
    /// The object that says it.
    pub source: Ref,
    /// Where in the object.
    pub field: String,
    /// The words, cut to [`EXCERPT_CHARS_MAX`].
    pub excerpt: String,
    /// Always untrusted.
    pub integrity: Integrity,
}

/// One way out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Remedy {
    /// What to do, in a sentence.
    pub does: String,
    /// Where the action would act: the namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The typed action that does it, where one fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// A command for a person, where one helps. Made only from names that need no quoting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Remedy {
    /// A step a person takes.
    pub(crate) fn step(does: impl Into<String>) -> Self {
        Self { does: does.into(), namespace: String::new(), action: None, command: None }
    }

    /// Adds a `kubectl` command about an object; left out where a name could be read as anything else.
    pub(crate) fn kubectl(mut self, verb: &str, at: &Ref, rest: &str) -> Self {
        let plain = |name: &str| {
            !name.is_empty()
                && !name.starts_with('-')
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
        };
        if plain(&at.name) && (at.namespace.is_empty() || plain(&at.namespace)) {
            let space = if at.namespace.is_empty() { String::new() } else { format!(" -n {}", at.namespace) };
            let kind = at.kind.to_lowercase();
            self.command = Some(format!("kubectl{space} {verb} {kind}/{}{rest}", at.name));
        }
        self
    }

    pub(crate) fn action(mut self, namespace: &str, action: Option<Action>) -> Self {
        if let Some(action) = action.filter(|action| action.validate().is_ok()) {
            namespace.clone_into(&mut self.namespace);
            self.action = Some(action);
        }
        self
    }
}

/// A step of the cause chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Who.
    pub object: Ref,
    /// How many more of its kind say the same.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: usize,
    /// What is the matter with it.
    pub says: String,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// One root.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// `f1`, `f2`, ...: worst first.
    pub id: String,
    /// Stable word of the rule.
    pub rule: &'static str,
    /// How bad.
    pub severity: Severity,
    /// The object to change.
    pub object: Ref,
    /// The field to look at.
    pub field: String,
    /// The workload that suffers most, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Ref>,
    /// What is wrong, in a sentence of ours with names of theirs.
    pub claim: String,
    /// Since when, as far as the objects tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<AtMs>,
    /// From the root to what people notice.
    pub cause_chain: Vec<Link>,
    /// Ids of what shows it.
    pub evidence: Vec<String>,
    /// What would fix it, best first.
    pub remedies: Vec<Remedy>,
    /// Who will undo a change made by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
}
