//! The closed list of what the platform can do. One family a file; each kind states effect, risk,
//! undo and check with no defaults, so a new one does not compile until it says.

mod backup;
mod function;
mod storage;
mod workload;
mod workspace;

use serde::{Deserialize, Serialize};

pub use backup::{CreateBackup, DeleteBackup, RestoreBackup, VerifyBackup};
pub use function::{ActivateFunction, DeleteFunction, DeployFunction, FunctionSource, InvokeFunction};
pub use storage::{CreateVolume, DeleteVolume, ResizeVolume};
pub use workload::{
    DeleteWorkload, DeployWorkload, RestartWorkload, RollbackWorkload, ScaleWorkload, SetEnvironment, SetImage,
    SetLimits,
};
pub use workspace::{CreateWorkspace, DeleteWorkspace};

use crate::effect::{Check, Effect, Risk, Undo};
use crate::fault::Fault;
use crate::name::Workspace;
use crate::resource::{Resource, ResourceState};

/// What holds for every action of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ActionFacts {
    /// Wire word, `snake_case`.
    pub name: &'static str,
    /// Family, one file here each.
    pub family: &'static str,
    /// What it does to the world.
    pub effect: Effect,
    /// How much it risks.
    pub risk: Risk,
    /// How it is taken back.
    pub undo: Undo,
    /// What proves it.
    pub check: Check,
    /// The word of the resource it acts on.
    pub resource: &'static str,
    /// One sentence for people and models.
    pub summary: &'static str,
    /// Its arguments in reading order.
    pub fields: &'static [Field],
}

impl ActionFacts {
    const fn takes(mut self, fields: &'static [Field]) -> Self {
        self.fields = fields;
        self
    }
}

/// What the actions of a family have in common.
#[derive(Clone, Copy)]
struct Family {
    name: &'static str,
    resource: &'static str,
}

impl Family {
    /// Every fact of a kind but its arguments.
    const fn kind(
        self,
        name: &'static str,
        effect: Effect,
        risk: u8,
        undo: Undo,
        check: Check,
        summary: &'static str,
    ) -> ActionFacts {
        let Self { name: family, resource } = self;
        ActionFacts { name, family, effect, risk: Risk(risk), undo, check, resource, summary, fields: &[] }
    }
}

/// What an argument takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// A resource's name.
    Name,
    /// One line of text.
    Text,
    /// Several names.
    Names,
    /// A whole number.
    Integer,
    /// Text keys and values.
    Map,
    /// Several words.
    Words,
    /// Any JSON.
    Json,
}

/// One argument of an action; CLI flags, forms and OpenAPI derive from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Wire name.
    pub name: &'static str,
    /// What it takes.
    pub kind: FieldKind,
    /// Must be given.
    pub required: bool,
    /// For people.
    pub about: &'static str,
}

impl Field {
    const fn must(name: &'static str, kind: FieldKind, about: &'static str) -> Self {
        Self { name, kind, required: true, about }
    }
    const fn may(name: &'static str, kind: FieldKind, about: &'static str) -> Self {
        Self { name, kind, required: false, about }
    }
}

macro_rules! actions {
    ($($variant:ident => $facts:expr),* $(,)?) => {
        /// A proposed change, fully literal.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum Action {
            $(#[doc = concat!("See [`", stringify!($variant), "`].")] $variant($variant),)*
        }

        /// An action without its arguments.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ActionKind {
            $(#[doc = concat!("See [`", stringify!($variant), "`].")] $variant,)*
        }

        impl ActionKind {
            /// Every kind, by family.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// What holds for every action of this kind.
            pub fn facts(self) -> ActionFacts {
                match self { $(Self::$variant => $facts),* }
            }
        }

        impl Action {
            /// The kind of this action.
            pub fn kind(&self) -> ActionKind {
                match self { $(Self::$variant(_) => ActionKind::$variant),* }
            }
            /// Checks what can be checked without the world.
            pub fn validate(&self) -> Result<(), Fault> {
                match self { $(Self::$variant(action) => action.validate()),* }
            }
            /// What it acts on.
            pub fn resource(&self) -> Resource {
                match self { $(Self::$variant(action) => action.resource()),* }
            }
            /// The action that takes it back, from the state before it. `None` where there is no way
            /// back by action or nothing to take back.
            pub fn inverse(&self, before: &ResourceState) -> Option<Action> {
                match self { $(Self::$variant(action) => action.inverse(before)),* }
            }
            /// The state it asks for, as far as it can be known before. Wrong kind of `before` is a fault.
            pub fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
                match self { $(Self::$variant(action) => action.predict(before)),* }
            }
        }
    };
}

