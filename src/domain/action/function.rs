//! Function actions: deploy a version, activate one, call it, remove it.

use serde::{Deserialize, Serialize};

use super::{Action, ActionFacts, Family, Field, FieldKind, unexpected};
use crate::effect::{Check, Effect, Undo};
use crate::fault::Fault;
use crate::name::Function;
use crate::resource::{FunctionStatus, Resource, ResourceState, ResourceVersion};

/// Most bytes of a function's source, as sent.
pub(super) const SOURCE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most bytes of one invocation's input.
pub(super) const INPUT_BYTES_MAX: usize = 1024 * 1024;

const FUNCTION: Field = Field::must("function", FieldKind::Name, "the function");

const FAMILY: Family = Family { name: "function", resource: "function" };

pub(super) const DEPLOY: ActionFacts = FAMILY
    .kind(
        "deploy_function",
        Effect::Change,
        2,
        Undo::Inverse,
        Check::Present,
        "Add a version of a function and make it the active one.",
    )
    .takes(&[
        FUNCTION,
        Field::must("source", FieldKind::Json, "runtime with module (base64) or text, as JSON"),
        Field::must("timeout_ms", FieldKind::Integer, "longest run of one call"),
        Field::must("memory_bytes_max", FieldKind::Integer, "most memory of one call"),
    ]);
pub(super) const ACTIVATE: ActionFacts = FAMILY
    .kind(
        "activate_function",
        Effect::Change,
        1,
        Undo::Inverse,
        Check::Present,
        "Make a kept version of a function the active one.",
    )
    .takes(&[FUNCTION, Field::must("version", FieldKind::Integer, "the version")]);
pub(super) const INVOKE: ActionFacts = FAMILY
    .kind(
        "invoke_function",
        Effect::Change,
        1,
        Undo::Unneeded,
        Check::Returned,
        "Call a function once and return its true status and output.",
    )
    .takes(&[FUNCTION, Field::must("input", FieldKind::Json, "what it is given, as JSON")]);
pub(super) const DELETE: ActionFacts = FAMILY
    .kind(
        "delete_function",
        Effect::Destroy,
        3,
        Undo::Impossible,
        Check::Absent,
        "Remove a function and all its versions.",
    )
    .takes(&[FUNCTION]);

/// A function's source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "runtime", rename_all = "snake_case", deny_unknown_fields)]
pub enum FunctionSource {
    /// A WebAssembly module, base64.
    Wasm {
        /// The module.
        module: String,
    },
    /// JavaScript source text.
    Javascript {
        /// The text.
        text: String,
    },
}

/// Adds a version and activates it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployFunction {
    /// Which.
    pub function: Function,
    /// Its code.
    pub source: FunctionSource,
    /// Longest run of one call.
    pub timeout_ms: u64,
    /// Most memory of one call.
    pub memory_bytes_max: u64,
}

/// Makes a kept version answer calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivateFunction {
    /// Which.
    pub function: Function,
    /// The version.
    pub version: u64,
}

/// Calls a function once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvokeFunction {
    /// Which.
    pub function: Function,
    /// What it is given.
    pub input: serde_json::Value,
}

/// Removes a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteFunction {
    /// Which.
    pub function: Function,
}

macro_rules! on_function {
    ($($type:ident),*) => {$(
        impl $type {
            pub(super) fn resource(&self) -> Resource {
                Resource::Function(self.function.clone())
            }
        }
    )*};
}
on_function!(DeployFunction, ActivateFunction, InvokeFunction, DeleteFunction);

fn status(before: &ResourceState) -> Result<&FunctionStatus, Fault> {
    match before {
        ResourceState::Function(status) => Ok(status),
        other => Err(unexpected(other)),
    }
}

impl DeployFunction {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        let length = match &self.source {
            FunctionSource::Wasm { module } => module.len(),
            FunctionSource::Javascript { text } => text.len(),
        };
        if length == 0 || length > SOURCE_BYTES_MAX {
            return Err(Fault::invalid("the source is empty or larger than 8 MiB"));
        }
        if !(1..=300_000).contains(&self.timeout_ms) {
            return Err(Fault::invalid("timeout_ms must be 1 to 300000"));
        }
        if !(1024 * 1024..=4 << 30).contains(&self.memory_bytes_max) {
            return Err(Fault::invalid("memory_bytes_max must be 1 MiB to 4 GiB"));
        }
        Ok(())
    }
    pub(super) fn inverse(&self, before: &ResourceState) -> Option<Action> {
        match before {
            ResourceState::Function(FunctionStatus { active: Some(version), .. }) => {
                Some(Action::ActivateFunction(ActivateFunction { function: self.function.clone(), version: *version }))
            }
            ResourceState::Absent => Some(Action::DeleteFunction(DeleteFunction { function: self.function.clone() })),
            _ => None,
        }
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        if let ResourceState::Absent = before {
            return Ok(ResourceState::Function(FunctionStatus {
                name: self.function.clone(),
                active: Some(1),
                versions: Vec::new(),
                invocations: 0,
                failures: 0,
                resource_version: ResourceVersion(String::new()),
            }));
        }
        let now = status(before)?;
        let newest = now.versions.iter().map(|kept| kept.version).max().unwrap_or(0);
        Ok(ResourceState::Function(FunctionStatus { active: Some(newest.saturating_add(1)), ..now.clone() }))
    }
}

impl ActivateFunction {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        Ok(())
    }
    pub(super) fn inverse(&self, before: &ResourceState) -> Option<Action> {
        let version = status(before).ok()?.active?;
        Some(Action::ActivateFunction(Self { function: self.function.clone(), version }))
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        let now = status(before)?;
        if !now.versions.iter().any(|kept| kept.version == self.version) {
            return Err(Fault::not_found(format!("{} has no version {}", self.function, self.version)));
        }
        Ok(ResourceState::Function(FunctionStatus { active: Some(self.version), ..now.clone() }))
    }
}

impl InvokeFunction {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        if self.input.to_string().len() > INPUT_BYTES_MAX {
            return Err(Fault::invalid("the input is larger than 1 MiB"));
        }
        Ok(())
    }
    pub(super) fn inverse(&self, _before: &ResourceState) -> Option<Action> {
        None
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        status(before).map(|same| ResourceState::Function(same.clone()))
    }
}

impl DeleteFunction {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        Ok(())
    }
    pub(super) fn inverse(&self, _before: &ResourceState) -> Option<Action> {
        None
    }
    pub(super) fn predict(&self, before: &ResourceState) -> Result<ResourceState, Fault> {
        status(before).map(|_| ResourceState::Absent)
    }
}
