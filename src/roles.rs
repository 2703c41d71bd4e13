//! One binary, several roles. The first thing `main` does is look at how it was called; a worker, a shim,
//! a function host or a demo process never has anything of the server in its memory.

use std::process::ExitCode;

/// Enters the role named by the first argument, if it is one.
pub fn enter(args: &[String]) -> Option<ExitCode> {
    let role = args.get(1)?.as_str();
    let rest = args.get(1..).unwrap_or_default();
    match role {
        "__worker" => Some(opsward_sandbox::role_main(rest)),
        "__shim" => Some(opsward_local::role_main(rest)),
        "__functions" => Some(opsward_functions::role_main(rest)),
        role if opsward_demo::is_role(role) => Some(opsward_demo::role_main(rest)),
        _ => None,
    }
}
