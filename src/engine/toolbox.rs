//! Tools as data: a folder each, loaded once, checked, digested, never changed under a run. From the
//! declaration derive the model's schema, input checks, facts for people and the examples that run as tests.

mod input;
mod schema;

use std::collections::BTreeMap;

use opsward_domain::action::ActionKind;
use opsward_domain::canonical::digest_bytes;
use opsward_domain::effect::Effect;
use opsward_domain::fault::Fault;
use opsward_ports::runner::RunLimits;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use input::check;
pub use schema::{manual, schema};

/// Most tools.
pub const TOOLS_MAX: usize = 200;
/// Most bytes of one handler.
pub const HANDLER_BYTES_MAX: usize = 16 * 1024;

/// The three files of a tool's folder.
#[derive(Debug, Clone)]
pub struct ToolFolder {
    /// The folder's name, equal to the tool's.
    pub name: String,
    /// `tool.toml`.
    pub declaration: String,
    /// `handler.rhai`.
    pub handler: String,
    /// `examples.toml`.
    pub examples: String,
}

/// What a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// A resource or workspace name.
    Name,
    /// Free text.
    Text,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// A map of text to text.
    Map,
    /// A list of names.
    Names,
    /// Any JSON.
    Json,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// What it takes.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// For people and models.
    pub about: String,
    /// Must be given.
    #[serde(default)]
    pub required: bool,
    /// Smallest integer.
    #[serde(default)]
    pub min: Option<i64>,
    /// Largest integer, or most characters of text.
    #[serde(default)]
    pub max: Option<i64>,
    /// Used when absent.
    #[serde(default)]
    pub default: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declaration {
    name: String,
    summary: String,
    when: String,
    when_not: String,
    #[serde(default)]
    inputs: BTreeMap<String, Field>,
    #[serde(default)]
    queries: Vec<String>,
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    limits: Option<RunLimits>,
}

/// One example: an input, what the observations yield, and what must come of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// What it shows.
    pub about: String,
    /// The input.
    pub input: Value,
    /// Value of each observation function.
    #[serde(default)]
    pub observations: BTreeMap<String, Value>,
    /// Steps it must yield, as actions.
    #[serde(default)]
    pub steps: Option<Vec<Value>>,
    /// Text that its answer must contain.
    #[serde(default)]
    pub answer_contains: Option<String>,
}

/// An input that must be refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// What it shows.
    pub about: String,
    /// The input.
    pub input: Value,
    /// Text that the refusal must contain.
    pub because: String,
}

/// Examples of a tool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Examples {
    /// Must yield.
    #[serde(default)]
    pub accept: Vec<Example>,
    /// Must be refused.
    #[serde(default)]
    pub refuse: Vec<Refusal>,
}

/// A loaded tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tool {
    /// Its name, `[a-z0-9_]`.
    pub name: String,
    /// One sentence.
    pub summary: String,
    /// When to use it.
    pub when: String,
    /// When not.
    pub when_not: String,
    /// Its inputs.
    pub inputs: BTreeMap<String, Field>,
    /// Observations it may make.
    pub queries: Vec<String>,
    /// Actions it may propose.
    pub actions: Vec<ActionKind>,
    /// Bounds of one run.
    #[serde(skip)]
    pub limits: RunLimits,
    /// Its handler.
    #[serde(skip)]
    pub handler: String,
    /// Its examples.
    #[serde(skip)]
    pub examples: Examples,
    /// Digest over its three files.
    pub digest: String,
}

impl Tool {
    /// The strongest effect of the actions it may propose; it cannot understate itself.
    pub fn effect(&self) -> Effect {
        self.actions.iter().map(|action| action.facts().effect).max().unwrap_or(Effect::Observe)
    }
}

/// Every tool, by name.
#[derive(Debug, Clone, Default)]
pub struct Toolbox {
    tools: BTreeMap<String, Tool>,
}

impl Toolbox {
    /// Loads and checks every folder; the first mistake is a fault that names tool and reason.
    pub fn load(folders: &[ToolFolder]) -> Result<Self, Fault> {
        if folders.len() > TOOLS_MAX {
            return Err(Fault::invalid(format!("more than {TOOLS_MAX} tools")));
        }
        let mut tools = BTreeMap::new();
        for folder in folders {
            let tool = load_one(folder)
                .map_err(|fault| Fault { message: format!("tool {}: {}", folder.name, fault.message), ..fault })?;
            tools.insert(tool.name.clone(), tool);
        }
        Ok(Self { tools })
    }

    /// A tool by name.
    pub fn get(&self, name: &str) -> Result<&Tool, Fault> {
        self.tools.get(name).ok_or_else(|| {
            Fault::not_found(format!("there is no tool {:?}", name.chars().take(40).collect::<String>()))
                .hint(format!("tools: {}", self.tools.keys().cloned().collect::<Vec<_>>().join(", ")))
        })
    }

    /// Every tool in name order.
    pub fn iter(&self) -> impl Iterator<Item = &Tool> {
        self.tools.values()
    }
}

fn load_one(folder: &ToolFolder) -> Result<Tool, Fault> {
    let declaration: Declaration = toml::from_str(&folder.declaration)
        .map_err(|error| Fault::invalid("tool.toml cannot be read").detail(error.to_string()))?;
    let examples: Examples = toml::from_str(&folder.examples)
        .map_err(|error| Fault::invalid("examples.toml cannot be read").detail(error.to_string()))?;
    if declaration.name != folder.name {
        return Err(Fault::invalid("its name is not its folder's name"));
    }
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !plain(&declaration.name) || declaration.name.len() > 64 {
        return Err(Fault::invalid("a tool's name uses only a-z, 0-9 and '_'"));
    }
    if let Some(bad) = declaration.inputs.keys().find(|name| !plain(name)) {
        return Err(Fault::invalid(format!("input {bad:?} uses more than a-z, 0-9 and '_'")));
    }
    if folder.handler.len() > HANDLER_BYTES_MAX {
        return Err(Fault::invalid("handler.rhai is larger than 16 KiB"));
    }
    if let Some(unknown) = declaration.queries.iter().find(|name| crate::observe::what(name).is_none()) {
        return Err(Fault::invalid(format!("there is no observation {unknown:?}")));
    }
    if examples.accept.is_empty() || examples.refuse.is_empty() {
        return Err(Fault::invalid("a tool needs an example to accept and one to refuse"));
    }
    let actions = declaration.actions.iter().map(|word| ActionKind::parse(word)).collect::<Result<_, _>>()?;
    let all = format!("{}\0{}\0{}", folder.declaration, folder.handler, folder.examples);
    Ok(Tool {
        name: declaration.name,
        summary: declaration.summary,
        when: declaration.when,
        when_not: declaration.when_not,
        inputs: declaration.inputs,
        queries: declaration.queries,
        actions,
        limits: declaration.limits.unwrap_or_default(),
        handler: folder.handler.clone(),
        examples,
        digest: digest_bytes(all.as_bytes()),
    })
}
