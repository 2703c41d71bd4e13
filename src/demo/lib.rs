//! The demo's services, client, external network and injector: processes of their own, entered by
//! re-execution, that know opsward only by its public interface. Must never share code or state
//! with the diagnosis, and must never tell it anything.

mod client;
mod clock;
pub mod driver;
mod external;
mod http;
mod inject;
mod model;
mod release;
mod rng;
mod service;
pub mod world;

use std::io::Write;
use std::process::ExitCode;

/// Runs one of the demo's roles; `args[0]` names it (`__demo-service`, `__demo-client`,
/// `__demo-external`, `__demo-inject`), the rest are its own arguments. Returns its exit status;
/// an unknown role is status 2 with a line on standard error.
#[must_use]
pub fn role_main(args: &[String]) -> ExitCode {
    let rest = args.get(1..).unwrap_or_default();
    match args.first().map(String::as_str) {
        Some("__demo-service") => service::main(rest),
        Some("__demo-client") => client::main(rest),
        Some("__demo-external") => external::main(rest),
        Some("__demo-inject") => inject::main(rest),
        Some("__demo-model") => model::main(rest),
        other => {
            complain(&format!("unknown role {}", other.unwrap_or("(none)")));
            ExitCode::from(2)
        }
    }
}

/// Whether `role` is one that [`role_main`] runs.
#[must_use]
pub fn is_role(role: &str) -> bool {
    matches!(role, "__demo-service" | "__demo-client" | "__demo-external" | "__demo-inject" | "__demo-model")
}

fn complain(text: &str) {
    // There is nowhere else to say it.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// One line of JSON to whoever drives the process.
fn tell(line: &impl serde::Serialize) {
    let text = serde_json::to_string(line).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    // A driver that went away needs no line.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
