//! Recovery kits: a key on paper that opens the backups of a workspace without this machine.
//!
//! Contract: each call makes a key of its own, which is shown once and kept nowhere; a workspace of another
//! tenant does not exist; a vault that does not open is told, and gets no key.

use std::fmt;

use async_trait::async_trait;
use opsward_domain::context::CallContext;
use opsward_domain::fault::Fault;
use opsward_domain::name::Workspace;

/// The page to print. Says nothing in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Page(String);

impl Page {
    /// A page with this text.
    pub fn new(text: String) -> Self {
        Self(text)
    }
    /// The text, for the one who asked for it.
    pub fn reveal(self) -> String {
        self.0
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Page(hidden)")
    }
}

/// Where kits are made.
#[async_trait]
pub trait Kits: Send + Sync {
    /// Adds a key to the backups of `workspace` and returns its page.
    async fn recovery_kit(&self, cx: &CallContext, workspace: &Workspace) -> Result<Page, Fault>;
}

/// Makes pages that open nothing; for tests.
#[derive(Debug, Default)]
pub struct MemoryKits;

#[async_trait]
impl Kits for MemoryKits {
    async fn recovery_kit(&self, cx: &CallContext, workspace: &Workspace) -> Result<Page, Fault> {
        Ok(Page::new(format!("a kit of {workspace} of {}", cx.tenant())))
    }
}
