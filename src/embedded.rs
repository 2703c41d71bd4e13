//! Tools and prompts as compiled in. Loading and checking them is the engine's work.

use std::collections::BTreeMap;

use opsward_domain::fault::Fault;
use opsward_engine::toolbox::{ToolFolder, Toolbox};

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The tool folders.
pub fn folders() -> Vec<ToolFolder> {
    TOOLS
        .iter()
        .map(|(name, declaration, handler, examples)| ToolFolder {
            name: (*name).to_owned(),
            declaration: (*declaration).to_owned(),
            handler: (*handler).to_owned(),
            examples: (*examples).to_owned(),
        })
        .collect()
}

/// The tools, loaded and checked.
pub fn toolbox() -> Result<Toolbox, Fault> {
    Toolbox::load(&folders())
}

/// The prompts by name.
pub fn prompts() -> BTreeMap<String, String> {
    PROMPTS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}
