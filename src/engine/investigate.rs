//! tmp
use crate::facade::Engine;
use crate::parts::Parts;
use crate::state::RunState;
use opsward_domain::cause::*;
use opsward_domain::context::CallContext;
use opsward_domain::event::CheckVerdict;
use opsward_domain::evidence::Evidence;
use opsward_domain::fault::Fault;
use opsward_domain::name::Workspace;
use opsward_domain::plan::Goal;
use opsward_domain::time::Window;
pub struct Investigation {
    pub evidence: Vec<(Evidence, u64)>,
    pub missing: Vec<(String, String)>,
    pub diagnosis: Diagnosis,
}
pub struct Measured {
    pub verdict: CheckVerdict,
    pub claims: Vec<Claim>,
}
pub async fn investigate(_e: &Engine, _cx: &CallContext, _w: &Workspace, _s: &RunState) -> Investigation {
    loop {}
}
pub async fn measure(
    _p: &Parts,
    _cx: &CallContext,
    _w: &Workspace,
    _g: &Goal,
    _b: Window,
    _a: Window,
) -> Result<Measured, Fault> {
    loop {}
}