actions! {
    CreateWorkspace => workspace::CREATE,
    DeleteWorkspace => workspace::DELETE,
    DeployWorkload => workload::DEPLOY,
    SetEnvironment => workload::SET_ENVIRONMENT,
    ScaleWorkload => workload::SCALE,
    RestartWorkload => workload::RESTART,
    RollbackWorkload => workload::ROLLBACK,
    SetLimits => workload::SET_LIMITS,
    SetImage => workload::SET_IMAGE,
    DeleteWorkload => workload::DELETE,
    DeployFunction => function::DEPLOY,
    ActivateFunction => function::ACTIVATE,
    InvokeFunction => function::INVOKE,
    DeleteFunction => function::DELETE,
    CreateBackup => backup::CREATE,
    RestoreBackup => backup::RESTORE,
    VerifyBackup => backup::VERIFY,
    DeleteBackup => backup::DELETE,
    CreateVolume => storage::CREATE,
    ResizeVolume => storage::RESIZE,
    DeleteVolume => storage::DELETE,
}

impl Action {
    /// What it reads besides the resource it acts on: the workspace, unless it is the step's own, and which
    /// resource of it. Reading takes the same rights there as acting.
    pub fn source(&self) -> Option<(Option<&Workspace>, Resource)> {
        match self {
            Self::RestoreBackup(restore) => Some((restore.from.as_ref(), Resource::Backup(restore.backup.clone()))),
            _ => None,
        }
    }
    /// Checks the state of what it reads, see [`Action::source`].
    pub fn check_source(&self, state: &ResourceState) -> Result<(), Fault> {
        match self {
            Self::RestoreBackup(restore) => restore.check_source(state),
            _ => Ok(()),
        }
    }
}

impl ActionKind {
    /// Finds a kind by its wire word.
    pub fn parse(word: &str) -> Result<Self, Fault> {
        Self::ALL.iter().copied().find(|kind| kind.facts().name == word).ok_or_else(|| {
            Fault::not_found(format!("there is no action {:?}", word.chars().take(40).collect::<String>()))
                .hint("`opsward action list` shows every action")
        })
    }
}

fn unexpected(before: &ResourceState) -> Fault {
    match before {
        ResourceState::Absent => Fault::not_found("the resource does not exist"),
        _ => Fault::conflict("a resource of that name exists already"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_words_are_unique_and_match_serde() {
        for kind in ActionKind::ALL {
            let facts = kind.facts();
            assert_eq!(ActionKind::parse(facts.name).unwrap(), *kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), facts.name);
            assert!(facts.effect > Effect::Observe || facts.risk == Risk(0), "{}", facts.name);
            assert!(facts.effect != Effect::Destroy || facts.risk >= Risk(3), "{}", facts.name);
        }
    }

    #[test]
    fn declared_fields_are_the_wire_fields() {
        for kind in ActionKind::ALL {
            let facts = kind.facts();
            let mut value = serde_json::json!({"kind": facts.name});
            for field in facts.fields.iter().filter(|field| field.required) {
                value[field.name] = sample(field);
            }
            let action: Action =
                serde_json::from_value(value).unwrap_or_else(|error| panic!("{}: {error}", facts.name));
            let wire = serde_json::to_value(&action).unwrap();
            let mut have: Vec<&str> =
                wire.as_object().unwrap().keys().map(String::as_str).filter(|k| *k != "kind").collect();
            let mut want: Vec<&str> = facts.fields.iter().map(|field| field.name).collect();
            have.sort_unstable();
            want.sort_unstable();
            assert_eq!(have, want, "{}", facts.name);
        }
    }

    fn sample(field: &Field) -> serde_json::Value {
        use serde_json::json;
        match (field.kind, field.name) {
            (FieldKind::Name, _) => json!("a"),
            (FieldKind::Text, _) => json!("a"),
            (FieldKind::Names, _) => json!(["a"]),
            (FieldKind::Integer, _) => json!(1),
            (FieldKind::Map, _) => json!({}),
            (FieldKind::Words, _) => json!([]),
            (FieldKind::Json, "spec") => {
                json!({"version": "1", "command": ["x"], "replicas": 1, "limits": {"memory_bytes": 1048576}})
            }
            (FieldKind::Json, "limits") => json!({"memory_bytes": 1048576}),
            (FieldKind::Json, "source") => json!({"runtime": "javascript", "text": "x"}),
            (FieldKind::Json, _) => json!(null),
        }
    }

    #[test]
    fn unknown_fields_and_kinds_are_refused() {
        for bad in [
            r#"{"kind":"scale_workload","workload":"a","replicas":2,"tenant":"b"}"#,
            r#"{"kind":"scale_workload","workload":"../a","replicas":2}"#,
            r#"{"kind":"format_disk"}"#,
        ] {
            assert!(serde_json::from_str::<Action>(bad).is_err(), "{bad}");
        }
    }
}
