//! Recovery kits of a workspace's backups: who may have one, and that it was taken. The kit itself goes to the
//! one who asked and nowhere else.

use opsward_domain::context::CallContext;
use opsward_domain::event::{Body, StreamKind};
use opsward_domain::fault::Fault;
use opsward_domain::name::{Id, Workspace};

use crate::facade::{Engine, stream};

impl Engine {
    /// Makes a recovery kit and returns the page to print, once it is on record that the caller took it.
    pub async fn recovery_kit(&self, cx: &CallContext, workspace: &Workspace) -> Result<String, Fault> {
        self.setup.may_govern(cx, Some(workspace), "take_recovery_kit").await?;
        let page = self.parts.kits.recovery_kit(cx, workspace).await?;
        let taken = Body::RecoveryKitTaken { workspace: workspace.clone() };
        self.append(cx, &stream(cx, StreamKind::Control, &Id::parse("kits")?), vec![taken]).await?;
        Ok(page.reveal())
    }
}
