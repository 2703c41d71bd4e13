//! A plan: immutable, hashed, nothing left to choose. Never executed by anything that can edit it.

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::effect::{Effect, Risk};
use crate::name::{Id, Workload, Workspace};
use crate::resource::{Facts, Resource, ResourceState, ResourceVersion};

/// Most steps of one plan.
pub const PLAN_STEPS_MAX: usize = 16;

/// One line of a typed diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffLine {
    /// Dotted path inside the resource.
    pub path: String,
    /// Value before; absent if it appears.
    pub before: Option<String>,
    /// Value after; absent if it disappears.
    pub after: Option<String>,
}

/// How much a step touches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blast {
    /// Objects changed, replicas included.
    pub objects: u32,
    /// Share of the workspace's replicas that are disturbed, in percent.
    pub replicas_percent: u8,
}

/// One literal step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Place in the plan, from 0.
    pub index: u32,
    /// Where.
    pub workspace: Workspace,
    /// What.
    pub action: Action,
    /// Version that the resource must still have; absent only for things that must not exist yet.
    pub expects: Option<ResourceVersion>,
    /// What will differ.
    pub diff: Vec<DiffLine>,
    /// The action that takes it back; absent where there is none.
    pub undo: Option<Action>,
    /// How much it touches.
    pub blast: Blast,
}

impl Step {
    /// What it acts on.
    pub fn resource(&self) -> Resource {
        self.action.resource()
    }
    /// What it does to the world.
    pub fn effect(&self) -> Effect {
        self.action.kind().facts().effect
    }
    /// How much it risks: the action's own risk, raised by one where nothing takes it back.
    pub fn risk(&self) -> Risk {
        let facts = self.action.kind().facts();
        let no_way_back = self.undo.is_none() && facts.undo == crate::effect::Undo::Inverse;
        Risk(facts.risk.0.saturating_add(u8::from(no_way_back)))
    }
}

/// What must be true of the outside view for a plan to count as a success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// Whose view.
    pub workload: Workload,
    /// Alert condition that must be gone.
    pub condition: crate::alert::Condition,
    /// Consecutive healthy windows wanted.
    pub windows: u32,
    /// Length of a window.
    pub window_ms: i64,
    /// Requests a window must have to count at all.
    pub requests_min: u64,
    /// Longest wait for the verdict.
    pub within_ms: i64,
}

/// An ordered list of steps with one digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Identity inside its stream.
    pub id: Id,
    /// Where all its steps act.
    pub workspace: Workspace,
    /// Why, in words made by code from the hypothesis or by the asker.
    pub reason: String,
    /// The steps, 1 to 16.
    pub steps: Vec<Step>,
    /// What success means beyond each step's own check.
    pub goal: Option<Goal>,
}

impl Plan {
    /// The digest an approval is bound to: over everything that will be done. Identity and reason are
    /// left out, so the same proposal through any door has the same digest.
    pub fn digest(&self) -> String {
        crate::canonical::digest("opsward-plan-1", &(&self.workspace, &self.steps, &self.goal))
    }
    /// Workspaces besides its own that its steps read from.
    pub fn sources(&self) -> impl Iterator<Item = &Workspace> {
        self.steps.iter().filter_map(|step| step.action.source()?.0).filter(|name| **name != self.workspace)
    }
    /// The strongest effect of its steps.
    pub fn effect(&self) -> Effect {
        self.steps.iter().map(Step::effect).max().unwrap_or(Effect::Observe)
    }
    /// The highest risk of its steps.
    pub fn risk(&self) -> Risk {
        self.steps.iter().map(Step::risk).max().unwrap_or(Risk(0))
    }
}

/// Lines that differ between two states.
pub fn diff(before: &ResourceState, after: &ResourceState) -> Vec<DiffLine> {
    let (old, new) = (facts(before), facts(after));
    let mut paths: Vec<&String> = old.keys().chain(new.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path))
        .map(|path| DiffLine { path: path.clone(), before: old.get(path).cloned(), after: new.get(path).cloned() })
        .collect()
}

/// Flat facts of a state: what a diff compares. Status fields that move by themselves are left out.
pub fn facts(state: &ResourceState) -> Facts {
    let mut facts = Facts::new();
    let mut put = |key: &str, value: String| facts.insert(key.to_owned(), value);
    match state {
        ResourceState::Absent => {}
        ResourceState::Workspace(status) => {
            put("memory_bytes_max", status.memory_bytes_max.to_string());
        }
        ResourceState::Volume(status) => {
            // What a restore brings is known when it is there.
            if status.size_bytes > 0 {
                put("size_bytes", status.size_bytes.to_string());
            }
        }
        ResourceState::Function(status) => {
            put("active", status.active.map_or("none".to_owned(), |v| v.to_string()));
        }
        ResourceState::Backup(status) => {
            let volumes: Vec<&str> = status.volumes.iter().map(crate::name::Volume::as_str).collect();
            put("volumes", volumes.join(", "));
        }
        ResourceState::Workload(status) => {
            let spec = &status.spec;
            put("version", spec.version.clone());
            put("command", spec.command.join(" "));
            if let Some(image) = &spec.image {
                put("image", image.clone());
            }
            put("replicas", spec.replicas.to_string());
            put("limits.memory_bytes", spec.limits.memory_bytes.to_string());
            put("limits.open_files", spec.limits.open_files.to_string());
            put("port", spec.port.to_string());
            put("restart", format!("{:?}", spec.restart).to_lowercase());
            for (key, value) in &spec.env {
                put(&format!("env.{key}"), value.clone());
            }
            for (name, body) in &spec.files {
                let digest = crate::canonical::digest_bytes(body.as_bytes());
                put(&format!("files.{name}"), format!("sha256:{}", &digest[..12]));
            }
            for volume in &spec.volumes {
                put(&format!("volumes.{volume}"), "mounted".to_owned());
            }
        }
    }
    facts
}
