//! Entry point. Looks at how it was called, enters that role, or runs one command. Holds no logic.

mod commands;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let Some(code) = opsward::roles::enter(&args) {
        return code;
    }
    commands::run()
}
