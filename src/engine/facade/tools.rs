//! Who asks a tool for a plan, and who may answer one. Nothing here acts; the run does, past the gate.

use opsward_domain::context::CallContext;
use opsward_domain::event::{Body, StreamKind, StreamName, ToolCall};
use opsward_domain::fault::Fault;
use opsward_domain::name::{Id, Workspace};
use opsward_ports::policy::Verb;
use serde_json::Value;

use super::{Engine, stream};
use crate::toolbox::check;

impl Engine {
    /// Asks for what a tool proposes. Returns the stream that carries it, once the request is durable.
    pub async fn act_by_tool(
        &self,
        cx: &CallContext,
        workspace: &Workspace,
        tool: &str,
        input: Value,
    ) -> Result<StreamName, Fault> {
        check(self.toolbox.get(tool)?, &input)?;
        let stream = stream(cx, StreamKind::Command, &self.parts.entropy.id("a"));
        let call = ToolCall { id: Id::parse("call-1")?, tool: tool.to_owned(), input };
        let body = Body::ToolRequested { workspace: workspace.clone(), origin: cx.origin, call };
        self.append(cx, &stream, vec![body]).await?;
        self.drivers.wake(&stream);
        Ok(stream)
    }

    /// May the caller answer for plans in `workspace` at all, through this door? Whether a yes suffices is
    /// asked apart. `creating`: the plan makes the workspace.
    pub async fn may_answer(&self, cx: &CallContext, workspace: &Workspace, creating: bool) -> Result<(), Fault> {
        let setting = self.setup.setting(cx, Some(workspace), creating).await?;
        self.setup.gate.must(cx, &setting, Some(workspace), Verb::Govern { what: "approve".to_owned() }).await
    }
}
