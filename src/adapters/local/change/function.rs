//! What deploying a function makes of the wanted state. Never compiles anything.

use opsward_domain::action::DeployFunction;
use opsward_domain::canonical::digest_bytes;
use opsward_domain::fault::{Code, Fault};
use opsward_domain::resource::FunctionStatus;
use opsward_domain::time::AtMs;

use super::{Change, NewSource};
use crate::functions;
use crate::options::{KEPT_MAX, KINDS_MAX};
use crate::state::{KeptFunction, WantedFunction};

pub(super) fn deploy(
    change: &mut Change,
    deploy: &DeployFunction,
    status: &FunctionStatus,
    now_ms: AtMs,
) -> Result<(), Fault> {
    let (runtime, bytes) = functions::code(&deploy.source)?;
    let version = status.active.ok_or_else(|| Fault::internal("a deployed function has no version"))?;
    let generation = change.state.generation;
    let known = change.state.functions.contains_key(&deploy.function);
    if !known && change.state.functions.len() >= KINDS_MAX {
        return Err(Fault::new(Code::TooMany, format!("a workspace has at most {KINDS_MAX} functions")));
    }
    let fresh = WantedFunction { version: generation, incarnation: generation, active: None, versions: Vec::new() };
    let wanted = change.state.functions.entry(deploy.function.clone()).or_insert(fresh);
    wanted.version = generation;
    wanted.active = Some(version);
    wanted.versions.push(KeptFunction {
        version,
        runtime: runtime.to_owned(),
        digest: digest_bytes(&bytes),
        at_ms: now_ms,
        timeout_ms: deploy.timeout_ms,
        memory_bytes_max: deploy.memory_bytes_max,
    });
    let excess = wanted.versions.len().saturating_sub(KEPT_MAX);
    wanted.versions.drain(..excess);
    change.source = Some(NewSource { function: deploy.function.clone(), bytes });
    Ok(())
}
